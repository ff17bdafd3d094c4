//! What a container has changed: by contents and all metadata, whatever overlayfs made of it in the upper directory.

use std::collections::BTreeMap;
use std::ffi::CString;
use std::fs::{self, Permissions};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::Path;

use rustix::fs::{XattrFlags, lgetxattr, llistxattr, lsetxattr};
use serde_json::json;

use crate::support::{Layer, Scene, image, layer, needs};

fn base() -> Layer {
    layer()
        .dir("etc")
        .file("etc/hosts", "localhost")
        .file("etc/motd", "hello")
        .file("etc/passwd", "root")
        .dir("srv")
        .dir("srv/www")
        .file("srv/www/index", "<html>")
        .file("srv/www/style", "body")
        .symlink("etc/link", "motd")
}

/// A container named `box` over that, mounted on `root`.
fn mounted(options: &str) -> Scene {
    let scene = Scene::new();
    scene.mkdir("root");
    scene.save("image.tar", &image("web:1").layer(&base()).layer(&layer().file("etc/issue", "v1")));
    scene.run(&format!("mount --name box {options} image.tar root")).succeeds();
    scene
}

#[test]
fn what_was_done_is_told_as_docker_does() {
    let scene = mounted("");
    scene.run("diff box").succeeds().stdout_is("").stderr_is("");
    fs::write(scene.path("root/etc/new"), "x").unwrap();
    fs::write(scene.path("root/etc/hosts"), "localhosT").unwrap();
    fs::remove_file(scene.path("root/etc/motd")).unwrap();
    fs::remove_dir_all(scene.path("root/srv")).unwrap();
    fs::create_dir_all(scene.path("root/opt/app")).unwrap();
    fs::write(scene.path("root/opt/app/run"), "").unwrap();
    let expected = "
        C /etc
        C /etc/hosts
        D /etc/motd
        A /etc/new
        A /opt
        A /opt/app
        A /opt/app/run
        D /srv
        ";
    scene.run("diff box").succeeds().stdout_is(expected);
    scene.run("umount root").succeeds();
    scene.run("diff box").succeeds().stdout_is(expected);
    scene.run("diff -q box").succeeds().stdout_is(
        "
        /etc
        /etc/hosts
        /etc/motd
        /etc/new
        /opt
        /opt/app
        /opt/app/run
        /srv
        ",
    );
}

#[test]
fn copying_up_alone_changes_nothing() {
    let scene = mounted("");
    let file = scene.path("root/srv/www/index");
    fs::set_permissions(&file, Permissions::from_mode(0o600)).unwrap();
    scene.run("diff box").succeeds().stdout_is("C /srv\nC /srv/www\nC /srv/www/index");
    fs::set_permissions(&file, Permissions::from_mode(0o644)).unwrap();
    scene.run("diff box").succeeds().stdout_is("");
}

#[test]
fn each_bit_of_metadata_counts() {
    let scene = mounted("");
    let root = |name: &str| scene.path("root").join(name);
    let xattr = |name: &str, key: &str| {
        lsetxattr(root(name), key, b"v", XattrFlags::empty()).unwrap();
    };
    chown(root("etc/hosts"), Some(1), None).unwrap();
    xattr("etc/issue", "user.k");
    fs::remove_file(root("etc/link")).unwrap();
    symlink("hosts", root("etc/link")).unwrap();
    xattr("srv", "trusted.k");
    fs::set_permissions(scene.path("root"), Permissions::from_mode(0o700)).unwrap();
    let file = fs::File::open(root("etc/passwd")).unwrap();
    file.set_modified(std::time::UNIX_EPOCH).unwrap();
    let file = fs::File::open(root("srv/www/style")).unwrap();
    file.set_modified(std::time::UNIX_EPOCH + std::time::Duration::new(0, 1)).unwrap();
    fs::remove_file(root("etc/motd")).unwrap();
    fs::create_dir(root("etc/motd")).unwrap();
    let rows = scene.run("diff --json box").succeeds().json();
    let changed = |path: &str, kind: &str, size: Option<u64>, what: &[&str]| json!({"kind": "changed", "path": path, "type": kind, "size": size, "what": what});
    let expected = json!([
        changed("/", "directory", None, &["mode"]),
        changed("/etc", "directory", None, &["time"]),
        changed("/etc/hosts", "file", Some(9), &["owner"]),
        changed("/etc/issue", "file", Some(2), &["xattrs"]),
        changed("/etc/link", "symlink", None, &["target", "time"]),
        changed("/etc/motd", "directory", None, &["type"]),
        changed("/srv", "directory", None, &["xattrs"]),
        changed("/srv/www", "directory", None, &[]),
        changed("/srv/www/style", "file", Some(4), &["time"]),
    ]);
    assert_eq!(rows, expected);
}

