//! A terminal on which a command shows its output.

use std::fs::{File, OpenOptions};
use std::io::Read;
use std::process::Command;

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

/// Runs a command whose standard output and error are a terminal of so many columns, and returns its exit code and what that
/// was given, with `\n` where the terminal has made `\r\n` of it.
pub(crate) fn on_screen(command: &mut Command, columns: u16) -> (Option<i32>, String) {
    let screen = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).expect("a terminal");
    grantpt(&screen).and_then(|()| unlockpt(&screen)).expect("it opens");
    let size = Winsize { ws_row: 50, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    tcsetwinsize(&screen, size).expect("it has a size");
    let name = ptsname(&screen, Vec::new()).expect("it has a name").into_string().expect("text");
    let side = || OpenOptions::new().read(true).write(true).open(&name).expect("its other side");
    let mut child = command.stdout(side()).stderr(side()).spawn().expect("ovlctl starts");
    // What the command holds would keep the terminal open.
    command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
    let mut shown = Vec::new();
    // EIO: nobody has its other side open any more.
    let _ = File::from(screen).read_to_end(&mut shown);
    let code = child.wait().expect("ovlctl ends").code();
    (code, String::from_utf8(shown).expect("text").replace("\r\n", "\n"))
}
