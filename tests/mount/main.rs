//! Mounts on the running kernel, as root, each test in a mount namespace of its own.
#![expect(clippy::unwrap_used, reason = "a test ends where something unforeseen happens")]

mod counts;
mod in_use;
mod mounts;
mod names;
mod refusals;
mod unmounts;
mod work;

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use ovlctl::mount::table::{self, OverlayMount};
use ovlctl::mount::{self, Access, Class, Error, Lower, Method, Mounted, Plan, Target};
use ovlctl::sys::dir::Dir;
use ovlctl::sys::mount::own_mount_namespace;
use ovlctl::sys::probe;

/// A folder of its own in a mount namespace of its own; both go with the test.
struct Scene {
    dir: tempfile::TempDir,
}

impl Scene {
    #[track_caller]
    fn new() -> Self {
        own_mount_namespace().expect("tests of mounts run as root");
        let scene = Self { dir: tempfile::tempdir_in(place()).unwrap() };
        for name in ["upper", "work", "target"] {
            scene.mkdir(name);
        }
        scene
    }

    fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.dir.path().join(name)
    }

    fn target(&self) -> PathBuf {
        self.path("target")
    }

    fn mkdir(&self, name: impl AsRef<Path>) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(&path).unwrap();
        path
    }

    /// Directories with a file of the same name in each.
    fn layers(&self, names: &[&str]) -> Vec<Lower> {
        let layer = |name: &&str| {
            let path = self.mkdir(name);
            fs::write(path.join(path.file_name().unwrap()), "").unwrap();
            Lower::from(path)
        };
        names.iter().map(layer).collect()
    }

    /// Layers in a folder like the store's, with short links to them.
    fn store(&self, count: usize) -> Vec<Lower> {
        self.mkdir("overlay2/l");
        let layer = |nr: usize| {
            let (id, link) = (format!("{nr:064}"), format!("{nr:026}"));
            let path = self.mkdir(format!("overlay2/{id}/diff"));
            fs::write(path.join(format!("f{nr}")), "").unwrap();
            symlink(format!("../{id}/diff"), self.path("overlay2/l").join(&link)).unwrap();
            Lower { path, link: Some(link) }
        };
        (0..count).map(layer).collect()
    }

    fn writable(&self) -> Access {
        Access::Writable { upper: self.path("upper"), work: self.path("work") }
    }

    fn in_memory(&self, root: &Lower) -> Access {
        Access::Tmpfs { size: Some(1 << 20), root: root.path.clone() }
    }

    fn plan(&self, lowers: &[&str]) -> Plan {
        Plan::new(self.layers(lowers), self.writable())
    }

    fn mount(&self, plan: &Plan) -> Result<Mounted, Error> {
        plan.check()?;
        mount::perform(plan, &Target::open(&self.target())?)
    }

    /// How many overlays are mounted in the scene; others may have come with the namespace.
    fn overlays(&self) -> usize {
        let ours = |overlay: &&OverlayMount| overlay.target.starts_with(self.dir.path());
        table::overlays().unwrap().iter().filter(ours).count()
    }

    /// The refusal with the scene's folder left out of it.
    #[track_caller]
    fn refuses(&self, plan: &Plan, class: Class, sentence: &str) {
        let error = self.mount(plan).expect_err("is refused");
        let folder = format!("{}/", self.dir.path().display());
        assert_eq!((error.to_string().replace(&folder, "").as_str(), error.class()), (sentence, class));
        assert_eq!(overlays_in(&self.target()), 0);
    }
}

/// Where tests have their directories: not on tmpfs, which differs from what people use, nor on overlayfs.
fn place() -> PathBuf {
    std::env::var_os("OVLCTL_TEST_DIR").map_or_else(|| "/var/tmp".into(), PathBuf::from)
}

/// Whether this kernel has a method; where not, says so on stderr: the test leaves it out.
#[expect(
    clippy::print_stderr,
    reason = "nextest shows it: a test can say in no other way that it left something out"
)]
fn has(method: Method) -> bool {
    let has = method == Method::Links || methods().contains(&method);
    if !has {
        eprintln!("skipped: this kernel cannot take layers by method '{}'", method.name());
    }
    has
}

/// The methods that this kernel has and that any directory can be mounted by.
fn methods() -> Vec<Method> {
    let layers = probe::layers(&Dir::open(&place()).unwrap()).unwrap();
    match layers {
        probe::Layers::Handles => vec![Method::Fd, Method::Path, Method::ProcFd],
        probe::Layers::Strings => vec![Method::Path, Method::ProcFd],
        probe::Layers::Page => vec![Method::ProcFd],
    }
}

fn by(method: Method, plan: &Plan) -> Plan {
    Plan { method: Some(method), ..plan.clone() }
}

fn is_writable(dir: &Path) -> bool {
    fs::write(dir.join("probe"), "").is_ok()
}

fn overlays_in(target: &Path) -> usize {
    table::overlays().unwrap().iter().filter(|overlay| overlay.target == target).count()
}

fn find(target: &Path) -> OverlayMount {
    table::overlays().unwrap().into_iter().rfind(|overlay| overlay.target == target).unwrap()
}

fn bind(from: &Path, to: &Path) {
    sh(&format!("mount --bind '{}' '{}'", from.display(), to.display()));
}

#[track_caller]
fn sh(command: &str) {
    assert!(std::process::Command::new("sh").args(["-c", command]).status().unwrap().success(), "{command}");
}
