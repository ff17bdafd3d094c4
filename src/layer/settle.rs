//! The second phase: what depends on the layers below.
//!
//! Order matters: hard links first, for they give this layer names that no whiteout may take; whiteouts next; metadata of
//! directories last, for every name made in them changes their times.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};

use crate::limits::{Limit, Limits};
use crate::sys::CallFailed;
use crate::sys::dir::{self, Dir, FileType, Stat};

use super::below::{Below, Lower, Merged};
use super::error::{Error, For, Refusal};
use super::lower_links::{LowerFile, LowerLinks, Spot};
use super::meta::{Meta, Stamp};
use super::tree::{Handles, NodeId, ROOT, Tree};
use super::{Summary, Unpacked, whiteout};

impl Unpacked {
    /// Completes the layer in `diff`, into which it was unpacked, for the place over the layers `below`.
    pub fn settle(self, diff: &Dir, below: &Below) -> Result<Summary, Error> {
        let Self { tree, links, stamp, entries, bytes, limits, held } = self;
        let handles = Handles::new(diff).map_err(Error::Call)?;
        let mut settle = Settle { tree: &tree, stamp: &stamp, below, handles };
        settle.bring_up_all(links)?;
        let views = settle.views(&limits, held)?;
        settle.whiteouts(&views)?;
        settle.directories(&views)?;
        let left_out = std::mem::take(&mut *stamp.left_out());
        Ok(Summary { entries, bytes, opaque_root: tree.node(ROOT).opaque, left_out })
    }
}

struct Settle<'a> {
    tree: &'a Tree,
    stamp: &'a Stamp,
    below: &'a Below,
    handles: Handles,
}

/// What lies below a directory of this layer.
#[derive(Debug, Clone, Default)]
enum View {
    /// Nobody needs to know.
    #[default]
    Unknown,
    /// No directory that overlayfs would merge with it.
    Nothing,
    /// This one, and it is merged with it.
    Merged(Merged),
    /// One that this layer whites out to put its own in its place.
    Replaced,
}

