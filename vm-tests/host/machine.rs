//! One machine: a kernel, or this system itself, with a filesystem under test; boots it until all facts have an answer.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::time::{Duration, Instant};

use super::emulator::Emulator;
use super::local::{self, Container};
use super::session::{End, Patience, follow};
use super::store::{About, Part, Writer};
use super::vm::{self, Kernel};
use crate::record::{Event, Finding, Orders, Verdict, trouble};

/// What runs the facts.
#[derive(Debug, Clone)]
pub(super) enum Host {
    /// A kernel in a virtual machine.
    Vm(Kernel),
    /// The running kernel.
    Native,
    /// The running kernel, from a privileged container.
    Container(Container),
}

/// A column of the report.
#[derive(Debug, Clone)]
pub(super) struct Machine {
    pub(super) host: Host,
    pub(super) filesystem: String,
    /// Its facts, by name.
    pub(super) facts: Vec<String>,
}

/// What all machines of a run share.
pub(super) struct Shared<'a> {
    pub(super) program: &'a Path,
    /// Where machines have their folders.
    pub(super) run: &'a Path,
    pub(super) emulator: Option<&'a Emulator>,
    /// What a fact may take.
    pub(super) limit: Duration,
    /// Is told of every finding.
    pub(super) heard: &'a (dyn Fn(&Machine, &Finding) + Sync),
}

/// A machine that a fact kills is started again for the rest; not for ever.
const BOOTS: usize = 4;
/// What the emulator or the container tool says.
pub(super) const MACHINE_LOG: &str = "machine.log";
/// Lines of the console that tell of a machine's end.
const TAIL: usize = 60;

impl Host {
    /// The name of the kernel in reports.
    pub(super) fn name(&self) -> String {
        match self {
            Self::Vm(kernel) => kernel.name.clone(),
            Self::Native => "native".to_owned(),
            Self::Container(container) => container.name().to_owned(),
        }
    }
}

impl Machine {
    pub(super) fn name(&self) -> String {
        format!("{}::{}", self.host.name(), self.filesystem)
    }

    /// Reads back what it found.
    pub(super) fn findings(&self, run: &Path) -> io::Result<Vec<Finding>> {
        Ok(Part::read(&self.folder(run))?.findings)
    }

    fn folder(&self, run: &Path) -> PathBuf {
        run.join(self.name().replace("::", "-"))
    }

    /// Runs all facts; returns what the machine was.
    pub(super) fn run(&self, shared: &Shared<'_>) -> io::Result<About> {
        let folder = self.folder(shared.run);
        let mut progress = Progress {
            writer: Writer::new(&folder)?,
            heard: &|finding| (shared.heard)(self, finding),
            left: self.facts.clone(),
            in_flight: None,
        };
        let mut about = self.about(shared);
        let since = Instant::now();
        let mut silent_boots = 0;
        for boot in 1..=BOOTS {
            let console = folder.join(format!("console-{boot}.log"));
            let started = Instant::now();
            let (child, patience) = self.start(shared, &progress.left, &folder, &console)?;
            let end = follow(child, &console, patience, |event| progress.hear(event, &mut about, started));
            match end {
                End::Complete => break,
                End::Unfit(reason) => progress.give_up(&reason)?,
                End::Died(why) => progress.died(&why, &tail(&console), boot == BOOTS)?,
                End::NoBoot(why) => {
                    silent_boots += 1;
                    // An emulator may lose a machine before it has said a word: once is no result.
                    if silent_boots > 1 || !matches!(self.host, Host::Vm(_)) {
                        progress.give_up(&no_boot(&why, &console, &folder))?;
                    }
                }
            }
            if progress.left.is_empty() {
                break;
            }
        }
        vm::clear(&folder);
        about.milliseconds = milliseconds(since);
        progress.finish(&about)?;
        Ok(about)
    }

    fn about(&self, shared: &Shared<'_>) -> About {
        let (source, how) = match &self.host {
            Host::Vm(kernel) => {
                (kernel.source.clone(), shared.emulator.map(Emulator::described).unwrap_or_default())
            }
            Host::Native => (String::new(), "this system".to_owned()),
            Host::Container(container) => (String::new(), container.name().to_owned()),
        };
        About {
            kernel: self.host.name(),
            filesystem: self.filesystem.clone(),
            source,
            how,
            ..About::default()
        }
    }

