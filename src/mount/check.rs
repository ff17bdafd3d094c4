//! Every no that can be known before the kernel is asked, which mostly answers a bare EINVAL; and the two mistakes that
//! it takes without a word.

use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::error::{Error, Role};
use super::plan::{Access, MAX_LOWER, Plan};
use super::table;
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
    let mut places = Vec::with_capacity(plan.lowers.len() + 2);
    for lower in &plan.lowers {
        places.push(Place::of(Role::Lower, &lower.path)?);
    }
    match &plan.access {
        Access::ReadOnly => {}
        Access::Tmpfs { root, .. } => drop(pin(Role::Lower, root)?),
        Access::Writable { upper, work } => {
            let (upper, work) = (Place::of(Role::Upper, upper)?, Place::of(Role::Work, work)?);
            check_upper(&upper, &work)?;
            places.extend([upper, work]);
        }
    }
    locate(&mut places)?;
    check_apart(places)
}

/// Where a directory lies.
#[derive(Debug)]
struct Place {
    role: Role,
    path: PathBuf,
    dir: Pinned,
    mount_id: u64,
    device: (u32, u32),
    /// Its path, until [`locate`] has made it that inside of its filesystem.
    inside: PathBuf,
}

impl Place {
    fn of(role: Role, path: &Path) -> Result<Self, Error> {
        let dir = pin(role, path)?;
        if dir.is_removed()? {
            return Err(Error::Removed { role, path: path.to_owned() });
        }
        let (mount_id, inside) = (dir.mount_id()?, dir.path()?);
        Ok(Self { role, path: path.to_owned(), dir, mount_id, device: (0, 0), inside })
    }
}

/// Finds out where in their filesystems directories lie, whichever bind mounts lead there. Of those that one mount leads to
/// their paths tell as much.
fn locate(places: &mut [Place]) -> Result<(), Error> {
    if places.windows(2).all(|pair| pair[0].mount_id == pair[1].mount_id) {
        return Ok(());
    }
    let mounts = table::mounts()?;
    for place in places {
        // Reached by a mount that is not ours to see, its path is all there is.
        if let Some(mount) = mounts.iter().find(|mount| mount.id == place.mount_id) {
            (place.device, place.inside) = (mount.device, mount.inside(&place.inside));
        }
    }
    Ok(())
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
    places.sort_by_cached_key(|place| (place.device, by_components(&place.inside)));
    for pair in places.windows(2) {
        let [outer, inner] = pair else { continue };
        if outer.device != inner.device || !is_inside(&inner.inside, &outer.inside) {
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

/// Returns what sorts paths as `Path` does, but by one comparison of bytes: a name's end comes before all that names have.
fn by_components(path: &Path) -> Vec<u8> {
    path.as_os_str().as_bytes().iter().map(|&byte| if byte == b'/' { 0 } else { byte }).collect()
}

/// Whether a path is another one, or below it; most are told apart by their bytes alone.
fn is_inside(path: &Path, other: &Path) -> bool {
    path.as_os_str().as_bytes().starts_with(other.as_os_str().as_bytes()) && path.starts_with(other)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_sorted_by_their_components() {
        let sorted = ["/", "/a", "/a/b", "/a/b/c", "/a/b!", "/a-b", "/a.b/c", "/ab", "/b"];
        let mut paths = sorted.map(Path::new);
        paths.reverse();
        paths.sort_by_key(|path| by_components(path));
        assert_eq!(paths, sorted.map(Path::new));
        paths.sort();
        assert_eq!(paths, sorted.map(Path::new));
    }

    #[test]
    fn what_is_inside_begins_with_the_same_components() {
        for (path, other, inside) in [
            ("/a", "/a", true),
            ("/a/b", "/a", true),
            ("/a", "/", true),
            ("/ab", "/a", false),
            ("/a", "/a/b", false),
            ("/b/a", "/a", false),
        ] {
            assert_eq!(is_inside(Path::new(path), Path::new(other)), inside, "{path} {other}");
        }
    }
}
