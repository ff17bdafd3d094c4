//! Signals that are read one by one instead of ending the process.

use std::os::fd::AsFd;

use nix::sys::signal::SigSet;
use nix::sys::signalfd::{SfdFlags, SignalFd};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::process;

use super::CallFailed;

pub use nix::sys::signal::Signal;

type Result<T> = std::result::Result<T, CallFailed>;

/// Signals that this process has asked for.
#[derive(Debug)]
pub struct Signals(SignalFd);

/// A signal that came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Came {
    /// Which.
    pub signal: Signal,
    /// Whether a process sent it. Those of a terminal's keys the kernel sends, to all of its foreground group.
    pub sent: bool,
}

/// What was waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// A signal.
    Signal(Came),
    /// There is something to read, or nobody writes any more.
    Readable,
}

impl Signals {
    /// Blocks `signals` in this thread, and in those that it starts, and reads them from now on. To be called while there
    /// are no other threads.
    pub fn take(signals: &[Signal]) -> Result<Self> {
        let set: SigSet = signals.iter().copied().collect();
        set.thread_block().map_err(|e| failed("sigprocmask", e))?;
        let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
        Ok(Self(SignalFd::with_flags(&set, flags).map_err(|e| failed("signalfd", e))?))
    }

    /// Waits for a signal.
    pub fn wait(&self) -> Result<Came> {
        loop {
            wait_for(&mut [PollFd::new(&self.0, PollFlags::IN)])?;
            if let Some(came) = self.read()? {
                return Ok(came);
            }
        }
    }

    /// Waits for a signal, or until `other` can be read.
    pub fn wait_or(&self, other: impl AsFd) -> Result<Event> {
        loop {
            let mut both = [PollFd::new(&self.0, PollFlags::IN), PollFd::new(&other, PollFlags::IN)];
            wait_for(&mut both)?;
            if both[1].revents().intersects(PollFlags::IN | PollFlags::HUP) {
                return Ok(Event::Readable);
            }
            if let Some(came) = self.read()? {
                return Ok(Event::Signal(came));
            }
        }
    }

    fn read(&self) -> Result<Option<Came>> {
        let Some(info) = self.0.read_signal().map_err(|e| failed("read(signalfd)", e))? else {
            return Ok(None);
        };
        let number = i32::try_from(info.ssi_signo).unwrap_or_default();
        // SI_USER and what other calls send are 0 and below; what the kernel sends is above (sigaction(2)).
        let came = |signal| Came { signal, sent: info.ssi_code <= 0 };
        Ok(Signal::try_from(number).ok().map(came))
    }
}

/// Lets all signals reach this thread, as a program expects that begins: it inherits what the one before had blocked.
pub fn unblock_all() {
    let _ = SigSet::empty().thread_set_mask();
}

/// Sends a signal to a process that this one has started.
pub fn send(pid: u32, signal: Signal) -> Result<()> {
    nix::sys::signal::kill(as_pid(pid), signal).map_err(|e| failed("kill", e))
}

/// Sends a signal to the process group that this process started one to lead.
pub fn send_group(leader: u32, signal: Signal) -> Result<()> {
    nix::sys::signal::killpg(as_pid(leader), signal).map_err(|e| failed("kill", e))
}

/// Sends a signal to this process' own group.
pub fn send_own_group(signal: Signal) -> Result<()> {
    nix::sys::signal::killpg(nix::unistd::Pid::from_raw(0), signal).map_err(|e| failed("kill", e))
}

/// How a child's state has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Changed {
    /// It ended with this exit code.
    Exited(i32),
    /// This signal ended it.
    Killed(i32),
    /// This signal stopped it.
    Stopped(i32),
}

/// Returns a child whose state has changed, one that others left behind included; `None` where there is none now.
pub fn changed_child() -> Result<Option<(u32, Changed)>> {
    let options = process::WaitOptions::NOHANG | process::WaitOptions::UNTRACED;
    let (pid, status) = match process::wait(options) {
        Ok(Some(found)) => found,
        Ok(None) | Err(Errno::CHILD) => return Ok(None),
        Err(e) => return Err(CallFailed::new("wait4", e)),
    };
    let changed = status
        .exit_status()
        .map(Changed::Exited)
        .or(status.terminating_signal().map(Changed::Killed))
        .or(status.stopping_signal().map(Changed::Stopped));
    Ok(changed.map(|changed| (pid.as_raw_nonzero().get().unsigned_abs(), changed)))
}

fn wait_for(fds: &mut [PollFd<'_>]) -> Result<()> {
    match poll(fds, None) {
        Ok(_) | Err(Errno::INTR) => Ok(()),
        Err(e) => Err(CallFailed::new("poll", e)),
    }
}

fn as_pid(pid: u32) -> nix::unistd::Pid {
    nix::unistd::Pid::from_raw(i32::try_from(pid).unwrap_or(i32::MAX))
}

fn failed(call: &str, errno: nix::errno::Errno) -> CallFailed {
    CallFailed::new(call, Errno::from_raw_os_error(errno as i32))
}
