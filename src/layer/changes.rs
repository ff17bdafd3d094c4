//! What differs between two views: contents, and all metadata.
//!
//! A directory that both views merge of the same directories is the same in both, and nothing in it is looked at. So of a
//! container and its image only the upper directory is walked, and of two images only the layers that they do not share.

use std::collections::{BTreeMap, HashSet};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use crate::sys::dir::{self, FileType, Stat};
use crate::sys::{CallFailed, Errno};

use super::depth::deep;
use super::view::{Node, Place, View, join};
use super::{meta, whiteout};

/// What became of a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// It is new.
    Added,
    /// It is another, or, for a directory, something in it is.
    Changed,
    /// It is gone, with all that was in it.
    Deleted,
}

/// What of an inode is another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Aspect {
    /// It is of another kind: a directory became a file.
    Type,
    /// What a file holds.
    Contents,
    /// Where a symbolic link leads.
    Target,
    /// Which device a device node stands for.
    Device,
    /// User or group.
    Owner,
    /// Permissions.
    Mode,
    /// Extended attributes, access control lists and file capabilities among them.
    Xattrs,
    /// When it was modified last.
    Time,
}

/// A path that differs.
#[derive(Debug, Clone)]
pub struct Change {
    /// What became of it.
    pub kind: Kind,
    /// The path, without a slash before it; empty for the root.
    pub path: Vec<u8>,
    /// What of it is another; nothing for a directory of which only the contents are, and for what is new or gone.
    pub aspects: Vec<Aspect>,
    /// Where it is now, and what it is; `None` where it is gone.
    pub now: Option<(Node, Box<Stat>)>,
}

/// Returns what became of `old` in `new`, two views of one pool: each directory before what is in it, names in the order
/// of their bytes. Like `docker diff` it tells of a removed directory itself, not of all that was in it, and of each
/// directory in which something is another; unlike it, of all metadata.
///
/// Times of the root are left out: they tell of nothing that is not told.
pub fn changes(new: &View<'_>, old: &View<'_>) -> Result<Vec<Change>, CallFailed> {
    deep(|| Ok(Compare::new(new, old).all()?.changes))
}

/// Returns the same for a layer that is to make `new` of `old`: also files that are as they were, but have got another name,
/// which would be a file of its own without them.
pub fn to_layer(new: &View<'_>, old: &View<'_>) -> Result<Vec<Change>, CallFailed> {
    deep(|| {
        let first = Compare::new(new, old).all()?;
        let several = first.changes.iter().filter_map(|change| inode_of_several(&change.now.as_ref()?.1));
        let linked: HashSet<_> = several.filter(|inode| first.same.contains(inode)).collect();
        if linked.is_empty() {
            return Ok(first.changes);
        }
        Ok(Compare { linked, ..Compare::new(new, old) }.all()?.changes)
    })
}

/// Identifies an inode that has several names.
fn inode_of_several(stat: &Stat) -> Option<(u64, u64)> {
    let several = stat.st_nlink > 1 && dir::kind(stat) != FileType::Directory;
    several.then_some((stat.st_dev, stat.st_ino))
}

struct Compare<'a> {
    new: &'a View<'a>,
    old: &'a View<'a>,
    changes: Vec<Change>,
    /// Files to be told of for another name of theirs.
    linked: HashSet<(u64, u64)>,
    /// Files of the new view that are as they were, and have several names.
    same: HashSet<(u64, u64)>,
}

impl<'a> Compare<'a> {
    fn new(new: &'a View<'a>, old: &'a View<'a>) -> Self {
        Self { new, old, changes: Vec::new(), linked: HashSet::new(), same: HashSet::new() }
    }

    fn all(mut self) -> Result<Self, CallFailed> {
        let (ours, theirs) = (self.new.root(), self.old.root());
        if let (Some(is), Some(was)) = (ours.first(), theirs.first()) {
            let mut aspects = self.metadata(is, was)?;
            aspects.retain(|aspect| *aspect != Aspect::Time);
            if let (false, Some(stat)) = (aspects.is_empty(), self.new.stat(is)?) {
                self.changed(&[], Node::Directory(ours.clone()), stat, aspects);
            }
        }
        self.directory(&[], &ours, &theirs)?;
        Ok(self)
    }

