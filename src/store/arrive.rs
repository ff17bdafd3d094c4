//! Layers are unpacked while they come through a pipe, before anybody knows whose they are.
//!
//! What names an image's layers, the manifest and the config, often comes last. To keep the archive until then costs half
//! as much again as to load it. But unpacking needs to know nothing of an image ([`layer::unpack`]), so what looks like a
//! layer is unpacked at once, and told by its digests later:
//!
//! ```text
//!                      blobs/sha256/07de…    blobs/sha256/5e1c…   blobs/sha256/a96b…    index.json
//!   docker save ──────► a tar of 90 MB ─────► a config ──────────► a tar of 40 MB ────► manifest.json     as they go by
//!                            │ lent               │ kept                │ lent               │ kept
//!                            ▼                    ▼                     ▼                    ▼
//!                       arrival 0:            the spool: a file    arrival 1:            the spool
//!                       unpacked in           without a name       unpacked in
//!                       the stage                 │                the stage                 │
//!                            │                    └──────────────────── │ ───────────┬───────┘
//!                            │                                          │            ▼
//!                            │ is layer 1 ◄──────────────────────────── │ ── images and their layers      when all is there
//!                            ▼                                          ▼
//!                       has its diff id and blob's digest?         is of no image that is loaded:
//!                       settled, and renamed into place            goes with the stage
//! ```
//!
//! Two are unpacked at a time: while one is read, what was read of the one before may still be written. Helpers (`crew.rs`)
//! take their share of both.
//!
//! It may be that work is wasted, but not much of it. A member is taken only if it is large, begins as a tar does, has
//! room, and is not called by the digest of a layer that the store has. All others are kept, compressed ones too, and so
//! is the whole archive where the user chooses one of its images. What cannot be unpacked matters only if an image needs
//! it. And what an image needs a second time, on top of other layers, is not there any more: its tar is made again by its
//! recipe.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, BufWriter};
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::{self, Scope};

use super::Change;
use super::error::{Error, file};
use super::layers::tar_of;
use super::layout::DIFF;
use super::load::AT_ONCE;
use super::staged::{Given, Made, Place};
use crate::archive::{self, Archive, Lent, Source, Taker};
use crate::digest::Digest;
use crate::layer::recipe::{DISPLACED, RECIPE};
use crate::layer::{self, Buffers, Crew, Options, Seat, Unnamed};
use crate::limits::{Limit, Limits};
use crate::progress::Progress;
use crate::sys::dir::Dir;
use crate::sys::filesystem::Filesystem;
use crate::sys::trace;

/// So many members are taken at most: two directories of each are held open until it is known what it is for.
const MOST: usize = 128;

/// How many times its size must be free where a member is taken: others may be unpacked beside it, and be in vain.
const ROOM: u64 = 4;

/// The members that were taken, by number.
#[derive(Debug, Default)]
pub(super) struct Arrivals(Mutex<Vec<Arrival>>);

#[derive(Debug)]
enum Arrival {
    /// On its way into its place; or it was to be a layer, and is something else.
    Coming,
    /// There, or the reason why not.
    There(Place, Box<Unnamed>),
    /// Not even begun.
    Failed(layer::Error),
    /// Made a layer: the one of this chain id, or still in its stage.
    Layer { chain_id: Digest, staged: PathBuf },
}

