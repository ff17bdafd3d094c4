//! What overlayfs shows of a stack of directories, worked out in user space: layers, and upper directories, in which
//! overlayfs itself has written.
//!
//! [`Below`](super::Below) knows layers only, which have neither redirects nor files without contents.

use std::collections::{BTreeSet, HashMap};

use crate::sys::dir::in_root::{Found, Last};
use crate::sys::dir::{self, Dir, FileType, Stat, Xattr};
use crate::sys::{CallFailed, Errno};

use super::whiteout;

/// Directories that views are made of. One that is in several views is the same in all of them.
#[derive(Debug, Default)]
pub struct Pool {
    dirs: Vec<Dir>,
    /// The device that each is on.
    devices: Vec<u64>,
    /// Device and inode of each.
    known: HashMap<(u64, u64), usize>,
}

impl Pool {
    /// Adds a directory, or finds it where it is there already. Returns its number.
    pub fn add(&mut self, dir: Dir) -> Result<usize, CallFailed> {
        let stat = dir.stat_self()?;
        let number = *self.known.entry((stat.st_dev, stat.st_ino)).or_insert(self.dirs.len());
        if number == self.dirs.len() {
            self.dirs.push(dir);
            self.devices.push(stat.st_dev);
        }
        Ok(number)
    }
}

/// Returns the name in the directory above `path` that a slip of the fingers may have meant.
pub fn nearest(view: &View<'_>, path: &[u8]) -> Result<Option<Vec<u8>>, CallFailed> {
    let (above, name) = match path.iter().rposition(|&byte| byte == b'/') {
        Some(slash) => (&path[..slash], &path[slash + 1..]),
        None => (&b""[..], path),
    };
    let mut places = view.root();
    for part in above.split(|&byte| byte == b'/').filter(|part| !part.is_empty()) {
        match view.child(&places, part)? {
            Some(Node::Directory(merged)) => places = merged,
            Some(Node::Other { .. }) | None => return Ok(None),
        }
    }
    let distance = |other: &[u8]| strsim::generic_damerau_levenshtein(name, other);
    let mut near = None;
    for other in view.names(&places)? {
        let apart = distance(&other);
        let nearer = near.as_ref().is_none_or(|(nearest, _)| apart < *nearest);
        if nearer && apart <= name.len().div_ceil(3) && view.child(&places, &other)?.is_some() {
            near = Some((apart, join(above, &other)));
        }
    }
    Ok(near.map(|(_, path)| path))
}

/// Where something lies: in which directory of the pool, and at which path in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The number of the directory.
    pub dir: usize,
    /// The path in it; empty for itself.
    pub path: Vec<u8>,
}

impl Place {
    fn below(&self, name: &[u8]) -> Self {
        Self { dir: self.dir, path: join(&self.path, name) }
    }
}

/// Returns the path of `name` in the directory at `path`.
pub(super) fn join(path: &[u8], name: &[u8]) -> Vec<u8> {
    if path.is_empty() { name.to_owned() } else { [path, b"/", name].concat() }
}

/// What a view has under a name.
#[derive(Debug, Clone)]
pub enum Node {
    /// The directories that are merged into one, uppermost first; never none.
    Directory(Vec<Place>),
    /// Anything else.
    Other {
        /// Where it is.
        at: Place,
        /// Where its contents are: elsewhere, where overlayfs has copied up its metadata only.
        data: Place,
    },
}

impl Node {
    /// Returns where its metadata are.
    #[must_use]
    pub fn at(&self) -> &Place {
        match self {
            Self::Directory(places) => &places[0],
            Self::Other { at, .. } => at,
        }
    }

    /// Returns where its contents are.
    pub(super) fn data(&self) -> &Place {
        match self {
            Self::Directory(places) => &places[0],
            Self::Other { data, .. } => data,
        }
    }
}

/// A stack of directories of a pool, as overlayfs shows it.
#[derive(Debug, Clone)]
pub struct View<'a> {
    pool: &'a Pool,
    stack: Vec<usize>,
}

