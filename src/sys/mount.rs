//! What the kernel knows of mounts: filesystem contexts, identities, states, and taking mounts away.
//!
//! The calls that make up one mount are values (`script.rs`), so that what is printed is what is done.

use std::ffi::CStr;
use std::io::ErrorKind;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{self, AtFlags, Mode, OFlags, StatVfsMountFlags, StatxFlags};
use rustix::io::Errno;
use rustix::mount::{self, FsOpenFlags, FsPickFlags, MountFlags, UnmountFlags};

use super::script::{REMOUNT, mount_flags, quoted};
use super::{CallFailed, through_proc, trace};

/// Flags of one mount: `ro`, `nodev`, `nosuid`…
pub use rustix::mount::MountAttrFlags as Attributes;

type Result<T> = std::result::Result<T, CallFailed>;

/// The bytes of options that mount(2) takes: a page less the closing NUL. What is longer is cut without a word
/// (copy_mount_options in fs/namespace.c).
pub const OPTION_PAGE: usize = 4095;

/// The bytes that fsconfig(2) takes as a string: longer ones are EINVAL (strndup_user of 256 in fs/fsopen.c).
pub const FSCONFIG_STRING: usize = 255;

/// A filesystem that is being put together: fsopen(2).
#[derive(Debug)]
pub struct FsContext {
    fd: OwnedFd,
    filesystem: String,
}

impl FsContext {
    /// Opens a context for `filesystem`.
    pub fn open(filesystem: &str) -> Result<Self> {
        let shown = || format!("fsopen({filesystem:?}, FSOPEN_CLOEXEC)");
        let fd = trace::call(mount::fsopen(filesystem, FsOpenFlags::FSOPEN_CLOEXEC), shown)
            .map_err(|e| CallFailed::new(shown(), e))?;
        Ok(Self { fd, filesystem: filesystem.to_owned() })
    }

    /// Sets an option that has no value.
    pub fn set_flag(&self, key: &str) -> Result<()> {
        let made = mount::fsconfig_set_flag(self.fd.as_fd(), key);
        self.told(made, || format!("FSCONFIG_SET_FLAG, {key:?}, NULL, 0"))
            .map_err(|e| self.failed(&format!("FSCONFIG_SET_FLAG, {key:?}"), e))
    }

    /// Sets an option.
    pub fn set(&self, key: &str, value: &str) -> Result<()> {
        let made = mount::fsconfig_set_string(self.fd.as_fd(), key, value);
        self.told(made, || format!("FSCONFIG_SET_STRING, {key:?}, {value:?}, 0"))
            .map_err(|e| self.failed(&format!("FSCONFIG_SET_STRING, {key:?}, {value:?}"), e))
    }

    /// Sets an option to an open directory.
    pub fn set_fd(&self, key: &str, fd: impl AsFd) -> Result<()> {
        let fd = fd.as_fd();
        let made = mount::fsconfig_set_fd(self.fd.as_fd(), key, fd);
        self.told(made, || format!("FSCONFIG_SET_FD, {key:?}, NULL, {}", trace::fd(fd)))
            .map_err(|e| self.failed(&format!("FSCONFIG_SET_FD, {key:?}"), e))
    }

    /// Makes the filesystem, mounted nowhere yet.
    pub fn create(&self) -> Result<()> {
        let made = mount::fsconfig_create(self.fd.as_fd());
        self.told(made, || "FSCONFIG_CMD_CREATE, NULL, NULL, 0".to_owned())
            .map_err(|e| self.failed("FSCONFIG_CMD_CREATE", e))
    }

    fn told(
        &self,
        made: std::result::Result<(), Errno>,
        what: impl FnOnce() -> String,
    ) -> std::result::Result<(), Errno> {
        trace::call(made, || format!("fsconfig({}, {})", self.fd.as_raw_fd(), what()))
    }

