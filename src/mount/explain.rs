//! errno and plan become the sentence that the user needs.

use super::error::Error;
use super::plan::Plan;

/// Finds out what the kernel meant.
pub(super) fn explain(error: Error, _plan: &Plan, _said: &[String]) -> Error {
    error
}
