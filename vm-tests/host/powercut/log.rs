//! The log of a disk: every write and every flush, in their order, as QEMU's blklogwrites keeps them
//! (Documentation/admin-guide/device-mapper/log-writes.rst).

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::disk::{FIRST, MARKS, SECTORS};
use crate::story::SECTOR;

const MAGIC: u64 = 0x006a_7366_7773_6872;
const VERSION: u64 = 1;
const FLUSH: u64 = 1;
const FUA: u64 = 2;
const DISCARD: u64 = 4;

/// A log, read.
pub(super) struct Log {
    file: File,
    pub(super) entries: Vec<Entry>,
}

/// What was done to the filesystem's partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Entry {
    Write {
        span: Span,
        /// Where in the log what was written stands.
        data: u64,
        /// Whether it is on the disk when it has returned, with no flush.
        lasting: bool,
    },
    Discard(Span),
    Flush,
    /// So many steps of the story had returned.
    Mark(usize),
}

/// Sectors of the partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) from: u64,
    pub(super) count: u64,
}

impl Log {
    pub(super) fn read(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let [magic, version, count, _] = numbers(&file, 0)?;
        if (magic, version) != (MAGIC, VERSION) {
            return Err(io::Error::other(format!("{} is no log of writes", path.display())));
        }
        let mut entries = Vec::new();
        let mut at = SECTOR;
        for _ in 0..count {
            let [from, count, flags, _] = numbers(&file, at)?;
            at += SECTOR;
            entries.extend(entry(&file, Span { from, count }, flags, at)?);
            if flags & DISCARD == 0 {
                at += count * SECTOR;
            }
        }
        Ok(Self { file, entries })
    }

    /// Reads what a write wrote.
    pub(super) fn data(&self, span: Span, at: u64) -> io::Result<Vec<u8>> {
        let len = usize::try_from(span.count * SECTOR).map_err(io::Error::other)?;
        let mut bytes = vec![0; len];
        self.file.read_exact_at(&mut bytes, at)?;
        Ok(bytes)
    }

    /// How many steps of the story had returned when the first `taken` entries were there.
    pub(super) fn acknowledged(&self, taken: usize) -> usize {
        let marks = self.entries[..taken].iter().rev();
        marks
            .filter_map(|entry| if let Entry::Mark(nr) = entry { Some(*nr) } else { None })
            .next()
            .unwrap_or(0)
    }

    /// Returns the place behind the last flush of the first `taken` entries: all before it is on the disk.
    pub(super) fn flushed(&self, taken: usize) -> usize {
        self.entries[..taken].iter().rposition(|entry| *entry == Entry::Flush).map_or(0, |at| at + 1)
    }
}

/// What one record tells; nothing where it is about the table of partitions.
fn entry(file: &File, span: Span, flags: u64, data: u64) -> io::Result<Option<Entry>> {
    if flags & FLUSH != 0 {
        return if span.count == 0 {
            Ok(Some(Entry::Flush))
        } else {
            Err(io::Error::other("a write with a flush before it: QEMU keeps none such"))
        };
    }
    if span.from >= MARKS {
        let mut text = [0; 32];
        file.read_exact_at(&mut text, data)?;
        let text = String::from_utf8_lossy(&text);
        let nr = text.strip_prefix("MARK ").and_then(|rest| rest.split_once('\n')?.0.parse().ok());
        return Ok(nr.map(Entry::Mark));
    }
    let Some(from) = span.from.checked_sub(FIRST).filter(|from| from + span.count <= SECTORS) else {
        return Ok(None);
    };
    let span = Span { from, count: span.count };
    Ok(Some(match flags & DISCARD {
        0 => Entry::Write { span, data, lasting: flags & FUA != 0 },
        _ => Entry::Discard(span),
    }))
}

fn numbers(file: &File, at: u64) -> io::Result<[u64; 4]> {
    let mut bytes = [0; 32];
    file.read_exact_at(&mut bytes, at)?;
    let number = |nr: usize| u64::from_le_bytes(bytes[8 * nr..][..8].try_into().expect("eight bytes"));
    Ok([number(0), number(1), number(2), number(3)])
}
