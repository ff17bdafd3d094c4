//! What differs between two views becomes a layer, on the way of every layer that comes in an archive: as a tar, which is
//! hashed, written down as a recipe, and unpacked.

use std::sync::Arc;
use std::thread;

use crate::digest::Digest;
use crate::limits::Limits;
use crate::progress::{Counter, Counting};
use crate::sys::CallFailed;
use crate::sys::dir::Dir;

use super::changes::{Change, Kind};
use super::error::Error as LayerError;
use super::meta::Stamp;
use super::pack::{self, LeftOut};
use super::scout::Scout;
use super::sharing::{self, Sharer};
use super::stream::stream;
use super::view::{Node, View};
use super::{Buffers, Options, Unpacked, XattrPolicy, apply, fresh_root, pipeline, recipe, writer};

/// Why no layer could be made.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// What is to be in it could not be read.
    #[error(transparent)]
    Pack(#[from] pack::Error),
    /// It could not be written.
    #[error(transparent)]
    Layer(#[from] LayerError),
}

impl From<CallFailed> for Error {
    fn from(failed: CallFailed) -> Self {
        Self::Layer(LayerError::Call(failed))
    }
}

/// A layer that was made of changes.
#[derive(Debug)]
pub struct Captured {
    /// The layer; to be settled, as any.
    pub unpacked: Unpacked,
    /// The sha256 of its tar.
    pub diff_id: Digest,
    /// What no tar can hold.
    pub left_out: LeftOut,
}

/// Makes a layer in the empty directory `diff` of `changes`, as they are in `view`; its recipe in the directory `beside`,
/// on the same filesystem. Times after `latest` (seconds since the epoch) become that. `counter` counts the bytes of its tar.
///
/// The layer's tar is a function of the changes: in the order of [`changes`](super::changes::changes), the root first, with
/// times and attributes as they are. Contents that the filesystem can share are not written again.
pub fn capture(
    changes: &[Change],
    view: &View<'_>,
    latest: Option<i64>,
    counter: &Arc<Counter>,
    (diff, beside): (&Dir, &Dir),
    buffers: &mut Buffers,
) -> Result<Captured, Error> {
    fresh_root(diff)?;
    let stamp = Arc::new(Stamp::new(diff, XattrPolicy::Keep)?);
    let crew = buffers.crew(false);
    // Nobody else's: what a container holds its owner has put there.
    let limits = Limits::NONE;
    let options = Options { limits, ..Options::default() };
    let changes = with_root(changes, view)?;
    let (sharer, offered) = Sharer::new(beside)?;
    let (mut inlet, outlet) = stream();
    let made = thread::scope(|scope| {
        let packer = pipeline::spawn(scope, "packer", || {
            let left_out = {
                let out = Counting { inner: &mut inlet, counter: Arc::clone(counter) };
                pack::new_layer(&changes, view, latest, sharer, out)?
            };
            let ended = inlet.end();
            ended.map_err(|source| pack::Error::Member { path: b"end".to_vec(), source })?;
            Ok(left_out)
        })?;
        let unpacked = pipeline::run_new(outlet, offered, beside, buffers, |input| {
            let displaced = recipe::Displaced::new(beside);
            writer::with(&crew, &stamp, |writers| {
                apply::layer(input, Scout::blind(), diff, displaced, &options, &stamp, writers)
            })
        });
        match (pipeline::join("packer", packer)?, unpacked) {
            // It stopped since nobody took the tar any more: why, the other side knows.
            (Err(error), Err(why)) if pack::Error::is_unwanted(&error) => Err(Error::Layer(why)),
            (Err(error), _) => Err(Error::Pack(error)),
            (Ok(left_out), unpacked) => Ok((left_out, unpacked?)),
        }
    });
    sharing::clear(beside)?;
    let (left_out, (applied, diff_id)) = made?;
    let apply::Applied { tree, links, entries, bytes, held } = applied;
    let unpacked = Unpacked { tree, links, stamp, entries, bytes, limits, held };
    Ok(Captured { unpacked, diff_id, left_out })
}

/// Puts the root first: its time is told, and no name of a file's stands where a compressed tar is known by its first bytes.
fn with_root(changes: &[Change], view: &View<'_>) -> Result<Vec<Change>, CallFailed> {
    let mut all = Vec::with_capacity(changes.len() + 1);
    let places = view.root();
    if changes.first().is_none_or(|first| !first.path.is_empty()) {
        if let Some(stat) = places.first().map_or(Ok(None), |place| view.stat(place))? {
            let now = Some((Node::Directory(places), Box::new(stat)));
            all.push(Change { kind: Kind::Changed, path: Vec::new(), aspects: Vec::new(), now });
        }
    }
    all.extend_from_slice(changes);
    Ok(all)
}
