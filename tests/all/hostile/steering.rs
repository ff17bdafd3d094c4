//! What would make overlayfs do something: whiteouts, its own attributes, its device.

use super::case::{Lab, contained, refused, tars};
use super::raw::{file, header, records, tar};
use crate::support::layer;

const NO_NAME: &str = "a whiteout of no name";

#[test]
fn whiteouts_remove_nothing_but_what_lies_below() {
    Lab::new().run(&[
        refused("of nothing", |_| tars([layer().file(".wh.", "")]), NO_NAME),
        refused("of .", |_| tars([layer().file(".wh..", "")]), NO_NAME),
        refused("of ..", |_| tars([layer().file(".wh...", "")]), NO_NAME),
        refused("of . in a directory", |_| tars([layer().dir("d"), layer().file("d/.wh..", "")]), NO_NAME),
        refused("of .. in a directory", |_| tars([layer().dir("d"), layer().file("d/.wh...", "")]), NO_NAME),
        refused("of the root", |_| tars([layer().file("/.wh.", "")]), NO_NAME),
        refused("above the root", |_| tars([layer().file("../.wh.canary", "")]), "leads out of the layer"),
        refused(
            "opaque above the root",
            |_| tars([layer().file("../.wh..wh..opq", "")]),
            "leads out of the layer",
        ),
        contained(
            "through a link of its layer",
            |_| tars([layer().file("d/x", "1"), layer().symlink("l", "d").file("l/.wh.x", "")]),
            "d 0755 d\nf 0644 d/x  1\nl 0777 l  -> d",
        ),
        contained(
            "through a link that leads out",
            |out| {
                let hostile = layer().symlink("l", out).file("l/.wh.canary", "").file("l/.wh..wh..opq", "");
                // Shown by what the link below it leaves.
                tars([layer().file("x", "1"), hostile.symlink("l", "/mnt/out")])
            },
            "l 0777 l  -> /mnt/out\nf 0644 x  1",
        ),
        contained(
            "below a link of a lower layer",
            |_| tars([layer().symlink("l", "/mnt/out"), layer().file("l/.wh.canary", "")]),
            "d 0755 l",
        ),
        contained(
            "opaque below a link of a lower layer",
            |_| tars([layer().symlink("l", "/mnt/out"), layer().file("l/.wh..wh..opq", "")]),
            "d 0755 l",
        ),
        contained(
            "of what is not there",
            |_| tars([layer().file("x", "1"), layer().file(".wh.ghost", "").file("d/.wh.ghost", "")]),
            "d 0755 d\nf 0644 x  1",
        ),
        contained(
            "in the lowest layer",
            |_| tars([layer().file(".wh.etc", "").file(".wh..wh..opq", "").file("x", "1")]),
            "f 0644 x  1",
        ),
        contained(
            "AUFS' own names",
            |_| tars([layer().file(".wh..wh.plnk/1.2", "").file(".wh..wh.aside", "x").file("x", "1")]),
            "f 0644 x  1",
        ),
    ]);
}

