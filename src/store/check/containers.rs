//! Containers, and the snapshots that they have and stand on.

use std::collections::BTreeMap;

use super::{Check, Finding, Remedy};
use crate::digest::Digest;
use crate::store::error::{Error, is_dir};
use crate::store::layers::{names_in, read_record};
use crate::store::layout::DIFF;
use crate::store::record::{ContainerRecord, SnapshotRecord, Upper};
use crate::sys::chain;

/// The layers of each image, the base first.
type Images = BTreeMap<Digest, Vec<Digest>>;

impl Check<'_> {
    pub(super) fn snapshots(&mut self, images: &Images) -> Result<(), Error> {
        for file in names_in(&self.store.layout().snapshots())? {
            let Some(id) = file.strip_suffix(".json") else { continue };
            // A record whose directory is gone is what a killed command leaves, and the next prune removes.
            if !is_dir(self.store.layout().overlay(id))? {
                continue;
            }
            match read_record::<SnapshotRecord>(&self.store.layout().snapshot(id)) {
                Ok(Some(snapshot)) if snapshot.id == id => {
                    let link = self.store.short_name(id).ok();
                    self.snapshots.insert(id.to_owned(), (snapshot, link));
                }
                Ok(Some(snapshot)) => {
                    self.found("snapshot", &id, format!("its record is of another: {}", snapshot.id));
                }
                Ok(None) => {}
                Err(e) => self.found("snapshot", &id, format!("its record cannot be read: {}", chain(&e))),
            }
        }
        // Where its directory is a container's own, that is a record of one that was never made.
        let own: Vec<String> =
            self.store.containers().unwrap_or_default().iter().map(ContainerRecord::dir).collect();
        self.snapshots.retain(|id, _| !own.contains(id));
        let snapshots: Vec<SnapshotRecord> =
            self.snapshots.values().map(|(snapshot, _)| snapshot.clone()).collect();
        snapshots.iter().for_each(|snapshot| self.snapshot(snapshot, images));
        Ok(())
    }

    fn snapshot(&mut self, snapshot: &SnapshotRecord, images: &Images) {
        self.report.snapshots += 1;
        self.known.insert(snapshot.id.clone());
        let id = snapshot.id.as_str();
        let stands = Stands {
            kind: "snapshot",
            name: id,
            base: snapshot.parent.as_deref(),
            at_layer: snapshot.at_layer,
        };
        if let Some(below) = images.get(&snapshot.image).and_then(|layers| self.below(&stands, layers)) {
            self.directory("snapshot", &id, id, &below);
        }
        self.changes("snapshot", id, id);
    }

    pub(super) fn containers(&mut self, images: &Images) -> Result<(), Error> {
        for file in names_in(&self.store.layout().containers())? {
            let Some(name) = file.strip_suffix(".json") else { continue };
            match self.store.container(name) {
                Ok(Some(container)) => self.container(&container, images),
                Ok(None) => {}
                Err(e) => self.found("container", &name, format!("its record cannot be read: {}", chain(&e))),
            }
        }
        Ok(())
    }

    fn container(&mut self, container: &ContainerRecord, images: &Images) {
        self.report.containers += 1;
        // Those of the generations before and after it may be what a killed command left: the next prune removes them.
        let around = container.generation.saturating_sub(1)..=container.generation.saturating_add(1);
        self.known.extend(around.map(|generation| container.dir_of(generation)));
        let name = container.name.as_str();
        let Some(layers) = images.get(&container.image) else {
            // Only a power cut takes an image from below a container; where it is loaded again, all is as it was.
            let image = container.image_name.clone().unwrap_or_else(|| container.image.to_string());
            return self
                .report
                .notes
                .push(format!("container '{name}' waits for image {image}: load it again"));
        };
        let stands =
            Stands { kind: "container", name, base: container.base.as_deref(), at_layer: container.at_layer };
        if let Some(below) = self.below(&stands, layers) {
            self.directory("container", &name, &container.dir(), &below);
        }
        match &container.upper {
            Upper::Store => self.changes("container", name, &container.dir()),
            Upper::At { upper, work } => {
                for dir in [upper.path(), work.path()].iter().filter(|dir| !dir.is_dir()) {
                    self.found("container", &name, format!("{} is missing", dir.display()));
                }
            }
            Upper::Tmpfs { .. } => {}
        }
    }

    /// Returns the short names of what lies below, uppermost first, as records tell; `None` where they do not, as is told here or
    /// of the image.
    fn below(&mut self, stands: &Stands<'_>, layers: &[Digest]) -> Option<Vec<String>> {
        let mut names = Vec::new();
        let mut next = stands.base.map(str::to_owned);
        while let Some(id) = next {
            let known = self.snapshots.get(&id).filter(|_| names.len() < self.snapshots.len());
            let Some((snapshot, Some(link))) = known else {
                let problem = format!("snapshot {id} below it cannot be had");
                let finding = Finding::new(stands.kind, &stands.name, problem);
                self.report.findings.push(finding.with(Remedy::Recall(id)));
                return None;
            };
            names.push(link.clone());
            next = snapshot.parent.clone();
        }
        let top = stands.at_layer.map_or(layers.last(), |nr| layers.get(nr.wrapping_sub(1)));
        names.extend(top.map_or_else(|| Ok(Vec::new()), |top| self.stack(*top)).ok()?);
        Some(names)
    }

    /// Looks whether what was changed is there.
    fn changes(&mut self, kind: &'static str, name: &str, dir: &str) {
        match is_dir(self.store.layout().overlay(dir).join(DIFF)) {
            Ok(true) => {}
            Ok(false) => self.found(kind, &name, "its changes are missing"),
            Err(e) => self.found(kind, &name, format!("its changes cannot be looked at: {}", chain(&e))),
        }
    }
}

/// What a container or a snapshot stands on.
struct Stands<'a> {
    kind: &'static str,
    name: &'a str,
    base: Option<&'a str>,
    at_layer: Option<usize>,
}
