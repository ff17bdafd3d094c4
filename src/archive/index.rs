//! The outer tar, as names and the ranges of bytes they stand for.
//!
//! It is never extracted, and none of its names ever reaches the host: links lead from name to name inside the index. Of
//! a file nothing but the headers is read; what comes through a pipe goes by once, and is kept or taken (`spool.rs`).

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufRead, Read};
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use super::blob::Extent;
use super::error::Error;
use super::files::Bytes;
use crate::limits::{Limit, Limits};
use crate::tarfile::{self, Kind, Reader};

/// No name longer than this is ever looked up.
const LONGEST_NAME: usize = 512;

/// Links to follow from one name; what `docker save` writes takes one.
const MOST_LINKS: usize = 8;

/// What is read for one header. Data that comes along is wasted, but a small file and the next header cost no call.
const READ_AHEAD: usize = 8 << 10;

/// Readers disagree on which of two holds, so there must be one of each.
const ONLY_ONCE: [&[u8]; 3] = [b"manifest.json", b"index.json", b"oci-layout"];

/// What stands at the top of a root filesystem and not of an image archive, and how many of it make one.
const ROOT_NAMES: [&[u8]; 13] = [
    b".dockerenv",
    b"bin",
    b"dev",
    b"etc",
    b"home",
    b"lib",
    b"proc",
    b"root",
    b"sbin",
    b"sys",
    b"tmp",
    b"usr",
    b"var",
];
const ENOUGH_ROOT_NAMES: usize = 3;

/// What the headers of a tar say.
#[derive(Debug)]
pub(super) struct Index {
    file: Arc<File>,
    members: HashMap<Vec<u8>, Member>,
    root_names: [bool; ROOT_NAMES.len()],
}

#[derive(Debug, Clone)]
enum Member {
    Data {
        start: u64,
        len: u64,
    },
    /// Data that went by, and that somebody took under this number.
    Taken {
        nr: usize,
        len: u64,
    },
    /// A link of either kind to this name, which may be absent. Nothing where the link leads out of the archive.
    Link(Option<Vec<u8>>),
    /// Data with holes, which no run of bytes is.
    Sparse,
}

/// Why a name stands for no bytes though it is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unusable {
    LeadsOut,
    TooManyLinks,
    Sparse,
}

impl Unusable {
    /// Makes it an error about the file `name`.
    pub(super) fn of(self, name: &str) -> Error {
        let reason = match self {
            Self::LeadsOut => "leads out of the archive",
            Self::TooManyLinks => "is a link to a link, more than 8 times",
            Self::Sparse => "is stored as a sparse file",
        };
        Error::Damaged(format!("'{}' {reason}", name.escape_debug()))
    }
}

impl Index {
    /// Indexes the tar that begins at `start` of `file`.
    pub(super) fn of(file: Arc<File>, start: u64, limits: &Limits) -> Result<Self, Error> {
        let end = file.metadata().map_err(Error::reading)?.len();
        let mut input = Headers { file: Arc::clone(&file), next: start, end, buffer: Vec::new(), used: 0 };
        Self::read(&mut input, file, start, limits)
    }

    /// Indexes the tar that `input` gives, and whose members lie in `file`. It begins at `start` there, if all of it does.
    pub(super) fn read(
        input: &mut impl Outer,
        file: Arc<File>,
        start: u64,
        limits: &Limits,
    ) -> Result<Self, Error> {
        let mut tar = Reader::new(input, tarfile::Limits::DEFAULT);
        let mut index = Self { file, members: HashMap::new(), root_names: [false; ROOT_NAMES.len()] };
        let mut count = 0;
        loop {
            let member = match tar.next() {
                Ok(Some(member)) => member,
                Ok(None) => return Ok(index),
                Err(e) => return index.ended_by(e, count > 0),
            };
            count += 1;
            if let Err(exceeded) = limits.check(Limit::Members, count) {
                return if index.is_root_filesystem() { Ok(index) } else { Err(exceeded.into()) };
            }
            let (at, len) = (start + tar.position(), member.stored);
            let data = match tar.input_mut().pass(&member, at)? {
                Passed::At(start) => Member::Data { start, len },
                Passed::Taken(nr) => Member::Taken { nr, len },
                Passed::CutShort => {
                    let name = member.path.escape_ascii();
                    return Err(Error::Damaged(format!("the archive is cut short: it ends inside '{name}'")));
                }
            };
            tar.took(len);
            index.add(&member, data)?;
        }
    }

    /// A root filesystem may have more files than an archive, and names or devices that are refused in one; it is worth a
    /// hint all the same.
    fn ended_by(self, error: tarfile::Error, begun: bool) -> Result<Self, Error> {
        match error {
            tarfile::Error::Input(_) => Err(error.into()),
            tarfile::Error::Damaged { .. } | tarfile::Error::Entry { .. } if self.is_root_filesystem() => {
                Ok(self)
            }
            tarfile::Error::Damaged { .. } if !begun => Err(Error::NotAnImage("not a tar".to_owned())),
            tarfile::Error::Damaged { .. } | tarfile::Error::Entry { .. } => Err(error.into()),
        }
    }

