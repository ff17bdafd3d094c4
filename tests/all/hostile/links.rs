//! Links of both kinds, and directories that become links while a layer is unpacked.

use super::case::{Lab, contained, refused, tars};
use super::raw::{gnu_long, header, records, tar};
use crate::support::layer;

/// What a table's trees call the directory outside: links show where they lead.
const OUT: &str = "/mnt/out";

#[test]
fn what_is_below_a_link_stays_inside() {
    Lab::new().run(&[
        contained(
            "an absolute link, and a file below it",
            |_| tars([layer().symlink("l", OUT).file("l/canary", "x")]),
            "l 0777 l  -> /mnt/out\nd 0755 mnt\nd 0755 mnt/out\nf 0644 mnt/out/canary  x",
        ),
        contained(
            "a link of many ..",
            |_| tars([layer().symlink("l", "../../../../../../mnt").file("l/canary", "x")]),
            "l 0777 l  -> ../../../../../../mnt\nd 0755 mnt\nf 0644 mnt/canary  x",
        ),
        contained(
            "a chain of links",
            |_| tars([layer().symlink("c", OUT).symlink("b", "c").symlink("a", "./b").file("a/canary", "x")]),
            "l 0777 a  -> ./b\nl 0777 b  -> c\nl 0777 c  -> /mnt/out\nd 0755 mnt\nd 0755 mnt/out\n\
             f 0644 mnt/out/canary  x",
        ),
        contained(
            "a link whose target goes through another",
            |_| tars([layer().symlink("a", "/").symlink("b", "a/../../../mnt").file("b/canary", "x")]),
            "l 0777 a  -> /\nl 0777 b  -> a/../../../mnt\nd 0755 mnt\nf 0644 mnt/canary  x",
        ),
        contained(
            "a directory below a link",
            |_| tars([layer().symlink("l", OUT).dir("l/dir").mode(0o777)]),
            "l 0777 l  -> /mnt/out\nd 0755 mnt\nd 0755 mnt/out\nd 0777 mnt/out/dir",
        ),
        contained(
            "a fifo below a link",
            |_| tars([layer().symlink("l", "/mnt").fifo("l/p")]),
            "l 0777 l  -> /mnt\nd 0755 mnt\np 0644 mnt/p",
        ),
        contained(
            "a link below a link",
            |_| tars([layer().symlink("l", "/mnt").symlink("l/m", "/etc").file("l/m/x", "x")]),
            "d 0755 etc\nf 0644 etc/x  x\nl 0777 l  -> /mnt\nd 0755 mnt\nl 0777 mnt/m  -> /etc",
        ),
        contained(
            "a link of a lower layer: a directory takes its place",
            |_| tars([layer().symlink("l", OUT), layer().file("l/canary", "x")]),
            "d 0755 l\nf 0644 l/canary  x",
        ),
        refused(
            "a link to itself",
            |_| tars([layer().symlink("l", "l").file("l/x", "x")]),
            "more than 40 symbolic links on the way",
        ),
        refused(
            "links in a circle",
            |_| tars([layer().symlink("a", "b/x").symlink("b", "a/x").file("a/x", "x")]),
            "more than 40 symbolic links on the way",
        ),
        refused(
            "links that lead to and fro",
            |_| {
                let (there, back) = ("d/../".repeat(600), "d/../".repeat(600));
                let links = (0..10).fold(layer().dir("d"), |layer, nr| {
                    layer.symlink(&format!("l{nr}"), &format!("{there}l{}", nr + 1))
                });
                tars([links.symlink("l10", &format!("{back}d")).file("l0/x", "x")])
            },
            "more than 4096 names on the way, those of symbolic links included",
        ),
    ]);
}