/// What a directory of the stack has at a path.
pub(super) struct Had {
    pub(super) stat: Stat,
    pub(super) xattrs: Vec<Xattr>,
    /// Whether it hides all that lies below.
    pub(super) opaque: bool,
}

impl<'a> View<'a> {
    /// Shows these directories of `pool`, uppermost first.
    #[must_use]
    pub fn new(pool: &'a Pool, stack: Vec<usize>) -> Self {
        Self { pool, stack }
    }

    /// Returns the merged root.
    #[must_use]
    pub fn root(&self) -> Vec<Place> {
        self.stack.iter().map(|&dir| Place { dir, path: Vec::new() }).collect()
    }

    /// Returns all names that the directories at `places` have, whiteouts included.
    pub(super) fn names(&self, places: &[Place]) -> Result<BTreeSet<Vec<u8>>, CallFailed> {
        let mut names = BTreeSet::new();
        for place in places {
            match self.open_dir(place) {
                // It has just been removed.
                Err(failed) if failed.errno == Errno::NOENT => {}
                dir => names.extend(dir?.names()?),
            }
        }
        Ok(names)
    }

    /// Returns what `name` is in the directory that is merged of `parent` (ovl_lookup in fs/overlayfs/namei.c).
    pub(super) fn child(&self, parent: &[Place], name: &[u8]) -> Result<Option<Node>, CallFailed> {
        let mut todo: Vec<Place> = parent.iter().map(|place| place.below(name)).collect();
        let (mut directories, mut bare) = (Vec::new(), None);
        let mut next = 0;
        while let Some(at) = todo.get(next).cloned() {
            next += 1;
            let Some(found) = self.found(&at)? else { continue };
            let kind = dir::kind(&found.stat);
            let ends = if kind == FileType::Directory { bare.is_some() } else { !directories.is_empty() };
            if ends || dir::is_whiteout(&found.stat) {
                break;
            }
            if let Some(to) = whiteout::redirect(&found.xattrs) {
                todo.truncate(next);
                todo.extend(self.redirected(parent, &at, to)?);
            }
            if kind == FileType::Directory {
                directories.push(at);
                if found.opaque {
                    break;
                }
            } else if kind == FileType::RegularFile && whiteout::is_metadata_only(&found.xattrs) {
                bare.get_or_insert(at);
            } else {
                return Ok(Some(Node::Other { at: bare.unwrap_or_else(|| at.clone()), data: at }));
            }
        }
        Ok(match bare {
            // Its contents are gone: there is nothing else to read.
            Some(at) => Some(Node::Other { data: at.clone(), at }),
            None => (!directories.is_empty()).then_some(Node::Directory(directories)),
        })
    }

    /// Returns where below `at` a redirect leads.
    fn redirected(&self, parent: &[Place], at: &Place, to: &[u8]) -> Result<Vec<Place>, CallFailed> {
        let below = self.stack.iter().skip_while(|&&dir| dir != at.dir).skip(1);
        let Some(path) = to.strip_prefix(b"/") else {
            let rest = parent.iter().skip_while(|place| place.dir != at.dir).skip(1);
            return Ok(rest.map(|place| place.below(to)).collect());
        };
        let mut places = Vec::new();
        for &dir in below {
            match self.passage(dir, path)? {
                Passage::None => {}
                Passage::Open => places.push(Place { dir, path: path.to_owned() }),
                Passage::Last => {
                    places.push(Place { dir, path: path.to_owned() });
                    break;
                }
                Passage::Blocked => break,
            }
        }
        Ok(places)
    }

    /// Follows the directories above `path` in one directory of the stack.
    fn passage(&self, dir: usize, path: &[u8]) -> Result<Passage, CallFailed> {
        let mut passage = Passage::Open;
        for end in path.iter().enumerate().filter(|&(_, &byte)| byte == b'/').map(|(end, _)| end) {
            let Some(found) = self.found(&Place { dir, path: path[..end].to_owned() })? else {
                return Ok(Passage::None);
            };
            if dir::kind(&found.stat) != FileType::Directory {
                return Ok(Passage::Blocked);
            }
            if found.opaque {
                passage = Passage::Last;
            }
        }
        Ok(passage)
    }

