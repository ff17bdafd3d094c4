//! Layers of an image become one: the same tree in fewer.

use std::fs;

use serde_json::{Value, json};

use crate::support::{Image, Scene, image, layer};

fn web() -> Image {
    let base = layer()
        .dir("etc")
        .mode(0o711)
        .mtime(5)
        .file("etc/motd", "hello")
        .file("etc/issue", "v1")
        .dir("usr")
        .file("usr/old", "old")
        .char_device("null", 1, 3);
    let second = layer()
        .whiteout("etc/motd")
        .file("etc/hosts", "localhost")
        .owner(5, 6)
        .xattr("user.k", b"v")
        .hardlink("hosts", "etc/hosts")
        .file("gone", "soon");
    let third =
        layer().opaque("usr").file("usr/new", "new").mode(0o4755).whiteout("gone").symlink("link", "usr");
    let history = json!([{"created_by": "one"}, {"created_by": "ENV", "empty_layer": true}, {"created_by": "two"}, {"created_by": "three"}]);
    image("web:1").layer(&base).layer(&second).layer(&third).config("history", history)
}

const TREE: &str = "
    d 0711 etc
    f 0644 5:6 etc/hosts  localhost  {user.k=v}
    f 0644 etc/issue  v1
    f 0644 5:6 hosts  localhost  = etc/hosts  {user.k=v}
    l 0777 link  -> usr
    c 0644 null  1:3
    d 0755 usr
    f 4755 usr/new  new
    ";

fn scene() -> Scene {
    let scene = Scene::with("web.tar", &web());
    scene.mkdir("old");
    scene.mkdir("new");
    scene.run("mount --read-only web:1 old").succeeds();
    scene
}

fn config(scene: &Scene, id: &str) -> Value {
    let path = scene.store().join("images").join(id.trim_end().trim_start_matches("sha256:"));
    serde_json::from_slice(&fs::read(path.join("config.json")).expect("it works")).expect("it works")
}

/// Where the uppermost layer of an image lies in the scene.
fn top(scene: &Scene, image: &str) -> String {
    let layers = scene.run(&format!("layers -q {image}")).succeeds();
    let id = layers.lines().last().expect("it works").trim_start_matches("sha256:").to_owned();
    let dirs = scene.kept_layers();
    let found = dirs.iter().find(|dir| dir.starts_with(&id)).unwrap_or_else(|| panic!("{id} in {dirs:?}"));
    format!("store/overlay2/{found}/diff")
}

/// Compares the trees to the last time and attribute.
#[track_caller]
fn same_tree(scene: &Scene, image: &str) {
    scene.run(&format!("mount --read-only {image} new")).succeeds();
    scene.shows_at("old", TREE);
    scene.shows_at("new", TREE);
    scene.run(&format!("diff web:1 {image}")).succeeds().stdout_is("");
    let root = |dir: &str| fs::metadata(scene.path(dir)).expect("it works").modified().expect("it works");
    assert_eq!(root("new"), root("old"));
}

#[test]
fn all_layers_become_one_without_a_trace_of_what_was_removed() {
    let scene = scene();
    scene.run("squash web:1 flat").succeeds().stderr_is("flat:latest: 1 layer, 1 new, 17 B in [TIME]");
    same_tree(&scene, "flat");
    scene.shows_at(&top(&scene, "flat"), TREE);
}

#[test]
fn whiteouts_of_what_lower_layers_have_stay() {
    let scene = scene();
    scene
        .run("squash --from 2 web:1 two")
        .succeeds()
        .stderr_is("two:latest: 2 layers, 1 new, 25 B in [TIME]");
    same_tree(&scene, "two");
    scene.shows_at(
        &top(&scene, "two"),
        "
        d 0711 etc
        f 0644 5:6 etc/hosts  localhost  {user.k=v}
        w etc/motd
        f 0644 5:6 hosts  localhost  = etc/hosts  {user.k=v}
        l 0777 link  -> usr
        d 0755 usr
        f 4755 usr/new  new
        w usr/old
        ",
    );
}

