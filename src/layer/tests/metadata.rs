//! Owner, mode, attributes, times.

use std::os::unix::fs::MetadataExt;

use super::*;

#[test]
fn the_root_has_what_its_entry_says() {
    Scene::new()
        .layer("d 1750 5:6 @8.25 {user.a=b} ./\nf a")
        .holds("d 1750 5:6 @8.250000000 {user.a=b} ./\nf a");
}

#[test]
fn setuid_bits_and_capabilities_survive_the_owner() {
    let capability = "\\x01\\x00\\x00\\x02\\x00\\x20\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00";
    let file = format!("f 6755 1000:1000 {{security.capability={capability}}} a x");
    Scene::new().layer(&file).holds(&format!("d ./\n{file}"));
}

#[test]
fn every_mode_is_kept_whatever_the_umask() {
    let tree = "
        d 7777 d
        f 0666 f0 x
        f 0000 f1 x
        f 7777 f2 x
        c 0666 n 5:1
        p 0777 p
    ";
    Scene::new().layer(tree).holds(&format!("d ./\n{tree}"));
}

#[test]
fn the_highest_device_is_kept() {
    Scene::new().layer("b w 4095:1048575").holds("d ./\nb w 4095:1048575");
}

#[test]
fn times_are_kept_to_the_nanosecond_before_1970_and_after_2038() {
    let tree = "
        d @1.000000001 d
        f @-5.750000000 f0
        f @4294967296.999999999 f1
        l @7.500000000 l to
        p @2.000000003 p
    ";
    // A negative time is written as tar does, and shown as stat(2) does: rounded down.
    let shown = tree.replace("-5.750000000", "-6.250000000");
    Scene::new().layer(tree).holds(&format!("d ./\n{shown}"));
}

#[test]
fn a_directory_entry_may_come_after_its_contents() {
    Scene::new().layer("f d/a\nd 0500 1:1 @9 d").holds("d ./\nd 0500 1:1 @9 d\nf d/a");
}

#[test]
fn a_setgid_directory_passes_nothing_on() {
    Scene::new().layer("d 2777 0:50 d\nd d/e\nf d/f").holds("d ./\nd 2777 0:50 d\nd d/e\nf d/f");
}

#[test]
fn a_default_acl_passes_nothing_on() {
    // version 2; user::rwx, group::rwx, other::---
    let acl = "{system.posix_acl_default=\
        \\x02\\x00\\x00\\x00\\x01\\x00\\x07\\x00\\xff\\xff\\xff\\xff\\x04\\x00\\x07\\x00\\xff\\xff\\xff\\xff\
        \\x20\\x00\\x00\\x00\\xff\\xff\\xff\\xff}";
    Scene::new().layer(&format!("d {acl} d\nd d/e\nf d/f")).holds(&format!("d ./\nd {acl} d\nd d/e\nf d/f"));
}

#[test]
fn a_layer_inherits_nothing_from_where_the_store_lies() {
    let scene = Scene::new();
    let home = Dir::open(scene.home.path()).unwrap();
    home.chown_self(0, 50).unwrap();
    home.chmod_self(0o2777).unwrap();
    let acl = [
        2, 0, 0, 0, 1, 0, 7, 0, 255, 255, 255, 255, 4, 0, 7, 0, 255, 255, 255, 255, 32, 0, 0, 0, 255, 255,
        255, 255,
    ];
    home.set_xattr_self(b"system.posix_acl_default", &acl).unwrap();
    scene.layer("d d\nf d/f\nf f").holds("d ./\nd d\nf d/f\nf f");
}

#[test]
fn attributes_that_steer_overlayfs_are_left_out_and_counted() {
    let scene = Scene::new()
        .layer(
            "d {trusted.overlay.opaque=y} d\nf {user.overlay.redirect=/x} {user.a=b} f\nf {security.ima=x} g",
        )
        .holds("d ./\nd d\nf {user.a=b} f\nf g");
    let LeftOut { steering, host_labels, unheld, .. } = scene.summary.left_out;
    assert_eq!((steering, host_labels, unheld), (2, 1, 0));
}

#[test]
fn an_attribute_that_the_filesystem_cannot_hold_is_an_error() {
    Scene::new().refuses(
        "l {user.a=b} l x",
        "entry 'l': FS cannot hold extended attribute 'user.a': lsetxattr(\"HOME/0/l\"): Operation not permitted",
    );
    Scene::new().refuses(
        "f {security.capability=} f",
        "entry 'f': FS cannot hold extended attribute 'security.capability': \
         setxattr(\"security.capability\", \"\"): Invalid argument",
    );
}

#[test]
fn an_attribute_that_the_filesystem_cannot_hold_may_be_left_out() {
    let layer =
        "l {user.a=b} l x\nf {user.big=VALUE} f\nf {nonsense=x} g".replace("VALUE", &"x".repeat(60_000));
    let with = |xattrs| Scene::new().with(Options { xattrs, ..Options::default() });
    let scene = with(XattrPolicy::Warn).layer(&layer).holds("d ./\nf f\nf g\nl l x");
    let LeftOut { unheld, mut named, .. } = scene.summary.left_out;
    named.sort_by(|a, b| a.path.cmp(&b.path));
    assert_eq!((unheld, named.len()), (3, 3));
    assert_eq!(named[2], Unheld { path: b"l".to_vec(), key: b"user.a".to_vec() });

    let scene = with(XattrPolicy::Skip).layer(&layer).holds("d ./\nf f\nf g\nl l x");
    assert_eq!(scene.summary.left_out, LeftOut::default());
}

#[test]
fn a_sparse_file_keeps_its_holes() {
    let home = tempfile::tempdir_in("/var/tmp").unwrap();
    let sparse = File::create(home.path().join("s")).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&sparse, b"middle", 4 << 20).unwrap();
    sparse.set_len(16 << 20).unwrap();
    let out = std::process::Command::new("tar").arg("-cSC").arg(home.path()).arg("s").output().unwrap();
    let mut scene = Scene::new();
    scene.add(&out.stdout).unwrap();
    let path = scene.top().path().join("s");
    let stat = std::fs::metadata(&path).unwrap();
    assert_eq!((stat.len(), stat.blocks() * 512 < 64 << 10), (16 << 20, true));
    let mut middle = [0; 6];
    std::os::unix::fs::FileExt::read_exact_at(&file_at(&path), &mut middle, 4 << 20).unwrap();
    assert_eq!(&middle, b"middle");
}
