//! An image's config, changed: what is not meant stays as it is, byte for byte and in its order, whatever it is.

mod instruction;
mod words;

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{Deserializer, MapAccess, Visitor};
use serde::ser::{SerializeMap, Serializer};
use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};

use crate::digest::Digest;

pub use instruction::{BadInstruction, Instruction};

/// A JSON object whose fields keep their order and their bytes.
#[derive(Debug, Clone, Default)]
struct Object(Vec<(String, Box<RawValue>)>);

/// A step as an image's history tells of it. As the containers' engines write it, and in their order.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Entry {
    /// When (RFC 3339).
    pub created: String,
    /// By whom.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub author: Option<String>,
    /// The instruction.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created_by: Option<String>,
    /// What its maker says of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
    /// Whether it left no layer.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub empty_layer: bool,
}

/// An image's config.
#[derive(Debug, Clone)]
pub struct Config {
    all: Object,
    history: Vec<Box<RawValue>>,
    diff_ids: Vec<Digest>,
}

impl Config {
    /// Reads a config, whose layers are `diff_ids`: those of the image, or the lowest of them. Of the history it then keeps
    /// what comes before the next layer's step, those steps left out that left no layer and follow the last one.
    pub fn read(text: &[u8], diff_ids: &[Digest]) -> Result<Self, serde_json::Error> {
        let all: Object = serde_json::from_slice(text)?;
        let mut history: Vec<Box<RawValue>> = all.list("history");
        let layers = all.rootfs().diff_ids();
        if layers > diff_ids.len() {
            history.truncate(steps_of(&history, diff_ids.len()));
        }
        // Who tells of one layer only would tell it of the base.
        let untold = diff_ids.len().saturating_sub(layers_of(&history).count());
        history.extend((0..untold).map(|_| raw(&Object::default())));
        Ok(Self { all, history, diff_ids: diff_ids.to_owned() })
    }

    /// Returns the command that is run where nothing else is said, its words separated by spaces: what the engines write
    /// down as the instruction of a commit.
    #[must_use]
    pub fn command(&self) -> Option<String> {
        let command: Vec<String> = self.all.object("config").value("Cmd").unwrap_or_default();
        Some(command.join(" ")).filter(|command| !command.is_empty())
    }

    /// Carries out instructions of a Dockerfile that change nothing but the config.
    pub fn change(&mut self, instructions: &[Instruction]) -> Result<(), BadInstruction> {
        if instructions.is_empty() {
            return Ok(());
        }
        let mut config = self.all.object("config");
        let mut run = instruction::Run::new(&mut config);
        instructions.iter().try_for_each(|instruction| run.carry_out(instruction))?;
        self.all.set("config", &config);
        Ok(())
    }

    /// Names who made it.
    pub fn author(&mut self, author: &str) {
        self.all.set("author", &author);
    }

    /// Adds a layer on top.
    pub fn layer(&mut self, diff_id: Digest) {
        self.diff_ids.push(diff_id);
    }

    /// Adds a step to the history; the image was made then.
    pub fn step(&mut self, entry: &Entry) {
        self.history.push(raw(entry));
        self.all.set("created", &entry.created);
    }

    /// Puts one layer, `merged`, in the stead of all from layer `from` on (1 is the base). Their steps stay, but have left no
    /// layer.
    pub fn merge(&mut self, from: usize, merged: Digest) {
        let kept = if from == 1 { 0 } else { steps_of(&self.history, from - 1) };
        for step in &mut self.history[kept..] {
            let mut told: Object = serde_json::from_str(step.get()).unwrap_or_default();
            told.set("empty_layer", &true);
            *step = raw(&told);
        }
        self.diff_ids.truncate(from - 1);
        self.diff_ids.push(merged);
    }

    /// Returns its bytes, whose sha256 is the image's id.
    #[must_use]
    pub fn write(mut self) -> Vec<u8> {
        let mut rootfs = self.all.rootfs();
        rootfs.set("type", &"layers");
        rootfs.set("diff_ids", &self.diff_ids);
        self.all.set("rootfs", &rootfs);
        self.all.set("history", &self.history);
        serde_json::to_vec(&self.all).expect("it holds only what JSON can say")
    }
}

/// Returns how many of these steps there are up to the one that left the layer `nr` (1 is the base).
fn steps_of(history: &[Box<RawValue>], nr: usize) -> usize {
    layers_of(history).take(nr).last().map_or(0, |at| at + 1)
}

/// Returns which of these steps left a layer.
fn layers_of(history: &[Box<RawValue>]) -> impl Iterator<Item = usize> {
    let leaves_layer = |step: &RawValue| {
        let step: Object = serde_json::from_str(step.get()).unwrap_or_default();
        !step.value::<bool>("empty_layer").unwrap_or_default()
    };
    history.iter().enumerate().filter(move |(_, step)| leaves_layer(step)).map(|(at, _)| at)
}

fn raw<T: Serialize>(value: &T) -> Box<RawValue> {
    to_raw_value(value).expect("it holds only what JSON can say")
}

impl Object {
    /// Go, which most configs are read by, takes keys without regard to case.
    fn at(&self, key: &str) -> Option<usize> {
        let exactly = self.0.iter().position(|(name, _)| name == key);
        exactly.or_else(|| self.0.iter().position(|(name, _)| name.eq_ignore_ascii_case(key)))
    }

    /// Returns a field's value; `None` where it is not there, or of another kind.
    fn value<'a, T: Deserialize<'a>>(&'a self, key: &str) -> Option<T> {
        serde_json::from_str(self.0[self.at(key)?].1.get()).ok()
    }

    fn object(&self, key: &str) -> Self {
        self.value(key).unwrap_or_default()
    }

    fn list<T: for<'a> Deserialize<'a>>(&self, key: &str) -> Vec<T> {
        self.value(key).unwrap_or_default()
    }

    fn map(&self, key: &str) -> BTreeMap<String, Box<RawValue>> {
        self.value(key).unwrap_or_default()
    }

    /// Puts a value in the place of the one that is there, or at the end.
    fn set<T: Serialize + ?Sized>(&mut self, key: &str, value: &T) {
        let value = raw(&value);
        match self.at(key) {
            Some(at) => self.0[at].1 = value,
            None => self.0.push((key.to_owned(), value)),
        }
    }

    fn remove(&mut self, key: &str) {
        if let Some(at) = self.at(key) {
            self.0.remove(at);
        }
    }

    fn rootfs(&self) -> Self {
        self.object("rootfs")
    }

    fn diff_ids(&self) -> usize {
        self.list::<Box<RawValue>>("diff_ids").len()
    }
}

impl<'de> Deserialize<'de> for Object {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Fields;

        impl<'de> Visitor<'de> for Fields {
            type Value = Object;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Object, A::Error> {
                let mut fields = Vec::new();
                while let Some(field) = map.next_entry()? {
                    fields.push(field);
                }
                Ok(Object(fields))
            }
        }

        from.deserialize_map(Fields)
    }
}

impl Serialize for Object {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let mut map = to.serialize_map(Some(self.0.len()))?;
        for (key, value) in &self.0 {
            map.serialize_entry(key, value)?;
        }
        map.end()
    }
}

#[cfg(test)]
mod tests;
