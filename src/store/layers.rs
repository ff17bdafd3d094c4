//! Layers: one directory a chain id, and its short name.

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use super::error::{Error, file, is_there};
use super::layout::{self, DIFF, LINK, LOWER, WORK};
use super::record::{self, LayerRecord, Unreadable};
use super::{Change, Store};
use crate::digest::Digest;
use crate::layer::recipe::{DISPLACED, Fault, RECIPE, length, rebuild};
use crate::sys::dir::Dir;
use crate::sys::{filesystem, path, trace};

/// The letters of a short name: base 32, as Docker writes it.
const LETTERS: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

/// How long a short name is. 28 bytes a lower (`l/`, 26, `:`) let 128 lowers fit the page that mount(2) takes.
const LINK_LEN: usize = 26;

impl Store {
    /// Whether the layer is there, whole.
    pub fn has_layer(&self, chain_id: &Digest) -> Result<bool, Error> {
        let place = self.layout().overlay(&chain_id.hex());
        Ok(is_there(&place)? && self.state.trusts(&place)?)
    }

    /// Returns what is known of a layer; `None` where there is no such layer.
    pub fn layer(&self, chain_id: &Digest) -> Result<Option<LayerRecord>, Error> {
        if !self.has_layer(chain_id)? {
            return Ok(None);
        }
        let path = self.layout().layer(chain_id);
        let record = read_record::<LayerRecord>(&path)?.map(|record| record.of(chain_id)).transpose();
        record.map_err(|source| Error::Record { path, source })
    }

    /// Returns all layers, in the order of their ids.
    pub fn layers(&self) -> Result<Vec<LayerRecord>, Error> {
        let mut layers = Vec::new();
        for chain_id in self.layer_ids()? {
            layers.extend(self.layer(&chain_id)?);
        }
        Ok(layers)
    }

    /// Returns the ids of all layers, whatever their records hold.
    pub fn layer_ids(&self) -> Result<Vec<Digest>, Error> {
        let is_there = |id: &Digest| self.has_layer(id).map(|is_there| is_there.then_some(*id));
        self.chain_ids()?.iter().filter_map(|id| is_there(id).transpose()).collect()
    }

    /// Returns the ids of all layers that have a record; without reading it, and whether they are there or not.
    pub(super) fn chain_ids(&self) -> Result<Vec<Digest>, Error> {
        let names = names_in(&self.layout().layers())?;
        let id = |name: &String| Digest::from_hex(name.strip_suffix(".json")?).ok();
        Ok(names.iter().filter_map(id).collect())
    }

    /// Returns the short names of an image's stack, uppermost first, given its uppermost layer: Docker's own way, the
    /// layer's `link` and `lower` files.
    pub fn stack(&self, top: &Digest) -> Result<Vec<String>, Error> {
        self.stack_of(&top.hex())
    }

    /// Returns the short names of a directory in `overlay2` and of what lies below it, uppermost first.
    pub(super) fn stack_of(&self, id: &str) -> Result<Vec<String>, Error> {
        let dir = self.layout().overlay(id);
        let mut links = vec![self.short_name(id)?];
        match fs::read_to_string(dir.join(LOWER)) {
            Ok(lower) => links.extend(lower.split(':').map(str::to_owned)),
            Err(e) if e.kind() == ErrorKind::NotFound => {}
            Err(e) => return Err(file(dir.join(LOWER))(e)),
        }
        Ok(links)
    }

    /// Returns the short name of a layer or a container: `l/LINK`.
    pub fn short_name(&self, id: &str) -> Result<String, Error> {
        Ok(layout::short(&read_text(&self.layout().overlay(id).join(LINK))?))
    }

    /// Returns how many bytes the tar has that a layer was made of; 0 where its recipe does not tell: what is wrong with that
    /// is told when the tar is made.
    #[must_use]
    pub fn tar_size(&self, chain_id: &Digest) -> u64 {
        let recipe = File::open(self.layout().recipe(chain_id)).ok();
        recipe.and_then(|recipe| length(&recipe).ok()).unwrap_or(0)
    }

