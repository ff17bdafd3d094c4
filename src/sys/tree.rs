//! Whole directory trees: removing one, and counting what is in it.

use std::collections::HashSet;
use std::ops::ControlFlow;
use std::rc::Rc;

use super::CallFailed;
use super::dir::{self, Dir, FileType, Stat};
use rustix::io::Errno;

/// How many directories are held open at once; deeper ones are moved up before they are emptied.
const DEEPEST: usize = 64;

/// Removes `name` in `parent` with all that lies below it, however deep; nothing happens where there is nothing.
///
/// Symbolic links are removed, never followed, and what is mounted in the tree stays (EXDEV). The number of open
/// directories is bounded, whatever the depth.
pub fn remove(parent: &Dir, name: &[u8]) -> Result<(), CallFailed> {
    remove_while(parent, name, &mut |_, _| true).map(|_| ())
}

/// The same as long as `goes_on`, which is asked before each name beneath it, says so.
/// Returns whether all is gone. What is left can be removed later.
pub fn remove_while(
    parent: &Dir,
    name: &[u8],
    goes_on: &mut dyn FnMut(&Dir, &[u8]) -> bool,
) -> Result<bool, CallFailed> {
    if !is_directory_left(parent, name)? {
        return Ok(true);
    }
    let mut moved = 0_u64;
    let Some(level) = Level::open(parent, name, goes_on)? else { return Ok(false) };
    let mut levels = vec![level];
    while let Some(level) = levels.last_mut() {
        if let Some(below) = level.left.pop() {
            let dir = &levels[levels.len() - 1].dir;
            if levels.len() < DEEPEST {
                let Some(level) = Level::open(dir, &below, goes_on)? else { return Ok(false) };
                levels.push(level);
            } else {
                let up = move_up(dir, &below, &levels[0].dir, &mut moved)?;
                levels[0].left.push(up);
            }
        } else {
            let name = std::mem::take(&mut level.name);
            levels.pop();
            levels.last().map_or(parent, |level| &level.dir).rmdir(&name)?;
        }
    }
    Ok(true)
}

/// Moves the directory `name` to a name of its own in `top`. Whoever removed this tree before, and was killed, may have
/// left such names there.
fn move_up(dir: &Dir, name: &[u8], top: &Dir, moved: &mut u64) -> Result<Vec<u8>, CallFailed> {
    loop {
        let up = format!(".ovlctl-removing-{moved}").into_bytes();
        *moved += 1;
        match dir.rename_to_free(name, top, &up) {
            Err(failed) if failed.errno == Errno::EXIST => {}
            moved => return moved.map(|()| up),
        }
    }
}

/// A directory whose files are gone, and the directories in it that are left.
struct Level {
    dir: Dir,
    name: Vec<u8>,
    left: Vec<Vec<u8>>,
}

