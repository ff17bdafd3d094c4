//! Runs facts one after the other, in a process that can be killed: what crashes or hangs is one fact.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitCode, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};

use super::kmsg::Kmsg;
use crate::broken;
use crate::fact::{self, Outcome, Place};
use crate::record::{Event, Finding, Orders, Verdict, trouble};

/// How long a process may take to end once it was killed; one that takes longer hangs in the kernel.
const DYING: Duration = Duration::from_secs(5);

/// `lab facts DIR`: reads orders from the standard input, runs them in `DIR`, and says on the standard output what came of it.
pub(crate) fn facts(dir: &Path) -> ExitCode {
    let mut text = String::new();
    io::stdin().read_to_string(&mut text).expect("orders can be read");
    let orders: Orders = serde_json::from_str(&text).expect("orders are JSON");
    let mut out = io::stdout();
    say(&mut out, &hello());
    run(&orders, dir, None, &mut out);
    say(&mut out, &Event::End);
    ExitCode::SUCCESS
}

/// `lab worker DIR FILESYSTEM`: runs the facts that are named on the standard input, a line each, and answers each with
/// its outcome, a line each.
pub(crate) fn worker(dir: &Path, filesystem: &str) -> ExitCode {
    let all = fact::all();
    for name in io::stdin().lines().map_while(Result::ok) {
        let Some(fact) = all.iter().chain(broken::ALL).find(|fact| fact.name() == name) else {
            return ExitCode::FAILURE; // The list was made by another build.
        };
        let outcome = fact.run(&Place::new(dir, filesystem));
        let line = serde_json::to_string(&outcome).expect("an outcome is JSON");
        writeln!(io::stdout(), "{line}").expect("somebody reads");
    }
    ExitCode::SUCCESS
}

/// What a machine says first.
pub(super) fn hello() -> Event {
    let uname = rustix::system::uname();
    let text = |text: &std::ffi::CStr| text.to_string_lossy().into_owned();
    Event::Hello { release: text(uname.release()), version: text(uname.version()) }
}

/// Says one thing. Nobody listens any more where that fails, and then nothing matters.
pub(super) fn say(out: &mut impl Write, event: &Event) {
    let line = serde_json::to_string(event).expect("an event is JSON");
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}

/// Runs the facts of `orders` in `dir`; trouble in the kernel's log, where it is read, fails the fact that was running.
pub(super) fn run(orders: &Orders, dir: &Path, mut kmsg: Option<Kmsg>, out: &mut impl Write) {
    let limit = Duration::from_secs(orders.limit);
    let mut worker = None;
    for fact in &orders.facts {
        say(out, &Event::Start { fact: fact.clone() });
        let since = Instant::now();
        let ready = worker.take().unwrap_or_else(|| Worker::start(dir, &orders.filesystem));
        let (mut verdict, ready) = ready.run(fact, limit);
        worker = ready;
        let log = kmsg.as_mut().map(Kmsg::new_lines).unwrap_or_default();
        if let Some(line) = trouble(&log) {
            verdict = Verdict::no_answer(format!("{line} (in the kernel's log)"));
        }
        let log = if verdict.is_failure() { log } else { Vec::new() };
        let milliseconds = u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX);
        say(out, &Event::Done(Finding { fact: fact.clone(), milliseconds, verdict, log }));
    }
}

/// A process that runs facts until one crashes or hangs. It serves many, since a process is the dearest part of a fact in
/// an emulator; each fact has a thread, a working directory and a mount namespace of its own all the same.
struct Worker {
    child: Child,
    names: ChildStdin,
    answers: Receiver<Outcome>,
    stderr: Receiver<String>,
}

impl Worker {
    fn start(dir: &Path, filesystem: &str) -> Self {
        let mut child = Command::new("/proc/self/exe")
            .arg("worker")
            .arg(dir)
            .arg(filesystem)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn()
            .expect("this very program starts");
        let names = child.stdin.take().expect("it is a pipe");
        let answers = answers(child.stdout.take().expect("it is a pipe"));
        let stderr = all_of(child.stderr.take().expect("it is a pipe"));
        Self { child, names, answers, stderr }
    }

    /// Runs one fact; returns the worker if it can go on.
    fn run(mut self, fact: &str, limit: Duration) -> (Verdict, Option<Self>) {
        // A worker that is gone does not answer either.
        let _ = writeln!(self.names, "{fact}");
        match self.answers.recv_timeout(limit) {
            Ok(outcome) => (outcome.into(), Some(self)),
            Err(RecvTimeoutError::Disconnected) => (self.crashed(), None),
            Err(RecvTimeoutError::Timeout) => (self.hung(limit), None),
        }
    }

    fn crashed(mut self) -> Verdict {
        let status = self.child.wait().expect("it is our child");
        let stderr = self.stderr.recv_timeout(DYING).unwrap_or_default();
        let end = match status.signal() {
            Some(signal) => format!("killed by signal {signal}"),
            None => format!("exit code {}", status.code().unwrap_or_default()),
        };
        Verdict::no_answer(format!("a crash: {end}\n{}", stderr.trim()).trim())
    }

    fn hung(mut self, limit: Duration) -> Verdict {
        let stacks = stacks(self.child.id());
        // It may have ended just now.
        let _ = kill_process_group(Pid::from_child(&self.child), Signal::KILL);
        let since = Instant::now();
        while since.elapsed() < DYING && matches!(self.child.try_wait(), Ok(None)) {
            thread::sleep(Duration::from_millis(20));
        }
        let stays = matches!(self.child.try_wait(), Ok(None));
        let kind = if stays { "a hang that SIGKILL does not end" } else { "a hang" };
        Verdict::no_answer(format!("{kind}: no end after {} s{stacks}", limit.as_secs()))
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // What a fact has started and left.
        let _ = kill_process_group(Pid::from_child(&self.child), Signal::KILL);
        let _ = self.child.try_wait();
    }
}

/// Reads outcomes in a thread of its own; what is not one was printed by a fact.
fn answers(stdout: ChildStdout) -> Receiver<Outcome> {
    let (sender, receiver) = channel();
    thread::spawn(move || {
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            if let Ok(outcome) = serde_json::from_str(&line) {
                // Nobody waits any more for what hung.
                let _ = sender.send(outcome);
            }
        }
    });
    receiver
}

/// Reads all of a pipe in a thread of its own.
fn all_of(mut pipe: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, receiver) = channel();
    thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ = pipe.read_to_end(&mut bytes);
        // Nobody waits any more for what hung.
        let _ = sender.send(String::from_utf8_lossy(&bytes).into_owned());
    });
    receiver
}

/// Where in the kernel each thread of a process is.
fn stacks(pid: u32) -> String {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let stack = |path: PathBuf| std::fs::read_to_string(path.join("stack")).ok();
    tasks.filter_map(|task| stack(task.path())).map(|stack| format!("\n{}", stack.trim())).collect()
}
