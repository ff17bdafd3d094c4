//! What was loaded comes to the disk, by this command or one in the background; and after a power cut, what did not is named.

use std::ffi::OsStr;

use clap::Args;
use clap::builder::FalseyValueParser;

use super::act::{Act, Around};
use super::fault::{self, Fault};
use super::{Context, waiting};
use crate::digest::Digest;
use crate::mount;
use crate::store;
use crate::sys::background;
use crate::sys::caps::{self, TO_EXTRACT};
use crate::sys::counted;

/// Sync the store, and mark what is on the disk: `mount` starts this, in the background
#[derive(Debug, Args)]
pub(super) struct Sync {}

impl Act for Sync {
    fn around(&self) -> Around {
        Around::NOTHING
    }

    fn run(&self, context: &Context) -> Result<(), Fault> {
        background::stand_back();
        caps::drop_all_but(TO_EXTRACT);
        let store = context.store()?;
        if store.is_all_synced().map_err(|e| failed(context, e))? { Ok(()) } else { now(context) }
    }
}

/// Whether a command that writes to the store brings that to the disk.
#[derive(Debug, Clone, Copy, Args)]
pub(super) struct Syncing {
    /// Leave it to the kernel when this comes to the disk: until then a power cut undoes it
    #[arg(long, env = "OVLCTL_NO_SYNC", value_parser = FalseyValueParser::new())]
    no_sync: bool,
}

impl Syncing {
    /// Whether it does.
    pub(super) fn is_wanted(self) -> bool {
        !self.no_sync
    }

    /// Waits until the disk has all that is in the store.
    pub(super) fn run(self, context: &Context) -> Result<(), Fault> {
        if self.no_sync { Ok(()) } else { now(context) }
    }

    /// Starts a process that does so, unless the disk has `image` already. Where that cannot be, the next load or mount does
    /// it. To be called last.
    pub(super) fn start(self, context: &Context, image: &Digest) {
        if self.no_sync {
            return;
        }
        let Ok(store) = context.open_store() else { return };
        let sync = ["--root".as_ref(), store.layout().root().as_os_str(), OsStr::new("sync")];
        if !store.is_synced(image).unwrap_or(false) {
            let _ = background::start_last(&sync);
        }
    }
}

fn now(context: &Context) -> Result<(), Fault> {
    context.store()?.sync(&mut waiting()).map_err(|e| failed(context, e))
}

/// What is done before a verb where the machine was started anew since the store was changed last.
#[derive(Debug, Clone, Copy)]
pub(super) enum Before {
    /// The store is put right.
    Recover,
    /// So it is where that can be, as it cannot on a read-only filesystem.
    RecoverIfPossible,
    /// What may have been lost is left out, and that is said.
    LeaveOut,
    /// Nothing: it does without the store, or whoever started it has seen to it.
    Nothing,
}

impl Before {
    pub(super) fn run(self, context: &Context) -> Result<(), Fault> {
        match self {
            Self::Recover => recover(context),
            Self::RecoverIfPossible => recover(context).or(Ok(())),
            Self::LeaveOut => {
                left_out(context);
                Ok(())
            }
            Self::Nothing => Ok(()),
        }
    }
}

/// Puts right what a power cut left, and says what it took.
fn recover(context: &Context) -> Result<(), Fault> {
    // What cannot be opened, or by this user, the verb tells of.
    let Ok(store) = context.open_store() else { return Ok(()) };
    if !store.needs_recovery() || !caps::missing(TO_EXTRACT).is_empty() {
        return Ok(());
    }
    let root = store.layout().root().display();
    let mounted = mount::container::mounted_ids(&store).map_err(|e| Fault::new("recover", &root, e))?;
    let recovered = store.recover(&mounted, &mut waiting(), &mut |loss| fault::say(&loss.to_string()));
    recovered.map_err(|e| Fault::new("recover", &root, e))
}

/// Tells those who only read that not all is shown: what may have been lost is not believed, and not removed yet.
fn left_out(context: &Context) {
    // What cannot be read the verb tells of.
    let left_out = context.open_store().and_then(|store| store.left_out()).unwrap_or_default();
    if left_out > 0 {
        let (images, are) = (counted(left_out, "image"), if left_out == 1 { "is" } else { "are" });
        fault::say(&format!("{images} {are} left out: not yet on the disk when the machine went down"));
    }
}

fn failed(context: &Context, error: store::Error) -> Fault {
    Fault::new("sync", context.root.display(), error)
}
