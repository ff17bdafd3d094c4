//! Who keeps a mount busy.

use std::fmt;
use std::path::{Path, PathBuf};

use super::error::Shown;

/// One reason why a mount cannot go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Holder {
    /// A process.
    Process {
        /// Its number.
        pid: u32,
        /// Its name.
        command: String,
        /// What it does there.
        what: What,
    },
    /// Another mount that is mounted in it.
    Mount(PathBuf),
}

/// What a process does in a mount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// It works there.
    WorkingDirectory,
    /// It is chrooted there.
    Root,
    /// It was started from there.
    Program,
    /// It has this file open.
    File(PathBuf),
    /// It has this file mapped.
    Mapped(PathBuf),
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Process { pid, command, what } => write!(f, "pid {pid} ({command}, {what})"),
            Self::Mount(target) => write!(f, "the mount on {}", Shown(target)),
        }
    }
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::WorkingDirectory => f.write_str("its working directory"),
            Self::Root => f.write_str("its root directory"),
            Self::Program => f.write_str("its program"),
            Self::File(path) => write!(f, "open file {}", Shown(path)),
            Self::Mapped(path) => write!(f, "mapped file {}", Shown(path)),
        }
    }
}

#[expect(dead_code, reason = "being written")]
fn later(_: &Path) {}
