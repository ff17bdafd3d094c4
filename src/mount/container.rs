//! Images and containers of a store, mounted: what the store knows becomes a plan.
//!
//! A mount of the store's says in its source whose it is: `ovlctl:ID@STORE`, the id of a container, or of an image that is
//! mounted without one, and the store's identity. What is mounted is always read from there, never believed from a record.

mod back;
mod ended;
mod freeze;
mod live;
mod mounted;
mod open;
mod run;
mod upper;

pub use back::{Point, branch, image_below, remove_snapshot, reset, snapshot, snapshot_plan};
pub use ended::{Unmounted, forget_ephemeral, refuse_image_in_use, remove, unmount};
pub use freeze::{Frozen, freeze, thaw_abandoned};
pub use live::live_root;
pub use mounted::{Mounted, all_mounts, container_on, find_mounts, mounted_ids, mounts};
pub use open::{Opened, open_container, open_image, open_snapshot, within_image};
pub use run::Held;
pub use upper::{UpperWish, work_beside};

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::Target;
use super::options::{BadOption, Options};
use super::plan::{Access, Lower, Method, Plan};
use crate::store::containers::{Naming, NewContainer};
use crate::store::images::Image;
use crate::store::layout::LINKS;
use crate::store::record::{ContainerRecord, ImageRecord, SnapshotRecord, StoredPath, Upper};
use crate::store::{self, Change, Own, Store};
use crate::sys::lock::Holder;
use ended::{is_mounted, refuse_mounted};
use mounted::source;
use upper::{describe_user_upper, make_work, upper};

/// Why an image or a container could not be mounted or unmounted.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The store could not do its part.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// The mount itself could not be made or ended.
    #[error(transparent)]
    Mount(#[from] super::Error),
    /// A container is mounted once: two mounts over one upper directory corrupt it.
    #[error("mounted on {}", .0.display())]
    Mounted(PathBuf),
    /// It is mounted where this process cannot see it.
    #[error("mounted in another mount namespace")]
    MountedElsewhere,
    /// It is mounted, but its mount point cannot be reached.
    #[error("mounted on {}, where something else is mounted on top of it", .0.display())]
    Covered(PathBuf),
    /// It cannot be frozen while somebody writes to it.
    #[error("it is being written to{}", super::error::held_by(.0))]
    Written(Vec<super::holders::Holder>),
    /// It was frozen, and cannot be thawed.
    #[error("it is read-only now, and cannot be made writable again")]
    Thaw(#[source] crate::sys::CallFailed),
    /// Nobody would thaw it if this process was killed.
    #[error("no process can be started that thaws it")]
    Watcher(#[source] io::Error),
    /// What is mounted there, or written there, is not what the store put there.
    #[error("{} lies in the store", .0.display())]
    InStore(PathBuf),
    /// The container stands on an image that is not there.
    #[error("its image {0} is not in the store any more: it was lost when the machine went down")]
    ImageGone(String),
    /// Only changes in the store are frozen.
    #[error("its changes are in {}, where others than ovlctl may change them", .0.display())]
    NotOurs(PathBuf),
    /// The same.
    #[error("its changes are in memory")]
    InMemory,
    /// Files that are changed under one of their names, and would not be under the others.
    #[error(
        "it has files that were changed under one of their names, and only its index tells of the others"
    )]
    Index(String),
    /// No snapshot can come to stand on another any more.
    #[error("{layers} layers lie below it, and overlayfs takes no more")]
    Full {
        /// How many.
        layers: usize,
        /// The container.
        container: String,
    },
    /// The user's upper directory has no place for a work directory beside it.
    #[error("{}", path.display())]
    Directory {
        /// The directory.
        path: PathBuf,
        /// Why it cannot be made or removed.
        source: io::Error,
    },
    /// An option that was recorded, and is none.
    #[error(transparent)]
    Option(#[from] BadOption),
    /// What is mounted could not be read.
    #[error(transparent)]
    Table(io::Error),
}

/// How something is to be mounted.
#[derive(Debug, Clone)]
pub struct How<'a> {
    /// Where; a container's own `merged` directory where nothing is said.
    pub target: Option<&'a Target>,
    /// Whether nothing may be changed.
    pub read_only: bool,
    /// What `-o` said, parsed.
    pub options: Options,
    /// What `-o` said, as it was typed.
    pub typed: &'a [String],
    /// How the layers are handed over.
    pub method: Option<Method>,
}

impl How<'_> {
    /// Puts what is asked for now over what a container is always mounted with.
    fn over(&self, recorded: &[String]) -> Result<Self, Error> {
        let mut options = Options::default();
        for text in recorded.iter().chain(self.typed) {
            options.add(text)?;
        }
        Ok(Self { options, ..self.clone() })
    }
}

