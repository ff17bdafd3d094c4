//! One tar stream, member by member: ustar, GNU, PAX and star.
//!
//! Knows no filesystem and no whiteout: what a member's name means is for the stage that uses it.

mod error;
mod header;
mod limits;
mod member;
mod number;
mod pax;
mod reader;
mod sparse;
mod stream;
mod writer;

#[cfg(test)]
mod tests;

pub use error::Error;
pub use limits::Limits;
pub use reader::Reader;
pub use writer::Writer;

/// Whether a tar begins so: with a header whose checksum is right.
#[must_use]
pub fn begins_with_header(bytes: &[u8]) -> bool {
    bytes.first_chunk().is_some_and(|block| header::Header::parse(block).is_ok())
}

/// One member of a tar: everything its headers say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// The name as it is in the tar: any bytes but NUL, perhaps absolute, with `..` or a trailing slash.
    pub path: Vec<u8>,
    /// What it is.
    pub kind: Kind,
    /// Permission bits with setuid, setgid and sticky (`0o7777`).
    pub mode: u32,
    /// The owner's number; never a name's.
    pub uid: u32,
    /// The group's number; never a name's.
    pub gid: u32,
    /// When it was last modified.
    pub mtime: Time,
    /// Extended attributes (`SCHILY.xattr.*`), names without the prefix, in the tar's order.
    pub xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    /// How many bytes of data follow in the stream, without padding and without a sparse map that lies in the data.
    pub stored: u64,
    /// Where the stored bytes lie in the file, for a sparse one.
    pub sparse: Option<Sparse>,
}

/// What a member is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link with this target.
    Symlink(Vec<u8>),
    /// A second name for the member of this name.
    HardLink(Vec<u8>),
    /// A character device.
    CharDevice {
        /// Its major number.
        major: u32,
        /// Its minor number.
        minor: u32,
    },
    /// A block device.
    BlockDevice {
        /// Its major number.
        major: u32,
        /// Its minor number.
        minor: u32,
    },
    /// A named pipe.
    Fifo,
}

/// A point in time: seconds since the epoch, rounded down, and nanoseconds on top.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Time {
    /// Seconds; negative before 1970.
    pub seconds: i64,
    /// 0 to 999,999,999.
    pub nanos: u32,
}

/// A sparse file: its holes are what no segment covers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sparse {
    /// The file's length in bytes, holes included.
    pub size: u64,
    /// Offset and length of each stored piece, ascending and apart; the lengths add up to [`Member::stored`].
    pub segments: Vec<(u64, u64)>,
}

impl Sparse {
    /// Returns how many bytes the segments have.
    #[must_use]
    pub fn stored(&self) -> u64 {
        self.segments.iter().map(|(_, length)| length).sum()
    }
}
