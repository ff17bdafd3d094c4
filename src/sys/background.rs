//! Processes of this program's own: one that goes on after the command that started it, one that puts
//! things right when it ends, and one that reports to it.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use super::interrupt;

/// This program, whatever became of its file meanwhile.
pub const OURSELVES: &str = "/proc/self/exe";

/// What the processes are called that nobody hears.
const NAME: &str = "ovlctl";

/// By how much what goes on in the background makes way for others (nice(2)): it still gets on where nobody else works.
const NICE: i32 = 10;

/// Starts this program anew with `arguments`, and does not wait for it.
///
/// Ctrl-C and a terminal that closes do not end it: it has a process group of its own. It keeps no terminal, no pipe, no
/// lock and no working directory of this process's in use. To be called last: closes all that is open here, but standard
/// input, output and error.
pub fn start_last(arguments: &[&OsStr]) -> io::Result<()> {
    close_others();
    start(arguments)
}

/// The same, while this process goes on with what it has open: the other one closes that by [`stand_back`], a moment later.
pub fn start(arguments: &[&OsStr]) -> io::Result<()> {
    let mut command = Command::new(OURSELVES);
    command.arg0(NAME).args(arguments).process_group(0).current_dir("/");
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().map(|_| ())
}

/// Makes this process, which [`start`] has just started, one that stands in nobody's way.
pub fn stand_back() {
    close_others();
    call_it(NAME);
    // A command that attends to another has blocked what would end this one.
    super::signal::unblock_all();
    super::outlive_size_limit();
    let _ = rustix::process::nice(NICE);
}

/// A process that undoes something when this one ends, however that ends; or as soon as it is told to.
#[derive(Debug)]
#[must_use]
pub struct Watcher {
    child: Child,
    /// Its standard input: closed with this process.
    alive: Option<ChildStdin>,
}

/// Starts this program anew with `arguments`. Its standard output is `dir`, for whatever it is to be done to; Ctrl-C is not
/// for it: it has a process group of its own.
pub fn watch(arguments: &[&OsStr], dir: impl AsFd) -> io::Result<Watcher> {
    let mut command = Command::new(OURSELVES);
    command.arg0(NAME).args(arguments).process_group(0).current_dir("/");
    let dir = dir.as_fd().try_clone_to_owned()?;
    command.stdin(Stdio::piped()).stdout(Stdio::from(dir)).stderr(Stdio::null());
    let mut child = command.spawn()?;
    let alive = child.stdin.take();
    Ok(Watcher { child, alive })
}

impl Watcher {
    /// Lets it do what it is there for, and waits for it; `false` where it failed, or has been killed.
    pub fn act(&mut self) -> io::Result<bool> {
        self.alive = None;
        Ok(self.child.wait()?.success())
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        // What it could not do whoever called `act` has been told.
        let _ = self.act();
    }
}

/// Waits, in a process that [`watch`] has started, until that is to act; then its standard output is the directory.
pub fn stand_watch() -> io::Result<()> {
    close_others();
    call_it(NAME);
    // The pipe has no bytes: nothing is read but its end.
    io::copy(&mut io::stdin().lock(), &mut io::sink()).map(|_| ())
}

/// Starts this program anew with `arguments`, and waits until it has ended. What it writes to its standard output goes to
/// `heard`, line by line; it is killed where that wants no more, or where a line has more than `longest` bytes. Where
/// `is_cancelled` it is asked to end. Standard input, error and the working directory are this process's own.
pub fn ask(
    name: &str,
    arguments: &[OsString],
    longest: usize,
    heard: &mut dyn FnMut(&[u8]) -> bool,
    is_cancelled: &dyn Fn() -> bool,
) -> io::Result<ExitStatus> {
    let mut command = Command::new(OURSELVES);
    let mut child = command.arg0(name).args(arguments).stdout(Stdio::piped()).spawn()?;
    let pipe = child.stdout.take().expect("it was asked for");
    let (pid, mut asked) = (child.id(), false);
    let read = hear(pipe, longest, heard, &mut || {
        if !asked && is_cancelled() {
            asked = true;
            interrupt::ask_to_end(pid);
        }
    });
    if !matches!(read, Ok(true)) {
        child.kill()?;
    }
    let status = child.wait()?;
    read.map(|_| status)
}

/// Reads lines to the end of `pipe`, and calls `meanwhile` some times a second; `false` where `heard` wanted no more of them.
fn hear(
    mut pipe: impl Read + AsFd,
    longest: usize,
    heard: &mut dyn FnMut(&[u8]) -> bool,
    meanwhile: &mut dyn FnMut(),
) -> io::Result<bool> {
    const PAUSE: Timespec = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };
    let (mut line, mut buffer) = (Vec::new(), vec![0; 64 << 10]);
    loop {
        let ready = poll(&mut [PollFd::new(&pipe, PollFlags::IN)], Some(&PAUSE));
        meanwhile();
        match ready {
            Ok(0) | Err(Errno::INTR) => continue,
            Ok(_) => {}
            Err(e) => return Err(e.into()),
        }
        let n = pipe.read(&mut buffer)?;
        if n == 0 {
            return Ok(line.is_empty() || heard(&line));
        }
        for part in buffer[..n].split_inclusive(|byte| *byte == b'\n') {
            line.extend_from_slice(part);
            if line.len() > longest {
                return Ok(false);
            }
            if line.last() == Some(&b'\n') {
                line.pop();
                if !heard(&line) {
                    return Ok(false);
                }
                line.clear();
            }
        }
    }
}

/// Ends this process, which [`ask`] has just started, when the one that asked ends, however that ends.
pub fn belong(name: &str) {
    call_it(name);
    let _ = rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL));
}

fn call_it(name: &str) {
    // Else ps(1) and top(1) would call it `exe`.
    if let Ok(name) = std::ffi::CString::new(name) {
        let _ = rustix::thread::set_name(&name);
    }
}

/// Closes what a shell had open too, as in `9>lock`: a lock there would be held on.
pub fn close_others() {
    let Ok(entries) = fs::read_dir("/proc/self/fd") else { return };
    let names: Vec<OsString> = entries.flatten().map(|entry| entry.file_name()).collect();
    let numbers = names.iter().filter_map(|name| name.to_str()?.parse::<i32>().ok());
    for number in numbers.filter(|number| *number > 2) {
        // EBADF: one of them was that of /proc/self/fd itself.
        let _ = nix::unistd::close(number);
    }
}