    fn add(&mut self, member: &tarfile::Member, data: Member) -> Result<(), Error> {
        let Some(name) = normal(b"", &member.path) else { return Ok(()) };
        let top = name.split(|&c| c == b'/').next().unwrap_or_default();
        if let Some(nr) = ROOT_NAMES.iter().position(|&known| known == top) {
            self.root_names[nr] = true;
        }
        let folder = name.iter().rposition(|&c| c == b'/').map_or(&b""[..], |slash| &name[..slash]);
        let entry = match &member.kind {
            Kind::File if member.sparse.is_some() => Member::Sparse,
            Kind::File => data,
            Kind::Symlink(target) => Member::Link(normal(folder, target)),
            Kind::HardLink(target) => Member::Link(normal(b"", target)),
            Kind::Directory | Kind::CharDevice { .. } | Kind::BlockDevice { .. } | Kind::Fifo => {
                return Ok(());
            }
        };
        // What is never looked up takes no memory, and a link to it leads nowhere.
        if name.len() > LONGEST_NAME || matches!(&entry, Member::Link(Some(to)) if to.len() > LONGEST_NAME) {
            return Ok(());
        }
        let once = ONLY_ONCE.contains(&name.as_slice());
        if self.members.insert(name, entry).is_some() && once {
            let name = member.path.escape_ascii();
            return Err(Error::Damaged(format!("'{name}' is twice in the archive")));
        }
        Ok(())
    }

    /// Returns where the bytes of the file at the normal path `name` are, links followed.
    pub(super) fn find(&self, name: Vec<u8>) -> Result<Option<Bytes>, Unusable> {
        let mut name = name;
        for _ in 0..=MOST_LINKS {
            match self.members.get(&name) {
                None => return Ok(None),
                Some(Member::Link(None)) => return Err(Unusable::LeadsOut),
                Some(Member::Sparse) => return Err(Unusable::Sparse),
                Some(Member::Link(Some(target))) => name.clone_from(target),
                Some(&Member::Data { start, len }) => {
                    let file = Arc::clone(&self.file);
                    return Ok(Some(Bytes::At(Extent { file, start, len, digest: None })));
                }
                Some(&Member::Taken { nr, len }) => return Ok(Some(Bytes::Taken { nr, len })),
            }
        }
        Err(Unusable::TooManyLinks)
    }

    /// Whether it has neither a file nor a link.
    pub(super) fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// Returns the first folder at the top that has a file of one of these names.
    pub(super) fn folder_with(&self, names: &[&str]) -> Option<String> {
        let folders = self.members.keys().filter_map(|name| {
            let (folder, file) = std::str::from_utf8(name).ok()?.split_once('/')?;
            names.contains(&file).then_some(folder)
        });
        folders.min().map(str::to_owned)
    }

    /// Whether this looks like a whole root filesystem.
    pub(super) fn is_root_filesystem(&self) -> bool {
        let seen = self.root_names.iter().filter(|&&seen| seen).count();
        seen >= ENOUGH_ROOT_NAMES && !self.members.contains_key(&b"manifest.json"[..])
    }
}

/// Returns `path`, seen from the directory `from`, without `.`, `..` and empty parts; `None` where it leads out. A leading
/// slash means the top of the archive.
pub(super) fn normal(from: &[u8], path: &[u8]) -> Option<Vec<u8>> {
    let from = if path.starts_with(b"/") { b"" } else { from };
    let mut parts: Vec<&[u8]> = Vec::new();
    for part in from.split(|&c| c == b'/').chain(path.split(|&c| c == b'/')) {
        match part {
            b"" | b"." => {}
            b".." => {
                parts.pop()?;
            }
            name => parts.push(name),
        }
    }
    Some(parts.join(&b'/'))
}

/// The bytes of an outer tar: headers are read from it, members' data is passed over.
pub(super) trait Outer: BufRead {
    /// Passes over the data of `member`, which begins at `at` where the tar lies whole.
    fn pass(&mut self, member: &tarfile::Member, at: u64) -> Result<Passed, Error>;
}

/// What became of data that was passed over.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Passed {
    /// It is here in the index's file.
    At(u64),
    /// Somebody took it, under this number.
    Taken(usize),
    /// The input ends before it does.
    CutShort,
}

/// Reads the headers of a tar in a file.
struct Headers {
    file: Arc<File>,
    next: u64,
    end: u64,
    buffer: Vec<u8>,
    used: usize,
}

impl Outer for Headers {
    fn pass(&mut self, member: &tarfile::Member, at: u64) -> Result<Passed, Error> {
        let n = member.stored;
        let buffered = (self.buffer.len() - self.used) as u64;
        match n.checked_sub(buffered) {
            None => self.used += usize::try_from(n).expect("less than what is buffered"),
            Some(beyond) if beyond > self.end.saturating_sub(self.next) => return Ok(Passed::CutShort),
            Some(beyond) => {
                self.used = self.buffer.len();
                self.next += beyond;
            }
        }
        Ok(Passed::At(at))
    }
}

impl BufRead for Headers {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.used == self.buffer.len() {
            self.buffer.resize(READ_AHEAD, 0);
            self.used = READ_AHEAD;
            let n = self.file.read_at(&mut self.buffer, self.next)?;
            self.buffer.truncate(n);
            self.next += n as u64;
            self.used = 0;
        }
        Ok(&self.buffer[self.used..])
    }

    fn consume(&mut self, n: usize) {
        self.used += n;
    }
}

impl Read for Headers {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = self.fill_buf()?.read(buf)?;
        self.consume(n);
        Ok(n)
    }
}
