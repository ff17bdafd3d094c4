//! Points at which the power goes, and what the disk has kept then.

use std::fmt;
use std::str::FromStr;

use super::log::{Entry, Log};
use crate::story::random::Random;

/// A point: so many entries of the log had come, and of those that no flush has followed …
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Point {
    pub(super) taken: usize,
    pub(super) kept: Kept,
}

/// … these were kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Kept {
    /// None: a cache that writes at a flush only.
    None,
    /// All, in their order: no cache.
    All,
    /// Some, by chance: a cache that loses and reorders.
    Some(u64),
}

/// Why a point is looked at; the kinds in which points are counted.
pub(super) const KINDS: [&str; 4] = ["step", "flush", "prefix", "subset"];

/// Chooses about `count` points, the earliest first, each with its kind.
///
/// All ends of steps with nothing kept but what was flushed, where promises are hardest to keep; up to a quarter flushes; the
/// rest is half prefixes, half subsets, both by chance.
pub(super) fn choose(log: &Log, count: usize, seed: u64) -> Vec<(Point, &'static str)> {
    let mut random = Random::new(seed);
    let places = |is: fn(&Entry) -> bool| {
        let places = log.entries.iter().enumerate().filter(|(_, entry)| is(entry));
        places.map(|(at, _)| at + 1).collect::<Vec<_>>()
    };
    let marks = places(|entry| matches!(entry, Entry::Mark(_)));
    let flushes = places(|entry| matches!(entry, Entry::Flush));
    let writes = places(|entry| matches!(entry, Entry::Write { .. } | Entry::Discard(_)));
    let mut points = Vec::new();
    for taken in sample(marks, count / 4, &mut random) {
        points.push((Point { taken, kept: Kept::None }, KINDS[0]));
    }
    for taken in sample(flushes, count / 4, &mut random) {
        points.push((Point { taken, kept: Kept::All }, KINDS[1]));
    }
    let prefixes = (count - points.len()) / 2;
    for taken in sample(writes.clone(), prefixes, &mut random) {
        points.push((Point { taken, kept: Kept::All }, KINDS[2]));
    }
    while points.len() < count && !writes.is_empty() {
        let point = Point { taken: random.pick(&writes), kept: Kept::Some(random.below(1 << 32)) };
        points.push((point, KINDS[3]));
    }
    points.sort_unstable();
    points
}

/// Leaves `count` of them, by chance, in their order.
fn sample(mut from: Vec<usize>, count: usize, random: &mut Random) -> Vec<usize> {
    while from.len() > count {
        let at = random.below(from.len() as u64);
        from.swap_remove(usize::try_from(at).expect("it is below a usize"));
    }
    from.sort_unstable();
    from
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kept {
            Kept::None => write!(f, "{}:none", self.taken),
            Kept::All => write!(f, "{}:all", self.taken),
            Kept::Some(seed) => write!(f, "{}:{seed}", self.taken),
        }
    }
}

impl FromStr for Point {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("'{text}' is no point: 120:none, 120:all, 120:SEED");
        let (taken, kept) = text.split_once(':').ok_or_else(wrong)?;
        let kept = match kept {
            "none" => Kept::None,
            "all" => Kept::All,
            seed => Kept::Some(seed.parse().map_err(|_| wrong())?),
        };
        Ok(Self { taken: taken.parse().map_err(|_| wrong())?, kept })
    }
}
