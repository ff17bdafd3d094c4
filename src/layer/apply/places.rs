//! Where a member goes: its parent directory, and room for its name there.
//!
//! Names are resolved by handles and never leave the layer's root. A member replaces what an earlier one put at its path;
//! where that may be so, the writers are waited for first.

use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::sync::Arc;

use crate::sys::dir::{self, Dir, FileType};

use super::Apply;
use crate::layer::error::{Error, For, Refusal};
use crate::layer::lower_links::Spot;
use crate::layer::meta::DIRECTORY_AT_BIRTH;
use crate::layer::tree::{NodeId, OF_DIRECTORY, ROOT};
use crate::layer::whiteout;

/// As many symbolic links as the kernel follows in one path (MAXSYMLINKS, linux/namei.h).
const MAX_LINKS: usize = 40;

/// Names and `..` on the way, those of links included: twice what a path has room for. Links that lead to and fro could make
/// 80,000 of 6 characters.
const MAX_STEPS: usize = 4096;

/// What the path of a file that goes with its directory takes besides its bytes, until the recipe has it.
const OF_NEWS: u64 = 40;

impl Apply<'_> {
    pub(super) fn make_directory(&mut self, at: &Spot, entry: &[u8]) -> Result<NodeId, Error> {
        self.hold(OF_DIRECTORY + at.name.len() as u64).entry(entry)?;
        self.tree.fits(at.parent, &at.name).entry(entry)?;
        if whiteout::is_reserved(&at.name) {
            return Err(Refusal::Reserved(at.name.to_vec()).of(entry));
        }
        self.room_for(at, entry)?.mkdir(&at.name, DIRECTORY_AT_BIRTH).entry(entry)?;
        Ok(self.tree.add(at.parent, &at.name))
    }

    /// Whether an inode that is no directory has this name, or will have once the writers are done.
    pub(super) fn is_on_disk(&mut self, at: &Spot, entry: &[u8]) -> Result<bool, Error> {
        if !self.tree.may_be_taken(at.parent, &at.name) {
            return Ok(false);
        }
        let dir = self.handles.get(&self.tree, at.parent).entry(entry)?;
        if dir.stat(&at.name).entry(entry)?.is_some() {
            return Ok(true);
        }
        self.writers.drain()?;
        Ok(dir.stat(&at.name).entry(entry)?.is_some())
    }

    /// Sees to it that nothing has this name, notes that it is taken now, and returns its directory.
    pub(super) fn room_for(&mut self, at: &Spot, entry: &[u8]) -> Result<Arc<Dir>, Error> {
        let dir = self.handles.get(&self.tree, at.parent).entry(entry)?;
        if !self.tree.take_name(at.parent, &at.name) {
            return Ok(dir);
        }
        if let Some(id) = self.tree.kid(at.parent, &at.name) {
            self.remove_directory(id, entry)?;
        } else {
            self.links.forget(at);
            if self.is_on_disk(at, entry)? {
                let path = || self.tree.path_of(at.parent, &at.name);
                self.displaced.take(&dir, &at.name, path, entry)?;
            }
        }
        Ok(dir)
    }

    /// Removes a directory with all in it, without holding more than one of them open.
    fn remove_directory(&mut self, top: NodeId, entry: &[u8]) -> Result<(), Error> {
        self.writers.drain()?;
        for id in self.tree.remove(top) {
            let dir = self.handles.get(&self.tree, id).entry(entry)?;
            let told = dir.each_name(|name| match self.take_away(&dir, id, name, entry) {
                Ok(()) => ControlFlow::Continue(()),
                Err(error) => ControlFlow::Break(error),
            });
            if let ControlFlow::Break(error) = told.entry(entry)? {
                return Err(error);
            }
            self.handles.forget(id);
            let parent = self.handles.get(&self.tree, self.tree.parent(id)).entry(entry)?;
            parent.rmdir(self.tree.name(id)).entry(entry)?;
        }
        Ok(())
    }

    /// Takes a file out of a directory that is to be removed.
    fn take_away(&mut self, dir: &Dir, id: NodeId, name: &[u8], entry: &[u8]) -> Result<(), Error> {
        let path = self.tree.path_of(id, name);
        self.hold(OF_NEWS + path.len() as u64).entry(entry)?;
        self.displaced.take(dir, name, || path, entry)
    }

    /// Returns the directory at `parents`. Links of this layer are followed inside its root; what is missing, or is
    /// something else, becomes an implied directory.
    pub(super) fn enter(&mut self, parents: &[&[u8]], entry: &[u8]) -> Result<NodeId, Error> {
        if self.tree.is_at(self.here, parents) {
            return Ok(self.here);
        }
        let mut here = ROOT;
        for (done, part) in parents.iter().enumerate() {
            match self.tree.kid(here, part) {
                Some(kid) => here = kid,
                None => return self.walk(here, &parents[done..], entry),
            }
        }
        self.here = here;
        Ok(here)
    }

    /// Whether something of this layer that is no directory, a link too, stands at `parents` or on the way there.
    ///
    /// It hides by itself whatever the layers below have there, so a whiteout beneath it removes nothing: umoci writes such
    /// whiteouts where a directory became a file. Following a link would remove what the layer never meant.
    pub(super) fn is_below_no_directory(&mut self, parents: &[&[u8]], entry: &[u8]) -> Result<bool, Error> {
        let mut here = ROOT;
        for part in parents {
            match self.tree.kid(here, part) {
                Some(kid) => here = kid,
                None => {
                    let spot = Spot::new(here, part);
                    return Ok(self.links.at(&spot).is_some() || self.is_on_disk(&spot, entry)?);
                }
            }
        }
        Ok(false)
    }

    fn walk(&mut self, mut here: NodeId, parts: &[&[u8]], entry: &[u8]) -> Result<NodeId, Error> {
        let mut todo: VecDeque<Box<[u8]>> = parts.iter().map(|&part| part.into()).collect();
        // What is not there yet, below `here`: made only once it is known that no `..` of a link takes it back.
        let mut missing: Vec<Box<[u8]>> = Vec::new();
        let (mut links, mut steps) = (0, 0);
        while let Some(part) = todo.pop_front() {
            steps += 1;
            if steps > MAX_STEPS {
                return Err(Refusal::TooManySteps(MAX_STEPS).of(entry));
            }
            if &*part == b".." {
                if missing.pop().is_none() {
                    here = self.tree.parent(here);
                }
            } else if !missing.is_empty() {
                missing.push(part);
            } else if let Some(kid) = self.tree.kid(here, &part) {
                here = kid;
            } else if let Some(target) = self.link_at(here, &part, entry)? {
                links += 1;
                if links > MAX_LINKS {
                    return Err(Refusal::TooManyLinks(MAX_LINKS).of(entry));
                }
                if target.starts_with(b"/") {
                    here = ROOT;
                }
                let steps = target.split(|&b| b == b'/').filter(|step| !matches!(*step, b"" | b"."));
                steps.rev().for_each(|step| todo.push_front(step.into()));
            } else {
                missing.push(part);
            }
        }
        for name in missing {
            here = self.make_directory(&Spot { parent: here, name }, entry)?;
        }
        Ok(here)
    }

    /// Returns the target of the symbolic link `name`; links are never in flight.
    fn link_at(&mut self, parent: NodeId, name: &[u8], entry: &[u8]) -> Result<Option<Vec<u8>>, Error> {
        if !self.tree.may_be_taken(parent, name) {
            return Ok(None);
        }
        let dir = self.handles.get(&self.tree, parent).entry(entry)?;
        match dir.stat(name).entry(entry)? {
            Some(stat) if dir::kind(&stat) == FileType::Symlink => dir.read_link(name).map(Some).entry(entry),
            _ => Ok(None),
        }
    }
}
