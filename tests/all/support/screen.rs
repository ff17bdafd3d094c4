//! A terminal on which a command shows its output.

use std::fs::File;
use std::io::Read;
use std::os::fd::AsFd;
use std::process::Command;

use rustix::fs::{Mode, OFlags};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

/// Opens a terminal of this size; returns the end that its user has, and the name of the other.
pub(crate) fn open(rows: u16, columns: u16) -> (File, String) {
    let screen = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).expect("a terminal");
    grantpt(&screen).and_then(|()| unlockpt(&screen)).expect("it opens");
    resize(&screen, rows, columns);
    let name = ptsname(&screen, Vec::new()).expect("it has a name").into_string().expect("text");
    (screen.into(), name)
}

/// Makes a terminal another size; whoever has it in the foreground is told.
pub(crate) fn resize(screen: impl AsFd, rows: u16, columns: u16) {
    let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    tcsetwinsize(screen, size).expect("it has a size");
}

/// Opens the other end of a terminal, which a command gets.
pub(crate) fn side(name: &str) -> File {
    let how = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
    rustix::fs::open(name, how, Mode::empty()).expect("its other side").into()
}

/// Runs a command whose standard output and error are a terminal of so many columns, and returns its exit code and what that
/// was given, with `\n` where the terminal has made `\r\n` of it.
pub(crate) fn on_screen(command: &mut Command, columns: u16) -> (Option<i32>, String) {
    let (mut screen, name) = open(50, columns);
    let mut child = command.stdout(side(&name)).stderr(side(&name)).spawn().expect("ovlctl starts");
    // What the command holds would keep the terminal open.
    command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
    let mut shown = Vec::new();
    // EIO: nobody has its other side open any more.
    let _ = screen.read_to_end(&mut shown);
    let code = child.wait().expect("ovlctl ends").code();
    (code, String::from_utf8(shown).expect("text").replace("\r\n", "\n"))
}
