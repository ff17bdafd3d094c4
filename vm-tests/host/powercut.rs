//! `lab power-cut`: a guest tells the story on a disk whose every write is logged; then the power goes, at hundreds of points of
//! that log, and each time the store must be what was promised. scripts/power-cut calls it.

mod disk;
mod listing;
mod log;
mod points;
mod proof;
mod replay;
mod tally;
pub(super) mod tests;

use std::collections::VecDeque;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Mutex;
use std::thread;
use std::time::Duration;

use clap::Parser;
use ovlctl::sys::mount::own_mount_namespace;
use serde_json::json;

use super::boot::emulator;
use super::console::say;
use super::emulator::Emulator;
use super::session::{End, follow};
use super::vm::{self, CONSOLE_LOG, Kernel};
use crate::record::{Event, Orders, Verdict};
use crate::story::random::Random;
use crate::story::{self, ARCHIVES, Manner, PROGRAM};
use log::Log;
use points::Point;
use proof::Bench;
use replay::Replay;
use tally::Tally;

/// Cuts a guest's power at many points.
#[derive(Debug, Parser)]
#[command(name = "lab power-cut", no_binary_name = true)]
struct Arguments {
    /// Keep what is found in this folder
    #[arg(long, value_name = "DIR")]
    run: PathBuf,
    /// The kernel that tells the story, one of scripts/kernel: its name, and its folder
    #[arg(long, value_name = "NAME=DIR", value_parser = super::boot::named)]
    kernel: Option<(String, PathBuf)>,
    /// The filesystems under test
    #[arg(long, value_name = "NAME", required = true, value_parser = ["ext4", "xfs", "btrfs"])]
    fs: Vec<String>,
    /// How many points to look at on each filesystem
    #[arg(long, value_name = "N", default_value_t = 500)]
    points: usize,
    /// What chance starts from
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Look at points of the run that is in the folder
    #[arg(long)]
    again: bool,
    /// Look at these: 120:none, 120:all, 120:SEED
    #[arg(long, value_name = "POINT", requires = "again")]
    at: Vec<Point>,
    /// Another ovlctl, linked statically
    #[arg(long, value_name = "FILE")]
    ovlctl: Option<PathBuf>,
    /// Break this part of the protocol, and fail unless that shows
    #[arg(long, value_name = "PART")]
    without: Option<Part>,
    /// Let the power go a second time, while so many of the points are recovered from
    #[arg(long, value_name = "N", default_value_t = 0, conflicts_with_all = ["again", "without"])]
    recoveries: usize,
    /// How many filesystems are looked at at a time
    #[arg(long, value_name = "N", default_value_t = 2)]
    jobs: usize,
}

/// How guests are run.
struct Guests {
    kernel: Kernel,
    program: PathBuf,
    emulator: Emulator,
}

/// What the test has to notice the lack of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Part {
    /// `load` waits for the disk
    Sync,
    /// The next command notices that the machine has started anew
    Recovery,
}

/// One guest's: what it did, and on what.
struct Story<'a> {
    filesystem: &'a str,
    manner: Manner,
    /// Where the filesystem that it began with (`made`), the log, and what is found are kept.
    folder: PathBuf,
    archives: &'a Path,
}

/// How long a guest may take.
const LIMIT: Duration = Duration::from_secs(240);
/// What a guest was told, in its initramfs and in its folder.
const STORY: &str = "story";
/// How many faults are told; the run's folder has all.
const TOLD: usize = 5;
/// How much of a fault is told, in characters.
const LINE: usize = 400;

/// Runs what the command line asks for; fails where a point is bad, or none is though it should be.
pub(crate) fn power_cut(arguments: impl Iterator<Item = std::ffi::OsString>) -> ExitCode {
    let arguments = match Arguments::try_parse_from(arguments) {
        Ok(arguments) => arguments,
        Err(e) => {
            let _ = e.print(); // a broken pipe
            return ExitCode::from(2);
        }
    };
    match arguments.run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(e) => {
            say(&format!("lab: {e}"));
            ExitCode::FAILURE
        }
    }
}

