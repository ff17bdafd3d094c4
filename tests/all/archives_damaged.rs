//! Archives that are not what they say are refused, and nothing of them is kept.

use ovlctl::digest::Digest;
use serde_json::{Value, json};

use crate::support::image::{
    Files, Image, Packing, blob_path, descriptor, docker, docker_legacy, image, index, oci,
};
use crate::support::tree::same;
use crate::support::{Scene, layer};

fn web() -> Image {
    image("web:1").layer(&layer().file("a", "1")).layer(&layer().file("b", "2"))
}

/// Checks that `load` refuses this archive with this reason, in a file and through a pipe, and keeps nothing.
#[track_caller]
pub(super) fn refused(archive: &[u8], reason: &str) {
    let scene = Scene::new();
    scene.write("web.tar", archive);
    let said = scene.run("load web.tar").fails(6);
    same("stderr", said.stderr.trim_end(), &format!("ovlctl: cannot load web.tar: {reason}"));
    let said = scene.run_piped("load -", archive).fails(6);
    same("stderr", said.stderr.trim_end(), &format!("ovlctl: cannot load standard input: {reason}"));
    assert_eq!(scene.kept_layers(), Vec::<String>::new());
    assert_eq!(scene.run("images -q").succeeds().stdout, "");
}

#[test]
fn layer_of_other_contents_than_its_diff_id() {
    let other = layer().file("b", "3").tar();
    let path = blob_path(&web().diff_ids()[1]);
    let archive = docker(&[web()]).without("index.json").without("oci-layout").with(&path, &other).tar();
    let (found, said) = (Digest::of(&other).short(), web().diff_ids()[1].short());
    refused(&archive, &format!("layer 2 of 2: contents are sha256:{found}, the image says sha256:{said}"));
}

#[test]
fn packed_layer_of_other_contents_than_its_blob_s_digest() {
    let files = oci(&[web()], Packing::Gzip);
    let path = web().layer_paths(Packing::Gzip)[0].clone();
    // The same tar, packed on another system as byte 9 says (RFC 1952): only the blob's own digest can tell.
    let mut other = files.get(&path).to_vec();
    other[9] ^= 1;
    let (found, said) = (Digest::of(&other).short(), path.rsplit('/').next().unwrap()[..12].to_owned());
    let reason = format!("layer 1 of 2: contents are sha256:{found}, the image says sha256:{said}");
    refused(&files.with(&path, &other).tar(), &reason);
}

/// Docker before version 25 calls layers by any name: only the config's diff ids say what they should be.
#[test]
fn layer_without_a_digest_of_its_own() {
    let other = layer().file("b", "3").tar();
    let files = docker_legacy(&[web()]);
    let manifest: Value = serde_json::from_slice(files.get("manifest.json")).unwrap();
    let path = manifest[0]["Layers"][0].as_str().unwrap().to_owned();
    let said = web().diff_ids()[0].short();
    let reason = format!("contents are sha256:{}, the image says sha256:{said}", Digest::of(&other).short());
    refused(&files.with(&path, &other).tar(), &format!("layer 1 of 2: {reason}"));
}

#[test]
fn manifest_of_other_contents_than_its_digest() {
    let path = blob_path(&Digest::of(&web().oci_manifest(Packing::Plain)));
    let files =
        oci(&[web()], Packing::Plain).edit(&path, |manifest| manifest["annotations"] = json!({"a": "b"}));
    let scene = Scene::new();
    scene.write("web.tar", &files.tar());
    scene.run("load web.tar").fails(6).stderr_has("sha256:");
}

#[test]
fn config_of_other_contents_than_its_digest() {
    let files =
        oci(&[web()], Packing::Plain).edit(&blob_path(&web().id()), |config| config["author"] = json!("me"));
    let scene = Scene::new();
    scene.write("web.tar", &files.tar());
    scene.run("load web.tar").fails(6).stderr_has(&web().id().short());
}

#[test]
fn size_that_a_descriptor_lies_about() {
    let manifest = web().oci_manifest(Packing::Plain);
    let mut lying: Value = serde_json::from_slice(&manifest).unwrap();
    lying["layers"][0]["size"] = json!(7);
    let lying = lying.to_string().into_bytes();
    let line = descriptor("application/vnd.oci.image.manifest.v1+json", &lying);
    let files = oci(&[web()], Packing::Plain).blob(&lying).with("index.json", &index(&[line]));
    let scene = Scene::new();
    scene.write("web.tar", &files.tar());
    scene.run("load web.tar").fails(6).stderr_has("layer 1 of 2: ").stderr_has("the image says 7");
    assert_eq!(scene.kept_layers(), Vec::<String>::new());
}

