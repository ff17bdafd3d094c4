//! Where overlays are tried: a mount namespace of this thread's own, and a tmpfs in it.

use std::cell::{Cell, OnceCell};
use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use super::super::error::Error;
use super::super::explain;
use super::super::options::Options;
use super::super::plan::{Access, Lower, MAX_LOWER, Plan};
use super::super::script::memory;
use super::super::table::{self, OverlayMount};
use crate::sys::CallFailed;
use crate::sys::kmsg;
use crate::sys::mount::{self, Attributes};
use crate::sys::script::{Call, Slots};

/// Where the tmpfs is: a directory that every /proc has. `Script` has its own on /proc/fs.
const MEMORY: &str = "/proc/driver";

/// How many layers are tried: one more than overlayfs is known to take.
pub(super) const MOST: usize = MAX_LOWER + 1;

/// A thread's own mount namespace with a tmpfs.
pub(super) struct Lab {
    place: PathBuf,
    next: Cell<usize>,
    stack: OnceCell<Plan>,
}

/// Where a bench stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ground {
    /// In the directory that is asked about: the answer is that of its filesystem too.
    Place,
    /// In memory: the answer is the kernel's alone.
    Memory,
}

impl Lab {
    /// Leaves the thread's mount namespace for good.
    pub(super) fn open(place: &Path) -> Result<Self, Error> {
        let mut calls = vec![Call::Unshare, Call::MakePrivate { path: "/proc".into() }];
        memory(MEMORY, None, &mut calls);
        let mut slots = Slots::new();
        calls.iter().try_for_each(|call| call.make(&mut slots))?;
        let_go(place)?;
        Ok(Self { place: place.to_owned(), next: Cell::new(0), stack: OnceCell::new() })
    }

    /// Makes an empty directory.
    pub(super) fn fresh(&self, ground: Ground) -> Result<PathBuf, Error> {
        let root = match ground {
            Ground::Place => &self.place,
            Ground::Memory => Path::new(MEMORY),
        };
        let path = root.join(self.next.replace(self.next.get() + 1).to_string());
        done("mkdir", &path, fs::create_dir(&path))?;
        Ok(path)
    }

    /// Sets up a bench: directories for one overlay, a file and a directory in the lower one.
    pub(super) fn bench(&self, ground: Ground) -> Result<Bench, Error> {
        let bench = Bench { dir: self.fresh(ground)?, merged: self.fresh(Ground::Memory)? };
        for name in ["lower", "lower/dir", "upper", "work"] {
            bench.mkdir(name)?;
        }
        bench.write("lower/file", "lower")?;
        bench.write("lower/dir/file", "lower")?;
        Ok(bench)
    }

    /// Returns a plan of as many layers as are tried, laid out in memory as a store has them.
    pub(super) fn stack(&self) -> Result<&Plan, Error> {
        if let Some(plan) = self.stack.get() {
            return Ok(plan);
        }
        let overlay2 = self.fresh(Ground::Memory)?;
        let mkdir = |name: &str| {
            let path = overlay2.join(name);
            done("mkdir", &path, fs::create_dir_all(&path)).map(|()| path)
        };
        mkdir("l")?;
        let mut lowers = Vec::with_capacity(MOST);
        for nr in 0..MOST {
            let (id, link) = (format!("{nr:064}"), format!("{nr:026}"));
            let path = mkdir(&format!("{id}/diff"))?;
            let short = overlay2.join("l").join(&link);
            done("symlink", &short, symlink(format!("../{id}/diff"), &short))?;
            lowers.push(Lower { path, link: Some(link) });
        }
        let own = format!("{MOST:064}");
        let access =
            Access::Writable { upper: mkdir(&format!("{own}/diff"))?, work: mkdir(&format!("{own}/work"))? };
        let mut plan = Plan::new(lowers, access);
        plan.source = format!("ovlctl:{own}");
        plan.overlay2 = Some(overlay2);
        Ok(self.stack.get_or_init(|| plan))
    }
}

/// Lets go of the overlays that came along with the namespace: a container that is unmounted meanwhile would look as if it
/// were still in use. Where unmounts propagate, that one comes here too, and one of ours would go out.
fn let_go(place: &Path) -> Result<(), Error> {
    let mounts = table::mounts()?;
    let stays = |id: u64| mounts.iter().any(|mount| mount.id == id && !mount.propagates);
    let overlays = mounts.iter().filter(|mount| mount.filesystem == "overlay" && mount.parent != mount.id);
    for overlay in overlays.filter(|overlay| stays(overlay.parent) && !place.starts_with(&overlay.target)) {
        // One that lay on another has gone with it.
        let _gone: Result<(), CallFailed> = mount::unmount(&overlay.target, true);
    }
    Ok(())
}

