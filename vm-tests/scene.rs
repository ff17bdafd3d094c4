//! Where a fact looks: a folder on the filesystem under test, the working directory of a thread that has a mount
//! namespace of its own.
//!
//! All names are relative to the folder. What is set up panics where it cannot be; what is looked at returns what it saw,
//! so that an errno is told apart from a scene that could not be had.

mod context;
mod overlay;
mod tree;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard};
use std::thread;

use ovlctl::mount::table;
use ovlctl::sys::dir::Dir;
use ovlctl::sys::mount::{Attributes, own_mount_namespace, unmount};
use ovlctl::sys::script::How;
use ovlctl::sys::{self, CallFailed, Errno};
use rustix::mount::{MountFlags, mount_bind, mount_remount};

use crate::fact::{Place, Saw, Stop, told};

pub(crate) use context::Context;
pub(crate) use overlay::{By, Overlay};
pub(crate) use tree::Tree;

/// Where overlays are mounted unless a fact says otherwise.
pub(crate) const MERGED: &str = "m";

/// A folder for one fact.
pub(crate) struct Scene {
    parent: PathBuf,
    name: String,
    lowers: Mutex<Vec<String>>,
}

impl Scene {
    /// Takes this thread into a mount namespace of its own, and into a new folder.
    pub(crate) fn new(place: &Place, fact: &str) -> Self {
        own_mount_namespace().expect("facts are looked at as root");
        sys::raise_file_limit();
        let name = format!("{}-{}", fact.replace("::", "-"), std::process::id());
        let parent = fs::canonicalize(place.dir()).expect("the place is there");
        let scene = Self { parent, name, lowers: Mutex::default() };
        fs::create_dir(scene.dir()).expect("the fact's folder is its own");
        std::env::set_current_dir(scene.dir()).expect("its folder can be entered");
        for name in ["upper", "work", MERGED] {
            scene.dir_named(name);
        }
        scene
    }

    /// Takes everything away again.
    pub(crate) fn end(self) {
        std::env::set_current_dir("/").expect("the root can be entered");
        let ours = || {
            let mounts = table::mounts().expect("mountinfo can be read");
            mounts.into_iter().rfind(|mount| mount.target.starts_with(self.dir()))
        };
        while let Some(mount) = ours() {
            if unmount(&mount.target, true).is_err() {
                return; // What is mounted there must not be removed.
            }
        }
        let parent = Dir::open(&self.parent).expect("the place is there");
        if let Err(failed) = sys::tree::remove(&parent, self.name.as_bytes()) {
            panic!("is left behind: {failed}");
        }
    }

    /// The folder itself, for what needs a whole path.
    pub(crate) fn dir(&self) -> PathBuf {
        self.parent.join(&self.name)
    }

    /// Makes lower directories, uppermost first as in `lowerdir=`. The scene's mounts are of these.
    pub(crate) fn lowers<const N: usize>(&self, names: [&str; N]) -> [Tree; N] {
        self.known().extend(names.map(str::to_owned));
        names.map(|name| self.dir_named(name))
    }

    /// Makes one lower directory.
    pub(crate) fn lower(&self) -> Tree {
        let [lower] = self.lowers(["lower"]);
        lower
    }

    /// Makes `count` lower directories `0`, `1`…, each with a file of its name: `f0`, `f1`…
    pub(crate) fn many_lowers(&self, count: usize) {
        for nr in 0..count {
            let [lower] = self.lowers([&nr.to_string()]);
            lower.file(&format!("f{nr}"), "");
        }
    }

