//! Images and containers, open to be looked at: their directories, as a view takes them.

use super::Store;
use super::error::Error;
use super::layout::DIFF;
use super::record::{ContainerRecord, ImageLayer, ImageRecord, SnapshotRecord};
use super::snapshots::chain;
use crate::layer::view::Pool;
use crate::sys::dir::Dir;

impl Store {
    /// Opens an image's layers, uppermost first, down to one that hides all below it.
    pub fn open_image(&self, image: &ImageRecord, pool: &mut Pool) -> Result<Vec<usize>, Error> {
        let Some(top) = image.layers.last() else {
            return Ok(vec![pool.add(Dir::open(&self.layout().empty())?)?]);
        };
        let mut stack = Vec::new();
        for short in self.stack(&top.chain_id)? {
            stack.push(pool.add(Dir::open(&self.diff_of(&short))?)?);
        }
        Ok(stack)
    }

    /// Opens what lies below a container's own directory: the snapshots that it stands on, and its image, uppermost first.
    pub fn open_below(
        &self,
        container: &ContainerRecord,
        image: &ImageRecord,
        pool: &mut Pool,
    ) -> Result<Vec<usize>, Error> {
        let mut stack = self.open_snapshots(container.base.as_deref(), pool)?;
        stack.extend(self.open_image(image, pool)?);
        Ok(stack)
    }

    /// Opens a snapshot and those that it stands on, uppermost first, without their image.
    pub fn open_snapshots(&self, top: Option<&str>, pool: &mut Pool) -> Result<Vec<usize>, Error> {
        let all = if top.is_some() { self.snapshots()? } else { Vec::new() };
        let open = |snapshot: &SnapshotRecord| {
            Ok(pool.add(Dir::open(&self.layout().overlay(&snapshot.id).join(DIFF))?)?)
        };
        chain(&all, top).into_iter().map(open).collect()
    }

    /// Opens all of an image's layers, uppermost first, those too that nothing shows.
    pub fn open_layers(&self, image: &ImageRecord, pool: &mut Pool) -> Result<Vec<usize>, Error> {
        let open = |layer: &ImageLayer| {
            Ok(pool.add(Dir::open(&self.layout().overlay(&layer.chain_id.hex()).join(DIFF))?)?)
        };
        image.layers.iter().rev().map(open).collect()
    }

    /// Opens all of an image's layers, the base first; with each, whether it hides all below.
    pub fn layer_dirs(&self, image: &ImageRecord) -> Result<Vec<(Dir, bool)>, Error> {
        let open = |layer: &ImageLayer| {
            let dir = Dir::open(&self.layout().overlay(&layer.chain_id.hex()).join(DIFF))?;
            Ok((dir, self.layer(&layer.chain_id)?.is_some_and(|record| record.opaque_root)))
        };
        image.layers.iter().map(open).collect()
    }

    /// Opens what a container has changed; `None` where that is in memory.
    pub fn open_upper(&self, container: &ContainerRecord) -> Result<Option<Dir>, Error> {
        Ok(self.upper_and_work(container).map(|(upper, _)| Dir::open(&upper)).transpose()?)
    }
}
