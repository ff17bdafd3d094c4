//! What a member of a tar has becomes what a file has.

use std::fs::File;
use std::io::{BufRead, Seek, SeekFrom};

use crate::sys::CallFailed;
use crate::tarfile::{Reader, Sparse};

use super::error::{Error, For};
use super::writer;

/// Writes what the member has to `file`, and leaves its holes; where it is to be `hollow`, it is all a hole. Returns where in
/// the file the stored bytes belong: offsets and lengths.
pub(super) fn write<R: BufRead>(
    sparse: Option<Sparse>,
    hollow: bool,
    file: &mut File,
    entry: &[u8],
    members: &mut Reader<R>,
) -> Result<Vec<(u64, u64)>, Error> {
    let failed = |call, e| Err::<(), _>(CallFailed::of_io(call, &e)).entry(entry);
    let has_holes = hollow || sparse.is_some();
    let (size, runs) = match sparse {
        None => (members.data_left(), vec![(0, members.data_left())]),
        Some(Sparse { size, segments }) => (size, segments),
    };
    for &(offset, len) in runs.iter().filter(|_| !hollow) {
        file.seek(SeekFrom::Start(offset)).map(drop).or_else(|e| failed("lseek", e))?;
        copy(members, len, file, entry)?;
    }
    if has_holes {
        pass_over(members)?;
        file.set_len(size).or_else(|e| failed("ftruncate", e))?;
    }
    Ok(runs)
}

/// Reads what is left of the member's stored bytes.
pub(super) fn pass_over<R: BufRead>(members: &mut Reader<R>) -> Result<(), Error> {
    loop {
        let n = members.fill()?.len();
        if n == 0 {
            return Ok(());
        }
        members.consume(n);
    }
}

/// Writes at most `limit` of the member's stored bytes to `file`.
fn copy<R: BufRead>(
    members: &mut Reader<R>,
    mut limit: u64,
    file: &mut File,
    entry: &[u8],
) -> Result<(), Error> {
    while limit > 0 {
        let run = members.fill()?;
        let n = usize::try_from(limit).map_or(run.len(), |limit| limit.min(run.len()));
        if n == 0 {
            break;
        }
        writer::write_all(file, &run[..n], entry)?;
        members.consume(n);
        limit -= n as u64;
    }
    Ok(())
}
