//! Real archives, made by other people's tools: each must show the tree that comes with it.
//!
//! `OVLCTL_CORPUS=DIR` has `INDEX.tsv`, `files/` and `trees/`: archives out of public repositories, and those that must
//! be refused. `OVLCTL_ARCHIVES=DIR` has `index.tsv`, written by `scripts/make-archives` with the tools of this machine.
//! One test a row; without the variable, one test that is listed as ignored. This is a harness of its own, since
//! libtest cannot make tests out of a list, nor skip one at run time.

mod index;
mod listing;
mod place;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use libtest_mimic::{Arguments, Failed, Trial};

use index::{Case, Expected};
use place::{Place, Refusal};

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let mut trials = Vec::new();
    trials.extend(trials_of("corpus", "OVLCTL_CORPUS", index::corpus));
    trials.extend(trials_of("archives", "OVLCTL_ARCHIVES", index::archives));
    libtest_mimic::run(&arguments, trials).exit_code()
}

fn trials_of(group: &str, variable: &str, cases: fn(&Path) -> Vec<Case>) -> Vec<Trial> {
    match std::env::var_os(variable).filter(|dir| !dir.is_empty()) {
        None => vec![Trial::test(format!("{group}::needs_{variable}"), || Ok(())).with_ignored_flag(true)],
        Some(dir) => cases(&PathBuf::from(dir))
            .into_iter()
            .map(|case| Trial::test(format!("{group}::{}", case.name), move || run(&case)))
            .collect(),
    }
}

/// Mounts one archive, compares what it shows or says, makes its layers' tars again, and lets it be saved and loaded.
fn run(case: &Case) -> Result<(), Failed> {
    let place = Place::new();
    let answer = place.mount(case);
    let result = match &case.expected {
        Expected::Tree(path) => shows(&listing::read(path), &answer),
        Expected::Refusal(why) => refused(why, &answer),
        Expected::Either => answer.as_ref().map_or_else(Refusal::is_clean, |_| Ok(())),
    };
    let left = place.unmount();
    result.and(left).and_then(|()| place.tars()).and_then(|()| place.saves()).map_err(Failed::from)
}

fn shows(expected: &str, answer: &Result<PathBuf, Refusal>) -> Result<(), String> {
    // Conformance tars for parsers have names of a megabyte.
    if let Some(name) = listing::too_long(expected) {
        return refused(&format!("a name of {} bytes", name.len()), answer);
    }
    match answer {
        Ok(root) => listing::compare(expected, &listing::list(root)),
        Err(refusal) => Err(refusal.text.clone()),
    }
}

fn refused(why: &str, answer: &Result<PathBuf, Refusal>) -> Result<(), String> {
    match answer {
        Ok(_) => Err(format!("it was mounted; expected a refusal: {why}")),
        Err(refusal) => refusal.is_clean(),
    }
}
