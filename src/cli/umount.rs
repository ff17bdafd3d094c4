//! `umount`: a mount ends, its changes stay.

use std::ffi::OsString;
use std::path::Path;

use clap::Args;

use super::act::{Act, Around, Before};
use super::fault::{self, Cause, Fault};
use super::{Context, permit, print, waiting};
use crate::mount::OverlayMount;
use crate::mount::container;
use crate::store::Store;
use crate::sys::caps::TO_REMOVE;

/// Unmount; the changes stay in the container
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  ovlctl umount /mnt/root            # the changes stay
  ovlctl umount --rm web-1.4         # by the container's name, and its changes go
  ovlctl umount --all")]
pub(super) struct Umount {
    /// Remove the container too, and its changes with it
    #[arg(long)]
    rm: bool,
    /// Detach now, and end when the last user is gone
    ///
    /// Who still uses a container keeps it from being removed. Of a mount that is read-only the kernel tells nobody who
    /// does: rm and prune then take its layers away, and all that is not open already is gone for them.
    #[arg(long)]
    lazy: bool,
    /// Unmount all that this store has mounted
    #[arg(long, conflicts_with = "mounts")]
    all: bool,
    /// Mount points, or names of containers
    #[arg(required_unless_present = "all", value_name = "TARGET|NAME")]
    mounts: Vec<OsString>,
}

impl Act for Umount {
    fn around(&self) -> Around {
        Around { before: Before::LeaveOut, ..Around::CHANGING }
    }

    fn run(&self, context: &Context) -> Result<(), Fault> {
        permit("unmount", TO_REMOVE)?;
        let store = context.store()?;
        if self.all {
            let mounts = container::all_mounts(&store).map_err(|e| Fault::new("unmount", "all", e))?;
            return self.end_each(&store, &mounts);
        }
        Fault::each(&self.mounts, |text| {
            let object = || fault::named(Path::new(text));
            let mounts =
                container::find_mounts(&store, text).map_err(|e| Fault::new("unmount", object(), e))?;
            if mounts.is_empty() {
                return Err(Fault::new("unmount", object(), not_mounted(&store, text)));
            }
            self.end_each(&store, &mounts)
        })
    }
}

impl Umount {
    fn end_each(&self, store: &Store, mounts: &[OverlayMount]) -> Result<(), Fault> {
        Fault::each(mounts, |mount| self.end(store, mount))
    }

    fn end(&self, store: &Store, mount: &OverlayMount) -> Result<(), Fault> {
        let failed = |e: container::Error| Fault::new("unmount", mount.target.display(), e);
        let ended = container::unmount(store, mount, self.lazy, self.rm, &mut waiting()).map_err(failed)?;
        print::path(&ended.target)?;
        match ended.container {
            Some((name, true)) => {
                fault::say(&format!(
                    "changes kept in '{name}': `ovlctl mount {name} TARGET` brings them back"
                ));
            }
            Some((name, false)) => fault::say(&format!("removed '{name}' and its changes")),
            None => {}
        }
        Ok(())
    }
}

/// Says why nothing is unmounted by what was typed: a slip in a container's name, or a place that shows none.
fn not_mounted(store: &Store, text: &OsString) -> Cause {
    let slip = text.to_str().filter(|name| fault::is_name(Path::new(name)));
    match slip.map(|name| (name, store.container(name))) {
        Some((name, Ok(None))) => store.no_container(name).into(),
        Some((_, Ok(Some(_)) | Err(_))) | None => Cause::NotMounted,
    }
}