#[test]
fn directory_made_anew_is_compared_with_the_old_one() {
    let scene = mounted("");
    fs::remove_dir_all(scene.path("root/srv/www")).unwrap();
    fs::create_dir(scene.path("root/srv/www")).unwrap();
    fs::write(scene.path("root/srv/www/index"), "<HTML>").unwrap();
    scene.run("umount root").succeeds();
    let words = "
        C /srv
        C /srv/www
        C /srv/www/index
        D /srv/www/style
        ";
    scene.run("diff box").succeeds().stdout_is(words);
}

#[test]
fn renamed_directory_is_followed_to_what_it_was() {
    if !needs::has("redirect_dir") {
        return;
    }
    let scene = mounted("-o redirect_dir=on");
    fs::rename(scene.path("root/srv/www"), scene.path("root/etc/pages")).unwrap();
    fs::rename(scene.path("root/srv"), scene.path("root/service")).unwrap();
    fs::write(scene.path("root/etc/pages/new"), "x").unwrap();
    let words = "
        C /etc
        A /etc/pages
        A /etc/pages/index
        A /etc/pages/new
        A /etc/pages/style
        A /service
        D /srv
        ";
    scene.run("diff box").succeeds().stdout_is(words);
    fs::rename(scene.path("root/service"), scene.path("root/srv")).unwrap();
    fs::remove_file(scene.path("root/etc/pages/new")).unwrap();
    fs::rename(scene.path("root/etc/pages"), scene.path("root/srv/www")).unwrap();
    scene.run("diff box").succeeds().stdout_is("C /etc\nC /srv\nC /srv/www");
    let rows = scene.run("diff --json box").succeeds().json();
    assert_eq!(rows[2]["what"], json!(["time"]));
}

#[test]
fn file_of_which_only_the_metadata_were_copied_has_its_old_contents() {
    if !needs::has("metacopy") {
        return;
    }
    let scene = mounted("-o metacopy=on");
    fs::set_permissions(scene.path("root/etc/hosts"), Permissions::from_mode(0o600)).unwrap();
    fs::set_permissions(scene.path("root/etc/issue"), Permissions::from_mode(0o600)).unwrap();
    fs::rename(scene.path("root/etc/issue"), scene.path("root/srv/issue")).unwrap();
    let rows = scene.run("diff --json box").succeeds().json();
    let mode = json!({"kind": "changed", "path": "/etc/hosts", "type": "file", "size": 9, "what": ["mode"]});
    assert_eq!(rows[1], mode);
    scene.run("diff box").succeeds().stdout_is(
        "
        C /etc
        C /etc/hosts
        D /etc/issue
        C /srv
        A /srv/issue
        ",
    );
}

#[test]
fn changes_in_memory_are_found_in_the_mount() {
    let scene = mounted("--upper tmpfs");
    fs::write(scene.path("root/etc/hosts"), "x").unwrap();
    fs::remove_file(scene.path("root/etc/motd")).unwrap();
    scene.tmpfs("root/srv", "64k");
    fs::write(scene.path("root/srv/not-ours"), "x").unwrap();
    let said = scene.run("diff box").succeeds().stdout;
    for line in ["C /etc", "C /etc/hosts", "D /etc/motd"] {
        assert!(said.lines().any(|said| said == line), "{line}: {said}");
    }
    assert!(!said.contains("not-ours"), "{said}");
    rustix::mount::unmount(scene.path("root/srv"), rustix::mount::UnmountFlags::empty()).unwrap();
    scene.run("diff box").succeeds().stdout_is("C /etc\nC /etc/hosts\nD /etc/motd");
}

