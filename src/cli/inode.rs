//! What an inode is, in words and letters.

use crate::layer::changes::Aspect;
use crate::sys::dir::{self, FileType, Stat};

/// What an inode is, in a word.
pub(super) fn kind(stat: &Stat) -> &'static str {
    match dir::kind(stat) {
        FileType::RegularFile => "file",
        FileType::Directory => "directory",
        FileType::Symlink => "symlink",
        FileType::CharacterDevice => "character device",
        FileType::BlockDevice => "block device",
        FileType::Fifo => "fifo",
        FileType::Socket => "socket",
        FileType::Unknown => "unknown",
    }
}

/// Returns how many bytes a file has; `None` of what is no file.
pub(super) fn size(stat: &Stat) -> Option<u64> {
    (dir::kind(stat) == FileType::RegularFile).then(|| dir::contents(stat))
}

/// Returns kind and permissions as ls(1) shows them: `-rwsr-xr-x`.
pub(super) fn mode(stat: &Stat) -> String {
    let kind = match dir::kind(stat) {
        FileType::RegularFile => '-',
        FileType::Directory => 'd',
        FileType::Symlink => 'l',
        FileType::CharacterDevice => 'c',
        FileType::BlockDevice => 'b',
        FileType::Fifo => 'p',
        FileType::Socket => 's',
        FileType::Unknown => '?',
    };
    let bit = |bit: u32| stat.st_mode & bit != 0;
    let mut mode = String::from(kind);
    for (shift, special, letter) in [(6, 0o4000, 's'), (3, 0o2000, 's'), (0, 0o1000, 't')] {
        mode.push(if bit(0o4 << shift) { 'r' } else { '-' });
        mode.push(if bit(0o2 << shift) { 'w' } else { '-' });
        mode.push(match (bit(special), bit(0o1 << shift)) {
            (true, true) => letter,
            (true, false) => letter.to_ascii_uppercase(),
            (false, true) => 'x',
            (false, false) => '-',
        });
    }
    mode
}

/// Returns the time of the last modification: RFC 3339, to the nanosecond.
pub(super) fn time(stat: &Stat) -> String {
    let nanos = i32::try_from(stat.st_mtime_nsec).unwrap_or_default();
    // Years beyond 9999 have no such form.
    jiff::Timestamp::new(stat.st_mtime, nanos)
        .map_or_else(|_| format!("@{}", stat.st_mtime), |time| format!("{time:.9}"))
}

/// Returns how many names it has.
#[expect(clippy::useless_conversion, reason = "the field's type differs between architectures")]
pub(super) fn links(stat: &Stat) -> u64 {
    u64::from(stat.st_nlink)
}

/// Names what of an inode is another.
pub(super) fn aspect(aspect: Aspect) -> &'static str {
    match aspect {
        Aspect::Type => "type",
        Aspect::Contents => "contents",
        Aspect::Target => "target",
        Aspect::Device => "device",
        Aspect::Owner => "owner",
        Aspect::Mode => "mode",
        Aspect::Xattrs => "xattrs",
        Aspect::Time => "time",
    }
}
