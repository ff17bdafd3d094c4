//! Holes of files, as far as a tar is to tell of them.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::slice;

use crate::sys::CallFailed;
use crate::sys::dir::{self, Stat};
use crate::tarfile::Sparse;

/// Smaller holes become the zeros that they read as: usual files are members that each reader of tars knows.
const LEAST: u64 = 1 << 20;

/// Go's archive/tar takes maps of up to 1 MiB (`maxSpecialFileSize` in its format.go).
const MOST_SEGMENTS: usize = 10_000;

/// GNU tar begins each segment with a block, others right behind the one before (`sparse_extract_region` in its sparse.c): where
/// each but the last is made of whole blocks, that is the same.
const BLOCK: u64 = 512;

/// Returns where a file has data; `None` where it has no hole to tell of.
pub(super) fn map(file: &File, stat: &Stat) -> Result<Option<Sparse>, CallFailed> {
    let size = u64::try_from(stat.st_size).unwrap_or_default();
    if size < LEAST || u64::try_from(stat.st_blocks).unwrap_or_default() * BLOCK >= size {
        return Ok(None);
    }
    let (mut data, mut at) = (Vec::new(), 0);
    while let Some((start, end)) = dir::next_data(file, at).map_err(|e| CallFailed::on("lseek", file, e))? {
        data.push((start, end));
        at = end;
    }
    Ok(sparse(&data, size))
}

/// Makes a map of what lies where in a file, from start to end.
fn sparse(data: &[(u64, u64)], size: u64) -> Option<Sparse> {
    let least = (0..).map(|doubled| LEAST << doubled);
    let spans = least.map(|least| spans(data, size, least)).find(|spans| spans.len() <= MOST_SEGMENTS)?;
    if spans == [(0, size)] {
        return None;
    }
    Some(Sparse { size, segments: spans.into_iter().map(|(start, end)| (start, end - start)).collect() })
}

/// Joins what is apart by less than `least`, as the beginning and the end of the file may be.
fn spans(data: &[(u64, u64)], size: u64, least: u64) -> Vec<(u64, u64)> {
    let mut spans: Vec<(u64, u64)> = Vec::new();
    // It may have grown since.
    for &(start, end) in data.iter().filter(|(start, _)| *start < size) {
        let (start, end) = (start / BLOCK * BLOCK, end.next_multiple_of(BLOCK).min(size));
        match spans.last_mut() {
            Some(last) if start.saturating_sub(last.1) < least => last.1 = end,
            None if start < least => spans.push((0, end)),
            Some(_) | None => spans.push((start, end)),
        }
    }
    if let Some(last) = spans.last_mut().filter(|last| size - last.1 < least) {
        last.1 = size;
    }
    spans
}

/// What a file has in its segments, one behind the other.
pub(super) struct Stored<'a> {
    file: &'a File,
    left: slice::Iter<'a, (u64, u64)>,
    at: u64,
    end: u64,
}

impl<'a> Stored<'a> {
    pub(super) fn new(file: &'a File, sparse: &'a Sparse) -> Self {
        Self { file, left: sparse.segments.iter(), at: 0, end: 0 }
    }
}

impl Read for Stored<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        while self.at == self.end {
            let Some((offset, length)) = self.left.next() else { return Ok(0) };
            (self.at, self.end) = (*offset, offset + length);
        }
        let most = usize::try_from(self.end - self.at).unwrap_or(usize::MAX).min(buf.len());
        let read = self.file.read_at(&mut buf[..most], self.at)?;
        self.at += read as u64;
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_large_holes_are_told_of_and_segments_are_made_of_blocks() {
        const M: u64 = 1 << 20;
        type Spans<'a> = &'a [(u64, u64)];
        let table: [(Spans<'_>, u64, Option<Spans<'_>>); 9] = [
            (&[(0, 4096)], 4096, None),
            (&[(0, 4096), (M, M + 4096)], M + 4096, None),
            (&[(0, 4096), (M + 4096, M + 4099)], M + 4099, Some(&[(0, 4096), (M + 4096, 3)])),
            (&[(0, 1), (2 * M, 2 * M + 1)], 9 * M, Some(&[(0, 512), (2 * M, 512)])),
            (&[(M, 2 * M)], 2 * M, Some(&[(M, M)])),
            (&[(M - 1, 2 * M)], 2 * M, None),
            (&[(0, M)], 2 * M - 1, None),
            (&[], 3 * M, Some(&[])),
            // It grew.
            (&[(0, 5), (2 * M, 4 * M), (5 * M, 6 * M)], 3 * M, Some(&[(0, 512), (2 * M, M)])),
        ];
        for (data, size, expected) in table {
            let found = sparse(data, size);
            assert_eq!(found.as_ref().map(|sparse| &sparse.segments[..]), expected, "{data:?} of {size}");
        }
    }

    #[test]
    fn there_are_never_too_many() {
        let data: Vec<(u64, u64)> = (0..30_000).map(|nr| ((nr * 3) << 20, ((nr * 3) << 20) + 4096)).collect();
        let size = 1 << 41;
        let end = ((29_999 * 3) << 20) + 4096;
        assert_eq!(sparse(&data, size).unwrap().segments, [(0, end)], "no hole is larger than another");
        let far = [&data[..], &[(1 << 40, (1 << 40) + 512)]].concat();
        assert_eq!(sparse(&far, size).unwrap().segments, [(0, end), (1 << 40, 512)]);
    }
}
