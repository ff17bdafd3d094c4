//! `commit`: what a container has changed becomes a layer, and with it an image.

use std::time::{Duration, Instant};

use clap::Args;

use super::act::{Act, Around};
use super::diff::{container_views, snapshot_views};
use super::fault::watch::Talk;
use super::fault::{Cause, Fault};
use super::sync::Syncing;
use super::{Context, load, permit, place, print, waiting};
use crate::archive::name;
use crate::layer::changes::to_layer;
use crate::layer::pack::LeftOut;
use crate::layer::view::{Pool, View};
use crate::mount::container::{self, Frozen};
use crate::progress::Progress;
use crate::store::commit::{Source, created};
use crate::store::config::{Entry, Instruction};
use crate::store::record::{ContainerRecord, ImageRecord, SnapshotRecord};
use crate::store::{self, Change, Own};
use crate::sys::background;
use crate::sys::caps::TO_EXTRACT;
use crate::sys::lock::Share;

/// Make an image of a container
///
/// It has the layers that the container stands on, and one more of what `ovlctl diff` tells. On xfs and btrfs the contents of
/// files are shared with the container, not copied. A container that has changed nothing gives an image with no layer
/// more. A mounted container is read-only meanwhile, so that the image is of one moment. Of CONTAINER@SNAPSHOT the image is what
/// the container was then, mounted or not.
///
/// The same changes make the same layer: files keep their times, or get SOURCE_DATE_EPOCH where theirs is later, and then
/// the image is the same, too.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  ovlctl commit node-20-slim node:mine -m 'with curl'
  ovlctl commit node-20-slim@before node:before
  ovlctl commit web web:2 --change 'CMD [\"serve\"]' --change 'ENV PATH=/opt/bin:$PATH'")]
pub(super) struct Commit {
    /// Its name or id, or CONTAINER@SNAPSHOT
    #[arg(value_name = "CONTAINER")]
    container: String,
    /// The image's name; it has none where nothing is said
    #[arg(value_name = "NAME")]
    name: Option<String>,
    /// What changed, for the image's history
    #[arg(short, long, value_name = "TEXT")]
    message: Option<String>,
    /// Who made it
    #[arg(short, long, value_name = "NAME")]
    author: Option<String>,
    /// An instruction of a Dockerfile for the image's config: CMD, ENTRYPOINT, ENV, EXPOSE, LABEL, STOPSIGNAL, USER, VOLUME, WORKDIR
    #[arg(short, long, value_name = "INSTRUCTION")]
    change: Vec<Instruction>,
    /// Commit what is there at each moment, while others write to it
    #[arg(long)]
    live: bool,
    #[command(flatten)]
    pub(super) date: Date,
    #[command(flatten)]
    sync: Syncing,
    #[command(flatten)]
    talk: Talk,
}

/// When an image is made.
#[derive(Debug, Clone, Copy, Args)]
pub(super) struct Date {
    /// When the image is made, and the latest time of a file in its layer, in seconds since 1970: the same image each time
    #[arg(long, env = "SOURCE_DATE_EPOCH", value_name = "SECONDS", hide_env_values = true)]
    source_date_epoch: Option<u32>,
}

impl Date {
    /// Returns it in seconds since the epoch.
    pub(super) fn seconds(self) -> Option<i64> {
        self.source_date_epoch.map(i64::from)
    }
}

impl Act for Commit {
    fn names(&mut self) -> Vec<&mut String> {
        vec![&mut self.container]
    }

    fn around(&self) -> Around {
        Around::CHANGING
    }

    fn run(&self, context: &Context) -> Result<(), Fault> {
        permit("commit", TO_EXTRACT)?;
        let names = named(self.name.as_deref())?;
        let failed = |cause| Fault::new("commit", format!("'{}'", self.container), cause);
        let since = Instant::now();
        let made = self.talk.during(|progress| self.commit(context, &names, progress)).map_err(failed)?;
        made.tell(self.talk, since.elapsed())?;
        self.sync.run(context)
    }
}

