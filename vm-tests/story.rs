//! What happens before the power goes: the steps of a workload, and what ovlctl has promised after each.
//!
//! The guest takes the steps and writes a mark after each that has returned; the host, who knows of a point in the log which
//! marks come before it, asks here what must be in the store then.

pub(crate) mod images;
pub(crate) mod promised;
pub(crate) mod random;

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use promised::Promised;

/// Where the guest has its archives.
pub(crate) const ARCHIVES: &str = "/archives";
/// The guest's other ovlctl, where one is under test.
pub(crate) const PROGRAM: &str = "/ovlctl";
/// The store's name in the filesystem under test.
pub(crate) const STORE: &str = "store";
/// Bytes of a sector.
pub(crate) const SECTOR: u64 = 512;

/// What the guest is told besides its orders: the file `/story`.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Manner {
    /// Whether `load` waits for the disk; where it does not, the story's promises are broken.
    pub(crate) sync: bool,
    /// What chance starts from.
    pub(crate) seed: u64,
    /// Where the power has gone before: how many steps of the story had returned then.
    pub(crate) recovers: Option<usize>,
}

impl Manner {
    /// What the guest does.
    pub(crate) fn steps(self) -> &'static [Step] {
        if self.recovers.is_some() { RECOVERY } else { STEPS }
    }

    /// What must be in the store after so many of these steps.
    pub(crate) fn promised(self, acknowledged: usize) -> Promised {
        match self.recovers {
            None => Promised::after(acknowledged),
            Some(before) => Promised::after(before).recovered(acknowledged),
        }
    }
}

