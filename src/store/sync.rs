//! When a layer or an image is on the disk: an empty file in its directory says so, which outlives a power cut.
//!
//! The file is made only after a syncfs(2) that began when the layer lay in its place. Whenever the disk has the file, it has
//! the layer. A second syncfs(2) then brings the files to the disk.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::ErrorKind;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::boot::{Boot, State};
use super::error::{Error, file, filter, is_dir, is_there, look};
use super::layers::names_in;
use super::layout::{COMMITTED, DIFF};
use super::stage::Stage;
use super::{STORE_LOCK, Store, record};
use crate::digest::Digest;
use crate::sys::dir::Dir;
use crate::sys::lock::{Holder, Lock, Share};
use crate::sys::{filesystem, path, trace};

/// How many layers and images are marked after one syncfs(2): a directory of each is held open meanwhile.
const AT_ONCE: usize = 400;

/// Something that has no mark yet.
struct Unmarked {
    id: String,
    /// The directory that gets the mark.
    place: PathBuf,
    /// What must lie there still when the sync has ended: who removed or repaired it meanwhile has put another one there.
    path: PathBuf,
    held: Dir,
}

impl Unmarked {
    /// `None` where it has just gone.
    fn new(id: &Digest, place: PathBuf, path: PathBuf) -> Option<Self> {
        let held = Dir::open(&path).ok()?;
        Some(Self { id: id.hex(), place, path, held })
    }

    fn is_still_there(&self) -> bool {
        let there = Dir::open(&self.path).and_then(|dir| dir.stat_self());
        match (self.held.stat_self(), there) {
            (Ok(held), Ok(there)) => (held.st_dev, held.st_ino) == (there.st_dev, there.st_ino),
            (_, _) => false,
        }
    }
}

impl Store {
    /// Whether an image, with all its layers, outlives a power cut.
    pub fn is_synced(&self, image: &Digest) -> Result<bool, Error> {
        is_marked(&self.layout().image(image))
    }

    /// Returns the images and the layers that a power cut would take.
    pub fn unsynced(&self) -> Result<(Vec<Digest>, Vec<Digest>), Error> {
        let images = filter(self.image_ids()?, |id| Ok(!self.is_synced(id)?))?;
        let layers = filter(self.layer_ids()?, |id| Ok(!is_marked(&self.layout().overlay(&id.hex()))?))?;
        Ok((images, layers))
    }

    /// Whether all that is in the store has been synced.
    pub fn is_all_synced(&self) -> Result<bool, Error> {
        let (images, layers) = self.unsynced()?;
        Ok(images.is_empty() && layers.is_empty() && !self.names_are_new()?)
    }

    /// Returns how many images are not shown, as the machine was started anew and they may have been lost.
    pub fn left_out(&self) -> Result<usize, Error> {
        if self.state != State::Marked {
            return Ok(0);
        }
        let names = names_in(&self.layout().images())?;
        Ok(filter(names, |id| Ok(!is_marked(&self.layout().images().join(id))?))?.len())
    }

    /// Brings all that is in the store to the disk, and marks what is there then. Where that fails nothing is marked, and
    /// what was to be is not believed any more. A store that is to be recovered first is left alone.
    pub fn sync(&self, waiting: &mut dyn FnMut(&[Holder])) -> Result<(), Error> {
        if !is_dir(self.layout().overlay2())? {
            return Ok(());
        }
        // One at a time, and not under the store's lock: who waits for that is not to wait for the disk. Whoever comes
        // second finds all marked, and these marks on the disk.
        let _alone = Lock::take_of(&Dir::open(&self.layout().overlay2())?, Share::Exclusive, waiting)?;
        let root = Dir::open(self.layout().root())?;
        loop {
            let suspect = match State::of(self.layout())? {
                State::Sound => BTreeSet::new(),
                State::Suspect(ids) => ids,
                State::Nothing | State::WithoutMarks | State::Marked => return Ok(()),
            };
            let unmarked = self.unmarked(&suspect)?;
            let names = File::open(self.layout().names()).ok();
            if let Err(failed) = filesystem::sync(&root) {
                // Where not even this can be noted, the filesystem takes no mark either.
                let _ = self.suspect(&unmarked, suspect);
                return Err(failed.into());
            }
            let marked = {
                let _shared = Lock::take(&self.layout().locks().join(STORE_LOCK), Share::Shared, waiting)?;
                names.map_or(Ok(()), |names| self.keep_names(&names))?;
                self.mark_all(&unmarked)?
            };
            filesystem::sync(&root)?;
            trace::done(|| format!("{}: the disk has all that was loaded", self.layout().root().display()));
            if unmarked.len() < AT_ONCE || marked == 0 {
                return Ok(());
            }
        }
    }

