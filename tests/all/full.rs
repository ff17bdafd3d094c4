//! A filesystem without room: what cannot be done says so and leaves all as it was, and what gives room back can be done.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::fs::{StatVfs, statvfs};

use crate::support::scene::host;
use crate::support::{Scene, image, layer, needs};

/// A scene whose store lies on a filesystem of its own, in `disk`.
fn scene_on(mkfs: &[&str], megabytes: u64) -> Scene {
    let scene = Scene::new();
    scene.disk("disk", mkfs, megabytes);
    store_on(scene)
}

fn store_on(scene: Scene) -> Scene {
    scene.mkdir("disk/store");
    scene.mkdir("store");
    scene.mkdir("root");
    host(Command::new("mount").arg("--bind").arg(scene.path("disk/store")).arg(scene.path("store")));
    let base = layer().file("base", "b");
    scene.save("base.tar", &image("base:1").layer(&base));
    scene.save("web.tar", &image("web:1").layer(&base).layer(&layer().file("top", &"t".repeat(100_000))));
    scene.run("load base.tar").succeeds();
    scene.run("mount --name box base:1 root").succeeds();
    fs::write(scene.path("root/mine"), "mine").expect("it works");
    scene
}

fn room(scene: &Scene) -> StatVfs {
    statvfs(scene.path("disk")).expect("it works")
}

/// Fills the filesystem until `left` bytes are free.
fn fill(scene: &Scene, left: u64) {
    let mut file = File::create(scene.path("disk/filler")).expect("it works");
    for size in [1 << 20, 64 << 10, 4096, 1024] {
        let block = vec![7; size];
        while room(scene).f_bavail * room(scene).f_frsize >= left + size as u64 {
            if file.write_all(&block).is_err() || file.sync_data().is_err() {
                break;
            }
        }
    }
}

/// Takes all inodes.
fn take_inodes(scene: &Scene) {
    let dir = scene.mkdir("disk/inodes");
    let mut taken = 0;
    while File::create(dir.join(taken.to_string())).is_ok() {
        taken += 1;
    }
}

/// Checks that a scene without room can be left: what is mounted is unmounted with its changes, and all is removed.
#[track_caller]
fn can_be_left(scene: &Scene) {
    scene
        .run("load web.tar")
        .fails(1)
        .stderr_has("no space left on [STORE]")
        .stderr_has("hint: `ovlctl df` tells what takes how much");
    scene.run("umount root").succeeds();
    assert!(!scene.run("check").succeeds().stdout.contains(' '), "a store without room is sound");
    let image = scene.run("images -q --no-headings").succeeds().stdout;
    scene.run("rm box").succeeds();
    scene.run(&format!("rm {image}")).succeeds();
    scene.run("prune --wait").succeeds();
    assert_eq!(scene.kept_layers(), Vec::<String>::new());
}

#[test]
fn a_full_ext4_can_be_left() {
    if !needs::disk("ext4") {
        return;
    }
    let scene = scene_on(&["mkfs.ext4", "-q", "-m", "0"], 16);
    fill(&scene, 0);
    can_be_left(&scene);
}

#[test]
fn an_ext4_without_inodes_can_be_left() {
    if !needs::disk("ext4") {
        return;
    }
    let scene = scene_on(&["mkfs.ext4", "-q", "-N", "200"], 16);
    take_inodes(&scene);
    can_be_left(&scene);
}

#[test]
fn a_full_xfs_can_be_left() {
    if needs::disk("xfs") {
        let scene = scene_on(&["mkfs.xfs", "-q"], 320);
        fill(&scene, 0);
        can_be_left(&scene);
    }
}

#[test]
fn a_full_btrfs_can_be_left() {
    if needs::disk("btrfs") {
        let scene = scene_on(&["mkfs.btrfs", "-q"], 128);
        fill(&scene, 0);
        scene.run("umount root").succeeds();
        scene.run("rm box").succeeds();
        scene.run("rm base:1").succeeds();
        scene.run("prune --wait").succeeds();
    }
}

#[test]
fn a_tmpfs_without_room_or_inodes_can_be_left() {
    for options in ["size=1m", "nr_inodes=100"] {
        let scene = Scene::new();
        let disk = scene.mkdir("disk");
        host(Command::new("mount").args(["-t", "tmpfs", "-o", options, "none"]).arg(disk));
        let scene = store_on(scene);
        if options == "size=1m" {
            fill(&scene, 0);
        } else {
            take_inodes(&scene);
        }
        can_be_left(&scene);
    }
}

#[test]
fn a_load_that_runs_out_of_room_anywhere_leaves_nothing() {
    if !needs::disk("ext4") {
        return;
    }
    let scene = scene_on(&["mkfs.ext4", "-q", "-m", "0"], 16);
    let before = scene.kept_layers();
    let (mut failed, mut loaded) = (0, 0);
    for left in (0..12).map(|nr| (nr * 24) << 10) {
        fill(&scene, left);
        let outcome = scene.run("load web.tar");
        if outcome.code == Some(0) {
            loaded += 1;
            outcome.succeeds();
            scene.run("rm web:1").succeeds();
        } else {
            failed += 1;
            let said = outcome.fails(1).stderr;
            assert!(
                said.starts_with("ovlctl: cannot load web.tar: no space left on [STORE]")
                    && said.contains("hint: `ovlctl df` tells"),
                "{said}"
            );
            assert!(!scene.run("images --no-headings").succeeds().stdout.contains("web"), "half an image");
        }
        fs::remove_file(scene.path("disk/filler")).unwrap();
        scene.run("prune").succeeds();
        scene.run("check").succeeds().stdout_is("");
        scene.swept();
        assert_eq!(scene.kept_layers(), before, "with {left} bytes left");
    }
    assert!(failed > 1 && loaded > 1, "{failed} failed, {loaded} loaded");
    assert_eq!(fs::read_to_string(scene.path("root/mine")).unwrap(), "mine");
}

/// Where btrfs has quotas, a subvolume's limit holds for root too.
#[test]
fn a_quota_that_is_used_up_is_no_room() {
    if !needs::disk("btrfs") {
        return;
    }
    let scene = Scene::new();
    let disk = scene.disk("disk", &["mkfs.btrfs", "-q"], 128);
    let of = |words: &[&str], path: &Path| drop(host(Command::new("btrfs").args(words).arg(path)));
    of(&["quota", "enable"], &disk);
    of(&["subvolume", "create"], &disk.join("store"));
    of(&["qgroup", "limit", "2M"], &disk.join("store"));
    let scene = store_on(scene);
    let filler: PathBuf = scene.path("store/filler");
    let mut file = File::create(&filler).unwrap();
    while file.write_all(&[7; 4096]).is_ok() {}
    drop(file);
    let said = scene.run("load web.tar").fails(1).stderr;
    assert!(said.contains("no space left on [STORE]"), "{said}");
    scene.run("umount root").succeeds();
    scene.run("rm box").succeeds();
    scene.run("rm base:1").succeeds();
    fs::remove_file(filler).unwrap();
}