impl Arrivals {
    /// Whether there are as many as are taken, or half as much memory is held for them as one layer may need.
    fn are_full(&self, limits: &Limits) -> bool {
        let arrivals = self.lock();
        let held = arrivals.iter().map(|arrival| match arrival {
            Arrival::There(_, unnamed) => unnamed.held(),
            Arrival::Coming | Arrival::Failed(_) | Arrival::Layer { .. } => 0,
        });
        arrivals.len() >= MOST || held.sum::<u64>() > limits.get(Limit::Memory) / 2
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Arrival>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Change<'_> {
    /// Opens an archive, and unpacks what looks like layers while it comes in, where it cannot be read in place.
    pub fn receive(
        &self,
        source: &Source,
        options: &Options,
        progress: &Progress,
    ) -> Result<Archive, archive::Error> {
        let crew = Crew::default();
        thread::scope(|scope| {
            let (free, buffers) = channel();
            for _ in 0..AT_ONCE {
                let _ = free.send(Buffers::alone(&crew)); // The other end is here.
            }
            let (crew, seat, place, known) = (&crew, None, None, None);
            let mut receiver =
                Receiving { change: self, options, scope, buffers, free, crew, seat, place, known };
            Archive::receive(source, self.stage.path(), &options.limits, progress, &mut receiver)
        })
    }

    /// Gives the member `nr` to the layer `blob` of an image, that is to be the layer `chain_id`.
    pub(super) fn given(
        &self,
        nr: usize,
        blob: &archive::Layer,
        chain_id: Digest,
    ) -> Result<Result<Given, layer::Error>, Error> {
        let mut arrivals = self.arrivals.lock();
        match std::mem::replace(&mut arrivals[nr], Arrival::Coming) {
            Arrival::Coming => Ok(Err(layer::Error::Read(io::Error::other("it was refused before")))),
            Arrival::Failed(error) => Ok(Err(error)),
            Arrival::There(place, unnamed) => {
                Ok(unnamed.named(&blob.diff_id, blob.blob().as_ref()).map(|unpacked| {
                    arrivals[nr] = Arrival::Layer { chain_id, staged: place.path.clone() };
                    Given::Unpacked(Made { place, unpacked })
                }))
            }
            Arrival::Layer { chain_id, staged } => {
                let tar = self.make_again(&chain_id, &staged)?;
                arrivals[nr] = Arrival::Layer { chain_id, staged };
                Ok(tar.map(Given::Tar))
            }
        }
    }

    /// Makes the tar again of a layer that is in place, or will be.
    fn make_again(
        &self,
        chain_id: &Digest,
        staged: &std::path::Path,
    ) -> Result<Result<File, layer::Error>, Error> {
        let tar = Dir::open(self.stage.path())?.create_unnamed()?;
        let mut out = BufWriter::new(tar);
        let made = if self.store.has_layer(chain_id)? {
            self.store.tar(chain_id, &mut out, &mut Err)?
        } else {
            tar_of(&staged.join(RECIPE), &staged.join(DISPLACED), &staged.join(DIFF), &mut out, &mut Err)?
        };
        let tar = out.into_inner().map_err(|e| file(self.stage.path())(e.into_error()))?;
        Ok(made.map(|()| tar).map_err(|fault| layer::Error::Read(io::Error::other(fault))))
    }

    /// Returns the digests by which archives may call the layers of the store's images: their diff ids. What cannot be read
    /// has none: then something is unpacked in vain.
    fn known(&self) -> HashSet<Digest> {
        let ids = self.store.image_ids().unwrap_or_default();
        let images = ids.iter().filter_map(|id| self.store.image_record(id).ok().flatten());
        images.flat_map(|image| image.layers).map(|layer| layer.diff_id).collect()
    }
}

/// Takes members and has them unpacked.
struct Receiving<'scope, 'env> {
    change: &'env Change<'env>,
    options: &'env Options,
    scope: &'scope Scope<'scope, 'env>,
    /// As many as members may be unpacked at once, when none is.
    buffers: Receiver<Buffers>,
    free: Sender<Buffers>,
    crew: &'env Crew,
    /// That of who reads the archive, for whom helpers stay; none as long as nothing was taken.
    seat: Option<Seat>,
    /// Where the member goes that was last said to be wanted.
    place: Option<Place>,
    known: Option<HashSet<Digest>>,
}

impl Receiving<'_, '_> {
    fn is_known(&mut self, name: &[u8]) -> bool {
        let change = self.change;
        promised(name)
            .is_some_and(|digest| self.known.get_or_insert_with(|| change.known()).contains(&digest))
    }

    fn has_room(&self, len: u64) -> bool {
        let filesystem = Dir::open(self.change.stage.path()).and_then(|stage| Filesystem::of(&stage));
        filesystem.is_ok_and(|filesystem| filesystem.free >= len.saturating_mul(ROOM))
    }
}

impl Taker for Receiving<'_, '_> {
    fn wants(&mut self, name: &[u8], len: u64) -> bool {
        if self.change.arrivals.are_full(&self.options.limits) || self.is_known(name) || !self.has_room(len) {
            return false;
        }
        self.place = self.change.place().ok();
        self.place.is_some()
    }

    fn take(&mut self, bytes: Lent) -> usize {
        let place = self.place.take().expect("it was wanted");
        if self.seat.is_none() {
            self.seat = Some(self.crew.seat());
            self.crew.add_helpers(self.scope, 1);
        }
        let seat = self.crew.seat();
        let mut buffers = self.buffers.recv().expect("the other end is here");
        let mut arrivals = self.change.arrivals.lock();
        let nr = arrivals.len();
        arrivals.push(Arrival::Coming);
        let (change, options, free) = (self.change, self.options, self.free.clone());
        let worker = thread::Builder::new().name("layer".to_owned());
        let started = worker.spawn_scoped(self.scope, move || {
            let _about = trace::about(|| format!("layer {} of the pipe", nr + 1));
            let unpacked = layer::unpack_lent(bytes, &place.diff, &place.dir, options, &mut buffers);
            change.arrivals.lock()[nr] = Arrival::There(place, Box::new(unpacked));
            let _ = free.send(buffers); // Nobody waits for them after the last member.
            drop(seat);
        });
        if let Err(e) = started {
            arrivals[nr] = Arrival::Failed(layer::Error::Thread("layer", format!("cannot be started: {e}")));
            let _ = self.free.send(Buffers::alone(self.crew)); // The other end is here.
        }
        nr
    }
}

/// Returns the digest that a member's name may be meant to be: `blobs/sha256/HEX`, `HEX.tar`, `HEX/layer.tar`.
fn promised(name: &[u8]) -> Option<Digest> {
    let name = std::str::from_utf8(name).ok()?;
    let stems = name.split('/').filter_map(|part| part.split('.').next());
    stems.filter_map(|stem| Digest::from_hex(stem).ok()).next_back()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_may_be_a_digest() {
        let hex = "a".repeat(64);
        for name in ["blobs/sha256/$", "./blobs/sha256/$", "$.tar", "$.tar.gz", "$/layer.tar"] {
            let name = name.replace('$', &hex);
            assert_eq!(promised(name.as_bytes()), Digest::from_hex(&hex).ok(), "{name}");
        }
        for name in ["layer.tar", "1/layer.tar", "blobs/sha256/aaaa", "blobs/sha256/\u{fe}", ""] {
            assert_eq!(promised(name.as_bytes()), None, "{name}");
        }
    }
}
