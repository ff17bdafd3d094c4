//! What the store remembers of layers, images and containers: JSON with a format number.
//!
//! Fields are only ever added. A record of a later format is refused rather than half understood.

mod path;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use path::StoredPath;

use crate::digest::Digest;

/// The latest format that this program writes and reads.
pub const FORMAT: u32 = 2;

/// The format of all records but those of containers that stand on snapshots: who does not know of these would take what was
/// frozen for what may be written.
const FIRST_FORMAT: u32 = 1;

/// A layer in the store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayerRecord {
    /// Names the layer: the digest of its stack.
    pub chain_id: Digest,
    /// The sha256 of its uncompressed tar.
    pub diff_id: Digest,
    /// The chain id of what it was stacked on; none for a base layer.
    pub parent: Option<Digest>,
    /// Whether the layer hides all that lies below: overlayfs cannot say so of a root, so its stack ends here.
    pub opaque_root: bool,
    /// How many bytes its files hold.
    pub size: u64,
    /// How many entries its tar has.
    pub entries: u64,
    /// When it was extracted (RFC 3339).
    pub loaded: String,
}

/// An image in the store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageRecord {
    /// The sha256 of its config.
    pub id: Digest,
    /// The digest of its manifest, where the archive had one.
    pub manifest: Option<Digest>,
    /// `OS/ARCH[/VARIANT]`.
    pub platform: String,
    /// When the image was made, as its config says.
    pub created: Option<String>,
    /// Its layers, the base first.
    pub layers: Vec<ImageLayer>,
    /// When it was loaded (RFC 3339).
    pub loaded: String,
}

/// Adds up sizes; those of damaged records may be more than any number holds.
pub fn total(sizes: impl Iterator<Item = u64>) -> u64 {
    sizes.fold(0, u64::saturating_add)
}

/// A layer of an image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageLayer {
    /// Names the layer in the store.
    pub chain_id: Digest,
    /// The sha256 of its uncompressed tar.
    pub diff_id: Digest,
    /// How many bytes its files hold.
    pub size: u64,
}

impl LayerRecord {
    /// Refuses a record that is not of the layer `chain_id`: a chain id is made of the others, so that no layer can stand on
    /// itself.
    pub(super) fn of(self, chain_id: &Digest) -> Result<Self, Unreadable> {
        let own = Digest::chain(self.parent.as_ref(), &self.diff_id);
        match [own, self.chain_id].into_iter().find(|id| id != chain_id) {
            Some(other) => Err(Unreadable::Another(other)),
            None => Ok(self),
        }
    }
}

impl ImageRecord {
    /// Leaves out the layers above this one; 1 is the base.
    #[must_use]
    pub fn up_to(mut self, at_layer: Option<usize>) -> Self {
        self.layers.truncate(at_layer.unwrap_or(usize::MAX));
        self
    }

    /// Returns how many bytes the files of all layers hold.
    #[must_use]
    pub fn size(&self) -> u64 {
        total(self.layers.iter().map(|layer| layer.size))
    }
}

/// Which name means which image.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Names {
    /// From `name:tag` to the image's id.
    pub names: BTreeMap<String, Digest>,
}

