//! The disk: a table of partitions, the filesystem under test, and a few sectors for marks.

use std::fs::{self, File};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::path::Path;

use rustix::fs::{SeekFrom, seek};
use rustix::io::Errno;

use crate::host::disk;
use crate::story::SECTOR;

/// Where the filesystem starts, in sectors.
pub(super) const FIRST: u64 = 2048;
/// How long it is: xfs wants 300 MiB.
pub(super) const SECTORS: u64 = (320 << 20) / SECTOR;
/// Where marks start.
pub(super) const MARKS: u64 = FIRST + SECTORS;
/// How many there may be.
const MOST_MARKS: u64 = 2048;

/// Makes a filesystem.
pub(super) fn make(filesystem: &str, image: &Path) -> io::Result<()> {
    disk::make(image, SECTORS * SECTOR, filesystem)
}

/// Makes a disk that has the filesystem in `image` on its first partition.
pub(super) fn partition(image: &Path, disk: &Path) -> io::Result<()> {
    let whole = File::create(disk)?;
    whole.set_len((MARKS + MOST_MARKS) * SECTOR)?;
    whole.write_all_at(&table(), 0)?;
    copy(&File::open(image)?, &whole, FIRST * SECTOR)
}

/// The table of partitions of the first sector, as DOS wrote it: no cylinders, two entries.
fn table() -> [u8; 512] {
    let mut sector = [0; 512];
    for (nr, (from, count)) in [(FIRST, SECTORS), (MARKS, MOST_MARKS)].into_iter().enumerate() {
        let entry = &mut sector[446 + 16 * nr..][..16];
        entry[4] = 0x83; // Linux
        entry[8..12].copy_from_slice(&u32::try_from(from).expect("the disk is small").to_le_bytes());
        entry[12..].copy_from_slice(&u32::try_from(count).expect("the disk is small").to_le_bytes());
    }
    sector[510..].copy_from_slice(&[0x55, 0xaa]);
    sector
}

/// Makes a new file that holds what `from` does; holes stay holes.
pub(super) fn copy_file(from: &File, to: &Path) -> io::Result<File> {
    // A new one, whose holes are not filled with what it held before.
    match fs::remove_file(to) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
        Ok(()) | Err(_) => {}
    }
    let new = File::options().read(true).write(true).create_new(true).open(to)?;
    new.set_len(from.metadata()?.len())?;
    copy(from, &new, 0)?;
    Ok(new)
}

/// Copies all that is no hole and not only zeros, to `offset` and behind it.
fn copy(from: &File, to: &File, offset: u64) -> io::Result<()> {
    const AT_ONCE: u64 = 64 << 10;
    let (mut buffer, zeros) = (vec![0; 64 << 10], vec![0; 64 << 10]);
    let mut end = 0;
    loop {
        let start = match seek(from.as_fd(), SeekFrom::Data(end)) {
            Ok(start) => start,
            Err(Errno::NXIO) => return Ok(()),
            Err(errno) => return Err(errno.into()),
        };
        end = seek(from.as_fd(), SeekFrom::Hole(start))?;
        let mut at = start;
        while at < end {
            let len = AT_ONCE.min(end - at);
            let part = &mut buffer[..usize::try_from(len).expect("it fits the buffer")];
            from.read_exact_at(part, at)?;
            // As one comparison: byte by byte, an unoptimized program takes longer for this than for all the rest.
            if *part != zeros[..part.len()] {
                to.write_all_at(part, at + offset)?;
            }
            at += len;
        }
    }
}
