//! A directory as the target of an export: there with all that is to be in it, or as it was.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;

use super::super::fault::Cause;
use super::super::place::{self, LookFault};
use super::failed;
use crate::progress::{Counter, Progress};
use crate::sys::CallFailed;
use crate::sys::copy::{Copy, Unheld};
use crate::sys::dir::Dir;
use crate::sys::dir::in_root::Found;
use crate::sys::{filesystem, new_file, tree};

/// A directory that is not there yet, or empty. Until all is in it, it lies in `meanwhile` in `folder`: killed, it leaves that
/// as a sign.
pub(super) struct Target {
    folder: Rc<Dir>,
    meanwhile: Vec<u8>,
    place: Place,
    kept: bool,
}

/// Where a tree goes when it is whole.
enum Place {
    /// To this name in the folder.
    Name(Vec<u8>),
    /// Into the folder, which was there, and may be a mount point.
    Folder,
}

impl Target {
    /// Looks whether `path` is a directory to export to.
    pub(super) fn begin(path: &Path) -> Result<Self, Cause> {
        let full = path.canonicalize();
        let path = full.as_deref().unwrap_or(path);
        let name = path.file_name().ok_or_else(|| failed(path, &ErrorKind::IsADirectory.into()))?;
        let name = name.as_bytes().to_owned();
        let meanwhile = new_file::beside(&name).map_err(place::failed)?;
        let (folder, place) = match fs::read_dir(path).map(|mut entries| entries.next().is_none()) {
            Ok(true) => (path, Place::Folder),
            Ok(false) => return Err(LookFault::InTheWay("there is a directory that is not empty").into()),
            Err(e) if e.kind() == ErrorKind::NotFound => {
                let above = path.parent().filter(|parent| !parent.as_os_str().is_empty());
                (above.unwrap_or(Path::new(".")), Place::Name(name))
            }
            Err(e) if e.kind() == ErrorKind::NotADirectory => {
                return Err(LookFault::InTheWay("there is no directory, but something else").into());
            }
            Err(e) => return Err(failed(path, &e)),
        };
        let folder = Rc::new(Dir::open(folder).map_err(place::failed)?);
        Ok(Self { folder, meanwhile, place, kept: false })
    }

    /// Copies all of `root`; returns which extended attributes could not be kept.
    pub(super) fn fill(&self, root: &Found, counter: &Arc<Counter>) -> Result<Unheld, Cause> {
        let mut copy = Copy::default();
        copy.counter = Arc::clone(counter);
        copy.tree(root, &self.folder, &self.meanwhile).map_err(place::failed)?;
        Ok(copy.unheld)
    }

    /// Lets it stay, in its place, unless `progress` is to end.
    pub(super) fn keep(mut self, sync: bool, progress: &Progress) -> Result<(), Cause> {
        if sync {
            filesystem::sync(&*self.folder).map_err(place::failed)?;
        }
        progress.go_on().map_err(Cause::Output)?;
        let kept = match &self.place {
            Place::Name(name) => self.folder.rename_to_free(&self.meanwhile, &self.folder, name),
            Place::Folder => self.move_up(),
        };
        kept.map_err(place::failed)?;
        self.kept = true;
        Ok(())
    }

    /// Moves all that was copied into the folder, and makes that look like the tree's root.
    fn move_up(&self) -> Result<(), CallFailed> {
        let copied = self.folder.open_dir(&self.meanwhile)?;
        let (stat, xattrs) = (copied.stat_self()?, copied.xattrs_self()?);
        for name in copied.names()? {
            copied.rename(&name, &self.folder, &name)?;
        }
        self.folder.rmdir(&self.meanwhile)?;
        // What it cannot hold it did not hold a moment ago, and that was told of.
        Copy::default().dress(&self.folder, &stat, &xattrs)
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        if self.kept {
            return;
        }
        // What cannot be removed is seen by whoever looks there.
        let _ = tree::remove(&self.folder, &self.meanwhile);
        if matches!(self.place, Place::Folder) {
            for name in self.folder.names().unwrap_or_default() {
                let _ = tree::remove(&self.folder, &name);
            }
        }
    }
}
