//! Contents of a container's files are shared with its image's new layer, where the filesystem can.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::scene::host;
use crate::support::{Scene, image, layer, needs};

/// A store on a filesystem of its own, with a container that has files of all sizes.
fn scene_on(mkfs: &[&str]) -> Scene {
    let scene = Scene::new();
    scene.disk("store", mkfs, 320);
    scene.mkdir("root");
    scene.mkdir("again");
    scene.save("web.tar", &image("web:1").layer(&layer().file("a", "1")));
    scene.run("mount --name box web.tar root").succeeds();
    for (name, size) in [("small", 10), ("odd", 100_001), ("large", 40 << 20)] {
        let bytes: Vec<u8> = (0..size).map(|at: u32| (at / 251).to_le_bytes()[0]).collect();
        fs::write(scene.path("root").join(name), bytes).expect("it works");
    }
    fs::set_permissions(scene.path("root/odd"), std::os::unix::fs::PermissionsExt::from_mode(0o4711))
        .expect("it works");
    scene
}

fn upper(scene: &Scene, name: &str) -> PathBuf {
    let inspected = scene.run(&format!("inspect {name}")).succeeds().json();
    inspected[0]["GraphDriver"]["Data"]["UpperDir"]
        .as_str()
        .expect("it works")
        .replace("[STORE]", scene.store().to_str().expect("it works"))
        .into()
}

/// Whether all of a file lies where another one does, too (FIEMAP_EXTENT_SHARED).
fn is_shared(file: &Path) -> bool {
    let told = host(Command::new("filefrag").arg("-v").arg(file));
    let extents: Vec<&str> =
        told.lines().filter(|line| line.trim_start().starts_with(|c: char| c.is_ascii_digit())).collect();
    assert!(!extents.is_empty(), "{told}");
    extents.iter().all(|extent| extent.contains("shared"))
}

fn contents_are_shared(kind: &str) {
    if !needs::disk(kind) || !needs::tool("filefrag") {
        return;
    }
    let scene = scene_on(&[&format!("mkfs.{kind}"), "-q"]);
    scene.run("commit box web:2").succeeds();
    let (layer, own) = (upper(&scene, "web:2"), upper(&scene, "box"));
    for name in ["odd", "large"] {
        assert!(is_shared(&layer.join(name)), "{name}");
        let [kept, own] = [&layer, &own].map(|dir| fs::metadata(dir.join(name)).expect("it works"));
        assert_ne!(kept.ino(), own.ino(), "{name}");
    }
    assert!(!is_shared(&layer.join("small")));
    scene.run("mount --read-only web:2 again").succeeds();
    assert_eq!(scene.tree("again"), scene.tree("root"));
    // What the container writes from now on is its own.
    fs::write(scene.path("root/large"), "other").expect("it works");
    scene.run("check --deep").succeeds();
    scene.run("squash web:2 flat").succeeds();
    assert!(is_shared(&upper(&scene, "flat").join("large")));
}

#[test]
fn on_xfs() {
    contents_are_shared("xfs");
}

#[test]
fn on_btrfs() {
    contents_are_shared("btrfs");
}
