//! /proc, /sys and /dev of a root that is about to be entered, and other people's directories in it.
//!
//! All of it is done from outside, where the root's own links lead nowhere but into it.

use std::ffi::CString;
use std::fs::File;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::fs::{CWD, StatVfsMountFlags, fstatvfs};
use rustix::io::Errno;
use rustix::mount::{self, MountFlags, MoveMountFlags, OpenTreeFlags};

use super::dir::in_root::{Found, Last};
use super::dir::{Dir, FileType, kind};
use super::{CallFailed, through_proc, trace};

type Result<T> = std::result::Result<T, CallFailed>;

/// What a program finds in its root.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Furniture {
    /// /proc, and a /dev without terminals: a program could type into one.
    Bare,
    /// /sys too, and terminals: its own, and those that it makes.
    Full,
}

/// What /dev has, as bind mounts of this machine's.
const NODES: [&str; 5] = ["null", "zero", "full", "random", "urandom"];

/// What tells of the machine, or could harm it, and is nobody's business in a container (moby, oci/defaults.go).
const HIDDEN_IN_PROC: [&str; 9] =
    ["acpi", "asound", "interrupts", "kcore", "keys", "latency_stats", "sched_debug", "scsi", "timer_list"];
const HIDDEN_IN_SYS: [&str; 2] = ["firmware", "devices/virtual/powercap"];

const SAFE: MountFlags = MountFlags::NOSUID.union(MountFlags::NODEV).union(MountFlags::NOEXEC);

/// Mounts /proc, /dev and, if so, /sys in `root`, where these are, or can be made, directories.
///
/// /proc is read-only: its root may write to /proc/sys without any capability, and core_pattern there names a program that
/// this machine runs.
pub fn furnish(root: &Dir, furniture: Furniture) -> Result<()> {
    if let Some(proc) = directory(root, b"proc")? {
        mount("proc", &proc, SAFE | MountFlags::RDONLY, "")?;
        hide(&root.open_dir(b"proc")?, &HIDDEN_IN_PROC)?;
    }
    if furniture == Furniture::Full {
        if let Some(sys) = directory(root, b"sys")? {
            mount("sysfs", &sys, SAFE | MountFlags::RDONLY, "")?;
            hide(&root.open_dir(b"sys")?, &HIDDEN_IN_SYS)?;
        }
    }
    let Some(dev) = directory(root, b"dev")? else { return Ok(()) };
    mount("tmpfs", &dev, SAFE, "mode=0755,size=64m")?;
    let dev = root.open_dir(b"dev")?;
    for name in NODES {
        device(&dev, name, &Path::new("/dev").join(name))?;
    }
    for (name, target) in [("fd", ""), ("stdin", "/0"), ("stdout", "/1"), ("stderr", "/2")] {
        dev.symlink(format!("/proc/self/fd{target}").as_bytes(), name.as_bytes())?;
    }
    dev.mkdir(b"shm", 0o777)?;
    dev.chmod(b"shm", 0o1777)?;
    if furniture == Furniture::Full { terminals(&dev) } else { Ok(()) }
}

/// Gives a program terminals of its own to make, and the one that it is started from.
fn terminals(dev: &Dir) -> Result<()> {
    const TTY_GROUP: u32 = 5; // in every distribution (Debian's base-passwd, Fedora's setup)
    dev.mkdir(b"pts", 0o755)?;
    let options = format!("newinstance,ptmxmode=0666,mode=0620,gid={TTY_GROUP}");
    mount("devpts", &dev.open_dir(b"pts")?, MountFlags::NOSUID | MountFlags::NOEXEC, &options)?;
    dev.symlink(b"pts/ptmx", b"ptmx")?;
    device(dev, "tty", Path::new("/dev/tty"))?;
    // By its name, for the handle came by a mount of another namespace. Where that leads elsewhere there is no console.
    let input = std::fs::read_link("/proc/self/fd/0").unwrap_or_default();
    let (held, named) = (std::fs::metadata("/proc/self/fd/0"), std::fs::metadata(&input));
    let same = |held: std::fs::Metadata, named: std::fs::Metadata| {
        held.rdev() == named.rdev() && held.ino() == named.ino() && held.dev() == named.dev()
    };
    let is_same = held.and_then(|held| named.map(|named| same(held, named))).unwrap_or(false);
    if is_same && rustix::termios::isatty(std::io::stdin()) {
        device(dev, "console", &input)?;
    }
    Ok(())
}

