//! A tree, inode by inode, always in the same order.

use crate::sys::CallFailed;
use crate::sys::dir::in_root::{Found, Last};
use crate::sys::dir::{self, Dir, FileType, Stat};

use super::view::join;

/// What is told of each inode: its path, and itself.
pub type Each<'a, E> = dyn FnMut(&[u8], &Found, &Stat) -> Result<(), E> + 'a;

/// A directory that is being walked, and its names that are left, the next one last.
struct Level {
    dir: Dir,
    path: Vec<u8>,
    names: Vec<Vec<u8>>,
}

impl Level {
    fn of(found: &Found, path: Vec<u8>) -> Result<Self, CallFailed> {
        let dir = found.open_dir()?;
        let mut names = dir.names()?;
        names.sort_unstable_by(|a, b| b.cmp(a));
        Ok(Self { dir, path, names })
    }
}

/// Tells `each` of `root`, and of all that is in it, in the order of their names, what is in a directory right behind it: GNU
/// tar gives a directory its time when it meets what is elsewhere. Paths are empty for the root, and have no slash before
/// them. What is mounted on a directory is left out.
pub fn walk<E: From<CallFailed>>(root: &Found, each: &mut Each<'_, E>) -> Result<(), E> {
    let stat = root.stat()?;
    each(b"", root, &stat)?;
    let mut levels = Vec::new();
    if dir::kind(&stat) == FileType::Directory {
        levels.push(Level::of(root, Vec::new())?);
    }
    while let Some(level) = levels.last_mut() {
        let Some(name) = level.names.pop() else {
            levels.pop();
            continue;
        };
        // It may be removed while it is looked at.
        let Some(found) = level.dir.find(&name, Last::Kept)? else { continue };
        let (path, stat) = (join(&level.path, &name), found.stat()?);
        each(&path, &found, &stat)?;
        if dir::kind(&stat) == FileType::Directory && !found.is_mount_root()? {
            levels.push(Level::of(&found, path)?);
        }
    }
    Ok(())
}
