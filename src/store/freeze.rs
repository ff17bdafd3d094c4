//! Making snapshots, going back to them, and removing them; see [`snapshots`](super::snapshots).

use std::collections::BTreeSet;

use super::containers::{inscribe, is_name};
use super::error::{Error, is_there};
use super::layers::{gone, names_in};
use super::layout::{CONTAINER, DIFF, MERGED, SNAPSHOT, WORK};
use super::record::{self, ContainerRecord, ImageRecord, SnapshotRecord};
use super::snapshots::needless;
use super::{Change, Own, folder, now};
use crate::layer;
use crate::sys::dir::Dir;
use crate::sys::trace;

/// The lock of whoever decides what stands on what.
const LOCK: &str = "snapshots";

impl Change<'_> {
    /// Freezes what a container has changed, which must not be mounted, and gives it an empty upper directory above. Its next
    /// snapshot has the next free number for a name where none is given.
    pub fn freeze(
        &self,
        container: &ContainerRecord,
        name: Option<&str>,
        _own: &Own,
    ) -> Result<(ContainerRecord, SnapshotRecord), Error> {
        let _alone = self.own(LOCK, &mut |_| {})?;
        self.clear_leftovers(container)?;
        let snapshot = SnapshotRecord {
            id: container.dir(),
            container: container.id.clone(),
            name: Some(self.free_snapshot_name(container, name)?),
            parent: container.base.clone(),
            image: container.image,
            at_layer: container.at_layer,
            image_name: container.image_name.clone(),
            created: now(),
            options: container.options.clone(),
        };
        let frozen = self.record_snapshot(&snapshot).and_then(|()| {
            let below = self.store.stack_of(&snapshot.id)?;
            self.renew(container, Some(snapshot.id.clone()), &below)
        });
        let next = frozen.inspect_err(|_| self.clear_after_failure(&container.name))?;
        // It is done: whatever of this fails is put right by a later command, or does no harm.
        let place = self.layout().overlay(&snapshot.id);
        let _ = Dir::open(&place).and_then(|dir| dir.remove_xattr_self(CONTAINER));
        let _ = self.stage.discard(&place.join(WORK));
        let _ = self.stage.discard(&place.join(MERGED));
        Ok((next, snapshot))
    }

    /// Puts a container back on a snapshot, or on its image: all that it changed since is removed. It must not be mounted;
    /// `mounted` are the ids of what is.
    pub fn reset(
        &self,
        container: &ContainerRecord,
        image: &ImageRecord,
        base: Option<&SnapshotRecord>,
        mounted: &BTreeSet<String>,
        _own: &Own,
    ) -> Result<ContainerRecord, Error> {
        let _alone = self.own(LOCK, &mut |_| {})?;
        self.clear_leftovers(container)?;
        let base = base.map(|snapshot| snapshot.id.clone());
        let below = self.store.below(base.as_deref(), image)?;
        let next = self.renew(container, base, &below);
        let next = next.inspect_err(|_| self.clear_after_failure(&container.name))?;
        let _ = self.clear_leftovers(&next);
        let _ = self.remove_snapshots(&self.needless_snapshots(mounted)?);
        Ok(next)
    }

    /// Gives a container an empty directory over `base` and what is `below`. It has it from the moment in which its record
    /// says so.
    fn renew(
        &self,
        container: &ContainerRecord,
        base: Option<String>,
        below: &[String],
    ) -> Result<ContainerRecord, Error> {
        let next = ContainerRecord { generation: container.generation + 1, base, ..container.clone() };
        let (staged, link) = self.stage_container(&next, below)?;
        self.put_overlay(&staged, &link, &next.dir())?;
        self.record_container(&next)?;
        trace::done(|| format!("container '{}': its changes go to a new, empty directory", next.name));
        Ok(next)
    }

    /// Removes a snapshot's name, and the snapshot too unless something stands on it. Returns whether it is gone. `mounted` are
    /// the ids of what mounts show.
    pub fn remove_snapshot(
        &self,
        snapshot: &SnapshotRecord,
        mounted: &BTreeSet<String>,
        _own: &Own,
    ) -> Result<bool, Error> {
        let _alone = self.own(LOCK, &mut |_| {})?;
        self.record_snapshot(&SnapshotRecord { name: None, ..snapshot.clone() })?;
        let needless = self.needless_snapshots(mounted)?;
        self.remove_snapshots(&needless)?;
        Ok(needless.iter().any(|gone| gone.id == snapshot.id))
    }

    /// Removes the snapshots that nothing needs, and returns them. `mounted` are the ids of what mounts show.
    pub fn collect_snapshots(&self, mounted: &BTreeSet<String>) -> Result<Vec<SnapshotRecord>, Error> {
        let _alone = self.own(LOCK, &mut |_| {})?;
        let needless = self.needless_snapshots(mounted)?;
        self.remove_snapshots(&needless)?;
        Ok(needless)
    }

    fn needless_snapshots(&self, mounted: &BTreeSet<String>) -> Result<Vec<SnapshotRecord>, Error> {
        Ok(needless(&self.store.snapshots()?, &self.store.containers()?, mounted))
    }

    pub(super) fn remove_snapshots(&self, needless: &[SnapshotRecord]) -> Result<(), Error> {
        for snapshot in needless {
            self.remove_overlay(&snapshot.id)?;
            gone(&self.layout().snapshot(&snapshot.id))?;
            trace::done(|| format!("snapshot {}: removed", &snapshot.id[..12]));
        }
        Ok(())
    }

    /// Removes what killed commands left of snapshots, and of what they were to be taken back to. The change must be exclusive.
    pub(super) fn remove_unfinished_snapshots(&self) -> Result<(), Error> {
        for container in self.store.containers()? {
            self.clear_leftovers(&container)?;
        }
        for name in names_in(&self.layout().snapshots())? {
            let id = name.strip_suffix(".json").unwrap_or(&name);
            if !is_there(self.layout().overlay(id))? {
                gone(&self.layout().snapshots().join(&name))?;
            }
        }
        Ok(())
    }

    /// Removes what a killed command left that was to give a container another directory.
    pub(super) fn clear_leftovers(&self, container: &ContainerRecord) -> Result<(), Error> {
        // Its own directory is no snapshot, whatever was noted before.
        let own = container.dir();
        if let Ok(dir) = Dir::open(&self.layout().overlay(&own)) {
            if dir.xattr_self(SNAPSHOT)?.is_some() {
                dir.remove_xattr_self(SNAPSHOT)?;
            }
        }
        gone(&self.layout().snapshot(&own))?;
        self.remove_overlay(&container.dir_of(container.generation + 1))?;
        let Some(last) = container.generation.checked_sub(1).map(|last| container.dir_of(last)) else {
            return Ok(());
        };
        let place = self.layout().overlay(&last);
        if !is_there(&place)? {
            return Ok(());
        }
        // Frozen, or given up?
        let is_snapshot = is_there(self.layout().snapshot(&last))?
            || Dir::open(&place)?.xattr_self(SNAPSHOT)?.is_some()
            || self.store.containers()?.iter().any(|other| other.base.as_ref() == Some(&last));
        if is_snapshot { Ok(()) } else { self.remove_overlay(&last) }
    }

    /// The same after something failed. Whether it was done before it did, its record tells; where that cannot be read, a later
    /// command removes what is left.
    fn clear_after_failure(&self, container: &str) {
        if let Ok(Some(container)) = self.store.container(container) {
            let _ = self.clear_leftovers(&container);
        }
    }

    pub(super) fn record_snapshot(&self, snapshot: &SnapshotRecord) -> Result<(), Error> {
        let record = record::write(snapshot);
        inscribe(&Dir::open(&self.layout().overlay(&snapshot.id))?, SNAPSHOT, &record)?;
        folder(&self.layout().snapshots())?;
        self.stage.write(&self.layout().snapshot(&snapshot.id), &record)
    }

    fn free_snapshot_name(&self, container: &ContainerRecord, name: Option<&str>) -> Result<String, Error> {
        let known = self.store.snapshots_of(container)?;
        let is_free = |name: &str| known.iter().all(|snapshot| snapshot.name.as_deref() != Some(name));
        match name {
            Some(name) if !is_name(name) => Err(Error::NotASnapshotName(name.to_owned())),
            Some(name) if !is_free(name) => {
                Err(Error::SnapshotExists { container: container.name.clone(), name: name.to_owned() })
            }
            Some(name) => Ok(name.to_owned()),
            None => {
                let free = (1_u64..).map(|nr| nr.to_string()).find(|name| is_free(name));
                Ok(free.expect("there are fewer than 2^64 snapshots"))
            }
        }
    }

    /// Whether a container has changed anything since its last snapshot, or since it was made.
    pub fn has_changed(&self, container: &ContainerRecord, image: &ImageRecord) -> Result<bool, Error> {
        let upper = Dir::open(&self.layout().overlay(&container.dir()).join(DIFF))?;
        if !upper.names()?.is_empty() {
            return Ok(true);
        }
        let below = self.store.below(container.base.as_deref(), image)?;
        let top = below.first().map_or_else(|| self.layout().empty(), |top| self.store.diff_of(top));
        Ok(!layer::is_same_root(&upper, &Dir::open(&top)?)?)
    }
}
