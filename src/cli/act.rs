//! What each verb is to the command line: something that is configured, and run, with the store seen to before and after it.

use super::Context;
use super::config::Config;
use super::fault::Fault;
use super::sweep::Sweeping;
pub(super) use super::sync::Before;

/// A verb with what was typed for it.
pub(super) trait Act {
    /// Puts what is configured below what was typed.
    fn configure(&mut self, _: &Config) {}

    /// What was typed for the name of a container, where a mount point may stand for that.
    fn names(&mut self) -> Vec<&mut String> {
        Vec::new()
    }

    /// What is done to the store before it and after it.
    fn around(&self) -> Around;

    /// Does what was asked for.
    fn run(&self, context: &Context) -> Result<(), Fault>;
}

/// What is done to the store before a verb and after it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Around {
    /// What is done first.
    pub(super) before: Before,
    /// How what the verb left is deleted; `None` where it leaves nothing.
    pub(super) after: Option<Sweeping>,
}

impl Around {
    /// For what changes the store.
    pub(super) const CHANGING: Self = Self { before: Before::Recover, after: Some(Sweeping::Silently) };
    /// For what only reads.
    pub(super) const READING: Self = Self { before: Before::LeaveOut, after: None };
    /// For what does without the store, or is started by a verb that has seen to it.
    pub(super) const NOTHING: Self = Self { before: Before::Nothing, after: None };
}