/// A new container's choices.
#[derive(Debug, Clone, Copy)]
pub struct Wishes<'a> {
    /// Its name; one made of the image's where nothing is said.
    pub name: Option<&'a str>,
    /// The uppermost layer that it stands on, which the image given ends with; all of them where nothing is said.
    pub at_layer: Option<usize>,
    /// The name by which the image was asked for.
    pub image_name: Option<&'a str>,
    /// Where its changes go.
    pub upper: UpperWish<'a>,
    /// Whether it goes away when it is unmounted.
    pub remove: bool,
}

/// Something that was mounted.
#[derive(Debug)]
pub struct Done {
    /// Where.
    pub target: PathBuf,
    /// The container, unless an image was mounted without one.
    pub container: Option<String>,
    /// What the kernel warned of.
    pub warnings: Vec<String>,
}

/// Mounts an image read-only, without a container.
pub fn mount_image(
    store: &Store,
    image: &ImageRecord,
    how: &How<'_>,
    target: &Target,
) -> Result<Done, Error> {
    outside(store, target.path())?;
    let plan = image_plan(store, image, how)?;
    perform(&plan, target, None)
}

/// Mounts a snapshot read-only.
pub fn mount_snapshot(
    store: &Store,
    snapshot: &SnapshotRecord,
    how: &How<'_>,
    target: &Target,
) -> Result<Done, Error> {
    outside(store, target.path())?;
    let plan = snapshot_plan(store, snapshot, how)?;
    perform(&plan, target, None)
}

/// Makes a container over an image and mounts it. If that fails there is no container.
pub fn mount_new(
    change: &Change<'_>,
    image: &Image,
    wishes: Wishes<'_>,
    how: &How<'_>,
) -> Result<Done, Error> {
    let upper = upper(change.store(), wishes.upper)?;
    how.target.map_or(Ok(()), |target| outside(change.store(), target.path()))?;
    let (mut container, own) = create(change, image, &wishes, upper, (how.typed, how.target))?;
    let mounted = describe_user_upper(change, &container, &image.record)
        .and_then(|()| container_plan(change.store(), &container, &image.record, how))
        .and_then(|plan| perform_on(change.store(), &plan, &container, how));
    container.unfinished = false;
    let mounted = mounted.and_then(|done| recorded(change, &container, done));
    if mounted.is_err() {
        // The container is new and nobody has seen it; why the mount failed is what the user needs to know.
        let _ = change.remove_container(&container, &own);
        if let Upper::At { upper, work } = &container.upper {
            let _ = ended::leave(&upper.path(), &work.path());
        }
    }
    mounted
}

/// Makes a container over an image, which is mounted with options as they were typed, and on a target if it has one.
fn create(
    change: &Change<'_>,
    image: &Image,
    wishes: &Wishes<'_>,
    upper: Upper,
    (typed, target): (&[String], Option<&Target>),
) -> Result<(ContainerRecord, Own), Error> {
    // Not the id alone: `rm ID` means the image.
    let short = format!("image-{}", image.record.id.short());
    let called = wishes.image_name.or(image.names.first().map(String::as_str));
    let naming = wishes.name.map_or(Naming::After(called.unwrap_or(&short)), Naming::Exactly);
    let new = NewContainer {
        image: &image.record,
        at_layer: wishes.at_layer,
        image_name: called.map(str::to_owned),
        upper,
        options: typed.to_vec(),
        target: target.map(|target| StoredPath::from(target.path())),
        remove: wishes.remove,
        base: None,
    };
    Ok(change.create_container(naming, &new)?)
}

/// Writes down what was mounted. If that fails, it is mounted no more.
fn recorded(change: &Change<'_>, container: &ContainerRecord, done: Done) -> Result<Done, Error> {
    let recorded = change.record_container(container);
    if recorded.is_err() {
        // Lazily: it is a moment old, and must not stay.
        let _ = super::unmount(&done.target, true);
    }
    Ok(recorded.map(|()| done)?)
}

/// Mounts a container that is there, with its changes.
pub fn mount_again(
    change: &Change<'_>,
    name: &str,
    how: &How<'_>,
    waiting: &mut dyn FnMut(&[Holder]),
) -> Result<Done, Error> {
    let (mut container, own) = change.hold_container(name, waiting)?;
    refuse_mounted(change.store(), &container)?;
    if is_mounted(change.store(), &container)? {
        return Err(Error::MountedElsewhere);
    }
    how.target.map_or(Ok(()), |target| outside(change.store(), target.path()))?;
    let image = image_of(change.store(), &container)?;
    make_work(&container.upper)?;
    let plan = container_plan(change.store(), &container, &image, how)?;
    let done = perform_on(change.store(), &plan, &container, how)?;
    // What overlayfs was told decides how it reads what it wrote then: a directory that was renamed with `redirect_dir`
    // is empty without it. Flags are the mount's own.
    for option in how.options.overlay() {
        container.options.retain(|known| *known != option);
        container.options.push(option);
    }
    container.target = Some(StoredPath::from(done.target.as_path()));
    let done = recorded(change, &container, done);
    drop(own);
    done
}

