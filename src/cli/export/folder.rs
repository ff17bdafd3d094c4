//! A directory as the target of an export: there with all that is to be in it, or as it was.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::rc::Rc;

use super::super::fault::Cause;
use super::super::place::{self, LookFault};
use super::failed;
use crate::sys::Errno;
use crate::sys::copy::{Copy, Unheld};
use crate::sys::dir::Dir;
use crate::sys::dir::in_root::Found;
use crate::sys::interrupt::Interrupts;
use crate::sys::{filesystem, new_file, tree};

/// A directory that is not there yet, or empty.
pub(super) struct Target {
    folder: Rc<Dir>,
    name: Vec<u8>,
    /// What it is called until all is in it; one that was there has its own name.
    meanwhile: Option<Vec<u8>>,
    kept: bool,
}

impl Target {
    /// Looks whether `path` is a directory to export to.
    pub(super) fn begin(path: &Path) -> Result<Self, Cause> {
        let full = path.canonicalize();
        let path = full.as_deref().unwrap_or(path);
        let name = path.file_name().ok_or_else(|| failed(path, &ErrorKind::IsADirectory.into()))?;
        let folder = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let folder = Dir::open(folder).map_err(place::failed)?;
        let name = name.as_bytes().to_owned();
        let meanwhile = match fs::read_dir(path).map(|mut entries| entries.next().is_none()) {
            Ok(true) => None,
            Ok(false) => return Err(LookFault::InTheWay("there is a directory that is not empty").into()),
            Err(e) if e.kind() == ErrorKind::NotFound => {
                Some(new_file::beside(&name).map_err(place::failed)?)
            }
            Err(e) if e.kind() == ErrorKind::NotADirectory => {
                return Err(LookFault::InTheWay("there is no directory, but something else").into());
            }
            Err(e) => return Err(failed(path, &e)),
        };
        Ok(Self { folder: Rc::new(folder), name, meanwhile, kept: false })
    }

    /// Copies all of `root`; returns which extended attributes could not be kept.
    pub(super) fn fill(&self, root: &Found) -> Result<Unheld, Cause> {
        let mut copy = Copy::default();
        copy.interrupts = Some(Interrupts::hold().map_err(place::failed)?);
        let copied = copy.tree(root, &self.folder, self.meanwhile.as_ref().unwrap_or(&self.name));
        copied.map_err(|failed| match failed.errno {
            Errno::INTR => LookFault::Program("interrupted".to_owned()).into(),
            _ => place::failed(failed),
        })?;
        Ok(copy.unheld)
    }

    /// Lets it stay, under its name.
    pub(super) fn keep(mut self, sync: bool) -> Result<(), Cause> {
        if sync {
            filesystem::sync(&*self.folder).map_err(place::failed)?;
        }
        if let Some(meanwhile) = &self.meanwhile {
            self.folder.rename_to_free(meanwhile, &self.folder, &self.name).map_err(place::failed)?;
        }
        self.kept = true;
        Ok(())
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        if self.kept {
            return;
        }
        // What cannot be removed is seen by whoever looks there.
        if let Some(meanwhile) = &self.meanwhile {
            let _ = tree::remove(&self.folder, meanwhile);
        } else if let Ok(dir) = self.folder.open_dir(&self.name) {
            for name in dir.names().unwrap_or_default() {
                let _ = tree::remove(&dir, &name);
            }
        }
    }
}
