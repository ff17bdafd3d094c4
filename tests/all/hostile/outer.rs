//! The archive itself: its own names, links and pipes, and what its documents point to.

use std::fs;
use std::os::unix::fs::symlink;

use serde_json::json;

use super::case::Lab;
use super::raw::{LINK, SIZE, file, header, tar};
use crate::support::image::{Files, Image, Packing, docker_legacy, image, oci};
use crate::support::layer;

fn bad() -> Image {
    image("bad:1").layer(&layer().file("a", "1"))
}

fn files() -> Files {
    docker_legacy(&[bad()])
}

/// `docker save`'s form with the only layer at this path.
fn with_layer_at(path: &str) -> Files {
    files().edit("manifest.json", |manifest| manifest[0]["Layers"] = json!([path]))
}

/// These members, and behind them those of an archive without its end.
fn before(members: &[Vec<u8>], files: &Files) -> Vec<u8> {
    [members.concat(), files.tar()].concat()
}

#[test]
fn members_of_the_archive_are_never_extracted() {
    // CVE-2025-11395: Podman untarred it by its paths.
    let lab = Lab::new();
    let out = lab.canary.path();
    let climbing = format!("{}{out}/canary", "../".repeat(30));
    let hostile = [
        file("../outside/canary", b"x"),
        file("/outside/canary", b"x"),
        super::raw::gnu_long(b'L', climbing.as_bytes()),
        file("x", b"x"),
        header(b'2', b"link").with(LINK, b"/").block(),
        file("link/canary", b"x"),
        header(b'1', b"outside").with(LINK, b"../../outside/canary").block(),
        header(b'6', b"fifo").block(),
        header(b'4', b"disk").block(),
    ];
    let archive = before(&hostile, &files());
    lab.scene.write("bad.tar", &archive);
    for (words, input) in [("load bad.tar", &b""[..]), ("load -", &archive)] {
        assert_eq!(lab.ran(words, input).code, Some(0), "{words}");
        lab.scene.run("rm --wait bad:1").succeeds();
        lab.scene.run("prune --wait").succeeds();
        lab.untouched(words);
    }
}

#[test]
fn documents_that_point_out_of_the_archive_are_refused() {
    let lab = Lab::new();
    let out = format!("{}/canary", lab.canary.path());
    for path in ["../../../../etc/passwd", "a/../../etc/passwd", ".."] {
        lab.archive_refused(&with_layer_at(path).tar(), "", "leads out of the archive");
        let config = files().edit("manifest.json", |manifest| manifest[0]["Config"] = json!(path));
        lab.archive_refused(&config.tar(), "", "leads out of the archive");
    }
    for path in ["/etc/passwd", &out, "/proc/self/mem", "/dev/zero", "-", ""] {
        lab.archive_refused(&with_layer_at(path).tar(), "", "is not in the archive");
        let config = files().edit("manifest.json", |manifest| manifest[0]["Config"] = json!(path));
        lab.archive_refused(&config.tar(), "", "is not in the archive");
    }
}

#[test]
fn links_and_pipes_of_the_archive_lead_nowhere() {
    let lab = Lab::new();
    for (target, words) in [
        ("../../../../etc/passwd", "leads out of the archive"),
        ("/etc/passwd", "is not in the archive"),
        ("evil", "is a link to a link, more than 8 times"),
    ] {
        for kind in [b'1', b'2'] {
            let link = header(kind, b"evil").with(LINK, target.as_bytes()).block();
            lab.archive_refused(&before(&[link], &with_layer_at("evil")), "", words);
        }
    }
    // A name that no header holds: such a link leads nowhere, and takes no memory.
    let far = vec![b'n'; 1 << 20];
    let link = [super::raw::gnu_long(b'K', &far), header(b'2', b"evil").block()].concat();
    lab.archive_refused(&before(&[link], &with_layer_at("evil")), "", "evil is not in the archive");
    for kind in [b'3', b'4', b'5', b'6'] {
        let device = header(kind, b"evil").block();
        lab.archive_refused(&before(&[device], &with_layer_at("evil")), "", "evil is not in the archive");
    }
    let manifest = header(b'2', b"manifest.json").with(LINK, b"/etc/passwd").block();
    lab.archive_refused(&tar(&[manifest]), "", "not an image archive");
}

