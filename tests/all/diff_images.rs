//! What differs between two images or containers, and the layer that makes one of the other.

use std::fs;

use crate::support::{Layer, Scene, image, layer};

fn base() -> Layer {
    layer().file("etc/hosts", "localhost").file("etc/motd", "hello").file("srv/www/index", "<html>")
}

/// Two images over one layer, and a container over the first.
fn scene() -> Scene {
    let scene = Scene::new();
    scene.mkdir("root");
    let top = layer().file("etc/hosts", "new").mode(0o600).whiteout("etc/motd").file("opt/app", "x");
    scene.save("one.tar", &image("web:1").layer(&base()).layer(&layer().file("etc/issue", "v1")));
    scene.save("two.tar", &image("web:2").layer(&base()).layer(&top));
    scene.run("load one.tar two.tar").succeeds();
    scene.run("mount --name box web:1 root").succeeds();
    scene
}

#[test]
fn two_images_are_compared_both_ways() {
    let scene = scene();
    let words = "C /etc\nC /etc/hosts\nD /etc/issue\nD /etc/motd\nA /opt\nA /opt/app";
    scene.run("diff web:1 web:2").succeeds().stdout_is(words);
    let words = "C /etc\nC /etc/hosts\nA /etc/issue\nA /etc/motd\nD /opt";
    scene.run("diff web:2 web:1").succeeds().stdout_is(words);
    scene.run("diff web:1 web:1").succeeds().stdout_is("");
}

#[test]
fn container_is_compared_with_any_image() {
    let scene = scene();
    scene.run("diff web:1 box").succeeds().stdout_is("");
    fs::write(scene.path("root/etc/hosts"), "").unwrap();
    scene.run("diff box web:1").succeeds().stdout_is("C /etc\nC /etc/hosts");
    scene
        .run("diff web:2 box")
        .succeeds()
        .stdout_is("C /etc\nC /etc/hosts\nA /etc/issue\nA /etc/motd\nD /opt");
}

#[test]
fn layers_that_both_have_are_not_looked_at() {
    let scene = scene();
    let id = image("").layer(&base()).chain_ids()[0].hex();
    let shared = scene.store().join("overlay2").join(id).join("diff/srv/www");
    // Reading it would fail.
    let hidden = shared.with_file_name("hidden");
    fs::rename(&shared, &hidden).unwrap();
    fs::write(&shared, "no directory").unwrap();
    let same = scene.run("diff -q web:1 web:2").succeeds().stdout;
    fs::remove_file(&shared).unwrap();
    fs::rename(&hidden, &shared).unwrap();
    assert!(!same.contains("srv"), "{same}");
    // A directory's time has changed; that is put right, for the store is looked at when the scene ends.
    let parent = fs::File::open(shared.parent().unwrap()).unwrap();
    parent.set_modified(std::time::UNIX_EPOCH).unwrap();
}

#[test]
fn image_alone_has_nothing_to_be_compared_with() {
    scene().run("diff web:1").fails(3).stderr_is(
        "
        ovlctl: 'web:1' is an image, and no container
        hint: `ovlctl diff web:1 OTHER` compares it with another
        ",
    );
}

#[test]
fn tar_of_the_changes_is_the_layer_that_makes_them() {
    let scene = scene();
    let root = |name: &str| scene.path("root").join(name);
    fs::remove_dir_all(root("srv")).unwrap();
    fs::write(root("etc/hosts"), "changed").unwrap();
    fs::remove_file(root("etc/motd")).unwrap();
    fs::create_dir(root("new")).unwrap();
    fs::hard_link(root("etc/hosts"), root("new/hosts")).unwrap();
    std::os::unix::fs::symlink("x".repeat(300), root("new/link")).unwrap();
    std::os::unix::fs::chown(root("new/hosts"), Some(3_000_000), Some(4)).unwrap();
    fs::write(root("new/.wh.x"), "").unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(root("new/socket")).unwrap();
    let told = scene.run("diff box").succeeds().stdout;
    let tar = scene.run_bytes("diff --tar box");
    assert_eq!(tar, scene.run_bytes("diff --tar box"), "the same changes, the same tar");
    scene.run("diff --tar box").succeeds().stderr_is(
        "
        warning: /new/.wh.x left out: its name would remove another
        warning: /new/socket left out: it is a socket
        ",
    );
    let made = image("made:1").layer(&base()).layer(&layer().file("etc/issue", "v1")).layer_of_bytes(tar);
    scene.save("made.tar", &made);
    scene.run("load made.tar").succeeds();
    fs::remove_file(root("new/.wh.x")).unwrap();
    fs::remove_file(root("new/socket")).unwrap();
    let parent = fs::File::open(root("new")).unwrap();
    let time = fs::metadata(scene.store().join("overlay2")).unwrap().modified().unwrap();
    parent.set_modified(time).unwrap();
    let differs = scene.run("diff --json made:1 box").succeeds().json();
    assert_eq!(
        differs,
        serde_json::json!([
            {"kind": "changed", "path": "/new", "type": "directory", "size": null, "what": ["time"]}
        ])
    );
    let of_image = scene.run("diff web:1 made:1").succeeds().stdout;
    let without: Vec<&str> =
        told.lines().filter(|line| !line.contains(".wh.") && !line.contains("socket")).collect();
    assert_eq!(of_image.lines().collect::<Vec<_>>(), without);
}
