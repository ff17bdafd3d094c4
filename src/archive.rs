//! Image archives.

pub mod blob;
pub mod decode;
pub mod format;

pub use blob::Blob;
