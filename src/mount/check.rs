//! Every no that can be known before the kernel is asked, which mostly answers a bare EINVAL; and the two mistakes that
//! it takes without a word.

use std::path::{Path, PathBuf};

use super::error::{Error, Role};
use super::plan::{Access, MAX_LOWER, Plan};
use super::table::{self, Mount};
use crate::sys::Errno;
use crate::sys::filesystem::Filesystem;
use crate::sys::mount::Pinned;

/// Filesystems that overlayfs never takes as an upper directory: they lack whiteouts, trusted attributes or writing.
const UNFIT: &[&str] = &[
    "overlayfs",
    "vfat",
    "exfat",
    "ntfs",
    "erofs",
    "squashfs",
    "iso9660",
    "cramfs",
    "proc",
    "sysfs",
    "9p",
    "cifs",
    "smb2",
];

/// Checks `plan`.
pub(super) fn check(plan: &Plan) -> Result<(), Error> {
    match plan.lowers.len() {
        0 => return Err(Error::NoLower),
        count if count > MAX_LOWER => return Err(Error::TooManyLayers(count)),
        _ => {}
    }
    let mounts = table::mounts()?;
    let place = |role, path: &Path| Place::of(role, path, &mounts);
    let mut places = Vec::with_capacity(plan.lowers.len() + 2);
    for lower in &plan.lowers {
        places.push(place(Role::Lower, &lower.path)?);
    }
    match &plan.access {
        Access::ReadOnly => {}
        Access::Tmpfs { root, .. } => drop(pin(Role::Lower, root)?),
        Access::Writable { upper, work } => {
            let (upper, work) = (place(Role::Upper, upper)?, place(Role::Work, work)?);
            check_upper(&upper, &work)?;
            places.extend([upper, work]);
        }
    }
    check_apart(places)
}

/// Where a directory lies in its filesystem, whichever bind mount leads there.
#[derive(Debug)]
struct Place {
    role: Role,
    path: PathBuf,
    dir: Pinned,
    mount_id: u64,
    device: (u32, u32),
    inside: PathBuf,
}

impl Place {
    fn of(role: Role, path: &Path, mounts: &[Mount]) -> Result<Self, Error> {
        let dir = pin(role, path)?;
        if dir.is_removed()? {
            return Err(Error::Removed { role, path: path.to_owned() });
        }
        let (mount_id, real) = (dir.mount_id()?, dir.path()?);
        let (device, inside) = match mounts.iter().find(|mount| mount.id == mount_id) {
            Some(mount) => (mount.device, mount.inside(&real)),
            // Reached by a mount that is not ours to see: its path is all there is.
            None => ((0, 0), real),
        };
        Ok(Self { role, path: path.to_owned(), dir, mount_id, device, inside })
    }
}

fn check_upper(upper: &Place, work: &Place) -> Result<(), Error> {
    for place in [upper, work] {
        let filesystem = Filesystem::of(&place.dir)?;
        let path = || place.path.clone();
        let name = filesystem.name();
        if UNFIT.contains(&name.as_str()) {
            return Err(Error::Unfit { path: path(), filesystem: name });
        }
        if filesystem.read_only {
            return Err(Error::ReadOnly { role: place.role, path: path() });
        }
    }
    if upper.mount_id != work.mount_id {
        return Err(Error::WorkElsewhere { work: work.path.clone(), upper: upper.path.clone() });
    }
    refuse_volatile(&upper.path, &work.path)
}

/// Says no to changes that may never have come to the disk. The mark is left by overlayfs itself, so that no one mounts them by
/// accident (overlayfs.rst, "Volatile mount").
pub(super) fn refuse_volatile(upper: &Path, work: &Path) -> Result<(), Error> {
    let marker = work.join("work/incompat/volatile");
    if marker.exists() {
        return Err(Error::Volatile { upper: upper.to_owned(), marker });
    }
    Ok(())
}

/// Refuses two directories that are one, or one inside the other. Sorted by components, what lies inside a directory
/// follows it, so neighbours are all that must be compared.
fn check_apart(mut places: Vec<Place>) -> Result<(), Error> {
    places.sort_by(|a, b| (a.device, &a.inside).cmp(&(b.device, &b.inside)));
    for pair in places.windows(2) {
        let [outer, inner] = pair else { continue };
        if outer.device != inner.device || !inner.inside.starts_with(&outer.inside) {
            continue;
        }
        let (role, path) = (inner.role, inner.path.clone());
        let (other_role, other) = (outer.role, outer.path.clone());
        if inner.inside == outer.inside {
            return Err(Error::Same { role, path, other_role, other });
        }
        return Err(Error::Inside { role, path, outer_role: other_role, outer: other });
    }
    Ok(())
}

/// Pins a directory that must be there.
pub(super) fn pin(role: Role, path: &Path) -> Result<Pinned, Error> {
    Pinned::open(path).map_err(|failed| {
        let path = path.to_owned();
        match failed.errno {
            Errno::NOENT => Error::Missing { role, path },
            Errno::NOTDIR => Error::NotADirectory { role, path },
            _ => Error::Kernel(failed),
        }
    })
}
