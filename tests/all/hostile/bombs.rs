//! A little that would become very much: each is refused by a limit that the error names, and takes neither memory nor time.

use std::io::Read;

use nix::sys::resource::{UsageWho, getrusage};
use serde_json::json;

use super::case::{Case, Lab, Verdict};
use super::raw::{file, header, records, tar};
use crate::support::image::{Image, Packing, docker_legacy, image, oci};
use crate::support::layer;

const PACKINGS: [Packing; 4] = [Packing::Gzip, Packing::Zstd, Packing::Xz, Packing::Bzip2];

/// What `ovlctl` may take of memory, in KiB, whatever the archive: 64 MiB, and for each of the two layers that are unpacked at
/// once what it remembers of one (limit `memory`).
const MOST_MEMORY: i64 = (64 + 2 * 64) << 10;

/// Checks the most memory that any process took that this one has waited for: nextest gives each test one.
#[track_caller]
fn memory_is_bounded() {
    let peak = getrusage(UsageWho::RUSAGE_CHILDREN).expect("getrusage").max_rss();
    assert!(peak < MOST_MEMORY, "{peak} KiB at most");
}

fn zeros(size: usize) -> Image {
    image("bad:1").layer(&layer().file_of_bytes(b"zeros", &vec![0; size]))
}

/// The files of an image whose layer is this tar packed so; the packed form is made once.
fn packed(image: &Image, packing: Packing) -> Vec<u8> {
    oci(std::slice::from_ref(image), packing).tar()
}

#[test]
fn layers_that_grow_are_refused() {
    let lab = Lab::new();
    let image = zeros(8 << 20);
    for packing in PACKINGS {
        let archive = packed(&image, packing);
        for (options, words) in [
            (
                "--limit layer-bytes=4M",
                "layer 1 of 1: more than 4M bytes\nhint: `--limit layer-bytes=8M` takes",
            ),
            (
                "--limit image-bytes=4M",
                "layer 1 of 1: its layers have more than 4M bytes\nhint: `--limit image-bytes=8M`",
            ),
            (
                "--limit ratio=20 --limit ratio-from=1M",
                "layer 1 of 1: grows to more than 20 times its size\nhint: `--limit ratio=40` takes",
            ),
        ] {
            lab.archive_refused(&archive, options, words);
        }
    }
    memory_is_bounded();
}

#[test]
fn layers_are_counted_together() {
    let lab = Lab::new();
    let image = (0..3).fold(image("bad:1"), |image, nr| {
        image.layer(&layer().file_of_bytes(format!("f{nr}").as_bytes(), &vec![nr; 1 << 20]))
    });
    let words = "its layers have more than 2M bytes";
    lab.archive_refused(
        &packed(&image, Packing::Gzip),
        "--limit image-bytes=2M --limit layer-bytes=2M",
        words,
    );
}

#[test]
fn what_follows_a_tar_is_counted_too() {
    let lab = Lab::new();
    let tar = layer().file("a", "1").after_the_end(&vec![0; 8 << 20]).tar();
    let archive = packed(&image("bad:1").layer_of_bytes(tar), Packing::Zstd);
    lab.archive_refused(&archive, "--limit layer-bytes=4M", "more than 4M bytes");
    let behind = [docker_legacy(&[zeros(1)]).tar(), vec![0; 8 << 20]].concat();
    lab.archive_refused(
        &Packing::Zstd.pack(&behind),
        "--limit archive-bytes=4M",
        "the archive has more than 4M bytes",
    );
}

#[test]
fn archives_that_grow_are_refused() {
    let lab = Lab::new();
    let archive = docker_legacy(&[zeros(8 << 20)]).tar();
    for packing in PACKINGS {
        let archive = packing.pack(&archive);
        lab.archive_refused(
            &archive,
            "--limit archive-bytes=4M",
            "the archive has more than 4M bytes\nhint: `--limit archive-bytes=8M`",
        );
        lab.archive_refused(
            &archive,
            "--limit ratio=20 --limit ratio-from=1M",
            "grows to more than 20 times its size\nhint: `--limit ratio=40`",
        );
    }
    // Through a pipe it is kept, and so counted, packed or not.
    let said = lab.ran("load --limit archive-bytes=4M -", &archive);
    assert_eq!(said.code, Some(6), "{}", said.stderr());
    assert!(said.stderr().contains("the archive has more than 4M bytes"), "{}", said.stderr());
    lab.untouched("a pipe");
    memory_is_bounded();
}

#[test]
fn the_usual_limits_stop_what_grows_a_thousandfold() {
    // 5 GiB of zeros behind the tar's end, in 160 KiB of zstd.
    let mut tar = layer().file("a", "1").tar();
    let head = zstd::encode_all(&tar[..], 3).unwrap();
    let gib = zstd::encode_all(std::io::repeat(0).take(1 << 30), 3).unwrap();
    let blob = [head, gib.repeat(5)].concat();
    tar.clear();
    let lab = Lab::new();
    // Whatever its diff id: it is never read so far.
    let config = image("bad:1").config("rootfs", json!({"diff_ids": [format!("sha256:{}", "0".repeat(64))]}));
    let files = docker_legacy(&[config]).with("bomb", &blob);
    let files = files.edit("manifest.json", |manifest| manifest[0]["Layers"] = json!(["bomb"]));
    lab.scene.write("bad.tar", &files.tar());
    let said = lab.ran("load bad.tar", b"");
    assert_eq!(said.code, Some(6), "{}", said.stderr());
    assert!(
        said.stderr().contains("layer 1 of 1: grows to more than 1000 times its size"),
        "{}",
        said.stderr()
    );
    lab.untouched("5 GiB of zeros");
    memory_is_bounded();
}

