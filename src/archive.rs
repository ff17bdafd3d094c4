//! Image archives: from a file, a directory or standard input to images, their configs and their layers' bytes.
//!
//! What `docker save`, OCI layouts and their many cousins hold, read in place: an archive is indexed by its headers, and a
//! layer is read where it lies. Knows no store and no overlayfs.

pub mod blob;
pub mod decode;
pub mod format;
pub mod name;
pub mod platform;
pub mod write;

mod bound;
mod choose;
mod docker;
mod error;
mod files;
mod images;
mod index;
mod json;
mod oci;
mod source;
mod spool;

#[cfg(test)]
mod tests;

use std::path::Path;

pub use blob::{Blob, decoder};
pub use bound::Taken;
pub use choose::{Choice, ImageRef, Listed};
pub use decode::{Damaged, Decoder};
pub use error::Error;
pub use images::{Image, Layer};
pub use platform::Platform;
pub use source::Source;
pub use spool::{Lent, Taker};

use bound::Bound;
use files::{Bytes, Files};
use spool::Nobody;

use crate::limits::{Exceeded, Limits};
use crate::progress::Progress;

/// An archive that lies open.
#[derive(Debug)]
pub struct Archive {
    files: Files,
    images: Vec<Image>,
    limits: Limits,
}

impl Archive {
    /// Opens an archive and reads which images it holds, but none of their layers.
    ///
    /// What cannot be read in place, because it is compressed as a whole or comes through a pipe, is kept in a file
    /// without a name in the directory `spool`, and `progress` tells of that. What is beyond `limits` is refused, now or when a
    /// layer is read.
    pub fn open(source: &Source, spool: &Path, limits: &Limits, progress: &Progress) -> Result<Self, Error> {
        Self::receive(source, spool, limits, progress, &mut Nobody)
    }

    /// The same, but of what cannot be read in place `taker` gets what it wants while it goes by, and it is not kept.
    pub fn receive(
        source: &Source,
        spool: &Path,
        limits: &Limits,
        progress: &Progress,
        taker: &mut dyn Taker,
    ) -> Result<Self, Error> {
        let files = source.files(spool, limits, progress, taker)?;
        let images = images::images(&files, limits)?;
        Ok(Self { files, images, limits: *limits })
    }

    /// Returns the images in the order in which `@N` counts them: never none.
    #[must_use]
    pub fn images(&self) -> &[Image] {
        &self.images
    }

    /// Returns the one image that `choice` means.
    pub fn choose(&self, choice: &Choice) -> Result<&Image, Error> {
        choose::one(&self.images, choice)
    }

    /// Returns every image that `choice` means; of an image for several platforms, the one for this machine.
    pub fn choose_all(&self, choice: &Choice) -> Result<Vec<&Image>, Error> {
        choose::all(&self.images, choice)
    }

    /// Opens a layer's blob; decompress it with [`decoder`]. All layers of an image are counted in one `taken`.
    pub fn open_layer(&self, layer: &Layer, taken: &Taken) -> Result<Blob, Error> {
        let damaged = |what| Error::Damaged(format!("'{}' {what}", layer.file.escape_debug()));
        let extent = match self.files.find(&layer.file)? {
            Some(Bytes::At(extent)) => extent,
            Some(Bytes::Taken { .. }) => return Err(damaged("was not kept")),
            None => return Err(damaged("is not in the archive")),
        };
        let bound = Bound::of_layer(&self.limits, taken);
        Ok(Blob::new(extent, layer.expected).of_layer(layer.diff_id).bounded(bound))
    }

    /// Counts a layer that somebody took, in the `taken` of its image.
    pub fn count(&self, layer: &Layer, taken: &Taken) -> Result<(), Exceeded> {
        Bound::of_layer(&self.limits, taken).count(layer.size, None)
    }

    /// Returns under which number the taker of [`Archive::receive`] took a layer's blob, if it did.
    pub fn taken(&self, layer: &Layer) -> Result<Option<usize>, Error> {
        match self.files.find(&layer.file)? {
            Some(Bytes::Taken { nr, .. }) => Ok(Some(nr)),
            Some(Bytes::At(_)) | None => Ok(None),
        }
    }
}