impl Arguments {
    fn run(&self) -> io::Result<bool> {
        // All mounts are this process's, and go with it, whatever becomes of it.
        own_mount_namespace()?;
        let memory = self.run.join("memory");
        fs::create_dir_all(&memory)?;
        proof::run(std::process::Command::new("mount").args(["-t", "tmpfs", "tmpfs"]).arg(&memory))?;
        let guests = if self.again { None } else { Some(self.guests()?) };
        let queue = Mutex::new(VecDeque::from(self.fs.clone()));
        let next = || queue.lock().expect("nobody panics with the queue").pop_front();
        let work = || -> io::Result<bool> {
            let mut good = true;
            while let Some(filesystem) = next() {
                let bad = self.filesystem(&filesystem, guests.as_ref());
                let bad = bad.map_err(|e| io::Error::other(format!("{filesystem}: {e}")))?;
                good &= (bad == 0) == self.without.is_none();
            }
            Ok(good)
        };
        thread::scope(|scope| {
            let workers: Vec<_> = (0..self.jobs.max(1)).map(|_| scope.spawn(work)).collect();
            // All are waited for before the first error is told.
            let ends = workers.into_iter().map(|worker| worker.join().expect("a worker returns its error"));
            let ends: Vec<io::Result<bool>> = ends.collect();
            ends.into_iter().try_fold(true, |all, end| Ok(all & end?))
        })
    }

    fn guests(&self) -> io::Result<Guests> {
        let (name, kernel) = self.kernel.as_ref().ok_or_else(|| io::Error::other("--kernel is missing"))?;
        let kernel = Kernel::cached(name, kernel)?;
        let program = std::env::current_exe()?;
        let emulator = emulator(&kernel, &program, &self.run)?;
        Ok(Guests { kernel, program, emulator })
    }

    /// Cuts the power of one filesystem; returns how many points are bad.
    fn filesystem(&self, filesystem: &str, guests: Option<&Guests>) -> io::Result<usize> {
        let folder = self.run.join(filesystem);
        fs::create_dir_all(&folder)?;
        let archives = folder.join("archives");
        story::images::write(filesystem, &archives)?;
        let story = match guests {
            Some(guests) => {
                let manner =
                    Manner { sync: self.without != Some(Part::Sync), seed: self.seed, recovers: None };
                let story = Story { filesystem, manner, folder, archives: &archives };
                disk::make(filesystem, &story.made())?;
                self.tell(guests, &story)?;
                story
            }
            None => Story { filesystem, manner: manner_of(&folder)?, folder, archives: &archives },
        };
        let memory = self.run.join("memory").join(filesystem);
        fs::create_dir_all(&memory)?;
        let program = self.ovlctl.clone().map_or_else(std::env::current_exe, Ok)?;
        let bench = Bench {
            program: &program,
            filesystem,
            archives: &archives,
            trees: proof::trees(&std::env::current_exe()?, &archives, &memory)?,
            folder: memory,
            same_boot: self.without == Some(Part::Recovery),
        };
        let (tally, thrown) = self.look(&story, &bench, self.points)?;
        say(&tally.summary(filesystem));
        let mut bad = tally.bad();
        let Some(guests) = guests.filter(|_| self.recoveries > 0) else { return Ok(bad) };
        for point in self.in_need(&story, thrown, &bench)? {
            let second = self.recover(guests, &story, point, &bench)?;
            let tally = self.look(&second, &bench, self.points / self.recoveries)?.0;
            say(&tally.summary(&format!("{filesystem}, recovering from {point}")));
            bad += tally.bad();
        }
        Ok(bad)
    }

    /// Chooses those of the points that would be bad if nothing were recovered.
    fn in_need(&self, story: &Story<'_>, mut from: Vec<Point>, bench: &Bench<'_>) -> io::Result<Vec<Point>> {
        let bench = Bench { same_boot: true, ..bench.clone() };
        let (log, mut random, mut needy) = (story.log()?, Random::new(self.seed), Vec::new());
        while needy.len() < self.recoveries && !from.is_empty() {
            let at = random.below(from.len() as u64);
            let point = from.swap_remove(usize::try_from(at).expect("it is below a usize"));
            let image = bench.folder.join("point");
            Replay::new(&log, &story.made(), &bench.folder)?.make(point, &image)?;
            let promised = story.manner.promised(log.acknowledged(point.taken));
            if !bench.examine(&image, &promised, random.next())?.faults.is_empty() {
                needy.push(point);
            }
        }
        if needy.is_empty() {
            return Err(io::Error::other("no point had to be recovered from: it takes more of them"));
        }
        Ok(needy)
    }

