//! What a fact is: something that a kernel's overlayfs does, observed, and what it is expected to be.
//!
//! A fact's body does a few things in a `Scene` and returns in a word or two what it saw: `EXDEV`, `hello`, `500 layers`.
//! The words are the same whether they were expected or not, so that a table can show what each kernel answered.

use std::fmt;
use std::io::{self, Write};
use std::panic::{self, AssertUnwindSafe};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::thread;

use ovlctl::sys::{CallFailed, Errno};
use serde::{Deserialize, Serialize};

use crate::facts;
use crate::kernel::Version;
use crate::scene::Scene;

/// Returns all facts, in the order in which they are told.
pub(crate) fn all() -> Vec<Fact> {
    facts::GROUPS.iter().flat_map(|group| group.iter().copied()).collect()
}

/// `lab catalogue`: prints one JSON line a fact, for scripts/kernel-table.
pub(crate) fn catalogue() -> ExitCode {
    let line = |fact: Fact| serde_json::json!({ "name": fact.name, "relied_on": fact.relied_on });
    let text: String = all().into_iter().map(|fact| format!("{}\n", line(fact))).collect();
    match io::stdout().write_all(text.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

/// What came of a fact on one kernel and filesystem.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "lowercase")]
#[must_use]
pub(crate) enum Outcome {
    /// It was seen as expected.
    Pass { saw: String },
    /// Something else was seen, or the scene could not be set up.
    Fail { saw: String, expected: String },
    /// This kernel or filesystem has nothing to look at.
    Skip { reason: String },
}

/// Where facts are run: a directory on the filesystem under test.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    dir: PathBuf,
    filesystem: String,
    kernel: Version,
}

impl Place {
    /// A place at `dir`, which lies on `filesystem`: `ext4`, `xfs`, `btrfs` or `tmpfs`.
    pub(crate) fn new(dir: &Path, filesystem: &str) -> Self {
        Self { dir: dir.to_owned(), filesystem: filesystem.to_owned(), kernel: Version::running() }
    }

    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }
}

/// Why a body ends before it has seen what it came for.
#[derive(Debug)]
pub(crate) enum Stop {
    /// A call was answered with an error: that is what was seen.
    Errno(Errno),
    /// There is nothing to look at here.
    Skip(String),
}

/// What a body saw.
pub(crate) type Saw = Result<String, Stop>;

/// What is looked at, and what is expected of it.
#[derive(Clone, Copy)]
pub(crate) struct Fact {
    name: &'static str,
    body: fn(&Scene) -> Saw,
    cases: [Option<Case>; MAX_CASES],
    relied_on: bool,
}

const MAX_CASES: usize = 8;

#[derive(Clone, Copy)]
struct Case {
    from: Version,
    to: Version,
    filesystem: Option<&'static str>,
    saw: &'static str,
}

/// A fact called `GROUP::what_it_does`; `body` says what it saw.
pub(crate) const fn fact(name: &'static str, body: fn(&Scene) -> Saw) -> Fact {
    Fact { name, body, cases: [None; MAX_CASES], relied_on: false }
}

/// Expectations. Of those that fit a kernel and filesystem the last one counts: the rule comes first, exceptions follow.
impl Fact {
    /// Every kernel, and every filesystem, shows `saw`.
    pub(crate) const fn sees(self, saw: &'static str) -> Self {
        self.case(Version::FIRST, Version::LAST, None, saw)
    }

    /// Kernels from `version` on show `saw`.
    pub(crate) const fn since(self, version: &str, saw: &'static str) -> Self {
        self.case(Version::constant(version), Version::LAST, None, saw)
    }

    /// Kernels from `from` on, and older than `to`, show `saw`: what was carried back to a stable line.
    pub(crate) const fn between(self, from: &str, to: &str, saw: &'static str) -> Self {
        self.case(Version::constant(from), Version::constant(to), None, saw)
    }

    /// `filesystem` shows `saw`.
    pub(crate) const fn on(self, filesystem: &'static str, saw: &'static str) -> Self {
        self.case(Version::FIRST, Version::LAST, Some(filesystem), saw)
    }

    /// ovlctl goes wrong on a kernel that does otherwise.
    pub(crate) const fn relied_on(mut self) -> Self {
        self.relied_on = true;
        self
    }

    const fn case(
        mut self,
        from: Version,
        to: Version,
        filesystem: Option<&'static str>,
        saw: &'static str,
    ) -> Self {
        let mut free = 0;
        while self.cases[free].is_some() {
            free += 1;
        }
        self.cases[free] = Some(Case { from, to, filesystem, saw });
        self
    }
}