    /// Compares two directories, each merged of some.
    fn directory(&mut self, path: &[u8], new: &[Place], old: &[Place]) -> Result<(), CallFailed> {
        // What both merge at the end answers for the same names in the same way.
        let common = new.iter().rev().zip(old.iter().rev()).take_while(|(new, old)| new == old).count();
        let mut names = self.new.names(&new[..new.len() - common])?;
        names.extend(self.old.names(&old[..old.len() - common])?);
        for name in names {
            match self.name(&join(path, &name), &name, new, old) {
                // A mounted container's user may remove it just now.
                Err(failed) if failed.errno == Errno::NOENT => {}
                done => done?,
            }
        }
        Ok(())
    }

    fn name(&mut self, path: &[u8], name: &[u8], new: &[Place], old: &[Place]) -> Result<(), CallFailed> {
        match (self.new.child(new, name)?, self.old.child(old, name)?) {
            (None, None) => Ok(()),
            (None, Some(_)) => {
                let path = path.to_owned();
                self.changes.push(Change { kind: Kind::Deleted, path, aspects: Vec::new(), now: None });
                Ok(())
            }
            (Some(is), None) => self.added(path, is),
            (Some(is), Some(was)) => self.both(path, is, &was),
        }
    }

    fn added(&mut self, path: &[u8], is: Node) -> Result<(), CallFailed> {
        let Some(stat) = self.stat(is.at())? else { return Ok(()) };
        let places = if let Node::Directory(places) = &is { places.clone() } else { Vec::new() };
        let now = Some((is, Box::new(stat)));
        self.changes.push(Change { kind: Kind::Added, path: path.to_owned(), aspects: Vec::new(), now });
        self.directory(path, &places, &[])
    }

    fn both(&mut self, path: &[u8], is: Node, was: &Node) -> Result<(), CallFailed> {
        let Some(stat) = self.stat(is.at())? else { return Ok(()) };
        let begun = self.changes.len();
        match (&is, was) {
            (Node::Directory(new), Node::Directory(old)) => {
                let (new, aspects) = (new.clone(), self.metadata(&new[0], &old[0])?);
                self.directory(path, &new, old)?;
                if !aspects.is_empty() || self.changes.len() > begun {
                    self.changed_before(begun, path, is, stat, aspects);
                }
            }
            (Node::Directory(new), Node::Other { .. }) => {
                let new = new.clone();
                self.changed(path, is, stat, vec![Aspect::Type]);
                self.directory(path, &new, &[])?;
            }
            (Node::Other { .. }, Node::Directory(_)) => self.changed(path, is, stat, vec![Aspect::Type]),
            (Node::Other { at, data }, Node::Other { at: at_before, data: data_before }) => {
                let aspects = aspects(self.new, (at, data), self.old, (at_before, data_before))?;
                let inode = inode_of_several(&stat).filter(|_| aspects.is_empty() && at != at_before);
                self.same.extend(inode);
                if !aspects.is_empty() || inode.is_some_and(|inode| self.linked.contains(&inode)) {
                    self.changed(path, is, stat, aspects);
                }
            }
        }
        Ok(())
    }

    /// Returns what there is now; `None` where it is gone meanwhile, or another filesystem is mounted on it.
    fn stat(&self, at: &Place) -> Result<Option<Stat>, CallFailed> {
        Ok(self.new.stat(at)?.filter(|stat| !self.new.is_covered(at, stat)))
    }

    fn changed(&mut self, path: &[u8], is: Node, stat: Stat, aspects: Vec<Aspect>) {
        self.changed_before(self.changes.len(), path, is, stat, aspects);
    }

    fn changed_before(&mut self, nr: usize, path: &[u8], is: Node, stat: Stat, aspects: Vec<Aspect>) {
        let now = Some((is, Box::new(stat)));
        self.changes.insert(nr, Change { kind: Kind::Changed, path: path.to_owned(), aspects, now });
    }