#[test]
fn documents_that_are_too_large_are_refused() {
    let lab = Lab::new();
    let long = " ".repeat((4 << 20) + 1);
    let files = docker_legacy(&[zeros(1)]);
    let config = format!("{}.json", zeros(1).id().hex());
    for (files, words) in [
        (
            files.clone().with("manifest.json", format!("[]{long}").as_bytes()),
            "manifest.json: more than 4M bytes in a JSON document".to_owned(),
        ),
        (
            files.clone().with("index.json", format!("{{}}{long}").as_bytes()),
            "index.json: more than 4M bytes in a JSON document".to_owned(),
        ),
        (
            files.clone().with(&config, long.as_bytes()),
            format!("{config}: more than 4M bytes in a JSON document"),
        ),
    ] {
        lab.archive_refused(&files.tar(), "", &words);
        for packing in PACKINGS {
            let words = format!("{words}\nhint: `--limit json=8M` takes twice that");
            lab.archive_refused(&packing.pack(&files.tar()), "", &words);
        }
    }
    // Documents are never inflated.
    for packing in PACKINGS {
        let text = packing.pack(files.get("manifest.json"));
        lab.archive_refused(&files.clone().with("manifest.json", &text).tar(), "", "manifest.json: not JSON");
    }
    memory_is_bounded();
}

#[test]
fn documents_that_take_memory_or_time_are_refused() {
    let lab = Lab::new();
    let files = docker_legacy(&[zeros(1)]);
    let with = |text: String| files.clone().with("manifest.json", text.as_bytes()).tar();
    lab.archive_refused(
        &with(format!("[{}[0]]", "[0],".repeat(1_000_000))),
        "",
        "not JSON: more than 200000 values",
    );
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    lab.archive_refused(&with(deep), "", "not JSON: recursion limit exceeded");
    // A document named 30,000 times would be read as often.
    let config = format!("{}.json", zeros(1).id().hex());
    let entry = json!({"Config": config, "RepoTags": null, "Layers": []}).to_string();
    let named = format!("[{}{entry}]", format!("{entry},").repeat(30_000));
    let padded = [&zeros(1).config_bytes()[..], &vec![b' '; 1 << 20]].concat();
    let archive = files.clone().with("manifest.json", named.as_bytes()).with(&config, &padded).tar();
    lab.archive_refused(
        &archive,
        "",
        ".json: more than 16M bytes in all JSON documents\nhint: `--limit documents=32M`",
    );
    // So are configs that differ: they are kept.
    let configs = (0..20).map(|nr| {
        image("").layer(&layer().file("a", "1")).config("x", json!(format!("{nr}{}", "x".repeat(1 << 20))))
    });
    let configs: Vec<Image> = configs.collect();
    lab.archive_refused(
        &oci(&configs, Packing::Plain).tar(),
        "",
        "more than 16M bytes in all JSON documents",
    );
    memory_is_bounded();
}

#[test]
fn archives_of_too_many_members_are_refused() {
    let lab = Lab::new();
    let mut archive = Vec::new();
    for nr in 0..2001 {
        archive.extend(header(b'0', format!("f{nr}").as_bytes()).block());
    }
    archive.extend(docker_legacy(&[zeros(1)]).tar());
    lab.archive_refused(
        &archive,
        "--limit members=2000",
        "the archive has more than 2000 members\nhint: `--limit members=4000`",
    );
}

#[test]
fn layers_of_too_many_entries_are_refused() {
    let lab = Lab::new();
    let mut tar = Vec::new();
    for nr in 0..3001 {
        tar.extend(header(b'0', format!("f{nr}").as_bytes()).block());
    }
    let archive = packed(&image("bad:1").layer_of_bytes(tar), Packing::Zstd);
    lab.archive_refused(
        &archive,
        "--limit entries=3000",
        "layer 1 of 1: more than 3000 entries\nhint: `--limit entries=6000`",
    );
}

/// A layer of `count` headers that are alike but for the number in their names.
fn headers(count: usize, make: impl Fn(usize) -> Vec<u8>) -> Vec<u8> {
    let mut tar = Vec::new();
    (0..count).for_each(|nr| tar.extend(make(nr)));
    tar
}

