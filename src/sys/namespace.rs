//! A room for a strange program: namespaces of its own, a root that it cannot leave, and few capabilities.

use std::fs::File;
use std::os::fd::{AsFd, AsRawFd};
use std::path::{Path, PathBuf};

use caps::{CapSet, Capability, CapsHashSet};
use nix::sched::CloneFlags;
use rustix::io::Errno;
use rustix::mount::{self, MountFlags, UnmountFlags};
use rustix::process;

use super::CallFailed;
use super::dir::Dir;

type Result<T> = std::result::Result<T, CallFailed>;

/// Which network a strange program sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Network {
    /// None, not even a loopback device that is up.
    None,
    /// This machine's.
    Host,
}

/// Gives those that this thread starts from now on namespaces of their own: processes, messages, names, and, if so, network.
/// The thread can start no other threads afterwards (unshare(2), CLONE_NEWPID).
pub fn own_namespaces(network: Network) -> Result<()> {
    let mut flags = CloneFlags::CLONE_NEWPID | CloneFlags::CLONE_NEWIPC | CloneFlags::CLONE_NEWUTS;
    if network == Network::None {
        flags |= CloneFlags::CLONE_NEWNET;
    }
    nix::sched::unshare(flags)
        .map_err(|e| CallFailed::new("unshare(CLONE_NEWPID|…)", Errno::from_raw_os_error(e as i32)))
}

/// What /dev has, as bind mounts of this machine's. No terminal: a program could type into it.
const NODES: [&str; 5] = ["null", "zero", "full", "random", "urandom"];

/// Mounts /proc and /dev in `root`, where these are, or can be made, directories.
///
/// /proc is read-only: its root may write to /proc/sys without any capability, and core_pattern there names a program that
/// this machine runs.
pub fn furnish(root: &Path) -> Result<()> {
    let root = Dir::open(root)?;
    let safe = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    if let Some(proc) = directory(&root, b"proc")? {
        mount::mount("proc", through_proc(&proc), "proc", safe | MountFlags::RDONLY, None)
            .map_err(|e| CallFailed::new("mount(\"proc\")", e))?;
    }
    let Some(dev) = directory(&root, b"dev")? else { return Ok(()) };
    mount::mount("tmpfs", through_proc(&dev), "tmpfs", safe, Some(c"mode=0755,size=64m"))
        .map_err(|e| CallFailed::new("mount(\"tmpfs\")", e))?;
    let dev = root.open_dir(b"dev")?;
    for name in NODES {
        let place: File = dev.create(name.as_bytes(), 0o666)?;
        mount::mount_bind(Path::new("/dev").join(name), through_proc(&place))
            .map_err(|e| CallFailed::new(format!("mount(\"/dev/{name}\", MS_BIND)"), e))?;
    }
    for (name, target) in [("fd", ""), ("stdin", "/0"), ("stdout", "/1"), ("stderr", "/2")] {
        dev.symlink(format!("/proc/self/fd{target}").as_bytes(), name.as_bytes())?;
    }
    dev.mkdir(b"shm", 0o777)?;
    dev.chmod(b"shm", 0o1777)
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

fn through_proc(fd: &impl AsFd) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", fd.as_fd().as_raw_fd()))
}

/// Makes the mount at `root` this process' whole world: nothing else is mounted in its namespace any more.
pub fn enter(root: &Path) -> Result<()> {
    process::chdir(root).map_err(|e| CallFailed::new(format!("chdir({root:?})"), e))?;
    // The old root is stacked on the new one, and taken away from there (pivot_root(2), "pivot_root(".", ".")").
    process::pivot_root(".", ".").map_err(|e| CallFailed::new("pivot_root(\".\", \".\")", e))?;
    mount::unmount(".", UnmountFlags::DETACH)
        .map_err(|e| CallFailed::new("umount2(\".\", MNT_DETACH)", e))?;
    process::chdir("/").map_err(|e| CallFailed::new("chdir(\"/\")", e))
}

/// What a container has by default (moby, oci/caps/defaults.go).
const KEPT: [Capability; 14] = [
    Capability::CAP_CHOWN,
    Capability::CAP_DAC_OVERRIDE,
    Capability::CAP_FSETID,
    Capability::CAP_FOWNER,
    Capability::CAP_MKNOD,
    Capability::CAP_NET_RAW,
    Capability::CAP_SETGID,
    Capability::CAP_SETUID,
    Capability::CAP_SETFCAP,
    Capability::CAP_SETPCAP,
    Capability::CAP_NET_BIND_SERVICE,
    Capability::CAP_SYS_CHROOT,
    Capability::CAP_KILL,
    Capability::CAP_AUDIT_WRITE,
];

/// Leaves this process, and what it becomes by execve(2), what a container has by default and no terminal.
/// Errors are none to go on after: what is not dropped would be the strange program's.
pub fn confine() -> Result<()> {
    let failed = |e: caps::errors::CapsError| CallFailed::new(format!("capset: {e}"), Errno::PERM);
    // EPERM: it leads a session already, and so has none of ours.
    let _ = process::setsid();
    let kept: CapsHashSet = KEPT.into_iter().collect();
    let had = caps::read(None, CapSet::Bounding).map_err(failed)?;
    for capability in had.difference(&kept) {
        caps::drop(None, CapSet::Bounding, *capability).map_err(failed)?;
    }
    let permitted: CapsHashSet =
        caps::read(None, CapSet::Permitted).map_err(failed)?.intersection(&kept).copied().collect();
    caps::clear(None, CapSet::Ambient).map_err(failed)?;
    caps::clear(None, CapSet::Inheritable).map_err(failed)?;
    caps::set(None, CapSet::Effective, &permitted).map_err(failed)?;
    caps::set(None, CapSet::Permitted, &permitted).map_err(failed)?;
    rustix::thread::set_no_new_privs(true).map_err(|e| CallFailed::new("prctl(PR_SET_NO_NEW_PRIVS)", e))
}

/// Lets this process be killed when the thread that started it ends.
pub fn end_with_parent() -> Result<()> {
    process::set_parent_process_death_signal(Some(process::Signal::KILL))
        .map_err(|e| CallFailed::new("prctl(PR_SET_PDEATHSIG)", e))
}
