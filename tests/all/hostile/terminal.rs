//! Strings of strangers that reach a terminal: whatever they hold, it obeys none of them.
//!
//! [`Lab`] looks at stderr of every case; here are the places that no other case has, and what goes to stdout.

use serde_json::{Value, json};

use super::case::{Case, Lab, plain, refused, tars};
use super::raw::{LINK, gnu_long, header, tar};
use crate::support::image::{Image, Packing, descriptor, docker, docker_legacy, image, index, oci};
use crate::support::layer;

/// Commands in both forms, a change of direction, a line's end, a backspace.
const EVIL: &str = "\u{1b}]0;pwned\u{7}\u{9b}2J\u{202e}\u{2066}\r\n\u{8}x";
const EVIL_BYTES: &[u8] = b"\x1b[2J\x9b31m\xff\xc2\x9b\xe2\x80\xae\r\n";

fn bad() -> Image {
    image("bad:1").layer(&layer().file("a", "1"))
}

#[test]
fn names_in_layers_are_escaped() {
    let with = |name: &'static str, layers| refused(name, layers, r"\x1b[2J\x9b31m\xff");
    let cases: [Case; 8] = [
        with("an entry's", |_| tars([layer().file_of_bytes(&[b"../", EVIL_BYTES].concat(), b"")])),
        with("a hard link's target", |_| {
            vec![tar(&[header(b'1', b"h").with(LINK, &[b"../", EVIL_BYTES].concat()).block()])]
        }),
        with("a target that is not there", |_| {
            vec![tar(&[header(b'1', b"h").with(LINK, EVIL_BYTES).block()])]
        }),
        with("a link on the way", |_| {
            let name = [EVIL_BYTES, b"/x"].concat();
            vec![tar(&[header(b'2', EVIL_BYTES).with(LINK, EVIL_BYTES).block(), header(b'0', &name).block()])]
        }),
        with("a record's key", |_| {
            let size = EVIL_BYTES.len();
            let data = format!("{} GNU.sparse.", 17 + size).into_bytes();
            let data = [&data[..], EVIL_BYTES, b"=1\n"].concat();
            vec![tar(&[header(b'x', b"pax").size(data.len() as u64).and(&data), header(b'0', b"x").block()])]
        }),
        with("an attribute's", |_| {
            let key = [b"SCHILY.xattr.\0", EVIL_BYTES].concat();
            let length = key.len() + 6;
            let data = [format!("{length} ").as_bytes(), &key, b"=1\n"].concat();
            vec![tar(&[header(b'x', b"pax").size(data.len() as u64).and(&data), header(b'0', b"x").block()])]
        }),
        with("a member whose data is cut", |_| vec![header(b'0', EVIL_BYTES).size(512).block()]),
        with("a long name", |_| {
            vec![tar(&[gnu_long(b'L', &[b"../", EVIL_BYTES].concat()), header(b'0', b"x").block()])]
        }),
    ];
    Lab::new().run(&cases);
}

#[test]
fn names_in_archives_are_escaped() {
    let lab = Lab::new();
    let files = docker_legacy(&[bad()]);
    let escaped = r"\u{1b}]0;pwned";
    for (key, value) in [("Config", json!(EVIL)), ("Layers", json!([EVIL])), ("RepoTags", json!([EVIL]))] {
        let evil = files.clone().edit("manifest.json", |manifest| manifest[0][key] = value);
        lab.archive_refused(&evil.tar(), "", escaped);
    }
    let cut = header(b'0', EVIL_BYTES).size(1 << 30).block();
    let whole = files.tar();
    lab.archive_refused(&[&whole[..whole.len() - 1024], &cut].concat(), "", r"\x1b[2J\x9b31m\xff");
    let negative = header(b'0', EVIL_BYTES).with(124, &[0xff; 12]).block();
    lab.archive_refused(&[&whole[..whole.len() - 1024], &negative].concat(), "", r"\x1b[2J\x9b31m\xff");
}

#[test]
fn strings_in_documents_are_escaped() {
    let lab = Lab::new();
    let layout = oci(&[bad()], Packing::Plain);
    let escaped = r"\u{1b}]0;pwned";
    type Change = fn(&mut Value);
    let of_index: [Change; 5] = [
        |line| line["digest"] = json!(EVIL),
        |line| line["size"] = json!(EVIL),
        |line| line["annotations"] = json!({"io.containerd.image.name": EVIL}),
        |line| line["annotations"] = json!({"org.opencontainers.image.ref.name": EVIL}),
        |line| line["mediaType"] = json!({EVIL: EVIL}),
    ];
    for (nr, change) in of_index.into_iter().enumerate() {
        let files = layout.clone().edit("index.json", |index| change(&mut index["manifests"][0]));
        lab.files_refused(
            &files,
            if nr == 4 {
                "'mediaType' is no string"
            } else if nr == 1 {
                "'size' is "
            } else {
                escaped
            },
        );
    }
    let of_manifest: [Change; 3] = [
        |manifest| manifest["layers"][0]["digest"] = json!(EVIL),
        |manifest| {
            manifest["layers"][0]["digest"] = json!(format!("sha256:{}", "0".repeat(64)));
            manifest["layers"][0]["urls"] = json!([EVIL]);
        },
        |manifest| manifest["layers"][0]["mediaType"] = json!(EVIL),
    ];
    let with = |change: Change| {
        let mut manifest: Value = serde_json::from_slice(&bad().oci_manifest(Packing::Plain)).unwrap();
        change(&mut manifest);
        let text = manifest.to_string();
        let line = descriptor("application/vnd.oci.image.manifest.v1+json", text.as_bytes());
        layout.clone().blob(text.as_bytes()).with("index.json", &index(&[line]))
    };
    of_manifest.into_iter().for_each(|change| lab.files_refused(&with(change), escaped));
    // The index has said what it is: what it says of itself is not looked at.
    lab.scene.write("bad.tar", &with(|manifest| manifest["mediaType"] = json!(EVIL)).tar());
    let said = lab.scene.run("load bad.tar").succeeds();
    plain(&format!("{}{}", said.stdout, said.stderr)).unwrap();
    lab.scene.run("prune --wait").succeeds();
    let twice = format!("[{{\"{0}\": 1, \"{0}\": 2}}]", r"\u001b[2J\u202e");
    lab.archive_refused(
        &docker_legacy(&[bad()]).with("manifest.json", twice.as_bytes()).tar(),
        "",
        r"\u{1b}[2J\u{202e}' is given twice",
    );
}

