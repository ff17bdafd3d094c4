//! What ovlctl has promised after each step of the story.

use std::collections::{BTreeMap, BTreeSet};

use super::Step::{
    self, Branch, Commit, Load, LoadNoSync, Mount, MountArchive, Prune, Remove, RemoveContainer,
    RemoveSnapshot, Reset, Snapshot, SnapshotNoSync, Tag, Umount, Write,
};
use super::{RECOVERY, STEPS};

/// What each of these files may hold; `None` where it may be missing.
pub(crate) type Files = BTreeMap<&'static str, Vec<Option<&'static str>>>;

/// What must be in the store when the power goes.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Promised {
    /// Images, by the name under which their archives are known, or with which they were committed.
    pub(crate) images: BTreeMap<&'static str, Names>,
    /// Those that were committed.
    pub(crate) committed: BTreeMap<&'static str, Files>,
    /// Containers.
    pub(crate) containers: BTreeMap<&'static str, Files>,
    /// Snapshots, by container and name.
    pub(crate) snapshots: BTreeMap<(&'static str, &'static str), Frozen>,
    /// Those that must not be there.
    pub(crate) gone: BTreeSet<(&'static str, &'static str)>,
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

/// A snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Frozen {
    pub(crate) files: Files,
    /// Whether it has to be there: all was on the disk since.
    pub(crate) synced: bool,
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

    /// When a machine that is up again has taken so many of the steps that recover: nothing is undone by them.
    pub(crate) fn recovered(mut self, acknowledged: usize) -> Self {
        for step in &RECOVERY[..acknowledged] {
            if let Load(image) = *step {
                let names = BTreeSet::from([image]);
                self.images.insert(image, Names { all_of: names.clone(), one_of: names });
            }
        }
        self
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
            RemoveContainer(name) => {
                self.containers.remove(name);
                self.snapshots.retain(|(container, _), _| *container != name);
            }
            RemoveSnapshot { container, name } => drop(self.snapshots.remove(&(container, name))),
            Tag { image, name } => {
                if let Some(names) = self.images.get_mut(self.names[image]) {
                    names.one_of.insert(name);
                }
            }
            Write { container, file, text } => {
                let files = self.containers.get_mut(container);
                if let Some(allowed) = files.and_then(|files| files.get_mut(file)) {
                    allowed.push(Some(text));
                }
            }
            Reset { container, to } => {
                for (file, allowed) in self.taken_back(container, to) {
                    self.containers.entry(container).or_default().entry(file).or_default().extend(allowed);
                }
            }
            Load(_)
            | LoadNoSync(_)
            | MountArchive { .. }
            | Mount { .. }
            | Umount(_)
            | Prune
            | Snapshot { .. }
            | SnapshotNoSync { .. }
            | Branch { .. }
            | Commit { .. } => {}
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
                self.containers.entry(container).or_default().insert(file, vec![Some(text)]);
            }
            Snapshot { container, name } => {
                self.freeze(container, name);
                self.sync();
            }
            SnapshotNoSync { container, name } => self.freeze(container, name),
            Reset { container, to } => {
                let files = self.taken_back(container, to);
                self.containers.insert(container, files);
                self.sync();
            }
            Branch { container, new, from } => {
                let files = match from {
                    Some(from) => self.snapshots[&(container, from)].files.clone(),
                    None => self.containers[container].clone(),
                };
                self.containers.insert(new, files);
                self.sync();
            }
            RemoveSnapshot { container, name } => {
                self.gone.insert((container, name));
                self.sync();
            }
            Commit { container, name } => {
                self.committed.insert(name, self.containers[container].clone());
                self.names.insert(name, name);
                self.images.entry(name).or_default();
                self.sync();
            }
            Mount { .. } | Umount(_) | Remove(_) | RemoveContainer(_) | Prune => {}
        }
    }

    fn freeze(&mut self, container: &'static str, name: &'static str) {
        let files = self.containers[container].clone();
        self.snapshots.insert((container, name), Frozen { files, synced: false });
    }

    /// What a container has when it is back at a snapshot: of what was made since nothing.
    fn taken_back(&self, container: &'static str, to: &'static str) -> Files {
        let then = &self.snapshots[&(container, to)].files;
        let made_since = self.containers[container].keys().map(|file| (*file, vec![None]));
        made_since.chain(then.iter().map(|(file, allowed)| (*file, allowed.clone()))).collect()
    }

    /// All that is in the store is on the disk; which other images that makes last is not ours to say.
    fn sync(&mut self) {
        for (image, promised) in &mut self.images {
            let names = self.names.iter().filter(|(_, meant)| *meant == image).map(|(name, _)| *name);
            promised.all_of = names.collect();
            promised.one_of.clone_from(&promised.all_of);
        }
        self.snapshots.values_mut().for_each(|snapshot| snapshot.synced = true);
    }
}
