//! The proof of a layer: its tar, made again, has the digest by which the layer is known, and its inodes are those that this
//! tar makes.

use std::collections::BTreeSet;
use std::fs::File;
use std::sync::Arc;

use super::{Finding, Remedy};
use crate::archive::blob::Blob;
use crate::digest::{Digest, Hasher};
use crate::layer::recipe::{self, Fault};
use crate::layer::{self, Below, Buffers, Options, XattrPolicy};
use crate::limits::Limits;
use crate::progress::{Counter, Counting, Progress};
use crate::store::error::{Error, file, is_there};
use crate::store::layout::DIFF;
use crate::store::record::LayerRecord;
use crate::store::{Change, private_dir};
use crate::sys::dir::Dir;
use crate::sys::{chain, trace};

impl Change<'_> {
    /// Proves every byte and attribute of the layers of a stack, the base first, but those that are `proved` already; tells
    /// `found` what is not as their tars say.
    ///
    /// A layer's directories take what the tar does not say of them from the layers below: what is wrong there is told of
    /// both.
    pub fn prove(
        &self,
        stack: &[Digest],
        proved: &mut BTreeSet<Digest>,
        progress: &Progress,
        found: &mut dyn FnMut(Finding),
    ) -> Result<(), Error> {
        let (mut below, mut buffers) = (Below::default(), Buffers::default());
        let mut parent = None;
        for chain_id in stack {
            let layer = match self.store.layer(chain_id) {
                Ok(Some(layer)) if layer.parent == parent => layer,
                // Told already, and what stands on it cannot be proved.
                Ok(_) | Err(Error::Record { .. }) => return Ok(()),
                Err(e) => return Err(e),
            };
            let mut tell = |path: Option<Vec<u8>>, problem: String| {
                let finding = Finding::new("layer", chain_id, problem).with(Remedy::Unpack(*chain_id));
                found(Finding { path, ..finding });
            };
            let has_tree = is_there(self.layout().overlay(&chain_id.hex()).join(DIFF))?;
            if has_tree && is_there(self.layout().recipe(chain_id))? && proved.insert(*chain_id) {
                trace::done(|| {
                    format!("layer {}: being proved, {} entries", chain_id.short(), layer.entries)
                });
                let counter = progress.counter_of(chain_id);
                match self.contents(&layer, Arc::clone(&counter), &mut tell)? {
                    // What was not read to its end is not damaged.
                    _ if progress.is_cancelled() => return Ok(()),
                    Ok(()) => self.inodes(&layer, &below, &mut buffers, &mut tell)?,
                    Err(fault) => tell(None, chain(&fault)),
                }
                counter.end();
            }
            if !has_tree {
                return Ok(());
            }
            self.lay(&mut below, chain_id)?;
            parent = Some(*chain_id);
        }
        Ok(())
    }

    /// Compares the bytes of all files.
    fn contents(
        &self,
        layer: &LayerRecord,
        counter: Arc<Counter>,
        tell: &mut dyn FnMut(Option<Vec<u8>>, String),
    ) -> Result<Result<(), Fault>, Error> {
        let mut hasher = Counting { inner: Hasher::default(), counter };
        let mut wrong = 0;
        let made = self.store.tar(&layer.chain_id, &mut hasher, &mut |fault| match fault {
            Fault::Changed { path } => {
                wrong += 1;
                tell(Some(path), "has other contents".to_owned());
                Ok(())
            }
            Fault::Unreadable { path, source } => {
                wrong += 1;
                tell(Some(path), format!("cannot be read: {source}"));
                Ok(())
            }
            fault @ (Fault::Recipe(_) | Fault::Output(_)) => Err(fault),
        })?;
        let digest = hasher.inner.finish().digest;
        if made.is_ok() && wrong == 0 && digest != layer.diff_id {
            tell(None, format!("its tar is {digest}, and ought to be {}", layer.diff_id));
        }
        Ok(made)
    }

    /// Compares all inodes with those that the same tar makes, without contents, in the stage.
    fn inodes(
        &self,
        layer: &LayerRecord,
        below: &Below,
        buffers: &mut Buffers,
        tell: &mut dyn FnMut(Option<Vec<u8>>, String),
    ) -> Result<(), Error> {
        let path = self.layout().recipe(&layer.chain_id);
        let recipe = File::open(&path).map_err(file(&path))?;
        let mut tar = Dir::open(self.stage.path())?.create_unnamed()?;
        if let Err(fault) = recipe::hollow(&recipe, &mut tar) {
            tell(None, chain(&fault));
            return Ok(());
        }
        let path = self.stage.fresh();
        private_dir(&path)?;
        let beside = Dir::open(&path)?;
        beside.mkdir(DIFF.as_bytes(), 0o700)?;
        let wanted = beside.open_dir(DIFF.as_bytes())?;
        let options = Options { hollow: true, xattrs: XattrPolicy::Skip, limits: Limits::NONE };
        let blob = Blob::of_file(tar).map_err(file(&path))?.hashed(layer.diff_id);
        let made = layer::unpack(blob, &layer.diff_id, &wanted, &beside, &options, buffers)
            .and_then(|unpacked| unpacked.settle(&wanted, below));
        if let Err(e) = made {
            tell(None, format!("its tar cannot be unpacked again: {}", chain(&e)));
            return Ok(());
        }
        let diff = Dir::open(&self.layout().overlay(&layer.chain_id.hex()).join(DIFF))?;
        layer::compare(&wanted, &diff, &mut |path, problem| tell(Some(path.to_owned()), problem))?;
        crate::sys::tree::remove(
            &Dir::open(self.stage.path())?,
            path.file_name().unwrap_or_default().as_encoded_bytes(),
        )?;
        Ok(())
    }
}
