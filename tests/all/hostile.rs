//! Archives that mean harm: refused with the entry named, and nothing left anywhere; or contained, with the right tree.

// The words: headers to be spoilt, what lies outside, a table of cases and what must become of each.
mod canary;
mod case;
mod raw;

mod bombs; // a little that would become very much
mod documents; // JSON that lies
mod links; // links of both kinds, and directories that become links
mod names; // names that lead out, or that no file can have
mod outer; // the archive itself
mod sizes; // sizes that lie, sparse maps, headers without end, tars that are cut
mod steering; // what would make overlayfs do something
mod terminal; // strings that reach a terminal

use crate::support::{Scene, layer};

#[test]
fn names_that_lead_out_are_refused() {
    for (path, shown) in
        [("../x", "../x"), ("usr/../../etc/cron.d/x", "usr/../../etc/cron.d/x"), ("a/../..", "a/../..")]
    {
        Scene::new()
            .layer(layer().dir("a").dir("usr").file(path, "x"))
            .refused(&format!("layer 1 of 1: entry '{shown}': leads out of the layer"));
    }
}

#[test]
fn whiteouts_that_lead_out_are_refused() {
    Scene::new()
        .layer(layer().file("../.wh.x", ""))
        .refused("layer 1 of 1: entry '../.wh.x': leads out of the layer");
}

#[test]
fn hard_link_targets_that_lead_out_are_refused() {
    Scene::new().layer(layer().dir("d").hardlink("d/shadow", "../../../etc/shadow")).refused(
        "layer 1 of 1: entry 'd/shadow': hard link to '../../../etc/shadow': leads out of the layer",
    );
}

#[test]
fn leading_slash_means_the_root_of_the_layer() {
    let scene = Scene::new().layer(layer().file("/etc/motd", "hello").hardlink("/b", "/etc/motd")).mounted();
    scene.shows(
        "
        f 0644 b  hello
        d 0755 etc
        f 0644 etc/motd  hello  = b
        ",
    );
}

#[test]
fn dots_inside_the_layer_are_only_a_way_to_write_a_name() {
    let scene = Scene::new().layer(layer().dir("usr").file("usr/./../etc//motd", "hello")).mounted();
    scene.shows(
        "
        d 0755 etc
        f 0644 etc/motd  hello
        d 0755 usr
        ",
    );
}

#[test]
fn link_targets_are_only_text() {
    let scene = Scene::new()
        .layer(layer().symlink("a", "../../../etc/passwd").symlink("b", "/proc/1/root"))
        .mounted();
    scene.shows(
        "
        l 0777 a  -> ../../../etc/passwd
        l 0777 b  -> /proc/1/root
        ",
    );
}

#[test]
fn whiteouts_of_no_name_are_refused() {
    for name in ["d/.wh.", "d/.wh..", "d/.wh..."] {
        Scene::new()
            .layer(layer().dir("d").file("d/a", "1"))
            .layer(layer().file(name, ""))
            .refused(&format!("layer 2 of 2: entry '{name}': a whiteout of no name"));
    }
}

#[test]
fn chmod_and_chown_never_follow_a_link_out() {
    let scene = Scene::new();
    scene.write("canary", b"alive");
    let target = scene.path("canary");
    let target = target.to_str().unwrap();
    // CVE-2026-33056: the entry of a directory over a link of its layer changed what the link leads to.
    let scene =
        scene.layer(layer().symlink("a", target).hardlink("b", "a").mode(0o777).owner(9, 9)).mounted();
    assert!(scene.tree("").contains("f 0644 canary  alive"));
}

#[test]
fn damaged_header_is_refused() {
    let mut tar = layer().file("first", "1").file("second", "2").tar();
    tar[1024] ^= 1;
    let scene = Scene::new();
    scene.save("x.tar", &crate::support::image("x").layer_of_bytes(tar));
    scene.mkdir("root");
    scene.run("mount x.tar root").fails(6).stderr_has("layer 1 of 1: ").stderr_has("checksum");
    assert_eq!(scene.kept_layers(), Vec::<String>::new());
}

#[test]
fn layer_that_ends_inside_an_entry_is_refused() {
    let tar = layer().file("big", &"x".repeat(5000)).tar();
    let scene = Scene::new();
    scene.save("x.tar", &crate::support::image("x").layer_of_bytes(tar[..2048].to_vec()));
    scene.mkdir("root");
    scene.run("mount x.tar root").fails(6).stderr_has("entry 'big': ");
    assert_eq!(scene.kept_layers(), Vec::<String>::new());
}

#[test]
fn fault_in_a_later_layer_leaves_no_earlier_one() {
    Scene::new()
        .layer(layer().file("a", "1"))
        .layer(layer().file("b", "2"))
        .layer(layer().file("../c", "3"))
        .refused("layer 3 of 3: entry '../c': leads out of the layer");
}

#[test]
fn bytes_of_an_image_reach_the_terminal_escaped() {
    Scene::new()
        .layer(layer().file_of_bytes(b"../\x1b[31m\xff", b""))
        .refused(r"layer 1 of 1: entry '../\x1b[31m\xff': leads out of the layer");
}
