//! One run of a machine: a process whose standard output is events, followed until it ends or falls silent.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, ChildStdout};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use crate::record::Event;

/// How patient to be with a machine.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience {
    /// Until its first event.
    pub(super) boot: Duration,
    /// Between two signs of life: an event, or a line on the console.
    pub(super) silence: Duration,
    /// In all.
    pub(super) whole: Duration,
}

/// How a session ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum End {
    /// All was run.
    Complete,
    /// The machine said that nothing can be run on it.
    Unfit(String),
    /// It never said a word.
    NoBoot(String),
    /// It ended, or was ended, in the middle.
    Died(String),
}

/// How long a machine that has said its last word may take to switch itself off.
const POWER_OFF: Duration = Duration::from_secs(5);
/// How often the console is looked at.
const LOOK: Duration = Duration::from_millis(500);

/// Follows `child` to its end, and hands every event on. `console` grows while the machine lives.
pub(super) fn follow(
    mut child: Child,
    console: &Path,
    patience: Patience,
    mut heard: impl FnMut(Event),
) -> End {
    let events = events(child.stdout.take().expect("its standard output is a pipe"));
    let (since, mut last, mut written, mut is_up) = (Instant::now(), Instant::now(), 0, false);
    loop {
        match events.recv_timeout(LOOK) {
            Ok(event) => {
                (last, is_up) = (Instant::now(), true);
                let end = match &event {
                    Event::End => Some(End::Complete),
                    Event::Unfit { reason } => Some(End::Unfit(reason.clone())),
                    Event::Hello { .. } | Event::Start { .. } | Event::Done(_) => None,
                };
                heard(event);
                if let Some(end) = end {
                    finish(&mut child);
                    return end;
                }
            }
            Err(RecvTimeoutError::Timeout) => {
                let length = fs::metadata(console).map_or(0, |metadata| metadata.len());
                if length > written {
                    (last, written) = (Instant::now(), length);
                }
            }
            Err(RecvTimeoutError::Disconnected) => return gone(&mut child, is_up),
        }
        if let Some(why) = patience.is_lost(since, last, is_up) {
            kill(&mut child);
            return if is_up { End::Died(why) } else { End::NoBoot(why) };
        }
    }
}

impl Patience {
    fn is_lost(self, since: Instant, last: Instant, is_up: bool) -> Option<String> {
        if !is_up && since.elapsed() > self.boot {
            Some(format!("did not come up in {} s", self.boot.as_secs()))
        } else if last.elapsed() > self.silence {
            Some(format!("fell silent for {} s", self.silence.as_secs()))
        } else if since.elapsed() > self.whole {
            Some(format!("took longer than {} s", self.whole.as_secs()))
        } else {
            None
        }
    }
}

fn gone(child: &mut Child, is_up: bool) -> End {
    let status = child.wait().expect("it is our child");
    let why = match status.code() {
        Some(0) => "switched itself off".to_owned(),
        Some(_) | None => format!("ended: {status}"),
    };
    if is_up { End::Died(why) } else { End::NoBoot(why) }
}

/// Lets a machine switch itself off, or switches it off.
fn finish(child: &mut Child) {
    let since = Instant::now();
    while since.elapsed() < POWER_OFF {
        if !matches!(child.try_wait(), Ok(None)) {
            return;
        }
        thread::sleep(Duration::from_millis(10));
    }
    kill(child);
}

fn kill(child: &mut Child) {
    // It may have ended just now.
    let _ = child.kill();
    let _ = child.wait();
}

/// Reads events in a thread of its own; what is not an event is a library's chatter.
fn events(stdout: ChildStdout) -> Receiver<Event> {
    let (sender, receiver) = channel();
    thread::spawn(move || {
        // Bytes: a serial line that dies may end in the middle of a character.
        for line in BufReader::new(stdout).split(b'\n').map_while(Result::ok) {
            if let Ok(event) = serde_json::from_slice(line.trim_ascii()) {
                if sender.send(event).is_err() {
                    return;
                }
            }
        }
    });
    receiver
}
