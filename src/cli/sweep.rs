//! What removed layers and containers leave is deleted after the command: by another process, or by this one.

use std::ffi::OsStr;
use std::io;

use clap::Args;

use super::act::{Act, Around};
use super::fault::watch::Talk;
use super::fault::{Cause, Fault};
use super::{Context, waiting};
use crate::mount::container;
use crate::progress::What;
use crate::store::{Store, stage};
use crate::sys::background;
use crate::sys::caps::{self, TO_EXTRACT};

/// Delete what was removed: other commands start this, in the background
#[derive(Debug, Args)]
pub(super) struct Sweep {}

impl Act for Sweep {
    fn around(&self) -> Around {
        Around::NOTHING
    }

    fn run(&self, context: &Context) -> Result<(), Fault> {
        background::stand_back();
        caps::drop_all_but(TO_EXTRACT);
        let store = context.store()?;
        stage::sweep(store.layout(), Some(&|id| thaw(&store, id))).map_err(|e| failed(context, e))
    }
}

/// How a command deletes what it left, and what killed ones did.
#[derive(Debug, Clone, Copy)]
pub(super) enum Sweeping {
    /// In the background.
    Silently,
    /// In the background, and the user is told: that is what the command was for.
    Told(Talk),
    /// Before the command ends.
    Waited(Talk),
    /// Before it ends, since it can start nothing any more; what others left before it began, in the background.
    Confined,
}

impl Sweeping {
    /// What `--wait` means.
    pub(super) fn asked(wait: bool, talk: Talk) -> Self {
        if wait { Self::Waited(talk) } else { Self::Told(talk) }
    }

    /// Does what can be done only before the command.
    pub(super) fn prepare(self, context: &Context) {
        match self {
            Self::Confined => {
                let _ = start(context, background::start);
            }
            Self::Silently | Self::Told(_) | Self::Waited(_) => {}
        }
    }

    /// The same for a command that failed: that is what the user is to be told.
    pub(super) fn unsaid(self) -> Self {
        match self {
            Self::Silently | Self::Told(_) => Self::Silently,
            Self::Waited(talk) => Self::Waited(talk),
            Self::Confined => Self::Confined,
        }
    }

    pub(super) fn run(self, context: &Context) -> Result<(), Fault> {
        match self {
            Self::Confined => {
                // Where it cannot be, the next command tries again.
                let _ = context.open_store().and_then(|store| stage::sweep(store.layout(), None));
                Ok(())
            }
            Self::Waited(talk) => now(context, talk),
            Self::Silently => {
                start(context, background::start_last);
                Ok(())
            }
            Self::Told(talk) => {
                if start(context, background::start_last) {
                    talk.say("its files are deleted in the background; --wait waits for it");
                }
                Ok(())
            }
        }
    }
}

/// Starts a process that deletes what there is to delete. Where that cannot be, the next command tries again.
fn start(context: &Context, start: fn(&[&OsStr]) -> io::Result<()>) -> bool {
    let Ok(store) = context.open_store() else { return false };
    let sweep = ["--root".as_ref(), store.layout().root().as_os_str(), OsStr::new("sweep")];
    stage::needs_sweep(store.layout()).unwrap_or(false) && start(&sweep).is_ok()
}

fn now(context: &Context, talk: Talk) -> Result<(), Fault> {
    let store = context.store()?;
    if matches!(store.layout().staging().try_exists(), Ok(false)) {
        return Ok(());
    }
    let swept = talk.during(|progress| {
        let counter = progress.begin(What::Names, None);
        stage::sweep_now(store.layout(), Some(&|id| thaw(&store, id)), &mut waiting(), &counter)?;
        counter.end();
        Ok(())
    });
    swept.map_err(|cause| failed(context, cause))
}

/// Makes a container writable again that a killed commit had frozen; `false` where that is to be tried again. Where it fails, the
/// container is not mounted any more, or can be mounted anew.
fn thaw(store: &Store, container: &str) -> bool {
    container::thaw_abandoned(store, container).unwrap_or(true)
}

fn failed(context: &Context, error: impl Into<Cause>) -> Fault {
    Fault::new("delete", format!("what was removed from {}", context.root.display()), error)
}
