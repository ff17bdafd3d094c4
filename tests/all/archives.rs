//! Every form of archive that real tools write gives the same tree.

use std::fs::{self, File};

use serde_json::json;

use crate::support::image::{
    Files, Image, Packing, blob_path, descriptor, docker, docker_legacy, image, index, oci,
};
use crate::support::{Scene, layer};

const TREE: &str = "
    d 0755 etc
    f 0644 etc/issue  v1
    f 0644 new  n
    ";

fn web() -> Image {
    image("web:1")
        .layer(&layer().dir("etc").file("etc/motd", "hello").file("etc/issue", "v1"))
        .layer(&layer().whiteout("etc/motd").file("new", "n"))
}

/// Checks that these bytes show the tree of `web`, in a file and through a pipe.
#[track_caller]
fn mounts(archive: &[u8]) {
    let scene = Scene::new();
    scene.mkdir("root");
    scene.run_piped("mount --read-only - root", archive).succeeds().stdout_is("[DIR]/root");
    scene.shows_at("root", TREE);

    let scene = Scene::new();
    scene.write("web.tar", archive);
    scene.mkdir("root");
    scene.run("mount --read-only web.tar root").succeeds().stdout_is("[DIR]/root");
    scene.shows_at("root", TREE);
}

#[test]
fn docker_save_before_version_25() {
    mounts(&docker_legacy(&[web()]).tar());
}

#[test]
fn docker_save_since_version_25() {
    mounts(&docker(&[web()]).tar());
}

#[test]
fn repeated_layers_that_are_symbolic_links() {
    let scene = Scene::new();
    let (a, b) = (layer().file("a", "1"), layer().file("a", "2"));
    scene.write("web.tar", &docker_legacy(&[image("web").layer(&a).layer(&b).layer(&a)]).tar());
    scene.mkdir("root");
    scene.run("mount web.tar root").succeeds();
    scene.shows_at("root", "f 0644 a  1");
}

#[test]
fn oci_archive_of_every_packing() {
    for packing in [Packing::Plain, Packing::Gzip, Packing::Zstd, Packing::Xz, Packing::Bzip2] {
        mounts(&oci(&[web()], packing).tar());
    }
}

#[test]
fn oci_layout_directory() {
    let scene = Scene::new();
    oci(&[web()], Packing::Gzip).write_to(&scene.mkdir("layout"));
    scene.mkdir("root");
    scene.run("mount --read-only layout root").succeeds();
    scene.shows_at("root", TREE);
}

#[test]
fn docker_archive_that_was_unpacked() {
    let scene = Scene::new();
    docker_legacy(&[web()]).write_to(&scene.mkdir("folder"));
    scene.mkdir("root");
    scene.run("mount --read-only folder root").succeeds();
    scene.shows_at("root", TREE);
}

#[test]
fn packed_layers_under_a_docker_manifest() {
    for packing in [Packing::Gzip, Packing::Zstd] {
        let files = oci(&[web()], packing);
        let blobs: Vec<String> = web().layer_paths(packing);
        let manifest = json!([{"Config": blob_path(&web().id()), "RepoTags": ["web:1"], "Layers": blobs}]);
        mounts(
            &files
                .without("index.json")
                .without("oci-layout")
                .with("manifest.json", manifest.to_string().as_bytes())
                .tar(),
        );
    }
}

#[test]
fn gzip_of_several_members() {
    mounts(&repacked(|tar| {
        let (head, tail) = tar.split_at(700);
        [Packing::Gzip.pack(head), Packing::Gzip.pack(b""), Packing::Gzip.pack(tail)].concat()
    }));
}

#[test]
fn zstd_of_several_frames_with_skippable_ones() {
    let skippable = [&[0x50, 0x2a, 0x4d, 0x18, 4, 0, 0, 0][..], b"skip"].concat();
    mounts(&repacked(|tar| {
        let (head, tail) = tar.split_at(700);
        [&skippable[..], &Packing::Zstd.pack(head), &skippable, &Packing::Zstd.pack(tail), &skippable]
            .concat()
    }));
}

/// A docker-archive of `web` with its layers packed by hand.
fn repacked(pack: impl Fn(&[u8]) -> Vec<u8>) -> Vec<u8> {
    docker_legacy(&[web()]).changed("layer.tar", pack).tar()
}

#[test]
fn archive_that_is_packed_as_a_whole() {
    for packing in [Packing::Gzip, Packing::Zstd, Packing::Xz, Packing::Bzip2] {
        mounts(&packing.pack(&docker(&[web()]).tar()));
        mounts(&packing.pack(&oci(&[web()], Packing::Gzip).tar()));
    }
}

