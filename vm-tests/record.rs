//! What a machine says while it runs facts, one JSON line each, and what is kept of it.

use serde::{Deserialize, Serialize};

use crate::fact::Outcome;

/// What a machine is told to do: the file `/orders` of a guest, the arguments' meaning of a container.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Orders {
    /// The facts, by name, in their order.
    pub(crate) facts: Vec<String>,
    /// The filesystem under test.
    pub(crate) filesystem: String,
    /// Seconds after which a fact has hung.
    pub(crate) limit: u64,
}

/// What a machine says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "lowercase")]
pub(crate) enum Event {
    /// It is up; its kernel calls itself so (uname's release and version).
    Hello { release: String, version: String },
    /// Nothing can be run here.
    Unfit { reason: String },
    /// A fact begins.
    Start { fact: String },
    /// A fact has ended.
    Done(Finding),
    /// All facts have been run.
    End,
}

/// What came of one fact.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Finding {
    pub(crate) fact: String,
    /// How long it took.
    pub(crate) milliseconds: u64,
    #[serde(flatten)]
    pub(crate) verdict: Verdict,
    /// What the kernel wrote meanwhile; kept where the fact failed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) log: Vec<String>,
}

/// The four things that can come of a fact.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "kebab-case")]
pub(crate) enum Verdict {
    /// The kernel did what was expected.
    Pass { saw: String },
    /// It did something else, hung or died of it.
    Fail { saw: String, expected: String },
    /// There is nothing to look at on this kernel or filesystem.
    Skip { reason: String },
    /// The machine ended before the fact was run, so nothing is known; that is a failure.
    NoResult { reason: String },
}

impl Verdict {
    /// A failure in which the kernel or the fact gave no answer at all.
    pub(crate) fn no_answer(saw: impl Into<String>) -> Self {
        Self::Fail { saw: saw.into(), expected: "an answer".to_owned() }
    }

    /// Whether it fails a run.
    pub(crate) fn is_failure(&self) -> bool {
        match self {
            Self::Fail { .. } | Self::NoResult { .. } => true,
            Self::Pass { .. } | Self::Skip { .. } => false,
        }
    }
}

impl From<Outcome> for Verdict {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Pass { saw } => Self::Pass { saw },
            Outcome::Fail { saw, expected } => Self::Fail { saw, expected },
            Outcome::Skip { reason } => Self::Skip { reason },
        }
    }
}

/// Finds the line with which a kernel's log tells of trouble that no test can be passed with.
pub(crate) fn trouble(log: &[String]) -> Option<&str> {
    const SIGNS: [&str; 10] = [
        "Kernel panic - not syncing",
        "Out of memory: Killed process",
        "BUG: ",
        "Oops: ",
        "general protection fault",
        "WARNING: ", // WARN_ON, and lockdep's, KCSAN's and so on
        "UBSAN: ",
        "INFO: task ", // … blocked for more than 120 seconds
        "INFO: rcu",
        "refcount_t: ",
    ];
    let is_sign = |line: &&String| SIGNS.iter().any(|sign| line.contains(sign));
    // A panic is what it came to: the line that says what it was all about.
    let panic = log.iter().find(|line| line.contains(SIGNS[0]));
    panic.or_else(|| log.iter().find(is_sign)).map(String::as_str)
}
