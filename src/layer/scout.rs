//! Looks ahead in a layer that seems to have nothing but tiny entries.
//!
//! To make a file takes some ten times as long as to read of it: ten million empty ones, a few megabytes of a compressed
//! archive, keep a disk busy for minutes before a limit is met, and for as long again to delete them. So once there are
//! many, and small ones, the rest of the layer is read once without making anything, and counted. Where a layer goes by only
//! once (`store/arrive.rs`) nobody can look ahead, and the limit alone holds.

use std::io::{BufReader, Read};

use crate::archive::blob::{self, Blob};
use crate::limits::{Exceeded, Limit, Limits};
use crate::tarfile::{self, Reader};

/// After how many entries it is looked ahead for the first time; then whenever they have doubled. As many are made in two or
/// three seconds.
const FIRST: u64 = 100_000;

/// Bytes of the tar for each entry, its header of 512 included: where there are more, time goes to contents, not to inodes.
/// Layers of packages and modules have thousands.
const SMALL: u64 = 1024;

const BUFFER: usize = 256 << 10;

/// When to look ahead, and in what.
pub(super) struct Scout {
    /// Nothing where the tar is just being made: nobody can read that twice.
    blob: Option<Blob>,
    next: u64,
}

impl Scout {
    /// Will look ahead in `blob`.
    pub(super) fn new(blob: Blob) -> Self {
        Self { blob: Some(blob), next: FIRST }
    }

    /// Never looks ahead.
    pub(super) fn blind() -> Self {
        Self { blob: None, next: u64::MAX }
    }

    /// Counts the rest where `entries` in `position` bytes so far are many and small.
    pub(super) fn look(&mut self, entries: u64, position: u64, limits: &Limits) -> Result<(), Exceeded> {
        if entries < self.next {
            return Ok(());
        }
        self.next = entries.saturating_mul(2);
        let ahead = self.blob.as_ref().filter(|_| position / entries <= SMALL);
        ahead.map_or(Ok(()), |blob| count(blob.again(), limits))
    }
}

/// Refuses a layer of more entries than are taken. Whatever else is wrong, or too large, who unpacks it will find.
fn count(blob: Blob, limits: &Limits) -> Result<(), Exceeded> {
    let most = limits.get(Limit::Entries).saturating_mul(SMALL);
    let Ok(decoder) = blob::decoder(blob) else { return Ok(()) };
    let mut members =
        Reader::new(BufReader::with_capacity(BUFFER, decoder.take(most)), tarfile::Limits::DEFAULT);
    let mut entries = 0;
    while let Ok(Some(_)) = members.next() {
        entries += 1;
        limits.check(Limit::Entries, entries)?;
    }
    Ok(())
}
