//! A directory that an export did not finish says so.

use std::fs;

use crate::support::{Scene, image, layer};

#[test]
fn what_a_killed_export_leaves_in_a_directory_has_its_name() {
    let scene = Scene::new();
    let many = (0..2000).fold(layer(), |layer, nr| layer.file(&format!("d{}/f{nr}", nr % 50), "x"));
    scene.save("image.tar", &image("web:1").layer(&many));
    scene.run("load image.tar").succeeds();
    let to = scene.mkdir("to");
    let names = || -> Vec<String> {
        fs::read_dir(&to).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    };
    let mut child = scene.command(&["export", "web:1", "--format", "dir", "-o", "to"]).spawn().unwrap();
    while names().is_empty() {
        std::thread::yield_now();
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let left = names();
    assert!(left.len() == 1 && left[0].starts_with(".to.ovlctl-"), "{left:?}");
    scene
        .run("export web:1 --format dir -o to")
        .fails(1)
        .stderr_is("ovlctl: cannot export 'web:1' to to: there is a directory that is not empty");
}

/// It cannot be replaced by another directory.
#[test]
fn mount_point_takes_an_export() {
    let scene = Scene::with(
        "image.tar",
        &image("web:1").layer(&layer().dir("./").mode(0o711).dir("d").file("d/f", "x")),
    );
    scene.tmpfs("to", "8m");
    scene.run("export web:1 --format dir -o to").succeeds();
    scene.shows_at("to", "d 0711 .\nd 0755 d\nf 0644 d/f  x");
}
