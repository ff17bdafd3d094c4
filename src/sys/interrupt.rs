//! Ctrl-C and its like, read instead of obeyed, so that the screen is clean and the work undone before the process ends by
//! them.

use nix::errno::Errno;
use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::unistd::Pid;

use super::CallFailed;

/// What ends a process that goes on in a terminal: its keys, others, and the terminal's own end.
const ENDING: [Signal; 3] = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP];

/// A signal that asked this process to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ending(Signal);

/// As long as it lives, such signals are kept for [`Signals::came`].
#[derive(Debug)]
#[must_use]
pub struct Signals {
    file: SignalFd,
    set: SigSet,
}

impl Signals {
    /// Begins to keep signals from this thread and from those that it starts from now on. Those that this process ignores, as
    /// under nohup(1), stay ignored.
    pub fn keep() -> Result<Self, CallFailed> {
        let of = |call| move |errno: Errno| CallFailed::of_io(call, &errno.into());
        let set: SigSet = ENDING.into_iter().filter(|signal| !is_ignored(*signal)).collect();
        let file = SignalFd::with_flags(&set, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK);
        let file = file.map_err(of("signalfd()"))?;
        set.thread_block().map_err(of("sigprocmask()"))?;
        Ok(Self { file, set })
    }

    /// Returns one that came.
    #[must_use]
    pub fn came(&self) -> Option<Ending> {
        let info = self.file.read_signal().ok().flatten()?;
        let number = i32::try_from(info.ssi_signo).ok()?;
        Signal::try_from(number).ok().map(Ending)
    }
}

impl Drop for Signals {
    fn drop(&mut self) {
        let _ = self.set.thread_unblock();
    }
}

impl Ending {
    /// Ends this process by the signal, so that a shell sees what it was; returns only where it does not.
    pub fn end_by(self) {
        let _ = SigSet::from(self.0).thread_unblock();
        let _ = kill(Pid::this(), self.0);
    }

    /// Returns the exit code that shells have for it.
    #[must_use]
    pub fn exit_code(self) -> u8 {
        u8::try_from(128 + self.0 as i32).unwrap_or(1)
    }
}

/// Asks a process that this one has started to end.
pub(super) fn ask_to_end(pid: u32) {
    if let Ok(pid) = i32::try_from(pid) {
        let _ = kill(Pid::from_raw(pid), Signal::SIGTERM);
    }
}

fn is_ignored(signal: Signal) -> bool {
    ignored() & (1 << (signal as i32 - 1)) != 0
}

/// Returns a bit for each signal that this process was started to ignore.
fn ignored() -> u64 {
    super::status("SigIgn").and_then(|hex| u64::from_str_radix(hex, 16).ok()).unwrap_or(0)
}
