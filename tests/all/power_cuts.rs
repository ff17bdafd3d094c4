//! What a power cut takes is named and gone, and what was synced stays. A cut is played: the store says that it was made in
//! another boot, and files that no sync covered are empty, half there or missing, as filesystems leave them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use crate::support::scene::host;
use crate::support::{Image, Scene, image, layer};

pub(super) fn web() -> Image {
    image("web:1").layer(&layer().file("base", "b")).layer(&layer().file("top", "t"))
}

/// A scene with `web.tar`, loaded so.
pub(super) fn loaded(words: &str) -> Scene {
    let scene = Scene::new();
    scene.save("web.tar", &web());
    scene.run_synced(words).succeeds();
    scene.mkdir("root");
    scene
}

/// Writes a new file, and not the one that other names may lead to.
fn replace(path: &Path, bytes: &[u8]) {
    fs::remove_file(path).expect("it is there");
    fs::write(path, bytes).expect("it is there");
}

/// Does to a file what a power cut may, or takes a directory away.
pub(super) fn tear(path: &Path, how: usize) {
    if path.is_dir() {
        fs::remove_dir_all(path).expect("it is there");
        return;
    }
    fs::remove_file(path).expect("it is there");
    match how {
        0 => {}
        1 => fs::write(path, "").expect("it can be written"),
        _ => fs::write(path, [0; 4096]).expect("it can be written"),
    }
}

/// Makes the store what the scene's `before` is.
pub(super) fn restore(scene: &Scene) {
    fs::remove_dir_all(scene.store()).expect("it is there");
    host(Command::new("cp").arg("-a").arg(scene.path("before")).arg(scene.store()));
}

/// Puts the store aside as `before`.
pub(super) fn put_aside(scene: &Scene) {
    fs::rename(scene.store(), scene.path("before")).expect("it is there");
    fs::create_dir(scene.store()).expect("it is there no more");
}

pub(super) fn overlay(scene: &Scene, id: &str) -> PathBuf {
    scene.store().join("overlay2").join(id)
}

/// Removes the marks of the image and of its layers from `from` on: no sync had ended.
pub(super) fn unmark(scene: &Scene, image: &Image, from: usize) {
    let layers = image.chain_ids();
    let layers = layers[from..].iter().map(|id| overlay(scene, &id.hex()));
    for place in layers.chain([scene.store().join("images").join(image.id().hex())]) {
        fs::remove_file(place.join("committed")).expect("it is there");
    }
}

#[test]
fn what_was_loaded_outlives_a_power_cut() {
    let scene = loaded("load web.tar");
    scene.power_cut();
    scene.run("images -q").succeeds().stderr_is("");
    scene.run("mount --name box web:1 root").succeeds().stderr_is("container 'box'");
    scene.shows_at("root", "f 0644 base  b\nf 0644 top  t");
    scene.run("check").succeeds().stderr_is("2 layers, 1 image, 1 container: all is well");
}

#[test]
fn what_was_not_synced_goes_and_is_named() {
    let scene = loaded("load --no-sync web.tar");
    scene.power_cut();
    scene
        .run("images -q")
        .succeeds()
        .stdout_is("")
        .stderr_is("1 image is left out: not yet on the disk when the machine went down");
    let said = scene.run("mount web:1 root").fails(3);
    said.stderr_has(
        "image web:1 was not yet on the disk when the machine went down, and is removed: load it again\n\
         ovlctl: no image 'web:1' in [STORE]",
    );
    assert_eq!(scene.kept_layers(), Vec::<String>::new());
    scene.run("check --deep").succeeds().stderr_is("0 layers, 0 proved, 0 images, 0 containers: all is well");
    scene.run("load web.tar").succeeds().stderr_has("2 layers, 2 new");
}

#[test]
fn with_a_layer_goes_what_stands_on_it_and_what_is_below_stays() {
    let scene = Scene::new();
    let middle = image("middle:1").layer(&layer().file("base", "b")).layer(&layer().file("top", "t"));
    let upper = web().layer(&layer().file("more", "m"));
    scene.save("base.tar", &image("base:1").layer(&layer().file("base", "b")));
    scene.save("middle.tar", &middle);
    scene.save("upper.tar", &upper);
    scene.run_synced("load base.tar middle.tar upper.tar").succeeds();
    // The middle layer has no mark, and the one above it has: it was repaired shortly before.
    fs::remove_file(overlay(&scene, &middle.chain_ids()[1].hex()).join("committed")).expect("it is there");
    scene.power_cut();
    let said = scene.run("prune").succeeds().stderr;
    for name in ["middle:1", "web:1"] {
        let line = format!("image {name} was not yet on the disk when the machine went down, and is removed");
        assert!(said.contains(&line), "{said}");
    }
    assert_eq!(said.matches("removed").count(), 2, "{said}");
    assert_eq!(scene.kept_layers(), [upper.chain_ids()[0].hex()]);
    assert_eq!(scene.run("images --no-headings").succeeds().lines().len(), 1);
}