/// A container: a writable layer over an image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerRecord {
    /// What its user calls it.
    pub name: String,
    /// 64 hex digits, random: its directory in `overlay2`, and how mountinfo tells whose a mount is.
    pub id: String,
    /// The image it stands on.
    pub image: Digest,
    /// The uppermost of the image's layers that it stands on; 1 is the base. All of them where nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_layer: Option<usize>,
    /// The name by which that image was asked for.
    pub image_name: Option<String>,
    /// When it was made (RFC 3339).
    pub created: String,
    /// Where its changes go.
    pub upper: Upper,
    /// The `-o` options it was mounted with.
    pub options: Vec<String>,
    /// Where it was mounted last; what is mounted now only the kernel knows.
    pub target: Option<StoredPath>,
    /// Whether it goes away, changes and all, when it is unmounted.
    pub remove: bool,
    /// Whether it is still being made: it was never mounted.
    #[serde(default)]
    pub unfinished: bool,
    /// How often it got a new upper directory: by a snapshot, or when it was reset.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub generation: u64,
    /// The id of the snapshot that it stands on; the image itself where nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base: Option<String>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl ContainerRecord {
    /// Returns the name of its directory in `overlay2`.
    #[must_use]
    pub fn dir(&self) -> String {
        self.dir_of(self.generation)
    }

    /// Returns the name that its directory had, or will have: the id at first, then 64 other hex digits made of it. So a
    /// directory that a killed command left can be told by the record alone.
    #[must_use]
    pub fn dir_of(&self, generation: u64) -> String {
        match generation {
            0 => self.id.clone(),
            nr => Digest::of(format!("{} {nr}", self.id).as_bytes()).hex(),
        }
    }

    /// Whether it is to be there when it is not mounted.
    #[must_use]
    pub fn stays(&self) -> bool {
        !self.unfinished && !self.is_ephemeral()
    }

    /// Whether it is gone when it is unmounted, by whomever: its changes are in memory, or it was asked for so.
    #[must_use]
    pub fn is_ephemeral(&self) -> bool {
        self.remove || matches!(self.upper, Upper::Tmpfs { .. })
    }
}

/// A snapshot: what a container had changed until then, frozen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotRecord {
    /// 64 hex digits: its directory in `overlay2`, which was the container's own until then.
    pub id: String,
    /// The id of the container that it was made of, which may be gone.
    pub container: String,
    /// What it is called in that container; nothing where it was removed, and others stand on it.
    pub name: Option<String>,
    /// The id of the snapshot that it stands on itself.
    pub parent: Option<String>,
    /// The image below.
    pub image: Digest,
    /// The uppermost of the image's layers that are below; all of them where nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_layer: Option<usize>,
    /// The name by which that image was asked for.
    pub image_name: Option<String>,
    /// When it was made (RFC 3339).
    pub created: String,
    /// The `-o` options that what is in it was written with.
    pub options: Vec<String>,
}

impl SnapshotRecord {
    /// Returns what names it among the ids of what is mounted: its own may be the id of its container, too.
    #[must_use]
    pub fn shown_as(&self) -> String {
        format!("snapshot-{}", self.id)
    }

    /// Returns how it is called by a container that has it, or stands on it: `CONTAINER@NAME`.
    #[must_use]
    pub fn name_in(&self, container: &ContainerRecord) -> Option<String> {
        Some(format!("{}@{}", container.name, self.name.as_ref()?))
    }
}

/// Where a container's changes go.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Upper {
    /// Into the store.
    Store,
    /// Into directories of the user's.
    At {
        /// The upper directory.
        upper: StoredPath,
        /// Overlayfs' scratch directory.
        work: StoredPath,
    },
    /// Into memory, until it is unmounted.
    Tmpfs {
        /// The most it may grow to, in bytes.
        size: Option<u64>,
    },
}

/// What a record is wrapped in on disk. Not for reading: `flatten` keeps all of a record as values first, which takes
/// longer than the rest.
#[derive(Serialize)]
struct Formatted<T> {
    format: u32,
    #[serde(flatten)]
    record: T,
}

#[derive(Deserialize)]
struct OnlyFormat {
    format: u32,
}

/// Why a record cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Unreadable {
    /// It is no JSON, or not of this kind.
    #[error(transparent)]
    Damaged(#[from] serde_json::Error),
    /// A later ovlctl wrote it.
    #[error("written in format {0}, and this ovlctl knows format {FORMAT}")]
    Later(u32),
    /// What it says of itself is not so.
    #[error("it is the record of {0}")]
    Another(Digest),
}

/// Returns the bytes of `record`.
pub fn write<T: Serialize>(record: &T) -> Vec<u8> {
    formatted(FIRST_FORMAT, record)
}

/// Returns the bytes of a container's record.
pub fn write_container(container: &ContainerRecord) -> Vec<u8> {
    let is_plain = container.generation == 0 && container.base.is_none();
    formatted(if is_plain { FIRST_FORMAT } else { FORMAT }, container)
}

