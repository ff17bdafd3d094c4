//! Whole directory trees: removing one.

use super::CallFailed;
use super::dir::Dir;
use rustix::io::Errno;

/// How many directories are held open at once; deeper ones are moved up before they are emptied.
const DEEPEST: usize = 64;

/// Removes `name` in `parent` with all that lies below it, however deep; nothing happens where there is nothing.
///
/// Symbolic links are removed, never followed. The number of open directories is bounded, whatever the depth.
pub fn remove(parent: &Dir, name: &[u8]) -> Result<(), CallFailed> {
    if !is_directory_left(parent, name)? {
        return Ok(());
    }
    let mut levels = vec![Level::open(parent, name)?];
    let mut moved = 0_u64;
    while let Some(level) = levels.last_mut() {
        if let Some(below) = level.left.pop() {
            if levels.len() < DEEPEST {
                let level = Level::open(&levels[levels.len() - 1].dir, &below)?;
                levels.push(level);
            } else {
                let up = format!(".ovlctl-removing-{moved}").into_bytes();
                moved += 1;
                levels[levels.len() - 1].dir.rename(&below, &levels[0].dir, &up)?;
                levels[0].left.push(up);
            }
        } else {
            let name = std::mem::take(&mut level.name);
            levels.pop();
            levels.last().map_or(parent, |level| &level.dir).rmdir(&name)?;
        }
    }
    Ok(())
}

/// A directory whose files are gone, and the directories in it that are left.
struct Level {
    dir: Dir,
    name: Vec<u8>,
    left: Vec<Vec<u8>>,
}

impl Level {
    fn open(parent: &Dir, name: &[u8]) -> Result<Self, CallFailed> {
        let dir = parent.open_dir(name)?;
        let mut left = Vec::new();
        for name in dir.names()? {
            if is_directory_left(&dir, &name)? {
                left.push(name);
            }
        }
        Ok(Self { dir, name: name.to_owned(), left })
    }
}

/// Unlinks `name`, unless it is a directory: that has to be emptied first, and is still there.
fn is_directory_left(dir: &Dir, name: &[u8]) -> Result<bool, CallFailed> {
    match dir.unlink(name) {
        Ok(()) => Ok(false),
        Err(failed) if failed.errno == Errno::NOENT => Ok(false),
        Err(failed) if failed.errno == Errno::ISDIR => Ok(true),
        Err(failed) => Err(failed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    #[test]
    fn removes_a_tree_and_follows_no_link() {
        let scratch = tempfile::tempdir().unwrap();
        let (tree, kept) = (scratch.path().join("tree"), scratch.path().join("kept"));
        fs::create_dir_all(tree.join("a/b")).unwrap();
        fs::create_dir(&kept).unwrap();
        fs::write(kept.join("file"), "").unwrap();
        symlink(&kept, tree.join("a/out")).unwrap();
        let parent = Dir::open(scratch.path()).unwrap();
        remove(&parent, b"tree").unwrap();
        remove(&parent, b"tree").unwrap();
        assert!(!tree.exists());
        assert!(kept.join("file").exists());
    }

    #[test]
    fn removes_what_is_deeper_than_a_path_may_be_long() {
        let scratch = tempfile::tempdir().unwrap();
        let parent = Dir::open(scratch.path()).unwrap();
        let mut dir = parent.again().unwrap();
        for _ in 0..1000 {
            dir.mkdir(b"directory", 0o700).unwrap();
            dir = dir.open_dir(b"directory").unwrap();
            dir.create(b"file", 0o600).unwrap();
        }
        remove(&parent, b"directory").unwrap();
        assert_eq!(parent.names().unwrap(), Vec::<Vec<u8>>::new());
    }
}
