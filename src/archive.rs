//! Image archives.

pub mod blob;
pub mod decode;
pub mod format;
pub mod name;
pub mod platform;

mod docker;
mod json;
mod oci;

pub use blob::Blob;
