//! Namespaces of a strange program's own, and a root that it cannot leave.

use std::os::fd::OwnedFd;
use std::path::Path;

use nix::sched::CloneFlags;
use rustix::fs::{self, Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{self, UnmountFlags};
use rustix::{process, system};

use super::caps::{self, Need};
use super::{CallFailed, loopback, trace};

type Result<T> = std::result::Result<T, CallFailed>;

/// Where a root is made in a mount namespace of one's own, before it is entered: a directory that every /proc has.
pub const PLACE: &str = "/proc/driver";

/// Which network a strange program sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Network {
    /// None but a loopback device, which is up where this process may raise it.
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
    let shown = match network {
        Network::None => "CLONE_NEWUTS|CLONE_NEWIPC|CLONE_NEWPID|CLONE_NEWNET",
        Network::Host => "CLONE_NEWUTS|CLONE_NEWIPC|CLONE_NEWPID",
    };
    trace::call(nix::sched::unshare(flags), || format!("unshare({shown})"))
        .map_err(|e| CallFailed::new("unshare(CLONE_NEWPID|…)", Errno::from_raw_os_error(e as i32)))?;
    match network {
        Network::Host => Ok(()),
        // Programs that talk only to themselves want it, but most do not.
        Network::None if !caps::missing(&[Need::NetAdmin]).is_empty() => Ok(()),
        Network::None => loopback::raise(),
    }
}

/// Makes the mount at `root` this process' whole world: nothing else is mounted in its namespace any more.
pub fn enter(root: &Path) -> Result<()> {
    process::chdir(root).map_err(|e| CallFailed::new(format!("chdir({root:?})"), e))?;
    // The old root is stacked on the new one, and taken away from there (pivot_root(2), "pivot_root(".", ".")").
    let made = process::pivot_root(".", ".");
    trace::call(made, || "pivot_root(\".\", \".\")".to_owned())
        .map_err(|e| CallFailed::new("pivot_root(\".\", \".\")", e))?;
    trace::call(mount::unmount(".", UnmountFlags::DETACH), || "umount2(\".\", MNT_DETACH)".to_owned())
        .map_err(|e| CallFailed::new("umount2(\".\", MNT_DETACH)", e))?;
    process::chdir("/").map_err(|e| CallFailed::new("chdir(\"/\")", e))
}

/// Leaves the terminal, if this process has one.
pub fn leave_terminal() {
    // EPERM: it leads a session already, and so has none of ours.
    let _ = process::setsid();
}

/// Lets no program that this process becomes have more rights than it has: setuid bits mean nothing.
pub fn no_new_privileges() -> Result<()> {
    rustix::thread::set_no_new_privs(true).map_err(|e| CallFailed::new("prctl(PR_SET_NO_NEW_PRIVS)", e))
}

/// Names the machine that those in this namespace see; what is longer than a name may be is cut.
pub fn set_hostname(name: &[u8]) -> Result<()> {
    /// Linux' `__NEW_UTS_LEN`.
    const LONGEST: usize = 64;
    let name = &name[..name.len().min(LONGEST)];
    system::sethostname(name).map_err(|e| CallFailed::new("sethostname", e))
}

/// The mount namespace that a thread came from.
#[derive(Debug)]
pub struct Home(OwnedFd);

impl Home {
    /// Remembers the one that this thread is in.
    pub fn here() -> Result<Self> {
        let path = "/proc/thread-self/ns/mnt";
        let fd = fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
            .map_err(|e| CallFailed::new(format!("open({path:?})"), e))?;
        Ok(Self(fd))
    }

    /// Goes back: what this thread has mounted since is left to those that it has started there.
    pub fn back(&self) -> Result<()> {
        let made = nix::sched::setns(&self.0, CloneFlags::CLONE_NEWNS);
        trace::call(made, || format!("setns({}, CLONE_NEWNS)", trace::fd(&self.0)))
            .map_err(|e| CallFailed::new("setns(CLONE_NEWNS)", Errno::from_raw_os_error(e as i32)))
    }
}

/// Lets this process be killed when the thread that started it ends.
pub fn end_with_parent() -> Result<()> {
    process::set_parent_process_death_signal(Some(process::Signal::KILL))
        .map_err(|e| CallFailed::new("prctl(PR_SET_PDEATHSIG)", e))
}