#[test]
fn sums_are_by_directory_of_the_root() {
    let scene = mounted("");
    fs::write(scene.path("root/etc/a"), "12345").unwrap();
    fs::write(scene.path("root/etc/hosts"), "123").unwrap();
    fs::remove_file(scene.path("root/srv/www/index")).unwrap();
    scene.run("diff --stat box").succeeds().stdout_is(
        "
        PATH   ADDED  CHANGED  DELETED  SIZE
        /etc   1      1        0        8 B
        /srv   0      0        1        0 B
        total  1      1        1        8 B
        ",
    );
    let sums = scene.run("diff --stat --json box").succeeds().json();
    assert_eq!(sums[2], json!({"path": null, "added": 1, "changed": 1, "deleted": 1, "size": 8}));
}

#[test]
fn names_that_are_no_text_are_kept_in_json_and_escaped_elsewhere() {
    let scene = mounted("");
    let name = std::ffi::OsStr::from_bytes(b"a\xff\nb");
    fs::write(scene.path("root").join(name), "").unwrap();
    scene.run("diff box").succeeds().stdout_is(r"A /a\xff\nb");
    let rows = scene.run("diff --json box").succeeds().json();
    assert_eq!(rows[0]["path"], json!(b"/a\xff\nb"));
}

#[test]
fn tree_may_be_as_deep_as_a_path_is_long() {
    let scene = mounted("");
    fs::create_dir_all(scene.path("root").join("x/".repeat(1800))).unwrap();
    assert_eq!(scene.run("diff box").succeeds().stdout.lines().count(), 1800);
    assert!(scene.run_bytes("diff --tar box").len() > 1800 * 512);
}

#[test]
fn container_that_is_not_there_is_named() {
    let scene = mounted("");
    scene
        .run("diff bax")
        .fails(3)
        .stderr_is("ovlctl: no container 'bax' in [STORE]\nhint: did you mean 'box'?");
}

/// All of an inode that a user can see, but numbers of links.
type Facts = (u32, u32, u32, i64, i64, Vec<u8>, Vec<(Vec<u8>, Vec<u8>)>);

fn facts(root: &Path) -> BTreeMap<Vec<u8>, Facts> {
    let mut found = BTreeMap::new();
    let mut todo = vec![root.to_owned()];
    while let Some(path) = todo.pop() {
        let meta = fs::symlink_metadata(&path).expect("a tree can be read");
        if meta.is_dir() {
            todo.extend(
                fs::read_dir(&path)
                    .expect("a tree can be read")
                    .map(|entry| entry.expect("a tree can be read").path()),
            );
        }
        let contents = if meta.is_file() {
            fs::read(&path).expect("a tree can be read")
        } else if meta.is_symlink() {
            fs::read_link(&path).expect("a tree can be read").as_os_str().as_bytes().to_vec()
        } else {
            meta.rdev().to_le_bytes().to_vec()
        };
        let mut names = vec![0; 4096];
        let len = llistxattr(&path, &mut names).expect("a tree can be read");
        let keys = names[..len].split(|&byte| byte == 0).filter(|key| !key.is_empty());
        let mut xattrs: Vec<(Vec<u8>, Vec<u8>)> = keys
            .map(|key| {
                let mut value = vec![0; 4096];
                let len = lgetxattr(&path, CString::new(key).expect("a tree can be read"), &mut value)
                    .expect("a tree can be read");
                (key.to_vec(), value[..len].to_vec())
            })
            .collect();
        xattrs.sort();
        let name = path.strip_prefix(root).expect("a tree can be read").as_os_str().as_bytes().to_vec();
        let facts = (meta.mode(), meta.uid(), meta.gid(), meta.mtime(), meta.mtime_nsec(), contents, xattrs);
        found.insert(name, facts);
    }
    found
}

