//! What was measured: samples by measure, and what is said of them.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

/// What is measured, in the order it is shown. Times are in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Measure {
    TogetherFromLast,
    TogetherFromFirst,
    TogetherMegabytes,
    UpdateMost,
    UpdateAll,
    JoinMost,
    JoinAll,
    LeaveMost,
    LeaveAll,
    LeaveMissed,
    KillAll,
    CpuPercent,
    CpuMeshPercent,
    RssMib,
    PssMib,
    WireBytes,
    WirePackets,
    PartitionSeen,
    PartitionHealed,
    MembersLost,
    RestartsAll,
    RenewalSuspected,
    RenewalUpdateAll,
    RenewalCut,
    RevokedCut,
    RevokedGone,
    RevokedBack,
    FalseEvictions,
}

impl Measure {
    /// Returns what it is called, with its unit.
    pub(crate) const fn title(self) -> &'static str {
        match self {
            Self::TogetherFromLast => "all join at once: all see all, from the last start (s)",
            Self::TogetherFromFirst => "all join at once: all see all, from the first start (s)",
            Self::TogetherMegabytes => "all join at once: sent by all (MB)",
            Self::UpdateMost => "update seen by 95 % (s)",
            Self::UpdateAll => "update seen by all (s)",
            Self::JoinMost => "join seen by 95 % (s)",
            Self::JoinAll => "join seen by all (s)",
            Self::LeaveMost => "graceful leave seen by 95 % (s)",
            Self::LeaveAll => "graceful leave seen by all (s)",
            Self::LeaveMissed => "graceful leave missed by (members)",
            Self::KillAll => "kill -9 seen by all (s)",
            Self::CpuPercent => "at rest: processor per node (% of a core)",
            Self::CpuMeshPercent => "at rest: processor of the mesh (% of a core)",
            Self::RssMib => "at rest: memory per node, RSS (MiB)",
            Self::PssMib => "at rest: memory per node, PSS (MiB)",
            Self::WireBytes => "at rest: sent per node (IP bytes/s)",
            Self::WirePackets => "at rest: sent per node (packets/s)",
            Self::PartitionSeen => "partition seen by all (s)",
            Self::PartitionHealed => "partition healed to one view (s)",
            Self::MembersLost => "members lost by the partition",
            Self::RestartsAll => "rolling restart: all nodes (s)",
            Self::RenewalSuspected => "all certificates renewed: members suspected meanwhile",
            Self::RenewalUpdateAll => "all certificates renewed: update seen by all meanwhile (s)",
            Self::RenewalCut => "all old certificates revoked: links cut",
            Self::RevokedCut => "member revoked: last of its links cut (s)",
            Self::RevokedGone => "member revoked: declared gone by all (s)",
            Self::RevokedBack => "member revoked and started again: seen by (members)",
            Self::FalseEvictions => "live members declared away",
        }
    }
}

/// Samples by measure.
#[derive(Debug, Default, Clone, PartialEq)]
pub(crate) struct Figures {
    samples: BTreeMap<Measure, Vec<f64>>,
}

impl Figures {
    pub(crate) fn add(&mut self, measure: Measure, sample: f64) {
        self.samples.entry(measure).or_default().push(sample);
    }

    /// Adds all samples of `others`.
    pub(crate) fn extend(&mut self, others: &Self) {
        for (measure, samples) in &others.samples {
            self.samples.entry(*measure).or_default().extend(samples);
        }
    }

    pub(crate) fn measures(&self) -> impl Iterator<Item = Measure> {
        self.samples.keys().copied()
    }

    pub(crate) fn count(&self, measure: Measure) -> usize {
        self.samples.get(&measure).map_or(0, Vec::len)
    }

    /// Returns the middle of the samples, or the mean of the middle two.
    pub(crate) fn median(&self, measure: Measure) -> Option<f64> {
        let mut sorted = self.samples.get(&measure)?.clone();
        sorted.sort_by(f64::total_cmp);
        Some(crate::bench_discovery::median(&sorted))
    }

    /// Returns all samples by the title of their measure, with their median and worst.
    pub(crate) fn document(&self) -> Value {
        let entry = |(measure, samples): (&Measure, &Vec<f64>)| {
            let summary = json!({"median": self.median(*measure), "worst": self.worst(*measure), "samples": samples});
            (measure.title().to_owned(), summary)
        };
        Value::Object(self.samples.iter().map(entry).collect::<Map<_, _>>())
    }

    /// Returns the largest sample.
    pub(crate) fn worst(&self, measure: Measure) -> Option<f64> {
        self.samples.get(&measure)?.iter().copied().max_by(f64::total_cmp)
    }
}

/// Returns a figure with three digits that matter.
pub(crate) fn shown(figure: f64) -> String {
    let digits = match figure.abs() {
        100.0.. => 0,
        10.0.. => 1,
        1.0.. => 2,
        _ => 3,
    };
    format!("{figure:.digits$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_of_several_runs_have_one_median_and_worst() {
        let mut figures = Figures::default();
        [3.0, 1.0].into_iter().for_each(|sample| figures.add(Measure::JoinAll, sample));
        let mut more = Figures::default();
        more.add(Measure::JoinAll, 9.0);
        figures.extend(&more);
        assert_eq!((figures.median(Measure::JoinAll), figures.worst(Measure::JoinAll)), (Some(3.0), Some(9.0)));
        let expected = json!({"join seen by all (s)": {"median": 3.0, "worst": 9.0, "samples": [3.0, 1.0, 9.0]}});
        assert_eq!(figures.document(), expected);
        assert_eq!((figures.median(Measure::KillAll), figures.worst(Measure::KillAll)), (None, None));
    }

    #[test]
    fn a_figure_is_shown_with_the_digits_that_matter() {
        assert_eq!([0.0412, 1.234, 12.34, 123.4].map(shown), ["0.041", "1.23", "12.3", "123"]);
    }
}