    /// Writes the tar that a layer was made of to `out`, byte for byte. What is found to be another goes to `wrong`, which
    /// decides whether to go on; see [`rebuild`].
    pub fn tar(
        &self,
        chain_id: &Digest,
        out: &mut impl Write,
        wrong: &mut dyn FnMut(Fault) -> Result<(), Fault>,
    ) -> Result<Result<(), Fault>, Error> {
        let (recipe, displaced) = (self.layout().recipe(chain_id), self.layout().displaced(chain_id));
        let diff = self.layout().overlay(&chain_id.hex()).join(DIFF);
        tar_of(&recipe, &displaced, &diff, out, wrong)
    }

    /// Returns the directory that a stack's short name (`l/LINK`) leads to.
    #[must_use]
    pub fn diff_of(&self, short: &str) -> PathBuf {
        self.layout().overlay2().join(short)
    }
}

/// Writes the tar of a layer whose parts lie at these places.
pub(super) fn tar_of(
    recipe: &Path,
    displaced: &Path,
    diff: &Path,
    out: &mut impl Write,
    wrong: &mut dyn FnMut(Fault) -> Result<(), Fault>,
) -> Result<Result<(), Fault>, Error> {
    let recipe = File::open(recipe).map_err(file(recipe))?;
    let displaced = if is_there(displaced)? { Some(Dir::open(displaced)?) } else { None };
    Ok(rebuild(&recipe, displaced.as_ref(), &Dir::open(diff)?, out, wrong))
}

/// The layer that was furnished last, and its stack as [`Store::stack`] would tell: what the next one stands on.
#[derive(Debug, Default)]
pub(super) struct Pile {
    top: Option<Digest>,
    links: Vec<String>,
}

