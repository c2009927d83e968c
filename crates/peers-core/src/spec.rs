//! Choosers by name.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use crate::{
    Adaptive, Chooser, ConsistentHash, FewestPending, Filters, LoadProbe, PickFirst, Probed, Random, RoundRobin,
    ShardAware, ShardOwners, TwoRandom, Weighted,
};

/// Which filters and chooser a configuration names: `tiered > preferred > two-random:3`.
///
/// Filters come first, joined by `>`; a text that names no chooser means `adaptive`, an empty one `round-robin`. Filters:
/// `tiered`, `zone-aware`, `subset:<size>`, `preferred`. Choosers: `adaptive`, `round-robin` (`roundrobin`), `random`,
/// `two-random[:<choices>]` (`two-random-choice`, `two-random-choices`, `2-random`), `fewest-pending` (`least-pending`),
/// `weighted`, `probed[:<probes for a hundred picks>]`, `hash[:<load percent>]`, `pick-first`, `shard`. Case does not matter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChooserSpec {
    filters: Vec<FilterName>,
    chooser: ChooserName,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum FilterName {
    Tiered,
    ZoneAware,
    Subset(usize),
    Preferred,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ChooserName {
    Adaptive,
    RoundRobin,
    Random,
    TwoRandom(u8),
    FewestPending,
    Weighted,
    Probed(u32),
    Hash(u32),
    PickFirst,
    Shard,
}

/// What choosers need from outside, to be built by name.
#[derive(Clone, Default)]
pub struct ChooserPorts {
    /// Who owns the shards; `shard` needs it.
    pub shards: Option<Arc<dyn ShardOwners>>,
    /// Who asks peers for their load; `probed` needs it.
    pub probe: Option<Arc<dyn LoadProbe>>,
    /// Seed of choices that last, such as the order of `pick-first`; each caller its own.
    pub seed: u64,
}

impl fmt::Debug for ChooserPorts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("ChooserPorts");
        out.field("shards", &self.shards.is_some()).field("probe", &self.probe.is_some());
        out.field("seed", &self.seed).finish()
    }
}

/// Why a text names no chooser.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ParseChooserError {
    /// A word is neither a filter nor a chooser.
    #[error("`{word}` is no chooser")]
    Unknown {
        /// The word.
        word: String,
    },
    /// A word before the last is no filter.
    #[error("`{word}` is no filter, and only filters stand before `>`")]
    NotAFilter {
        /// The word.
        word: String,
    },
    /// The number after a word is missing, wrong or too much.
    #[error("`{word}` takes {takes}")]
    Number {
        /// The word with its number as given.
        word: String,
        /// What would be valid.
        takes: &'static str,
    },
}

/// Why a chooser could not be built.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BuildChooserError {
    /// `shard` was named, and nobody knows the shards' owners.
    #[error("chooser `shard` needs to know the owners of shards")]
    NoShardOwners,
    /// `probed` was named, and nobody asks peers for their load.
    #[error("chooser `probed` needs somebody who asks peers for their load")]
    NoLoadProbe,
}

impl ChooserSpec {
    /// Builds the filters.
    #[must_use]
    pub fn filters(&self) -> Filters {
        self.filters.iter().fold(Filters::none(), |filters, name| match name {
            FilterName::Tiered => filters.tiered(),
            FilterName::ZoneAware => filters.zone_aware(),
            FilterName::Subset(size) => filters.subset(*size),
            FilterName::Preferred => filters.prefer_http3(),
        })
    }

    /// Builds the chooser.
    ///
    /// # Errors
    /// When it needs a port that is not there.
    pub fn chooser(&self, ports: &ChooserPorts) -> Result<Box<dyn Chooser>, BuildChooserError> {
        Ok(match self.chooser {
            ChooserName::Adaptive => Box::new(Adaptive),
            ChooserName::RoundRobin => Box::new(RoundRobin::default()),
            ChooserName::Random => Box::new(Random),
            ChooserName::TwoRandom(choices) => Box::new(TwoRandom::new(choices)),
            ChooserName::FewestPending => Box::new(FewestPending),
            ChooserName::Weighted => Box::new(Weighted),
            ChooserName::Probed(percent) => {
                let probe = ports.probe.as_ref().ok_or(BuildChooserError::NoLoadProbe)?;
                Box::new(Probed::new(Arc::clone(probe), percent))
            }
            ChooserName::Hash(load_percent) => Box::new(ConsistentHash::new(load_percent)),
            ChooserName::PickFirst => Box::new(PickFirst::new(ports.seed)),
            ChooserName::Shard => {
                let owners = ports.shards.as_ref().ok_or(BuildChooserError::NoShardOwners)?;
                Box::new(ShardAware::new(Arc::clone(owners)))
            }
        })
    }
}