#[test]
fn a_directory_that_becomes_a_link_is_no_way_out() {
    Lab::new().run(&[
        contained(
            "a directory in use becomes a link",
            |_| tars([layer().dir("d").file("d/a", "1").symlink("d", OUT).file("d/canary", "x")]),
            "l 0777 d  -> /mnt/out\nd 0755 mnt\nd 0755 mnt/out\nf 0644 mnt/out/canary  x",
        ),
        contained(
            "the directory above the one in use",
            |_| tars([layer().file("d/e/a", "1").symlink("d", "/mnt").file("d/e/canary", "x")]),
            "l 0777 d  -> /mnt\nd 0755 mnt\nd 0755 mnt/e\nf 0644 mnt/e/canary  x",
        ),
        contained(
            "and becomes a directory again",
            |_| tars([layer().file("d/a", "1").symlink("d", OUT).dir("d").file("d/canary", "x")]),
            "d 0755 d\nf 0644 d/canary  x",
        ),
        contained(
            "to and fro",
            |_| {
                let again =
                    |layer: crate::support::Layer, _| layer.dir("d").file("d/a", "1").symlink("d", OUT);
                tars([(0..20).fold(layer(), again).file("d/canary", "x")])
            },
            "l 0777 d  -> /mnt/out\nd 0755 mnt\nd 0755 mnt/out\nf 0644 mnt/out/canary  x",
        ),
        contained(
            "a link's directory gets a mode", // CVE-2026-33056
            |_| tars([layer().symlink("l", OUT).dir("l").mode(0o777).owner(9, 9)]),
            "d 0777 9:9 l",
        ),
        contained(
            "a file over a link",
            |_| tars([layer().symlink("l", "/mnt/out/canary").file("l", "x").mode(0o666)]),
            "f 0666 l  x",
        ),
        contained(
            "attributes over a link",
            |_| tars([layer().symlink("l", "/mnt/out/canary").file("l", "").xattr("user.k", b"v").mtime(77)]),
            "f 0644 l  {user.k=v}",
        ),
        contained(
            "a device over a link",
            |_| tars([layer().symlink("l", "/mnt/out/canary").char_device("l", 1, 3)]),
            "c 0644 l  1:3",
        ),
    ]);
}

#[test]
fn hard_links_never_reach_what_lies_outside() {
    Lab::new().run(&[
        refused(
            "to a name that leads out",
            |_| tars([layer().hardlink("h", "../../../../outside/canary")]),
            "hard link to '../../../../outside/canary': leads out of the layer",
        ),
        refused(
            "to an absolute name outside",
            |out| tars([layer().hardlink("h", &format!("{out}/canary"))]),
            "which is not in this layer or below",
        ),
        refused(
            "through a link", // CVE-2026-26960
            |out| tars([layer().symlink("l", out).hardlink("h", "l/canary")]),
            "hard link to 'l/canary', which is not in this layer or below",
        ),
        refused(
            "through a link of many ..",
            |out| {
                tars([layer().symlink("l", &format!("{}{out}", "../".repeat(30))).hardlink("h", "l/canary")])
            },
            "hard link to 'l/canary', which is not in this layer or below",
        ),
        refused(
            "through a link of a lower layer",
            |out| tars([layer().symlink("l", out), layer().hardlink("h", "l/canary")]),
            "hard link to 'l/canary', which is not in this layer or below",
        ),
        refused(
            "to a directory",
            |_| tars([layer().dir("d").hardlink("h", "d")]),
            "hard link to 'd', which is a directory",
        ),
        refused(
            "to the root",
            |_| tars([layer().hardlink("h", "/")]),
            "hard link to '/', which is a directory",
        ),
        refused(
            "with a NUL in its target",
            |_| vec![tar(&[records(b'x', &[("linkpath", b"a\0b")]), header(b'1', b"h").block()])],
            "a NUL is in its target",
        ),
        refused(
            "with GNU's long target",
            |_| vec![tar(&[gnu_long(b'K', b"../../x\0"), header(b'1', b"h").block()])],
            "hard link to '../../x': leads out of the layer",
        ),
        contained(
            "to a symbolic link: the link itself gets another name, and keeps its owner",
            |_| tars([layer().symlink("l", "/mnt/out/canary").hardlink("h", "l").mode(0o777).owner(9, 9)]),
            "l 0777 h  -> /mnt/out/canary\nl 0777 l  -> /mnt/out/canary  = h",
        ),
        contained(
            "to a symbolic link of a lower layer",
            |_| tars([layer().symlink("l", "/mnt/out/canary"), layer().hardlink("h", "l").mode(0o777)]),
            "l 0777 h  -> /mnt/out/canary\nl 0777 l  -> /mnt/out/canary  = h",
        ),
        contained("to itself", |_| tars([layer().file("h", "x").hardlink("h", "h")]), "f 0644 h  x"),
    ]);
}

#[test]
fn hard_link_to_the_canary_s_place_stays_inside() {
    // The layer has files of its own where the canary lies: those are linked, and not the canary.
    let lab = Lab::new();
    let own = format!("{}/canary", lab.canary.path());
    let layer = layer().file(&own, "own").symlink("l", &lab.canary.path()).hardlink("h", "l/canary");
    let image = crate::support::image("bad:1").layer(&layer);
    lab.scene.save("bad.tar", &image);
    lab.scene.run("mount bad.tar target").succeeds();
    assert!(lab.scene.tree("target").contains("f 0644 h  own\n"), "{}", lab.scene.tree("target"));
    lab.canary.lives("a hard link to the canary's place");
}