    fn start(
        &self,
        shared: &Shared<'_>,
        facts: &[String],
        folder: &Path,
        console: &Path,
    ) -> io::Result<(Child, Patience)> {
        let orders = Orders {
            facts: facts.to_vec(),
            filesystem: self.filesystem.clone(),
            limit: shared.limit.as_secs(),
        };
        match &self.host {
            Host::Vm(kernel) => {
                let emulator = shared.emulator.expect("whoever boots kernels has an emulator");
                let child = vm::start(kernel, shared.program, &orders, emulator, folder, console)?;
                Ok((child, vm::patience(emulator.accelerator, shared.limit)))
            }
            Host::Native => {
                Ok((local::start(None, shared.program, &orders, folder)?, local::patience(shared.limit)))
            }
            Host::Container(container) => {
                let child = local::start(Some(*container), shared.program, &orders, folder)?;
                Ok((child, local::patience(shared.limit)))
            }
        }
    }
}

/// What is done of a machine's facts, and what is left.
struct Progress<'a> {
    writer: Writer,
    heard: &'a dyn Fn(&Finding),
    left: Vec<String>,
    in_flight: Option<String>,
}

impl Progress<'_> {
    fn hear(&mut self, event: Event, about: &mut About, started: Instant) {
        match event {
            Event::Hello { release, version } => {
                (about.release, about.version) = (release, version);
                about.boot_milliseconds = milliseconds(started);
            }
            Event::Start { fact } => self.in_flight = Some(fact),
            Event::Done(finding) => {
                self.in_flight = None;
                self.keep(&finding).expect("the run's folder can be written");
            }
            Event::Unfit { .. } | Event::End => {}
        }
    }

    fn keep(&mut self, finding: &Finding) -> io::Result<()> {
        self.left.retain(|fact| *fact != finding.fact);
        (self.heard)(finding);
        self.writer.add(finding)
    }

    /// The machine is gone: the fact that was running has failed, and the rest is for the next boot, if there is one.
    fn died(&mut self, why: &str, log: &[String], is_last: bool) -> io::Result<()> {
        let reason = trouble(log).map_or_else(|| why.to_owned(), |line| format!("{why}: {line}"));
        let mut cause = format!("the machine {reason}");
        if let Some(fact) = self.in_flight.take() {
            let verdict = Verdict::no_answer(&cause);
            cause = format!("{cause}, in {fact}");
            self.keep(&Finding { fact, milliseconds: 0, verdict, log: log.to_vec() })?;
        } else {
            // Between two facts, nobody is to blame; but it must not happen unseen.
            return self.give_up(&cause);
        }
        if is_last { self.give_up(&cause) } else { Ok(()) }
    }

    /// Nothing will be known of what is left.
    fn give_up(&mut self, reason: &str) -> io::Result<()> {
        for fact in self.left.clone() {
            let verdict = Verdict::NoResult { reason: reason.to_owned() };
            self.keep(&Finding { fact, milliseconds: 0, verdict, log: Vec::new() })?;
        }
        Ok(())
    }

    fn finish(mut self, about: &About) -> io::Result<()> {
        // A machine that says it has finished, and has not answered for all.
        self.give_up("the machine left it out")?;
        self.writer.finish(about)
    }
}

fn no_boot(why: &str, console: &Path, folder: &Path) -> String {
    let said = fs::read_to_string(folder.join(MACHINE_LOG)).unwrap_or_default();
    let tail = tail(console);
    let last: Vec<&str> = tail.iter().rev().take(5).rev().map(String::as_str).collect();
    format!("the machine {why}\n{}\n{}", last.join("\n"), said.trim()).trim().to_owned()
}

/// The end of a console's log, without time stamps.
fn tail(console: &Path) -> Vec<String> {
    let text = String::from_utf8_lossy(&fs::read(console).unwrap_or_default()).into_owned();
    let plain = |line: &str| {
        let line = line.trim_end();
        let rest = line.strip_prefix('[').and_then(|rest| rest.split_once("] ")).map(|(_, rest)| rest);
        rest.unwrap_or(line).to_owned()
    };
    let lines: Vec<String> = text.lines().map(plain).collect();
    lines[lines.len().saturating_sub(TAIL)..].to_vec()
}

fn milliseconds(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX)
}

/// Where a local machine mounts its scratch filesystem.
pub(super) fn scratch(folder: &Path) -> PathBuf {
    folder.join("scratch")
}
