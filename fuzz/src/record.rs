//! `store::record`, and a store whose records say anything: what is listed, counted and checked is told or refused.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::fs;
use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;

use ovlctl::digest::Digest;
use ovlctl::store::Store;
use ovlctl::store::error::Error;
use ovlctl::store::prune::Wanted;
use ovlctl::store::record::{self, ContainerRecord, ImageRecord, LayerRecord, Names, Upper};
use ovlctl::store::usage::Count;
use ovlctl::sys::chain;

use crate::jail::{self, HERE};

/// Takes which record it is, and its text. `$0` to `$9` in it stand for digests.
pub fn run(data: &[u8]) {
    let (kind, text) = data.split_first().unwrap_or((&b'i', b""));
    let text = filled_in(text);
    match kind {
        b'l' => read::<LayerRecord>(&text, |_| ()),
        b'i' => read::<ImageRecord>(&text, |image| {
            assert!(image.size() > 0 || image.layers.iter().all(|layer| layer.size == 0));
        }),
        b'n' => read::<Names>(&text, |_| ()),
        b'c' => read::<ContainerRecord>(&text, container),
        // All records of a store, one after the other.
        _ => jail::run(|| store(&text)),
    }
}

/// The layer `$1` stands on the layer `$0`, and has the same diff id.
fn digest(digit: u8) -> Digest {
    let base = Digest::of(b"0");
    if digit == b'1' { Digest::chain(Some(&base), &base) } else { Digest::of(&[digit]) }
}

fn filled_in(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = text;
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        match (byte, after.first()) {
            (b'$', Some(digit @ b'0'..=b'9')) => {
                out.extend(digest(*digit).to_string().into_bytes());
                rest = &after[1..];
            }
            _ => out.push(byte),
        }
    }
    out
}

fn read<T: Serialize + DeserializeOwned + PartialEq + Debug>(text: &[u8], with: impl Fn(&T)) {
    match record::read::<T>(text) {
        Ok(found) => {
            with(&found);
            let again = record::read::<T>(&record::write(&found)).map_err(|e| e.to_string());
            assert_eq!(again.as_ref(), Ok(&found), "written, it is another");
        }
        Err(error) => is_plain(&error.to_string()),
    }
}

fn container(container: &ContainerRecord) {
    let _ = (container.stays(), container.is_ephemeral());
    let target = container.target.as_ref().map(|target| target.path());
    if let (Upper::At { upper, work }, Some(target)) = (&container.upper, &target) {
        for path in [&upper.path(), &work.path(), target] {
            assert_eq!(record::StoredPath::from(path.as_path()).path(), *path);
        }
    }
}

/// Puts up to four records into a store, where `names.json` and files that are called by `$N` would be, and has it tell
/// all that it can.
fn store(text: &[u8]) {
    let root = Path::new(HERE).join("store");
    for dir in ["overlay2/l", "layers", "images", "containers", "staging", "locks", "recipes"] {
        fs::create_dir_all(root.join(dir)).expect("a directory");
    }
    fs::write(root.join("store.json"), "{\"format\": 1}").expect("a file");
    let mut texts = text.split(|byte| *byte == 0);
    let mut next = || texts.next().unwrap_or_default();
    let (layers, images): (Vec<_>, Vec<_>) =
        ((b'0'..b'2').map(digest).collect(), (b'2'..b'4').map(digest).collect());
    for layer in &layers {
        let dir = root.join("overlay2").join(layer.hex());
        fs::create_dir_all(dir.join("diff")).expect("a directory");
        for (file, text) in [
            (root.join("layers").join(layer.hex() + ".json"), next()),
            (dir.join("link"), next()),
            (dir.join("lower"), next()),
        ] {
            fs::write(file, text).expect("a file");
        }
    }
    for image in &images {
        fs::create_dir(root.join("images").join(image.hex())).expect("a directory");
        fs::write(root.join("images").join(image.hex()).join("image.json"), next()).expect("a file");
    }
    fs::write(root.join("containers/web.json"), next()).expect("a file");
    fs::write(root.join("names.json"), next()).expect("a file");
    // Of both the store is sound without, and that is what most records are to be read in.
    for name in ["boot", "store.json"] {
        let text = next();
        if !text.is_empty() {
            fs::write(root.join(name), text).expect("a file");
        }
    }

    let Some(store) = told(Store::open(&root)) else { return };
    let none = BTreeSet::new();
    told(store.usage(&none, Count::Records));
    told(store.garbage(&none, &Wanted::default()).map(|garbage| garbage.size()));
    if let Some(report) = told(store.check()) {
        report.findings.iter().for_each(|finding| is_plain(&finding.problem));
    }
    told(store.stacks());
    for image in told(store.images()).unwrap_or_default() {
        told(store.image(&image.record.id.to_string()));
        let _ = image.record.size();
    }
    for container in told(store.containers()).unwrap_or_default() {
        let _ = store.upper_and_work(&container);
    }
    for layer in &layers {
        told(store.stack(layer));
    }
}

fn told<T>(outcome: Result<T, Error>) -> Option<T> {
    outcome.map_err(|error| is_plain(&chain(&error))).ok()
}

#[track_caller]
fn is_plain(text: &str) {
    assert!(!text.chars().any(char::is_control), "it would reach a terminal: {text:?}");
}
