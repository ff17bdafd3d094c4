//! What a layer removes by `.wh.` files, in the mounted tree.

use crate::support::{Scene, layer};

// Rule 1: `.wh.NAME` hides NAME of the layers below, and of those only.

#[test]
fn whiteout_hides_the_file_below() {
    let scene = Scene::new()
        .layer(layer().dir("etc").file("etc/motd", "hello").file("etc/issue", "v1"))
        .layer(layer().whiteout("etc/motd"))
        .mounted();
    scene.shows(
        "
        d 0755 etc
        f 0644 etc/issue  v1
        ",
    );
    scene.layer_holds(
        1,
        "
        d 0755 etc
        w etc/motd
        ",
    );
}

#[test]
fn whiteout_hides_a_directory_with_all_that_it_holds() {
    let scene = Scene::new()
        .layer(layer().file("srv/www/index", "x").dir("srv/www/img").file("keep", "k"))
        .layer(layer().whiteout("srv"))
        .mounted();
    scene.shows("f 0644 keep  k");
}

#[test]
fn whiteout_hides_a_link_and_not_its_target() {
    let scene = Scene::new()
        .layer(layer().file("target", "t").symlink("link", "target"))
        .layer(layer().whiteout("link"))
        .mounted();
    scene.shows("f 0644 target  t");
}

#[test]
fn whiteout_reaches_through_all_layers_below() {
    let scene = Scene::new()
        .layer(layer().file("a", "1").file("b", "1"))
        .layer(layer().file("b", "2"))
        .layer(layer().whiteout("a").whiteout("b"))
        .layer(layer().file("c", "4"))
        .mounted();
    scene.shows("f 0644 c  4");
}

#[test]
fn whiteout_before_a_file_of_its_layer_leaves_that_file() {
    let scene = Scene::new()
        .layer(layer().file("motd", "old"))
        .layer(layer().whiteout("motd").file("motd", "new"))
        .mounted();
    scene.shows("f 0644 motd  new");
}

#[test]
fn whiteout_after_a_file_of_its_layer_leaves_that_file() {
    let scene = Scene::new()
        .layer(layer().file("motd", "old"))
        .layer(layer().file("motd", "new").whiteout("motd"))
        .mounted();
    scene.shows("f 0644 motd  new");
}

#[test]
fn whiteout_of_a_directory_that_its_layer_makes_a_link_leaves_the_link() {
    for link_first in [true, false] {
        let link = layer().symlink("bin", "usr/bin");
        let top =
            if link_first { link.whiteout("bin") } else { layer().whiteout("bin").symlink("bin", "usr/bin") };
        let scene = Scene::new().layer(layer().file("bin/sh", "x").dir("usr/bin")).layer(top).mounted();
        scene.shows(
            "
            l 0777 bin  -> usr/bin
            d 0755 usr
            d 0755 usr/bin
            ",
        );
    }
}

#[test]
fn whiteout_of_what_no_layer_below_has_leaves_no_ghost() {
    let scene = Scene::new()
        .layer(layer().file("etc/issue", "v1"))
        .layer(layer().dir("srv").whiteout("srv/ghost").whiteout("etc/ghost"))
        .mounted();
    scene.shows(
        "
        d 0755 etc
        f 0644 etc/issue  v1
        d 0755 srv
        ",
    );
    scene.layer_holds(
        1,
        "
        d 0755 etc
        d 0755 srv
        ",
    );
}

#[test]
fn whiteout_of_what_was_removed_before_leaves_no_ghost() {
    let scene = Scene::new()
        .layer(layer().file("srv/a", "x"))
        .layer(layer().whiteout("srv"))
        .layer(layer().dir("srv").whiteout("srv/a"))
        .mounted();
    scene.shows("d 0755 srv");
    scene.layer_holds(2, "d 0755 srv");
}

#[test]
fn whiteout_in_the_base_layer_is_dropped() {
    let scene = Scene::new().layer(layer().dir("etc").whiteout("etc/motd").whiteout("srv")).mounted();
    scene.shows("d 0755 etc");
    scene.layer_holds(0, "d 0755 etc");
}

#[test]
fn file_that_comes_back_shows_only_its_new_self() {
    let scene = Scene::new()
        .layer(layer().dir("data").file("data/old", "1"))
        .layer(layer().whiteout("data"))
        .layer(layer().dir("data").file("data/new", "2"))
        .mounted();
    scene.shows(
        "
        d 0755 data
        f 0644 data/new  2
        ",
    );
}

#[test]
fn whiteout_that_is_a_hard_link_as_aufs_wrote_it_is_a_whiteout() {
    let scene = Scene::new()
        .layer(layer().file("motd", "old").file("keep", "k"))
        .layer(layer().file(".wh..wh.aufs", "").hardlink(".wh.motd", ".wh..wh.aufs"))
        .mounted();
    scene.shows("f 0644 keep  k");
}

#[test]
fn names_of_aufs_itself_are_skipped() {
    let scene = Scene::new()
        .layer(layer().file("keep", "k"))
        .layer(
            layer()
                .file(".wh..wh.aufs", "")
                .dir(".wh..wh.plnk")
                .file(".wh..wh.plnk/1.2", "")
                .dir(".wh..wh.orph"),
        )
        .mounted();
    scene.shows("f 0644 keep  k");
}

#[test]
fn whiteout_of_a_name_that_looks_like_a_whiteout_in_part_is_exact() {
    let scene = Scene::new()
        .layer(layer().file("wh.a", "1").file("a", "2").file(".wha", "3"))
        .layer(layer().whiteout("wh.a"))
        .mounted();
    scene.shows(
        "
        f 0644 .wha  3
        f 0644 a  2
        ",
    );
}