/// One step.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Step {
    /// `load`: the image is on the disk.
    Load(&'static str),
    /// `load --no-sync`: nothing is promised.
    LoadNoSync(&'static str),
    /// `mount ARCHIVE`: of the image nothing is promised.
    MountArchive {
        image: &'static str,
        container: &'static str,
    },
    /// `mount IMAGE` or `mount CONTAINER`.
    Mount {
        source: &'static str,
        container: &'static str,
    },
    /// A file of a container that is mounted is replaced, with all that a careful program syncs.
    Write {
        container: &'static str,
        file: &'static str,
        text: &'static str,
    },
    Umount(&'static str),
    /// `tag`: the name is on the disk, with all else.
    Tag {
        image: &'static str,
        name: &'static str,
    },
    /// `rm IMAGE`
    Remove(&'static str),
    /// `rm CONTAINER`
    RemoveContainer(&'static str),
    Prune,
    /// `snapshot`: all that the container has changed is on the disk, under that name.
    Snapshot {
        container: &'static str,
        name: &'static str,
    },
    /// `snapshot --no-sync`: of the name nothing is promised; the container is what it was.
    SnapshotNoSync {
        container: &'static str,
        name: &'static str,
    },
    /// `reset`: what was changed since does not come back.
    Reset {
        container: &'static str,
        to: &'static str,
    },
    /// `branch`, from a snapshot or from what the container is just now: the new one is on the disk.
    Branch {
        container: &'static str,
        new: &'static str,
        from: Option<&'static str>,
    },
    /// `rm CONTAINER@NAME`: the name does not come back.
    RemoveSnapshot {
        container: &'static str,
        name: &'static str,
    },
    /// `commit`: the image is on the disk.
    Commit {
        container: &'static str,
        name: &'static str,
    },
}

use Step::{
    Branch, Commit, Load, LoadNoSync, Mount, MountArchive, Prune, Remove, RemoveContainer, RemoveSnapshot,
    Reset, Snapshot, SnapshotNoSync, Tag, Umount, Write,
};

/// The story: every verb that writes, images that share layers, and what was not synced being needed later.
pub(crate) const STEPS: &[Step] = &[
    Load("app:1"),
    Load("app:2"),
    Mount { source: "app:1", container: "a" },
    Write { container: "a", file: "etc/conf", text: "first" },
    Write { container: "a", file: "new", text: "new" },
    MountArchive { image: "tool:1", container: "t" },
    Write { container: "t", file: "bin/tool", text: "mine" },
    Write { container: "a", file: "etc/conf", text: "second" },
    Load("app:3"),
    Mount { source: "app:3", container: "b" },
    Write { container: "b", file: "usr/share/deep/er/note", text: "of b" },
    Umount("a"),
    Remove("app:2"),
    // Layers that are there, and not on the disk yet.
    LoadNoSync("gone:1"),
    Load("gone:1"),
    Load("tool:1"),
    Umount("t"),
    RemoveContainer("t"),
    Mount { source: "a", container: "a" },
    Write { container: "a", file: "third", text: "third" },
    Load("app:2"),
    Tag { image: "gone:1", name: "other:1" },
    Remove("gone:1"),
    Remove("other:1"),
    // What was removed comes again: nothing of its first life vouches for its second.
    LoadNoSync("gone:1"),
    Prune,
    MountArchive { image: "gone:1", container: "g" },
    Write { container: "g", file: "d/kept", text: "kept" },
    Umount("g"),
    Umount("b"),
    RemoveContainer("b"),
    Remove("app:3"),
    Load("app:3"),
    Prune,
    Umount("a"),
    Snapshot { container: "a", name: "s1" },
    Mount { source: "a", container: "a" },
    Write { container: "a", file: "etc/conf", text: "third" },
    Write { container: "a", file: "lost", text: "lost" },
    Umount("a"),
    // Who writes on finds what was frozen below, though no sync came between.
    SnapshotNoSync { container: "a", name: "s2" },
    Mount { source: "a", container: "a" },
    Write { container: "a", file: "new", text: "newer" },
    Umount("a"),
    Branch { container: "a", new: "c", from: None },
    Reset { container: "a", to: "s1" },
    Branch { container: "a", new: "d", from: Some("s2") },
    Mount { source: "c", container: "c" },
    Write { container: "c", file: "of/c", text: "of c" },
    Umount("c"),
    Commit { container: "c", name: "made:1" },
    RemoveSnapshot { container: "a", name: "s2" },
    RemoveContainer("d"),
    RemoveContainer("a"),
    Snapshot { container: "c", name: "s3" },
    Prune,
];

/// What a machine does that is up again: `prune` recovers what the cut has left, and takes away what nothing needs; then a
/// load brings what is missing.
pub(crate) const RECOVERY: &[Step] = &[Prune, Load("app:1")];

impl Step {
    /// The arguments of ovlctl, but for a step that is none of its own.
    pub(crate) fn words(self, manner: Manner, archives: &Path, mounts: &Path) -> Option<Vec<String>> {
        let archive = |image| archive(archives, image).display().to_string();
        let target = |container: &str| mounts.join(container).display().to_string();
        let words = match self {
            Load(image) if manner.sync => vec!["load".to_owned(), archive(image)],
            Load(image) | LoadNoSync(image) => {
                vec!["load".to_owned(), "--no-sync".to_owned(), archive(image)]
            }
            MountArchive { image, container } => {
                vec!["mount".into(), "--name".into(), container.into(), archive(image), target(container)]
            }
            Mount { source, container } if source == container => {
                vec!["mount".into(), container.into(), target(container)]
            }
            Mount { source, container } => {
                vec!["mount".into(), "--name".into(), container.into(), source.into(), target(container)]
            }
            Write { .. } => return None,
            Umount(container) => vec!["umount".into(), container.into()],
            Tag { image, name } => vec!["tag".into(), image.into(), name.into()],
            Remove(name) | RemoveContainer(name) => vec!["rm".into(), name.into()],
            Prune => vec!["prune".into()],
            Snapshot { container, name } => vec!["snapshot".into(), container.into(), name.into()],
            SnapshotNoSync { container, name } => {
                vec!["snapshot".into(), "--no-sync".into(), container.into(), name.into()]
            }
            Reset { container, to } => vec!["reset".into(), container.into(), to.into()],
            Branch { container, new, from } => {
                let from = from.into_iter().flat_map(|from| ["--from".into(), from.into()]);
                ["branch".into(), container.into(), new.into()].into_iter().chain(from).collect()
            }
            RemoveSnapshot { container, name } => vec!["rm".into(), format!("{container}@{name}")],
            Commit { container, name } => vec!["commit".into(), container.into(), name.into()],
        };
        Some(words)
    }

    /// A step as it is called in reports.
    pub(crate) fn name(self) -> String {
        match self.words(Manner { sync: true, seed: 0, recovers: None }, Path::new(""), Path::new("")) {
            Some(words) => words.join(" "),
            None => format!("{self:?}"),
        }
    }
}

/// Where the archive of an image lies.
pub(crate) fn archive(archives: &Path, image: &str) -> PathBuf {
    archives.join(format!("{image}.tar"))
}

/// The image that a container stands on.
pub(crate) fn image_of(container: &str) -> &'static str {
    let image = STEPS.iter().find_map(|step| {
        if let Branch { container: of, new, .. } = *step {
            return (new == container).then(|| image_of(of));
        }
        let (MountArchive { image, container: new } | Mount { source: image, container: new }) = *step else {
            return None;
        };
        (new == container).then_some(image)
    });
    image.expect("the story makes each container that it names")
}
