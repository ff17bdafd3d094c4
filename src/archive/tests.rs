//! Whole archives, made here and opened.

use std::fs;
use std::io::{Read, Write};
use std::path::Path;

use super::*;
use crate::digest::Digest;

mod kept;

/// A tar in the making. Layers are any text: nothing here looks into them.
#[must_use]
struct Tar(tar::Builder<Vec<u8>>);

impl Tar {
    fn new() -> Self {
        Self(tar::Builder::new(Vec::new()))
    }

    fn file(mut self, name: &str, text: &str) -> Self {
        let mut header = tar::Header::new_gnu();
        header.set_size(text.len() as u64);
        header.set_mode(0o644);
        self.0.append_data(&mut header, name, text.as_bytes()).unwrap();
        self
    }

    fn link(mut self, kind: tar::EntryType, name: &str, target: &str) -> Self {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_size(0);
        header.set_mode(0o777);
        self.0.append_link(&mut header, name, target).unwrap();
        self
    }

    fn symlink(self, name: &str, target: &str) -> Self {
        self.link(tar::EntryType::Symlink, name, target)
    }

    /// A file under its digest.
    fn blob(self, text: &str) -> Self {
        self.file(&blob(text), text)
    }

    fn bytes(self) -> Vec<u8> {
        self.0.into_inner().unwrap()
    }

    fn open(self) -> Result<Archive, Error> {
        open(&self.bytes())
    }
}

fn blob(text: &str) -> String {
    format!("blobs/sha256/{}", Digest::of(text.as_bytes()).hex())
}

/// Opens an archive in a file; what comes through a pipe must be seen as the same.
fn open(bytes: &[u8]) -> Result<Archive, Error> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("image.tar");
    fs::write(&path, bytes).unwrap();
    let opened = Archive::open(&Source::Path(path), dir.path(), &Limits::DEFAULT, &Progress::default());
    let arrived = kept::arrived(bytes.to_vec(), dir.path());
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "something was left in the spool");
    let seen = |archive: &Result<Archive, Error>| archive.as_ref().map(shown).map_err(Error::to_string);
    assert_eq!(seen(&opened), seen(&arrived), "from a file, and through a pipe");
    opened
}

fn refused(tar: Tar) -> String {
    tar.open().unwrap_err().to_string()
}

