//! A process of this program's own that goes on after the command that started it.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

/// This program, whatever became of its file meanwhile.
const OURSELVES: &str = "/proc/self/exe";

/// By how much what goes on in the background makes way for others (nice(2)): it still gets on where nobody else works.
const NICE: i32 = 10;

/// Starts this program anew with `arguments`, and does not wait for it.
///
/// Ctrl-C and a terminal that closes do not end it: it has a process group of its own. It keeps no terminal, no pipe, no
/// lock and no working directory of this process's in use. To be called last: closes all that is open here, but standard
/// input, output and error.
pub fn start(name: &str, arguments: &[&OsStr]) -> io::Result<()> {
    close_others();
    let mut command = Command::new(OURSELVES);
    command.arg0(name).args(arguments).process_group(0).current_dir("/");
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().map(|_| ())
}

/// Makes this process, which [`start`] has just started, one that stands in nobody's way.
pub fn stand_back(name: &str) {
    // Else ps(1) and top(1) would call it `exe`.
    if let Ok(name) = std::ffi::CString::new(name) {
        let _ = rustix::thread::set_name(&name);
    }
    let _ = rustix::process::nice(NICE);
}

/// Closes what a shell had open too, as in `9>lock`: a lock there would be held on.
fn close_others() {
    let Ok(entries) = fs::read_dir("/proc/self/fd") else { return };
    let names: Vec<OsString> = entries.flatten().map(|entry| entry.file_name()).collect();
    let numbers = names.iter().filter_map(|name| name.to_str()?.parse::<i32>().ok());
    for number in numbers.filter(|number| *number > 2) {
        // EBADF: one of them was that of /proc/self/fd itself.
        let _ = nix::unistd::close(number);
    }
}
