//! `--limit`: how much is taken of what an archive holds.

use std::ffi::OsString;

use clap::Args;

use super::config::Config;
use crate::limits::{Limit, Limits, Moved};

/// Limits that the user moved.
#[derive(Debug, Clone, Args)]
pub(super) struct Moves {
    /// Move a limit that no usual image meets; --help lists them
    #[arg(long = "limit", value_name = "NAME=AMOUNT", long_help = help())]
    moved: Vec<Moved>,
    /// What is configured, which comes below
    #[arg(skip)]
    configured: Vec<Moved>,
}

impl Moves {
    /// The same as arguments of another process.
    pub(super) fn arguments(&self) -> impl Iterator<Item = OsString> + '_ {
        self.all().map(|Moved(limit, most)| format!("--limit={}={most}", limit.name()).into())
    }

    /// Returns all limits, moved or not.
    pub(super) fn limits(&self) -> Limits {
        let moved = |limits: Limits, &Moved(limit, most): &Moved| limits.with(limit, most);
        self.all().fold(Limits::DEFAULT, moved)
    }

    /// Takes over what is configured.
    pub(super) fn configure(&mut self, config: &Config) {
        self.configured = config.moved().collect();
    }

    fn all(&self) -> impl Iterator<Item = &Moved> {
        self.configured.iter().chain(&self.moved)
    }
}

/// Names each limit, with its default and what it bounds.
fn help() -> String {
    let line = |limit: Limit| {
        let usual = limit.shown(limit.default());
        format!("\n- {}={usual}: {}", limit.name(), limit.meaning())
    };
    let lines = Limit::ALL.map(line).concat();
    format!(
        "Move a limit that no usual image meets, to an amount (K, M, G, T) or to none. They are:\n{lines}"
    )
}