/// The config of an image whose layers are these texts.
fn config(architecture: &str, layers: &[&str]) -> String {
    let ids: Vec<_> = layers.iter().map(|layer| format!("\"{}\"", Digest::of(layer.as_bytes()))).collect();
    let ids = ids.join(", ");
    format!(r#"{{"os": "linux", "architecture": "{architecture}", "rootfs": {{"diff_ids": [{ids}]}}}}"#)
}

fn descriptor(text: &str, more: &str) -> String {
    format!(r#"{{"digest": "{}", "size": {}{more}}}"#, Digest::of(text.as_bytes()), text.len())
}

fn manifest(config: &str, layers: &[&str]) -> String {
    let layers: Vec<_> = layers.iter().map(|layer| descriptor(layer, "")).collect();
    format!(r#"{{"config": {}, "layers": [{}]}}"#, descriptor(config, ""), layers.join(", "))
}

fn index(descriptors: &[String]) -> String {
    format!(r#"{{"manifests": [{}]}}"#, descriptors.join(", "))
}

fn named(name: &str) -> String {
    format!(r#", "annotations": {{"org.opencontainers.image.ref.name": "{name}"}}"#)
}

/// What is shown of an archive: a line for each image, with the texts of its layers.
fn shown(archive: &Archive) -> Vec<String> {
    let line = |image: &Image| {
        let layers: Vec<_> = image.layers.iter().map(|layer| contents(archive, layer)).collect();
        format!("{} {} {}", image.names.join(","), image.platform, layers.join(" "))
    };
    archive.images().iter().map(line).collect()
}

fn contents(archive: &Archive, layer: &Layer) -> String {
    let mut text = String::new();
    let blob = archive.open_layer(layer, &Taken::default()).unwrap();
    match decoder(blob).and_then(|mut decoder| decoder.read_to_string(&mut text)) {
        Ok(_) => text,
        Err(e) => e.to_string(),
    }
}

fn docker_save() -> Tar {
    Tar::new()
        .file("a.json", &config("amd64", &["one", "two", "one"]))
        .file("1/layer.tar", "one")
        .file("2/layer.tar", "two")
        .symlink("3/layer.tar", "../1/layer.tar")
        .file(
            "manifest.json",
            r#"[{"Config": "a.json", "RepoTags": ["web:1"],
                 "Layers": ["1/layer.tar", "2/layer.tar", "3/layer.tar"]}]"#,
        )
}

fn oci_layout(names: [&str; 2]) -> Tar {
    let configs = [config("amd64", &["one"]), config("arm64", &["two"])];
    let manifests = [manifest(&configs[0], &["one"]), manifest(&configs[1], &["two"])];
    let [a, b] = [0, 1].map(|nr| descriptor(&manifests[nr], &named(names[nr])));
    Tar::new()
        .file("oci-layout", r#"{"imageLayoutVersion": "1.0.0"}"#)
        .blob("one")
        .blob("two")
        .blob(&configs[0])
        .blob(&configs[1])
        .blob(&manifests[0])
        .blob(&manifests[1])
        .file("index.json", &index(&[a, b]))
}

#[test]
fn reads_what_docker_saves() {
    assert_eq!(shown(&docker_save().open().unwrap()), ["web:1 linux/amd64 one two one"]);
}

#[test]
fn reads_an_oci_layout() {
    let archive = oci_layout(["a:1", "b:1"]).open().unwrap();
    assert_eq!(shown(&archive), ["a:1 linux/amd64 one", "b:1 linux/arm64 two"]);
}

#[test]
fn reads_an_archive_that_is_compressed_as_a_whole() {
    let tar = docker_save().bytes();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&tar).unwrap();
    for bytes in [gzip.finish().unwrap(), zstd::encode_all(&tar[..], 1).unwrap()] {
        assert_eq!(shown(&open(&bytes).unwrap()), ["web:1 linux/amd64 one two one"]);
        let error = open(&bytes[..bytes.len() - 9]).unwrap_err();
        assert!(error.to_string().starts_with("damaged "), "{error}");
    }
}

#[test]
fn reads_a_directory_but_nothing_outside_of_it() {
    let dir = tempfile::tempdir().unwrap();
    let layout = dir.path().join("layout");
    tar::Archive::new(&oci_layout(["a:1", "b:1"]).bytes()[..]).unpack(&layout).unwrap();
    let open = || {
        Archive::open(
            &Source::Path(layout.clone()),
            Path::new("/nonexistent"),
            &Limits::DEFAULT,
            &Progress::default(),
        )
    };
    assert_eq!(shown(&open().unwrap()), ["a:1 linux/amd64 one", "b:1 linux/arm64 two"]);

    let (inside, outside) = (layout.join("inside"), dir.path().join("outside"));
    let layer = layout.join(blob("one"));
    fs::rename(&layer, &inside).unwrap();
    std::os::unix::fs::symlink("../../inside", &layer).unwrap();
    assert_eq!(shown(&open().unwrap())[0], "a:1 linux/amd64 one");

    fs::rename(&inside, &outside).unwrap();
    fs::remove_file(&layer).unwrap();
    std::os::unix::fs::symlink("../../../outside", &layer).unwrap();
    assert_eq!(open().unwrap_err().to_string(), format!("'{}' leads out of the archive", blob("one")));

    fs::remove_file(&layer).unwrap();
    fs::create_dir(&layer).unwrap();
    assert_eq!(open().unwrap_err().to_string(), format!("'{}' is no regular file", blob("one")));
}

#[test]
fn both_lists_are_one_with_manifest_json_first() {
    let (shared, own) = (config("amd64", &["one"]), config("arm64", &["two"]));
    let (first, second) = (manifest(&own, &["two"]), manifest(&shared, &["one"]));
    let archive = Tar::new()
        .blob("one")
        .blob("two")
        .blob(&shared)
        .blob(&own)
        .blob(&first)
        .blob(&second)
        .file("index.json", &index(&[descriptor(&first, ""), descriptor(&second, &named("more:1"))]))
        .file(
            "manifest.json",
            &format!(
                r#"[{{"Config": "{}", "RepoTags": ["web:1"], "Layers": ["{}"]}}]"#,
                blob(&shared),
                blob("one")
            ),
        )
        .open()
        .unwrap();
    assert_eq!(shown(&archive), ["web:1,more:1 linux/amd64 one", " linux/arm64 two"]);
    assert_eq!(archive.images()[0].manifest, Some(Digest::of(second.as_bytes())));
}

#[test]
fn nested_indexes_give_their_name_to_what_they_carry() {
    let (amd, arm, absent) = (config("amd64", &["one"]), config("arm64", &["two"]), "not here");
    let (amd_manifest, arm_manifest) = (manifest(&amd, &["one"]), manifest(&arm, &["two"]));
    let inner = index(&[
        descriptor(&amd_manifest, ""),
        descriptor(absent, ""),
        descriptor(&amd_manifest, r#", "platform": {"os": "unknown", "architecture": "unknown"}"#),
        descriptor(&arm_manifest, ""),
    ]);
    let twice = [descriptor(&inner, &named("web:1")), descriptor(&inner, &named("web:2"))];
    let tar =
        Tar::new().blob("one").blob("two").blob(&amd).blob(&arm).blob(&amd_manifest).blob(&arm_manifest);
    let archive = tar.blob(&inner).file("index.json", &index(&twice)).open().unwrap();
    assert_eq!(shown(&archive), ["web:1,web:2 linux/amd64 one", "web:1,web:2 linux/arm64 two"]);
}

#[test]
fn an_index_of_indexes_of_indexes_ends() {
    let mut tar = Tar::new();
    let mut text = index(&[]);
    for _ in 0..12 {
        tar = tar.blob(&text);
        text = index(&vec![descriptor(&text, ""); 10]);
    }
    assert_eq!(refused(tar.file("index.json", &text)), "index.json: indexes are nested more than 8 deep");
}

#[test]
fn an_index_that_names_another_ever_again_ends() {
    let config = config("amd64", &[]);
    let manifest = manifest(&config, &[]);
    let mut tar = Tar::new().blob(&config).blob(&manifest);
    let mut text = index(&[descriptor(&manifest, "")]);
    for _ in 0..6 {
        tar = tar.blob(&text);
        text = index(&vec![descriptor(&text, ""); 10]);
    }
    assert_eq!(refused(tar.file("index.json", &text)), "index.json: leads to more than 20000 blobs");
}

#[test]
fn what_makes_one_image_unusable_leaves_the_others() {
    let (good, bad) = (config("amd64", &["one"]), config("amd64", &["one", "two", "three"]));
    let archive = Tar::new()
        .file("good", &good)
        .file("bad", &bad)
        .file("one", "one")
        .file(
            "manifest.json",
            r#"[{"Config": "good", "RepoTags": ["good"], "Layers": ["one"]},
                {"Config": "bad", "RepoTags": ["bad"], "Layers": ["one"]}]"#,
        )
        .open()
        .unwrap();
    let by_name = |name: &str| Choice { image: Some(name.parse().unwrap()), platform: None };
    assert_eq!(archive.choose(&by_name("good")).unwrap().names, ["good:latest"]);
    let error = archive.choose(&by_name("bad")).unwrap_err();
    assert_eq!(error.to_string(), "image @1: the config names 3 layers, the manifest 1");
}

#[test]
fn says_which_layer_is_missing_and_where_it_may_be() {
    let config = config("amd64", &["one", "two"]);
    let two = descriptor("two", r#", "urls": ["https://example.com/two"]"#);
    let manifest =
        format!(r#"{{"config": {}, "layers": [{}, {two}]}}"#, descriptor(&config, ""), descriptor("one", ""));
    let tar = Tar::new().blob(&config).blob(&manifest).blob("one");
    let archive = tar.file("index.json", &index(&[descriptor(&manifest, "")])).open().unwrap();
    let error = archive.choose(&Choice::default()).unwrap_err().to_string();
    let digest = Digest::of(b"two");
    let expected = format!("layer 2 of 2: {digest} is not in the archive, only at https://example.com/two");
    assert_eq!(error, expected);
}

#[test]
fn a_layer_that_is_not_what_its_digest_says_is_found_out_when_read() {
    // An uncompressed layer whose digest is its diff id is left to the reader; this one's is not.
    let config = config("amd64", &["else"]);
    let manifest = manifest(&config, &["one"]);
    let tar = Tar::new().blob(&config).blob(&manifest).file(&blob("one"), "eno");
    let archive = tar.file("index.json", &index(&[descriptor(&manifest, "")])).open().unwrap();
    let (is, says) = (Digest::of(b"eno").short(), Digest::of(b"one").short());
    assert_eq!(
        shown(&archive),
        [format!(" linux/amd64 contents are sha256:{is}, the image says sha256:{says}")]
    );
}

#[test]
fn documents_that_are_not_what_their_digest_says_are_refused() {
    let config = config("amd64", &[]);
    let manifest = manifest(&config, &[]);
    let list = index(&[descriptor(&manifest, "")]);
    let other = manifest.replace("layers", "Layers");
    let tar = || Tar::new().file("index.json", &list);
    let digest = Digest::of(manifest.as_bytes());
    assert_eq!(
        refused(tar().file(&blob(&manifest), &other).blob(&config)),
        format!("blob {digest} has other contents")
    );
    assert_eq!(
        refused(tar().file(&blob(&manifest), "{}").blob(&config)),
        format!("blob {digest}: 2 bytes long, the image says {}", manifest.len())
    );
    assert_eq!(
        refused(tar().blob(&config)),
        format!("not an image archive: index.json leads to {digest}, which is not in the archive")
    );
}

#[test]
fn nothing_leads_out_of_the_archive() {
    let entry = |config: &str| format!(r#"[{{"Config": "{config}", "Layers": []}}]"#);
    for (config, reason) in [
        ("../../etc/passwd", "'../../etc/passwd' leads out of the archive"),
        ("/etc/passwd", "manifest.json: config '/etc/passwd' is not in the archive"),
        ("out", "'out' leads out of the archive"),
        ("loop", "'loop' is a link to a link, more than 8 times"),
        ("absolute", "manifest.json: config 'absolute' is not in the archive"),
        ("pipe", "manifest.json: config 'pipe' is not in the archive"),
    ] {
        let tar = Tar::new()
            .symlink("out", "../../etc/passwd")
            .symlink("loop", "loop")
            .symlink("absolute", "/etc/passwd")
            .link(tar::EntryType::Fifo, "pipe", "-");
        assert_eq!(refused(tar.file("manifest.json", &entry(config))), reason);
    }
}

#[test]
fn a_list_that_is_there_twice_is_refused() {
    let twice = docker_save().file("manifest.json", "[]");
    assert_eq!(refused(twice), "'manifest.json' is twice in the archive");
}

#[test]
fn says_what_else_the_file_is() {
    let root = Tar::new().file("bin/sh", "").file("etc/passwd", "").file("usr/bin/env", "");
    assert!(matches!(root.open(), Err(Error::RootFilesystem)));
    let old = Tar::new().file("repositories", "{}").file("1/VERSION", "1.0").file("1/layer.tar", "");
    assert_eq!(refused(old), "not an image archive: no manifest.json, as Docker before 1.10 wrote it");
    for (bytes, reason) in [
        (&b""[..], "it is empty"),
        (b"PK\x03\x04 and so on", "a zip archive"),
        (&[b'x'; 2048], "not a tar"),
        (&[0; 1024], "it holds no file"),
    ] {
        assert_eq!(open(bytes).unwrap_err().to_string(), format!("not an image archive: {reason}"));
    }
}

#[test]
fn an_archive_that_is_cut_short_is_refused_wherever_it_ends() {
    let whole = docker_save().bytes();
    let end = whole.len() - 1024 - 512;
    for len in (1..end).step_by(89) {
        assert!(open(&whole[..len]).is_err(), "{len} of {end} bytes");
    }
}
