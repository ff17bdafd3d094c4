//! A root directory in which there is nothing but what may be reached, each at the path that it had.
//!
//! Landlock has no say in calls that take a name and open nothing, chmod(2) for one, nor in what a device node leads to that a
//! process may make. Where there is no name of anything else, and no mount with devices, that does not matter.

use std::env;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Component, Path, PathBuf, absolute};

use rustix::fs::CWD;
use rustix::io::Errno;
use rustix::mount::{self, MountFlags, MoveMountFlags, OpenTreeFlags};

use super::Reach;
use crate::sys::namespace::{self, PLACE};
use crate::sys::{self, CallFailed, path as paths, trace};

type Result<T> = std::result::Result<T, CallFailed>;

/// This process' descriptors: attributes of what lies in an open directory are had by a path through it (`Dir`).
const DESCRIPTORS: &str = "/proc/self/fd";

const SAFE: MountFlags = MountFlags::NODEV.union(MountFlags::NOSUID).union(MountFlags::NOEXEC);

/// Something that stays within reach.
struct Kept {
    /// Where it was, and will be: without links, `.` and `..`.
    path: PathBuf,
    tree: OwnedFd,
    is_dir: bool,
    writable: bool,
}

/// Gives this thread a root directory with nothing in it but `reach`, and `also` these files. What is no file of any
/// filesystem, as a pipe behind /dev/fd/63, keeps its place with the process' other descriptors.
///
/// Where that fails, as on an initramfs, which cannot be left (pivot_root(2)), all is as it was.
pub fn limit_world(reach: &Reach<'_>, also: &[&Path]) -> Result<()> {
    let cwd = env::current_dir().ok();
    sys::mount::own_mount_namespace()?;
    let mut kept = Vec::new();
    for path in reach.writes {
        kept.extend(keep(path, true)?);
    }
    for path in reach.reads.iter().chain(also).chain(&[Path::new(DESCRIPTORS)]) {
        kept.extend(keep(path, false)?);
    }
    // A directory before what lies in it.
    kept.sort_by_key(|one| one.path.components().count());
    let root = Path::new(PLACE);
    sys::mount::mount("tmpfs", root, SAFE, c"mode=0755,size=1m")?;
    let mut there: Vec<&Path> = Vec::new();
    for one in &kept {
        let lies_within = there.iter().any(|other| one.path.starts_with(other));
        if one.writable || !lies_within {
            put(one, root)?;
            there.push(&one.path);
        }
    }
    if let Some(cwd) = &cwd {
        // Within reach it is there, and what is not can be made: this is memory.
        let _ = paths::mkdirs(&beneath(root, cwd), 0o777);
    }
    remount(root, MountFlags::RDONLY)?;
    let entered = namespace::enter(root);
    // Relative paths go on from there.
    let _ = cwd.map(env::set_current_dir);
    entered
}

/// Opens what is at `path`, to be mounted elsewhere; `None` where nothing is.
fn keep(path: &Path, writable: bool) -> Result<Option<Kept>> {
    let Some(full) = absolute(path).ok().map(|path| lexical(&path)) else { return Ok(None) };
    // A layout may have its blobs on another filesystem; a store has not, but has containers mounted.
    let all = if writable { OpenTreeFlags::empty() } else { OpenTreeFlags::AT_RECURSIVE };
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | all;
    let is_dir = path.is_dir();
    let shown = || {
        let all = if writable { "" } else { "|AT_RECURSIVE" };
        format!("open_tree(AT_FDCWD, {path:?}, OPEN_TREE_CLONE|OPEN_TREE_CLOEXEC{all})")
    };
    match trace::call(mount::open_tree(CWD, path, flags), shown) {
        Ok(tree) => Ok(Some(Kept { path: full, tree, is_dir, writable })),
        Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
        // It lies on no filesystem that is mounted.
        Err(Errno::INVAL) if !is_dir => path.parent().map_or(Ok(None), |parent| keep(parent, writable)),
        Err(e) => Err(CallFailed::new(format!("open_tree({path:?}, OPEN_TREE_CLONE)"), e)),
    }
}

fn put(one: &Kept, root: &Path) -> Result<()> {
    let place = beneath(root, &one.path);
    make(&place, one.is_dir).map_err(|e| CallFailed::of_io(format!("creat({place:?})"), &e))?;
    let made = mount::move_mount(&one.tree, "", CWD, &place, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH);
    let shown = || {
        format!("move_mount({}, \"\", AT_FDCWD, {place:?}, MOVE_MOUNT_F_EMPTY_PATH)", trace::fd(&one.tree))
    };
    trace::call(made, shown).map_err(|e| CallFailed::new(format!("move_mount({place:?})"), e))?;
    remount(&place, if one.writable { MountFlags::empty() } else { MountFlags::RDONLY })
}

/// Makes something to mount on, unless there is something.
fn make(place: &Path, is_dir: bool) -> io::Result<()> {
    if is_dir {
        return paths::mkdirs(place, 0o777);
    }
    place.parent().map_or(Ok(()), |parent| paths::mkdirs(parent, 0o777))?;
    if place.symlink_metadata().is_ok() { Ok(()) } else { File::create_new(place).map(drop) }
}

fn remount(place: &Path, more: MountFlags) -> Result<()> {
    sys::mount::remount(place, SAFE | more)
        .map_err(|e| CallFailed::new(format!("mount({place:?}, MS_REMOUNT|MS_BIND)"), e))
}

fn beneath(root: &Path, path: &Path) -> PathBuf {
    root.join(path.strip_prefix("/").unwrap_or(path))
}

/// Follows `..` by the words alone: in the new root no directory is a link.
fn lexical(path: &Path) -> PathBuf {
    let mut clean = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => {
                clean.pop();
            }
            Component::CurDir | Component::Prefix(_) => {}
            Component::RootDir | Component::Normal(_) => clean.push(part),
        }
    }
    clean
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_followed_by_their_words() {
        for (path, clean) in [("/a/../b/./c", "/b/c"), ("/../a", "/a"), ("/", "/"), ("/a/b/../..", "/")] {
            assert_eq!(lexical(Path::new(path)), Path::new(clean));
        }
    }
}
