//! `enter`: what `bisect` starts, already in namespaces of its own, to become the command that it is given.

use std::ffi::OsString;
use std::io::ErrorKind;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use clap::Args;

use super::fault::{Cause, Fault};
use crate::store;
use crate::sys::namespace;

/// What it ends with where the command could not be tried, as `docker run` does.
pub(super) const NOT_TRIED: u8 = 125;
const NOT_RUNNABLE: u8 = 126;
const NOT_FOUND: u8 = 127;

/// Becomes a command whose root is DIR.
#[derive(Debug, Args)]
pub(super) struct Enter {
    dir: PathBuf,
    /// NAME=VALUE
    #[arg(long)]
    env: Vec<String>,
    /// Lets nothing be seen of what it prints
    #[arg(long)]
    silent: bool,
    #[arg(last = true, required = true)]
    command: Vec<OsString>,
}

impl Enter {
    pub(super) fn run(&self) -> Result<(), Fault> {
        let prepared = namespace::end_with_parent()
            .and_then(|()| namespace::furnish(&self.dir))
            .and_then(|()| namespace::enter(&self.dir))
            .and_then(|()| namespace::confine());
        if let Err(failed) = prepared {
            let fault = Fault::new("try", "the command", store::Error::Call(failed));
            let _ = fault.report();
            return Err(Cause::Ended(NOT_TRIED).into());
        }
        let mut command = Command::new(&self.command[0]);
        command.args(&self.command[1..]).env_clear();
        command.envs(self.env.iter().filter_map(|variable| variable.split_once('=')));
        if self.silent {
            command.stdout(Stdio::null()).stderr(Stdio::null());
        }
        let error = command.exec();
        Err(Cause::Ended(if error.kind() == ErrorKind::NotFound { NOT_FOUND } else { NOT_RUNNABLE }).into())
    }
}
