//! Who got which part of the calls.

use std::ops::Range;

use super::schedule::{GROUPS, ROLLING, SECONDS, SERVERS, ill, is_well};
use crate::report::Report;

/// How far values are apart.
#[derive(Debug, Clone, Copy)]
pub(super) struct Spread {
    pub(super) mean: f64,
    pub(super) sigma: f64,
    pub(super) most: f64,
}

impl Spread {
    /// Returns the spread of `values`; of none it is no number, which keeps no limit.
    pub(super) fn of(values: impl Iterator<Item = f64>) -> Self {
        let (mut number, mut sum, mut squares, mut most) = (0.0, 0.0, 0.0, f64::NAN);
        for value in values {
            (number, sum, squares, most) = (number + 1.0, sum + value, squares + value * value, value.max(most));
        }
        let mean = sum / number;
        Self { mean, sigma: (squares / number - mean * mean).max(0.0).sqrt(), most }
    }

    /// Returns it as a part of the mean.
    fn relative(self) -> Self {
        Self { mean: 1.0, sigma: self.sigma / self.mean, most: self.most / self.mean }
    }
}

/// How many calls have come to each server, second by second.
#[derive(Debug, Default)]
pub(super) struct Counts {
    latest: Vec<u64>,
    seconds: Vec<Vec<f64>>,
}

impl Counts {
    /// Takes in how many have come by the end of another second; the first time, by the beginning of the first.
    pub(super) fn add(&mut self, calls: Vec<u64>) {
        if !self.latest.is_empty() {
            let of = |(now, before): (&u64, &u64)| f64::from(u32::try_from(now - before).unwrap_or(u32::MAX));
            self.seconds.push(calls.iter().zip(&self.latest).map(of).collect());
        }
        self.latest = calls;
    }

    fn in_second(&self, second: usize) -> &[f64] {
        self.seconds.get(second).map_or(&[], Vec::as_slice)
    }

    /// Returns the calls of a tenth in a second.
    fn of_group(&self, group: usize, second: usize) -> f64 {
        let each = SERVERS / GROUPS;
        self.in_second(second).iter().skip(group * each).take(each).sum()
    }

    /// Returns the part that a tenth has got of its fair share in a second.
    fn share(&self, group: usize, second: usize) -> f64 {
        let all: f64 = self.in_second(second).iter().sum();
        let groups = f64::from(u32::try_from(GROUPS).unwrap_or(u32::MAX));
        self.of_group(group, second) / all * groups
    }

    pub(super) fn shares(&self, group: usize, seconds: Range<usize>) -> impl Iterator<Item = f64> {
        seconds.map(move |second| self.share(group, second))
    }

    /// Returns the same for people to read.
    pub(super) fn percents(&self, group: usize, seconds: Range<usize>) -> String {
        self.shares(group, seconds).map(|share| format!("{:>3.0}", 100.0 * share)).collect::<Vec<_>>().join(" ")
    }

    /// Returns how many seconds after its illness a tenth first had three quarters of its fair share.
    pub(super) fn recovery(&self, group: usize) -> usize {
        let end = ill(group).end;
        (end..SECONDS).position(|second| self.share(group, second) > 0.75).unwrap_or(usize::MAX)
    }

    /// Returns what a tenth has got in each second since it was back, as a part of what those got that are well.
    pub(super) fn beside_well(&self, group: usize) -> impl Iterator<Item = f64> {
        let back = ill(group).end.saturating_add(self.recovery(group));
        (back.min(SECONDS)..SECONDS).map(move |second| {
            let others = (0..GROUPS).filter(|other| *other != group && is_well(*other, second));
            self.of_group(group, second) / Spread::of(others.map(|other| self.of_group(other, second))).mean
        })
    }

    /// Returns how the calls of some seconds spread over some servers, as a part of their mean.
    pub(super) fn spread_of(&self, servers: &[usize], seconds: &Range<usize>) -> Spread {
        let of = |server: &usize| seconds.clone().filter_map(|second| self.in_second(second).get(*server)).sum::<f64>();
        Spread::of(servers.iter().map(of)).relative()
    }

    /// Returns how calls spread over servers while they are well and others are not: of each, what it has got over what all got that
    /// were well, too.
    pub(super) fn spread_of_well(&self) -> Spread {
        let each = SERVERS / GROUPS;
        let (mut got, mut fair) = (vec![0.0; SERVERS], vec![0.0; SERVERS]);
        for second in ROLLING {
            let well: Vec<_> = (0..SERVERS).filter(|server| is_well(server / each, second)).collect();
            let calls = |server: &usize| self.in_second(second).get(*server).copied().unwrap_or_default();
            let mean = Spread::of(well.iter().map(calls)).mean;
            for server in well {
                if let (Some(got), Some(fair)) = (got.get_mut(server), fair.get_mut(server)) {
                    *got += calls(&server);
                    *fair += mean;
                }
            }
        }
        let parts = got.iter().zip(&fair).filter(|(_, fair)| **fair > 0.0).map(|(got, fair)| got / fair);
        Spread::of(parts)
    }
}

/// Takes down a figure that is at most `most`; one that is no number breaks it.
pub(super) fn limited(report: &mut Report, what: &str, figure: f64, most: f64) {
    report.figure(what, &shown(figure), &format!("at most {most}"), figure <= most);
}

fn shown(figure: f64) -> String {
    let digits = if figure.fract() == 0.0 { 0 } else { 3 };
    format!("{figure:.digits$}")
}