#[test]
fn directories_lead_nowhere_either() {
    let lab = Lab::new();
    let layout = lab.scene.path("layout");
    let layer = bad().layer_paths(Packing::Plain)[0].clone();
    let again = |change: &dyn Fn()| {
        fs::remove_dir_all(&layout).unwrap();
        oci(&[bad()], Packing::Plain).write_to(&layout);
        change();
    };
    for (name, words) in
        [(layer.as_str(), "leads out of the archive"), ("index.json", "leads out of the archive")]
    {
        for target in ["/etc/passwd", "../../../../../../../etc/passwd", "/dev/zero"] {
            again(&|| {
                fs::remove_file(layout.join(name)).unwrap();
                symlink(target, layout.join(name)).unwrap();
            });
            lab.directory_refused("./layout", words);
        }
        // Nobody writes into it: whoever opened it would wait for ever (CVE-2024-9676).
        again(&|| {
            fs::remove_file(layout.join(name)).unwrap();
            let fifo = std::process::Command::new("mkfifo").arg(layout.join(name)).status();
            assert!(fifo.unwrap().success());
        });
        lab.directory_refused("./layout", "is no regular file");
    }
    again(&|| {
        fs::rename(layout.join("blobs"), lab.scene.path("tmp/blobs")).unwrap();
        symlink("../tmp/blobs", layout.join("blobs")).unwrap();
    });
    let said = lab.ran("mount ./layout target", b"");
    assert_eq!(said.code, Some(6), "{}", said.stderr());
    assert!(said.stderr().contains("leads out of the archive"), "{}", said.stderr());
    fs::remove_dir_all(lab.scene.path("tmp/blobs")).unwrap();
    lab.untouched("a folder that is a link");
}

#[test]
fn archives_that_are_cut_damaged_or_two_are_refused() {
    let lab = Lab::new();
    let whole = files().tar();
    for len in [0, 1, 100, 511, 513, whole.len() / 2] {
        lab.archive_refused(&whole[..len], "", "");
    }
    let mut damaged = whole.clone();
    damaged[3] ^= 1;
    lab.archive_refused(&damaged, "", "not a tar");
    // Two archives with no end between: readers disagree on which manifest holds.
    let open = &whole[..whole.len() - 1024];
    lab.archive_refused(&[open, &whole].concat(), "", "'manifest.json' is twice in the archive");
    let lying = header(b'0', b"x").with(SIZE, b"77777777777\0").block();
    lab.archive_refused(&[open, &lying].concat(), "", "the archive is cut short: it ends inside 'x'");
    let negative = header(b'0', b"x").with(SIZE, &[0xff; 12]).block();
    lab.archive_refused(&[open, &negative].concat(), "", "entry 'x': its size does not fit");
    let sparse = before(&[header(b'S', b"evil").with(257, super::raw::GNU).block()], &with_layer_at("evil"));
    lab.archive_refused(&sparse, "", "'evil' is stored as a sparse file");
}

#[test]
fn a_second_archive_behind_the_first_means_nothing() {
    let lab = Lab::new();
    let other = docker_legacy(&[image("evil:1").layer(&layer().file("evil", "1"))]);
    let archive = [files().tar(), other.tar()].concat();
    lab.scene.write("bad.tar", &archive);
    let said = lab.scene.run("load bad.tar").succeeds();
    assert_eq!(said.stdout, format!("bad:1  {}\n", bad().id()));
    lab.scene.run("rm --wait bad:1").succeeds();
    lab.scene.run("prune --wait").succeeds();
    lab.untouched("two archives");
}
