//! `tag`, `rm`: names, and giving space back.

use std::ffi::OsStr;

use clap::Args;

use super::act::{Act, Around};
use super::fault::watch::Talk;
use super::fault::{self, Cause, Fault};
use super::sweep::Sweeping;
use super::sync::Syncing;
use super::{Context, permit, print, waiting};
use crate::archive::name;
use crate::mount::container;
use crate::store::images::Image;
use crate::store::prune::Removed;
use crate::store::record::{self, ContainerRecord, LayerRecord, SnapshotRecord};
use crate::store::{Error, Store};
use crate::sys::caps::TO_REMOVE;
use crate::sys::counted;
use crate::sys::lock::Share;

/// Give an image another name
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  ovlctl tag web:1.4 web:stable
  ovlctl tag 5f3b1ac0e0a4 web")]
pub(super) struct Tag {
    /// A name or id of the image
    image: String,
    /// The name it gets; NAME alone means NAME:latest
    name: String,
    #[command(flatten)]
    sync: Syncing,
}

impl Act for Tag {
    fn around(&self) -> Around {
        Around::CHANGING
    }

    fn run(&self, context: &Context) -> Result<(), Fault> {
        let name = name::normal(&self.name).map_err(|e| Fault::usage(e.to_string()))?;
        let store = context.store()?;
        let failed = |e| Fault::new("tag", format!("'{}'", self.image), e);
        store.image(&self.image).map_err(failed)?;
        let change = store.change(Share::Shared, &mut waiting()).map_err(failed)?;
        // Again: it may have been removed while this command waited.
        let image = store.image(&self.image).map_err(failed)?;
        change.name_image(&image.record.id, &[name]).map_err(failed)?;
        drop(change);
        self.sync.run(context)
    }
}

/// Remove images, containers or snapshots
///
/// An image that has several names loses the one that is given; with its last name it goes, and with it the layers
/// that no other image has. With a container go its snapshots; of those that others stand on only the name. What is mounted, or
/// what a container stands on, stays, and who needs it is named. What is removed is gone at once; large trees are then deleted
/// in the background.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  ovlctl rm web-1.4                  # a container and its changes
  ovlctl rm --wait web:1.4 db:1      # images, and return when the space is free
  ovlctl rm -f web-1.4 web:1.4       # mounted or not, and whether they are there or not")]
pub(super) struct Rm {
    /// Unmount containers first; take the names of images that are in use; all names of one that is meant by its id; what is
    /// not there is no error
    #[arg(short, long)]
    force: bool,
    /// Return only when the space is free again
    #[arg(long)]
    pub(super) wait: bool,
    #[command(flatten)]
    sync: Syncing,
    #[command(flatten)]
    talk: Talk,
    /// Names or ids
    #[arg(required = true, value_name = "IMAGE|CONTAINER[@SNAPSHOT]")]
    names: Vec<String>,
}

impl Act for Rm {
    fn names(&mut self) -> Vec<&mut String> {
        self.names.iter_mut().collect()
    }

    fn around(&self) -> Around {
        Around { after: Some(Sweeping::asked(self.wait, self.talk)), ..Around::CHANGING }
    }

    fn run(&self, context: &Context) -> Result<(), Fault> {
        permit("remove", TO_REMOVE)?;
        Fault::each(&self.names, |name| self.remove(context, name))
    }
}

impl Rm {
    fn remove(&self, context: &Context, name: &str) -> Result<(), Fault> {
        let store = context.store()?;
        let failed = |e| Fault::new("remove", format!("'{name}'"), e);
        if let Some((container, snapshot)) = store.snapshot(name).map_err(failed)? {
            remove_snapshot(&store, &container, &snapshot)?;
            return self.sync.run(context);
        }
        if let Some(container) = store.container(name).map_err(failed)? {
            if container.name == name && store.image(name).is_ok() {
                let reason =
                    format!("it is a container and an image: say {} or {name}:latest", &container.id[..12]);
                return Err(Fault::new("remove", format!("'{name}'"), Cause::Unclear(reason)));
            }
            self.remove_container(&store, &container)
                .map_err(|e| Fault::new("remove", format!("'{name}'"), e))?;
            return print::line(&format!("removed container {}", container.name));
        }
        match store.image_else(name) {
            Err(Error::NoSubject { .. }) if self.force => {
                fault::say(&format!("there is no '{name}'"));
                Ok(())
            }
            image => self.remove_image(&store, name, &image.map_err(failed)?),
        }
    }

    fn remove_container(&self, store: &Store, container: &ContainerRecord) -> Result<(), container::Error> {
        if self.force {
            for mount in container::find_mounts(store, OsStr::new(&container.id))? {
                container::unmount(store, &mount, false, false, &mut waiting())?;
            }
            // One that was to go with its mount has gone.
            if store.container(&container.id)?.is_none() {
                return Ok(());
            }
        }
        let change = store.change_that_frees(Share::Shared, &mut waiting())?;
        container::remove(&change, &container.name, &mut waiting())
    }

    fn remove_image(&self, store: &Store, name: &str, image: &Image) -> Result<(), Fault> {
        let failed = |e| Fault::new("remove", format!("'{name}'"), e);
        let in_use = |e| Fault::new("remove", format!("'{name}'"), e);
        if image.names.len() < 2 && !self.force {
            container::refuse_image_in_use(store, &image.record.id).map_err(in_use)?;
        }
        let change = store.change_that_frees(Share::Exclusive, &mut waiting()).map_err(failed)?;
        // One that a killed command left is no reason to keep the image.
        container::forget_ephemeral(&change).map_err(in_use)?;
        let mounted = container::mounted_ids(store).map_err(in_use)?;
        let untagged =
            |names: &[String]| names.iter().try_for_each(|name| print::line(&format!("untagged {name}")));
        match change.remove_image(name, &mounted, self.force).map_err(failed)? {
            Removed::Untagged(name) => untagged(&[name]),
            Removed::Nameless { names, by } => {
                untagged(&names)?;
                fault::say(&format!(
                    "kept without a name, in use by {}: `ovlctl prune` takes it then",
                    by.join(", ")
                ));
                Ok(())
            }
            Removed::Deleted { names, id, layers } => {
                untagged(&names)?;
                print::line(&format!("removed image {id}"))?;
                fault::say(&freed(&layers));
                Ok(())
            }
        }
    }
}

/// Says how much goes with these layers.
pub(super) fn freed(layers: &[LayerRecord]) -> String {
    let size = record::total(layers.iter().map(|layer| layer.size));
    format!("{}, {}", counted(layers.len(), "layer"), print::size(size))
}

/// Removes a snapshot, as far as nothing stands on it.
fn remove_snapshot(
    store: &Store,
    container: &ContainerRecord,
    snapshot: &SnapshotRecord,
) -> Result<(), Fault> {
    let name = snapshot.name.clone().unwrap_or_default();
    let full = format!("{}@{name}", container.name);
    let change = store.change_that_frees(Share::Shared, &mut waiting()).map_err(container::Error::from);
    let removed =
        change.and_then(|change| container::remove_snapshot(&change, &container.name, &name, &mut waiting()));
    let gone = removed.map_err(|e| Fault::new("remove", format!("'{full}'"), e))?;
    print::line(&format!("removed snapshot {full}"))?;
    if !gone {
        fault::say("what was changed until then is kept: others stand on it");
    }
    Ok(())
}
