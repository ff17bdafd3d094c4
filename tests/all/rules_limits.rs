//! Attributes and numbers that are kept from a layer, refused or skipped; and what follows the tar's end.

use std::process::Command;

use crate::support::{Layer, Scene, image, layer, needs};

// Rule 12: what would steer overlayfs or the host never reaches a layer.

#[test]
fn attributes_that_steer_overlayfs_are_left_out() {
    let scene = Scene::new()
        .layer(layer().dir("d").file("d/old", "1"))
        .layer(
            layer()
                .dir("d")
                .xattr("trusted.overlay.opaque", b"y")
                .xattr("user.overlay.opaque", b"y")
                .file("f", "x")
                .xattr("trusted.overlay.redirect", b"/d/old")
                .xattr("trusted.other", b"1")
                .xattr("user.k", b"v"),
        )
        .mounted();
    let tree = "
        d 0755 d
        f 0644 f  x  {user.k=v}
        ";
    scene.layer_holds(1, tree);
    scene.shows(&tree.replace("f 0644 f", "f 0644 d/old  1\n        f 0644 f"));
}

#[test]
fn attributes_left_out_are_counted_in_a_warning() {
    let scene = Scene::new();
    let image = image("x").layer(&layer().file("f", "x").xattr("trusted.overlay.redirect", b"/d"));
    scene.save("x.tar", &image);
    scene.run("load x.tar").succeeds().stderr_has("1 attribute of trusted.* or user.overlay.* left out");
}

#[test]
fn labels_of_the_host_are_left_out() {
    let scene = Scene::new()
        .layer(
            layer()
                .file("f", "x")
                .xattr("security.ima", b"1")
                .xattr("security.evm", b"2")
                .xattr("security.selinux", b"l"),
        )
        .mounted();
    scene.shows("f 0644 f  x");
}

#[test]
fn device_that_overlayfs_takes_for_a_whiteout_is_refused() {
    Scene::new()
        .layer(layer().char_device("dev/x", 0, 0))
        .refused("layer 1 of 1: entry 'dev/x': a character device 0:0, which overlayfs takes for a whiteout");
}

#[test]
fn owners_that_do_not_fit_are_refused() {
    for id in ["4294967296", "4294967295", "-1"] {
        let said = refusal(&layer().file("f", "x").pax("uid", id.as_bytes()));
        assert!(said.contains("entry 'f': ") && said.contains(id), "{said}");
    }
}

#[test]
fn the_caller_s_umask_does_not_matter() {
    let scene = Scene::new();
    scene.save("x.tar", &image("x").layer(&layer().file("a/f", "x").mode(0o666).dir("d").mode(0o777)));
    scene.mkdir("root");
    // That of a process of its own: tests may share one.
    let ovlctl = scene.command(&["mount", "x.tar", "root"]);
    let mut shell = Command::new("sh");
    shell.args(["-c", r#"umask 077; exec "$0" "$@""#]).arg(ovlctl.get_program()).args(ovlctl.get_args());
    scene.outcome(shell.current_dir(scene.path(""))).succeeds();
    scene.shows_at(
        "root",
        "
        d 0755 a
        f 0666 a/f  x
        d 0777 d
        ",
    );
}

// Rule 13: attributes that the store's filesystem cannot hold.

#[test]
fn attribute_that_does_not_fit_is_an_error_or_skipped_on_request() {
    if !needs::disk("ext4") {
        return;
    }
    let scene = Scene::new();
    scene.disk("store", &["mkfs.ext4", "-q"], 16);
    // ext4 keeps a file's attributes in one block of 4 KiB.
    let image = image("x").layer(&layer().file("f", "x").xattr("user.big", &[b'v'; 8 << 10]));
    scene.save("x.tar", &image);
    scene.mkdir("root");
    let said = scene.run("mount x.tar root").fails(5);
    for part in ["'f'", "user.big", "ext4"] {
        assert!(said.stderr.contains(part), "{part} is not named: {}", said.stderr);
    }
    scene.run("mount --xattrs=skip x.tar root").succeeds();
    scene.shows_at("root", "f 0644 f  x");
}

// Rule 14: the tar's end is not the layer's end.

#[test]
fn bytes_after_the_tar_s_end_belong_to_the_layer() {
    let scene = Scene::new().layer(layer().file("a", "1").after_the_end(&[7; 70_000])).mounted();
    scene.shows("f 0644 a  1");
}

#[track_caller]
fn refusal(layer: &Layer) -> String {
    let scene = Scene::new();
    scene.save("x.tar", &image("x").layer(layer));
    scene.mkdir("root");
    let said = scene.run("mount x.tar root").fails(6).stderr;
    assert_eq!(scene.kept_layers(), Vec::<String>::new());
    said
}
