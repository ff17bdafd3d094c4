//! A place where nothing that gets out goes unseen: a thread with a root and a file system of its own.
//!
//! ```text
//! /            a tmpfs of 64 MiB, the thread's root; it vanishes with the thread, however that ends
//!   here/        where work is done, empty each time
//!   outside      a file that nobody may change, read or link to
//!   proc/        the host's, for the magic links in it
//!   …            the working directory, at its own path: the fuzzer keeps its inputs there
//! ```
//!
//! What an absolute name leads to is in it too, so all that escapes from [`HERE`] is a name, or a change, beside it.

use std::cell::OnceCell;
use std::ffi::OsString;
use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chroot};
use std::path::{Component, Path};

use rustix::mount::{MountFlags, mount, mount_bind_recursive};

/// Where work is done.
pub const HERE: &str = "/here";

/// What `outside` holds.
pub const SECRET: &str = "the host's own";

/// The host has it for mounts of the moment.
const NEW_ROOT: &str = "/mnt";

/// Runs `work` in the jail, in an empty [`HERE`], and looks at the jail afterwards. This thread stays in there.
///
/// # Panics
///
/// Where `work` panics, where something got out, and where this is not root's to do.
pub fn run(work: impl FnOnce()) {
    thread_local! {
        static BESIDE: OnceCell<Vec<OsString>> = const { OnceCell::new() };
    }
    BESIDE.with(|beside| {
        let beside = beside.get_or_init(enter);
        fs::create_dir(HERE).expect("an empty jail");
        work();
        look_around(beside);
        fs::remove_dir_all(HERE).expect("what was made can be removed");
    });
}

/// Enters a new jail; returns the names at its top.
fn enter() -> Vec<OsString> {
    let cwd = std::env::current_dir().expect("a working directory");
    // A root and a working directory of the thread's own come along: CLONE_NEWNS implies CLONE_FS.
    ovlctl::sys::mount::own_mount_namespace().expect("a mount namespace of its own: run it as root");
    let options = c"size=64m,nr_inodes=16k,mode=0700";
    let root = Path::new(NEW_ROOT);
    mount("tmpfs", root, "tmpfs", MountFlags::empty(), options).expect("a tmpfs");
    for shared in [Path::new("/proc"), &cwd] {
        let place = root.join(shared.strip_prefix("/").expect("an absolute path"));
        fs::create_dir_all(&place).expect("a directory");
        mount_bind_recursive(shared, &place).expect("the host's directory");
    }
    chroot(root).expect("a root of its own");
    std::env::set_current_dir(&cwd).expect("it is there again");
    fs::write("/outside", SECRET).expect("a file");
    fs::set_permissions("/outside", Permissions::from_mode(0o644)).expect("its mode");
    let top = cwd.components().find(|part| matches!(part, Component::Normal(_)));
    let mut names: Vec<OsString> = ["here", "outside", "proc"].map(OsString::from).into();
    names.extend(top.map(|name| name.as_os_str().to_owned()));
    names.sort();
    names
}

/// Whether all outside of [`HERE`] is as it was.
fn look_around(beside: &[OsString]) {
    let entries = fs::read_dir("/").expect("the root");
    let mut names: Vec<_> = entries.map(|entry| entry.expect("it").file_name()).collect();
    names.sort();
    assert_eq!(names, beside, "something got out");
    assert_eq!(fs::read_to_string("/outside").expect("it is there"), SECRET);
    let stat = fs::symlink_metadata("/outside").expect("it is there");
    assert_eq!((stat.mode(), stat.uid(), stat.gid(), stat.nlink()), (0o100_644, 0, 0, 1), "it was changed");
    let root = fs::metadata("/").expect("the root");
    assert_eq!((root.mode() & 0o7777, root.uid(), root.gid()), (0o700, 0, 0), "the root was changed");
}

/// The names in a directory, sorted.
pub fn names(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).expect("a directory");
    let mut names: Vec<_> =
        entries.map(|e| e.expect("it").file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}
