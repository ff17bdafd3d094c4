//! What the tests are written with: layers and images as values, a place to mount them, trees as text.

#[cfg(all(target_arch = "x86_64", target_env = "gnu"))]
pub(crate) mod case;
#[cfg(all(target_arch = "x86_64", target_env = "gnu"))]
pub(crate) mod cases;
pub(crate) mod chance;
#[cfg(all(target_arch = "x86_64", target_env = "gnu"))]
pub(crate) mod fingerprint;
pub(crate) mod image;
#[cfg(all(target_arch = "x86_64", target_env = "gnu"))]
pub(crate) mod kinds;
pub(crate) mod needs;
pub(crate) mod outcome;
pub(crate) mod page;
pub(crate) mod scene;
pub(crate) mod screen;
pub(crate) mod tarball;
pub(crate) mod terminal;
#[cfg(all(target_arch = "x86_64", target_env = "gnu"))]
pub(crate) mod tracer;
pub(crate) mod tree;

/// `nobody`, on every Linux.
pub(crate) const NOBODY: u32 = 65534;

pub(crate) use image::{Image, image};
pub(crate) use scene::Scene;
pub(crate) use tarball::{Layer, layer};