fn formatted<T: Serialize>(format: u32, record: &T) -> Vec<u8> {
    let mut text = serde_json::to_vec_pretty(&Formatted { format, record })
        .expect("records hold only what JSON can say");
    text.push(b'\n');
    text
}

/// Reads a record.
pub fn read<T: for<'a> Deserialize<'a>>(text: &[u8]) -> Result<T, Unreadable> {
    let OnlyFormat { format } = serde_json::from_slice(text)?;
    if format > FORMAT {
        return Err(Unreadable::Later(format));
    }
    Ok(serde_json::from_slice(text)?)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn a_record_is_read_as_it_was_written() {
        let record = ContainerRecord {
            name: "web".to_owned(),
            id: "0".repeat(64),
            image: Digest::of(b"config"),
            at_layer: Some(2),
            image_name: Some("web:1.4".to_owned()),
            created: "2026-01-02T03:04:05Z".to_owned(),
            upper: Upper::At {
                upper: Path::new("/srv/u").into(),
                work: StoredPath::Bytes(b"/srv/\xff".to_vec()),
            },
            options: vec!["index=on".to_owned()],
            target: None,
            remove: false,
            unfinished: false,
            generation: 0,
            base: None,
        };
        assert_eq!(read::<ContainerRecord>(&write_container(&record)).unwrap(), record);
        assert_eq!(read::<OnlyFormat>(&write_container(&record)).unwrap().format, 1);
        let over = ContainerRecord { generation: 1, base: Some("1".repeat(64)), ..record };
        assert_eq!(read::<ContainerRecord>(&write_container(&over)).unwrap(), over);
        assert_eq!(read::<OnlyFormat>(&write_container(&over)).unwrap().format, 2);
    }

    #[test]
    fn a_container_has_a_directory_of_its_own_in_each_generation() {
        let text = r#"{"format":1,"name":"web","id":"ab","image":"sha256:IMAGE","image_name":null,"created":"",
            "upper":"store","options":[],"target":null,"remove":false}"#;
        let text = text.replace("IMAGE", &"0".repeat(64));
        let record = read::<ContainerRecord>(text.as_bytes()).unwrap();
        assert_eq!(record.dir(), "ab");
        let next = ContainerRecord { generation: 1, ..record.clone() };
        assert_eq!(next.dir(), Digest::of(b"ab 1").hex());
        assert_eq!(next.dir_of(0), record.dir());
    }

    #[test]
    fn a_record_is_of_one_layer_only_and_no_layer_stands_on_itself() {
        let record = |parent, diff_id, chain_id| LayerRecord {
            chain_id,
            diff_id,
            parent,
            opaque_root: false,
            size: 0,
            entries: 0,
            loaded: String::new(),
        };
        let (base, diff_id) = (Digest::of(b"base"), Digest::of(b"diff"));
        let chain_id = Digest::chain(Some(&base), &diff_id);
        assert!(record(None, base, base).of(&base).is_ok());
        assert!(record(Some(base), diff_id, chain_id).of(&chain_id).is_ok());
        for (record, id, other) in [
            (record(None, base, base), diff_id, base),
            (record(Some(base), diff_id, base), chain_id, base),
            (record(Some(chain_id), base, base), base, Digest::chain(Some(&chain_id), &base)),
        ] {
            assert_eq!(record.of(&id).unwrap_err().to_string(), format!("it is the record of {other}"));
        }
    }

    #[test]
    fn sizes_of_damaged_records_are_added_up_to_the_most_there_is() {
        assert_eq!(total([1, 2].into_iter()), 3);
        assert_eq!(total([u64::MAX, 2].into_iter()), u64::MAX);
    }

    #[test]
    fn a_later_format_is_refused_by_its_number() {
        let refused = read::<Names>(br#"{"format": 3, "names": []}"#).unwrap_err();
        assert_eq!(refused.to_string(), "written in format 3, and this ovlctl knows format 2");
    }
}