/// Returns what `diff` has to say, worked out of the two whole trees.
fn expected(old: &BTreeMap<Vec<u8>, Facts>, new: &BTreeMap<Vec<u8>, Facts>) -> Vec<String> {
    const DIRECTORY: u32 = 0o040_000;
    const KIND: u32 = 0o170_000;
    let is_dir = |facts: &Facts| facts.0 & KIND == DIRECTORY;
    let mut said: BTreeMap<&[u8], char> = BTreeMap::new();
    for (path, facts) in new.iter().filter(|(path, _)| !path.is_empty()) {
        match old.get(path) {
            None => said.insert(path, 'A'),
            Some(before) if before != facts => said.insert(path, 'C'),
            Some(_) => None,
        };
    }
    let parent = |path: &[u8]| path.iter().rposition(|&b| b == b'/').map_or(0, |slash| slash);
    for path in old.keys().filter(|path| !new.contains_key(*path)) {
        if new.get(&path[..parent(path)]).is_some_and(is_dir) {
            said.insert(path, 'D');
        }
    }
    for path in said.keys().copied().collect::<Vec<_>>() {
        let mut end = parent(path);
        while end > 0 {
            said.entry(&path[..end]).or_insert('C');
            end = parent(&path[..end]);
        }
    }
    let mut lines: Vec<String> =
        said.iter().map(|(path, kind)| format!("{kind} /{}", String::from_utf8_lossy(path))).collect();
    lines.sort();
    lines
}

/// A source of numbers that gives the same ones each time (Knuth's MMIX generator).
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).expect("a tree can be read") % end
    }
}

/// Does something to a tree, whatever it is: what cannot be done is not.
fn change(root: &Path, numbers: &mut Numbers) {
    let mut paths = vec![root.join("new")];
    let mut todo = vec![root.to_owned()];
    while let Some(dir) = todo.pop() {
        for entry in fs::read_dir(dir).expect("a tree can be read").map(|entry| entry.expect("readdir")) {
            if entry.file_type().expect("a tree can be read").is_dir() {
                todo.push(entry.path());
            }
            paths.push(entry.path());
        }
    }
    paths.sort();
    let pick = |numbers: &mut Numbers| paths[numbers.below(paths.len())].clone();
    let (one, other) = (pick(numbers), pick(numbers));
    let beside = one.with_file_name(format!("n{}", numbers.below(5)));
    let contents = "x".repeat(numbers.below(3000));
    let _ = match numbers.below(13) {
        0 => fs::write(&one, contents),
        1 => fs::write(&beside, contents),
        2 => fs::remove_file(&one),
        3 => fs::remove_dir_all(&one),
        4 => fs::create_dir(&beside),
        5 => fs::rename(&one, &other),
        6 => fs::rename(&one, other.join("moved")),
        7 => fs::hard_link(&one, &beside),
        8 => symlink("anywhere", &beside),
        9 if !one.is_symlink() => fs::set_permissions(&one, Permissions::from_mode(0o700)),
        10 => std::os::unix::fs::lchown(&one, Some(7), Some(8)),
        11 => lsetxattr(&one, "trusted.k", b"v", XattrFlags::empty()).map_err(std::io::Error::from),
        _ => fs::remove_dir_all(&one).and_then(|()| fs::create_dir(&one)),
    };
}

fn random_sets(options: &str) {
    let tree = (0..40).fold(layer(), |tree, nr| {
        let dir = format!("d{}/e{}", nr % 4, nr % 3);
        tree.file(&format!("{dir}/f{nr}"), &nr.to_string()).symlink(&format!("{dir}/l{nr}"), "f")
    });
    let top = layer().file("d0/e0/f0", "above").whiteout("d1/e1").file("d1/e2/f1", "x").opaque("d2/e2");
    let scene = Scene::new();
    scene.save("image.tar", &image("web:1").layer(&tree).layer(&top));
    scene.mkdir("image");
    scene.mkdir("root");
    scene.run("mount --read-only image.tar image").succeeds();
    let before = facts(&scene.path("image"));
    for seed in 0..50 {
        let numbers = &mut Numbers(seed);
        scene.run(&format!("mount --name box --rm {options} web:1 root")).succeeds();
        for _ in 0..numbers.below(30) {
            change(&scene.path("root"), numbers);
        }
        let mut said: Vec<String> =
            scene.run("diff box").succeeds().stdout.lines().map(str::to_owned).collect();
        said.retain(|line| line != "C /");
        said.sort();
        assert_eq!(said, expected(&before, &facts(&scene.path("root"))), "set {seed}");
        scene.run("umount root").succeeds();
    }
}

#[test]
fn fifty_random_sets_of_changes_are_told_exactly() {
    random_sets("");
}

#[test]
fn fifty_random_sets_with_renames_and_metadata_copies_too() {
    if needs::has("metacopy") {
        random_sets("-o metacopy=on");
    }
}