/// Returns the plan by which a read-only image would be mounted.
pub fn image_plan(store: &Store, image: &ImageRecord, how: &How<'_>) -> Result<Plan, Error> {
    let lowers = stack(store, None, image)?;
    plan(store, lowers, Access::ReadOnly, &image.id.hex(), how)
}

/// Returns the plan by which a container would be mounted.
pub fn container_plan(
    store: &Store,
    container: &ContainerRecord,
    image: &ImageRecord,
    how: &How<'_>,
) -> Result<Plan, Error> {
    let how = &how.over(&container.options)?;
    let mut lowers = stack(store, container.base.as_deref(), image)?;
    let access = match (store.upper_and_work(container), &container.upper) {
        (Some((upper, _)), at) if how.read_only => {
            let own = matches!(at, Upper::Store).then(|| store.short_name(&container.dir())).transpose()?;
            lowers.insert(0, own.map_or_else(|| Lower::from(upper), |short| lower(store, &short)));
            Access::ReadOnly
        }
        (None, _) if how.read_only => Access::ReadOnly,
        (Some((upper, work)), _) => Access::Writable { upper, work },
        (None, Upper::Tmpfs { size }) => {
            Access::Tmpfs { size: *size, root: lowers.first().map(|l| l.path.clone()).unwrap_or_default() }
        }
        (None, Upper::Store | Upper::At { .. }) => unreachable!("these are on disk"),
    };
    plan(store, lowers, access, &container.id, how)
}

fn plan(store: &Store, lowers: Vec<Lower>, access: Access, id: &str, how: &How<'_>) -> Result<Plan, Error> {
    if how.options.get("userxattr").is_some() {
        return Err(BadOption::UserXattr.into());
    }
    let mut plan = Plan::new(lowers, access);
    plan.options = how.options.clone();
    plan.source = source(store, id)?;
    plan.method = how.method;
    plan.overlay2 = Some(store.layout().overlay2());
    Ok(plan)
}

/// Returns the snapshots that `base` stands on, itself included, and an image's layers, uppermost first.
fn stack(store: &Store, base: Option<&str>, image: &ImageRecord) -> Result<Vec<Lower>, Error> {
    let below = store.below(base, image)?;
    if below.is_empty() {
        return Ok(vec![Lower::from(store.layout().empty())]);
    }
    Ok(below.iter().map(|short| lower(store, short)).collect())
}

fn lower(store: &Store, short: &str) -> Lower {
    Lower {
        path: store.diff_of(short),
        link: short.strip_prefix(LINKS).and_then(|link| link.strip_prefix('/')).map(str::to_owned),
    }
}

fn perform_on(store: &Store, plan: &Plan, container: &ContainerRecord, how: &How<'_>) -> Result<Done, Error> {
    match how.target {
        Some(target) => perform(plan, target, Some(&container.name)),
        None => perform(plan, &Target::open(&store.merged(container))?, Some(&container.name)),
    }
}

fn perform(plan: &Plan, target: &Target, container: Option<&str>) -> Result<Done, Error> {
    plan.check()?;
    if let Access::Writable { upper, work } = &plan.access {
        // What a crash left in the work directory would make the kernel mount read-only.
        super::tidy_work(upper, work)?;
    }
    let mounted = super::perform(plan, target)?;
    Ok(Done { target: mounted.target, container: container.map(str::to_owned), warnings: mounted.warnings })
}

/// Says no to a directory of the store's, as the kernel does not.
fn outside(store: &Store, path: &Path) -> Result<(), Error> {
    let root = fs::canonicalize(store.layout().root());
    match root {
        Ok(root) if path.starts_with(&root) => Err(Error::InStore(path.to_owned())),
        Ok(_) | Err(_) => Ok(()),
    }
}

/// Returns the image that a container stands on, as far as it does.
pub fn image_of(store: &Store, container: &ContainerRecord) -> Result<ImageRecord, Error> {
    // Nothing but a power cut takes an image from below a container.
    let called = || container.image_name.clone().unwrap_or_else(|| container.image.to_string());
    let image = store.image_record(&container.image)?.ok_or_else(|| Error::ImageGone(called()))?;
    Ok(image.up_to(container.at_layer))
}