/// Larger than what one thread unpacks alone, or what one block of the archive holds.
#[test]
fn large_layers_through_a_pipe() {
    let text = "contents ".repeat(200_000);
    let large =
        [image("web").layer(&layer().file("a", &text).file("b", &text)).layer(&layer().file("c", &text))];
    for files in [docker(&large), docker_legacy(&large), oci(&large, Packing::Gzip)] {
        let scene = Scene::new();
        scene.mkdir("root");
        scene.run_piped("mount --read-only - root", &files.tar()).succeeds();
        for name in ["a", "b", "c"] {
            assert!(fs::read(scene.path("root").join(name)).unwrap() == text.as_bytes(), "{name}");
        }
    }
}

#[test]
fn archive_on_standard_input_that_is_a_file() {
    let scene = Scene::new();
    scene.write("web.tar", &docker(&[web()]).tar());
    scene.mkdir("root");
    let mut command = scene.command(&["mount", "--read-only", "-", "root"]);
    scene.outcome(command.stdin(File::open(scene.path("web.tar")).unwrap())).succeeds();
    scene.shows_at("root", TREE);
}

#[test]
fn manifest_first_or_last() {
    let files = docker(&[web()]);
    let manifest = files.get("manifest.json").to_vec();
    let rest = files.without("manifest.json");
    let first = Files::default().with("manifest.json", &manifest).and(rest.clone());
    mounts(&first.tar());
    mounts(&rest.with("manifest.json", &manifest).tar());
}

#[test]
fn names_with_a_dot_and_a_slash_before_them() {
    mounts(&docker(&[web()]).renamed(|name| format!("./{name}")).tar());
    mounts(&docker_legacy(&[web()]).renamed(|name| format!("./{name}")).tar());
}

#[test]
fn nested_index() {
    let inner = index(&[web().oci_descriptor(Packing::Gzip)]);
    let middle = index(&[descriptor("application/vnd.oci.image.index.v1+json", &inner)]);
    let outer = index(&[descriptor("application/vnd.oci.image.index.v1+json", &middle)]);
    let files = oci(&[web()], Packing::Gzip).blob(&inner).blob(&middle).with("index.json", &outer);
    mounts(&files.tar());
}

#[test]
fn attestation_is_no_image() {
    let statement = image("").platform("unknown/unknown").layer_of_bytes(b"{\"_type\":\"in-toto\"}".to_vec());
    let mut attestation = statement.oci_descriptor(Packing::Plain);
    attestation["annotations"] = json!({
        "vnd.docker.reference.type": "attestation-manifest",
        "vnd.docker.reference.digest": "sha256:".to_owned() + &"0".repeat(64),
    });
    let lines = [attestation, web().oci_descriptor(Packing::Gzip)];
    let files =
        statement.oci_blobs(Packing::Plain, oci(&[web()], Packing::Gzip)).with("index.json", &index(&lines));
    mounts(&files.tar());
}

#[test]
fn image_of_the_index_that_the_archive_does_not_carry_is_passed_over() {
    let other = image("web:1").platform("linux/s390x").layer(&layer().file("other", "x"));
    let lines = [other.oci_descriptor(Packing::Gzip), web().oci_descriptor(Packing::Gzip)];
    mounts(&oci(&[web()], Packing::Gzip).with("index.json", &index(&lines)).tar());
}

#[test]
fn image_without_a_name() {
    let scene = Scene::new();
    scene.write("x.tar", &docker(&[image("").layer(&layer().file("a", "1"))]).tar());
    scene.mkdir("root");
    scene.run("mount x.tar root").succeeds();
    scene.shows_at("root", "f 0644 a  1");
}

#[test]
fn keys_without_regard_to_case_as_jib_writes_them() {
    let files = docker(&[web()]).without("index.json").without("oci-layout").edit("manifest.json", |manifest| {
        let image = &manifest[0];
        *manifest = json!([{"config": image["Config"], "repoTags": image["RepoTags"], "layers": image["Layers"]}]);
    });
    mounts(&files.tar());
}

#[test]
fn null_where_a_list_belongs_is_an_empty_list() {
    let scene = Scene::new();
    let files = docker_legacy(&[image("scratch")]).edit("manifest.json", |manifest| {
        manifest[0]["Layers"] = json!(null);
        manifest[0]["RepoTags"] = json!(null);
    });
    scene.write("scratch.tar", &files.tar());
    scene.mkdir("root");
    scene.run("mount scratch.tar root").succeeds();
    scene.shows_at("root", "");
}

#[test]
fn layer_of_no_bytes_is_the_empty_tar() {
    let scene = Scene::new();
    let empty = image("x").layer(&layer().file("a", "1")).layer_of_bytes(Vec::new());
    scene.write("x.tar", &docker(&[empty]).tar());
    scene.mkdir("root");
    scene.run("mount x.tar root").succeeds();
    scene.shows_at("root", "f 0644 a  1");
}

#[test]
fn standard_input_that_is_empty_is_no_archive() {
    let scene = Scene::new();
    scene.mkdir("root");
    scene
        .run_piped("mount - root", b"")
        .fails(6)
        .stderr_is("ovlctl: cannot mount standard input on root: not an image archive: it is empty");
}
