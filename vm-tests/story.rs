//! What happens before the power goes: the steps of a workload, and what ovlctl has promised after each.
//!
//! The guest takes the steps and writes a mark after each that has returned; the host, who knows of a point in the log which
//! marks come before it, asks here what must be in the store then.

pub(crate) mod images;
pub(crate) mod random;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

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
}

use Step::{Load, LoadNoSync, Mount, MountArchive, Prune, Remove, RemoveContainer, Tag, Umount, Write};

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
];

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
        };
        Some(words)
    }

    /// A step as it is called in reports.
    pub(crate) fn name(self) -> String {
        match self.words(Manner { sync: true, seed: 0 }, Path::new(""), Path::new("")) {
            Some(words) => words.join(" "),
            None => format!("{self:?}"),
        }
    }
}

/// Where the archive of an image lies.
pub(crate) fn archive(archives: &Path, image: &str) -> PathBuf {
    archives.join(format!("{image}.tar"))
}

/// What must be in the store when the power goes.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Promised {
    /// Images, by the name under which their archives are known.
    pub(crate) images: BTreeMap<&'static str, Names>,
    /// Containers, with what each of their files may hold.
    pub(crate) containers: BTreeMap<&'static str, BTreeMap<&'static str, Vec<&'static str>>>,
    /// Which image a name means just now.
    names: BTreeMap<&'static str, &'static str>,
}

/// The names of an image.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Names {
    /// Those that were on the disk, and have not been removed since.
    pub(crate) all_of: BTreeSet<&'static str>,
    /// Those that were given or removed later too: it has one of all these.
    pub(crate) one_of: BTreeSet<&'static str>,
}

impl Promised {
    /// After `acknowledged` steps of the story, with the next one perhaps under way.
    pub(crate) fn after(acknowledged: usize) -> Self {
        let mut promised = Self::default();
        for step in &STEPS[..acknowledged] {
            promised.begin(*step);
            promised.end(*step);
        }
        if let Some(step) = STEPS.get(acknowledged) {
            promised.begin(*step);
        }
        promised
    }

    /// What a step may have undone, returned or not.
    fn begin(&mut self, step: Step) {
        match step {
            Remove(name) => {
                let Some(image) = self.names.remove(name) else { return };
                let Some(names) = self.images.get_mut(image) else { return };
                names.all_of.remove(name);
                if !self.names.values().any(|other| *other == image) {
                    self.images.remove(image);
                }
            }
            RemoveContainer(name) => drop(self.containers.remove(name)),
            Tag { image, name } => {
                if let Some(names) = self.images.get_mut(self.names[image]) {
                    names.one_of.insert(name);
                }
            }
            Write { container, file, text } => {
                let files = self.containers.get_mut(container);
                if let Some(allowed) = files.and_then(|files| files.get_mut(file)) {
                    allowed.push(text);
                }
            }
            Load(_) | LoadNoSync(_) | MountArchive { .. } | Mount { .. } | Umount(_) | Prune => {}
        }
    }

    /// What a step that has returned has done.
    fn end(&mut self, step: Step) {
        match step {
            Load(image) => {
                self.names.insert(image, image);
                self.images.entry(image).or_default();
                self.sync();
            }
            LoadNoSync(image) | MountArchive { image, .. } => drop(self.names.insert(image, image)),
            Tag { image, name } => {
                self.names.insert(name, self.names[image]);
                self.sync();
            }
            Write { container, file, text } => {
                self.containers.entry(container).or_default().insert(file, vec![text]);
            }
            Mount { .. } | Umount(_) | Remove(_) | RemoveContainer(_) | Prune => {}
        }
    }

    /// All that is in the store is on the disk; which other images that makes last is not ours to say.
    fn sync(&mut self) {
        for (image, promised) in &mut self.images {
            let names = self.names.iter().filter(|(_, meant)| *meant == image).map(|(name, _)| *name);
            promised.all_of = names.collect();
            promised.one_of.clone_from(&promised.all_of);
        }
    }
}

/// The image that a container stands on.
pub(crate) fn image_of(container: &str) -> &'static str {
    let image = STEPS.iter().find_map(|step| {
        let (MountArchive { image, container: new } | Mount { source: image, container: new }) = *step else {
            return None;
        };
        (new == container).then_some(image)
    });
    image.expect("the story makes each container that it names")
}
