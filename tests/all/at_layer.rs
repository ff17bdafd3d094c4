//! Fewer of an image's layers, mounted.

use std::fs;

use crate::support::{Image, Scene, image, layer};

fn web() -> Image {
    image("web:1").layer(&layer().file("a", "1")).layer(&layer().file("b", "2")).layer(&layer().whiteout("a"))
}

#[test]
fn layers_above_are_left_out() {
    let scene = Scene::new();
    scene.save("image.tar", &web());
    scene.mkdir("root");
    scene.mkdir("ro");
    scene.run("mount --at-layer 2 --name two image.tar root").succeeds();
    scene.shows_at("root", "f 0644 a  1\nf 0644 b  2");
    scene.run("mount --read-only --at-layer 1 web:1 ro").succeeds();
    scene.shows_at("ro", "f 0644 a  1");
    scene.run("diff two").succeeds().stdout_is("");
    scene.run("check --deep").succeeds();
    assert_eq!(scene.run("mounts --json").succeeds().json()[0]["layers"], 2);
    let lower = scene.run("inspect two").succeeds().json()[0]["GraphDriver"]["Data"]["LowerDir"].to_string();
    assert_eq!(lower.split(':').count(), 2);
}

#[test]
fn container_stays_at_its_layer() {
    let scene = Scene::new();
    scene.save("image.tar", &web());
    scene.mkdir("root");
    scene.run("mount --at-layer 2 --name two image.tar root").succeeds();
    fs::write(scene.path("root/c"), "3").unwrap();
    scene.run("umount root").succeeds();
    scene.run("mount two root").succeeds();
    scene.shows_at("root", "f 0644 a  1\nf 0644 b  2\nf 0644 c  3");
    scene.run("diff two").succeeds().stdout_is("A /c");
    scene.run("blame -q a two").succeeds().stdout_is(&web().diff_ids()[0].short());
    scene.run("umount root").succeeds();
    scene.run("mount --at-layer 1 two root").fails(2).stderr_has("--at-layer is for a new container");
}

#[test]
fn layer_that_is_not_there_is_no_choice() {
    let scene = Scene::new();
    scene.save("image.tar", &web());
    scene.mkdir("root");
    for nr in ["0", "4"] {
        let said = scene.run(&format!("mount --at-layer {nr} image.tar root")).fails(2);
        let _ = said
            .stderr_is(&format!("ovlctl: there is no layer {nr}: the image has 3\nhint: ovlctl help mount"));
    }
    scene.run("load image.tar").succeeds();
    for (words, layers) in [("--at-layer 1", 1), ("--at-layer 2 --read-only", 2), ("", 3)] {
        let said = scene.run(&format!("plan {words} --method procfd web:1 root")).succeeds().stdout;
        assert_eq!(said.matches("open(\"[STORE]/overlay2/l/").count(), layers, "{said}");
    }
}
