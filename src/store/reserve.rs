//! A little room that is kept for giving room back.
//!
//! On a filesystem without a free block nothing can be removed as the store removes: a stage is a new directory, and a list
//! of names is written anew. So some files lie there for nothing. A change that gives room back deletes them first
//! ([`Store::change_that_frees`]), and whichever change ends makes them again.
//!
//! [`Store::change_that_frees`]: super::Store::change_that_frees

use std::fs;
use std::path::PathBuf;

use super::layout::Layout;
use crate::sys::CallFailed;
use crate::sys::dir::Dir;
use crate::sys::filesystem::Filesystem;

/// How many files: each is an inode too, for those may run out as well.
const FILES: usize = 8;

/// How many bytes each has. XFS makes no directory unless some 50 blocks are free (XFS_MKDIR_SPACE_RES).
const BYTES: usize = 64 << 10;

/// Where so much is free, nothing need be deleted.
const PLENTY: u64 = 4 << 20;
const PLENTY_OF_INODES: u64 = 64;

/// Makes the room again when it is dropped: after what its owner has freed.
#[derive(Debug)]
pub(super) struct Reserve {
    layout: Layout,
}

impl Reserve {
    pub(super) fn of(layout: &Layout) -> Self {
        Self { layout: layout.clone() }
    }

    /// Gives the room to others where there may be too little. What cannot be deleted stays.
    pub(super) fn release_if_needed(&self) -> Result<(), CallFailed> {
        let free = Filesystem::of(Dir::open(self.layout.root())?)?;
        if free.available < PLENTY || free.free_inodes < PLENTY_OF_INODES {
            self.release();
        }
        Ok(())
    }

    /// The same, in any case.
    pub(super) fn release(&self) {
        for path in self.files() {
            let _ = fs::remove_file(path);
        }
    }

    fn files(&self) -> impl Iterator<Item = PathBuf> {
        let dir = self.layout.reserve();
        (0..FILES).map(move |nr| dir.join(nr.to_string()))
    }
}

impl Drop for Reserve {
    fn drop(&mut self) {
        let is_there = |path: &PathBuf| fs::metadata(path).is_ok_and(|meta| meta.len() == BYTES as u64);
        for path in self.files().filter(|path| !is_there(path)) {
            if fs::write(&path, [0; BYTES]).is_err() {
                // A filesystem that is full is full: the next change tries again.
                let _ = fs::remove_file(&path);
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_released_is_made_again() {
        let scratch = tempfile::tempdir().unwrap();
        let layout = Layout::new(scratch.path());
        fs::create_dir(layout.reserve()).unwrap();
        let bytes = || -> u64 {
            fs::read_dir(layout.reserve()).unwrap().map(|file| file.unwrap().metadata().unwrap().len()).sum()
        };
        drop(Reserve::of(&layout));
        assert_eq!(bytes(), (FILES * BYTES) as u64);
        let reserve = Reserve::of(&layout);
        reserve.release();
        assert_eq!(bytes(), 0);
        // As a command does that is killed while it writes.
        fs::write(layout.reserve().join("1"), "x").unwrap();
        drop(reserve);
        assert_eq!(bytes(), (FILES * BYTES) as u64);
    }
}
