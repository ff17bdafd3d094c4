//! What came of all points of a filesystem, in numbers.

use std::collections::BTreeMap;

use super::log::{Entry, Log};
use super::proof::Seen;

/// The counts.
pub(super) struct Tally {
    seed: u64,
    writes: usize,
    flushes: usize,
    /// By kind: how many points, and how many of them are bad.
    kinds: BTreeMap<&'static str, (usize, usize)>,
    images: usize,
    files: usize,
    snapshots: usize,
    reloads: usize,
    trees: usize,
    /// At how many points ovlctl threw something away.
    recovered: usize,
}

impl Tally {
    pub(super) fn new(log: &Log, seed: u64) -> Self {
        let count = |is: fn(&Entry) -> bool| log.entries.iter().filter(|entry| is(entry)).count();
        Self {
            seed,
            writes: count(|entry| matches!(entry, Entry::Write { .. } | Entry::Discard(_))),
            flushes: count(|entry| matches!(entry, Entry::Flush)),
            kinds: BTreeMap::new(),
            images: 0,
            files: 0,
            snapshots: 0,
            reloads: 0,
            trees: 0,
            recovered: 0,
        }
    }

    pub(super) fn add(&mut self, kind: &'static str, seen: &Seen) {
        let (all, bad) = self.kinds.entry(kind).or_default();
        *all += 1;
        *bad += usize::from(!seen.faults.is_empty());
        self.images += seen.images;
        self.files += seen.files;
        self.snapshots += seen.snapshots;
        self.reloads += seen.reloads;
        self.trees += seen.trees;
        self.recovered += usize::from(seen.has_recovered());
    }

    pub(super) fn bad(&self) -> usize {
        self.kinds.values().map(|(_, bad)| bad).sum()
    }

    pub(super) fn summary(&self, filesystem: &str) -> String {
        let points: usize = self.kinds.values().map(|(all, _)| all).sum();
        let kinds: Vec<String> =
            self.kinds.iter().map(|(kind, (all, bad))| format!("{kind} {all} ({bad} bad)")).collect();
        format!(
            "{filesystem}: {} bad of {points} points: {}\n    {} writes and {} flushes logged; found as promised: {} times an image, \
             {} times a file that a container had ({} containers after their image was loaded again), {} times a snapshot; {} trees compared; something was thrown away at {} points; seed {}",
            self.bad(),
            kinds.join(", "),
            self.writes,
            self.flushes,
            self.images,
            self.files,
            self.reloads,
            self.snapshots,
            self.trees,
            self.recovered,
            self.seed,
        )
    }
}
