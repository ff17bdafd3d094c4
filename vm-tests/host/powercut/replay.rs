//! What the disk holds at a point: a file with the filesystem, as the cut left it.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::disk;
use super::log::{Entry, Log, Span};
use super::points::{Kept, Point};
use crate::story::SECTOR;
use crate::story::random::Random;

/// Sectors of a filesystem's block, which is never torn: no filesystem lives through that. The superblock of ext4 is two sectors
/// with one checksum; and xfs does not replay its log over a block of metadata whose first sector is new.
const BLOCK: u64 = 8;

/// Goes through a log from point to point, forwards only.
pub(super) struct Replay<'a> {
    log: &'a Log,
    /// The filesystem after the first `done` entries.
    base: File,
    done: usize,
}

impl<'a> Replay<'a> {
    /// Starts with the filesystem in `made`, as mkfs left it.
    pub(super) fn new(log: &'a Log, made: &Path, folder: &Path) -> io::Result<Self> {
        let base = disk::copy_file(&File::open(made)?, &folder.join("base"))?;
        Ok(Self { log, base, done: 0 })
    }

    /// Makes `image` what the disk holds at `point`, which must not lie before an earlier one.
    pub(super) fn make(&mut self, point: Point, image: &Path) -> io::Result<()> {
        let flushed = self.log.flushed(point.taken);
        while self.done < flushed {
            self.apply(self.log.entries[self.done], &self.base, &mut Chance::all())?;
            self.done += 1;
        }
        let image = disk::copy_file(&self.base, image)?;
        let mut chance = match point.kept {
            Kept::None => Chance::none(),
            Kept::All => Chance::all(),
            Kept::Some(seed) => Chance::some(seed),
        };
        let unflushed = &self.log.entries[flushed..point.taken];
        unflushed.iter().try_for_each(|entry| self.apply(*entry, &image, &mut chance))
    }

    fn apply(&self, entry: Entry, image: &File, chance: &mut Chance) -> io::Result<()> {
        match entry {
            Entry::Write { span, data, lasting } => {
                let bytes = self.log.data(span, data)?;
                let mut all = Chance::all();
                put(image, span, &bytes, if lasting { &mut all } else { chance })
            }
            // What was discarded reads as zeros, or as it did.
            Entry::Discard(span) => {
                let zeros = vec![0; usize::try_from(span.count * SECTOR).map_err(io::Error::other)?];
                put(image, span, &zeros, chance)
            }
            Entry::Flush | Entry::Mark(_) => Ok(()),
        }
    }
}

/// Writes those parts of a write that are kept.
fn put(image: &File, span: Span, bytes: &[u8], chance: &mut Chance) -> io::Result<()> {
    let (mut from, end) = (span.from, span.from + span.count);
    while from < end {
        let next = (from / chance.grain).saturating_add(1).saturating_mul(chance.grain).min(end);
        let at = |sector: u64| usize::try_from((sector - span.from) * SECTOR).map_err(io::Error::other);
        if chance.keeps() {
            image.write_all_at(&bytes[at(from)?..at(next)?], from * SECTOR)?;
        }
        from = next;
    }
    Ok(())
}

/// Whether a part of a write is kept.
struct Chance {
    random: Random,
    /// In this many cases of 16.
    often: u64,
    /// How many sectors, from a multiple of that number on, are kept or lost together.
    grain: u64,
}

impl Chance {
    fn all() -> Self {
        Self { random: Random::new(0), often: 16, grain: u64::MAX }
    }

    fn none() -> Self {
        Self { often: 0, ..Self::all() }
    }

    fn some(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let often = random.pick(&[1, 4, 8, 12, 15]);
        let grain = random.pick(&[BLOCK, u64::MAX]);
        Self { random, often, grain }
    }

    fn keeps(&mut self) -> bool {
        self.random.below(16) < self.often
    }
}
