//! Contents that a new layer shares with the files that it is made of, where the filesystem can (FICLONE).
//!
//! Whoever packs a file shares its contents with one of its own first, packs those, and offers that file next to the tar:
//! what is hashed is what is in it, whatever becomes of the other one meanwhile. An offer comes before the bytes that it
//! stands for, and offers come in the order of the tar.

use std::fs::File;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};

use crate::sys::CallFailed;
use crate::sys::copy::{Shared, share};
use crate::sys::dir::Dir;
use crate::sys::tree;

use super::fresh_root;
use super::meta::{Meta, Stamp};

/// The directory beside the layer in which files wait for their places.
const WAITING: &[u8] = b"shared";

/// Smaller files cost less to copy: sharing waits for what of them is not on the disk yet.
const SMALLEST: u64 = 16 << 10;

/// A file whose contents are those of an entry.
#[derive(Debug)]
pub(super) struct Offer {
    path: Vec<u8>,
    waiting: Arc<Dir>,
    name: Vec<u8>,
    /// How many bytes it has.
    pub(super) size: u64,
}

impl Offer {
    /// Moves the file to where it belongs, and returns it.
    pub(super) fn move_to(&self, dir: &Dir, name: &[u8]) -> Result<File, CallFailed> {
        self.waiting.rename(&self.name, dir, name)?;
        dir.open_file(name)
    }
}

/// What is offered, as it comes.
#[derive(Debug)]
pub(super) struct Offered {
    offers: Receiver<Offer>,
    next: Option<Offer>,
}

impl Offered {
    /// Returns what is offered for the entry `path`.
    pub(super) fn take(&mut self, path: &[u8]) -> Option<Offer> {
        self.next = self.next.take().or_else(|| self.offers.try_recv().ok());
        self.next.take_if(|offer| offer.path == path)
    }
}

/// Shares the contents of files, as long as the filesystem can.
#[derive(Debug)]
pub(super) struct Sharer {
    waiting: Arc<Dir>,
    offers: Sender<Offer>,
    count: u64,
    able: bool,
}

impl Sharer {
    /// Returns one whose files lie in the directory `beside`, and what it will offer.
    pub(super) fn new(beside: &Dir) -> Result<(Self, Offered), CallFailed> {
        beside.mkdir(WAITING, 0o700)?;
        let waiting = Arc::new(beside.open_dir(WAITING)?);
        fresh_root(&waiting)?;
        let (send, receive) = channel();
        let sharer = Self { waiting, offers: send, count: 0, able: true };
        Ok((sharer, Offered { offers: receive, next: None }))
    }

    /// Offers the contents of `file`, `size` bytes, for the entry `path`, which will have `meta`. Returns the file that has
    /// them too, with its size; `None` where they are to be copied.
    pub(super) fn offer(
        &mut self,
        path: &[u8],
        file: &File,
        size: u64,
        meta: &Meta,
    ) -> Result<Option<(File, u64)>, CallFailed> {
        if !self.able || size < SMALLEST {
            return Ok(None);
        }
        self.count += 1;
        let name = self.count.to_string().into_bytes();
        let made = self.waiting.create(&name, Stamp::mode_at_birth(meta))?;
        let shared = share(file, &made)?;
        if shared != Shared::Whole {
            self.able = shared != Shared::Never;
            self.waiting.unlink(&name)?;
            return Ok(None);
        }
        let size = made.metadata().map_err(|e| CallFailed::of_io("fstat", &e))?.len();
        let copy = self.waiting.open_file(&name)?;
        let offer = Offer { path: path.to_owned(), waiting: Arc::clone(&self.waiting), name, size };
        // Nobody takes it where the layer has failed already, and then nobody needs it.
        let _ = self.offers.send(offer);
        Ok(Some((copy, size)))
    }
}

/// Takes away what [`Sharer::new`] made.
pub(super) fn clear(beside: &Dir) -> Result<(), CallFailed> {
    tree::remove(beside, WAITING)
}
