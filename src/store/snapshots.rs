//! Snapshots: what containers had changed until then, frozen.
//!
//! A snapshot is the directory that was its container's own until then, where it always lay: nothing in it is copied, so one
//! takes the same time whatever was changed. The container gets an empty directory above. Which one is its own its record
//! tells (`generation`), and so one rename(2), of that record, makes a snapshot, or resets a container.
//!
//! A snapshot is needed as long as its container is there and it has a name, and as long as a container, or another snapshot
//! that is needed, stands on it. Nobody counts: records are read.

use std::collections::{BTreeMap, BTreeSet};

use super::boot::State;
use super::error::{Error, is_there};
use super::layers::{names_in, read_record, read_sound};
use super::record::{ContainerRecord, ImageRecord, SnapshotRecord};
use super::{Store, nearest};

impl Store {
    /// Returns all snapshots, the oldest first.
    pub fn snapshots(&self) -> Result<Vec<SnapshotRecord>, Error> {
        let mut records = self.snapshot_records()?;
        if records.is_empty() {
            return Ok(records);
        }
        // The record is written before what it tells of is frozen.
        let own: BTreeSet<String> = self.containers()?.iter().map(ContainerRecord::dir).collect();
        records.retain(|snapshot| !own.contains(&snapshot.id));
        let mut there = Vec::new();
        for record in records {
            if is_there(self.layout().overlay(&record.id))? {
                there.push(record);
            }
        }
        there.sort_by(|a, b| (&a.created, &a.id).cmp(&(&b.created, &b.id)));
        Ok(there)
    }

    /// Returns what records say, of snapshots that are not there included.
    pub(super) fn snapshot_records(&self) -> Result<Vec<SnapshotRecord>, Error> {
        let mut records = Vec::new();
        for name in names_in(&self.layout().snapshots())?.iter().filter(|name| name.ends_with(".json")) {
            let path = self.layout().snapshots().join(name);
            records.extend(match self.state {
                State::Marked => read_sound(&path)?,
                State::Nothing | State::Sound | State::Suspect(_) | State::WithoutMarks => {
                    read_record(&path)?
                }
            });
        }
        Ok(records)
    }

    /// Finds `CONTAINER@NAME`; `None` where that is no name of a snapshot's, or there is no such container.
    pub fn snapshot(&self, text: &str) -> Result<Option<(ContainerRecord, SnapshotRecord)>, Error> {
        let Some((container, name)) = text.rsplit_once('@') else { return Ok(None) };
        let Some(container) = self.container(container)? else { return Ok(None) };
        let snapshot = self.snapshot_of(&container, name)?;
        Ok(Some((container, snapshot)))
    }

    /// Finds a snapshot that a container has, or stands on.
    pub fn snapshot_of(&self, container: &ContainerRecord, name: &str) -> Result<SnapshotRecord, Error> {
        let known = self.snapshots_of(container)?;
        let named = |snapshot: &&SnapshotRecord| snapshot.name.as_deref() == Some(name);
        let own = |snapshot: &&SnapshotRecord| snapshot.container == container.id;
        let found = known.iter().filter(named).find(own).or_else(|| known.iter().find(named));
        found.cloned().ok_or_else(|| {
            let names: Vec<String> = known.iter().filter_map(|snapshot| snapshot.name.clone()).collect();
            let near = nearest(name, names.iter());
            Error::NoSnapshot { container: container.name.clone(), name: name.to_owned(), near }
        })
    }

    /// Returns the snapshots that a container has, and those that it stands on.
    pub fn snapshots_of(&self, container: &ContainerRecord) -> Result<Vec<SnapshotRecord>, Error> {
        let mut all = self.snapshots()?;
        let below: BTreeSet<String> =
            chain(&all, container.base.as_deref()).into_iter().map(|snapshot| snapshot.id.clone()).collect();
        all.retain(|snapshot| snapshot.container == container.id || below.contains(&snapshot.id));
        Ok(all)
    }