fn device(dev: &Dir, name: &str, source: &Path) -> Result<()> {
    let place: File = dev.create(name.as_bytes(), 0o666)?;
    let shown = || format!("mount({source:?}, \"{}\", NULL, MS_BIND, NULL)", through_proc(&place).display());
    trace::call(mount::mount_bind(source, through_proc(&place)), shown)
        .map_err(|e| CallFailed::new(format!("mount({source:?}, MS_BIND)"), e))
}

/// Puts nothing in the place of each of `paths` that is there.
fn hide(dir: &Dir, paths: &[&str]) -> Result<()> {
    for path in paths {
        let Some(found) = dir.find(path.as_bytes(), Last::Kept)? else { continue };
        if kind(&found.stat()?) == FileType::Directory {
            mount("tmpfs", &found, SAFE | MountFlags::RDONLY, "size=0,mode=0555")?;
        } else {
            let place = through_proc(&found);
            let shown = || format!("mount(\"/dev/null\", {place:?}, NULL, MS_BIND, NULL)");
            trace::call(mount::mount_bind("/dev/null", &place), shown)
                .map_err(|e| CallFailed::new(format!("mount(\"/dev/null\", {path:?}, MS_BIND)"), e))?;
        }
    }
    Ok(())
}

fn mount(filesystem: &str, place: &impl AsFd, flags: MountFlags, options: &str) -> Result<()> {
    let options = CString::new(options).expect("they are written above, without NUL");
    super::mount::mount(filesystem, &through_proc(place), flags, &options)
}

/// Opens a directory, which is made where nothing is; `None` where something else is.
fn directory(root: &Dir, name: &[u8]) -> Result<Option<Dir>> {
    match root.mkdir(name, 0o755) {
        Err(failed) if failed.errno != Errno::EXIST => return Err(failed),
        Ok(()) | Err(_) => {}
    }
    match root.open_dir(name) {
        Err(failed) if matches!(failed.errno, Errno::NOTDIR | Errno::LOOP) => Ok(None),
        dir => dir.map(Some),
    }
}

/// Shows `source`, a file or a directory of this machine, at `place`; what is mounted below it is not shown, and no device
/// in it can be opened.
pub fn bind(source: &Path, place: &Found, read_only: bool) -> Result<()> {
    let failed = |call: &str, e| CallFailed::new(format!("{call}({source:?})"), e);
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let made = mount::open_tree(CWD, source, flags);
    let shown = || format!("open_tree(AT_FDCWD, {source:?}, OPEN_TREE_CLONE|OPEN_TREE_CLOEXEC)");
    let tree = trace::call(made, shown).map_err(|e| failed("open_tree", e))?;
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    let shown = || {
        let flags = "MOVE_MOUNT_F_EMPTY_PATH|MOVE_MOUNT_T_EMPTY_PATH";
        format!("move_mount({}, \"\", {}, \"\", {flags})", trace::fd(&tree), trace::fd(place))
    };
    trace::call(mount::move_mount(&tree, "", place, "", flags), shown)
        .map_err(|e| failed("move_mount", e))?;
    let had = fstatvfs(&tree).map_err(|e| failed("fstatvfs", e))?.f_flag;
    let mut flags = MountFlags::NODEV;
    for (had_it, flag) in [
        (read_only || had.contains(StatVfsMountFlags::RDONLY), MountFlags::RDONLY),
        (had.contains(StatVfsMountFlags::NOSUID), MountFlags::NOSUID),
        (had.contains(StatVfsMountFlags::NOEXEC), MountFlags::NOEXEC),
    ] {
        flags.set(flag, had_it);
    }
    super::mount::remount(&through_proc(&tree), flags).map_err(|e| failed("mount(MS_REMOUNT|MS_BIND)", e))
}
