//! Random changes of a container, told exactly: what was done to every inode is worked out of the two whole trees.

use std::collections::BTreeMap;
use std::ffi::CString;
use std::fs::{self, Permissions};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;

use rustix::fs::{XattrFlags, lgetxattr, llistxattr, lsetxattr};

use crate::support::chance::Chance;
use crate::support::{Scene, image, layer, needs};

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

/// Does something to a tree, whatever it is: what cannot be done is not.
fn change(root: &Path, chance: &mut Chance) {
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
    let pick = |chance: &mut Chance| paths[chance.below(paths.len())].clone();
    let (one, other) = (pick(chance), pick(chance));
    let beside = one.with_file_name(format!("n{}", chance.below(5)));
    let contents = "x".repeat(chance.below(3000));
    let _ = match chance.below(13) {
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
        let chance = &mut Chance(seed);
        scene.run(&format!("mount --name box --rm {options} web:1 root")).succeeds();
        for _ in 0..chance.below(30) {
            change(&scene.path("root"), chance);
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