#[test]
fn history_tells_of_all_steps_as_dockers_does() {
    let scene = scene();
    let id = scene.run("inspect web:1").succeeds().json()[0]["Id"].as_str().unwrap().to_owned();
    for (words, kept, comment) in [
        ("squash web:1", 0, format!("create new from {id}")),
        ("squash --from 2 web:1", 1, format!("merge {id} to layer 1")),
    ] {
        let made = config(&scene, &scene.at_a_time(words).stdout);
        let step = |name: &str, empty: bool| {
            let step = json!({"created_by": name, "empty_layer": true});
            if empty { step } else { json!({"created_by": name}) }
        };
        assert_eq!(
            made["history"],
            json!([
                step("one", kept == 0),
                step("ENV", true),
                step("two", true),
                step("three", true),
                {"created": "1970-01-02T00:00:00Z", "comment": comment},
            ])
        );
        assert_eq!(made["rootfs"]["diff_ids"].as_array().unwrap().len(), kept + 1);
        assert_eq!(made["created"], "1970-01-02T00:00:00Z");
    }
}

#[test]
fn same_layers_are_the_same_image_in_every_store() {
    let ids = [(), ()].map(|()| scene().at_a_time("squash web:1 flat").stdout);
    assert_eq!(ids[0], ids[1]);
    let scene = scene();
    let layer = |name: &str| {
        scene.run(&format!("squash web:1 {name}")).succeeds();
        scene.run(&format!("inspect {name}")).succeeds().json()[0]["RootFS"]["Layers"].clone()
    };
    assert_eq!(layer("a"), layer("b"), "at any time");
}

#[test]
fn new_image_takes_all_names_where_it_is_to_replace_the_old_one() {
    let scene = scene();
    scene.run("umount old").succeeds();
    scene.run("tag web:1 web:stable").succeeds();
    scene.run("squash --replace web:1").succeeds().stderr_is("web:1: 1 layer, 1 new, 17 B in [TIME]");
    let images = scene.run("images --json").succeeds().json();
    let rows: Vec<(&str, u64)> = images
        .as_array()
        .unwrap()
        .iter()
        .map(|row| (row["name"].as_str().unwrap_or("-"), row["layers"].as_u64().unwrap()))
        .collect();
    assert_eq!(rows, [("web:1", 1), ("web:stable", 1), ("-", 3)]);
    scene.run("prune --wait").succeeds();
    scene.run("mount --read-only web:1 new").succeeds();
    scene.shows_at("new", TREE);
}

#[test]
fn what_cannot_be_squashed_is_said() {
    let scene = scene();
    for (words, code, stderr) in [
        ("squash web:2", 3, "ovlctl: no image 'web:2' in [STORE]\nhint: did you mean 'web:1'?"),
        (
            "squash --from 3 web:1",
            2,
            "ovlctl: 'web:1' has one layer from 3 on: nothing is to be merged\nhint: ovlctl help squash",
        ),
        (
            "squash --from 4 web:1",
            2,
            "ovlctl: 'web:1' has layers 1 to 3, and no layer 4\nhint: ovlctl help squash",
        ),
        (
            "squash --from 0 web:1",
            2,
            "ovlctl: 'web:1' has layers 1 to 3, and no layer 0\nhint: ovlctl help squash",
        ),
        ("squash web:1 -x", 2, ""),
    ] {
        let said = scene.run(words).fails(code).stdout_is("");
        if !stderr.is_empty() {
            said.stderr_is(stderr);
        }
    }
}

#[test]
fn image_without_layers_is_called_so() {
    let scene = Scene::with("none.tar", &image("none:1"));
    for (words, code, said) in [
        (
            "squash none:1",
            2,
            "ovlctl: 'none:1' has no layers: nothing is to be merged\nhint: ovlctl help squash",
        ),
        ("bisect none:1 -- /x", 1, "ovlctl: cannot bisect 'none:1': it has no layers"),
    ] {
        let outcome = scene.run(words).fails(code);
        let _ = outcome.stderr_is(said);
    }
}