#[test]
fn lists_of_images_are_escaped_and_short() {
    let lab = Lab::new();
    let several = [bad().platform(&format!("linux/{EVIL}")), image("bad:2").layer(&layer().file("b", "1"))];
    lab.scene.write("bad.tar", &oci(&several, Packing::Plain).tar());
    let said = lab.ran("mount bad.tar target", b"");
    assert_eq!(said.code, Some(2), "{}", said.stderr());
    plain(said.stderr()).unwrap();
    assert!(said.stderr().contains("linux/\\u{1b}]0;pwned"), "{}", said.stderr());

    let names: Vec<String> = (0..5000).map(|nr| format!("{}{nr}:1", "n".repeat(60))).collect();
    let many =
        docker_legacy(&several).edit("manifest.json", |manifest| manifest[0]["RepoTags"] = json!(names));
    lab.scene.write("bad.tar", &many.tar());
    let said = lab.ran("mount bad.tar target", b"");
    assert_eq!(said.code, Some(2), "{}", said.stderr());
    assert!(said.stderr().contains(" and 4997 more names"), "{}", said.stderr());
    assert!(said.stderr().len() < 2000, "{} bytes", said.stderr().len());
    lab.untouched("lists");
}

#[test]
fn lines_are_never_longer_than_a_screen() {
    let lab = Lab::new();
    let name = vec![b'n'; 1 << 20];
    lab.scene
        .save("bad.tar", &bad().layer_of_bytes(tar(&[gnu_long(b'L', &name), header(b'0', b"x").block()])));
    let said = lab.ran("load bad.tar", b"");
    assert_eq!(said.code, Some(6), "{}", said.stderr());
    assert!(said.stderr().len() < 8000, "{} bytes", said.stderr().len());
    assert!(said.stderr().contains("layer 2 of 2: entry 'nnn"), "{}", said.stderr());
    assert!(
        said.stderr().trim_end().ends_with("a path of 1048576 bytes, and 4095 is the longest"),
        "{}",
        said.stderr()
    );
}

#[test]
fn what_is_printed_of_an_image_is_escaped() {
    let lab = Lab::new();
    let config = json!({"Env": [EVIL], "Labels": {EVIL: EVIL}, "Cmd": [EVIL], "WorkingDir": EVIL});
    let evil = bad().config("config", config).config("created", json!(EVIL)).config("author", json!(EVIL));
    lab.scene.write("bad.tar", &docker(&[evil]).tar());
    lab.scene.run("mount bad.tar target").succeeds();
    std::fs::write(lab.scene.path("target/new"), "").unwrap();
    for words in [
        "inspect bad:1",
        "images",
        "images --json",
        "images -q",
        "layers",
        "layers --json",
        "mounts",
        "mounts --json",
        "df",
        "check",
        "check --deep",
        "plan bad:1",
        "df --json",
    ] {
        let outcome = lab.scene.run(words);
        plain(outcome.stderr()).unwrap();
        plain(outcome.stdout()).unwrap_or_else(|e| panic!("{words}: {e}"));
    }
    let shown = lab.scene.run("inspect bad:1").succeeds().json();
    assert_eq!(shown[0]["Config"]["Env"][0], EVIL, "escaped for a terminal, and the same for a reader");
}

#[test]
fn what_check_finds_is_escaped() {
    use std::os::unix::ffi::OsStrExt;
    let lab = Lab::new();
    let name = std::ffi::OsStr::from_bytes(EVIL_BYTES);
    let image = image("bad:1").layer(&layer().file_of_bytes(EVIL_BYTES, b"1"));
    lab.scene.save("bad.tar", &image);
    lab.scene.run("load bad.tar").succeeds();
    let diff = lab.scene.store().join("overlay2").join(image.chain_ids()[0].hex()).join("diff");
    std::fs::write(diff.join(name), "2").unwrap();
    for words in ["check --deep", "check --deep --json"] {
        let outcome = lab.scene.run(words);
        // JSON is text: what of a name is none, it has as U+FFFD.
        let stdout = outcome.stdout().replace(char::REPLACEMENT_CHARACTER, "");
        plain(&stdout).unwrap_or_else(|e| panic!("{words}: {e}"));
        plain(outcome.stderr()).unwrap_or_else(|e| panic!("{words}: {e}"));
        assert_eq!(outcome.code, Some(6));
    }
    std::fs::write(diff.join(name), "1").unwrap();
    lab.scene.run("rm --wait bad:1").succeeds();
    lab.scene.run("prune --wait").succeeds();
}
