//! `squash`: several layers of an image become one.

use std::time::Instant;

use clap::Args;

use super::act::{Act, Around};
use super::commit::{Date, Made, named};
use super::fault::watch::Talk;
use super::fault::{Cause, Fault};
use super::sync::Syncing;
use super::{Context, permit, waiting};
use crate::layer::changes::to_layer;
use crate::layer::view::{Pool, View};
use crate::progress::Progress;
use crate::store::commit::{Source, created};
use crate::store::config::Entry;
use crate::store::images::Image;
use crate::store::{self, Store};
use crate::sys::caps::TO_EXTRACT;
use crate::sys::lock::Share;

/// Make an image with fewer layers of another
///
/// It shows the same tree, in the layers below N and one more. What a layer in between had and a later one removed or changed
/// is in it no more; what is removed from layers below N stays removed. The history tells of all steps, as that of
/// `docker build --squash` does. The image itself stays as it is.
///
/// The same layers make the same one; with SOURCE_DATE_EPOCH the image is the same, too.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  ovlctl squash web:2 web:flat
  ovlctl squash --from 4 --replace web:2")]
pub(super) struct Squash {
    /// Its name or id
    #[arg(value_name = "IMAGE")]
    image: String,
    /// The new image's name; it has none where nothing is said
    #[arg(value_name = "NAME", conflicts_with = "replace")]
    name: Option<String>,
    /// The lowest layer that is merged with those above it; 1 is the base
    #[arg(long, value_name = "N", default_value = "1")]
    from: usize,
    /// Give the new image all names of the old one
    #[arg(long)]
    replace: bool,
    #[command(flatten)]
    date: Date,
    #[command(flatten)]
    sync: Syncing,
    #[command(flatten)]
    talk: Talk,
}

impl Act for Squash {
    fn around(&self) -> Around {
        Around::CHANGING
    }

    fn run(&self, context: &Context) -> Result<(), Fault> {
        permit("squash", TO_EXTRACT)?;
        let names = named(self.name.as_deref())?;
        let failed = |cause| Fault::new("squash", format!("'{}'", self.image), cause);
        let store = context.open_store().map_err(|e| failed(e.into()))?;
        let since = Instant::now();
        let made = self.talk.during(|progress| self.squash(&store, names, progress)).map_err(failed)?;
        made.tell(self.talk, since.elapsed())?;
        self.sync.run(context)
    }
}

impl Squash {
    fn squash(&self, store: &Store, mut names: Vec<String>, progress: &Progress) -> Result<Made, Cause> {
        self.find(store)?;
        let change = store.change(Share::Shared, &mut waiting())?;
        // Again: it may have been removed while this command waited.
        let Image { record: image, names: all } = self.find(store)?;
        if self.replace {
            names = all;
        }
        let base = image.clone().up_to(Some(self.from - 1));
        let mut pool = Pool::default();
        let (new, old) = (store.open_image(&image, &mut pool)?, store.open_image(&base, &mut pool)?);
        let (new, old) = (View::new(&pool, new), View::new(&pool, old));
        let changed = to_layer(&new, &old).map_err(store::Error::from)?;
        let source = Source { changes: &changed, view: &new, latest: self.date.seconds(), progress };
        let added = change.add_layer(&base, &source, &mut waiting())?;

        let mut config = store.config_of(&image)?;
        config.merge(self.from, added.layer.diff_id);
        let created = created(self.date.seconds());
        let comment = match self.from {
            1 => format!("create new from {}", image.id),
            from => format!("merge {} to layer {}", image.id, from - 1),
        };
        let entry = Entry { created, comment: Some(comment), ..Entry::default() };
        config.step(&entry);
        let layers = base.layers.iter().cloned().chain([added.layer]).collect();
        let image = change.make_image(&base, layers, config, &entry.created, &names)?;
        Ok(Made {
            image,
            name: names.first().cloned(),
            new_layers: usize::from(added.is_new),
            left_out: added.left_out,
        })
    }

    /// Finds the image, and says no where there is nothing to merge.
    fn find(&self, store: &Store) -> Result<Image, Cause> {
        let image = store.image(&self.image)?;
        let (from, layers) = (self.from, image.record.layers.len());
        if layers == 0 {
            return Err(Cause::Usage(format!("'{}' has no layers: nothing is to be merged", self.image)));
        }
        if from == 0 || from > layers {
            return Err(Cause::Usage(format!(
                "'{}' has layers 1 to {layers}, and no layer {from}",
                self.image
            )));
        }
        if from == layers {
            let which =
                if from == 1 { "one layer only".to_owned() } else { format!("one layer from {from} on") };
            return Err(Cause::Usage(format!("'{}' has {which}: nothing is to be merged", self.image)));
        }
        Ok(image)
    }
}