impl FromStr for ChooserSpec {
    type Err = ParseChooserError;

    fn from_str(text: &str) -> Result<Self, ParseChooserError> {
        let text = text.trim().to_lowercase();
        if text.is_empty() {
            return Ok(Self { filters: Vec::new(), chooser: ChooserName::RoundRobin });
        }
        let mut words: Vec<&str> = text.split('>').map(str::trim).collect();
        let last = words.pop().unwrap_or_default();
        let mut filters = Vec::new();
        for word in words {
            filters.push(filter(word)?.ok_or_else(|| ParseChooserError::NotAFilter { word: word.to_owned() })?);
        }
        if let Some(name) = filter(last)? {
            filters.push(name);
            return Ok(Self { filters, chooser: ChooserName::Adaptive });
        }
        Ok(Self { filters, chooser: chooser(last)? })
    }
}

fn filter(text: &str) -> Result<Option<FilterName>, ParseChooserError> {
    let (word, number) = halves(text);
    Ok(Some(match word {
        "tiered" | "zone-aware" | "preferred" if number.is_some() => return Err(wrong(text, "no number")),
        "tiered" => FilterName::Tiered,
        "zone-aware" => FilterName::ZoneAware,
        "preferred" => FilterName::Preferred,
        "subset" => FilterName::Subset(parse(text, number, 1..=usize::MAX, "a size of 1 or more")?),
        _ => return Ok(None),
    }))
}

fn chooser(text: &str) -> Result<ChooserName, ParseChooserError> {
    let (word, number) = halves(text);
    let name = match word {
        "two-random" | "two-random-choice" | "two-random-choices" | "2-random" => {
            return Ok(ChooserName::TwoRandom(parse(text, number.or(Some("2")), 2..=10, "2 to 10 choices")?));
        }
        "hash" => {
            let takes = "a load of 101 percent or more";
            return Ok(ChooserName::Hash(parse(text, number.or(Some("125")), 101..=u32::MAX, takes)?));
        }
        "probed" => {
            if number.is_none() {
                return Ok(ChooserName::Probed(Probed::DEFAULT_PERCENT));
            }
            return Ok(ChooserName::Probed(parse(text, number, 1..=Probed::PERCENT_MAX, "1 to 400 percent")?));
        }
        "adaptive" => ChooserName::Adaptive,
        "round-robin" | "roundrobin" => ChooserName::RoundRobin,
        "random" => ChooserName::Random,
        "fewest-pending" | "least-pending" => ChooserName::FewestPending,
        "weighted" => ChooserName::Weighted,
        "pick-first" => ChooserName::PickFirst,
        "shard" => ChooserName::Shard,
        _ => return Err(ParseChooserError::Unknown { word: word.to_owned() }),
    };
    if number.is_some() { Err(wrong(text, "no number")) } else { Ok(name) }
}

fn halves(text: &str) -> (&str, Option<&str>) {
    text.split_once(':').map_or((text, None), |(word, number)| (word.trim(), Some(number.trim())))
}

fn parse<T: FromStr + PartialOrd>(
    text: &str,
    number: Option<&str>,
    valid: std::ops::RangeInclusive<T>,
    takes: &'static str,
) -> Result<T, ParseChooserError> {
    let parsed = number.and_then(|number| number.parse().ok()).filter(|number| valid.contains(number));
    parsed.ok_or_else(|| wrong(text, takes))
}

fn wrong(text: &str, takes: &'static str) -> ParseChooserError {
    ParseChooserError::Number { word: text.to_owned(), takes }
}
