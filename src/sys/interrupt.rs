//! Ctrl-C and its like, taken note of instead of obeyed, so that what is half done can be taken back.

use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use rustix::io::Errno;

use super::CallFailed;

/// As long as it lives, this thread and those that it starts are not ended by SIGINT, SIGTERM and SIGHUP.
#[derive(Debug)]
#[must_use]
pub struct Interrupts {
    signals: SigSet,
    fd: SignalFd,
}

impl Interrupts {
    /// Holds them up. To be called before there are other threads: one of those would be asked in this one's stead.
    pub fn hold() -> Result<Self, CallFailed> {
        let failed = |e| CallFailed::new("signalfd", Errno::from_raw_os_error(e as i32));
        let signals: SigSet = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP].into_iter().collect();
        signals.thread_block().map_err(failed)?;
        let fd =
            SignalFd::with_flags(&signals, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK).map_err(failed)?;
        Ok(Self { signals, fd })
    }

    /// Fails with EINTR when one of them has come.
    pub fn check(&self) -> Result<(), CallFailed> {
        match self.fd.read_signal() {
            Ok(Some(_)) => Err(CallFailed::new("signal", Errno::INTR)),
            Ok(None) | Err(_) => Ok(()),
        }
    }
}

impl Drop for Interrupts {
    fn drop(&mut self) {
        let _ = self.signals.thread_unblock();
    }
}
