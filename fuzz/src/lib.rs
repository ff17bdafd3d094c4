//! What each fuzz target does with its input; `tests/replay` does the same with inputs that are kept.

#![forbid(unsafe_code)]

mod heap;

pub mod choices;
pub mod jail;
pub mod make;

pub mod tar;
pub mod layer;
pub mod recipe;

pub mod archive;
pub mod decode;

pub mod mountinfo;
pub mod record;
pub mod words;
