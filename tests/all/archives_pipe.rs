//! What comes through a pipe is unpacked as it comes in, and makes the same store as the same archive in a file.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Child, ChildStdin, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::archives_damaged::refused;
use crate::support::image::{Files, Image, Packing, blob_path, docker, docker_legacy, image, oci};
use crate::support::tarball::Layer;
use crate::support::tree::{Times, list, same};
use crate::support::{Scene, layer};

/// Longer than what is kept because it is small, and no compressor makes it shorter.
fn noise(seed: u64) -> Vec<u8> {
    let mut state = seed;
    let mut bytes = Vec::with_capacity(4_800_000);
    while bytes.len() < 4_800_000 {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes
}

fn large(name: &str, seed: u64) -> Layer {
    layer().file_of_bytes(name.as_bytes(), &noise(seed))
}

/// Layers of all sizes, that need each other.
fn web() -> Image {
    image("web:1")
        .layer(&large("usr/lib/a", 1).dir("etc").mode(0o750).file("etc/motd", "hello").file("etc/gone", "x"))
        .layer(&layer().whiteout("etc/motd").file("small", "s"))
        .layer(&large("usr/lib/b", 2).hardlink("etc/a", "usr/lib/a").whiteout("etc/gone").opaque("opt"))
}

/// All that a store keeps, but for times and names that are random.
fn kept(scene: &Scene) -> String {
    let store = scene.store();
    let mut lines = Vec::new();
    for id in scene.kept_layers() {
        let place = store.join("overlay2").join(&id);
        let below = fs::read_to_string(place.join("lower")).unwrap_or_default().split(':').count();
        lines.push(format!("{id} {:?} {below}", names(&place)));
        lines.push(list(&place.join("diff"), Times::Shown));
        lines.push(record(&store.join("layers").join(id + ".json")));
    }
    for id in names(&store.join("images")) {
        let place = store.join("images").join(id);
        lines.push(record(&place.join("image.json")));
        lines.push(fs::read_to_string(place.join("config.json")).expect("a config"));
    }
    lines.extend(names(&store.join("recipes")));
    lines.push(record(&store.join("names.json")));
    lines.join("\n")
}

fn record(path: &Path) -> String {
    let mut record: Value = serde_json::from_slice(&fs::read(path).expect("a record")).expect("JSON");
    record.as_object_mut().expect("an object").remove("loaded");
    record.to_string()
}

fn names(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).expect("a directory");
    let mut names: Vec<_> =
        entries.map(|entry| entry.expect("readdir").file_name().into_string().expect("plain")).collect();
    names.sort();
    names
}

/// Checks that this archive makes the same store, in a file and through a pipe.
#[track_caller]
fn alike(archive: &[u8]) {
    let (file, pipe) = (Scene::new(), Scene::new());
    file.write("web.tar", archive);
    let one = file.run("load web.tar").succeeds();
    let two = pipe.run_piped("load -", archive).succeeds();
    assert_eq!((one.stdout, one.stderr), (two.stdout, two.stderr));
    same("what came through a pipe", &kept(&pipe), &kept(&file));
    assert!(!pipe.kept_layers().is_empty(), "nothing was loaded");
}

#[test]
fn docker_save_of_any_version() {
    alike(&docker(&[web()]).tar());
    alike(&docker_legacy(&[web()]).tar());
}

#[test]
fn standard_input_is_read_where_no_archive_is_named() {
    let archive = docker(&[web()]).tar();
    let scene = Scene::new();
    scene.write("web.tar", &archive);
    let named = scene.run("load web.tar").succeeds().stdout;
    scene.run_piped("load", &archive).succeeds().stdout_is(&named);
    let mut command = scene.command(&["load"]);
    command.stdin(fs::File::open(scene.path("web.tar")).unwrap());
    scene.outcome(&mut command).succeeds().stdout_is(&named);
    // As `docker load` has it.
    scene.run("load -i web.tar").succeeds().stdout_is(&named);
    scene.run("load").fails(6).stderr_is(
        "
        ovlctl: cannot load standard input: not an image archive: it is empty
        ",
    );
}

#[test]
fn oci_archive_of_plain_gzip_and_zstd_layers() {
    for packing in [Packing::Plain, Packing::Gzip, Packing::Zstd] {
        alike(&oci(&[web()], packing).tar());
    }
}

#[test]
fn oci_archive_of_xz_and_bzip2_layers() {
    for packing in [Packing::Xz, Packing::Bzip2] {
        alike(&oci(&[image("one:1").layer(&large("a", 1))], packing).tar());
    }
}

