//! `plan`: what `mount` would do.

use std::path::{Path, PathBuf};

use clap::Args;

use super::{Arguments, Source};
use crate::cli::act::{Act, Around};
use crate::cli::config::Config;
use crate::cli::fault::{Cause, Fault};
use crate::cli::loader::{self, Found, Job};
use crate::cli::{Context, load, permit, print};
use crate::mount;
use crate::mount::container::{self, UpperWish};
use crate::store::Store;
use crate::store::images::Image;
use crate::store::record::{ContainerRecord, Upper};
use crate::sys::caps::TO_MOUNT;

/// Print the system calls that `mount` would make
///
/// The arguments are those of `mount`. Nothing is mounted, loaded or made.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  ovlctl plan web:1.4 /mnt/root
  ovlctl plan --method procfd --lower /srv/a --lower /srv/b /mnt/both")]
pub(in crate::cli) struct Plan {
    #[command(flatten)]
    arguments: Arguments,
}

impl Act for Plan {
    fn configure(&mut self, config: &Config) {
        self.arguments.configure(config);
    }

    fn around(&self) -> Around {
        Around::READING
    }

    fn run(&self, context: &Context) -> Result<(), Fault> {
        let arguments = &self.arguments;
        permit("plan", TO_MOUNT)?;
        let object =
            arguments.places.first().map_or_else(|| "overlay".to_owned(), |place| load::display(place));
        let calls = arguments.decide(context).and_then(|(plan, target)| {
            let method = mount::choose(&plan)?;
            Ok(plan.calls(method, &target)?)
        });
        let calls = calls.map_err(|cause| Fault::new("plan", object, cause))?;
        calls.iter().try_for_each(|call| print::line(call))
    }
}

impl Arguments {
    /// Finds the image of an archive in the store, without loading it.
    fn loaded_before(&self, store: &Store, path: PathBuf) -> Result<Image, Cause> {
        if path.as_os_str() == "-" {
            return Err(Cause::NotLoaded(path));
        }
        let Found { id, names } = loader::read(store, &path, &self.pick, Job::Look, None)?;
        let record = store.image_record(&id)?.ok_or(Cause::NotLoaded(path))?;
        Ok(Image { record, names })
    }

    /// Decides what would be mounted, and where. Nothing is made: a new container's directory is called NEW.
    fn decide(&self, context: &Context) -> Result<(mount::Plan, PathBuf), Cause> {
        let (again, how) = (self.how(None)?, self.how_anew(None)?);
        if !self.lower.is_empty() {
            return Ok((
                self.plain_plan(&again)?,
                self.plain_target().map_err(|fault| fault.cause)?.to_owned(),
            ));
        }
        let (source, target) = self.source_and_target().map_err(|fault| fault.cause)?;
        let store = context.readable_store()?;
        let image = match self.find(&store, source)? {
            Source::Container(container) => {
                let image = store.image(&container.image.hex())?.record;
                let target = target.map_or_else(|| store.merged(&container), Path::to_owned);
                return Ok((container::container_plan(&store, &container, &image, &again)?, target));
            }
            Source::Snapshot(snapshot) => {
                let target = target.ok_or_else(|| Cause::Usage("a snapshot needs TARGET".to_owned()))?;
                return Ok((container::snapshot_plan(&store, &snapshot, &how)?, target.to_owned()));
            }
            Source::Image(image) => self.up_to_layer(image)?,
            Source::Archive(path) => self.up_to_layer(self.loaded_before(&store, path)?)?,
        };
        let new = container_to_be(&image, self.upper_wish()?);
        let target = target.map_or_else(|| store.merged(&new), Path::to_owned);
        if self.read_only {
            return Ok((container::image_plan(&store, &image.record, &how)?, target));
        }
        Ok((container::container_plan(&store, &new, &image.record, &how)?, target))
    }
}

/// Stands for a container that `plan` does not make.
fn container_to_be(image: &Image, upper: UpperWish<'_>) -> ContainerRecord {
    ContainerRecord {
        name: "NEW".to_owned(),
        id: "NEW".to_owned(),
        image: image.record.id,
        at_layer: None,
        image_name: None,
        created: String::new(),
        upper: match upper {
            UpperWish::Store => Upper::Store,
            UpperWish::Tmpfs { size } => Upper::Tmpfs { size },
            UpperWish::At { upper, work } => {
                let beside = container::work_beside(upper);
                Upper::At { upper: upper.into(), work: work.unwrap_or(&beside).into() }
            }
        },
        options: Vec::new(),
        target: None,
        remove: false,
        unfinished: true,
        generation: 0,
        base: None,
    }
}
