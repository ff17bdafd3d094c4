//! Whether the store is what its records say.
//!
//! [`Store::check`] looks at records, links and chains, and reads no layer; [`Change::prove`] makes a layer's tar again, and
//! its inodes too, and compares both. [`Change::repair`] puts right what records alone can tell; for more, an archive must
//! give the layer once more: [`Change::unpack_again`].
//!
//! [`Change::prove`]: super::Change::prove
//! [`Change::repair`]: super::Change::repair
//! [`Change::unpack_again`]: super::Change::unpack_again

mod containers;
mod prove;
mod repair;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use std::fs;
use std::path::{Path, PathBuf};

use serde::{Serialize, Serializer};

use super::Store;
use super::error::{Error, is_dir, is_there};
use super::layers::names_in;
use super::layout::{self, DIFF, LINK, LINKS, LOWER, WORK};
use super::record::{LayerRecord, SnapshotRecord};
use crate::digest::Digest;
use crate::sys::{chain, counted};

/// Something that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What it is about: "layer", "image", "container", "snapshot", "name" or "store".
    pub kind: &'static str,
    /// Which one: an id or a name.
    pub id: String,
    /// Which path in it, from its root; none where the whole is meant.
    #[serde(serialize_with = "text")]
    pub path: Option<Vec<u8>>,
    /// What is wrong, in words.
    pub problem: String,
    /// What would put it right.
    #[serde(skip)]
    pub remedy: Option<Remedy>,
}

/// What puts something right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Remedy {
    /// Records tell what lies beside the `diff` of this layer or container, which stands on these.
    Furnish {
        /// Its directory in `overlay2`.
        id: String,
        /// The short names of what it stands on, uppermost first.
        below: Vec<String>,
    },
    /// This short name is nobody's.
    Unlink(PathBuf),
    /// The directory of a snapshot has its record once more.
    Recall(String),
    /// The layer is to be unpacked again, from an archive that has it.
    Unpack(Digest),
}

fn text<S: Serializer>(path: &Option<Vec<u8>>, to: S) -> Result<S::Ok, S::Error> {
    path.as_ref().map(|path| String::from_utf8_lossy(path)).serialize(to)
}

impl Finding {
    fn new(kind: &'static str, id: &dyn Display, problem: impl Into<String>) -> Self {
        Self { kind, id: id.to_string(), path: None, problem: problem.into(), remedy: None }
    }

    fn with(self, remedy: Remedy) -> Self {
        Self { remedy: Some(remedy), ..self }
    }
}

/// What a check looked at, and what it found.
#[derive(Debug, Default)]
pub struct Report {
    /// How many layers there are.
    pub layers: usize,
    /// How many images.
    pub images: usize,
    /// How many containers.
    pub containers: usize,
    /// How many snapshots.
    pub snapshots: usize,
    /// What is wrong.
    pub findings: Vec<Finding>,
    /// What is not wrong, but good to know, a sentence each.
    pub notes: Vec<String>,
}

impl Store {
    /// Compares records, short names, chains and directories with each other. A command that changes the store meanwhile may
    /// be seen half done: what is found is to be looked for again when nobody else is there.
    pub fn check(&self) -> Result<Report, Error> {
        let mut check = Check {
            store: self,
            report: Report::default(),
            layers: BTreeMap::new(),
            snapshots: BTreeMap::new(),
            known: BTreeSet::new(),
        };
        if !is_there(self.layout().format())? {
            return Ok(check.report);
        }
        check.layers()?;
        let images = check.images()?;
        check.names(&images)?;
        check.snapshots(&images)?;
        check.containers(&images)?;
        check.overlay2()?;
        check.links()?;
        check.unsynced()?;
        Ok(check.report)
    }
}

impl Store {
    /// Returns stacks that together have all layers, each with its base first. What cannot be read is left out: a check tells
    /// of it.
    pub fn stacks(&self) -> Result<Vec<Vec<Digest>>, Error> {
        let mut layers = BTreeMap::new();
        for chain_id in self.layer_ids()? {
            layers.extend(self.layer(&chain_id).ok().flatten().map(|layer| (chain_id, layer)));
        }
        let parents: BTreeSet<Digest> = layers.values().filter_map(|layer| layer.parent).collect();
        let tops = layers.values().filter(|layer| !parents.contains(&layer.chain_id));
        let down = |top| std::iter::successors(Some(top), |layer: &&LayerRecord| layers.get(&layer.parent?));
        let stack = |top| {
            let mut stack: Vec<Digest> = down(top).map(|layer| layer.chain_id).collect();
            stack.reverse();
            stack
        };
        Ok(tops.map(stack).collect())
    }
}

