//! How much may come out of a decoder: a few bytes of an archive can become as many as a disk has.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::limits::{Exceeded, Limit, Limits};

/// Counts what comes out of one decoder, and of others for the same image.
#[derive(Debug, Clone)]
pub(super) struct Bound {
    limits: Limits,
    /// What bounds this one.
    own: Limit,
    grown: u64,
    image: Option<Taken>,
}

/// How many bytes the layers of an image have had so far.
#[derive(Debug, Clone, Default)]
pub struct Taken(Arc<AtomicU64>);

impl Bound {
    /// Nothing is bounded.
    pub(super) fn none() -> Self {
        Self { limits: Limits::NONE, own: Limit::LayerBytes, grown: 0, image: None }
    }

    /// Bounds an archive that has to be kept.
    pub(super) fn of_archive(limits: &Limits) -> Self {
        Self { limits: *limits, own: Limit::ArchiveBytes, grown: 0, image: None }
    }

    /// Bounds a layer of an image that has had `image` so far.
    pub(super) fn of_layer(limits: &Limits, image: &Taken) -> Self {
        Self { limits: *limits, own: Limit::LayerBytes, grown: 0, image: Some(image.clone()) }
    }

    /// Counts `bytes` more. Where they come from a compressed blob, it has `compressed` bytes.
    pub(super) fn count(&mut self, bytes: u64, compressed: Option<u64>) -> Result<(), Exceeded> {
        self.grown += bytes;
        self.limits.check(self.own, self.grown)?;
        if let Some(Taken(image)) = &self.image {
            let before = image.fetch_add(bytes, Ordering::Relaxed);
            self.limits.check(Limit::ImageBytes, before.saturating_add(bytes))?;
        }
        compressed.map_or(Ok(()), |stored| self.limits.check_ratio(stored, self.grown))
    }
}

impl From<Exceeded> for io::Error {
    fn from(exceeded: Exceeded) -> Self {
        Self::new(io::ErrorKind::InvalidData, exceeded)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_layers_of_an_image_are_counted_together() {
        let limits = Limits::DEFAULT.with(Limit::LayerBytes, 100).with(Limit::ImageBytes, 150);
        let image = Taken::default();
        let mut layers = [Bound::of_layer(&limits, &image), Bound::of_layer(&limits, &image)];
        assert_eq!(layers[0].count(100, None), Ok(()));
        assert_eq!(layers[1].count(50, None), Ok(()));
        assert_eq!(layers[0].count(1, None), Err(Exceeded { limit: Limit::LayerBytes, most: 100 }));
        assert_eq!(layers[1].count(1, None), Err(Exceeded { limit: Limit::ImageBytes, most: 150 }));
    }
}