    /// Has a guest recover from a point of a story.
    fn recover<'a>(
        &self,
        guests: &Guests,
        first: &Story<'a>,
        point: Point,
        bench: &Bench<'_>,
    ) -> io::Result<Story<'a>> {
        let folder = self.run.join("recovery").join(point.to_string()).join(first.filesystem);
        fs::create_dir_all(&folder)?;
        let log = first.log()?;
        let manner = Manner { recovers: Some(log.acknowledged(point.taken)), ..first.manner };
        let second = Story { folder, manner, ..*first };
        Replay::new(&log, &first.made(), &bench.folder)?.make(point, &second.made())?;
        self.tell(guests, &second)?;
        Ok(second)
    }

    /// Looks at points of a story; returns those too at which something was thrown away.
    fn look(&self, story: &Story<'_>, bench: &Bench<'_>, count: usize) -> io::Result<(Tally, Vec<Point>)> {
        let log = story.log()?;
        let (points, report) = if self.at.is_empty() {
            (points::choose(&log, count, self.seed), "points.jsonl")
        } else {
            let mut points: Vec<_> = self.at.iter().map(|point| (*point, "again")).collect();
            points.sort_unstable();
            (points, "again.jsonl")
        };
        if points.is_empty() {
            return Err(io::Error::other("no point was looked at"));
        }
        let (mut tally, mut thrown) = (Tally::new(&log, self.seed), Vec::new());
        let mut replay = Replay::new(&log, &story.made(), &bench.folder)?;
        let mut found = fs::File::create(story.folder.join(report))?;
        for (point, kind) in points {
            let image = bench.folder.join("point");
            replay.make(point, &image)?;
            let acknowledged = log.acknowledged(point.taken);
            let mut random = Random::new(self.seed ^ point.taken as u64);
            let seen = bench.examine(&image, &story.manner.promised(acknowledged), random.next())?;
            let line = json!({
                "point": point.to_string(), "kind": kind, "acknowledged": acknowledged,
                "faults": seen.faults, "said": seen.said,
            });
            writeln!(found, "{line}")?;
            if !seen.faults.is_empty() && tally.bad() < TOLD {
                let first: String = seen.faults[0].chars().take(LINE).collect();
                say(&format!("{} {point}, after step {acknowledged}: {first}", bench.filesystem));
            }
            if seen.has_recovered() {
                thrown.push(point);
            }
            tally.add(kind, &seen);
        }
        Ok((tally, thrown))
    }

    /// Has a guest tell the story; leaves the log in its folder.
    fn tell(&self, guests: &Guests, story: &Story<'_>) -> io::Result<()> {
        let Guests { kernel, program, emulator } = guests;
        let Story { filesystem, manner, folder, archives } = story;
        let (disk, log) = (folder.join("disk"), folder.join("log"));
        disk::partition(&story.made(), &disk)?;
        let manner = serde_json::to_vec(manner)?;
        fs::write(folder.join(STORY), &manner)?;
        let mut files = vec![(STORY.to_owned(), manner)];
        for image in story::images::NAMES {
            let name = story::archive(Path::new(ARCHIVES), image);
            files.push((inside(&name), fs::read(story::archive(archives, image))?));
        }
        if let Some(other) = &self.ovlctl {
            files.push((inside(Path::new(PROGRAM)), fs::read(other)?));
        }
        let orders =
            Orders { facts: Vec::new(), filesystem: (*filesystem).to_owned(), limit: LIMIT.as_secs() };
        let child = vm::start_logged(kernel, program, &orders, &files, (&disk, &log), emulator, folder)?;
        let mut failed = None;
        let mut steps = fs::File::create(folder.join("steps.jsonl"))?;
        let patience = vm::patience(emulator.accelerator, LIMIT);
        let end = follow(child, &folder.join(CONSOLE_LOG), patience, |event| {
            // Only for who reads the folder.
            let _ = writeln!(steps, "{}", serde_json::to_string(&event).unwrap_or_default());
            if let Event::Done(finding) = event {
                if let Verdict::Fail { saw, .. } = finding.verdict {
                    failed = Some(format!("step {}: {saw}", finding.fact));
                }
            }
        });
        vm::clear(folder);
        match (end, failed) {
            (End::Complete, None) => Ok(()),
            (end, failed) => Err(io::Error::other(failed.unwrap_or_else(|| format!("the guest: {end:?}")))),
        }
    }
}

impl Story<'_> {
    fn made(&self) -> PathBuf {
        self.folder.join("made")
    }

    fn log(&self) -> io::Result<Log> {
        let log = Log::read(&self.folder.join("log"))?;
        let (told, steps) = (log.acknowledged(log.entries.len()), self.manner.steps().len());
        if told == steps {
            Ok(log)
        } else {
            Err(io::Error::other(format!("the log has marks of {told} steps of {steps}")))
        }
    }
}

/// What the guest was told whose log is in `folder`.
fn manner_of(folder: &Path) -> io::Result<Manner> {
    Ok(serde_json::from_slice(&fs::read(folder.join(STORY))?)?)
}

/// The name of a file in an initramfs.
fn inside(path: &Path) -> String {
    path.strip_prefix("/").unwrap_or(path).display().to_string()
}