    fn failed(&self, what: &str, errno: Errno) -> CallFailed {
        let call = format!("fsconfig({}, {what})", self.filesystem);
        CallFailed::new(call, errno).saying(said(&self.fd))
    }
}

/// Reads what the kernel noted in a filesystem context: lines such as `e overlay: Unknown parameter 'x'`, without
/// the level and the filesystem's name.
pub(super) fn said(context: &OwnedFd) -> String {
    let mut all = Vec::new();
    let mut line = [0; 1024];
    // Each read(2) gives one message; ENODATA when there is none left.
    while let Ok(len) = rustix::io::read(context, &mut line) {
        let text = String::from_utf8_lossy(&line[..len]).trim().to_owned();
        let text = text.split_once(": ").map_or(text.as_str(), |(_, rest)| rest).to_owned();
        if len == 0 || all.contains(&text) {
            break;
        }
        all.push(text);
    }
    all.join("; ")
}

/// A directory that is pinned but not opened: nobody can swap it for another below us.
#[derive(Debug)]
pub struct Pinned {
    fd: OwnedFd,
}

impl AsFd for Pinned {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Pinned {
    /// Pins the directory at `path`, following symbolic links.
    pub fn open(path: &Path) -> Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = fs::open(path, flags, Mode::empty())
            .map_err(|e| CallFailed::new(format!("open({path:?}, O_PATH|O_DIRECTORY)"), e))?;
        Ok(Self { fd })
    }

    /// Returns a second handle of the same directory.
    pub fn again(&self) -> Result<OwnedFd> {
        rustix::io::fcntl_dupfd_cloexec(&self.fd, 0).map_err(|e| CallFailed::on("dup", &self.fd, e))
    }

    /// Returns the path of the directory now; it ends in ` (deleted)` where it has been removed.
    pub fn path(&self) -> Result<PathBuf> {
        let link = self.through_proc();
        std::fs::read_link(&link).map_err(|e| CallFailed::of_io(format!("readlink({link:?})"), &e))
    }

    /// Returns a path that names this directory and no other, for calls that take only a path.
    #[must_use]
    pub fn through_proc(&self) -> PathBuf {
        through_proc(&self.fd)
    }

    /// Whether the directory has been removed while somebody holds it.
    pub fn is_removed(&self) -> Result<bool> {
        Ok(fs::fstat(&self.fd).map_err(|e| CallFailed::new("fstat", e))?.st_nlink == 0)
    }

    /// Returns the id of the mount that the directory was reached by, as in mountinfo.
    pub fn mount_id(&self) -> Result<u64> {
        mount_id(&self.fd)
    }
}

/// Returns the id of the mount that `fd` was reached by, as in mountinfo.
pub fn mount_id(fd: impl AsFd) -> Result<u64> {
    let fd = fd.as_fd();
    let call = |e| CallFailed::on("statx", fd, e);
    let found = fs::statx(fd, "", AtFlags::EMPTY_PATH, StatxFlags::MNT_ID).map_err(call)?;
    // Since Linux 5.8; an older kernel leaves the bit unset.
    if found.stx_mask & StatxFlags::MNT_ID.bits() == 0 {
        return Err(call(Errno::NOSYS));
    }
    Ok(found.stx_mnt_id)
}

/// Returns the id of the mount that `path` leads to, magic links of /proc included; `None` where it leads nowhere.
#[must_use]
pub fn mount_id_of(path: &Path) -> Option<u64> {
    let found = fs::statx(fs::CWD, path, AtFlags::NO_AUTOMOUNT, StatxFlags::MNT_ID).ok()?;
    (found.stx_mask & StatxFlags::MNT_ID.bits() != 0).then_some(found.stx_mnt_id)
}

/// Takes the lock of an open directory, or says that another has it. It goes with the last handle of `fd`.
pub fn try_lock(fd: impl AsFd) -> Result<bool> {
    let fd = fd.as_fd();
    match fs::flock(fd, fs::FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(true),
        Err(Errno::WOULDBLOCK) => Ok(false),
        Err(e) => Err(CallFailed::on("flock", fd, e)),
    }
}

