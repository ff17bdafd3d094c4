//! The store: layers, images and containers on disk.
//!
//! ```text
//! <root>/                       0700: whoever could enter it could run an image's setuid files
//!   store.json                  the format's number
//!   boot                        in which boot of the machine it was made or recovered last; see [`recover`]
//!   overlay2/                   Docker's tree, exactly
//!     l/<LINK> -> ../<id>/diff    a layer's short name: 26 characters of A-Z2-7
//!     <id>/                       a layer (its chain id), a container or a snapshot (random), 64 hex digits
//!       diff/                       the layer's or the snapshot's own tree, or the container's upper directory
//!       link                        its short name
//!       lower                       what lies below, uppermost first: l/LINK:l/LINK
//!       work/  merged/              overlayfs' scratch directory; where a container mounts by default
//!       committed                   empty: the disk has the layer; see [`sync`]
//!   layers/<chain id>.json      what is known of a layer
//!   recipes/<chain id>          how its tar is made again; see [`crate::layer::recipe`]
//!   images/<id>/                image.json, config.json; committed, as a layer has it
//!   names.json                  which name means which image; names.synced.json: the same, as it was synced last
//!   containers/<name>.json      what is known of a container
//!   snapshots/<id>.json         what is known of a snapshot
//!   empty/                      an empty directory: what an image without layers is made of
//!   points/                     mount points: the lowest layer of a container in which something is run
//!   staging/                    what is being made and removed, by command; see [`stage`]
//!   locks/                      see [`Change`]
//!   reserve/                    room for removing where there is none; see [`reserve`]
//! ```
//!
//! A layer or a container is there when its directory in `overlay2/` is; its record is written before. Everything that
//! others may see is made in a stage and renamed into place. Reading takes no lock. Knows no tar and no mounting.

mod adopt;
mod arrive;
mod boot;
pub mod check;
pub mod commit;
pub mod config;
pub mod containers;
pub mod disk;
pub mod error;
pub mod explain;
pub mod filter;
pub mod freeze;
pub mod history;
pub mod images;
pub mod layers;
pub mod layout;
pub mod load;
mod points;
pub mod prune;
pub mod record;
pub mod recover;
mod reserve;
pub mod save;
mod settling;
pub mod snapshots;
pub mod stage;
mod staged;
pub mod sync;
pub mod usage;
pub mod views;

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use arrive::Arrivals;
use boot::{Boot, Format, State};
pub use error::Error;
use error::{file, is_dir, is_there};
use layout::Layout;
use reserve::Reserve;
use stage::Stage;

use crate::sys::dir::{Dir, FileType};
use crate::sys::filesystem::Filesystem;
use crate::sys::lock::{Holder, Lock, Share};
use crate::sys::path;
use crate::sys::{CallFailed, Errno};

/// A store that may be read.
#[derive(Debug)]
pub struct Store {
    layout: Layout,
    state: State,
}

impl Store {
    /// The store at `root`, which need not exist: then it holds nothing.
    pub fn open(root: &Path) -> Result<Self, Error> {
        let layout = Layout::new(root);
        let state = State::of(&layout)?;
        Ok(Self { layout, state })
    }

    /// Every name in the store.
    #[must_use]
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Returns what tells this store from every other, its copies included, from wherever it is seen, as `stat -c %d:%i` prints
    /// it: device and inode of its directory. `None` where there is no store.
    pub fn identity(&self) -> Result<Option<String>, Error> {
        match fs::metadata(self.layout.root()) {
            Ok(root) => Ok(Some(format!("{}:{}", root.dev(), root.ino()))),
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
            Err(e) => Err(file(self.layout.root())(e)),
        }
    }

    /// Makes the store where there is none.
    pub fn make(&self) -> Result<(), Error> {
        if is_there(self.layout.format())? {
            Ok(())
        } else {
            create(&self.layout).map_err(|e| self.explained(e))
        }
    }