#[test]
fn a_layer_of_no_image_is_named_too() {
    let scene = loaded("load --no-sync web.tar");
    fs::remove_dir_all(scene.store().join("images").join(web().id().hex())).expect("it is there");
    replace(&scene.store().join("names.json"), br#"{"format":1,"names":{}}"#);
    scene.power_cut();
    let said = scene.run("check").succeeds().stderr;
    for id in web().chain_ids() {
        let line = format!("layer {id} was not yet on the disk when the machine went down, and is removed\n");
        assert!(said.contains(&line), "{said}");
    }
    assert_eq!(scene.kept_layers(), Vec::<String>::new());
}

#[test]
fn names_that_were_torn_are_those_of_the_last_sync() {
    let scene = loaded("load web.tar");
    scene.run("tag web:1 late").succeeds();
    replace(&scene.store().join("names.json"), b"");
    scene.power_cut();
    scene.run("mount --name box web:1 root").succeeds().stderr_has("the images' latest names were lost");
    let images = scene.run("images --no-headings").succeeds().stdout;
    assert!(images.contains("web:1") && !images.contains("late"), "{images}");
}

#[test]
fn a_tag_is_on_the_disk_when_it_is_told() {
    let scene = loaded("load web.tar");
    scene.run_synced("tag web:1 other").succeeds();
    replace(&scene.store().join("names.json"), b"");
    scene.power_cut();
    scene.run("mount --name box other root").succeeds();
}

#[test]
fn a_store_that_knows_no_marks_loses_nothing() {
    let scene = loaded("load --no-sync web.tar");
    fs::remove_file(scene.store().join("boot")).expect("it is there");
    fs::write(scene.store().join("store.json"), r#"{"format": 1}"#).expect("it is there");
    fs::remove_dir_all(scene.store().join("recipes")).expect("it is there");
    scene.run("images -q").succeeds().stdout_is(&web().id().short());
    let said = scene.run("tag web:1 other").succeeds();
    said.stderr_is("the store is synced: it was made before it was known what the disk has");
    scene.power_cut();
    scene.run("mount --name box other root").succeeds().stderr_is("container 'box'");
    scene.shows_at("root", "f 0644 base  b\nf 0644 top  t");
    // Its recipes are gone for good; a scene's own check would say so.
    scene.run("umount --rm root").succeeds();
    scene.run("rm web:1 other").succeeds();
}

#[test]
fn what_a_failing_disk_was_to_take_goes_when_nothing_shows_it() {
    let scene = loaded("load --no-sync web.tar");
    let boot = scene.store().join("boot");
    let now = fs::read_to_string(&boot).expect("it is there");
    let suspect = format!("\"suspect\": [\"{}\"", web().chain_ids()[1].hex());
    replace(&boot, now.replace("\"suspect\": [", &suspect).as_bytes());
    let said = scene.run("tag web:1 other").fails(3);
    said.stderr_has("image web:1 could not be brought to the disk, and is removed: load it again");
    assert_eq!(scene.kept_layers(), [web().chain_ids()[0].hex()]);
}

#[test]
fn a_mounted_image_stays_whatever_the_disk_has() {
    let scene = loaded("load --no-sync web.tar");
    scene.run("mount --name box web:1 root").succeeds();
    let boot = scene.store().join("boot");
    let now = fs::read_to_string(&boot).expect("it is there");
    let suspect = format!("\"suspect\": [\"{}\"", web().chain_ids()[1].hex());
    replace(&boot, now.replace("\"suspect\": [", &suspect).as_bytes());
    scene.run("tag web:1 other").succeeds().stderr_is("");
    scene.shows_at("root", "f 0644 base  b\nf 0644 top  t");
    // Not even by a sync that ends well: the error is told once.
    scene.run_synced("load web.tar").succeeds();
    assert!(!overlay(&scene, &web().chain_ids()[1].hex()).join("committed").exists());
    scene.run("umount root").succeeds();
    let said = scene.run("tag web:1 third").fails(3);
    said.stderr_has(
        "image other:latest, web:1 could not be brought to the disk, and is removed: load it again",
    )
    .stderr_has("container 'box' keeps its changes, but its image is gone: load web:1 again");
}

#[test]
fn mount_syncs_what_it_loads_in_the_background() {
    let scene = Scene::new();
    scene.save("web.tar", &web());
    scene.mkdir("root");
    scene.run_synced("mount --name box web.tar root").succeeds();
    let mark = scene.store().join("images").join(web().id().hex()).join("committed");
    let begun = Instant::now();
    while !mark.exists() {
        assert!(begun.elapsed() < Duration::from_secs(120), "nobody syncs");
        thread::sleep(Duration::from_millis(20));
    }
    scene.run("umount root").succeeds();
    scene.power_cut();
    scene.run("mount box root").succeeds().stderr_is("container 'box'");
}

#[test]
fn what_is_not_synced_is_told_by_a_check() {
    let scene = loaded("load --no-sync web.tar");
    scene.run("check").succeeds().stderr_is(
        "1 image and 2 layers are not synced: a power cut would lose them\n2 layers, 1 image, 0 containers: all is well",
    );
    scene.run_synced("load web.tar").succeeds();
    scene.run("check").succeeds().stderr_is("2 layers, 1 image, 0 containers: all is well");
}

#[test]
fn eight_synced_loads_at_once_leave_all_marked() {
    let scene = Scene::new();
    for nr in 0..8 {
        let image = image(&format!("app{nr}")).layer(&layer().file("base", "b"));
        scene.save(&format!("{nr}.tar"), &image.layer(&layer().file(&format!("own{nr}"), "x")));
    }
    thread::scope(|scope| {
        for nr in 0..8 {
            let scene = &scene;
            scope.spawn(move || scene.run_synced(&format!("load {nr}.tar")).succeeds());
        }
    });
    scene.power_cut();
    scene.run("check").succeeds().stderr_is("9 layers, 8 images, 0 containers: all is well");
}