/// Whether the filesystem of `fd`, or the mount it was reached by, is read-only.
pub fn is_read_only(fd: impl AsFd) -> Result<bool> {
    let fd = fd.as_fd();
    let state = fs::fstatvfs(fd).map_err(|e| CallFailed::on("fstatfs", fd, e))?;
    Ok(state.f_flag.contains(StatVfsMountFlags::RDONLY))
}

/// Makes the filesystem that `root` is the root of a mount of read-only, or writable again; for all its mounts, whoever's.
/// EBUSY where a file is open for writing, or is deleted and still open (sb_prepare_remount_readonly in fs/namespace.c).
/// Read-only, it has synced what was written to it (ovl_reconfigure in fs/overlayfs/params.c).
pub fn set_read_only(root: impl AsFd, read_only: bool) -> Result<()> {
    let root = root.as_fd();
    let flag = if read_only { "ro" } else { "rw" };
    let failed = |call: &'static str| move |e| CallFailed::on(call, root, e);
    let picked = mount::fspick(root, "", FsPickFlags::FSPICK_EMPTY_PATH | FsPickFlags::FSPICK_CLOEXEC);
    let shown = || format!("fspick({}, \"\", FSPICK_CLOEXEC|FSPICK_EMPTY_PATH)", trace::fd(root));
    let picked = trace::call(picked, shown).map_err(failed("fspick"))?;
    let fd = picked.as_raw_fd();
    let shown = || format!("fsconfig({fd}, FSCONFIG_SET_FLAG, {flag:?}, NULL, 0)");
    trace::call(mount::fsconfig_set_flag(picked.as_fd(), flag), shown).map_err(failed("fsconfig"))?;
    let shown = || format!("fsconfig({fd}, FSCONFIG_CMD_RECONFIGURE, NULL, NULL, 0)");
    trace::call(mount::fsconfig_reconfigure(picked.as_fd()), shown)
        .map_err(failed("fsconfig(FSCONFIG_CMD_RECONFIGURE)"))
}

/// Mounts a new filesystem; `options` as it takes them.
pub(super) fn mount(filesystem: &str, at: &Path, flags: MountFlags, options: &CStr) -> Result<()> {
    let made = mount::mount(filesystem, at, filesystem, flags, Some(options));
    let shown = || {
        let (flags, options) = (mount_flags(flags), quoted(options.to_bytes()));
        format!("mount({filesystem:?}, {at:?}, {filesystem:?}, {flags}, {options})")
    };
    trace::call(made, shown).map_err(|e| CallFailed::new(format!("mount({filesystem:?})"), e))
}

/// Gives the one mount at `at` these flags; those of access times stay as they are where none is among them (mount(2)).
pub(super) fn remount(at: &Path, flags: MountFlags) -> std::result::Result<(), Errno> {
    let flags = flags | MountFlags::BIND;
    let shown = || format!("mount(NULL, {at:?}, NULL, {}, \"\")", mount_flags(flags | REMOUNT));
    trace::call(mount::mount_remount(at, flags, ""), shown)
}

/// Takes away the top-most mount at `target`; `lazily`: at once for new users, for real when the last one has gone.
/// A symbolic link at `target` is not followed.
pub fn unmount(target: &Path, lazily: bool) -> Result<()> {
    let (lazy, flags) = if lazily {
        (UnmountFlags::DETACH, "MNT_DETACH|UMOUNT_NOFOLLOW")
    } else {
        (UnmountFlags::empty(), "UMOUNT_NOFOLLOW")
    };
    let shown = || format!("umount2({}, {flags})", quoted(target.as_os_str().as_encoded_bytes()));
    trace::call(mount::unmount(target, lazy | UnmountFlags::NOFOLLOW), shown)
        .map_err(|e| CallFailed::new(shown(), e))
}

