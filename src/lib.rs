//! Mounts image archives as writable root filesystems on overlayfs.
// The order of these lines is the reading order, and the order in which stages may know each other.

pub mod digest;
pub mod sys;
pub mod tarfile;

pub mod archive;
pub mod layer;
pub mod mount;
pub mod store;

pub mod cli;