    pub(super) fn found(&self, at: &Place) -> Result<Option<Had>, CallFailed> {
        let Some(stat) = self.stat(at)? else { return Ok(None) };
        Ok(match dir::kind(&stat) {
            FileType::Directory if self.is_covered(at, &stat) => {
                Some(Had { stat, xattrs: Vec::new(), opaque: true })
            }
            FileType::Directory => {
                let dir = self.open_dir(at)?;
                Some(Had { stat, xattrs: dir.xattrs_self()?, opaque: whiteout::is_opaque(&dir)? })
            }
            FileType::RegularFile => Some(Had { stat, xattrs: self.xattrs(at)?, opaque: false }),
            FileType::Symlink
            | FileType::Fifo
            | FileType::Socket
            | FileType::CharacterDevice
            | FileType::BlockDevice
            | FileType::Unknown => Some(Had { stat, xattrs: Vec::new(), opaque: false }),
        })
    }

    /// Returns what lies at a place; `None` where nothing does.
    pub fn stat(&self, at: &Place) -> Result<Option<Stat>, CallFailed> {
        match self.parent(at) {
            Ok((dir, b"")) => dir.stat_self().map(Some),
            Ok((dir, name)) => dir.stat(name),
            Err(failed) if matches!(failed.errno, Errno::NOENT | Errno::NOTDIR) => Ok(None),
            Err(failed) => Err(failed),
        }
    }

    /// Whether another filesystem is mounted on the directory at a place: then nothing of it can be seen.
    pub(super) fn is_covered(&self, at: &Place, stat: &Stat) -> bool {
        dir::kind(stat) == FileType::Directory && stat.st_dev != self.pool.devices[at.dir]
    }

    /// Returns the extended attributes of what lies at a place, overlayfs' own included.
    pub(super) fn xattrs(&self, at: &Place) -> Result<Vec<Xattr>, CallFailed> {
        match self.parent(at)? {
            (dir, b"") => dir.xattrs_self(),
            (dir, name) => dir.xattrs(name),
        }
    }

    /// Returns where the symbolic link at a place leads; nothing where `stat` is none's.
    pub(super) fn link(&self, at: &Place, stat: &Stat) -> Result<Vec<u8>, CallFailed> {
        if dir::kind(stat) != FileType::Symlink {
            return Ok(Vec::new());
        }
        let (dir, name) = self.parent(at)?;
        dir.read_link(name)
    }

    /// Finds what lies at a place; `None` where nothing does any more.
    pub(super) fn find(&self, at: &Place) -> Result<Option<Found>, CallFailed> {
        let (dir, name) = self.parent(at)?;
        dir.find(name, Last::Kept)
    }

    /// Opens the directory that a place is in, and returns the last component of its path.
    pub fn parent<'p>(&self, at: &'p Place) -> Result<(Dir, &'p [u8]), CallFailed> {
        let root = &self.pool.dirs[at.dir];
        match at.path.iter().rposition(|&byte| byte == b'/') {
            Some(slash) => Ok((root.open_beneath(&at.path[..slash])?, &at.path[slash + 1..])),
            None => Ok((root.again()?, &at.path)),
        }
    }

    fn open_dir(&self, at: &Place) -> Result<Dir, CallFailed> {
        let root = &self.pool.dirs[at.dir];
        if at.path.is_empty() { root.again() } else { root.open_beneath(&at.path) }
    }
}

/// Whether a directory of the stack has the directories above a path.
enum Passage {
    /// It has not.
    None,
    /// It has.
    Open,
    /// It has, and hides those of the directories below.
    Last,
    /// It has something else there, or removes one.
    Blocked,
}