/// Takes away, lazily, the mount that `fd` is the root of.
pub fn detach(fd: impl AsFd) -> Result<()> {
    let path = through_proc(fd);
    // The magic link is what has to be followed here, so no UMOUNT_NOFOLLOW.
    let shown = || format!("umount2({path:?}, MNT_DETACH)");
    trace::call(mount::unmount(&path, UnmountFlags::DETACH), shown).map_err(|e| CallFailed::new(shown(), e))
}

/// Returns a second mount of what is at the open directory `root`, which is attached nowhere, without what is mounted inside.
pub fn clone_tree(root: impl AsFd) -> Result<OwnedFd> {
    use rustix::mount::OpenTreeFlags;
    let root = root.as_fd();
    let flags =
        OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_EMPTY_PATH;
    let shown = || {
        let flags = "OPEN_TREE_CLONE|OPEN_TREE_CLOEXEC|AT_EMPTY_PATH";
        format!("open_tree({}, \"\", {flags})", trace::fd(root))
    };
    trace::call(mount::open_tree(root, "", flags), shown).map_err(|e| CallFailed::on("open_tree", root, e))
}

/// Mounts `tree`, a mount that is attached nowhere, at `target`.
pub fn attach(tree: impl AsFd, target: &Path) -> Result<()> {
    let tree = tree.as_fd();
    let made = mount::move_mount(tree, "", fs::CWD, target, mount::MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH);
    let shown = || {
        let (tree, target) = (trace::fd(tree), quoted(target.as_os_str().as_encoded_bytes()));
        format!("move_mount({tree}, \"\", AT_FDCWD, {target}, MOVE_MOUNT_F_EMPTY_PATH)")
    };
    trace::call(made, shown).map_err(|e| CallFailed::new(format!("move_mount({target:?})"), e))
}

/// Moves this thread into the mount namespace of a process, by its directory in /proc.
pub fn enter_namespace_of(process: &Path) -> Result<()> {
    use nix::sched::CloneFlags;
    let path = process.join("ns/mnt");
    let namespace = fs::open(&path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
        .map_err(|e| CallFailed::new(format!("open({path:?})"), e))?;
    // EINVAL for a thread that shares its working directory with others (setns(2)).
    let shown = || format!("setns({}, CLONE_NEWNS)", trace::fd(&namespace));
    trace::call(nix::sched::unshare(CloneFlags::CLONE_FS), || "unshare(CLONE_FS)".to_owned())
        .and_then(|()| trace::call(nix::sched::setns(&namespace, CloneFlags::CLONE_NEWNS), shown))
        .map_err(|e| CallFailed::new(format!("setns({path:?})"), Errno::from_raw_os_error(e as i32)))
}

/// Moves this thread into a mount namespace of its own that no mount leaves.
pub fn own_mount_namespace() -> Result<()> {
    use super::script::{Call, Slots};
    let mut none = Slots::new();
    Call::Unshare.make(&mut none)?;
    Call::MakePrivate { path: "/".into() }.make(&mut none)
}

/// Reads a file under /proc that may vanish with its process: `None` where it has, or may not be seen.
pub fn read_proc(path: &Path) -> std::io::Result<Option<Vec<u8>>> {
    match super::read_proc(path) {
        Ok(text) => Ok(Some(text)),
        Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::PermissionDenied) => Ok(None),
        // ESRCH and EINVAL: the process has ended, or left its mount namespace.
        Err(e) if matches!(e.raw_os_error(), Some(3 | 22)) => Ok(None),
        Err(e) => Err(e),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_unmounted_is_named_as_strace_does() {
        for (lazily, flags) in [(false, "UMOUNT_NOFOLLOW"), (true, "MNT_DETACH|UMOUNT_NOFOLLOW")] {
            let failed = unmount(Path::new("/not there/\u{e9}"), lazily).unwrap_err();
            assert_eq!(failed.call, format!(r#"umount2("/not there/\303\251", {flags})"#));
        }
    }
}
