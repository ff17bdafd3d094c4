//! What lies outside of the store and must stay as it is: contents, owners, modes, links, attributes and every time.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use rustix::fs::{XattrFlags, lgetxattr, llistxattr, lsetxattr};

use crate::support::Scene;

/// A directory on the store's own filesystem, so that a hard link into the store could be made, and all that is in it.
pub(super) struct Canary {
    home: PathBuf,
    scene: PathBuf,
    before: Vec<String>,
}

impl Canary {
    pub(super) fn set(scene: &Scene) -> Self {
        let home = scene.mkdir("outside");
        for (name, mode) in [("canary", 0o640), ("setuid", 0o4755)] {
            let path = home.join(name);
            fs::write(&path, "alive").expect("a file");
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("its mode");
            lsetxattr(&path, "user.canary", b"alive", XattrFlags::empty()).expect("an attribute");
        }
        fs::hard_link(home.join("canary"), home.join("second")).expect("a second name");
        fs::create_dir_all(home.join("dir/empty")).expect("a directory");
        symlink("canary", home.join("link")).expect("a link");
        let mut canary = Self { home, scene: scene.path(""), before: Vec::new() };
        canary.before = canary.now();
        canary
    }

    /// Returns where it is.
    pub(super) fn path(&self) -> String {
        self.home.to_str().expect("it is text").to_owned()
    }

    /// Checks that nothing of it changed, and that nothing new lies beside it.
    #[track_caller]
    pub(super) fn lives(&self, after: &str) {
        let now = self.now();
        assert_eq!(now.join("\n"), self.before.join("\n"), "{after} changed what lies outside");
        let known = ["bad.tar", "good.tar", "layout", "outside", "store", "target", "tmp"];
        let names = fs::read_dir(&self.scene).expect("the scene is there");
        let names: Vec<_> = names.map(|entry| entry.expect("readdir").file_name()).collect();
        let strange: Vec<_> = names.iter().filter(|name| !known.iter().any(|known| name == known)).collect();
        assert!(strange.is_empty(), "{after} made {strange:?} beside the store");
    }

    fn now(&self) -> Vec<String> {
        let mut lines = Vec::new();
        list(&self.home, &mut lines);
        lines.sort();
        lines
    }
}

fn list(path: &Path, lines: &mut Vec<String>) {
    let meta = fs::symlink_metadata(path).unwrap_or_else(|e| panic!("{} is gone: {e}", path.display()));
    let contents = if meta.is_file() { fs::read(path).expect("it can be read") } else { Vec::new() };
    lines.push(format!(
        "{} {} {:o} {}:{} {} links {} bytes {} {}.{} {}.{} {:?}",
        path.display(),
        meta.ino(),
        meta.mode(),
        meta.uid(),
        meta.gid(),
        meta.nlink(),
        meta.len(),
        contents.escape_ascii(),
        meta.mtime(),
        meta.mtime_nsec(),
        meta.ctime(),
        meta.ctime_nsec(),
        xattrs(path),
    ));
    if meta.is_dir() {
        for entry in fs::read_dir(path).expect("it can be read") {
            list(&entry.expect("readdir").path(), lines);
        }
    }
}

fn xattrs(path: &Path) -> Vec<(String, String)> {
    let mut names = vec![0; 4096];
    let len = llistxattr(path, &mut names).expect("names of attributes");
    let names = names[..len].split(|&byte| byte == 0).filter(|name| !name.is_empty());
    let value = |name: &[u8]| {
        let mut value = vec![0; 4096];
        let len = lgetxattr(path, name, &mut value).expect("an attribute");
        (name.escape_ascii().to_string(), value[..len].escape_ascii().to_string())
    };
    names.map(value).collect()
}