    /// Starts a change. Changes that share run side by side; an exclusive one waits for all others, and `waiting` is
    /// told whom it waits for. Makes the store where there is none.
    pub fn change(&self, share: Share, waiting: &mut dyn FnMut(&[Holder])) -> Result<Change<'_>, Error> {
        self.begin(share, false, waiting)
    }

    /// Starts a change that gives room back: where no room is left it can be made, too.
    pub fn change_that_frees(
        &self,
        share: Share,
        waiting: &mut dyn FnMut(&[Holder]),
    ) -> Result<Change<'_>, Error> {
        self.begin(share, true, waiting)
    }

    fn begin(
        &self,
        share: Share,
        frees: bool,
        waiting: &mut dyn FnMut(&[Holder]),
    ) -> Result<Change<'_>, Error> {
        self.make()?;
        let begin = |waiting: &mut dyn FnMut(&[Holder])| {
            let lock = Lock::take(&self.layout.locks().join(STORE_LOCK), share, waiting)?;
            let reserve = Reserve::of(&self.layout);
            if frees {
                reserve.release_if_needed()?;
            }
            let stage = match Stage::new(&self.layout) {
                // Of a quota the filesystem tells only now.
                Err(e) if frees && e.is_full() => {
                    reserve.release();
                    Stage::new(&self.layout)?
                }
                stage => stage?,
            };
            Ok(Change { store: self, _lock: lock, stage, arrivals: Arrivals::default(), _reserve: reserve })
        };
        begin(waiting).map_err(|e| self.explained(e))
    }

    /// Makes an empty directory on this store's filesystem to try things in, gone with it. Where there is no store, none is
    /// made: then it lies in the nearest directory above that is there.
    pub fn scratch(&self) -> Result<Scratch, Error> {
        let make = || {
            if is_there(self.layout.format())? {
                let stage = Stage::new(&self.layout)?;
                return Ok(Scratch { directory: self.layout.root().to_owned(), in_store: true, stage });
            }
            let above = self.layout.root().ancestors().find(|path| path.is_dir()).unwrap_or(Path::new("/"));
            Ok(Scratch { directory: above.to_owned(), in_store: false, stage: Stage::outside(above)? })
        };
        make().map_err(|e| self.explained(e))
    }

    /// Says of a full or read-only filesystem that it is the store's.
    fn explained(&self, error: Error) -> Error {
        let root = || self.layout.root().to_owned();
        if error.is_full() {
            Error::NoSpace(root())
        } else if error.kind() == Some(ErrorKind::ReadOnlyFilesystem) {
            Error::ReadOnly(root())
        } else {
            error
        }
    }
}

/// An empty directory to try things in.
#[derive(Debug)]
#[must_use]
pub struct Scratch {
    /// The directory that it stands for: the store, or the nearest that is there.
    pub directory: PathBuf,
    /// Whether there is a store.
    pub in_store: bool,
    stage: Stage,
}

impl Scratch {
    /// Returns where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.stage.path()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // Here, and not in the background: it may lie where no store is, and what is tried is to leave no trace.
        self.stage.clear();
    }
}

/// The lock that every change takes.
const STORE_LOCK: &str = "store";

/// A change under way: may write to the store, and has a place to do so.
///
/// Shared: loading, mounting, naming. Exclusive: removing what others may be about to use.
#[derive(Debug)]
#[must_use]
pub struct Change<'a> {
    store: &'a Store,
    // Given up before the stage: nobody is to wait while that is deleted.
    _lock: Lock,
    stage: Stage,
    arrivals: Arrivals,
    // Made again after the stage has gone.
    _reserve: Reserve,
}

impl Change<'_> {
    /// The store that changes.
    #[must_use]
    pub fn store(&self) -> &Store {
        self.store
    }

    /// A place for what comes through a pipe: gone with the change.
    #[must_use]
    pub fn spool(&self) -> &Path {
        self.stage.path()
    }

    fn layout(&self) -> &Layout {
        &self.store.layout
    }

    /// Takes a lock of its own for one layer or container, gone with its holder.
    fn own(&self, name: &str, waiting: &mut dyn FnMut(&[Holder])) -> Result<Own, Error> {
        let path = self.layout().locks().join(name);
        let lock = Lock::take(&path, Share::Exclusive, waiting)?;
        Ok(Own { path, _lock: lock })
    }
}

impl Change<'_> {
    /// The same, if nobody has it.
    fn try_own(&self, name: &str) -> Result<Option<Own>, Error> {
        let path = self.layout().locks().join(name);
        let lock = Lock::try_path(&path, Share::Exclusive)?;
        Ok(lock.map(|lock| Own { path, _lock: lock }))
    }
}

/// The lock of one layer or one container.
#[derive(Debug)]
#[must_use]
pub struct Own {
    path: PathBuf,
    _lock: Lock,
}

impl Drop for Own {
    fn drop(&mut self) {
        // While the lock is still held: whoever waits for it sees that the file is gone, and starts anew.
        let _ = path::unlink(&self.path);
    }
}