struct Check<'a> {
    store: &'a Store,
    report: Report,
    /// Records and short names, as far as they can be read.
    layers: BTreeMap<Digest, (LayerRecord, Option<String>)>,
    /// The same of snapshots, by their ids.
    snapshots: BTreeMap<String, (SnapshotRecord, Option<String>)>,
    /// The directories in `overlay2` of which there is a record.
    known: BTreeSet<String>,
}

impl Check<'_> {
    fn found(&mut self, kind: &'static str, id: &dyn Display, problem: impl Into<String>) {
        self.report.findings.push(Finding::new(kind, id, problem));
    }

    fn layers(&mut self) -> Result<(), Error> {
        // A record whose directory never came is what a killed load leaves, and the next prune removes.
        for chain_id in self.store.layer_ids()? {
            self.report.layers += 1;
            self.known.insert(chain_id.hex());
            match self.store.layer(&chain_id) {
                Ok(Some(layer)) => {
                    let name = self.store.short_name(&chain_id.hex()).ok();
                    self.layers.insert(chain_id, (layer, name));
                }
                Ok(None) => {}
                Err(e) => self.found("layer", &chain_id, format!("its record cannot be read: {}", chain(&e))),
            }
        }
        let layers: Vec<LayerRecord> = self.layers.values().map(|(layer, _)| layer.clone()).collect();
        layers.iter().for_each(|layer| self.layer(layer));
        Ok(())
    }

    fn layer(&mut self, layer: &LayerRecord) {
        let id = layer.chain_id;
        let below =
            layer.parent.filter(|_| !layer.opaque_root).map_or(Ok(Vec::new()), |below| self.stack(below));
        let below = match below {
            Ok(below) => below,
            Err(missing) => {
                return self.found("layer", &id, format!("layer {missing} below it cannot be had"));
            }
        };
        self.directory("layer", &id, &id.hex(), &below);
        let layout = self.store.layout();
        let parts = [
            (layout.overlay(&id.hex()).join(DIFF), "its tree is missing"),
            (layout.recipe(&id), "its recipe is missing"),
        ];
        for (path, problem) in parts {
            match is_there(path) {
                Ok(true) => {}
                Ok(false) => {
                    self.report.findings.push(Finding::new("layer", &id, problem).with(Remedy::Unpack(id)));
                }
                Err(e) => self.found("layer", &id, format!("cannot be looked at: {}", chain(&e))),
            }
        }
    }

    /// Returns the short names of a stack, uppermost first, as the records of its layers tell; their `lower` files are what is
    /// to be checked. Or the layer of which nothing is known.
    fn stack(&self, top: Digest) -> Result<Vec<String>, Digest> {
        let mut names = Vec::new();
        let mut next = Some(top);
        while let Some(id) = next {
            let (layer, name) = self.layers.get(&id).ok_or(id)?;
            names.push(name.clone().ok_or(id)?);
            next = layer.parent.filter(|_| !layer.opaque_root);
        }
        Ok(names)
    }

    /// Looks at what lies beside a `diff`.
    fn directory(&mut self, kind: &'static str, name: &dyn Display, id: &str, below: &[String]) {
        let dir = self.store.layout().overlay(id);
        let mut problems = Vec::new();
        let lower = fs::read_to_string(dir.join(LOWER)).unwrap_or_default();
        if lower != below.join(":") {
            problems.push(format!("'{LOWER}' does not list the layers that it stands on"));
        }
        let needs_work = kind != "snapshot" && !below.is_empty();
        // One that cannot be seen is none that could be mounted with.
        if needs_work && !is_dir(dir.join(WORK)).unwrap_or(false) {
            problems.push(format!("'{WORK}' is missing"));
        }
        match fs::read_to_string(dir.join(LINK)) {
            Err(_) => problems.push(format!("'{LINK}' is missing")),
            Ok(link) if !leads_to(&self.store.layout().links().join(&link), id) => {
                let link = link.escape_debug();
                problems.push(format!("its short name '{LINKS}/{link}' does not lead to it"));
            }
            Ok(_) => {}
        }
        let remedy = || Remedy::Furnish { id: id.to_owned(), below: below.to_vec() };
        let findings = problems.into_iter().map(|problem| Finding::new(kind, name, problem).with(remedy()));
        self.report.findings.extend(findings);
    }

    fn images(&mut self) -> Result<BTreeMap<Digest, Vec<Digest>>, Error> {
        let mut images = BTreeMap::new();
        for id in self.store.image_ids()? {
            self.report.images += 1;
            let record = match self.store.image_record(&id) {
                Ok(Some(record)) => record,
                Ok(None) => {
                    self.found("image", &id, "its record is missing");
                    continue;
                }
                Err(e) => {
                    self.found("image", &id, format!("its record cannot be read: {}", chain(&e)));
                    continue;
                }
            };
            match self.store.image_config(&id) {
                Ok(config) if Digest::of(&config) == id => {}
                Ok(_) => self.found("image", &id, "its config is not the one that its id names"),
                Err(e) => self.found("image", &id, format!("its config cannot be read: {}", chain(&e))),
            }
            let layers: Vec<Digest> = record.layers.iter().map(|layer| layer.chain_id).collect();
            for (nr, layer) in layers.iter().enumerate() {
                if self.store.has_layer(layer)? {
                    continue;
                }
                let problem = format!("layer {} of {} is missing: {layer}", nr + 1, layers.len());
                self.report.findings.push(Finding::new("image", &id, problem).with(Remedy::Unpack(*layer)));
            }
            images.insert(id, layers);
        }
        Ok(images)
    }

    fn names(&mut self, images: &BTreeMap<Digest, Vec<Digest>>) -> Result<(), Error> {
        match self.store.names() {
            Ok(names) => {
                for (name, id) in names.names.iter().filter(|(_, id)| !images.contains_key(id)) {
                    self.found("name", name, format!("means image {id}, which is not there"));
                }
            }
            Err(e @ Error::Record { .. }) => {
                self.found(
                    "store",
                    &self.store.layout().root().display(),
                    format!("names cannot be read: {}", chain(&e)),
                );
            }
            Err(e) => return Err(e),
        }
        Ok(())
    }

    fn overlay2(&mut self) -> Result<(), Error> {
        for id in names_in(&self.store.layout().overlay2())? {
            if id != LINKS && !self.known.contains(&id) {
                let path = self.store.layout().overlay(&id);
                self.found("store", &path.display(), "belongs to no layer and no container");
            }
        }
        Ok(())
    }

    fn unsynced(&mut self) -> Result<(), Error> {
        let (images, layers) = self.store.unsynced()?;
        if !images.is_empty() || !layers.is_empty() {
            let (images, layers) = (counted(images.len(), "image"), counted(layers.len(), "layer"));
            self.report
                .notes
                .push(format!("{images} and {layers} are not synced: a power cut would lose them"));
        }
        Ok(())
    }

    fn links(&mut self) -> Result<(), Error> {
        let links = self.store.layout().links();
        for link in names_in(&links)? {
            let path = links.join(&link);
            // That of a layer or container that never came is what a killed command leaves, and the next prune removes.
            if !is_there(&path)? && !fs::read_link(&path).is_ok_and(|target| is_to_overlay(&target)) {
                let finding = Finding::new("store", &path.display(), "leads to nothing");
                self.report.findings.push(finding.with(Remedy::Unlink(path)));
            }
        }
        Ok(())
    }
}

/// Whether a short name's target is one that a layer or container may have, there or not.
fn is_to_overlay(target: &Path) -> bool {
    let id = target.to_str().and_then(|target| target.strip_prefix("../")?.strip_suffix("/diff"));
    id.is_some_and(|id| Digest::from_hex(id).is_ok())
}

/// Whether the symbolic link leads to the `diff` of this layer or container.
fn leads_to(link: &Path, id: &str) -> bool {
    fs::read_link(link).is_ok_and(|target| target == Path::new(&layout::link_target(id)))
}