impl Change<'_> {
    /// Writes what lies beside the `diff` in `staged`, which is to be the layer `chain_id` above `parent`: on top of `pile`, if
    /// that is what it stands on. Returns its short name.
    pub(super) fn furnish_layer(
        &self,
        staged: &Path,
        chain_id: Digest,
        parent: Option<Digest>,
        pile: &mut Pile,
    ) -> Result<String, Error> {
        let mut links = match parent {
            Some(parent) if pile.top == Some(parent) => std::mem::take(&mut pile.links),
            Some(parent) => self.store.stack(&parent)?,
            None => Vec::new(),
        };
        let link = self.furnish(staged, &links)?;
        links.insert(0, layout::short(&link));
        *pile = Pile { top: Some(chain_id), links };
        Ok(link)
    }

    /// Moves a furnished layer from `staged`, which holds its recipe too, into place.
    pub(super) fn keep_layer(&self, staged: &Path, link: &str, layer: &LayerRecord) -> Result<(), Error> {
        self.keep_recipe(staged, &layer.chain_id)?;
        // Written in place: nobody reads it before the directory is there.
        let place = self.layout().layer(&layer.chain_id);
        fs::write(&place, record::write(layer)).map_err(file(&place))?;
        self.put_overlay(staged, link, &layer.chain_id.hex())
    }

    /// Moves a layer's recipe from where it was made into place, in the stead of one that is there.
    pub(super) fn keep_recipe(&self, staged: &Path, chain_id: &Digest) -> Result<(), Error> {
        let (recipe, displaced) = (self.layout().recipe(chain_id), self.layout().displaced(chain_id));
        path::rename(&staged.join(RECIPE), &recipe).map_err(file(&recipe))?;
        if is_there(staged.join(DISPLACED))? {
            // A command that was killed here left one; a rename replaces files, and no full directories.
            self.stage.discard(&displaced)?;
            path::rename(&staged.join(DISPLACED), &displaced).map_err(file(&displaced))?;
        }
        Ok(())
    }

    /// Writes what lies beside a `diff`: its short name, what it stands on, and overlayfs' scratch directory. Returns the
    /// short name.
    pub(super) fn furnish(&self, dir: &Path, below: &[String]) -> Result<String, Error> {
        let write = |name: &str, text: &str| fs::write(dir.join(name), text).map_err(file(dir.join(name)));
        let link = new_link()?;
        write(LINK, &link)?;
        if !below.is_empty() {
            write(LOWER, &below.join(":"))?;
            super::private_dir(&dir.join(WORK))?;
        }
        Ok(link)
    }

    /// Makes the short name of the layer `id` lead to it, where it is lost.
    pub(super) fn name_layer(&self, id: &str) -> Result<(), Error> {
        self.name_link(&read_text(&self.layout().overlay(id).join(LINK))?, id)
    }

    /// Makes the short name `link` lead to the layer or container `id`.
    pub(super) fn name_link(&self, link: &str, id: &str) -> Result<(), Error> {
        let link = self.layout().links().join(link);
        match path::symlink(Path::new(&layout::link_target(id)), &link) {
            Err(e) if e.kind() != ErrorKind::AlreadyExists => Err(file(link)(e)),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// Moves a furnished directory into place: the layer or container `id` is there. Its short name comes before it and goes
    /// after it, so that a command killed in between leaves no more than a short name that leads nowhere.
    pub(super) fn put_overlay(&self, staged: &Path, link: &str, id: &str) -> Result<(), Error> {
        self.name_link(link, id)?;
        let put = path::rename(staged, &self.layout().overlay(id)).map_err(file(staged));
        if put.is_err() {
            let _ = gone(&self.layout().links().join(link));
        }
        put
    }

    /// Removes a layer or container: by one rename its directory, then its short name.
    pub(super) fn remove_overlay(&self, id: &str) -> Result<(), Error> {
        let dir = self.layout().overlay(id);
        // What a power cut left of it may be empty, and no name.
        let link = read_text(&dir.join(LINK)).ok().filter(|link| is_link(link));
        self.stage.discard(&dir)?;
        link.map_or(Ok(()), |link| gone(&self.layout().links().join(link)))
    }

    /// Removes a layer, which no image may need any more.
    pub(super) fn remove_layer(&self, chain_id: &Digest) -> Result<(), Error> {
        self.remove_overlay(&chain_id.hex())?;
        self.stage.discard(&self.layout().displaced(chain_id))?;
        gone(&self.layout().recipe(chain_id))?;
        gone(&self.layout().layer(chain_id))?;
        trace::done(|| format!("layer {}: removed", chain_id.short()));
        Ok(())
    }
}

/// Whether `text` is a short name, whole.
pub(super) fn is_link(text: &str) -> bool {
    text.len() == LINK_LEN && text.bytes().all(|letter| LETTERS.contains(&letter))
}

pub(super) fn new_link() -> Result<String, Error> {
    let random = filesystem::random::<LINK_LEN>()?;
    Ok(random.iter().map(|byte| char::from(LETTERS[usize::from(byte % 32)])).collect())
}

fn read_text(path: &Path) -> Result<String, Error> {
    fs::read_to_string(path).map_err(file(path))
}

/// Removes a file; nothing happens where there is none.
pub(super) fn gone(at: &Path) -> Result<(), Error> {
    match path::unlink(at) {
        Err(e) if e.kind() != ErrorKind::NotFound => Err(file(at)(e)),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Reads one record; `None` where there is none.
pub(super) fn read_record<T: for<'a> serde::Deserialize<'a>>(path: &Path) -> Result<Option<T>, Error> {
    match fs::read(path) {
        Ok(text) => {
            record::read(&text).map(Some).map_err(|source| Error::Record { path: path.to_owned(), source })
        }
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
        Err(e) => Err(file(path)(e)),
    }
}

/// Reads a record; `None` where there is none, or only what a power cut left of it.
pub(super) fn read_sound<T: for<'a> serde::Deserialize<'a>>(path: &Path) -> Result<Option<T>, Error> {
    match read_record(path) {
        Err(Error::Record { source: Unreadable::Damaged(_), .. }) => Ok(None),
        read => read,
    }
}

/// Reads all records in a directory, in the order of their names.
pub(super) fn read_records<T: for<'a> serde::Deserialize<'a>>(dir: &Path) -> Result<Vec<T>, Error> {
    let mut records = Vec::new();
    for name in names_in(dir)? {
        if name.ends_with(".json") {
            records.extend(read_record(&dir.join(name))?);
        }
    }
    Ok(records)
}

/// Returns the names in a directory, sorted; none where there is no directory.
pub(super) fn names_in(dir: &Path) -> Result<Vec<String>, Error> {
    let entries = match fs::read_dir(dir) {
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(file(dir))?,
    };
    let mut names = Vec::new();
    for entry in entries {
        names.extend(entry.map_err(file(dir))?.file_name().into_string());
    }
    names.sort_unstable();
    Ok(names)
}
