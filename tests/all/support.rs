//! What the tests are written with: layers and images as values, a place to mount them, trees as text.

pub(crate) mod image;
pub(crate) mod needs;
pub(crate) mod scene;
pub(crate) mod tarball;
pub(crate) mod tree;

pub(crate) use image::{Image, image};
pub(crate) use scene::Scene;
pub(crate) use tarball::{Layer, layer};