#[test]
fn attributes_of_overlayfs_never_reach_a_layer() {
    const NAMES: [&str; 11] = [
        "opaque",
        "redirect",
        "metacopy",
        "origin",
        "impure",
        "nlink",
        "upper",
        "whiteout",
        "xwhiteouts",
        "uuid",
        "protattr",
    ];
    Lab::new().run(&[
        contained(
            "trusted.overlay.*",
            |_| {
                let entry = |layer: crate::support::Layer, name| {
                    layer.xattr(&format!("trusted.overlay.{name}"), b"y")
                };
                tars([layer().file("d/old", "1"), NAMES.into_iter().fold(layer().dir("d"), entry)])
            },
            "d 0755 d\nf 0644 d/old  1",
        ),
        contained(
            "user.overlay.*",
            |_| {
                let entry =
                    |layer: crate::support::Layer, name| layer.xattr(&format!("user.overlay.{name}"), b"y");
                tars([layer().file("d/old", "1"), NAMES.into_iter().fold(layer().dir("d"), entry)])
            },
            "d 0755 d\nf 0644 d/old  1",
        ),
        contained(
            "nested, as overlayfs escapes its own",
            |_| {
                tars([layer()
                    .dir("d")
                    .xattr("trusted.overlay.overlay.opaque", b"y")
                    .xattr("trusted.x", b"y")])
            },
            "d 0755 d",
        ),
        contained(
            "for all members",
            |_| {
                let opaque: &[(&str, &[u8])] = &[("SCHILY.xattr.trusted.overlay.opaque", b"y")];
                let dir = header(b'5', b"d").with(super::raw::MODE, b"0000755\0").block();
                vec![layer().file("d/old", "1").tar(), tar(&[records(b'g', opaque), dir])]
            },
            "d 0755 d\nf 0644 d/old  1",
        ),
        contained(
            "as libarchive writes them",
            |_| tars([layer().dir("d").pax("LIBARCHIVE.xattr.trusted.overlay.opaque", b"eQ==")]),
            "d 0755 d",
        ),
        contained(
            "on the root",
            |_| {
                let root = layer()
                    .dir("./")
                    .xattr("trusted.overlay.opaque", b"y")
                    .xattr("trusted.overlay.origin", b"x");
                tars([layer().file("old", "1"), root])
            },
            "f 0644 old  1",
        ),
        contained(
            "a redirect to another directory",
            |_| {
                let secret = layer().dir("secret").mode(0o700).file("secret/key", "1");
                tars([secret, layer().dir("open").xattr("trusted.overlay.redirect", b"/secret")])
            },
            "d 0755 open\nd 0700 secret\nf 0644 secret/key  1",
        ),
        contained(
            "a metacopy of another file",
            |_| {
                let link = layer().file("open", "").xattr("trusted.overlay.metacopy", b"");
                tars([layer().file("key", "1"), link.xattr("trusted.overlay.redirect", b"/key")])
            },
            "f 0644 key  1\nf 0644 open",
        ),
        refused(
            "an attribute of no name",
            |_| vec![tar(&[records(b'x', &[("SCHILY.xattr.", b"1")]), file("x", b"")])],
            "'' is no name of an extended attribute",
        ),
        refused(
            "an attribute with a NUL in its name",
            |_| vec![tar(&[records(b'x', &[("SCHILY.xattr.user.a\0trusted.b", b"1")]), file("x", b"")])],
            "is no name of an extended attribute",
        ),
    ]);
}

#[test]
fn devices_are_what_they_say_or_refused() {
    use super::raw::{MAJOR, UID};
    Lab::new().run(&[
        refused(
            "overlayfs' whiteout",
            |_| tars([layer().file("x", "1"), layer().char_device("x", 0, 0)]),
            "a character device 0:0, which overlayfs takes for a whiteout",
        ),
        refused(
            "2^32, which is 0 to who cuts it",
            |_| {
                let big: &[(&str, &[u8])] =
                    &[("SCHILY.devmajor", b"4294967296"), ("SCHILY.devminor", b"4294967296")];
                vec![tar(&[records(b'x', big), header(b'3', b"x").block()])]
            },
            "its major number 4294967296 does not fit",
        ),
        refused(
            "a negative one",
            |_| vec![tar(&[header(b'4', b"x").with(MAJOR, &[0xff; 8]).block()])],
            "its major number -1 does not fit",
        ),
        refused(
            "an owner of 2^32, who is root to who cuts it",
            |_| vec![tar(&[header(b'0', b"x").with(UID, b"\x80\0\0\x01\0\0\0\0").block()])],
            "its owner 4294967296 does not fit",
        ),
        contained("a block device 0:0", |_| tars([layer().block_device("x", 0, 0)]), "b 0644 x  0:0"),
        contained(
            "memory, which is root's in the image too",
            |_| tars([layer().char_device("mem", 1, 1)]),
            "c 0644 mem  1:1",
        ),
    ]);
}
