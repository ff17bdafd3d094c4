//! How large a terminal is, and who reads from it: its foreground process group (credentials(7)).

use std::io::{self, IsTerminal};
use std::os::fd::AsFd;

use rustix::process::{Pid, getpgrp};
use rustix::termios::{tcgetpgrp, tcgetwinsize, tcsetpgrp};

/// Whether this process talks with somebody: standard input and output are the terminal, and its group has it.
#[must_use]
pub fn is_ours() -> bool {
    io::stdin().is_terminal() && io::stdout().is_terminal() && has_foreground()
}

/// How large a terminal is; 0 where nobody knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    /// Characters in a line.
    pub columns: usize,
    /// Lines.
    pub rows: usize,
}

/// Returns the size of the terminal that a file is; `None` where it is none.
#[must_use]
pub fn size(file: &(impl AsFd + IsTerminal)) -> Option<Size> {
    let size = || tcgetwinsize(file).map_or((0, 0), |size| (size.ws_col.into(), size.ws_row.into()));
    file.is_terminal().then(size).map(|(columns, rows)| Size { columns, rows })
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
