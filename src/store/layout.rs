//! Every name in the store, spelled once.

use std::path::{Path, PathBuf};

use crate::digest::Digest;

/// A layer's own tree, or a container's upper directory.
pub const DIFF: &str = "diff";
/// The file that holds a layer's short name.
pub const LINK: &str = "link";
/// The file that lists what lies below, uppermost first: `l/LINK:l/LINK`.
pub const LOWER: &str = "lower";
/// Overlayfs' scratch directory.
pub const WORK: &str = "work";
/// Where a container is mounted when no target was given.
pub const MERGED: &str = "merged";

/// In the directory of a layer or an image: an empty file, made when all of it was on the disk. Docker's layers have it, too.
pub const COMMITTED: &str = "committed";
/// The extended attribute of a container's directory that holds its record once more.
pub const CONTAINER: &[u8] = b"trusted.ovlctl.container";
/// The same of a snapshot's directory.
pub const SNAPSHOT: &[u8] = b"trusted.ovlctl.snapshot";

/// What the name of a layer's recipe is followed by in that of [`Layout::displaced`].
pub(super) const DISPLACED_SUFFIX: &str = ".displaced";

const OVERLAY2: &str = "overlay2";
/// Where short names are.
pub const LINKS: &str = "l";

/// Where everything is.
#[derive(Debug, Clone)]
pub struct Layout {
    root: PathBuf,
}

impl Layout {
    /// The names of the store at `root`.
    #[must_use]
    pub fn new(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    /// The store itself.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Docker's tree: layers and containers.
    #[must_use]
    pub fn overlay2(&self) -> PathBuf {
        self.root.join(OVERLAY2)
    }

    /// The short names of layers: symbolic links to their diffs.
    #[must_use]
    pub fn links(&self) -> PathBuf {
        self.overlay2().join(LINKS)
    }

    /// The directory of a layer (`id` is its chain id in hex) or of a container.
    #[must_use]
    pub fn overlay(&self, id: &str) -> PathBuf {
        self.overlay2().join(id)
    }

    /// Records of layers.
    #[must_use]
    pub fn layers(&self) -> PathBuf {
        self.root.join("layers")
    }

    /// The record of one layer.
    #[must_use]
    pub fn layer(&self, chain_id: &Digest) -> PathBuf {
        self.layers().join(chain_id.hex() + ".json")
    }

    /// Recipes of layers.
    #[must_use]
    pub fn recipes(&self) -> PathBuf {
        self.root.join("recipes")
    }

    /// The recipe of one layer: how its tar is made again (see [`crate::layer::recipe`]).
    #[must_use]
    pub fn recipe(&self, chain_id: &Digest) -> PathBuf {
        self.recipes().join(chain_id.hex())
    }

    /// What only the recipe of a layer needs, where there is anything.
    #[must_use]
    pub fn displaced(&self, chain_id: &Digest) -> PathBuf {
        self.recipes().join(chain_id.hex() + DISPLACED_SUFFIX)
    }

    /// Directories of images.
    #[must_use]
    pub fn images(&self) -> PathBuf {
        self.root.join("images")
    }

    /// The directory of one image: [`IMAGE_RECORD`] and [`IMAGE_CONFIG`].
    #[must_use]
    pub fn image(&self, id: &Digest) -> PathBuf {
        self.images().join(id.hex())
    }

    /// Which name means which image.
    #[must_use]
    pub fn names(&self) -> PathBuf {
        self.root.join("names.json")
    }

    /// The names as they were when they were last on the disk.
    #[must_use]
    pub fn synced_names(&self) -> PathBuf {
        self.root.join("names.synced.json")
    }

    /// Records of containers.
    #[must_use]
    pub fn containers(&self) -> PathBuf {
        self.root.join("containers")
    }

    /// The record of one container.
    #[must_use]
    pub fn container(&self, name: &str) -> PathBuf {
        self.containers().join(format!("{name}.json"))
    }

    /// Records of snapshots.
    #[must_use]
    pub fn snapshots(&self) -> PathBuf {
        self.root.join("snapshots")
    }

    /// The record of one snapshot.
    #[must_use]
    pub fn snapshot(&self, id: &str) -> PathBuf {
        self.snapshots().join(format!("{id}.json"))
    }

    /// What is being made and what is being removed: each entry is locked by the process that works on it.
    #[must_use]
    pub fn staging(&self) -> PathBuf {
        self.root.join("staging")
    }

    /// Lock files.
    #[must_use]
    pub fn locks(&self) -> PathBuf {
        self.root.join("locks")
    }

    /// An empty directory: what an image without layers is made of.
    #[must_use]
    pub fn empty(&self) -> PathBuf {
        self.root.join("empty")
    }

    /// What a root in which something is run must have, be it as a mount point: a layer below all others.
    #[must_use]
    pub fn points(&self) -> PathBuf {
        self.root.join("points")
    }

    /// In which boot of the machine the store was made or recovered last.
    #[must_use]
    pub fn boot(&self) -> PathBuf {
        self.root.join("boot")
    }

    /// Files that are deleted where there is no room to remove others.
    #[must_use]
    pub fn reserve(&self) -> PathBuf {
        self.root.join("reserve")
    }

    /// What this store is: its format number.
    #[must_use]
    pub fn format(&self) -> PathBuf {
        self.root.join("store.json")
    }
}

/// In an image's directory: its record.
pub const IMAGE_RECORD: &str = "image.json";
/// In an image's directory: its config, byte for byte as the archive has it.
pub const IMAGE_CONFIG: &str = "config.json";

/// Returns how `overlay2` and a `lower` file spell a short name.
#[must_use]
pub fn short(link: &str) -> String {
    format!("{LINKS}/{link}")
}

/// Returns where the symbolic link of a short name leads.
#[must_use]
pub fn link_target(id: &str) -> String {
    format!("../{id}/{DIFF}")
}

/// Returns the id in what [`link_target`] made.
pub(super) fn linked_id(target: &str) -> Option<&str> {
    target.strip_prefix("../")?.strip_suffix(DIFF)?.strip_suffix('/')
}
