//! `init`: the first process of a room, which starts the command there, and buries those that nobody waits for.
//!
//! Its own signals end it only from outside (pid_namespaces(7)), and what it is sent it passes on. It leads the process group
//! that has the terminal, so that the keys of the terminal reach the command as they would anywhere.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use clap::Args;

use super::Context;
use super::act::{Act, Around};
use super::fault::{Cause, Fault};
use super::task::{NOT_TRIED, Task};
use crate::mount::room::Room;
use crate::sys::signal::{self, Changed, Signal, Signals};
use crate::sys::{self, background, namespace, terminal};

/// In the room: a pipe on which it tells what no exit code does.
pub(super) const NEWS: &str = "news";
/// The command was stopped.
pub(super) const STOPPED: u8 = b's';
/// The command was ended by Ctrl-C.
pub(super) const INTERRUPTED: u8 = b'i';

/// Signals that are passed on.
pub(super) const PASSED_ON: [Signal; 6] =
    [Signal::SIGHUP, Signal::SIGINT, Signal::SIGQUIT, Signal::SIGTERM, Signal::SIGUSR1, Signal::SIGUSR2];

/// Starts the command of a room, and ends with it
#[derive(Debug, Args)]
pub(super) struct Init {
    dir: PathBuf,
}

impl Act for Init {
    fn around(&self) -> Around {
        Around::NOTHING
    }

    fn run(&self, _: &Context) -> Result<(), Fault> {
        Err(match self.attend() {
            Ok(code) => Cause::Ended(code).into(),
            Err(fault) => {
                let _ = fault.report(None);
                Cause::Ended(NOT_TRIED).into()
            }
        })
    }
}

impl Init {
    fn attend(&self) -> Result<u8, Fault> {
        let io = |e: std::io::Error| Fault::new("run", "the command", Cause::Output(e));
        let call = |e: sys::CallFailed| Fault::new("run", "the command", super::place::failed(e));
        background::close_others();
        // It would keep in use what is mounted there.
        std::env::set_current_dir("/").map_err(io)?;
        namespace::end_with_parent().map_err(call)?;
        let room = Room::at(&self.dir);
        // Nobody reads: who started this has ended before it could be told of that (prctl(2), PR_SET_PDEATHSIG).
        let mut news =
            OpenOptions::new().write(true).custom_flags(sys::NONBLOCK).open(room.file(NEWS)).map_err(io)?;
        let taken = [&PASSED_ON[..], &[Signal::SIGCHLD, Signal::SIGTTOU]].concat();
        let signals = Signals::take(&taken).map_err(call)?;
        if Task::read(&room).map_err(io)?.foreground {
            terminal::take();
        }
        let command = room.command("enter").spawn().map_err(io)?.id();
        loop {
            let came = signals.wait().map_err(call)?;
            if came.signal != Signal::SIGCHLD {
                // What the kernel sent for a key, the command has been sent as well.
                if came.sent {
                    let _ = signal::send(command, came.signal);
                }
                continue;
            }
            while let Some((pid, changed)) = signal::changed_child().map_err(call)? {
                if pid != command {
                    continue;
                }
                match changed {
                    Changed::Exited(code) => return Ok(u8::try_from(code).unwrap_or(u8::MAX)),
                    Changed::Killed(signal) => {
                        if signal == Signal::SIGINT as i32 {
                            let _ = news.write_all(&[INTERRUPTED]);
                        }
                        return Ok(u8::try_from(128 + signal).unwrap_or(u8::MAX));
                    }
                    Changed::Stopped(_) => {
                        let _ = news.write_all(&[STOPPED]);
                    }
                }
            }
        }
    }
}
