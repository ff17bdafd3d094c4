//! Images and containers that are looked into, whether they are mounted or not.

use std::io;
use std::path::Path;
use std::process::Child;

use super::live::{Live, live};
use super::{Error, How, container_plan, image_of, image_plan, make_work, snapshot_plan};
use crate::mount::options::Options;
use crate::mount::perform::{Hidden, hidden};
use crate::mount::plan::{Access, Plan};
use crate::mount::room::{Room, attached, within};
use crate::store::record::{ImageRecord, SnapshotRecord};
use crate::store::{Change, Own, Store};
use crate::sys::dir::Dir;
use crate::sys::lock::Holder;
use crate::sys::namespace::Network;

/// The root of an image or a container, open.
#[derive(Debug)]
#[must_use]
pub enum Opened {
    /// It is mounted, and this is its mount.
    Live(Live),
    /// It is not: this is a mount that nobody sees. Nobody else mounts the container meanwhile.
    Hidden(Hidden, Option<Own>),
}

impl Opened {
    /// Returns its root.
    #[must_use]
    pub fn root(&self) -> &Dir {
        match self {
            Self::Live(live) => &live.root,
            Self::Hidden(hidden, _) => &hidden.root,
        }
    }

    /// Lets it be mounted in a mount namespace of a thread's own, and does something there: with other programs, which can
    /// do no more than look. To be done once.
    pub fn attached<T: Send>(&self, act: impl FnOnce(&Path) -> io::Result<T> + Send) -> Result<T, Error> {
        Ok(match self {
            Self::Live(live) => attached(&live.copy()?, act)?,
            Self::Hidden(hidden, _) => attached(&hidden.root, act)?,
        })
    }
}

/// Opens an image.
pub fn open_image(store: &Store, image: &ImageRecord) -> Result<Opened, Error> {
    let flags = [FLAGS.to_owned()];
    let plan = image_plan(store, image, &how(&flags, true)?)?;
    Ok(Opened::Hidden(see(&plan)?, None))
}

/// Opens a snapshot.
pub fn open_snapshot(store: &Store, snapshot: &SnapshotRecord) -> Result<Opened, Error> {
    let flags = [FLAGS.to_owned()];
    let plan = snapshot_plan(store, snapshot, &how(&flags, true)?)?;
    Ok(Opened::Hidden(see(&plan)?, None))
}

/// Opens a container: by its own mount where it has one. Of two overlays over one upper directory the kernel promises
/// nothing.
pub fn open_container(
    change: &Change<'_>,
    name: &str,
    read_only: bool,
    waiting: &mut dyn FnMut(&[Holder]),
) -> Result<Opened, Error> {
    let (container, own) = change.hold_container(name, waiting)?;
    if let Some(live) = live(change.store(), &container)? {
        return Ok(Opened::Live(live));
    }
    let image = image_of(change.store(), &container)?;
    make_work(&container.upper)?;
    let flags = [FLAGS.to_owned()];
    let plan = container_plan(change.store(), &container, &image, &how(&flags, read_only)?)?;
    Ok(Opened::Hidden(see(&plan)?, Some(own)))
}

/// Mounts an image in namespaces of a thread's own, with changes going to memory, and starts something there.
pub fn within_image<T: Send>(
    store: &Store,
    image: &ImageRecord,
    network: Network,
    start: impl FnOnce(&Room) -> io::Result<Child> + Send,
    attend: impl FnOnce(Child) -> io::Result<T> + Send,
) -> Result<T, Error> {
    let mut options = Options::default();
    options.add("nodev,nosuid")?;
    let how = How { target: None, read_only: false, options, typed: &[], method: None };
    let mut plan = image_plan(store, image, &how)?;
    plan.access = Access::Tmpfs { size: None, root: plan.lowers[0].path.clone() };
    plan.check()?;
    Ok(within(&plan, network, start, attend)?)
}

/// Who reads a strange image does not mean this machine's disks.
const FLAGS: &str = "nodev,nosuid,noexec";

fn how(flags: &[String], read_only: bool) -> Result<How<'_>, Error> {
    let mut options = Options::default();
    flags.iter().try_for_each(|flag| options.add(flag))?;
    Ok(How { target: None, read_only, options, typed: flags, method: None })
}

fn see(plan: &Plan) -> Result<Hidden, Error> {
    plan.check()?;
    if let Access::Writable { upper, work } = &plan.access {
        crate::mount::tidy_work(upper, work)?;
    }
    Ok(hidden(plan)?)
}
