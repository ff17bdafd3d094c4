//! Who reads from the terminal: its foreground process group (credentials(7)).

use std::io::{self, IsTerminal};

use rustix::process::{Pid, getpgrp};
use rustix::termios::{tcgetpgrp, tcgetwinsize, tcsetpgrp};

/// Whether this process talks with somebody: standard input and output are the terminal, and its group has it.
#[must_use]
pub fn is_ours() -> bool {
    io::stdin().is_terminal() && io::stdout().is_terminal() && has_foreground()
}

/// Returns how many columns standard output has; `None` where it is no terminal, 0 where nobody knows.
#[must_use]
pub fn columns() -> Option<usize> {
    let out = io::stdout();
    out.is_terminal().then(|| tcgetwinsize(&out).map_or(0, |size| size.ws_col.into()))
}

/// Whether this process' group is the one that reads from the terminal on standard input.
#[must_use]
pub fn has_foreground() -> bool {
    tcgetpgrp(io::stdin()).is_ok_and(|group| group == getpgrp())
}

/// Returns the leader of the process group that reads from the terminal on standard input.
#[must_use]
pub fn foreground() -> Option<u32> {
    tcgetpgrp(io::stdin()).ok().map(|group| group.as_raw_nonzero().get().unsigned_abs())
}

/// Gives the terminal on standard input to a process group. SIGTTOU must be blocked: else a process that does not have it
/// is stopped. Where there is no terminal any more, nothing happens.
pub fn give_to(leader: u32) {
    if let Some(group) = i32::try_from(leader).ok().and_then(Pid::from_raw) {
        let _ = tcsetpgrp(io::stdin(), group);
    }
}

/// Takes the terminal on standard input for this process' group.
pub fn take() {
    let _ = tcsetpgrp(io::stdin(), getpgrp());
}
