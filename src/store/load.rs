//! Loading: an image of an archive becomes layers and a record in the store.
//!
//! Layers that are missing are unpacked two at a time, the largest first and then the small ones from the base up, each on
//! its own; who finds none any more helps with the other. Where the largest will keep all waiting in the end, the others give
//! way to it. What a layer takes from those below (see [`layer::Unpacked::settle`]) is added in the order of the stack
//! (`settling.rs`). Only when all are whole are they moved into place, the base first: a load that fails leaves the store as
//! it was.
//!
//! Layers that came through a pipe were unpacked before the image was known; see `arrive.rs`.

use std::io::{self, ErrorKind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use super::error::{Error, is_there};
use super::layout::DIFF;
use super::record::{ImageLayer, ImageRecord, LayerRecord};
use super::settling::Settling;
use super::staged::{Made, Room, Settled, Staged};
use super::{Change, Own, now};
use crate::archive::{self, Archive, Blob};
use crate::digest::Digest;
use crate::layer::{self, Below, Buffers, Crew, Options};
use crate::progress::Progress;
use crate::sys;
use crate::sys::CallFailed;
use crate::sys::dir::Dir;
use crate::sys::lock::Holder;
use crate::sys::trace;

/// How many layers are unpacked at once: two keep two processors busy, and more do not help. Who finds none to unpack helps.
pub(super) const AT_ONCE: usize = 2;

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

impl Change<'_> {
    /// Loads one image of an archive, with its names. Layers that are there already are not read. Where `progress` is
    /// cancelled the load fails, and leaves the store as it was.
    pub fn load(
        &self,
        archive: &Archive,
        image: &archive::Image,
        options: &Options,
        progress: &Progress,
        waiting: &mut dyn FnMut(&[Holder]),
    ) -> Result<Loaded, Error> {
        let chain = chain_ids(image);
        let _own = self.own_missing(&chain, waiting)?;
        let mut staged = self.stage_missing(archive, image, &chain, waiting)?;
        let layers = image.layers.iter().enumerate().map(|(at, layer)| {
            let there = staged.iter().all(|staged| staged.at != at);
            (layer.diff_id, layer.size, there)
        });
        let counters = progress.layers(&layers.collect::<Vec<_>>());
        staged.iter_mut().for_each(|layer| layer.count(Arc::clone(&counters[layer.at])));
        let settled = self.fill(archive, &chain, &mut staged, options)?;
        let (mut new, mut warnings) = (Vec::new(), Vec::new());
        for (layer, Settled { path, summary, link }) in staged.iter().zip(&settled) {
            let record = layer.record(&chain, summary);
            let _about = trace::about(|| layer.called(chain.len()));
            if let Some(link) = link {
                self.keep_layer(path, link, &record)?;
            }
            new.push(record);
            let place = format!("layer {} of {}", layer.at + 1, chain.len());
            warnings.extend(summary.left_out.sentences().iter().map(|warning| format!("{place}: {warning}")));
        }
        let known = if new.is_empty() { self.described(image, &chain) } else { None };
        let record = known.map_or_else(|| self.describe(image, &chain, &new), Ok)?;
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

    /// Unpacks the staged layers side by side, and settles each as soon as all below it are (`settling.rs`).
    pub(super) fn fill(
        &self,
        archive: &Archive,
        chain: &[Digest],
        staged: &mut [Staged<'_>],
        options: &Options,
    ) -> Result<Vec<Settled>, Error> {
        let taken = self.count_arrived(archive, staged, chain.len())?;
        let arrived: Vec<_> = staged.iter_mut().map(Staged::take_unpacked).collect();
        let staged = &*staged;
        let queue = Queue::of(staged, &arrived);
        let settling = Settling::new(self, chain, staged, arrived);
        let crew = Crew::default();
        thread::scope(|scope| {
            // For one layer too: who finds none helps.
            let workers = if queue.order.is_empty() { 0 } else { AT_ONCE };
            for seat in (0..workers).map(|_| crew.seat()).collect::<Vec<_>>() {
                let (queue, settling, taken, crew) = (&queue, &settling, &taken, &crew);
                let worker = thread::Builder::new().name("layer".to_owned());
                let started = worker.spawn_scoped(scope, move || {
                    let mut buffers = queue.buffers(crew);
                    let mut has_given_way = false;
                    while let Some(i) = queue.take() {
                        if queue.gives_way(i) && !std::mem::replace(&mut has_given_way, true) {
                            sys::give_way();
                        }
                        let _about = trace::about(|| staged[i].called(chain.len()));
                        let blob = staged[i].open(archive, chain.len(), taken);
                        let unpacked = blob.and_then(|blob| {
                            self.unpack(blob, &staged[i], chain.len(), options, &mut buffers)
                        });
                        if !settling.add(i, unpacked) {
                            queue.stop();
                        }
                    }
                    drop((seat, buffers));
                    crew.help();
                });
                if let Err(e) = started {
                    queue.stop();
                    return Err(Error::Thread(e));
                }
            }
            if workers > 0 {
                crew.add_helpers(scope, workers);
            }
            settling.settle(); // What came through a pipe.
            Ok(())
        })?;
        settling.finish()
    }

    /// Makes a place for a layer, and unpacks it there.
    fn unpack(
        &self,
        blob: Blob,
        layer: &Staged<'_>,
        of: usize,
        options: &Options,
        buffers: &mut Buffers,
    ) -> Result<Made, Error> {
        let place = self.place().map_err(|e| self.unless_full(e, of, layer.room))?;
        let unpacked = layer::unpack(blob, &layer.blob.diff_id, &place.diff, &place.dir, options, buffers)
            .map_err(|e| self.layer_failed(e, layer.at + 1, of, layer.room))?;
        Ok(Made { place, unpacked })
    }

    /// Lays a layer that the store has on top of `below`.
    pub(super) fn lay(&self, below: &mut Below, chain_id: &Digest) -> Result<(), Error> {
        let opaque = self.store.layer(chain_id)?.is_some_and(|layer| layer.opaque_root);
        let diff = self.layout().overlay(&chain_id.hex()).join(DIFF);
        below.lay(Dir::open(&diff)?, opaque);
        Ok(())
    }

    /// Returns the record of an image that is there with these layers: theirs need not be read then.
    fn described(&self, image: &archive::Image, chain: &[Digest]) -> Option<ImageRecord> {
        // One that cannot be read stays as it is, and is for others to complain of.
        let record = self.store.image_record(&image.id).ok()??;
        record.layers.iter().map(|layer| &layer.chain_id).eq(chain).then_some(record)
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

    pub(super) fn layer_failed(&self, error: layer::Error, nr: usize, of: usize, room: Room) -> Error {
        // A full disk, or an attribute that is too large for its filesystem: the kernel says the same of both.
        let of_attribute = matches!(error, layer::Error::Unheld { .. });
        if !of_attribute && is_storage_full(&error) {
            return self.no_space(of, room);
        }
        Error::Layer { nr, of, source: error }
    }

    /// What is said of a layer's place that cannot be made: a full disk is full for all layers, whichever meets it first.
    pub(super) fn unless_full(&self, error: Error, of: usize, room: Room) -> Error {
        if error.is_full() { self.no_space(of, room) } else { error }
    }

    fn no_space(&self, of: usize, room: Room) -> Error {
        let root = self.layout().root().to_owned();
        Error::NoSpaceForLayer { root, nr: room.largest, of, more: room.lacking }
    }
}

/// The layers that are to be unpacked, for those who do it to take.
struct Queue {
    /// The largest first.
    order: Vec<usize>,
    next: AtomicUsize,
    /// Whether the first is larger than all others together. Then it ends last, and one thread inflates it: what others do
    /// beside it must not keep that thread waiting.
    outweighs: bool,
}

impl Queue {
    fn of(staged: &[Staged<'_>], arrived: &[Option<Made>]) -> Self {
        // Of the small ones the lowest first: they are settled beside the unpacking, and not all at the end.
        let weight = |&i: &usize| Some(staged[i].blob.size).filter(|&size| size > layer::SMALL);
        let mut order: Vec<usize> = (0..staged.len()).filter(|&i| arrived[i].is_none()).collect();
        order.sort_by_key(|i| std::cmp::Reverse(weight(i)));
        let outweighs = outweighs_others(order.iter().map(|&i| staged[i].blob.size));
        Self { order, next: AtomicUsize::new(0), outweighs }
    }

    fn take(&self) -> Option<usize> {
        self.order.get(self.next.fetch_add(1, Ordering::Relaxed)).copied()
    }

    /// Leaves nothing to take.
    fn stop(&self) {
        self.next.store(self.order.len(), Ordering::Relaxed);
    }

    fn gives_way(&self, layer: usize) -> bool {
        self.outweighs && self.order.first() != Some(&layer)
    }

    fn buffers(&self, crew: &Crew) -> Buffers {
        if self.order.len() == 1 { Buffers::alone(crew) } else { Buffers::beside_others(crew) }
    }
}

fn outweighs_others(mut sizes: impl Iterator<Item = u64>) -> bool {
    sizes.next() > Some(sizes.fold(0, u64::saturating_add))
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
    fn one_layer_outweighs_the_others_or_none_does() {
        for (sizes, outweighs) in [
            (&[3, 1, 1][..], true),
            (&[2, 1, 1], false),
            (&[1], true),
            (&[], false),
            (&[1, u64::MAX, 1], false),
        ] {
            assert_eq!(outweighs_others(sizes.iter().copied()), outweighs, "{sizes:?}");
        }
    }

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