    /// Finds what has no mark, but what is `suspect`: layers before images.
    fn unmarked(&self, suspect: &BTreeSet<String>) -> Result<Vec<Unmarked>, Error> {
        let layers = self.layer_ids()?.into_iter().map(|id| {
            let place = self.layout().overlay(&id.hex());
            (id, place.clone(), place.join(DIFF))
        });
        let images = self.image_ids()?.into_iter().map(|id| {
            let place = self.layout().image(&id);
            (id, place.clone(), place)
        });
        let unmarked = filter(layers.chain(images), |(_, place, _)| Ok(!is_marked(place)?))?;
        let trusted = unmarked.into_iter().filter(|(id, ..)| !suspect.contains(&id.hex()));
        let found = trusted.filter_map(|(id, place, path)| Unmarked::new(&id, place, path));
        Ok(found.take(AT_ONCE).collect())
    }

    /// Marks what is there still, and returns how many that were.
    fn mark_all(&self, synced: &[Unmarked]) -> Result<usize, Error> {
        let mut marked = 0;
        for one in synced.iter().filter(|one| one.is_still_there()) {
            if self.has_all_marked(&one.id)? {
                mark(&one.place)?;
                marked += 1;
            }
        }
        Ok(marked)
    }

    /// Whether all layers have marks, if this is an image's id.
    fn has_all_marked(&self, id: &str) -> Result<bool, Error> {
        let image = Digest::from_hex(id).map_or(Ok(None), |id| self.image_record(&id))?;
        let layers = image.iter().flat_map(|image| &image.layers);
        let unmarked =
            filter(layers, |layer| Ok(!is_marked(&self.layout().overlay(&layer.chain_id.hex()))?))?;
        Ok(unmarked.is_empty())
    }

    /// Notes that nobody knows what the disk has of these: no later sync can tell (its error is told once only).
    fn suspect(&self, unsynced: &[Unmarked], before: BTreeSet<String>) -> Result<(), Error> {
        let ids = unsynced.iter().map(|one| one.id.clone());
        let boot = Boot { suspect: before.into_iter().chain(ids).collect(), ..Boot::now()? };
        Stage::new(self.layout())?.write(&self.layout().boot(), &record::write(&boot))
    }

    /// Whether the names have changed since the last sync.
    fn names_are_new(&self) -> Result<bool, Error> {
        let inode = |path: PathBuf| look(&path).map(|found| found.map(|file| file.ino()));
        let now = inode(self.layout().names())?;
        Ok(now.is_some() && now != inode(self.layout().synced_names())?)
    }

    /// Keeps names that were synced under a second name, where they are still those that hold: a power cut may leave others
    /// empty.
    fn keep_names(&self, synced: &File) -> Result<(), Error> {
        if !self.names_are_new()? {
            return Ok(());
        }
        let stage = Stage::new(self.layout())?;
        let fresh = stage.fresh();
        match path::link(&self.layout().names(), &fresh) {
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(()),
            linked => linked.map_err(file(&fresh))?,
        }
        let inode = |of: std::io::Result<fs::Metadata>| of.map(|file| file.ino()).map_err(file(&fresh));
        if inode(fs::metadata(&fresh))? != inode(synced.metadata())? {
            return Ok(());
        }
        let kept = self.layout().synced_names();
        path::rename(&fresh, &kept).map_err(file(&kept))
    }
}

/// Whether what was put at `place` outlives a power cut.
pub(super) fn is_marked(place: &Path) -> Result<bool, Error> {
    is_there(place.join(COMMITTED))
}

