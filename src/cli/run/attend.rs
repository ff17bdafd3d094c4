//! What `run` does while its command runs: signals and the terminal.
//!
//! Where it talks with somebody, the room's first process leads a group of its own, which has the terminal: a shell there
//! finds all as a login shell would. When the command is stopped, this process' own group is stopped too, so that the shell
//! that started it takes the terminal back; `fg` gives it on again. Elsewhere, as in a pipeline, the command stays in the
//! group that the shell made, and the terminal reaches all of it.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::process::{Child, ExitStatus};
use std::sync::OnceLock;

use crate::cli::init::{INTERRUPTED, NEWS, PASSED_ON, STOPPED};
use crate::mount::room::Room;
use crate::sys::signal::{self, Came, Event, Signal, Signals};
use crate::sys::{self, CallFailed, terminal};

/// Sees to a command while it runs.
#[derive(Debug)]
pub(super) struct Attendant {
    signals: Signals,
    news: OnceLock<File>,
    foreground: bool,
}

impl Attendant {
    /// Takes this process' signals. To be called while it has no other threads.
    pub(super) fn new(foreground: bool) -> Result<Self, CallFailed> {
        let taken = [&PASSED_ON[..], &[Signal::SIGCHLD, Signal::SIGCONT, Signal::SIGTTOU]].concat();
        Ok(Self { signals: Signals::take(&taken)?, news: OnceLock::new(), foreground })
    }

    /// Starts the room's first process.
    pub(super) fn start(&self, room: &Room) -> io::Result<Child> {
        let path = room.file(NEWS);
        sys::make_fifo(&path)?;
        // Before there is a writer, so that it finds a reader.
        let news = File::options().read(true).custom_flags(sys::NONBLOCK).open(&path)?;
        let _ = self.news.set(news);
        let mut command = room.command("init");
        if self.foreground {
            command.process_group(0);
        }
        command.spawn()
    }

    /// Waits until it ends.
    pub(super) fn attend(&self, mut child: Child) -> io::Result<ExitStatus> {
        let leader = child.id();
        let mut given = self.foreground.then_some(leader);
        let mut last = leader;
        let mut listens = true;
        let status = loop {
            let event = match self.news.get() {
                Some(news) if listens => self.signals.wait_or(news)?,
                Some(_) | None => Event::Signal(self.signals.wait()?),
            };
            match event {
                Event::Readable => {
                    // A shell there has made a group of its own.
                    last = given.and_then(|_| terminal::foreground()).unwrap_or(last);
                    listens = self.heard(&mut given);
                }
                Event::Signal(Came { signal: Signal::SIGCHLD, .. }) => {
                    if let Some(status) = child.try_wait()? {
                        break status;
                    }
                }
                Event::Signal(Came { signal: Signal::SIGCONT, .. }) => {
                    if self.foreground {
                        if terminal::has_foreground() {
                            terminal::give_to(last);
                            given = Some(last);
                        }
                        wake([leader, last]);
                    }
                }
                // What the kernel sends to this group, it has sent to the command too, unless that is in another.
                Event::Signal(Came { signal, sent }) => {
                    if sent || self.foreground {
                        let _ = signal::send(leader, signal);
                    }
                    if signal == Signal::SIGHUP && self.foreground {
                        // The shell has gone, and nobody else would wake what it had stopped.
                        wake([leader, last]);
                    }
                }
            }
        };
        if given.is_some() {
            terminal::take();
        }
        self.heard(&mut None);
        Ok(status)
    }

    /// Reads what the first process has told; whether there may be more.
    fn heard(&self, given: &mut Option<u32>) -> bool {
        let mut told = [0; 16];
        let Some(mut news) = self.news.get() else { return false };
        let count = news.read(&mut told).unwrap_or_default();
        for &what in &told[..count] {
            // Elsewhere the terminal has sent it to this group as well.
            if !self.foreground {
                continue;
            }
            match what {
                // Goes on here when it is continued.
                STOPPED => {
                    *given = None;
                    let _ = signal::send_own_group(Signal::SIGTSTP);
                }
                // A script that waits for this process is interrupted as it would be by the key.
                INTERRUPTED => {
                    let _ = signal::send_own_group(Signal::SIGINT);
                }
                _ => {}
            }
        }
        count > 0
    }
}

/// Lets groups of processes go on that were stopped.
fn wake(groups: [u32; 2]) {
    for group in groups {
        let _ = signal::send_group(group, Signal::SIGCONT);
    }
}
