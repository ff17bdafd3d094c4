//! What this kernel's overlayfs, and a filesystem, can do, found out by trying: versions lie, since distributions carry
//! features back.

use std::fs::File;

use rustix::fs::{self, FileType, Mode, OFlags, RenameFlags};
use rustix::io::Errno;

use super::dir::Dir;
use super::mount::FsContext;
use super::{CallFailed, through_proc};

/// How this kernel takes layers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layers {
    /// As open directories, one by one (since Linux 6.13).
    Handles,
    /// As strings, one by one (since Linux 6.7).
    Strings,
    /// Only as one string of mount(2).
    Page,
}

/// Finds out how this kernel takes layers, by offering it `layer`. Nothing is made, and nothing stays.
pub fn layers(layer: &Dir) -> Result<Layers, CallFailed> {
    if !has_own_parser()? {
        return Ok(Layers::Page);
    }
    if FsContext::open("overlay")?.set_fd("lowerdir+", layer).is_ok() {
        return Ok(Layers::Handles);
    }
    let path = through_proc(layer).to_string_lossy().into_owned();
    match FsContext::open("overlay")?.set("lowerdir+", &path) {
        Ok(()) => Ok(Layers::Strings),
        Err(_) => Ok(Layers::Page),
    }
}

/// Whether overlayfs takes its options one by one, and knows at once which it does not have.
///
/// Up to Linux 6.4 the new calls only gather a string for overlayfs' old parser, which takes any name at this stage.
pub fn has_own_parser() -> Result<bool, CallFailed> {
    Ok(FsContext::open("overlay")?.set_flag("ovlctl_no_such_option").is_err())
}

/// Whether reading `dir` tells what each name is (`d_type`): without it overlayfs finds no whiteouts (ovl_check_d_type).
/// There must be a name in it.
pub fn tells_kinds(dir: &Dir) -> Result<bool, CallFailed> {
    let failed = |e| CallFailed::new(format!("getdents64({:?})", dir.path()), e);
    for entry in fs::Dir::read_from(dir).map_err(failed)? {
        if entry.map_err(failed)?.file_type() == FileType::Unknown {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Makes a file in `dir` that has no name and cannot get one.
pub fn create_nameless(dir: &Dir) -> Result<File, CallFailed> {
    let flags = OFlags::RDWR | OFlags::TMPFILE | OFlags::EXCL | OFlags::CLOEXEC;
    let made = fs::openat(dir, ".", flags, Mode::from_raw_mode(0o600));
    made.map(File::from).map_err(|e| CallFailed::new(format!("open({:?}, O_TMPFILE|O_RDWR)", dir.path()), e))
}

/// Moves `name` in `dir` to `new`, and leaves a whiteout in its place.
pub fn rename_leaving_whiteout(dir: &Dir, name: &str, new: &str) -> Result<(), CallFailed> {
    fs::renameat_with(dir, name, dir, new, RenameFlags::WHITEOUT)
        .map_err(|e| CallFailed::new(format!("renameat2({name:?}, {new:?}, RENAME_WHITEOUT)"), e))
}

/// Makes the contents of `to` those of `from`, as shared data: no byte is copied.
pub fn share_contents(from: &File, to: &File) -> Result<(), CallFailed> {
    fs::ioctl_ficlone(to, from).map_err(|e| CallFailed::new("ioctl(FICLONE)", e))
}

/// Why there is no overlayfs to be had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Absent {
    /// The kernel has none, and no module of it.
    Overlay,
    /// The kernel lacks fsopen(2), so it is older than Linux 5.2, or a sandbox forbids it.
    NewCalls,
    /// This process may not mount.
    Permission,
}

impl Absent {
    /// Reads a failed fsopen(2).
    #[must_use]
    pub fn from_errno(errno: Errno) -> Option<Self> {
        match errno {
            Errno::NODEV => Some(Self::Overlay),
            Errno::NOSYS => Some(Self::NewCalls),
            Errno::PERM => Some(Self::Permission),
            _ => None,
        }
    }
}