/// Notes that what was put at `place` is on the disk.
pub(super) fn mark(place: &Path) -> Result<(), Error> {
    let path = place.join(COMMITTED);
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path) {
        Err(e) if e.kind() != ErrorKind::AlreadyExists => Err(file(path)(e)),
        Ok(_) | Err(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::layout::{IMAGE_RECORD, Layout};
    use crate::store::record::{ImageLayer, ImageRecord};

    /// A store of layers that hold nothing, with an image over all of them.
    fn store(root: &Path, layers: &[Digest]) -> Store {
        let layout = Layout::new(root);
        for folder in [layout.layers(), layout.images(), layout.staging(), layout.locks()] {
            fs::create_dir(folder).unwrap();
        }
        for layer in layers {
            fs::create_dir_all(layout.overlay(&layer.hex()).join(DIFF)).unwrap();
            fs::write(layout.layer(layer), "").unwrap();
        }
        let of_image = |chain_id: &Digest| ImageLayer { chain_id: *chain_id, diff_id: Digest::NONE, size: 0 };
        let image = ImageRecord {
            id: Digest::of(b"image"),
            manifest: None,
            platform: String::new(),
            created: None,
            layers: layers.iter().map(of_image).collect(),
            loaded: String::new(),
        };
        fs::create_dir(layout.image(&image.id)).unwrap();
        fs::write(layout.image(&image.id).join(IMAGE_RECORD), record::write(&image)).unwrap();
        fs::write(layout.format(), r#"{"format":1,"marks":true}"#).unwrap();
        fs::write(layout.boot(), record::write(&Boot::now().unwrap())).unwrap();
        Store::open(root).unwrap()
    }

    fn layers() -> [Digest; 2] {
        [Digest::of(b"base"), Digest::of(b"top")]
    }

    fn marks(store: &Store) -> [bool; 3] {
        let [base, top] = layers().map(|layer| is_marked(&store.layout().overlay(&layer.hex())).unwrap());
        [base, top, store.is_synced(&Digest::of(b"image")).unwrap()]
    }

    #[test]
    fn all_is_marked_when_the_disk_has_it() {
        let scratch = tempfile::tempdir().unwrap();
        let store = store(scratch.path(), &layers());
        assert!(!store.is_all_synced().unwrap());
        store.sync(&mut |_| panic!("nobody else syncs")).unwrap();
        assert_eq!(marks(&store), [true; 3]);
        assert!(store.is_all_synced().unwrap());
    }

    #[test]
    fn what_was_replaced_meanwhile_gets_no_mark() {
        let scratch = tempfile::tempdir().unwrap();
        let store = store(scratch.path(), &layers());
        let synced = store.unmarked(&BTreeSet::new()).unwrap();
        let diff = store.layout().overlay(&layers()[1].hex()).join(DIFF);
        fs::remove_dir(&diff).unwrap();
        fs::create_dir(&diff).unwrap();
        store.mark_all(&synced).unwrap();
        assert_eq!(marks(&store), [true, false, false]);
    }

    #[test]
    fn what_a_disk_failed_to_take_is_not_marked_by_a_later_sync() {
        let scratch = tempfile::tempdir().unwrap();
        let store = store(scratch.path(), &layers()[..1]);
        store.suspect(&store.unmarked(&BTreeSet::new()).unwrap(), BTreeSet::new()).unwrap();
        let top = store.layout().overlay(&layers()[1].hex());
        fs::create_dir_all(top.join(DIFF)).unwrap();
        fs::write(store.layout().layer(&layers()[1]), "").unwrap();
        store.sync(&mut |_| panic!("nobody else syncs")).unwrap();
        assert_eq!(marks(&store), [false, true, false]);
    }

    #[test]
    fn a_store_of_another_boot_is_left_alone() {
        let scratch = tempfile::tempdir().unwrap();
        let store = store(scratch.path(), &layers());
        fs::write(store.layout().boot(), r#"{"format":1,"boot":"another"}"#).unwrap();
        store.sync(&mut |_| panic!("nobody else syncs")).unwrap();
        assert_eq!(marks(&store), [false; 3]);
    }

    #[test]
    fn names_that_changed_meanwhile_are_not_those_that_were_synced() {
        let scratch = tempfile::tempdir().unwrap();
        let store = store(scratch.path(), &layers()[..1]);
        let names = store.layout().names();
        fs::write(&names, "before").unwrap();
        let synced = File::open(&names).unwrap();
        fs::rename(&names, scratch.path().join("old")).unwrap();
        fs::write(&names, "after").unwrap();
        store.keep_names(&synced).unwrap();
        assert!(!store.layout().synced_names().exists());
        store.sync(&mut |_| panic!("nobody else syncs")).unwrap();
        assert_eq!(fs::read_to_string(store.layout().synced_names()).unwrap(), "after");
    }
}
