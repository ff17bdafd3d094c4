//! What to do about an error of an archive's or the store's.

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::path::Path;

use crate::cli::config;
use crate::limits::Exceeded;
use crate::mount::container;
use crate::store::Store;
use crate::store::error::AN_IMAGE;
use crate::store::record::Unreadable;
use crate::store::usage::Count;
use crate::{archive, layer, store};

/// Says how a limit is moved.
fn more_of(Exceeded { limit, most }: Exceeded) -> String {
    let more = limit.shown(most.saturating_mul(2));
    format!("`--limit {}={more}` takes twice that, of archives that you trust", limit.name())
}

/// Says what to do about a configuration file.
pub(super) fn of_config(error: &config::Error) -> Option<String> {
    match error {
        config::Error::Key { near: Some(near), .. } => Some(format!("did you mean '{near}'?")),
        config::Error::Untrusted(path) => {
            Some(format!("chown root: {0} && chmod go-w {0}, once you have read it", path.display()))
        }
        config::Error::Key { near: None, .. } => Some("`ovlctl --config= config` lists all keys".to_owned()),
        config::Error::Read(_) | config::Error::Syntax { .. } | config::Error::Value { .. } => None,
    }
}

/// Says what to do about an archive.
pub(super) fn of_archive(error: &archive::Error) -> Option<String> {
    match error {
        archive::Error::RootFilesystem => {
            Some("this looks like `docker export`; make it with `docker save`".to_owned())
        }
        archive::Error::Directory => Some(
            "`ovlctl mount --lower DIR --upper CHANGES --work WORK TARGET` mounts a directory that is no image"
                .to_owned(),
        ),
        // Without its name, which is a stranger's: what is hinted at is pasted into shells.
        archive::Error::InFolder(_) => Some("pack what is in that folder: tar -C FOLDER -cf FILE .".to_owned()),
        archive::Error::Exceeded { exceeded, .. } => Some(more_of(*exceeded)),
        archive::Error::Ambiguous(_) => Some("choose one with --image @N, or with --platform".to_owned()),
        archive::Error::Io { .. }
        | archive::Error::NotAnImage(_)
        | archive::Error::Damaged(_)
        | archive::Error::NoSuchImage { .. } => None,
    }
}

/// Says what to do about the store.
pub(super) fn of_store(error: &store::Error) -> Option<String> {
    match error {
        store::Error::NoImage { near: Some(near), .. }
        | store::Error::NoContainer { near: Some(near), .. }
        | store::Error::NoSubject { near: Some(near), .. }
        | store::Error::NoSnapshot { near: Some(near), .. } => Some(format!("did you mean '{near}'?")),
        store::Error::NoSpace(root) | store::Error::NoSpaceForLayer { root, .. } => {
            Some(room_in(root).to_owned())
        }
        // It need not be the store's disk.
        error @ (store::Error::File { .. } | store::Error::Call(_)) => {
            error.is_full().then(|| "`df -h` tells which filesystem is full".to_owned())
        }
        store::Error::Record { source: Unreadable::Later(_), .. } => {
            Some("use the ovlctl that made it, or a later one".to_owned())
        }
        store::Error::Unfit { .. } => Some("give --root a directory on ext4, xfs or btrfs".to_owned()),
        store::Error::NotAStore(_) => Some("give --root a new directory, or one that is a store".to_owned()),
        store::Error::Layer { source: layer::Error::Unheld { .. }, .. } => {
            Some("--xattrs=warn leaves such attributes out".to_owned())
        }
        store::Error::Layer { source: layer::Error::Exceeded { exceeded, .. }, .. } => {
            Some(more_of(*exceeded))
        }
        store::Error::ContainerExists(name) => Some(format!("`ovlctl mount {name} TARGET` mounts that one")),
        store::Error::SeveralNames(_) => {
            Some("`ovlctl rm NAME` takes one, `rm -f` all and the image".to_owned())
        }
        store::Error::InUse { .. } => Some("`ovlctl mounts` lists containers and mounts".to_owned()),
        store::Error::NoImage { near: None, .. } => Some("`ovlctl images` lists what there is".to_owned()),
        store::Error::NoSubject { near: None, .. } => {
            Some("`ovlctl images` and `ovlctl mounts` list what there is".to_owned())
        }
        store::Error::NoContainer { near: None, .. } => {
            Some("`ovlctl mounts` lists what there is".to_owned())
        }
        store::Error::NoSnapshot { container, near: None, .. } => {
            Some(format!("`ovlctl snapshots {container}` lists what there is"))
        }
        store::Error::Blob { source, .. } => of_archive(source),
        store::Error::SnapshotExists { container, name } => {
            Some(format!("`ovlctl rm {container}@{name}` removes that one"))
        }
        // What does tell depends on the verb.
        store::Error::NotAnImage { .. }
        | store::Error::NotAContainer { .. }
        | store::Error::NotASnapshotName(_)
        | store::Error::AmbiguousId { .. }
        | store::Error::NotAContainerName(_)
        | store::Error::Layer { .. }
        | store::Error::ReadOnly(_)
        | store::Error::Record { .. }
        | store::Error::Thread(_)
        | store::Error::Pack(_)
        | store::Error::Root { .. } => None,
    }
}