/// Makes an empty store, and finds out first whether its filesystem can hold layers.
fn create(layout: &Layout) -> Result<(), Error> {
    let root = layout.root();
    if let Some(parent) = root.parent() {
        path::mkdirs(parent, 0o777).map_err(file(parent))?;
    }
    match path::mkdir(root, 0o700) {
        Err(e) if e.kind() != ErrorKind::AlreadyExists => return Err(file(root)(e)),
        Ok(()) | Err(_) => {}
    }
    let dir = Dir::open(root)?;
    let _lock = loop {
        if let Some(lock) = Lock::try_take(&dir, Share::Exclusive)? {
            break lock;
        }
        std::thread::yield_now();
    };
    if is_there(layout.format())? {
        return Ok(());
    }
    stage::sweep_outside(root)?;
    // Whoever was killed here, or lost power, left at least this.
    let begun = is_dir(layout.overlay2())?;
    let others = |name: &Vec<u8>| name != TRIAL && name != b"lost+found" && !stage::is_outside(name);
    if !begun && dir.names()?.iter().any(others) {
        return Err(Error::NotAStore(root.to_owned()));
    }
    dir.chmod_self(0o700)?;
    try_out(&dir)?;
    make_folders(layout)?;
    if !boot::has_content(layout)? {
        let path = layout.boot();
        fs::write(&path, record::write(&Boot::now()?)).map_err(file(path))?;
    }
    // Last, and whole: then the store is there.
    Stage::new(layout)?.write(&layout.format(), &record::write(&Format { marks: true }))
}

/// Makes the folders of a store that are missing.
fn make_folders(layout: &Layout) -> Result<(), Error> {
    for path in [
        layout.links(),
        layout.layers(),
        layout.recipes(),
        layout.images(),
        layout.containers(),
        layout.snapshots(),
        layout.staging(),
        layout.locks(),
        layout.empty(),
        layout.reserve(),
    ] {
        folder(&path)?;
    }
    let empty = Dir::open(&layout.empty())?;
    crate::layer::fresh_root(&empty)?;
    Ok(empty.chmod_self(0o755)?)
}

/// What [`try_out`] calls its directory.
const TRIAL: &[u8] = b"trial";

/// Tries in an empty directory what layers need: whiteouts and overlayfs' attributes.
fn try_out(root: &Dir) -> Result<(), Error> {
    let filesystem = Filesystem::of(root)?;
    let unfit = |what| Error::Unfit { root: root.path().to_owned(), filesystem: filesystem.name(), what };
    if filesystem.is_overlayfs() {
        return Err(unfit("an upper directory"));
    }
    crate::sys::tree::remove(root, TRIAL)?;
    root.mkdir(TRIAL, 0o700)?;
    let dir = root.open_dir(TRIAL)?;
    let whiteout = dir.mknod(b"whiteout", FileType::CharacterDevice, 0, (0, 0));
    let opaque = dir.set_xattr_self(b"trusted.overlay.opaque", b"y");
    crate::sys::tree::remove(root, TRIAL)?;
    let told = |failed: CallFailed, what| {
        // A disk that fails, or is full, is not unfit.
        let unheld = [Errno::PERM, Errno::ACCESS, Errno::OPNOTSUPP, Errno::NOSYS, Errno::INVAL];
        if unheld.contains(&failed.errno) { unfit(what) } else { failed.into() }
    };
    whiteout.map_err(|e| told(e, "whiteouts (character devices)"))?;
    opaque.map_err(|e| told(e, "overlayfs' extended attributes (trusted.*)"))
}

/// Makes a folder of the store's where it is missing.
fn folder(path: &Path) -> Result<(), Error> {
    path::mkdirs(path, 0o700).map_err(file(path))
}

/// Makes a directory that only root may enter.
fn private_dir(path: &Path) -> Result<(), Error> {
    path::mkdir(path, 0o700).map_err(file(path))
}

/// Returns the time now (RFC 3339).
fn now() -> String {
    jiff::Timestamp::now().to_string()
}

/// Returns the name that a slip of the fingers may have meant: at most a third of its letters apart.
fn nearest<'a>(text: &str, names: impl Iterator<Item = &'a String>) -> Option<String> {
    // Whoever forgets a tag, or takes another one, has the rest of the name right.
    let bare = |name| str::split_once(name, ':').map_or(name, |(bare, _)| bare);
    let near = names.map(|name| {
        let whole = strsim::damerau_levenshtein(text, name);
        (strsim::damerau_levenshtein(bare(text), bare(name)).min(whole), whole, name)
    });
    let (distance, _, name) = near.min()?;
    (distance <= text.len().div_ceil(3)).then(|| name.clone())
}
