//! What is done, told while it is done: each thing, or besides each system call that mounts, or that makes, moves or removes
//! something, as strace(1) prints it. What is written into files, and their attributes, are not told.
//!
//! Where nobody listens it costs to look at one number.

use std::cell::RefCell;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, OnceLock};

use super::{CallFailed, Errno, describe};

/// How much is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Nothing.
    Nothing,
    /// What is done.
    Things,
    /// System calls, too.
    Calls,
}

static LEVEL: AtomicU8 = AtomicU8::new(0);
static LISTENER: OnceLock<fn(&str)> = OnceLock::new();

thread_local! {
    static ABOUT: RefCell<Option<Arc<str>>> = const { RefCell::new(None) };
}

/// Lets `listener` have each line from now on; the first that is named has them all.
pub fn listen(level: Level, listener: fn(&str)) {
    LISTENER.get_or_init(|| listener);
    LEVEL.store(level as u8, Ordering::Relaxed);
}

/// Whether so much is told.
#[must_use]
pub fn tells(level: Level) -> bool {
    LEVEL.load(Ordering::Relaxed) >= level as u8
}

/// Tells of something that is done.
pub fn done(what: impl FnOnce() -> String) {
    if tells(Level::Things) {
        tell(&what());
    }
}

/// Says what this thread is at work on: all that it tells begins with that, until what is returned goes.
#[must_use = "it is told of only as long as this is there"]
pub fn about(what: impl FnOnce() -> String) -> About {
    within(tells(Level::Things).then(|| what().into()))
}

/// What a thread is at work on.
pub type Subject = Option<Arc<str>>;

/// Returns what this thread is at work on, for others that help it.
#[must_use]
pub fn subject() -> Subject {
    if tells(Level::Things) { ABOUT.with_borrow(Clone::clone) } else { None }
}

/// Says what this thread is at work on, as another does.
#[must_use = "it is told of only as long as this is there"]
pub fn within(subject: Subject) -> About {
    About { before: subject.map(|subject| ABOUT.replace(Some(subject))) }
}

/// What this thread was at work on before.
#[derive(Debug)]
pub struct About {
    before: Option<Subject>,
}

impl Drop for About {
    fn drop(&mut self) {
        if let Some(before) = self.before.take() {
            ABOUT.set(before);
        }
    }
}

/// Tells of a system call that was made, and passes on what came of it.
pub(super) fn call<T: Outcome, E: Failure>(
    made: Result<T, E>,
    shown: impl FnOnce() -> String,
) -> Result<T, E> {
    if tells(Level::Calls) {
        let outcome = made.as_ref().map(Outcome::number).map_err(Failure::errno);
        tell(&format!("{} = {}", shown(), ended(outcome)));
    }
    made
}

/// What a call that succeeds returns.
pub(super) trait Outcome {
    fn number(&self) -> i32;
}

impl Outcome for () {
    fn number(&self) -> i32 {
        0
    }
}

impl Outcome for OwnedFd {
    fn number(&self) -> i32 {
        self.as_raw_fd()
    }
}

impl Outcome for i32 {
    fn number(&self) -> i32 {
        *self
    }
}

/// What a call that fails returns.
pub(super) trait Failure {
    fn errno(&self) -> Errno;
}

impl Failure for Errno {
    fn errno(&self) -> Errno {
        *self
    }
}

impl Failure for nix::errno::Errno {
    fn errno(&self) -> Errno {
        Errno::from_raw_os_error(*self as i32)
    }
}

impl Failure for io::Error {
    fn errno(&self) -> Errno {
        Errno::from_io_error(self).unwrap_or(Errno::IO)
    }
}

impl Failure for CallFailed {
    fn errno(&self) -> Errno {
        self.errno
    }
}

/// Shows an open file as `strace -y` does: its number and its path.
pub(super) fn fd(fd: impl AsFd) -> String {
    let fd = fd.as_fd();
    let path = rustix::fs::readlink(super::through_proc(fd), Vec::new()).unwrap_or_default();
    format!("{}<{}>", fd.as_raw_fd(), path.as_bytes().escape_ascii())
}

fn ended(outcome: Result<i32, Errno>) -> String {
    match outcome {
        Ok(number) => number.to_string(),
        Err(errno) => {
            let name = nix::errno::Errno::from_raw(errno.raw_os_error());
            format!("-1 {name:?} ({})", describe(errno))
        }
    }
}

fn tell(text: &str) {
    let Some(listener) = LISTENER.get() else { return };
    match subject() {
        Some(subject) => listener(&format!("{subject}: {text}")),
        None => listener(text),
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;

    #[test]
    fn outcomes_read_as_strace_prints_them() {
        assert_eq!(ended(Ok(0)), "0");
        assert_eq!(ended(Ok(7)), "7");
        assert_eq!(ended(Err(Errno::INVAL)), "-1 EINVAL (Invalid argument)");
        assert_eq!(ended(Err(Errno::NOENT)), "-1 ENOENT (No such file or directory)");
    }

    #[test]
    fn open_files_have_number_and_path() {
        let file = File::open("/proc/version").unwrap();
        assert_eq!(fd(&file), format!("{}</proc/version>", file.as_raw_fd()));
    }
}
