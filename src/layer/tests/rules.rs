//! Whiteouts, opaque directories, implied directories and links across layers.

use super::*;

#[test]
fn a_whiteout_of_a_file_below_is_a_device() {
    Scene::new().layer("f a one").layer("f .wh.a").holds("d ./\n- a");
}

#[test]
fn a_whiteout_of_nothing_is_dropped() {
    Scene::new().layer("f a").layer("f d/.wh.b").holds("d ./\nd d");
    Scene::new().layer("f .wh.b").holds("d ./");
    Scene::new().layer("f a").layer("f .wh.a").layer("f .wh.a").holds("d ./");
}

#[test]
fn a_whiteout_spares_the_file_of_its_own_layer() {
    for layer in ["f .wh.a\nf a new", "f a new\nf .wh.a"] {
        Scene::new().layer("f a old").layer(layer).holds("d ./\nf a new");
    }
}

#[test]
fn a_whiteout_beneath_what_replaced_its_directory_removes_nothing() {
    Scene::new().layer("f d/inner").layer("f d new\nf d/.wh.inner\nf d/.wh..wh..opq").holds("d ./\nf d new");
    Scene::new()
        .layer("f d/inner\nf e/inner")
        .layer("l d e\nf d/.wh.inner\nf d/.wh..wh..opq")
        .holds("d ./\nl d e");
}

#[test]
fn a_whiteout_and_a_directory_make_it_opaque() {
    for layer in ["f .wh.d\nd d\nf d/new", "f d/new\nd d\nf .wh.d"] {
        Scene::new().layer("f d/old").layer(layer).holds("d ./\nd {trusted.overlay.opaque=y} d\nf d/new");
    }
}

#[test]
fn a_replaced_directory_hides_all_below_it_from_its_children() {
    let layer = "f .wh.d\nf d/e/f/new\nf d/e/.wh.old";
    Scene::new().layer("d 0700 d\nd 0700 d/e\nf d/e/old").layer(layer).holds(
        "
        d ./
        d {trusted.overlay.opaque=y} d
        d d/e
        d d/e/f
        f d/e/f/new
        ",
    );
}

#[test]
fn an_opaque_mark_counts_before_and_after_the_directory_and_its_files() {
    for layer in ["f d/.wh..wh..opq\nd 0711 d\nf d/new", "d 0711 d\nf d/new\nf d/.wh..wh..opq"] {
        Scene::new()
            .layer("f d/old")
            .layer(layer)
            .holds("d ./\nd 0711 {trusted.overlay.opaque=y} d\nf d/new");
    }
}

#[test]
fn an_opaque_directory_holds_no_whiteouts() {
    Scene::new()
        .layer("f d/a\nf d/e/b")
        .layer("f d/.wh.a\nf d/e/.wh.b\nf d/.wh..wh..opq")
        .holds("d ./\nd {trusted.overlay.opaque=y} d\nd d/e");
}

#[test]
fn an_opaque_implied_directory_has_the_metadata_below_and_its_children_have_not() {
    Scene::new().layer("d 0700 d\nd 0700 d/e").layer("f d/.wh..wh..opq\nf d/e/f").holds(
        "
        d ./
        d 0700 {trusted.overlay.opaque=y} d
        d d/e
        f d/e/f
        ",
    );
}

#[test]
fn an_opaque_root_is_told_and_not_marked() {
    let scene = Scene::new().layer("d 0700 ./\nf a\nd 0700 d").layer("f .wh..wh..opq\nf .wh.a\nf d/b").holds(
        "
            d 0700 ./
            d d
            f d/b
            ",
    );
    assert!(scene.summary.opaque_root);
}

#[test]
fn names_of_aufs_itself_are_skipped() {
    Scene::new().layer("f .wh..wh.aufs\nf .wh..wh.plnk/12.3\nd .wh..wh.orph\nf a").holds("d ./\nf a");
}

#[test]
fn implied_directories_take_after_those_below() {
    Scene::new()
        .layer("d 1777 3:4 @77.5 {user.a=b} tmp\nd 0700 ./")
        .layer("f tmp/x/y")
        .holds("d 0700 ./\nd 1777 3:4 @77.500000000 {user.a=b} tmp\nd tmp/x\nf tmp/x/y")
        .layer("f tmp/.wh.x")
        .holds("d 0700 ./\nd 1777 3:4 @77.500000000 {user.a=b} tmp\n- tmp/x");
}

#[test]
fn implied_directories_do_not_take_after_files_and_hidden_directories() {
    Scene::new()
        .layer("d 0700 d\nl @5 e d")
        .layer("f .wh.d")
        .layer("f d/a\nf e/a")
        .holds("d ./\nd d\nf d/a\nd e\nf e/a");
}

#[test]
fn a_hard_link_to_a_lower_file_brings_it_up() {
    Scene::new().layer("d 0700 d\nf 4711 1:2 @9 {user.a=b} d/a text").layer("h b d/a\nh c/c b").holds(
        "
            d ./
            f 4711 1:2 @9 {user.a=b} b text
            d c
            h c/c b
            d 0700 d
            h d/a b
            ",
    );
}

#[test]
fn hard_links_to_lower_links_and_devices_bring_them_up() {
    Scene::new().layer("l @3 l to\nc 0600 n 1:3\np 0600 7:7 p").layer("h l2 l\nh n2 n\nh p2 p").holds(
        "
            d ./
            l @3 l to
            h l2 l
            c 0600 n 1:3
            h n2 n
            p 0600 7:7 p
            h p2 p
            ",
    );
}

#[test]
fn a_file_after_a_hard_link_to_its_lower_one_is_another() {
    Scene::new().layer("f a old").layer("h b a\nf a new\nh c a").holds("d ./\nf a new\nf b old\nh c a");
    Scene::new().layer("f a old").layer("h b a\nf b new").holds("d ./\nf a old\nf b new");
    Scene::new().layer("f d/a old").layer("h b d/a\nf d new").holds("d ./\nf b old\nf d new");
    Scene::new().layer("f a old").layer("h b a\nf a/x new").holds("d ./\nd a\nf a/x new\nf b old");
}

#[test]
fn a_brought_up_file_is_not_whited_out() {
    Scene::new().layer("f a old").layer("f .wh.a\nh b a").holds("d ./\nf a old\nh b a");
}

#[test]
fn holes_of_a_brought_up_file_stay_holes() {
    use std::os::unix::fs::MetadataExt;
    let scene = Scene::new().layer("f a");
    let lower = std::fs::OpenOptions::new().write(true).open(scene.top().path().join("a")).unwrap();
    lower.set_len(8 << 20).unwrap();
    let scene = scene.layer("h b a");
    let copy = std::fs::metadata(scene.top().path().join("b")).unwrap();
    assert_eq!((copy.len(), copy.blocks()), (8 << 20, 0));
}

#[test]
fn a_directory_replaces_a_lower_link() {
    Scene::new().layer("d usr/lib\nl lib usr/lib").layer("f lib/x").holds("d ./\nd lib\nf lib/x");
}