#[test]
fn fewer_layers_than_diff_ids() {
    let files =
        docker(&[web()]).without("index.json").without("oci-layout").edit("manifest.json", |manifest| {
            manifest[0]["Layers"].as_array_mut().unwrap().pop();
        });
    refused(&files.tar(), "the config names 2 layers, the manifest 1");
}

#[test]
fn layer_that_is_missing() {
    let path = blob_path(&web().diff_ids()[1]);
    let files = docker(&[web()]).without("index.json").without("oci-layout").without(&path);
    refused(&files.tar(), &format!("layer 2 of 2: {} is not in the archive", web().diff_ids()[1]));
}

#[test]
fn foreign_layer_that_is_missing_is_named() {
    let manifest = web().oci_manifest(Packing::Gzip);
    let mut foreign: Value = serde_json::from_slice(&manifest).unwrap();
    let base = foreign["layers"][0].clone();
    foreign["layers"][0]["mediaType"] = json!("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip");
    foreign["layers"][0]["urls"] = json!(["https://example.org/base.tar.gz"]);
    let foreign = foreign.to_string().into_bytes();
    let line = descriptor("application/vnd.oci.image.manifest.v1+json", &foreign);
    let blob = base["digest"].as_str().unwrap().replace("sha256:", "blobs/sha256/");
    let files = oci(&[web()], Packing::Gzip).without(&blob).blob(&foreign);
    let scene = Scene::new();
    scene.write("web.tar", &files.with("index.json", &index(&[line])).tar());
    let said = scene.run("load web.tar").fails(6);
    assert!(said.stderr.contains("layer 1 of 2: "), "{}", said.stderr);
    assert!(said.stderr.contains("https://example.org/base.tar.gz"), "{}", said.stderr);
}

#[test]
fn duplicate_keys() {
    let text = String::from_utf8(docker_legacy(&[web()]).get("manifest.json").to_vec()).unwrap();
    for second in ["\"Config\":\"other.json\",", "\"config\":\"other.json\","] {
        let twice = text.replacen("[{", &format!("[{{{second}"), 1);
        let scene = Scene::new();
        scene.write("web.tar", &docker_legacy(&[web()]).with("manifest.json", twice.as_bytes()).tar());
        scene.run("load web.tar").fails(6).stderr_has("manifest.json").stderr_has("twice");
    }
}

#[test]
fn two_manifests() {
    let files = docker_legacy(&[web()]);
    let manifest = files.get("manifest.json").to_vec();
    let scene = Scene::new();
    scene.write("web.tar", &files.again("manifest.json", &manifest).tar());
    scene.run("load web.tar").fails(6).stderr_has("manifest.json").stderr_has("twice");
}

#[test]
fn names_that_point_out_of_the_archive() {
    for (key, value) in [("Config", json!("../../etc/passwd")), ("Layers", json!(["/etc/passwd", "../x"]))] {
        let files = docker_legacy(&[web()]).edit("manifest.json", |manifest| manifest[0][key] = value);
        let scene = Scene::new();
        scene.write("web.tar", &files.tar());
        scene.run("load web.tar").fails(6);
        assert_eq!(scene.kept_layers(), Vec::<String>::new());
    }
}

#[test]
fn layer_that_is_a_link_out_of_the_archive() {
    let files = docker_legacy(&[web()]).link("evil/layer.tar", "../../../../etc/passwd").edit(
        "manifest.json",
        |manifest| {
            manifest[0]["Layers"][0] = json!("evil/layer.tar");
        },
    );
    let scene = Scene::new();
    scene.write("web.tar", &files.tar());
    scene.run("load web.tar").fails(6).stderr_has("'evil/layer.tar' leads out of the archive");
}

#[test]
fn links_in_a_circle() {
    let files =
        docker_legacy(&[web()]).link("a/layer.tar", "../b/layer.tar").link("b/layer.tar", "../a/layer.tar");
    let files = files.edit("manifest.json", |manifest| manifest[0]["Layers"][0] = json!("a/layer.tar"));
    let scene = Scene::new();
    scene.write("web.tar", &files.tar());
    scene.run("load web.tar").fails(6).stderr_has("a/layer.tar");
}

