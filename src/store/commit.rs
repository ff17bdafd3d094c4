//! Images that are made here: of changes over layers that are there comes one layer more, and with it an image.

use super::config::Config;
use super::error::Error;
use super::layers::Pile;
use super::layout::{DIFF, IMAGE_CONFIG};
use super::load::is_storage_full;
use super::record::{ImageLayer, ImageRecord, LayerRecord, Unreadable};
use super::{Change, Store, now, private_dir};
use crate::digest::Digest;
use crate::layer::capture::{self, Captured, capture};
use crate::layer::changes::Change as Changed;
use crate::layer::pack;
use crate::layer::view::View;
use crate::layer::{self, Below, Buffers};
use crate::progress::{Progress, What};
use crate::sys::dir::Dir;
use crate::sys::filesystem::size;
use crate::sys::lock::Holder;
use crate::sys::trace;

/// What a new layer is made of.
#[derive(Debug, Clone, Copy)]
pub struct Source<'a> {
    /// What differs from the layers below.
    pub changes: &'a [Changed],
    /// Where all that is to be seen.
    pub view: &'a View<'a>,
    /// The latest time that anything in it may have, in seconds since the epoch.
    pub latest: Option<i64>,
    /// Who is told how far it has got.
    pub progress: &'a Progress,
}

/// A layer that was made.
#[derive(Debug)]
pub struct Added {
    /// The layer.
    pub layer: ImageLayer,
    /// Whether it was not there before.
    pub is_new: bool,
    /// What no layer can hold: the path, and why.
    pub left_out: pack::LeftOut,
}

impl Store {
    /// Reads the config of an image, or of the lowest of its layers, to make another of it.
    pub fn config_of(&self, image: &ImageRecord) -> Result<Config, Error> {
        let diff_ids: Vec<Digest> = image.layers.iter().map(|layer| layer.diff_id).collect();
        let path = self.layout().image(&image.id).join(IMAGE_CONFIG);
        Config::read(&self.image_config(&image.id)?, &diff_ids)
            .map_err(|e| Error::Record { path, source: Unreadable::Damaged(e) })
    }
}

impl Change<'_> {
    /// Makes a layer on top of those of `base`.
    pub fn add_layer(
        &self,
        base: &ImageRecord,
        source: &Source<'_>,
        waiting: &mut dyn FnMut(&[Holder]),
    ) -> Result<Added, Error> {
        let staged = self.stage.fresh();
        private_dir(&staged)?;
        let beside = Dir::open(&staged)?;
        beside.mkdir(DIFF.as_bytes(), 0o700)?;
        let diff = beside.open_dir(DIFF.as_bytes())?;
        let nr = base.layers.len() + 1;
        let failed = |error| self.capture_failed(error, nr);
        let counter = source.progress.begin(What::NewLayer, Some(weight(source.changes)));
        let &Source { changes, view, latest, .. } = source;
        let captured = layer::helped(|crew| {
            capture(changes, view, latest, &counter, (&diff, &beside), &mut Buffers::alone(crew))
        });
        let Captured { unpacked, diff_id, left_out } = captured.map_err(failed)?;

        let parent = base.layers.last().map(|layer| layer.chain_id);
        let chain_id = Digest::chain(parent.as_ref(), &diff_id);
        // Whoever loads this layer has this lock: all below it are there.
        let _own = self.own(&format!("layer-{}", chain_id.hex()), waiting)?;
        if let Some(there) = self.store.layer(&chain_id)? {
            self.stage.discard(&staged)?;
            let layer = ImageLayer { chain_id, diff_id, size: there.size };
            return Ok(Added { layer, is_new: false, left_out });
        }
        let mut below = Below::default();
        base.layers.iter().try_for_each(|layer| self.lay(&mut below, &layer.chain_id))?;
        let summary = unpacked.settle(&diff, &below).map_err(|e| failed(e.into()))?;
        let record = LayerRecord {
            chain_id,
            diff_id,
            parent,
            opaque_root: summary.opaque_root,
            size: summary.bytes,
            entries: summary.entries,
            loaded: now(),
        };
        let parent = parent.filter(|_| !summary.opaque_root);
        let link = self.furnish_layer(&staged, chain_id, parent, &mut Pile::default())?;
        counter.end();
        self.keep_layer(&staged, &link, &record)?;
        trace::done(|| {
            let size = size(record.size);
            format!("layer {nr} ({}): made, {} entries, {size}", chain_id.short(), record.entries)
        });
        Ok(Added { layer: ImageLayer { chain_id, diff_id, size: summary.bytes }, is_new: true, left_out })
    }

    /// Makes an image of `config`, over `layers` that are there, and gives it names; of `base` it has the platform.
    pub fn make_image(
        &self,
        base: &ImageRecord,
        layers: Vec<ImageLayer>,
        config: Config,
        created: &str,
        names: &[String],
    ) -> Result<ImageRecord, Error> {
        let config = config.write();
        let image = ImageRecord {
            id: Digest::of(&config),
            manifest: None,
            platform: base.platform.clone(),
            created: Some(created.to_owned()),
            layers,
            loaded: now(),
        };
        self.put_image(&image, &config, names)?;
        Ok(image)
    }

    fn capture_failed(&self, error: capture::Error, nr: usize) -> Error {
        let no_space = || Error::NoSpace(self.layout().root().to_owned());
        match error {
            capture::Error::Layer(error) if is_storage_full(&error) => no_space(),
            capture::Error::Layer(source) => Error::Layer { nr, of: nr, source },
            capture::Error::Pack(pack::Error::Call(failed)) if Error::Call(failed.clone()).is_full() => {
                no_space()
            }
            capture::Error::Pack(source) => Error::Pack(source),
        }
    }
}

/// Returns about how many bytes the tar of a layer has that is made of these changes.
fn weight(changes: &[Changed]) -> u64 {
    let stats = changes.iter().filter_map(|change| change.now.as_ref());
    stats.map(|(_, stat)| pack::size(stat)).sum()
}

/// Returns when an image is made (RFC 3339): then, or now.
#[must_use]
pub fn created(at: Option<i64>) -> String {
    let at = at.and_then(|seconds| jiff::Timestamp::from_second(seconds).ok());
    at.map_or_else(now, |at| at.to_string())
}