    /// Returns the snapshots that a container stands on, the uppermost first.
    pub fn stands_on(&self, container: &ContainerRecord) -> Result<Vec<SnapshotRecord>, Error> {
        self.down_from(container.base.as_deref())
    }

    /// Returns a snapshot and those that it stands on, the uppermost first.
    pub fn down_from(&self, top: Option<&str>) -> Result<Vec<SnapshotRecord>, Error> {
        let all = if top.is_some() { self.snapshots()? } else { Vec::new() };
        Ok(chain(&all, top).into_iter().cloned().collect())
    }

    /// Returns the short names of what lies below a container's own directory, uppermost first: snapshots, from `base` on,
    /// then the layers of the image.
    pub fn below(&self, base: Option<&str>, image: &ImageRecord) -> Result<Vec<String>, Error> {
        match (base, image.layers.last()) {
            (Some(id), _) => self.stack_of(id),
            (None, Some(top)) => self.stack(&top.chain_id),
            (None, None) => Ok(Vec::new()),
        }
    }
}

/// Returns a snapshot and those that it stands on, as far as they are in `all`, the uppermost first.
#[must_use]
pub fn chain<'a>(all: &'a [SnapshotRecord], top: Option<&str>) -> Vec<&'a SnapshotRecord> {
    let by_id: BTreeMap<&str, &SnapshotRecord> =
        all.iter().map(|snapshot| (snapshot.id.as_str(), snapshot)).collect();
    let top = top.and_then(|id| by_id.get(id).copied());
    let down = std::iter::successors(top, |snapshot| by_id.get(snapshot.parent.as_deref()?).copied());
    // Damaged records may stand on each other.
    down.take(all.len()).collect()
}

/// Returns what each snapshot is called, by its id: `CONTAINER@NAME`, by the container that it was made of, or, where that is
/// gone, by one that stands on it.
#[must_use]
pub fn called(snapshots: &[SnapshotRecord], containers: &[ContainerRecord]) -> BTreeMap<String, String> {
    let mut names = BTreeMap::new();
    for container in containers {
        for snapshot in snapshots.iter().filter(|snapshot| snapshot.container == container.id) {
            names.extend(snapshot.name_in(container).map(|name| (snapshot.id.clone(), name)));
        }
    }
    for container in containers {
        for snapshot in chain(snapshots, container.base.as_deref()) {
            let name = snapshot.name_in(container).filter(|_| !names.contains_key(&snapshot.id));
            names.extend(name.map(|name| (snapshot.id.clone(), name)));
        }
    }
    names
}

/// Returns the snapshots that nothing needs, each before the one that it stands on: a command that is killed while it removes
/// them must leave none that stands on nothing.
pub(super) fn needless(
    snapshots: &[SnapshotRecord],
    containers: &[ContainerRecord],
    mounted: &BTreeSet<String>,
) -> Vec<SnapshotRecord> {
    let owners: BTreeSet<&str> = containers.iter().map(|container| container.id.as_str()).collect();
    let named = snapshots.iter().filter(|snapshot| {
        let is_owned = snapshot.name.is_some() && owners.contains(snapshot.container.as_str());
        is_owned || mounted.contains(&snapshot.shown_as())
    });
    let bases = containers.iter().filter_map(|container| container.base.as_deref());
    let tops = named.map(|snapshot| snapshot.id.as_str()).chain(bases);
    let mut needed = BTreeSet::new();
    for top in tops {
        let below = chain(snapshots, Some(top));
        // A record is missing, and so nobody knows what lies below.
        if below.last().is_none_or(|last| last.parent.is_some()) {
            return Vec::new();
        }
        needed.extend(below.into_iter().map(|snapshot| snapshot.id.as_str()));
    }
    let height = |snapshot: &SnapshotRecord| chain(snapshots, Some(&snapshot.id)).len();
    let mut needless: Vec<SnapshotRecord> =
        snapshots.iter().filter(|snapshot| !needed.contains(snapshot.id.as_str())).cloned().collect();
    needless.sort_by_cached_key(|snapshot| std::cmp::Reverse(height(snapshot)));
    needless
}
