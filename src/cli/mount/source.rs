//! What it is that is to be mounted: something in the store, or an archive, which is loaded first.

use std::path::{Path, PathBuf};
use std::time::Instant;

use crate::cli::fault::watch::Talk;
use crate::cli::fault::{self, Cause};
use crate::cli::load::{self, Pick};
use crate::cli::loader::{self, Found, Job};
use crate::progress::{Piece, What};
use crate::store::images::Image;
use crate::store::record::{ContainerRecord, SnapshotRecord};
use crate::store::{self, Store};

/// What is to be mounted.
pub(in crate::cli) enum Source {
    Container(ContainerRecord),
    Snapshot(SnapshotRecord),
    Image(Image),
    Archive(PathBuf),
}

impl Source {
    /// Finds out what `source` means: names in the store come first. What is said of a `new` container means the image,
    /// where both have the name.
    pub(in crate::cli) fn find(store: &Store, source: &Path, pick: &Pick, new: bool) -> Result<Self, Cause> {
        let text = source.to_str().unwrap_or_default();
        if is_path(source) || pick.chooses() {
            return Ok(Self::Archive(source.to_owned()));
        }
        match store.snapshot(text) {
            Ok(Some((_, snapshot))) => return Ok(Self::Snapshot(snapshot)),
            Err(store::Error::NoSnapshot { .. }) if source.exists() || is_called_as_archives_are(source) => {}
            Ok(None) => {}
            Err(error) => return Err(error.into()),
        }
        let container = store.container(text)?;
        match (store.image(text), container) {
            (Ok(image), Some(_)) if new => Ok(Self::Image(image)),
            (_, Some(container)) => Ok(Self::Container(container)),
            (Ok(image), None) => Ok(Self::Image(image)),
            (Err(store::Error::NoImage { .. }), None)
                if source.exists() || is_called_as_archives_are(source) =>
            {
                Ok(Self::Archive(source.to_owned()))
            }
            (Err(error), None) => Err(error.into()),
        }
    }
}

/// Loads the image of an archive, by a process that can do nothing else.
pub(in crate::cli) fn load(store: &Store, path: &Path, pick: &Pick, talk: Talk) -> Result<Image, Cause> {
    let (since, wanted) = (Instant::now(), talk.is_shown());
    let mut new = 0;
    let Found { id, names } = talk.during(|progress| {
        let found = loader::read(store, path, pick, Job::Load, Some(progress));
        let is_new = |piece: &Piece| matches!(piece.what, What::Layer { .. }) && !piece.there;
        new = progress.pieces().into_iter().filter(is_new).count();
        found
    })?;
    let record = store.image_record(&id)?.ok_or(Cause::Loader(loader::Error::NoAnswer))?;
    if wanted {
        fault::say(&load::totals(record.layers.len(), new, record.size(), since.elapsed()));
    }
    Ok(Image { record, names })
}

/// Whether a source can only be a path, or standard input.
fn is_path(source: &Path) -> bool {
    let text = source.to_str().unwrap_or_default();
    text.is_empty() || text == "-" || text.starts_with(['/', '.'])
}

/// Whether a name ends as those of archives do: where there is none, it is a file that is missing, and no image.
fn is_called_as_archives_are(source: &Path) -> bool {
    let ending = source.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
    matches!(ending, "tar" | "tgz" | "tzst" | "txz" | "gz" | "zst" | "xz" | "bz2" | "oci")
}
