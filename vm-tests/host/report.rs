//! Reports a run's folder as tests, one for each kernel, filesystem and fact: what nextest lists and runs.
//!
//! Facts are run before they are reported, since neither nextest nor libtest can skip a test at run time: what a kernel has
//! not got is known when tests are listed, and listed as ignored.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use libtest_mimic::{Arguments, Failed, Trial};

use super::harness;
use super::store::{self, Part, Run, VARIABLE};
use crate::fact;
use crate::record::{Finding, Verdict};

/// Lists or reports, as the command line says.
pub(crate) fn report() -> ExitCode {
    let arguments = Arguments::from_args();
    let trials = match std::env::var_os(VARIABLE).filter(|folder| !folder.is_empty()).map(PathBuf::from) {
        Some(folder) => trials(&folder),
        None => {
            let mut trials = harness::trials(None);
            trials.push(ignored(format!("facts::needs_{VARIABLE}"), "scripts/vm-test sets it"));
            trials
        }
    };
    libtest_mimic::run(&arguments, trials).exit_code()
}

fn trials(folder: &Path) -> Vec<Trial> {
    let there = "a run's folder can be read";
    let (parts, run) = (store::parts(folder).expect(there), Run::read(folder).expect(there));
    let mut trials = harness::trials(Some(&run));
    for part in &parts {
        trials.extend(part.findings.iter().map(|finding| trial(part, finding)));
    }
    trials.extend(run.missing.iter().map(|(name, reason)| ignored(format!("{name}::no_kernel"), reason)));
    trials.extend(never_tested(&parts).into_iter().map(|(fact, reasons)| {
        let text = format!("skipped on every machine of this run:\n{reasons}");
        Trial::test(format!("never_tested::{fact}"), move || Err(Failed::from(text)))
    }));
    trials
}

fn trial(part: &Part, finding: &Finding) -> Trial {
    let name = format!("{}::{}::{}", part.about.kernel, part.about.filesystem, finding.fact);
    match &finding.verdict {
        Verdict::Pass { .. } => Trial::test(name, || Ok(())),
        Verdict::Skip { reason } => ignored(name, reason),
        Verdict::Fail { .. } | Verdict::NoResult { .. } => {
            let text = failure(part, finding);
            Trial::test(name, move || Err(Failed::from(text)))
        }
    }
}

/// A test that is skipped; whoever runs ignored tests is told why.
pub(super) fn ignored(name: String, reason: &str) -> Trial {
    let reason = reason.to_owned();
    Trial::test(name, move || Err(Failed::from(reason))).with_ignored_flag(true)
}

fn failure(part: &Part, finding: &Finding) -> String {
    let about = &part.about;
    let mut lines = match &finding.verdict {
        Verdict::Fail { saw, expected } => vec![format!("saw:      {saw}"), format!("expected: {expected}")],
        Verdict::NoResult { reason } => vec![format!("no result: {reason}")],
        Verdict::Pass { .. } | Verdict::Skip { .. } => Vec::new(),
    };
    if fact::all().iter().any(|fact| fact.name() == finding.fact && fact.is_relied_on()) {
        lines.push("ovlctl relies on this.".to_owned());
    }
    if !finding.log.is_empty() {
        lines.push("the kernel wrote:".to_owned());
        lines.extend(finding.log.iter().map(|line| format!("    {line}")));
    }
    lines.push(format!("on Linux {} ({}), {}", about.kernel_version(), about.how, about.filesystem));
    lines.push(format!("all that is known: {}", part.folder.display()));
    lines.join("\n")
}

/// Facts that were skipped wherever a run looked, and why: they were never tested. With only one kernel, that is the
/// kernel's own affair.
pub(super) fn never_tested(parts: &[Part]) -> Vec<(String, String)> {
    let kernels: BTreeSet<&str> = parts.iter().map(|part| part.about.kernel.as_str()).collect();
    if kernels.len() < 2 {
        return Vec::new();
    }
    let mut reasons: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    let mut tested = BTreeSet::new();
    for part in parts {
        for finding in &part.findings {
            match &finding.verdict {
                Verdict::Skip { reason } => {
                    let line = format!("{} {}: {reason}", part.about.kernel, part.about.filesystem);
                    reasons.entry(&finding.fact).or_default().push(line);
                }
                Verdict::Pass { .. } | Verdict::Fail { .. } | Verdict::NoResult { .. } => {
                    tested.insert(finding.fact.as_str());
                }
            }
        }
    }
    reasons.retain(|fact, _| !tested.contains(fact));
    reasons.into_iter().map(|(fact, reasons)| (fact.to_owned(), reasons.join("\n"))).collect()
}