    fn metadata(&self, is: &Place, was: &Place) -> Result<Vec<Aspect>, CallFailed> {
        metadata(self.new, is, self.old, was)
    }
}

/// Returns what is another of two inodes, each of which has its metadata and its contents somewhere.
pub(super) fn aspects(
    new: &View<'_>,
    (is, data): (&Place, &Place),
    old: &View<'_>,
    (was, data_before): (&Place, &Place),
) -> Result<Vec<Aspect>, CallFailed> {
    if is == was {
        return Ok(Vec::new());
    }
    let mut aspects = metadata(new, is, old, was)?;
    let other = !aspects.contains(&Aspect::Type) && data != data_before;
    if other && !same(new, data, old, data_before)? {
        aspects.insert(0, Aspect::Contents);
    }
    Ok(aspects)
}

/// Returns what of two inodes is another, contents of files aside.
fn metadata(new: &View<'_>, is: &Place, old: &View<'_>, was: &Place) -> Result<Vec<Aspect>, CallFailed> {
    if is == was {
        return Ok(Vec::new());
    }
    let (Some(now), Some(then)) = (new.stat(is)?, old.stat(was)?) else { return Ok(Vec::new()) };
    let kind = dir::kind(&now);
    if kind != dir::kind(&then) {
        return Ok(vec![Aspect::Type]);
    }
    let is_device = matches!(kind, FileType::CharacterDevice | FileType::BlockDevice);
    let is_link = kind == FileType::Symlink;
    let mut aspects = Vec::new();
    let mut note = |differs: bool, aspect| aspects.extend(differs.then_some(aspect));
    note(is_link && new.link(is, &now)? != old.link(was, &then)?, Aspect::Target);
    note(is_device && now.st_rdev != then.st_rdev, Aspect::Device);
    note((now.st_uid, now.st_gid) != (then.st_uid, then.st_gid), Aspect::Owner);
    note(!is_link && now.st_mode != then.st_mode, Aspect::Mode);
    note(xattrs(new, is)? != xattrs(old, was)?, Aspect::Xattrs);
    let time = |stat: &Stat| (stat.st_mtime, stat.st_mtime_nsec);
    note(time(&now) != time(&then), Aspect::Time);
    Ok(aspects)
}

/// Whether two places hold the same contents; so do two that are no files.
fn same(new: &View<'_>, is: &Place, old: &View<'_>, was: &Place) -> Result<bool, CallFailed> {
    let ((now, name), (then, name_before)) = (new.parent(is)?, old.parent(was)?);
    let (Some(stat), Some(before)) = (now.stat(name)?, then.stat(name_before)?) else { return Ok(true) };
    if dir::kind(&stat) != FileType::RegularFile {
        return Ok(true);
    }
    if stat.st_size != before.st_size {
        return Ok(false);
    }
    let (now, then) = (now.open_file(name)?, then.open_file(name_before)?);
    same_bytes(&now, &then).map_err(|e| CallFailed::of_io("read", &e))
}

/// Returns the attributes that are an inode's own, and no host's.
pub(super) fn xattrs(view: &View<'_>, at: &Place) -> Result<BTreeMap<Vec<u8>, Vec<u8>>, CallFailed> {
    let shown = whiteout::shown(view.xattrs(at)?);
    Ok(shown.into_iter().filter(|(key, _)| !meta::labels_host(key)).collect())
}

/// Compares two files of one size.
fn same_bytes(one: &File, other: &File) -> io::Result<bool> {
    let (mut ours, mut theirs) = (vec![0; 128 << 10], vec![0; 128 << 10]);
    let mut at = 0;
    loop {
        let read = one.read_at(&mut ours, at)?;
        if read == 0 {
            return Ok(true);
        }
        match other.read_exact_at(&mut theirs[..read], at) {
            Ok(()) if ours[..read] == theirs[..read] => at += read as u64,
            Ok(()) => return Ok(false),
            // It was cut meanwhile.
            Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => return Ok(false),
            Err(e) => return Err(e),
        }
    }
}
