//! Loading: an image of an archive becomes layers and a record in the store.
//!
//! Layers that are missing are unpacked two at a time, the largest first, each on its own; what a layer takes from those
//! below (see [`layer::Unpacked::settle`]) is added in the order of the stack. Only when all are whole are they moved
//! into place, the base first: a load that fails leaves the store as it was.

use std::io::{self, ErrorKind};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;

use super::error::{Error, is_there};
use super::layers::Pile;
use super::layout::DIFF;
use super::record::{ImageLayer, ImageRecord, LayerRecord};
use super::{Change, Own, now, private_dir, stage};
use crate::archive::blob::Blob;
use crate::archive::{self, Archive, Taken};
use crate::digest::Digest;
use crate::layer::{self, Below, Buffers, Options, Summary, Unpacked};
use crate::sys::CallFailed;
use crate::sys::dir::Dir;
use crate::sys::filesystem::Filesystem;
use crate::sys::lock::Holder;

/// How many layers are unpacked at once: two keep two processors busy, and more do not help (each has threads of its own).
const AT_ONCE: usize = 2;

/// How much larger than its blob a compressed layer often is. Where that much is not free, room is made first.
const INFLATED: u64 = 4;

/// What a load did.
#[derive(Debug)]
pub struct Loaded {
    /// The image.
    pub image: ImageRecord,
    /// How many of its layers were not there before.
    pub new_layers: usize,
    /// What was left out or changed, a sentence each, with the layer's number.
    pub warnings: Vec<String>,
}

/// A layer on its way into the store.
pub(super) struct Staged<'a> {
    /// Its place in the image, counted from 0, the base first.
    at: usize,
    blob: &'a archive::Layer,
    pub(super) chain_id: Digest,
    pub(super) path: PathBuf,
    dir: Dir,
    diff: Dir,
    /// How much more room than there was before the load all its layers take, at least: they may be compressed.
    lacking: u64,
    /// The largest of them, counted from 1: the one to blame where there is no room.
    largest: usize,
}

impl Staged<'_> {
    /// Opens its blob in the archive of an image of `of` layers.
    fn open(&self, archive: &Archive, of: usize, taken: &Taken) -> Result<Blob, Error> {
        let failed = |source| Error::Blob { nr: self.at + 1, of, source };
        archive.open_layer(self.blob, taken).map_err(failed)
    }

    /// Returns what is to be known of it.
    pub(super) fn record(&self, chain: &[Digest], summary: &Summary) -> LayerRecord {
        LayerRecord {
            chain_id: self.chain_id,
            diff_id: self.blob.diff_id,
            parent: self.at.checked_sub(1).map(|below| chain[below]),
            opaque_root: summary.opaque_root,
            size: summary.bytes,
            entries: summary.entries,
            loaded: now(),
        }
    }
}

