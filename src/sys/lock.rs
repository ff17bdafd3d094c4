//! Advisory locks on files (flock(2)): released by the kernel when their holder ends, however it ends.

use std::fmt;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{self, FlockOperation, Mode, OFlags};
use rustix::io::Errno;

use super::CallFailed;
use super::dir::Dir;

/// Who else may hold the lock at the same time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Share {
    /// Others that share.
    Shared,
    /// Nobody.
    Exclusive,
}

/// A lock, held until it is dropped.
#[derive(Debug)]
#[must_use]
pub struct Lock {
    _fd: OwnedFd,
}

impl Lock {
    /// Takes the lock of the file at `path`, which is created where it is missing. Where somebody else has it, `waiting`
    /// is told who (see `holders`) and the lock is waited for.
    pub fn take(path: &Path, share: Share, waiting: &mut dyn FnMut(&[Holder])) -> Result<Self, CallFailed> {
        loop {
            let fd = open(path)?;
            if !try_flock(&fd, share)? {
                waiting(&holders(&fd));
                flock(&fd, share)?;
            }
            // Whoever held it may have removed the file meanwhile: then the lock is nobody else's any more.
            if is_still(&fd, path) {
                return Ok(Self { _fd: fd });
            }
        }
    }

    /// Takes the lock of the file at `path`, which is created where it is missing, if nobody has it.
    pub fn try_path(path: &Path, share: Share) -> Result<Option<Self>, CallFailed> {
        let fd = open(path)?;
        Ok((try_flock(&fd, share)? && is_still(&fd, path)).then_some(Self { _fd: fd }))
    }

    /// Takes the lock of the directory `dir`, and waits for it as [`Lock::take`] does.
    pub fn take_of(dir: &Dir, share: Share, waiting: &mut dyn FnMut(&[Holder])) -> Result<Self, CallFailed> {
        // Opened anew: a lock belongs to all copies of a handle together, and lasts as long as one of them (flock(2)).
        let fd = rustix::io::fcntl_dupfd_cloexec(dir.open_dir(b".")?, 0)
            .map_err(|e| CallFailed::on("dup", dir, e))?;
        if !try_flock(&fd, share)? {
            waiting(&holders(&fd));
            flock(&fd, share)?;
        }
        Ok(Self { _fd: fd })
    }

    /// Takes the lock of the file or directory `fd` if nobody has it. It lasts until both this and `fd` are dropped.
    pub fn try_take(fd: impl AsFd, share: Share) -> Result<Option<Self>, CallFailed> {
        let fd = fd.as_fd();
        let fd = rustix::io::fcntl_dupfd_cloexec(fd, 0).map_err(|e| CallFailed::on("dup", fd, e))?;
        Ok(try_flock(&fd, share)?.then_some(Self { _fd: fd }))
    }
}

/// Whether somebody has the lock of a directory, as far as /proc/locks tells. Takes it from nobody meanwhile.
pub fn is_held(dir: &Dir) -> Result<bool, CallFailed> {
    Ok(!holders_of(dir.stat_self()?.st_ino).is_empty())
}

fn flock(fd: &OwnedFd, share: Share) -> Result<(), CallFailed> {
    let operation = match share {
        Share::Shared => FlockOperation::LockShared,
        Share::Exclusive => FlockOperation::LockExclusive,
    };
    fs::flock(fd, operation).map_err(|e| CallFailed::on("flock", fd, e))
}

fn open(path: &Path) -> Result<OwnedFd, CallFailed> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    fs::open(path, flags, Mode::from_raw_mode(0o600))
        .map_err(|e| CallFailed::new(format!("open({path:?}, O_RDWR|O_CREAT)"), e))
}

fn try_flock(fd: &OwnedFd, share: Share) -> Result<bool, CallFailed> {
    let operation = match share {
        Share::Shared => FlockOperation::NonBlockingLockShared,
        Share::Exclusive => FlockOperation::NonBlockingLockExclusive,
    };
    match fs::flock(fd, operation) {
        Ok(()) => Ok(true),
        Err(Errno::WOULDBLOCK) => Ok(false),
        Err(e) => Err(CallFailed::on("flock", fd, e)),
    }
}

fn is_still(fd: &OwnedFd, path: &Path) -> bool {
    match (fs::fstat(fd), fs::stat(path)) {
        (Ok(ours), Ok(there)) => (ours.st_dev, ours.st_ino) == (there.st_dev, there.st_ino),
        (_, _) => false,
    }
}

/// A process that holds a lock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// Its process id.
    pub pid: u32,
    /// What it runs, its arguments separated by spaces; empty where it is gone or not to be seen: a confined process sees none.
    pub command: String,
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let command = if self.command.is_empty() { String::new() } else { format!(" ({})", self.command) };
        write!(f, "pid {}{command}", self.pid)
    }
}

/// Returns who holds a lock on the file, as /proc/locks tells.
fn holders(fd: &OwnedFd) -> Vec<Holder> {
    let Ok(stat) = fs::fstat(fd) else { return Vec::new() };
    holders_of(stat.st_ino).into_iter().map(|pid| Holder { pid, command: command_of(pid) }).collect()
}

fn holders_of(inode: u64) -> Vec<u32> {
    let locks = std::fs::read_to_string("/proc/locks").unwrap_or_default();
    holders_of_inode(&locks, inode)
}

/// Reads /proc/locks: `1: FLOCK  ADVISORY  WRITE 4242 fe:00:131090 0 EOF`. The device is left out of the comparison:
/// btrfs shows another one here than stat(2) does.
fn holders_of_inode(locks: &str, inode: u64) -> Vec<u32> {
    let holder = |line: &str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let [_, "FLOCK", _, _, pid, file, ..] = fields[..] else { return None };
        let found: u64 = file.rsplit(':').next()?.parse().ok()?;
        (found == inode).then(|| pid.parse().ok()).flatten()
    };
    locks.lines().filter_map(holder).collect()
}

fn command_of(pid: u32) -> String {
    let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let words: Vec<String> =
        line.split(|&b| b == 0).filter(|w| !w.is_empty()).map(|w| w.escape_ascii().to_string()).collect();
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proc_locks_names_holders_and_leaves_out_waiters() {
        let locks = "\
1: FLOCK  ADVISORY  WRITE 4242 fe:00:131090 0 EOF
1: -> FLOCK  ADVISORY  WRITE 4243 fe:00:131090 0 EOF
2: POSIX  ADVISORY  READ 17 fe:00:131090 0 EOF
3: FLOCK  ADVISORY  READ 99 fe:00:7 0 EOF
";
        assert_eq!(holders_of_inode(locks, 131_090), [4242]);
    }

    #[test]
    fn a_second_taker_is_told_who_has_it() {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("lock");
        let held = Lock::take(&path, Share::Exclusive, &mut |_| panic!("nobody has it")).unwrap();
        let second = open(&path).unwrap();
        assert!(Lock::try_take(&second, Share::Shared).unwrap().is_none());
        assert_eq!(holders(&second)[0].pid, std::process::id());
        drop(held);
        assert!(Lock::try_take(&second, Share::Shared).unwrap().is_some());
    }
}
