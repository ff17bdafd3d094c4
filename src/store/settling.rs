//! Layers that were unpacked, in any order, are made whole in the order of the stack.
//!
//! Whoever has unpacked one does that, for all whose turn it is, unless somebody is at it: a thread of its own would have to
//! be woken for each layer.

use std::sync::{Mutex, MutexGuard, PoisonError};

use super::Change;
use super::error::Error;
use super::layers::Pile;
use super::staged::{Made, Settled, Staged};
use crate::digest::Digest;
use crate::layer::Below;
use crate::sys::filesystem::size;
use crate::sys::trace;

/// The layers that a load puts into the store.
pub(super) struct Settling<'a> {
    change: &'a Change<'a>,
    chain: &'a [Digest],
    staged: &'a [Staged<'a>],
    waiting: Mutex<Waiting>,
    /// Locked by who settles.
    stack: Mutex<Stack>,
}

/// What is to be settled.
struct Waiting {
    /// By their place among the staged ones.
    made: Vec<Option<Made>>,
    /// Whether somebody is going to look for the next one.
    is_cared_for: bool,
    /// Why no more are settled.
    failed: Option<Error>,
}

/// What was settled.
#[derive(Default)]
struct Stack {
    settled: Vec<Settled>,
    below: Below,
    pile: Pile,
    /// How many layers of the image `below` has, those included that the store has.
    laid: usize,
}

impl<'a> Settling<'a> {
    /// Takes what is unpacked already.
    pub(super) fn new(
        change: &'a Change<'a>,
        chain: &'a [Digest],
        staged: &'a [Staged<'a>],
        made: Vec<Option<Made>>,
    ) -> Self {
        let waiting = Waiting { made, is_cared_for: false, failed: None };
        Self { change, chain, staged, waiting: Mutex::new(waiting), stack: Mutex::default() }
    }

    /// Takes the layer `nr` of the staged ones, or the reason why there is none. Returns whether more are wanted.
    pub(super) fn add(&self, nr: usize, made: Result<Made, Error>) -> bool {
        match made {
            Ok(made) => self.waiting().made[nr] = Some(made),
            Err(error) => self.waiting().fail(error),
        }
        self.settle();
        self.waiting().failed.is_none()
    }

    /// Returns all of them; after a failure the first reason.
    pub(super) fn finish(self) -> Result<Vec<Settled>, Error> {
        let waiting = self.waiting.into_inner().unwrap_or_else(PoisonError::into_inner);
        let stack = self.stack.into_inner().unwrap_or_else(PoisonError::into_inner);
        waiting.failed.map_or(Ok(stack.settled), Err)
    }

    /// Settles what is there, as far as nothing below it is missing; unless somebody is at it, who will find it.
    pub(super) fn settle(&self) {
        if std::mem::replace(&mut self.waiting().is_cared_for, true) {
            return;
        }
        let mut stack = self.stack.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some(made) = self.next(stack.settled.len()) {
            if let Err(error) = self.lay(&mut stack, made) {
                self.waiting().fail(error);
            }
        }
    }

    /// Takes the layer `nr`. Where it is not there, whoever adds it looks for it.
    fn next(&self, nr: usize) -> Option<Made> {
        let mut waiting = self.waiting();
        let is_wanted = waiting.failed.is_none();
        let next = waiting.made.get_mut(nr).filter(|_| is_wanted).and_then(Option::take);
        waiting.is_cared_for = next.is_some();
        next
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Settles and furnishes the next one.
    fn lay(&self, stack: &mut Stack, Made { place, unpacked }: Made) -> Result<(), Error> {
        let (change, of) = (self.change, self.chain.len());
        let layer = &self.staged[stack.settled.len()];
        for there in &self.chain[stack.laid..layer.at] {
            change.lay(&mut stack.below, there)?;
        }
        stack.laid = layer.at + 1;
        let _about = trace::about(|| layer.called(of));
        let failed = |e| change.layer_failed(e, layer.at + 1, of, layer.room);
        let summary = unpacked.settle(&place.diff, &stack.below).map_err(failed)?;
        trace::done(|| format!("unpacked, {} entries, {}", summary.entries, size(summary.bytes)));
        let link = if change.store.has_layer(&layer.chain_id)? {
            None
        } else {
            let parent = layer.at.checked_sub(1).map(|at| self.chain[at]).filter(|_| !summary.opaque_root);
            let link = change.furnish_layer(&place.path, layer.chain_id, parent, &mut stack.pile);
            Some(link.map_err(|e| change.unless_full(e, of, layer.room))?)
        };
        stack.below.lay(place.diff, summary.opaque_root);
        layer.counter.end();
        stack.settled.push(Settled { path: place.path, summary, link });
        Ok(())
    }
}

impl Waiting {
    /// What failed first is told; the rest may only follow from it.
    fn fail(&mut self, error: Error) {
        self.failed.get_or_insert(error);
    }
}
