//! `tag`, `rm`, `prune`: names, and giving space back.

use clap::Args;

use super::fault::{self, Cause, Fault};
use super::sync::Syncing;
use super::{Context, permit, print, waiting};
use crate::archive::name;
use crate::mount;
use crate::store::prune::Removed;
use crate::store::record::{self, LayerRecord};
use crate::sys::caps::TO_REMOVE;
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

impl Tag {
    pub(super) fn run(&self, context: &Context) -> Result<(), Fault> {
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

/// Remove images or containers
///
/// An image that has several names loses the one that is given; with its last name it goes, and with it the layers
/// that no other image has. What is mounted, or what a container stands on, stays. What is removed is gone at once; large
/// trees are then deleted in the background.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  ovlctl rm web-1.4                  # a container and its changes
  ovlctl rm --wait web:1.4 db:1      # images, and return when the space is free")]
pub(super) struct Rm {
    /// Return only when the space is free again
    #[arg(long)]
    pub(super) wait: bool,
    /// Names or ids
    #[arg(required = true, value_name = "IMAGE|CONTAINER")]
    names: Vec<String>,
}

impl Rm {
    pub(super) fn run(&self, context: &Context) -> Result<(), Fault> {
        permit("remove", TO_REMOVE)?;
        Fault::each(&self.names, |name| remove(context, name))
    }
}

fn remove(context: &Context, name: &str) -> Result<(), Fault> {
    let store = context.store()?;
    let object = || format!("'{name}'");
    let failed = |e| Fault::new("remove", object(), e);
    if let Some(container) = store.container(name).map_err(failed)? {
        if container.name == name && store.image(name).is_ok() {
            let reason =
                format!("it is a container and an image: say {} or {name}:latest", &container.id[..12]);
            return Err(Fault::new("remove", object(), Cause::Unclear(reason)));
        }
        let change = store.change_that_frees(Share::Shared, &mut waiting()).map_err(failed)?;
        mount::container::remove(&change, &container.name, &mut waiting())
            .map_err(|e| Fault::new("remove", object(), e))?;
        return print::line(&format!("removed container {}", container.name));
    }
    let image = store.image(name).map_err(failed)?;
    if image.names.len() < 2 {
        mount::container::refuse_image_in_use(&store, &image.record.id)
            .map_err(|e| Fault::new("remove", object(), e))?;
    }
    let change = store.change_that_frees(Share::Exclusive, &mut waiting()).map_err(failed)?;
    // One that a killed command left is no reason to keep the image.
    mount::container::forget_ephemeral(&change).map_err(|e| Fault::new("remove", object(), e))?;
    let mounted = mount::container::mounted_ids(&store).map_err(|e| Fault::new("remove", object(), e))?;
    match change.remove_image(name, &mounted).map_err(failed)? {
        Removed::Untagged(name) => print::line(&format!("untagged {name}")),
        Removed::Deleted { names, id, layers } => {
            names.iter().try_for_each(|name| print::line(&format!("untagged {name}")))?;
            print::line(&format!("removed image {id}"))?;
            fault::say(&freed(&layers));
            Ok(())
        }
    }
}

/// Remove images without a name that nothing uses, and layers of no image
///
/// What is removed is gone at once; large trees are then deleted in the background.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  ovlctl prune -n                    # what would be removed
  ovlctl prune")]
pub(super) struct Prune {
    /// Only say what would be removed
    #[arg(short = 'n', long)]
    pub(super) dry_run: bool,
    /// Return only when the space is free again, also that of earlier removals
    #[arg(long, conflicts_with = "dry_run")]
    pub(super) wait: bool,
}

impl Prune {
    pub(super) fn run(&self, context: &Context) -> Result<(), Fault> {
        if !self.dry_run {
            permit("prune", TO_REMOVE)?;
        }
        let store = context.store()?;
        let failed = |e| Fault::new("prune", store.layout().root().display(), e);
        let change = if self.dry_run {
            None
        } else {
            Some(store.change_that_frees(Share::Exclusive, &mut waiting()).map_err(failed)?)
        };
        let not_mounted = |e| Fault::new("prune", store.layout().root().display(), e);
        if let Some(change) = &change {
            mount::container::forget_ephemeral(change).map_err(not_mounted)?;
        }
        let mounted = mount::container::mounted_ids(&store).map_err(not_mounted)?;
        let garbage = store.garbage(&mounted).map_err(failed)?;
        for image in &garbage.images {
            print::line(&format!("image {}", image.id))?;
        }
        for layer in &garbage.layers {
            print::line(&format!("layer {}  {}", layer.chain_id, print::size(layer.size)))?;
        }
        if let Some(change) = &change {
            change.remove_garbage(&garbage).map_err(failed)?;
        }
        fault::say(&freed(&garbage.layers));
        Ok(())
    }
}

fn freed(layers: &[LayerRecord]) -> String {
    let size = record::total(layers.iter().map(|layer| layer.size));
    let s = if layers.len() == 1 { "" } else { "s" };
    format!("{} layer{s}, {}", layers.len(), print::size(size))
}
