//! Layers on their way into the store: where each is made, and of what.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::error::Error;
use super::layout::{DIFF, link_target};
use super::record::LayerRecord;
use super::{Change, now, private_dir, stage};
use crate::archive::{self, Archive, Blob, Taken};
use crate::digest::Digest;
use crate::layer::{self, Summary, Unpacked};
use crate::progress::Counter;
use crate::sys::dir::Dir;
use crate::sys::filesystem::Filesystem;
use crate::sys::lock::Holder;
use crate::sys::trace;

/// How much larger than its blob a compressed layer often is. Where that much is not free, room is made first.
const INFLATED: u64 = 4;

/// A layer on its way into the store.
pub(super) struct Staged<'a> {
    /// Its place in the image, counted from 0, the base first.
    pub(super) at: usize,
    pub(super) blob: &'a archive::Layer,
    pub(super) chain_id: Digest,
    given: Given,
    pub(super) room: Room,
    pub(super) counter: Arc<Counter>,
}

/// What a layer is made of.
#[expect(clippy::large_enum_variant, reason = "each layer has one, and has it until it is made")]
pub(super) enum Given {
    /// A blob of the archive.
    Blob,
    /// Itself: it was unpacked when it came through a pipe.
    Unpacked(Made),
    /// Its tar, made again: what came through a pipe is a layer already, on top of others.
    Tar(File),
}

/// Where a layer is made.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) path: PathBuf,
    pub(super) dir: Dir,
    pub(super) diff: Dir,
}

/// What is to be said where there is no room for an image.
#[derive(Debug, Clone, Copy)]
pub(super) struct Room {
    /// How much more than there was before the load all its layers take, at least: they may be compressed.
    pub(super) lacking: u64,
    /// The largest of them, counted from 1: the one to blame.
    pub(super) largest: usize,
}

/// A layer that is unpacked, and where that was done.
pub(super) struct Made {
    pub(super) place: Place,
    pub(super) unpacked: Unpacked,
}

/// A layer that is whole, but for its place in the store.
pub(super) struct Settled {
    /// Where it is now.
    pub(super) path: PathBuf,
    pub(super) summary: Summary,
    /// Its short name; none where the store has such a layer, which has one.
    pub(super) link: Option<String>,
}

impl<'a> Staged<'a> {
    /// The layer `at` of an image, to be made of a blob of the archive.
    pub(super) fn of_blob(at: usize, blob: &'a archive::Layer, chain_id: Digest) -> Self {
        let room = Room { lacking: 0, largest: at + 1 };
        Self { at, blob, chain_id, given: Given::Blob, room, counter: Arc::default() }
    }

    /// Lets its bytes be counted; all of them are where it is unpacked already.
    pub(super) fn count(&mut self, counter: Arc<Counter>) {
        if matches!(self.given, Given::Unpacked(_)) {
            counter.set(u64::MAX);
        }
        self.counter = counter;
    }

    /// Returns the layer and where it is, if it is unpacked already.
    pub(super) fn take_unpacked(&mut self) -> Option<Made> {
        match std::mem::replace(&mut self.given, Given::Blob) {
            Given::Unpacked(made) => Some(made),
            given @ (Given::Blob | Given::Tar(_)) => {
                self.given = given;
                None
            }
        }
    }

    /// Opens its blob in the archive of an image of `of` layers, or the tar that was made again.
    pub(super) fn open(&self, archive: &Archive, of: usize, taken: &Taken) -> Result<Blob, Error> {
        let nr = self.at + 1;
        let blob = match &self.given {
            Given::Tar(tar) => {
                let failed = |e| Error::Layer { nr, of, source: layer::Error::Read(e) };
                tar.try_clone().and_then(Blob::of_file).map_err(failed)?
            }
            Given::Blob | Given::Unpacked(_) => {
                archive.open_layer(self.blob, taken).map_err(|source| Error::Blob { nr, of, source })?
            }
        };
        Ok(blob.counted(Arc::clone(&self.counter)))
    }