impl Level {
    /// `None` where it is not to go on.
    fn open(
        parent: &Dir,
        name: &[u8],
        goes_on: &mut dyn FnMut(&Dir, &[u8]) -> bool,
    ) -> Result<Option<Self>, CallFailed> {
        // Not into what somebody mounted here: that is not ours to remove.
        let dir = parent.open_beneath(name)?;
        let mut left = Vec::new();
        let told = dir.each_name(|name| {
            if !goes_on(&dir, name) {
                return ControlFlow::Break(Ok(()));
            }
            match is_directory_left(&dir, name) {
                Ok(false) => {}
                Ok(true) => left.push(name.to_owned()),
                Err(failed) => return ControlFlow::Break(Err(failed)),
            }
            ControlFlow::Continue(())
        })?;
        if let ControlFlow::Break(why) = told {
            return why.map(|()| None);
        }
        Ok(Some(Self { dir, name: name.to_owned(), left }))
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

/// Returns how many bytes the files below `top` hold: each inode once, and not what is mounted there. What vanishes
/// meanwhile counts or does not.
pub fn size(top: &Dir) -> Result<u64, CallFailed> {
    let mut bytes = 0;
    each_inode(top, &mut HashSet::new(), &mut |stat| {
        if dir::kind(stat) != FileType::Directory {
            bytes += u64::try_from(stat.st_size).unwrap_or_default();
        }
    })?;
    Ok(bytes)
}

/// Returns how many bytes of the disk `name` in `parent` takes with all that lies below it, as `du --one-file-system` counts:
/// the blocks of each inode, directories too. `linked` are those of several names that were counted before.
pub fn blocks(parent: &Dir, name: &[u8], linked: &mut HashSet<u64>) -> Result<u64, CallFailed> {
    let device = parent.stat_self()?.st_dev;
    let Some(stat) = parent.stat(name)?.filter(|stat| stat.st_dev == device) else { return Ok(0) };
    if dir::kind(&stat) != FileType::Directory {
        return Ok(if stat.st_nlink < 2 || linked.insert(stat.st_ino) { allocated(&stat) } else { 0 });
    }
    let top = match parent.open_dir(name) {
        Err(failed) if failed.errno == Errno::NOENT => return Ok(0),
        top => top?,
    };
    let mut bytes = allocated(&stat);
    each_inode(&top, linked, &mut |stat| bytes += allocated(stat))?;
    Ok(bytes)
}

/// Returns how many bytes of the disk an inode takes.
#[must_use]
pub fn allocated(stat: &Stat) -> u64 {
    // st_blocks has 512 bytes each, whatever the filesystem's are (stat(2)).
    u64::try_from(stat.st_blocks).unwrap_or_default() * 512
}

/// Goes through all inodes below `top`, each once, but not through what is mounted there.
fn each_inode(top: &Dir, linked: &mut HashSet<u64>, each: &mut dyn FnMut(&Stat)) -> Result<(), CallFailed> {
    let device = top.stat_self()?.st_dev;
    // A directory stays open as long as one in it has yet to be looked into: no more are than the tree is deep.
    let mut left = vec![(Rc::new(top.again()?), b".".to_vec())];
    while let Some((parent, name)) = left.pop() {
        let dir = match parent.open_dir(&name) {
            Err(failed) if failed.errno == Errno::NOENT => continue,
            dir => Rc::new(dir?),
        };
        for name in dir.names()? {
            let Some(stat) = dir.stat(&name)?.filter(|stat| stat.st_dev == device) else { continue };
            let is_directory = dir::kind(&stat) == FileType::Directory;
            if is_directory || stat.st_nlink < 2 || linked.insert(stat.st_ino) {
                each(&stat);
            }
            if is_directory {
                left.push((Rc::clone(&dir), name));
            }
        }
    }
    Ok(())
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
    fn removes_what_is_deeper_than_a_path_may_be_long_in_two_goes() {
        let scratch = tempfile::tempdir().unwrap();
        let parent = Dir::open(scratch.path()).unwrap();
        let mut dir = parent.again().unwrap();
        for _ in 0..1000 {
            dir.mkdir(b"directory", 0o700).unwrap();
            dir = dir.open_dir(b"directory").unwrap();
            dir.create(b"file", 0o600).unwrap();
        }
        // As another removal may have left them.
        for nr in 0..8 {
            fs::create_dir_all(scratch.path().join(format!("directory/.ovlctl-removing-{nr}/full"))).unwrap();
        }
        let mut asked = 0;
        let goes_on = &mut |_: &Dir, _: &[u8]| {
            asked += 1;
            asked < 500
        };
        assert!(!remove_while(&parent, b"directory", goes_on).unwrap());
        assert!(scratch.path().join("directory").exists());
        remove(&parent, b"directory").unwrap();
        assert_eq!(parent.names().unwrap(), Vec::<Vec<u8>>::new());
    }

    #[test]
    fn a_file_of_two_names_counts_once() {
        let scratch = tempfile::tempdir().unwrap();
        fs::create_dir_all(scratch.path().join("a/b")).unwrap();
        fs::write(scratch.path().join("a/b/file"), "12345").unwrap();
        fs::hard_link(scratch.path().join("a/b/file"), scratch.path().join("again")).unwrap();
        fs::write(scratch.path().join("a/other"), "678").unwrap();
        assert_eq!(size(&Dir::open(scratch.path()).unwrap()).unwrap(), 8);
    }
    #[test]
    fn a_tree_takes_its_blocks_once_folders_too() {
        let scratch = tempfile::tempdir().unwrap();
        fs::create_dir_all(scratch.path().join("tree/b")).unwrap();
        fs::write(scratch.path().join("tree/b/file"), vec![1; 10_000]).unwrap();
        fs::hard_link(scratch.path().join("tree/b/file"), scratch.path().join("again")).unwrap();
        symlink("nowhere", scratch.path().join("tree/link")).unwrap();
        let dir = Dir::open(scratch.path()).unwrap();
        let of = |path: &str| {
            use std::os::unix::fs::MetadataExt;
            fs::symlink_metadata(scratch.path().join(path)).unwrap().blocks() * 512
        };
        let tree = of("tree") + of("tree/b") + of("tree/b/file") + of("tree/link");
        let mut linked = HashSet::new();
        assert_eq!(blocks(&dir, b"tree", &mut linked).unwrap(), tree);
        assert_eq!(blocks(&dir, b"again", &mut linked).unwrap(), 0);
        assert_eq!(blocks(&dir, b"again", &mut HashSet::new()).unwrap(), of("tree/b/file"));
        assert_eq!(blocks(&dir, b"none", &mut linked).unwrap(), 0);
    }
}