#[test]
fn document_that_is_both_a_manifest_and_an_index() {
    let mut both: Value = serde_json::from_slice(&web().oci_manifest(Packing::Plain)).unwrap();
    both["manifests"] = json!([web().oci_descriptor(Packing::Plain)]);
    let both = both.to_string().into_bytes();
    let line = descriptor("application/vnd.oci.image.manifest.v1+json", &both);
    let files = oci(&[web()], Packing::Plain).blob(&both).with("index.json", &index(&[line]));
    let scene = Scene::new();
    scene.write("web.tar", &files.tar());
    scene.run("load web.tar").fails(6);
}

#[test]
fn archive_that_ends_too_early() {
    let tar = docker_legacy(&[web()]).tar();
    for len in [tar.len() / 2, 600, 100] {
        let scene = Scene::new();
        scene.write("web.tar", &tar[..len]);
        scene.run("load web.tar").fails(6).stderr_has("ovlctl: cannot load web.tar: ");
    }
}

#[test]
fn packed_archive_that_ends_too_early() {
    for packing in [Packing::Gzip, Packing::Zstd, Packing::Xz, Packing::Bzip2] {
        let packed = packing.pack(&docker(&[web()]).tar());
        let scene = Scene::new();
        scene.write("web.tar", &packed[..packed.len() - 20]);
        scene.run("load web.tar").fails(6).stderr_has("ovlctl: cannot load web.tar: ");
    }
}

#[test]
fn index_that_names_itself_ends() {
    // An index cannot name its own digest, but a chain of them can be as long as it likes.
    let mut inner = web().oci_descriptor(Packing::Plain);
    let mut files = oci(&[web()], Packing::Plain);
    for _ in 0..40 {
        let text = index(&[inner.clone(), inner]);
        inner = descriptor("application/vnd.oci.image.index.v1+json", &text);
        files = files.blob(&text);
    }
    let scene = Scene::new();
    scene.write("web.tar", &files.with("index.json", &index(&[inner])).tar());
    scene.run("load web.tar").fails(6).stderr_has("index");
}

#[test]
fn text_file_is_no_archive() {
    refused(b"hello\n", "not an image archive: not a tar");
}

#[test]
fn tar_of_something_else_is_no_image() {
    let tar = Files::default().with("readme", b"hello").tar();
    refused(&tar, "not an image archive: no manifest.json, no oci-layout");
}

#[test]
fn docker_export_is_told_from_docker_save() {
    let export = layer()
        .dir("bin")
        .dir("etc")
        .file("etc/passwd", "")
        .dir("usr")
        .dir("var")
        .file(".dockerenv", "")
        .tar();
    refused(
        &export,
        "not an image archive: no manifest.json, no oci-layout
hint: this looks like `docker export`; make it with `docker save`",
    );
}

#[test]
fn archive_that_was_packed_with_its_folder_says_how_to_pack_it() {
    let mut inside = Files::default();
    for name in ["web/manifest.json", "web/oci-layout", "web/index.json"] {
        inside = inside.with(name, b"{}");
    }
    refused(
        &inside.tar(),
        "not an image archive: no manifest.json, no oci-layout but in 'web'
hint: pack what is in that folder: tar -C FOLDER -cf FILE .",
    );
}

#[test]
fn what_holds_no_file_is_no_image() {
    refused(&[0; 1 << 20], "not an image archive: it holds no file");
    let mut disk = vec![0; 1 << 20];
    disk[510..512].copy_from_slice(&[0x55, 0xaa]);
    refused(&disk, "not an image archive: a disk");
}

#[test]
fn directory_that_is_no_layout_can_be_mounted_as_it_is() {
    let scene = Scene::new();
    scene.mkdir("tree/etc");
    scene.run("load tree").fails(6).stderr_is(
        "
        ovlctl: cannot load tree: not an image archive: no manifest.json, no oci-layout
        hint: `ovlctl mount --lower DIR --upper CHANGES --work WORK TARGET` mounts a directory that is no image
        ",
    );
    for dir in ["changes", "work", "root"] {
        scene.mkdir(dir);
    }
    scene.run("mount --lower tree --upper changes --work work root").succeeds();
    scene.run("umount root").succeeds();
}

#[test]
fn archive_that_is_missing() {
    let scene = Scene::new();
    scene
        .run("load web.tar")
        .fails(1)
        .stderr_is("ovlctl: cannot load web.tar: the archive cannot be read: No such file or directory");
}
