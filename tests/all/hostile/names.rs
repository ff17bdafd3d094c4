//! Names that lead out, or that no file can have.

use super::case::{Case, Lab, Layers, contained, refused, tars};
use super::raw::{GNU, MAGIC, PREFIX, file, gnu_long, header, records, tar};
use crate::support::layer;

const OUT: &str = "leads out of the layer";

#[test]
fn names_never_lead_out() {
    Lab::new().run(&[
        refused("..", |_| tars([layer().dir("..")]), OUT),
        refused("a name that begins with ..", |_| tars([layer().file("../canary", "x")]), OUT),
        refused("the same behind ./", |_| tars([layer().file("./../canary", "x")]), OUT),
        refused("the same behind /", |_| tars([layer().file("/../canary", "x")]), OUT),
        refused("one .. too many", |_| tars([layer().dir("a").file("a/../../canary", "x")]), OUT),
        refused("one .. too many, deep down", |_| tars([layer().file("a/b/c/../../../../x", "x")]), OUT),
        refused(
            "to the canary, through the store",
            |out| tars([layer().file(&format!("{}{out}/canary", "../".repeat(30)), "x")]),
            OUT,
        ),
        refused(
            "in a PAX record",
            |_| vec![tar(&[records(b'x', &[("path", b"../x")]), file("good", b"x")])],
            OUT,
        ),
        refused(
            "in a PAX record for all members",
            |_| vec![tar(&[records(b'g', &[("path", b"../x")]), file("good", b"x")])],
            OUT,
        ),
        refused("in a GNU long name", |_| vec![tar(&[gnu_long(b'L', b"../x\0"), file("good", b"x")])], OUT),
        refused("in ustar's prefix", |_| vec![tar(&[header(b'0', b"x").with(PREFIX, b"..").block()])], OUT),
        refused(
            "of a sparse file",
            |_| {
                let sparse: &[(&str, &[u8])] = &[
                    ("GNU.sparse.name", b"../x"),
                    ("GNU.sparse.size", b"1"),
                    ("GNU.sparse.numblocks", b"1"),
                    ("GNU.sparse.map", b"0,1"),
                ];
                vec![tar(&[records(b'x', sparse), file("good", b"x")])]
            },
            OUT,
        ),
        refused("of a device", |_| tars([layer().char_device("../null", 1, 3)]), OUT),
        refused("of a fifo", |_| tars([layer().fifo("../p")]), OUT),
        refused("of a symbolic link", |_| tars([layer().symlink("../l", "x")]), OUT),
        refused("of a hard link", |_| tars([layer().file("a", "x").hardlink("../h", "a")]), OUT),
    ]);
}

#[test]
fn names_that_no_file_can_have() {
    Lab::new().run(&[
        refused(
            "a NUL in a PAX record",
            |_| vec![tar(&[records(b'x', &[("path", b"a\0b")]), file("good", b"x")])],
            "a NUL is in its name",
        ),
        refused(
            "256 bytes",
            |_| tars([layer().file(&"n".repeat(256), "x")]),
            "a name of 256 bytes, and 255 is the longest",
        ),
        refused(
            "a path of 4,096 bytes",
            |_| tars([layer().file(&format!("{}/x", vec!["d".repeat(100); 41].join("/")), "x")]),
            "and 4095 is the longest",
        ),
        refused(
            "a path that is too long only behind a link",
            |_| {
                let (a, b) = (vec!["a".repeat(200); 19].join("/"), vec!["b".repeat(200); 5].join("/"));
                tars([layer().dir(&a).symlink("l", &a).file(&format!("l/{b}/x"), "x")])
            },
            "and 4095 is the longest",
        ),
        refused(
            "deeper than any tree",
            |_| tars([layer().file(&format!("{}x", "d/".repeat(1024)), "x")]),
            "more than 1024 names in a path",
        ),
        refused("no name at all", |_| vec![tar(&[file("", b"x")])], "the layer's root is no directory"),
        refused("of slashes", |_| vec![tar(&[file("./.", b"x")])], "the layer's root is no directory"),
    ]);
}

#[test]
fn names_that_only_look_like_a_way_out() {
    Lab::new().run(&[
        contained("an absolute one", |_| tars([layer().file("/canary", "x")]), "f 0644 canary  x"),
        contained("several slashes", |_| tars([layer().file("///canary", "x")]), "f 0644 canary  x"),
        contained("three dots", |_| tars([layer().file("...", "x")]), "f 0644 ...  x"),
        contained(
            "dots and spaces",
            |_| tars([layer().file(".. x/x", "x")]),
            "d 0755 .. x\nf 0644 .. x/x  x",
        ),
        contained("backslashes", |_| tars([layer().file(r"..\..\x", "x")]), r"f 0644 ..\..\x  x"),
        contained("an option", |_| tars([layer().file("-rf", "x")]), "f 0644 -rf  x"),
        contained(
            "a GNU name that goes on behind its NUL",
            |_| vec![tar(&[gnu_long(b'L', b"good\0/../../x"), header(b'0', b"x").with(MAGIC, GNU).block()])],
            "f 0644 good",
        ),
        contained(
            "a terminal's commands",
            |_| tars([layer().file_of_bytes(b"\x1b]0;pwned\x07\n\xff\xc2\x9b", b"x")]),
            r"f 0644 \x1b]0;pwned\x07\n\xff\xc2\x9b  x",
        ),
    ]);
}

#[test]
fn the_root_stays_a_directory() {
    const ROOT: &str = "the layer's root is no directory";
    let mut cases: Vec<Case> = Vec::new();
    let links: [Layers; 4] = [
        |out| tars([layer().symlink(".", out).file("canary", "x")]), // CVE-2021-29136
        |out| tars([layer().symlink("./", out).file("canary", "x")]),
        |out| tars([layer().symlink("/", out).file("canary", "x")]),
        |out| tars([layer().dir("a").symlink("a/..", out).file("canary", "x")]),
    ];
    cases.extend(links.map(|layers| refused("a link for a root", layers, ROOT)));
    cases.push(refused(
        "a hard link for a root",
        |_| tars([layer().file("a", "x").hardlink(".", "a")]),
        ROOT,
    ));
    cases.push(refused("a device for a root", |_| tars([layer().char_device(".", 1, 3)]), ROOT));
    cases.push(refused("a fifo for a root", |_| tars([layer().fifo("./")]), ROOT));
    cases.push(refused(
        "a link for a root, in the second layer",
        |out| tars([layer().file("a", "x"), layer().symlink(".", out)]),
        ROOT,
    ));
    Lab::new().run(&cases);
}