#[test]
fn a_layer_of_empty_files_is_refused_before_they_are_made() {
    // The store has no room for all of them: whoever makes them runs out of it, before the limit is met.
    let lab = Lab::in_memory("256m,nr_inodes=150k");
    let tar = headers(200_001, |nr| header(b'0', format!("f{nr}").as_bytes()).block());
    let archive = packed(&image("bad:1").layer_of_bytes(tar), Packing::Zstd);
    lab.scene.write("bad.tar", &archive);
    let said = lab.ran("load --limit entries=200000 bad.tar", b"");
    assert_eq!(said.code, Some(6), "{}", said.stderr());
    assert!(said.stderr().contains("layer 1 of 1: more than 200000 entries"), "{}", said.stderr());
    lab.untouched("empty files");
    memory_is_bounded();
}

#[test]
fn what_must_be_remembered_of_a_layer_is_bounded() {
    let lab = Lab::in_memory("256m");
    let words = "of directories, whiteouts and links to remember\nhint: `--limit memory=";
    let value = vec![b'v'; 60 << 10];
    let big: &[(&str, &[u8])] = &[("SCHILY.xattr.user.a", &value)];
    let base = layer().file("x", "1").tar();
    let directories = headers(40_000, |nr| header(b'5', format!("d{nr}/").as_bytes()).block());
    let whiteouts = headers(80_000, |nr| header(b'0', format!("d/.wh.f{nr}").as_bytes()).block());
    let links_below = headers(20_000, |nr| {
        header(b'1', format!("l{nr}").as_bytes()).with(157, format!("x{nr}").as_bytes()).block()
    });
    let attributes =
        headers(100, |nr| [records(b'x', big), header(b'5', format!("d{nr}").as_bytes()).block()].concat());
    for tar in [directories, whiteouts, links_below, attributes] {
        let image = image("bad:1").layer_of_bytes(base.clone()).layer_of_bytes(tar);
        let archive = packed(&image, Packing::Zstd);
        lab.archive_refused(&archive, "--limit memory=4M", &format!("more than 4M bytes {words}8M`"));
    }
    // Megabytes that never come together are not remembered: a directory described again and again is.
    let image = image("bad:1")
        .layer_of_bytes(headers(2000, |_| [records(b'x', big), header(b'5', b"d").block()].concat()));
    lab.archive_refused(&packed(&image, Packing::Zstd), "", &format!("more than 64M bytes {words}128M`"));
    memory_is_bounded();
}

#[test]
fn trees_that_are_deep_are_taken_and_removed() {
    Lab::new().run(&[Case {
        name: "1,000 deep, and replaced by a file",
        layers: |_| {
            let deep = format!("{}x", "d/".repeat(1000));
            vec![layer().file(&deep, "1").file("d", "2").tar()]
        },
        verdict: Verdict::Contained("f 0644 d  2"),
    }]);
    let deep = "d/".repeat(1000);
    let lab = Lab::new();
    lab.archive_refused(
        &packed(
            &image("bad:1").layer(&layer().file(&format!("{deep}x"), "1").file("../out", "x")),
            Packing::Gzip,
        ),
        "",
        "leads out of the layer",
    );
    lab.archive_refused(
        &packed(&image("bad:1").layer(&layer().file("a/b/c/d", "1")), Packing::Gzip),
        "--limit depth=3",
        "entry 'a/b/c/d': more than 3 names in a path\nhint: `--limit depth=6`",
    );
}

#[test]
fn files_of_holes_take_no_room() {
    // 4 TiB of a file, 4 bytes of a disk.
    let lab = Lab::new();
    let sparse: &[(&str, &[u8])] = &[
        ("GNU.sparse.size", b"4398046511104"),
        ("GNU.sparse.numblocks", b"1"),
        ("GNU.sparse.map", b"4398046511100,4"),
    ];
    let image = image("bad:1").layer_of_bytes(tar(&[records(b'x', sparse), file("s", b"data")]));
    lab.scene.save("bad.tar", &image);
    let said = lab.ran("mount bad.tar target", b"");
    assert_eq!(said.code, Some(0), "{}", said.stderr());
    let meta = std::fs::metadata(lab.scene.path("target/s")).unwrap();
    use std::os::unix::fs::MetadataExt;
    assert_eq!(meta.len(), 1 << 42);
    assert!(meta.blocks() < 64, "{} blocks", meta.blocks());
}

#[test]
fn limits_can_be_moved_and_say_how() {
    let lab = Lab::new();
    lab.scene.save("bad.tar", &zeros(1 << 20));
    lab.scene.run("load --limit layer-bytes=1M bad.tar").fails(6).stderr_is(
        "
        ovlctl: cannot load bad.tar: layer 1 of 1: more than 1M bytes
        hint: `--limit layer-bytes=2M` takes twice that, of archives that you trust
        ",
    );
    lab.scene.run("load --limit layer-bytes=1M --limit layer-bytes=none bad.tar").succeeds();
    lab.scene
        .run("load --limit bytes=1 bad.tar")
        .fails(2)
        .stderr_has("no limit is called 'bytes': archive-bytes, ");
    lab.scene.run("mount --limit entries bad.tar target").fails(2).stderr_has("NAME=VALUE moves a limit");
    let help = lab.scene.run("load --help").succeeds().stdout;
    for limit in ["archive-bytes=1T", "members=250000", "entries=2000000", "memory=64M", "ratio=1000"] {
        assert!(help.contains(limit), "{limit} is not in:\n{help}");
    }
}