/// Directories for one overlay.
pub(super) struct Bench {
    dir: PathBuf,
    merged: PathBuf,
}

impl Bench {
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    pub(super) fn mkdir(&self, name: &str) -> Result<PathBuf, Error> {
        let path = self.path(name);
        done("mkdir", &path, fs::create_dir(&path))?;
        Ok(path)
    }

    pub(super) fn write(&self, name: &str, text: &str) -> Result<(), Error> {
        let path = self.path(name);
        done("open", &path, fs::write(&path, text))
    }

    /// Mounts the bench's upper directory over its lower one, with what `-o OPTIONS` would come to.
    pub(super) fn overlay(&self, options: &str) -> Result<Overlay, Error> {
        self.overlay_over("lower", options)
    }

    /// Mounts the bench's upper directory over `lowers`: names in the bench, or absolute ones, separated by colons.
    pub(super) fn overlay_over(&self, lowers: &str, options: &str) -> Result<Overlay, Error> {
        // Nothing here is worth a sync, and one takes as long as the whole filesystem has to write (ovl_sync_fs).
        let options =
            if options.ends_with("volatile") { options.to_owned() } else { format!("volatile,{options}") };
        let overlay = self.mount(&format!("upperdir=upper,workdir=work,lowerdir={lowers}"), &options)?;
        if overlay.found.frozen {
            return Err(Error::Frozen { work: self.path("work"), said: overlay.said.clone() });
        }
        Ok(overlay)
    }

    /// Mounts `lowers` read-only.
    pub(super) fn layers(&self, lowers: &str, options: &str) -> Result<Overlay, Error> {
        self.mount(&format!("lowerdir={lowers}"), options)
    }

    /// mount(2), from inside the bench: every kernel takes short relative names, whatever the bench's own name is.
    fn mount(&self, layers: &str, options: &str) -> Result<Overlay, Error> {
        let mut wanted = Options::default();
        wanted.add(options).map_err(|e| Error::Mismatch(e.to_string()))?;
        let mut data: Vec<String> = wanted.resolved().into_iter().map(spelled).collect();
        data.push(layers.to_owned());
        let target = self.merged.clone().into_os_string().into_encoded_bytes();
        let calls = [
            Call::ChangeDir { path: self.dir.as_os_str().as_encoded_bytes().into() },
            Call::Mount {
                source: "ovlctl".into(),
                target: target.into(),
                attributes: Attributes::empty(),
                data: data.join(",").into(),
            },
        ];
        let log = kmsg::Mark::now();
        let mut slots = Slots::new();
        let made = calls.iter().try_for_each(|call| call.make(&mut slots));
        let said = log.since();
        made.map_err(|failed| explain::explain(failed.into(), &said))?;
        let found = table::top_at(&table::mounts()?, &self.merged).and_then(OverlayMount::of);
        let found = found.ok_or_else(|| Error::NotMounted(self.merged.clone()))?;
        Ok(Overlay { found, said })
    }
}

fn spelled((key, value): (String, Option<String>)) -> String {
    value.map_or(key.clone(), |value| format!("{key}={value}"))
}

/// An overlay that is mounted until it is dropped.
pub(super) struct Overlay {
    found: OverlayMount,
    /// What the kernel's log says of it.
    pub(super) said: Vec<String>,
}

impl Overlay {
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.found.target.join(name)
    }

    /// Whether the kernel shows this option: it shows those that differ from the module's default.
    pub(super) fn shows(&self, option: &str) -> bool {
        self.found.options.iter().any(|shown| shown == option)
    }

    /// Whether the overlay is told to sync nothing, however this kernel puts that.
    pub(super) fn is_volatile(&self) -> bool {
        self.found.volatile
    }

    pub(super) fn read(&self, name: &str) -> Result<String, Error> {
        let path = self.path(name);
        done("open", &path, fs::read_to_string(&path))
    }
}

impl Drop for Overlay {
    fn drop(&mut self) {
        // Where it cannot go now, it goes with the thread's namespace.
        let _gone: Result<(), CallFailed> = mount::unmount(&self.found.target, true);
    }
}

/// Says of an error of the standard library's which call it was.
pub(super) fn done<T>(call: &str, path: &Path, result: io::Result<T>) -> Result<T, Error> {
    result.map_err(|e| CallFailed::of_io(format!("{call}({path:?})"), &e).into())
}
