//! The sha256 of a layer's bytes: block after block, by whoever has time.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use crate::digest::{Digest, Hasher};

use super::blocks::Block;
use super::crew::Crew;
use super::error::Error;

/// The digest of blocks that go by.
pub(super) struct DiffId {
    crew: Crew,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    queue: Mutex<Queue>,
    /// Locked by who takes blocks from the queue, for their order counts.
    hasher: Mutex<Hasher>,
}

#[derive(Default)]
struct Queue {
    blocks: VecDeque<Arc<Block>>,
    /// Whether somebody is going to take them.
    is_cared_for: bool,
}

impl DiffId {
    /// Begins with none.
    pub(super) fn new(crew: &Crew) -> Self {
        Self { crew: crew.clone(), shared: Arc::default() }
    }

    /// Adds the next one.
    pub(super) fn add(&self, block: &Arc<Block>) {
        let mut queue = self.shared.queue.lock().unwrap_or_else(PoisonError::into_inner);
        queue.blocks.push_back(Arc::clone(block));
        if !std::mem::replace(&mut queue.is_cared_for, true) {
            drop(queue);
            let shared = Arc::clone(&self.shared);
            // The reader waits for blocks that were hashed.
            self.crew.share_first(Box::new(move || drop(shared.hash())));
        }
    }

    /// Returns the digest of all.
    pub(super) fn finish(self) -> Result<Digest, Error> {
        self.shared.hash()?;
        let hasher = self.shared.hasher.lock().map(|mut hasher| std::mem::take(&mut *hasher));
        Ok(hasher.map_err(|_| panicked())?.finish().digest)
    }
}

impl Shared {
    /// Hashes what waits for it.
    fn hash(&self) -> Result<(), Error> {
        let mut hasher = self.hasher.lock().map_err(|_| panicked())?;
        while let Some(block) = self.next() {
            hasher.update(&block);
        }
        Ok(())
    }

    fn next(&self) -> Option<Arc<Block>> {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        let next = queue.blocks.pop_front();
        queue.is_cared_for = next.is_some();
        next
    }
}

fn panicked() -> Error {
    Error::Thread("diff id", "panicked".to_owned())
}