    fn known(&self) -> MutexGuard<'_, Vec<String>> {
        self.lowers.lock().expect("nobody panics with it")
    }

    pub(crate) fn upper(&self) -> Tree {
        Tree::at("upper")
    }

    pub(crate) fn work(&self) -> Tree {
        Tree::at("work")
    }

    /// Makes a directory that is no layer.
    pub(crate) fn dir_named(&self, name: &str) -> Tree {
        fs::create_dir_all(name).unwrap_or_else(|e| panic!("mkdir {name}: {e}"));
        Tree::at(name)
    }

    /// An overlay of the scene's lowers with `upper` and `work`, by mount(2), to be changed and mounted.
    pub(crate) fn overlay(&self, options: &str) -> Overlay {
        Overlay::new(self.known().clone(), options)
    }

    /// Mounts it as it is; the kernel may refuse.
    pub(crate) fn mount(&self, options: &str) -> Result<Tree, CallFailed> {
        self.overlay(options).mount()
    }

    /// Mounts it as it is, which must work for the fact to make sense.
    #[track_caller]
    pub(crate) fn mounted(&self, options: &str) -> Tree {
        self.overlay(options).mounted()
    }

    /// Mounts the lowers alone.
    #[track_caller]
    pub(crate) fn mounted_without_upper(&self, options: &str) -> Tree {
        self.overlay(options).read_only().mounted()
    }

    /// Calls mount(2) with options of any length.
    pub(crate) fn mount_page(&self, data: &str) -> Result<Tree, Stop> {
        let data = std::ffi::CString::new(data).expect("options have no NUL");
        rustix::mount::mount("overlay", MERGED, "overlay", MountFlags::empty(), data.as_c_str())?;
        Ok(Tree::at(MERGED))
    }

    /// Whether the kernel takes these options at all, told apart from what it does with them.
    pub(crate) fn needs(&self, options: &str) -> Result<(), Stop> {
        self.dir_named("needs");
        let overlay = self.overlay(options).lowers(&["needs"]).upper("needs-u", "needs-w").at("needs-m");
        match overlay.mount() {
            Ok(_) => Ok(unmount(Path::new("needs-m"), false)?),
            Err(e) => Err(Stop::Skip(format!("no overlay with {options}: {}", told::<String, _>(Err(e))))),
        }
    }

    /// Whether the kernel takes layers as strings, one by one.
    pub(crate) fn needs_strings(&self) -> Result<(), Stop> {
        self.dir_named("needs");
        let taken = Context::open("overlay")?.set("lowerdir+", "needs").and_then(|()| {
            // Up to Linux 6.4 any option is taken now, and refused later.
            Context::open("overlay")?
                .flag("made-up")
                .map_or(Ok(()), |()| Err(CallFailed::new("", Errno::INVAL)))
        });
        taken.map_err(|_| Stop::Skip("layers are not taken as strings".to_owned()))
    }

    /// Whether the kernel takes layers as open directories.
    pub(crate) fn needs_handles(&self) -> Result<(), Stop> {
        self.dir_named("needs");
        let taken = Context::open("overlay")?.handle("lowerdir+", "needs", How::Read);
        taken.map_err(|_| Stop::Skip("layers are not taken as handles".to_owned()))
    }

    /// Unmounts what is mounted at `name`.
    pub(crate) fn unmount(&self, name: &str) -> Saw {
        unmount(Path::new(name), false)?;
        Ok("ok".to_owned())
    }

    /// Unmounts, and mounts again with other options.
    #[track_caller]
    pub(crate) fn again(&self, options: &str) -> Result<Tree, CallFailed> {
        self.unmount(MERGED).unwrap_or_else(|e| panic!("umount: {e:?}"));
        self.mount(options)
    }

    /// What mountinfo says of the mount at `name`: the options of its filesystem.
    #[track_caller]
    pub(crate) fn options_shown(&self, name: &str) -> String {
        let target = self.dir().join(name);
        let mount = table::mounts().expect("mountinfo can be read").into_iter().rfind(|m| m.target == target);
        let options = mount.unwrap_or_else(|| panic!("nothing is mounted at {name}")).options;
        options.to_string_lossy().into_owned()
    }

    /// How many lower directories mountinfo shows.
    pub(crate) fn layers_shown(&self) -> Saw {
        let target = self.dir().join(MERGED);
        let overlay = table::overlays()?.into_iter().rfind(|overlay| overlay.target == target);
        Ok(format!("{} layers", overlay.map_or(0, |overlay| overlay.lowers.len())))
    }

    /// Which of `names` are among the options that mountinfo shows, with their values; `none` where none is.
    #[track_caller]
    pub(crate) fn shows(&self, names: &[&str]) -> Saw {
        let options = self.options_shown(MERGED);
        let named = |option: &&str| names.contains(&option.split('=').next().unwrap_or_default());
        let shown: Vec<_> = options.split(',').filter(named).collect();
        Ok(if shown.is_empty() { "none".to_owned() } else { shown.join(",") })
    }

    /// Does something as a user without any capability.
    pub(crate) fn as_user(&self, uid: u32, body: impl FnOnce() -> Saw + Send) -> Saw {
        use rustix::thread::{Gid, Uid, set_thread_groups, set_thread_res_gid, set_thread_res_uid};
        let (user, group) = (Uid::from_raw(uid), Gid::from_raw(uid));
        let become_user = || {
            set_thread_groups(&[])?;
            set_thread_res_gid(group, group, group)?;
            set_thread_res_uid(user, user, user)
        };
        // Identities belong to a thread, and a thread's end is the only way back.
        thread::scope(|scope| {
            let user = scope.spawn(|| {
                become_user().expect("root can become a user");
                body()
            });
            user.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// Mounts a new filesystem in memory at `name`.
    #[track_caller]
    pub(crate) fn tmpfs(&self, name: &str, options: &[(&str, &str)]) -> Tree {
        let tree = self.dir_named(name);
        let mounted = Context::open("tmpfs").and_then(|mut tmpfs| {
            options.iter().try_for_each(|(key, value)| tmpfs.set(key, value))?;
            tmpfs.mount(name, Attributes::empty())
        });
        mounted.unwrap_or_else(|e| panic!("tmpfs at {name}: {e}"));
        tree
    }

    /// Mounts the directory `from` a second time, at `to`, with more flags.
    #[track_caller]
    pub(crate) fn bind(&self, from: &str, to: &str, flags: MountFlags) -> Tree {
        let tree = self.dir_named(to);
        mount_bind(from, to).unwrap_or_else(|e| panic!("bind {from} to {to}: {e}"));
        if !flags.is_empty() {
            mount_remount(to, MountFlags::BIND | flags, "").unwrap_or_else(|e| panic!("remount {to}: {e}"));
        }
        tree
    }
}