impl Fact {
    pub(crate) fn name(&self) -> &'static str {
        self.name
    }

    pub(crate) fn is_relied_on(&self) -> bool {
        self.relied_on
    }

    /// What `place`'s kernel is expected to show.
    fn expected(&self, place: &Place) -> Option<&'static str> {
        let fits = |case: &&Case| {
            (case.from..case.to).contains(&place.kernel)
                && case.filesystem.is_none_or(|filesystem| filesystem == place.filesystem)
        };
        self.cases.iter().flatten().rfind(fits).map(|case| case.saw)
    }

    /// Looks, in a thread with a mount namespace of its own.
    pub(crate) fn run(&self, place: &Place) -> Outcome {
        let Some(expected) = self.expected(place) else {
            return Outcome::Skip { reason: format!("nothing is expected of Linux {}", place.kernel) };
        };
        let name = self.name.to_owned();
        let looked = thread::scope(|scope| {
            let looking = thread::Builder::new().name(name).spawn_scoped(scope, || self.look(place));
            looking.expect("a thread can be started").join()
        });
        match looked.unwrap_or_else(|panic| Err(said(&*panic))) {
            Ok(Ok(saw)) => judge(saw, expected),
            Ok(Err(Stop::Errno(errno))) => judge(name_of(errno), expected),
            Ok(Err(Stop::Skip(reason))) => Outcome::Skip { reason },
            Err(panic) => Outcome::Fail { saw: panic, expected: expected.to_owned() },
        }
    }

    fn look(&self, place: &Place) -> Result<Saw, String> {
        let scene = Scene::new(place, self.name);
        let saw = panic::catch_unwind(AssertUnwindSafe(|| (self.body)(&scene)));
        scene.end();
        saw.map_err(|panic| said(&*panic))
    }
}

fn judge(saw: String, expected: &str) -> Outcome {
    if saw == expected { Outcome::Pass { saw } } else { Outcome::Fail { saw, expected: expected.to_owned() } }
}

/// What a panic says: the part of a scene that could not be set up.
fn said(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref().copied());
    format!("no scene: {}", text.unwrap_or("a panic"))
}

/// Returns an errno's name: `EXDEV`.
pub(crate) fn name_of(errno: Errno) -> String {
    format!("{:?}", nix::errno::Errno::from_raw(errno.raw_os_error()))
}

/// Tells what came of a call: what it returned, `ok` where that is nothing, or the errno's name.
pub(crate) fn told<T: fmt::Display, E: Into<Stop>>(result: Result<T, E>) -> String {
    match result.map_err(Into::into) {
        Ok(value) => value.to_string(),
        Err(Stop::Errno(errno)) => name_of(errno),
        Err(Stop::Skip(reason)) => reason,
    }
}

/// Puts side by side what several calls showed: `ok, ENOENT`.
pub(crate) fn each<const N: usize>(saws: [Saw; N]) -> Saw {
    let mut all = Vec::with_capacity(N);
    for saw in saws {
        match saw {
            Err(Stop::Skip(reason)) => return Err(Stop::Skip(reason)),
            saw => all.push(told(saw)),
        }
    }
    Ok(all.join(", "))
}

/// Says whether two things are the same.
#[expect(clippy::needless_pass_by_value, reason = "whoever compares has just made them")]
pub(crate) fn same<T: PartialEq>(one: T, other: T) -> Saw {
    Ok(if one == other { "same" } else { "different" }.to_owned())
}

/// Ends a fact that has nothing to look at here.
pub(crate) fn skip(reason: &str) -> Saw {
    Err(Stop::Skip(reason.to_owned()))
}

/// Makes `ok` of a call that returns nothing.
pub(crate) trait Done {
    fn done(self) -> Saw;
}

impl<T, E: Into<Stop>> Done for Result<T, E> {
    fn done(self) -> Saw {
        self.map(|_| "ok".to_owned()).map_err(Into::into)
    }
}

impl From<Errno> for Stop {
    fn from(errno: Errno) -> Self {
        Self::Errno(errno)
    }
}

impl From<CallFailed> for Stop {
    fn from(failed: CallFailed) -> Self {
        Self::Errno(failed.errno)
    }
}

impl From<std::io::Error> for Stop {
    fn from(error: std::io::Error) -> Self {
        Self::Errno(Errno::from_io_error(&error).unwrap_or(Errno::IO))
    }
}

impl From<nix::errno::Errno> for Stop {
    fn from(errno: nix::errno::Errno) -> Self {
        Self::Errno(Errno::from_raw_os_error(errno as i32))
    }
}