#[test]
fn archive_that_is_packed_as_a_whole() {
    alike(&Packing::Gzip.pack(&docker(&[web()]).tar()));
    alike(&Packing::Zstd.pack(&oci(&[web()], Packing::Gzip).tar()));
}

#[test]
fn manifest_first_and_names_with_a_dot() {
    let files = docker(&[web()]).renamed(|name| format!("./{name}"));
    let manifest = files.get("./manifest.json").to_vec();
    alike(&Files::default().with("manifest.json", &manifest).and(files.without("./manifest.json")).tar());
}

/// The second time it is on top of other layers, and so another one; its bytes have gone by.
#[test]
fn layer_that_an_image_has_twice() {
    let (a, b) = (large("etc/a", 1).file("etc/x", "1").file("etc/x", "2"), large("b", 2).whiteout("etc/x"));
    let twice = image("twice:1").layer(&a).layer(&b).layer(&a);
    alike(&docker(std::slice::from_ref(&twice)).tar());
    alike(&docker_legacy(std::slice::from_ref(&twice)).tar());
    alike(&oci(&[twice], Packing::Gzip).tar());
}

#[test]
fn layer_that_two_images_have_on_top_of_others() {
    let base = image("base:1").layer(&large("a", 1));
    let other = image("other:1").layer(&layer().file("small", "s")).layer(&large("a", 1));
    alike(&docker(&[base.clone(), other.clone()]).tar());
    alike(&oci(&[other, base], Packing::Zstd).tar());
}

#[test]
fn what_no_image_needs_may_be_anything() {
    let hostile = large("a", 1).file("../x", "").tar();
    let broken = [&large("a", 1).tar()[..9000], &noise(3)].concat();
    let packed = [&Packing::Gzip.pack(&noise(4))[..300], &noise(5)].concat();
    let strange = [hostile, broken, packed, noise(6)];
    let files = strange.iter().fold(docker(&[web()]), |files, bytes| files.blob(bytes));
    alike(&files.tar());
}

#[test]
fn layer_of_other_contents_than_the_image_says() {
    let other = large("usr/lib/a", 9).tar();
    let (found, said) = (ovlctl::digest::Digest::of(&other).short(), web().diff_ids()[0].short());
    let reason = format!("layer 1 of 3: contents are sha256:{found}, the image says sha256:{said}");
    refused(&docker(&[web()]).with(&blob_path(&web().diff_ids()[0]), &other).tar(), &reason);
    let legacy = docker_legacy(&[web()]);
    let manifest: Value = serde_json::from_slice(legacy.get("manifest.json")).unwrap();
    refused(&legacy.with(manifest[0]["Layers"][0].as_str().unwrap(), &other).tar(), &reason);
}

#[test]
fn packed_layer_of_other_contents_than_its_blob_s_digest() {
    let files = oci(&[web()], Packing::Gzip);
    let path = web().layer_paths(Packing::Gzip)[2].clone();
    // The same tar, packed on another system as byte 9 says (RFC 1952): only the blob's own digest can tell.
    let mut other = files.get(&path).to_vec();
    other[9] ^= 1;
    let (found, said) = (ovlctl::digest::Digest::of(&other).short(), &path.rsplit('/').next().unwrap()[..12]);
    let reason = format!("layer 3 of 3: contents are sha256:{found}, the image says sha256:{said}");
    refused(&files.with(&path, &other).tar(), &reason);
}

#[test]
fn layer_that_is_refused() {
    let reason = "layer 2 of 2: entry '../x': leads out of the layer";
    let hostile = large("a", 1).file("../x", "");
    let image = image("web:1").layer(&layer().file("small", "s")).layer(&hostile);
    refused(&docker(std::slice::from_ref(&image)).tar(), reason);
    refused(&oci(&[image], Packing::Gzip).tar(), reason);
}

/// Checks that this archive is refused for this limit, in a file and through a pipe.
#[track_caller]
fn exceeds(limit: &str, archive: &[u8], reason: &str) {
    let scene = Scene::new();
    scene.write("web.tar", archive);
    for (words, said) in [
        (format!("load --limit {limit} web.tar"), scene.run(&format!("load --limit {limit} web.tar"))),
        (format!("load --limit {limit} -"), scene.run_piped(&format!("load --limit {limit} -"), archive)),
    ] {
        let said = said.fails(6);
        assert!(said.stderr.contains(reason), "{words}: {}", said.stderr);
        assert_eq!(scene.kept_layers(), Vec::<String>::new());
    }
}

