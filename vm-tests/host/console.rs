//! What `lab boot` says to the one who waits: failures as they come, and a line a machine.

use std::io::{self, Write};

use super::machine::Machine;
use super::store::About;
use crate::record::{Finding, Verdict};

/// Says one line. Who closed the pipe does not want to know.
pub(super) fn say(line: &str) {
    let _ = writeln!(io::stderr(), "{line}");
}

/// Tells of a fact that failed, or of every one.
pub(super) fn finding(machine: &Machine, finding: &Finding, all: bool) {
    let name = format!("{}::{}", machine.name(), finding.fact);
    let line =
        |what: &str, text: &str| format!("{what:>9}  {name}: {}", text.lines().next().unwrap_or_default());
    match &finding.verdict {
        Verdict::Fail { saw, .. } => say(&line("FAIL", saw)),
        Verdict::NoResult { reason } if all => say(&line("NO RESULT", reason)),
        Verdict::Pass { saw } if all => say(&line("pass", saw)),
        Verdict::Skip { reason } if all => say(&line("skip", reason)),
        Verdict::NoResult { .. } | Verdict::Pass { .. } | Verdict::Skip { .. } => {}
    }
}

/// Sums up a machine.
pub(super) fn machine(about: &About, findings: &[Finding]) {
    let count = |is: fn(&Verdict) -> bool| findings.iter().filter(|finding| is(&finding.verdict)).count();
    let counts = [
        (count(|verdict| matches!(verdict, Verdict::Pass { .. })), "passed"),
        (count(|verdict| matches!(verdict, Verdict::Fail { .. })), "FAILED"),
        (count(|verdict| matches!(verdict, Verdict::NoResult { .. })), "WITHOUT RESULT"),
        (count(|verdict| matches!(verdict, Verdict::Skip { .. })), "skipped"),
    ];
    let counts: Vec<String> = counts
        .iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, what)| format!("{count} {what}"))
        .collect();
    say(&format!(
        "{} {}: {} in {:.1} s (up after {:.1} s; Linux {}; {})",
        about.kernel,
        about.filesystem,
        counts.join(", "),
        seconds(about.milliseconds),
        seconds(about.boot_milliseconds),
        about.kernel_version(),
        about.how,
    ));
}

fn seconds(milliseconds: u64) -> f64 {
    std::time::Duration::from_millis(milliseconds).as_secs_f64()
}