    /// Returns how it is called where its image has `of` layers.
    pub(super) fn called(&self, of: usize) -> String {
        called(self.at + 1, of, &self.chain_id)
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

/// Names a layer by its number in its image, and its id.
pub(super) fn called(nr: usize, of: usize, chain_id: &Digest) -> String {
    format!("layer {nr} of {of} ({})", chain_id.short())
}

impl Change<'_> {
    /// Makes a place in which a layer can be unpacked.
    pub(super) fn place(&self) -> Result<Place, Error> {
        let path = self.stage.fresh();
        private_dir(&path)?;
        let dir = Dir::open(&path)?;
        dir.mkdir(DIFF.as_bytes(), 0o700)?;
        let diff = dir.open_dir(DIFF.as_bytes())?;
        Ok(Place { path, dir, diff })
    }

    /// Finds out what each layer that the store lacks will be made of, and whether there is room.
    pub(super) fn stage_missing<'a>(
        &self,
        archive: &Archive,
        image: &'a archive::Image,
        chain: &[Digest],
        waiting: &mut dyn FnMut(&[Holder]),
    ) -> Result<Vec<Staged<'a>>, Error> {
        let mut staged = Vec::new();
        let are_named = self.are_named(chain);
        for (at, (blob, chain_id)) in image.layers.iter().zip(chain).enumerate() {
            if self.store.has_layer(chain_id)? {
                if !are_named {
                    self.name_layer(&chain_id.hex())?;
                }
                trace::done(|| format!("{}: is there already", called(at + 1, chain.len(), chain_id)));
                continue;
            }
            staged.push(self.stage_arrived(archive, at, blob, *chain_id, chain.len())?);
        }
        if !staged.is_empty() {
            let stage = Dir::open(self.stage.path())?;
            let to_come = || staged.iter().filter(|layer| !matches!(layer.given, Given::Unpacked(_)));
            let needed: u64 = to_come().map(|layer| layer.blob.size).sum();
            if Filesystem::of(&stage)?.free < needed.saturating_mul(INFLATED) {
                // What cannot be deleted now may still leave room enough.
                let _ = stage::sweep_now(self.layout(), None, waiting, &Counter::default());
            }
            let free = Filesystem::of(&stage)?.free;
            let largest = to_come().max_by_key(|layer| layer.blob.size).map_or(0, |layer| layer.at + 1);
            let room = Room { lacking: needed.saturating_sub(free), largest };
            staged.iter_mut().for_each(|layer| layer.room = room);
        }
        Ok(staged)
    }

    /// Whether the short names of all these layers lead to them: one may be lost, and this costs little.
    fn are_named(&self, chain: &[Digest]) -> bool {
        let Some(links) = chain.last().and_then(|top| self.store.stack(top).ok()) else { return false };
        let leads = |(link, id): (&String, &Digest)| {
            let target = fs::read_link(self.store.diff_of(link));
            target.is_ok_and(|target| target == Path::new(&link_target(&id.hex())))
        };
        // Of a layer that hides all below it, `lower` does not tell of those.
        links.len() == chain.len() && links.iter().zip(chain.iter().rev()).all(leads)
    }

    /// Finds out what one layer will be made of: it may have been unpacked when it came in.
    fn stage_arrived<'a>(
        &self,
        archive: &Archive,
        at: usize,
        blob: &'a archive::Layer,
        chain_id: Digest,
        of: usize,
    ) -> Result<Staged<'a>, Error> {
        let nr = at + 1;
        let Some(taken) = archive.taken(blob).map_err(|source| Error::Blob { nr, of, source })? else {
            return Ok(Staged::of_blob(at, blob, chain_id));
        };
        let room = Room { lacking: 0, largest: nr };
        match self.given(taken, blob, chain_id)? {
            Ok(given) => Ok(Staged { given, room, ..Staged::of_blob(at, blob, chain_id) }),
            Err(e) => Err(self.layer_failed(e, nr, of, room)),
        }
    }

    /// Counts the bytes of those layers that went by before anybody knew that they are of this image.
    pub(super) fn count_arrived(
        &self,
        archive: &Archive,
        staged: &[Staged<'_>],
        of: usize,
    ) -> Result<Taken, Error> {
        let taken = Taken::default();
        for layer in staged.iter().filter(|layer| !matches!(layer.given, Given::Blob)) {
            let counted = archive.count(layer.blob, &taken);
            counted.map_err(|exceeded| self.layer_failed(exceeded.into(), layer.at + 1, of, layer.room))?;
        }
        Ok(taken)
    }
}