#[test]
fn layers_beyond_a_limit() {
    let tar = docker(&[web()]).tar();
    // Two are too large, and are unpacked side by side.
    exceeds("layer-bytes=4500K", &tar, " of 3: more than 4500K bytes");
    exceeds("image-bytes=9M", &tar, ": its layers have more than 9M bytes");
    exceeds("entries=2", &tar, "more than 2 entries");
    exceeds("memory=100", &tar, "more than 100 bytes of directories");
    // What no image needs is nobody's layer.
    let scene = Scene::new();
    let small = docker(&[image("small:1").layer(&layer().file("a", "b"))]);
    let many = small.blob(&(0..9).fold(large("x", 3), |layer, nr| layer.file(&format!("f{nr}"), "")).tar());
    scene.run_piped("load --limit entries=2 -", &many.tar()).succeeds();
}

#[test]
fn archive_that_ends_inside_a_layer() {
    let tar = docker_legacy(&[web()]).tar();
    let name = ovlctl::digest::Digest::of(format!("{}.json 0", web().id().hex()).as_bytes()).hex();
    let reason = format!("the archive is cut short: it ends inside '{name}/layer.tar'");
    refused(&tar[..3 << 20], &reason);
    let packed = Packing::Gzip.pack(&tar);
    let scene = Scene::new();
    scene.run_piped("load -", &packed[..3 << 20]).fails(6).stderr_has("damaged gzip data");
    assert_eq!(scene.kept_layers(), Vec::<String>::new());
}

#[test]
fn one_image_of_several_by_choice() {
    let other = image("other:1").layer(&large("x", 7));
    let scene = Scene::new();
    let archive = docker(&[other, web()]).tar();
    scene.run_piped("load --image web:1 -", &archive).succeeds();
    assert_eq!(scene.kept_layers().len(), 3);
    scene.mkdir("root");
    scene.run_piped("mount --read-only --image other:1 - root", &archive).succeeds();
    assert!(fs::read(scene.path("root/x")).unwrap() == noise(7));
}

/// `ovlctl load -`, to which an archive is written piece by piece.
struct Loading {
    child: Child,
    pipe: ChildStdin,
}

impl Loading {
    fn of(scene: &Scene) -> Self {
        let mut child = scene.command(&["load", "-"]).stdin(Stdio::piped()).spawn().expect("it starts");
        let pipe = child.stdin.take().expect("it was asked for");
        Self { child, pipe }
    }

    fn write(&mut self, bytes: &[u8]) {
        self.pipe.write_all(bytes).expect("it reads");
    }

    #[track_caller]
    fn succeeds(mut self, rest: &[u8]) {
        self.write(rest);
        drop(self.pipe);
        assert!(self.child.wait().expect("it ends").success());
    }
}

/// Returns the layers that are being unpacked: paths under a stage that holds more than what is kept.
fn unpacking(scene: &Scene) -> Vec<String> {
    let stages = scene.staged();
    let inside = stages.iter().flat_map(|stage| fs::read_dir(stage).into_iter().flatten().flatten());
    inside.filter_map(|entry| Some(names(&entry.path().join("diff")).first()?.clone())).collect()
}

#[test]
fn layers_are_unpacked_while_they_come_in() {
    let scene = Scene::new();
    let tar = docker(&[web()]).tar();
    let (first, rest) = tar.split_at(8 << 20);
    let mut loading = Loading::of(&scene);
    loading.write(first);
    let begun = Instant::now();
    while !unpacking(&scene).contains(&"etc".to_owned()) {
        assert!(begun.elapsed() < Duration::from_secs(60), "there is {:?}", unpacking(&scene));
        thread::sleep(Duration::from_millis(5));
    }
    loading.succeeds(rest);
    assert_eq!(scene.kept_layers().len(), 3);
}

#[test]
fn what_the_store_has_by_its_digest_is_not_unpacked_again() {
    let (scene, tar) = (Scene::new(), docker(&[web()]).tar());
    scene.run_piped("load -", &tar).succeeds();
    let (first, rest) = tar.split_at(8 << 20);
    let mut loading = Loading::of(&scene);
    // What is written has been read, but for what a pipe holds: that ends in the second layer.
    loading.write(first);
    assert_eq!(unpacking(&scene), Vec::<String>::new());
    loading.succeeds(rest);
}

#[test]
fn layers_for_which_there_is_little_room() {
    let scene = Scene::new();
    scene.tmpfs("store", "34m");
    let strange = (3..6).fold(Files::default(), |files, seed| files.blob(&large("x", seed).tar()));
    scene.run_piped("load -", &strange.and(docker(&[web()])).tar()).succeeds();
    assert_eq!(scene.kept_layers().len(), 3);
}