/// Says which act does what `verb` was to do to something of another kind.
pub(super) fn of_kind(error: &store::Error, verb: &str) -> Option<String> {
    if let store::Error::NotAnImage { name, image, .. } = error {
        return Some(match verb {
            "history" | "tree" | "layers" => {
                format!("`ovlctl {verb} {image}` tells of the image that it stands on")
            }
            "bisect" => {
                format!("`ovlctl bisect {image} -- COMMAND` goes through the image that it stands on")
            }
            "check" => format!("`ovlctl check --deep {image}` proves the image that it stands on"),
            _ => format!("`ovlctl commit {name} NAME` makes an image of it"),
        });
    }
    let store::Error::NotAContainer { name, what } = error else { return None };
    if *what == AN_IMAGE {
        return Some(match verb {
            "commit" => format!("`ovlctl tag {name} NAME` gives it another name"),
            "diff" => format!("`ovlctl diff {name} OTHER` compares it with another"),
            "umount" | "snapshots" => "`ovlctl mounts` lists containers, and what each stands on".to_owned(),
            _ => format!("`ovlctl mount {name} TARGET` makes a container over it"),
        });
    }
    let (container, name) = name.rsplit_once('@')?;
    Some(match verb {
        "reset" => format!("`ovlctl reset {container} {name}` goes back to it"),
        "snapshots" => format!("`ovlctl snapshots {container}` lists it"),
        "umount" => "`ovlctl mounts` lists what is mounted".to_owned(),
        _ => format!("`ovlctl branch {container} NEW --from {name}` makes a container of it"),
    })
}

/// Says how a store gets room on its filesystem, by what is in it: pruning it gives none where all is needed.
fn room_in(root: &Path) -> &'static str {
    let usage = Store::open(root).and_then(|store| store.usage(&BTreeSet::new(), Count::Records));
    match usage {
        Ok(usage) if usage.total.prunable > 0 || usage.total.deleting => {
            "free some with `ovlctl prune --wait`"
        }
        Ok(usage) if usage.images.is_empty() && usage.containers.is_empty() => {
            "give --root a directory on a larger filesystem"
        }
        Ok(_) => "`ovlctl df` tells what takes how much, `ovlctl rm` gives it back",
        Err(_) => "`df -h` tells how large that filesystem is",
    }
}

/// Says what to do about a container.
pub(super) fn of_container(error: &container::Error) -> Option<String> {
    match error {
        container::Error::ImageGone(_) => Some("load it again; the container's changes are kept".to_owned()),
        container::Error::Written(_) => {
            Some("end that first; --live takes what is there at each moment".to_owned())
        }
        container::Error::Thaw(_) => Some("unmount it and mount it again".to_owned()),
        container::Error::Mounted(target) => Some(format!("ovlctl umount {}", target.display())),
        container::Error::Directory { path, source } if source.kind() == ErrorKind::NotFound => {
            Some(format!("mkdir -p {}", path.display()))
        }
        container::Error::Index(name) => Some(format!(
            "`ovlctl mount {name} TARGET`, then `find TARGET -xdev -type f -links +1 -exec touch -ac {{}} +`: all their names \
             are brought up then"
        )),
        container::Error::Full { container, .. } => {
            Some(format!("`ovlctl commit {container} NAME` makes an image of it, in which they are fewer"))
        }
        container::Error::NotOurs(_)
        | container::Error::InMemory
        | container::Error::Store(_)
        | container::Error::Mount(_)
        | container::Error::MountedElsewhere
        | container::Error::Covered(_)
        | container::Error::Watcher(_)
        | container::Error::InStore(_)
        | container::Error::Directory { .. }
        | container::Error::Option(_)
        | container::Error::Table(_) => None,
    }
}
