//! `prune`: what nothing needs goes.

use clap::Args;
use jiff::Timestamp;

use super::act::{Act, Around};
use super::fault::watch::Talk;
use super::fault::{self, Fault};
use super::remove::freed;
use super::sweep::Sweeping;
use super::{Context, permit, print, waiting};
use crate::mount::container;
use crate::store::Change;
use crate::store::filter::Filters;
use crate::store::prune::Wanted;
use crate::store::record::ContainerRecord;
use crate::sys::caps::TO_REMOVE;
use crate::sys::lock::Share;

/// Remove images without a name that nothing uses, and layers of no image
///
/// What is mounted stays, wherever that is, and so does what a container stands on. What is removed is gone at once; large
/// trees are then deleted in the background.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  ovlctl prune -n                    # what would be removed
  ovlctl prune
  ovlctl prune --all --containers    # all that is not mounted
  ovlctl prune --all --filter until=240h --filter label!=keep")]
pub(super) struct Prune {
    /// Images with names, too
    #[arg(short, long)]
    all: bool,
    /// Containers that are not mounted first, with their changes
    #[arg(long)]
    containers: bool,
    /// Only what was made before: until=24h, until=2026-01-31T12:00:00Z; only what has a label, or has not: label=KEY[=VALUE],
    /// label!=KEY[=VALUE]
    #[arg(long, value_name = "FILTER")]
    filter: Vec<String>,
    /// Only say what would be removed
    #[arg(short = 'n', long)]
    pub(super) dry_run: bool,
    /// Return only when the space is free again, also that of earlier removals
    #[arg(long, conflicts_with = "dry_run")]
    pub(super) wait: bool,
    #[command(flatten)]
    talk: Talk,
}

impl Act for Prune {
    fn around(&self) -> Around {
        if self.dry_run {
            Around::READING
        } else {
            Around { after: Some(Sweeping::asked(self.wait, self.talk)), ..Around::CHANGING }
        }
    }

    fn run(&self, context: &Context) -> Result<(), Fault> {
        let filters =
            Filters::read(&self.filter, Timestamp::now()).map_err(|e| Fault::usage(e.to_string()))?;
        if !self.dry_run {
            permit("prune", TO_REMOVE)?;
        }
        let store = context.store()?;
        let failed = |e| Fault::new("prune", store.layout().root().display(), e);
        let not_mounted = |e| Fault::new("prune", store.layout().root().display(), e);
        let change = if self.dry_run {
            None
        } else {
            Some(store.change_that_frees(Share::Exclusive, &mut waiting()).map_err(failed)?)
        };
        if let Some(change) = &change {
            container::forget_ephemeral(change).map_err(not_mounted)?;
        }
        let mounted = container::mounted_ids(&store).map_err(not_mounted)?;
        let mut wanted = Wanted { all: self.all, filters, ..Wanted::default() };
        if self.containers {
            let idle = store.idle_containers(&mounted, &wanted.filters).map_err(failed)?;
            for container in idle.iter().filter(|container| goes(change.as_ref(), container)) {
                print::line(&format!("container {}", container.name))?;
                wanted.without.insert(container.id.clone());
            }
        }
        let garbage = store.garbage(&mounted, &wanted).map_err(failed)?;
        for snapshot in &garbage.snapshots {
            print::line(&format!("snapshot {}", snapshot.id))?;
        }
        for image in &garbage.images {
            let names = image.names.iter().map(|name| format!("  {name}"));
            print::line(&format!("image {}{}", image.record.id, names.collect::<String>()))?;
        }
        for layer in &garbage.layers {
            print::line(&format!("layer {}  {}", layer.chain_id, print::size(layer.size)))?;
        }
        if let Some(change) = &change {
            change.remove_garbage(&garbage).map_err(failed)?;
        }
        self.talk.say(&freed(&garbage.layers));
        Ok(())
    }
}

/// Whether a container goes: it is removed, unless this only says so. One that somebody still uses, or has just mounted, stays.
fn goes(change: Option<&Change<'_>>, idle: &ContainerRecord) -> bool {
    let Some(change) = change else { return true };
    let removed = container::remove(change, &idle.name, &mut waiting());
    removed.map_err(|e| fault::warn(&format!("container '{}' stays: {e}", idle.name))).is_ok()
}