impl Settle<'_> {
    fn bring_up_all(&mut self, links: LowerLinks) -> Result<(), Error> {
        for (file, names) in links.into_files(self.tree) {
            let (layer, stat) = match self.below.lookup(&file.source).entry(&file.entry)? {
                None => return Err(Refusal::LinkToNothing(file.target).of(&file.entry)),
                Some(Lower::Directory(_)) => {
                    return Err(Refusal::LinkToDirectory(file.target).of(&file.entry));
                }
                Some(Lower::Other(layer, stat)) => (layer, stat),
            };
            let Some((first, others)) = names.split_first() else { continue };
            self.bring_up(&file, self.below.layer(layer), &stat, first)?;
            let from = self.handles.get(self.tree, first.parent).entry(&file.entry)?;
            for name in others {
                let to = self.handles.get(self.tree, name.parent).entry(&file.entry)?;
                from.link(&first.name, &to, &name.name).entry(&file.entry)?;
            }
        }
        Ok(())
    }

    /// Copies a file of a layer below to `to`, with all that it has.
    fn bring_up(&mut self, file: &LowerFile, layer: &Dir, stat: &Stat, to: &Spot) -> Result<(), Error> {
        let entry = &file.entry;
        let (parent, name) = match file.source.iter().rposition(|&b| b == b'/') {
            None => (layer.again(), &*file.source),
            Some(end) => (layer.open_beneath(&file.source[..end]), &file.source[end + 1..]),
        };
        let parent = parent.entry(entry)?;
        let meta = Meta::of_inode(stat, parent.xattrs(name).entry(entry)?);
        let dir = self.handles.get(self.tree, to.parent).entry(entry)?;
        match dir::kind(stat) {
            FileType::RegularFile => {
                let source = parent.open_file(name).entry(entry)?;
                let copy = dir.create(&to.name, Stamp::mode_at_birth(&meta)).entry(entry)?;
                copy_data(&source, &copy, stat).entry(entry)?;
                self.stamp.file(&copy, &meta, entry)
            }
            FileType::Symlink => {
                dir.symlink(&parent.read_link(name).entry(entry)?, &to.name).entry(entry)?;
                self.stamp.symlink(&dir, &to.name, &meta, entry)
            }
            kind
            @ (FileType::CharacterDevice | FileType::BlockDevice | FileType::Fifo | FileType::Socket) => {
                dir.mknod(&to.name, kind, 0, dir::device(stat)).entry(entry)?;
                self.stamp.node(&dir, &to.name, &meta, entry)
            }
            FileType::Directory | FileType::Unknown => {
                Err(Refusal::LinkToDirectory(file.target.clone()).of(entry))
            }
        }
    }

    /// Finds out what lies below each directory for which that matters: a list of layers each, which takes memory.
    fn views(&self, limits: &Limits, mut held: u64) -> Result<Vec<View>, Error> {
        let matters = self.where_it_matters();
        let mut views = vec![View::Unknown; self.tree.made()];
        views[ROOT.index()] = self.below.root().map_or(View::Nothing, View::Merged);
        for id in self.tree.ids().filter(|&id| id != ROOT && matters[id.index()]) {
            let (parent, name) = (self.tree.parent(id), self.tree.name(id));
            let replaces = self.tree.whites_out(parent, name);
            views[id.index()] = match self.visible(&views, parent, name)? {
                Some(Lower::Directory(_)) if replaces => View::Replaced,
                Some(Lower::Directory(merged)) => {
                    held += merged.held();
                    limits.check(Limit::Memory, held).entry(&self.tree.path(id))?;
                    View::Merged(merged)
                }
                Some(Lower::Other(..)) | None => View::Nothing,
            };
        }
        Ok(views)
    }

    /// Marks implied directories and those with whiteouts, what takes a whited-out one's place, and all above them.
    fn where_it_matters(&self) -> Vec<bool> {
        let mut matters = vec![false; self.tree.made()];
        let mut mark = |mut id: NodeId| {
            while !matters[id.index()] {
                matters[id.index()] = true;
                id = self.tree.parent(id);
            }
        };
        for id in self.tree.ids() {
            let node = self.tree.node(id);
            if node.described.is_none() || self.tree.gone(id).next().is_some() {
                mark(id);
            }
            self.tree.gone(id).filter_map(|name| self.tree.kid(id, name)).for_each(&mut mark);
        }
        matters
    }

    /// Returns what the layers below show of `name` in a directory of this layer.
    fn visible(&self, views: &[View], parent: NodeId, name: &[u8]) -> Result<Option<Lower>, Error> {
        match &views[parent.index()] {
            View::Merged(merged) if !self.tree.node(parent).opaque => {
                let path = self.tree.path_of(parent, name);
                self.below.child(merged, &path).entry(&path)
            }
            View::Merged(_) | View::Unknown | View::Nothing | View::Replaced => Ok(None),
        }
    }

    /// Places a whiteout for each name that is visible below and that this layer does not have itself. Of any other one
    /// readdir(3) would show a name that no call can open.
    fn whiteouts(&mut self, views: &[View]) -> Result<(), Error> {
        for id in self.tree.ids() {
            for name in self.tree.gone(id) {
                if self.tree.kid(id, name).is_some() || self.visible(views, id, name)?.is_none() {
                    continue;
                }
                let path = self.tree.path_of(id, name);
                let dir = self.handles.get(self.tree, id).entry(&path)?;
                if dir.stat(name).entry(&path)?.is_none() {
                    whiteout::place(&dir, name).entry(&path)?;
                }
            }
        }
        Ok(())
    }

    /// Gives every directory its marks and metadata, children before their parents.
    fn directories(&mut self, views: &[View]) -> Result<(), Error> {
        for id in self.tree.ids().rev() {
            let path = self.tree.path(id);
            let (node, view) = (self.tree.node(id), &views[id.index()]);
            let not_described = match view {
                View::Merged(merged) if node.described.is_none() => {
                    self.below.directory_meta(merged, &path).entry(&path)?
                }
                View::Merged(_) | View::Unknown | View::Nothing | View::Replaced => Meta::UNDESCRIBED,
            };
            let meta = node.described.as_ref().unwrap_or(&not_described);
            if id == ROOT {
                self.stamp.directory(&*self.handles.get(self.tree, ROOT).entry(b".")?, meta, b".")?;
                continue;
            }
            if node.opaque || matches!(view, View::Replaced) {
                whiteout::mark_opaque(&*self.handles.get(self.tree, id).entry(&path)?).entry(&path)?;
            }
            // By its name: most directories have none in them, and need not be opened once more.
            let dir = self.handles.get(self.tree, self.tree.parent(id)).entry(&path)?;
            self.stamp.directory_at(&dir, self.tree.name(id), meta, &path)?;
        }
        Ok(())
    }
}

/// Copies what a file holds; its holes stay holes.
pub(super) fn copy_data(mut from: &File, mut to: &File, stat: &Stat) -> Result<(), CallFailed> {
    let failed = |call: &'static str| move |e: io::Error| CallFailed::of_io(call, &e);
    let mut at = 0;
    while let Some((start, end)) = dir::next_data(from, at).map_err(|e| CallFailed::new("lseek", e))? {
        from.seek(SeekFrom::Start(start)).map_err(failed("lseek"))?;
        to.seek(SeekFrom::Start(start)).map_err(failed("lseek"))?;
        io::copy(&mut from.take(end - start), &mut to).map_err(failed("copy_file_range"))?;
        at = end;
    }
    #[expect(clippy::cast_sign_loss, reason = "no file is shorter than nothing")]
    to.set_len(stat.st_size as u64).map_err(failed("ftruncate"))
}