impl Change<'_> {
    /// Loads one image of an archive, with its names. Layers that are there already are not read.
    pub fn load(
        &self,
        archive: &Archive,
        image: &archive::Image,
        options: &Options,
        waiting: &mut dyn FnMut(&[Holder]),
    ) -> Result<Loaded, Error> {
        let chain = chain_ids(image);
        let _own = self.own_missing(&chain, waiting)?;
        let staged = self.stage_missing(image, &chain, waiting)?;
        let summaries = self.fill(archive, &chain, &staged, options)?;
        let (mut new, mut pile, mut warnings) = (Vec::new(), Pile::default(), Vec::new());
        for (layer, summary) in staged.iter().zip(&summaries) {
            let record = layer.record(&chain, summary);
            self.keep_layer(&layer.path, &record, &mut pile)?;
            new.push(record);
            let place = format!("layer {} of {}", layer.at + 1, chain.len());
            warnings.extend(summary.left_out.sentences().iter().map(|warning| format!("{place}: {warning}")));
        }
        let record = self.describe(image, &chain, &new)?;
        self.put_image(&record, &image.config, &image.names)?;
        Ok(Loaded { image: record, new_layers: staged.len(), warnings })
    }

    /// Takes the lock of the lowest layer that the store lacks; there is none where it has all. One lock is enough: whoever
    /// loads a layer above it lacks it too, or has the lock of one below it, and is putting its layers into place just now.
    /// So a load holds one lock while it waits for none, and whoever waited finds the layers there.
    fn own_missing(
        &self,
        chain: &[Digest],
        waiting: &mut dyn FnMut(&[Holder]),
    ) -> Result<Option<Own>, Error> {
        let lock = |chain_id: &Digest| format!("layer-{}", chain_id.hex());
        loop {
            let Some(lowest) = self.lowest_missing(chain)? else { return Ok(None) };
            let own = self.own(&lock(&chain[lowest]), waiting)?;
            let mut in_hand = None;
            for name in chain[..lowest].iter().map(lock) {
                if in_hand.is_none() && is_there(self.layout().locks().join(&name))? {
                    in_hand = Some(name);
                }
            }
            // In this order: who held a lock below a moment ago has put all its layers into place since.
            if let Some(name) = in_hand {
                drop(own);
                drop(self.own(&name, waiting)?);
            } else if !self.store.has_layer(&chain[lowest])? {
                return Ok(Some(own));
            }
        }
    }

    fn lowest_missing(&self, chain: &[Digest]) -> Result<Option<usize>, Error> {
        for (at, chain_id) in chain.iter().enumerate() {
            if !self.store.has_layer(chain_id)? {
                return Ok(Some(at));
            }
        }
        Ok(None)
    }

    /// Makes a place for each layer that the store lacks.
    fn stage_missing<'a>(
        &self,
        image: &'a archive::Image,
        chain: &[Digest],
        waiting: &mut dyn FnMut(&[Holder]),
    ) -> Result<Vec<Staged<'a>>, Error> {
        let mut staged = Vec::new();
        for (at, (blob, chain_id)) in image.layers.iter().zip(chain).enumerate() {
            if self.store.has_layer(chain_id)? {
                // It may be lost, and this costs little.
                self.name_layer(&chain_id.hex())?;
                continue;
            }
            staged.push(self.stage_layer(at, blob, *chain_id)?);
        }
        if let Some(layer) = staged.first() {
            let needed: u64 = staged.iter().map(|layer| layer.blob.size).sum();
            if Filesystem::of(&layer.diff)?.free < needed.saturating_mul(INFLATED) {
                // What cannot be deleted now may still leave room enough.
                let _ = stage::sweep_now(self.layout(), waiting, &mut |_| {});
            }
            let free = Filesystem::of(&layer.diff)?.free;
            let largest = staged.iter().max_by_key(|layer| layer.blob.size).map_or(0, |layer| layer.at + 1);
            for layer in &mut staged {
                (layer.lacking, layer.largest) = (needed.saturating_sub(free), largest);
            }
        }
        Ok(staged)
    }

    /// Makes a place for one layer.
    pub(super) fn stage_layer<'a>(
        &self,
        at: usize,
        blob: &'a archive::Layer,
        chain_id: Digest,
    ) -> Result<Staged<'a>, Error> {
        let path = self.stage.fresh();
        private_dir(&path)?;
        let dir = Dir::open(&path)?;
        dir.mkdir(DIFF.as_bytes(), 0o700)?;
        let diff = dir.open_dir(DIFF.as_bytes())?;
        Ok(Staged { at, blob, chain_id, path, dir, diff, lacking: 0, largest: at + 1 })
    }

    /// Unpacks the staged layers side by side, and settles each as soon as all below it are.
    pub(super) fn fill(
        &self,
        archive: &Archive,
        chain: &[Digest],
        staged: &[Staged<'_>],
        options: &Options,
    ) -> Result<Vec<Summary>, Error> {
        let mut largest_first: Vec<usize> = (0..staged.len()).collect();
        largest_first.sort_by_key(|&i| std::cmp::Reverse(staged[i].blob.size));
        let next = AtomicUsize::new(0);
        let taken = Taken::default();
        let (send, receive) = mpsc::channel();
        thread::scope(|scope| {
            for _ in 0..AT_ONCE.min(staged.len()) {
                let (send, next, largest_first, taken) = (send.clone(), &next, &largest_first, &taken);
                let worker = thread::Builder::new().name("layer".to_owned());
                let started = worker.spawn_scoped(scope, move || {
                    let mut buffers = Buffers::default();
                    while let Some(&i) = largest_first.get(next.fetch_add(1, Ordering::Relaxed)) {
                        let blob = staged[i].open(archive, chain.len(), taken);
                        let unpacked = blob.and_then(|blob| {
                            self.unpack(blob, &staged[i], chain.len(), options, &mut buffers)
                        });
                        if unpacked.is_err() {
                            next.store(largest_first.len(), Ordering::Relaxed);
                        }
                        if send.send((i, unpacked)).is_err() {
                            return;
                        }
                    }
                });
                if let Err(e) = started {
                    next.store(largest_first.len(), Ordering::Relaxed);
                    return Err(Error::Thread(e));
                }
            }
            drop(send);
            self.settle(chain, staged, &receive)
        })
    }

    fn unpack(
        &self,
        blob: Blob,
        layer: &Staged<'_>,
        of: usize,
        options: &Options,
        buffers: &mut Buffers,
    ) -> Result<Unpacked, Error> {
        layer::unpack(blob, &layer.blob.diff_id, &layer.diff, &layer.dir, options, buffers)
            .map_err(|e| self.layer_failed(e, layer, of))
    }

    /// Settles layers in the order of the stack, as they come in.
    fn settle(
        &self,
        chain: &[Digest],
        staged: &[Staged<'_>],
        unpacked: &mpsc::Receiver<(usize, Result<Unpacked, Error>)>,
    ) -> Result<Vec<Summary>, Error> {
        let mut arrived: Vec<Option<Unpacked>> = staged.iter().map(|_| None).collect();
        let mut summaries = Vec::new();
        let mut below = Below::default();
        let mut at = 0;
        while summaries.len() < staged.len() {
            let layer = &staged[summaries.len()];
            let Some(ready) = arrived[summaries.len()].take() else {
                let (i, result) = unpacked.recv().expect("workers send a result for each layer, or an error");
                arrived[i] = Some(result?);
                continue;
            };
            for there in &chain[at..layer.at] {
                self.lay(&mut below, there)?;
            }
            at = layer.at + 1;
            let summary =
                ready.settle(&layer.diff, &below).map_err(|e| self.layer_failed(e, layer, chain.len()))?;
            below.lay(layer.diff.again()?, summary.opaque_root);
            summaries.push(summary);
        }
        Ok(summaries)
    }

    /// Lays a layer that the store has on top of `below`.
    pub(super) fn lay(&self, below: &mut Below, chain_id: &Digest) -> Result<(), Error> {
        let opaque = self.store.layer(chain_id)?.is_some_and(|layer| layer.opaque_root);
        let diff = self.layout().overlay(&chain_id.hex()).join(DIFF);
        below.lay(Dir::open(&diff)?, opaque);
        Ok(())
    }

    /// Describes an image whose layers are there, `new` of them only now.
    fn describe(
        &self,
        image: &archive::Image,
        chain: &[Digest],
        new: &[LayerRecord],
    ) -> Result<ImageRecord, Error> {
        let mut layers = Vec::new();
        let mut new = new.iter().peekable();
        for (blob, chain_id) in image.layers.iter().zip(chain) {
            let size = match new.next_if(|layer| layer.chain_id == *chain_id) {
                Some(layer) => layer.size,
                None => self.store.layer(chain_id)?.map_or(0, |layer| layer.size),
            };
            layers.push(ImageLayer { chain_id: *chain_id, diff_id: blob.diff_id, size });
        }
        Ok(ImageRecord {
            id: image.id,
            manifest: image.manifest,
            platform: image.platform.to_string(),
            created: created(&image.config),
            layers,
            loaded: now(),
        })
    }

    fn layer_failed(&self, error: layer::Error, layer: &Staged<'_>, of: usize) -> Error {
        let nr = layer.at + 1;
        // A full disk, or an attribute that is too large for its filesystem: the kernel says the same of both.
        let of_attribute = matches!(error, layer::Error::Unheld { .. });
        if !of_attribute && is_storage_full(&error) {
            let root = self.layout().root().to_owned();
            return Error::NoSpaceForLayer { root, nr: layer.largest, of, more: layer.lacking };
        }
        Error::Layer { nr, of, source: error }
    }
}

/// Whether somewhere below `error` a write found no space.
pub(super) fn is_storage_full(error: &layer::Error) -> bool {
    let full = |kind| matches!(kind, ErrorKind::StorageFull | ErrorKind::QuotaExceeded);
    // What is said in full by the error itself is no source of its.
    if let layer::Error::Call(failed) = error {
        return full(failed.kind());
    }
    let mut cause: Option<&dyn std::error::Error> = Some(error);
    while let Some(error) = cause {
        let io = error.downcast_ref::<io::Error>().map(io::Error::kind);
        let call = error.downcast_ref::<CallFailed>().map(CallFailed::kind);
        if io.or(call).is_some_and(full) {
            return true;
        }
        cause = error.source();
    }
    false
}

/// Returns when an image was made, as its config says: any text, or nothing.
fn created(config: &[u8]) -> Option<String> {
    let config: serde_json::Value = serde_json::from_slice(config).ok()?;
    config.get("created")?.as_str().map(str::to_owned)
}

/// Returns the chain ids of an image's layers, the base first.
pub(super) fn chain_ids(image: &archive::Image) -> Vec<Digest> {
    let mut below = None;
    let next = |layer: &archive::Layer| {
        let chain_id = Digest::chain(below.as_ref(), &layer.diff_id);
        below = Some(chain_id);
        chain_id
    };
    image.layers.iter().map(next).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::Errno;

    #[test]
    fn a_full_disk_is_known_wherever_it_was_met() {
        let full = |errno| {
            let failed = || CallFailed::new("write(\"recipe\")", errno);
            let of_entry = layer::Error::Entry { path: b"a".to_vec(), source: failed() };
            [layer::Error::Call(failed()), of_entry].map(|error| is_storage_full(&error))
        };
        assert_eq!(full(Errno::NOSPC), [true, true]);
        assert_eq!(full(Errno::DQUOT), [true, true]);
        assert_eq!(full(Errno::PERM), [false, false]);
    }
}