impl Commit {
    fn commit(&self, context: &Context, names: &[String], progress: &Progress) -> Result<Made, Cause> {
        let store = context.open_store()?;
        let change = store.change(Share::Shared, &mut waiting())?;
        let (subject, _own) = self.hold(&change)?;
        let base = match &subject {
            Held::Container(container) => container::image_of(&store, container)?,
            Held::Snapshot(snapshot) => container::image_below(&store, snapshot)?,
        };
        let mut config = store.config_of(&base)?;
        let created_by = config.command();
        config.change(&self.change).map_err(|e| Cause::Usage(e.to_string()))?;

        let mut pool = Pool::default();
        let (frozen, (new, old)) = match &subject {
            Held::Container(container) => {
                let frozen = self.freeze(&change, container)?;
                (frozen, container_views(&store, &container.name, &mut pool)?)
            }
            Held::Snapshot(snapshot) => (None, snapshot_views(&store, snapshot, &mut pool)?),
        };
        let (new, old) = (View::new(&pool, new), View::new(&pool, old));
        let changed = to_layer(&new, &old).map_err(store::Error::from)?;
        let source = Source { changes: &changed, view: &new, latest: self.date.seconds(), progress };
        let added = match changed.is_empty() {
            true => None,
            false => Some(change.add_layer(&base, &source, &mut waiting())?),
        };
        frozen.map_or(Ok(()), Frozen::thaw)?;

        let (mut layers, mut left_out, mut new_layers) = (base.layers.clone(), Vec::new(), 0);
        let empty_layer = added.is_none();
        if let Some(added) = added {
            config.layer(added.layer.diff_id);
            layers.push(added.layer);
            (left_out, new_layers) = (added.left_out, usize::from(added.is_new));
        }
        let author = self.author.clone();
        author.iter().for_each(|author| config.author(author));
        let created = created(self.date.seconds());
        let entry = Entry { created, author, created_by, comment: self.message.clone(), empty_layer };
        config.step(&entry);
        let image = change.make_image(&base, layers, config, &entry.created, names)?;
        Ok(Made { image, name: names.first().cloned(), new_layers, left_out })
    }

    /// Finds what is committed, and sees to it that nobody removes it, resets it or mounts it meanwhile.
    fn hold(&self, change: &Change<'_>) -> Result<(Held, Own), Cause> {
        let store = change.store();
        if store.container(&self.container)?.is_some() {
            let (container, own) = change.hold_container(&self.container, &mut waiting())?;
            return Ok((Held::Container(container), own));
        }
        if let Some((container, snapshot)) = store.snapshot(&self.container)? {
            let (container, own) = change.hold_container(&container.name, &mut waiting())?;
            // Another command may have removed it while this one waited.
            let snapshot = store.snapshot_of(&container, &snapshot.name.unwrap_or_default())?;
            return Ok((Held::Snapshot(snapshot), own));
        }
        Err(store.no_container(&self.container).into())
    }

    /// Sees to it that nobody changes the container meanwhile.
    fn freeze(&self, change: &Change<'_>, container: &ContainerRecord) -> Result<Option<Frozen>, Cause> {
        if self.live {
            return Ok(None);
        }
        let frozen = container::freeze(change, container, |root| background::watch(&["thaw".as_ref()], root));
        Ok(frozen?)
    }
}

/// What is committed.
enum Held {
    Container(ContainerRecord),
    Snapshot(SnapshotRecord),
}

/// An image that was made here.
pub(super) struct Made {
    pub(super) image: ImageRecord,
    pub(super) name: Option<String>,
    pub(super) new_layers: usize,
    pub(super) left_out: LeftOut,
}

impl Made {
    /// Prints its id, and says what it is.
    pub(super) fn tell(&self, talk: Talk, time: Duration) -> Result<(), Fault> {
        place::tell_left_out(&self.left_out);
        print::line(&self.image.id.to_string())?;
        let name = self.name.clone().unwrap_or_else(|| self.image.id.short());
        let totals = load::totals(self.image.layers.len(), self.new_layers, self.image.size(), time);
        talk.say(&format!("{name}: {totals}"));
        Ok(())
    }
}

/// Reads a name that an image is to have.
pub(super) fn named(name: Option<&str>) -> Result<Vec<String>, Fault> {
    let normal = |name| name::normal(name).map_err(|e| Fault::usage(e.to_string()));
    name.into_iter().map(normal).collect()
}
