//! Inodes become the members of a tar: the other way round than the rest of this stage.

use std::collections::HashMap;
use std::io::{self, Write};

use crate::sys::CallFailed;
use crate::sys::dir::in_root::Found;
use crate::sys::dir::{self, FileType, Stat};
use crate::tarfile::{Kind, Member, Sparse, Time, Writer};

use super::changes::Change;
use super::holes::{self, Stored};
use super::meta::Meta;
use super::sharing::Sharer;
use super::view::{Node, View, join};
use super::walk::walk;
use super::whiteout;

/// Why a tar could not be made.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// What is to go into it could not be read.
    #[error(transparent)]
    Call(#[from] CallFailed),
    /// It could not be written, or a file changed while it was read.
    #[error("entry '{}'", path.escape_ascii())]
    Member {
        /// Its path.
        path: Vec<u8>,
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl Error {
    /// Whether nobody reads the tar any more.
    #[must_use]
    pub fn is_unwanted(&self) -> bool {
        matches!(self, Self::Member { source, .. } if source.kind() == io::ErrorKind::BrokenPipe)
    }
}

/// What no tar of a layer can hold: the path, and why.
pub type LeftOut = Vec<(Vec<u8>, &'static str)>;

/// Writes `changes`, as they are in `view`, as the tar of a layer: what is new or another, whole, and a whiteout for what is
/// gone. Returns what it cannot hold.
pub fn layer(changes: &[Change], view: &View<'_>, out: impl Write) -> Result<LeftOut, Error> {
    Packer::new(out).changes(changes, view)?.finish()
}

/// The same for a layer that is just being made: contents are shared where `sharer` can, and no time is later than `latest`,
/// in seconds since the epoch.
pub(super) fn new_layer(
    changes: &[Change],
    view: &View<'_>,
    latest: Option<i64>,
    sharer: Sharer,
    out: impl Write,
) -> Result<LeftOut, Error> {
    let latest = latest.map_or(LAST, |seconds| Time { seconds, nanos: 0 });
    Packer { latest, sharer: Some(sharer), ..Packer::new(out) }.changes(changes, view)?.finish()
}

/// Writes `found` and all below it as a tar, in which it is called `name`. What is mounted on a directory is left out. Large
/// holes stay holes where `holes` says so, which not all readers of tars know.
pub fn tree(found: &Found, name: &[u8], holes: bool, out: impl Write) -> Result<LeftOut, Error> {
    let mut packer = Packer { holes, ..Packer::new(out) };
    walk(found, &mut |path, found, _| {
        packer.add(&if path.is_empty() { name.to_owned() } else { join(name, path) }, found, None)
    })?;
    packer.finish()
}

/// Returns about how many bytes of a tar an inode takes.
#[must_use]
pub fn size(stat: &Stat) -> u64 {
    const BLOCK: u64 = 512;
    BLOCK + dir::contents(stat).next_multiple_of(BLOCK)
}

struct Packer<W> {
    tar: Writer<W>,
    /// The first name of each inode that has several.
    names: HashMap<(u64, u64), Vec<u8>>,
    left_out: LeftOut,
    /// What later times become.
    latest: Time,
    sharer: Option<Sharer>,
    /// Whether holes are told of.
    holes: bool,
}

const LAST: Time = Time { seconds: i64::MAX, nanos: 0 };

impl<W: Write> Packer<W> {
    fn new(out: W) -> Self {
        let (names, left_out) = (HashMap::new(), Vec::new());
        Self { tar: Writer::new(out), names, left_out, latest: LAST, sharer: None, holes: false }
    }

    /// Adds all changes, as they are in `view`.
    fn changes(mut self, changes: &[Change], view: &View<'_>) -> Result<Self, Error> {
        for change in changes {
            let Some((node, _)) = &change.now else {
                self.remove(&change.path)?;
                continue;
            };
            if whiteout::means_other(&change.path) {
                self.left_out.push((change.path.clone(), "its name would remove another"));
                continue;
            }
            let (at, data) = match node {
                Node::Directory(places) => (view.find(&places[0])?, None),
                Node::Other { at, data } if at != data => (view.find(at)?, view.find(data)?),
                Node::Other { at, .. } => (view.find(at)?, None),
            };
            if let Some(at) = at {
                self.add(&change.path, &at, data.as_ref())?;
            }
        }
        Ok(self)
    }

    /// Adds an inode, with the contents of another where it has none of its own.
    fn add(&mut self, path: &[u8], at: &Found, data: Option<&Found>) -> Result<(), Error> {
        let stat = at.stat()?;
        let Some(kind) = self.kind(path, at, &stat)? else {
            self.left_out.push((path.to_owned(), "it is a socket"));
            return Ok(());
        };
        let mut meta = Meta::of_inode(&stat, whiteout::shown(at.xattrs()?));
        // Filesystems list them in orders of their own.
        meta.xattrs.sort_unstable();
        if (meta.mtime.seconds, meta.mtime.nanos) > (self.latest.seconds, self.latest.nanos) {
            meta.mtime = self.latest;
        }
        let (mut file, mut stored, mut sparse) = (None, 0, None);
        if kind == Kind::File {
            let (own, size) = (data.unwrap_or(at).open_file()?, dir::contents(&stat));
            let sharer = self.sharer.as_mut();
            let shared = sharer.map_or(Ok(None), |sharer| sharer.offer(path, &own, size, &meta))?;
            let (contents, size) = shared.unwrap_or((own, size));
            sparse = if self.holes { holes::map(&contents, &stat)? } else { None };
            stored = sparse.as_ref().map_or(size, Sparse::stored);
            file = Some(contents);
        }
        let member = Member {
            path: match (&kind, path) {
                (Kind::Directory, b"") => b"./".to_vec(),
                (Kind::Directory, _) => [path, b"/"].concat(),
                (_, _) => path.to_owned(),
            },
            kind,
            mode: meta.mode,
            uid: meta.uid,
            gid: meta.gid,
            mtime: meta.mtime,
            xattrs: meta.xattrs,
            stored,
            sparse,
        };
        let written = match (&mut file, &member.sparse) {
            (Some(file), Some(sparse)) => self.tar.member(&member, &mut Stored::new(file, sparse)),
            (Some(file), None) => self.tar.member(&member, file),
            (None, _) => self.tar.member(&member, &mut io::empty()),
        };
        written.map_err(|source| Error::Member { path: path.to_owned(), source })
    }

    /// Returns what a member is; `None` for a socket, which no tar has.
    fn kind(&mut self, path: &[u8], at: &Found, stat: &Stat) -> Result<Option<Kind>, CallFailed> {
        let kind = dir::kind(stat);
        if stat.st_nlink > 1 && kind != FileType::Directory {
            if let Some(first) = self.names.get(&(stat.st_dev, stat.st_ino)) {
                return Ok(Some(Kind::HardLink(first.clone())));
            }
            self.names.insert((stat.st_dev, stat.st_ino), path.to_owned());
        }
        let (major, minor) = dir::device(stat);
        Ok(match kind {
            FileType::RegularFile => Some(Kind::File),
            FileType::Directory => Some(Kind::Directory),
            FileType::Symlink => Some(Kind::Symlink(at.link()?)),
            FileType::CharacterDevice => Some(Kind::CharDevice { major, minor }),
            FileType::BlockDevice => Some(Kind::BlockDevice { major, minor }),
            FileType::Fifo => Some(Kind::Fifo),
            FileType::Socket | FileType::Unknown => None,
        })
    }

    fn remove(&mut self, path: &[u8]) -> Result<(), Error> {
        let member = Member {
            path: whiteout::removing(path),
            kind: Kind::File,
            mode: 0,
            uid: 0,
            gid: 0,
            mtime: Time::default(),
            xattrs: Vec::new(),
            stored: 0,
            sparse: None,
        };
        let written = self.tar.member(&member, &mut io::empty());
        written.map_err(|source| Error::Member { path: path.to_owned(), source })
    }

    fn finish(self) -> Result<LeftOut, Error> {
        let ended = self.tar.finish().map(|_| ());
        ended.map_err(|source| Error::Member { path: b"end".to_vec(), source })?;
        Ok(self.left_out)
    }
}
