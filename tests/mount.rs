//! Mounts on the running kernel, as root, each test in a mount namespace of its own.

use std::fs;
use std::path::{Path, PathBuf};

use ovlctl::mount::{self, Access, Error, Lower, Method, Mounted, Plan, Target};
use ovlctl::sys::mount::own_mount_namespace;

/// A folder of its own in a mount namespace of its own; both go with the test.
struct Scene {
    dir: tempfile::TempDir,
}

impl Scene {
    #[track_caller]
    fn new() -> Self {
        own_mount_namespace().expect("tests of mounts run as root");
        let scene = Self { dir: tempfile::tempdir_in("/var/tmp").unwrap() };
        for name in ["upper", "work", "target"] {
            scene.mkdir(name);
        }
        scene
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn mkdir(&self, name: &str) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(&path).unwrap();
        path
    }

    /// A directory with a file of the same name in it.
    fn layer(&self, name: &str) -> PathBuf {
        let path = self.mkdir(name);
        fs::write(path.join(name), name).unwrap();
        path
    }

    /// `count` layers in a folder like the store's, with short links to them.
    fn store(&self, count: usize) -> Vec<Lower> {
        self.mkdir("overlay2/l");
        let layer = |nr: usize| {
            let id = format!("{nr:064}");
            let link = format!("{nr:026}");
            let path = self.mkdir(&format!("overlay2/{id}/diff"));
            fs::write(path.join(format!("f{nr}")), "").unwrap();
            std::os::unix::fs::symlink(format!("../{id}/diff"), self.path("overlay2/l").join(&link)).unwrap();
            Lower { path, link: Some(link) }
        };
        (0..count).map(layer).collect()
    }

    fn writable(&self) -> Access {
        Access::Writable { upper: self.path("upper"), work: self.path("work") }
    }

    fn mount(&self, plan: &Plan) -> Result<Mounted, Error> {
        plan.check()?;
        mount::perform(plan, &Target::open(&self.path("target"))?)
    }
}

fn by(method: Method, plan: &Plan) -> Plan {
    Plan { method: Some(method), ..plan.clone() }
}

fn is_writable(dir: &Path) -> bool {
    fs::write(dir.join("probe"), "").is_ok()
}

fn counts(method: Method, counts: &[usize]) {
    let scene = Scene::new();
    let layers = scene.store(500);
    for &count in counts {
        for access in
            [Access::ReadOnly, scene.writable(), Access::Tmpfs { size: None, root: layers[0].path.clone() }]
        {
            let mut plan = by(method, &Plan::new(layers[..count].to_vec(), access.clone()));
            plan.overlay2 = Some(scene.path("overlay2"));
            let mounted = scene.mount(&plan).unwrap_or_else(|e| panic!("{count} {access:?}: {e}"));
            assert_eq!(mounted.method, method);
            let target = scene.path("target");
            assert!(target.join(format!("f{}", count - 1)).exists(), "{count} {access:?}");
            assert!(target.join("f0").exists());
            assert!(!target.join(format!("f{count}")).exists());
            assert_eq!(is_writable(&target), access != Access::ReadOnly, "{count} {access:?}");
            ovlctl::sys::mount::unmount(&target, false).unwrap();
        }
    }
}

#[test]
fn takes_1_to_500_layers_as_handles() {
    counts(Method::Fd, &[1, 2, 127, 128, 129, 255, 256, 500]);
}

#[test]
fn takes_1_to_500_layers_as_strings() {
    counts(Method::Path, &[1, 2, 127, 128, 129, 255, 256, 500]);
}

#[test]
fn takes_1_to_500_layers_as_numbers() {
    counts(Method::ProcFd, &[1, 2, 127, 128, 129, 255, 256, 500]);
}

#[test]
fn takes_1_to_129_layers_as_links() {
    counts(Method::Links, &[1, 2, 127, 128, 129]);
}
