//! Several images, names and platforms in one archive: which one is meant.

use serde_json::json;

use crate::support::image::{Image, Packing, docker, docker_legacy, image, index, machine, oci};
use crate::support::{Scene, layer};

fn one(name: &str, file: &str) -> Image {
    image(name).layer(&layer().file(file, "x"))
}

/// A scene with the archive `all.tar` and the target `root`.
fn scene(archive: &[u8]) -> Scene {
    let scene = Scene::new();
    scene.write("all.tar", archive);
    scene.mkdir("root");
    scene
}

#[test]
fn no_choice_among_several_lists_them() {
    let (a, b) = (one("web:1", "a"), one("db:2", "b"));
    let scene = scene(&docker_legacy(&[a.clone(), b.clone()]).tar());
    let said = scene.run("mount all.tar root").fails(2);
    assert!(said.stderr.starts_with("ovlctl: cannot mount all.tar on root: "), "{}", said.stderr);
    for part in ["@0", "web:1", &a.id().short(), "@1", "db:2", &b.id().short(), "--image", &machine()] {
        assert!(said.stderr.contains(part), "{part} is not listed: {}", said.stderr);
    }
}

#[test]
fn image_is_chosen_by_name_number_or_digest() {
    let (a, b) = (one("web:1", "a"), one("db:2", "b").named("db:latest"));
    let archive = docker(&[a, b.clone()]).tar();
    let manifest = ovlctl::digest::Digest::of(&b.oci_manifest(Packing::Plain));
    let choices = [
        "db:2".to_owned(),
        "db".to_owned(),
        "docker.io/library/db:2".to_owned(),
        "@1".to_owned(),
        b.id().to_string(),
        b.id().hex(),
        b.id().short(),
        manifest.to_string(),
    ];
    for choice in choices {
        let scene = scene(&archive);
        scene.run(&format!("mount --image {choice} all.tar root")).succeeds();
        scene.shows_at("root", "f 0644 b  x");
    }
}

#[test]
fn choice_that_is_not_there_lists_what_is() {
    let scene = scene(&docker(&[one("web:1", "a"), one("db:2", "b")]).tar());
    for choice in ["wep:1", "@2", "sha256:0000"] {
        let said = scene.run(&format!("mount --image {choice} all.tar root")).fails(3);
        assert!(said.stderr.contains(choice) && said.stderr.contains("web:1"), "{}", said.stderr);
    }
}

#[test]
fn number_counts_what_only_the_index_has_after_the_manifest() {
    let (a, b) = (one("a:1", "a"), one("b:1", "b"));
    let docker_part = docker(std::slice::from_ref(&b));
    let both = oci(&[a, b], Packing::Plain).with("manifest.json", docker_part.get("manifest.json")).tar();
    for (choice, file) in [("@0", "b"), ("@1", "a")] {
        let scene = scene(&both);
        scene.run(&format!("mount --image {choice} all.tar root")).succeeds();
        scene.shows_at("root", &format!("f 0644 {file}  x"));
    }
}

#[test]
fn platform_of_the_machine_comes_first() {
    let other = if machine() == "linux/amd64" { "linux/arm64/v8" } else { "linux/amd64" };
    let images = [one("web:1", "other").platform(other), one("web:1", "own")];
    let archive = oci(&images, Packing::Gzip).tar();

    let own = scene(&archive);
    own.run("mount all.tar root").succeeds();
    own.shows_at("root", "f 0644 own  x");
    drop(own);

    let scene = scene(&archive);
    scene.run(&format!("mount --platform {other} all.tar root")).succeeds();
    scene.shows_at("root", "f 0644 other  x");
}

#[test]
fn platform_without_a_variant_takes_the_only_one() {
    let images = [one("web:1", "arm").platform("linux/arm/v7"), one("web:1", "own")];
    let scene = scene(&oci(&images, Packing::Gzip).tar());
    scene.run("mount --platform linux/arm all.tar root").succeeds();
    scene.shows_at("root", "f 0644 arm  x");
}

#[test]
fn platform_that_is_not_there_lists_those_that_are() {
    let scene = scene(&oci(&[one("web:1", "own")], Packing::Gzip).tar());
    let said = scene.run("mount --platform linux/riscv64 all.tar root").fails(3);
    assert!(said.stderr.contains("linux/riscv64") && said.stderr.contains(&machine()), "{}", said.stderr);
}

#[test]
fn only_image_is_taken_even_if_it_is_for_another_platform() {
    let scene = scene(&oci(&[one("web:1", "far").platform("linux/s390x")], Packing::Gzip).tar());
    scene.run("mount all.tar root").succeeds();
    scene.shows_at("root", "f 0644 far  x");
}

#[test]
fn two_names_of_one_image_are_one_image() {
    let image = one("web:1", "a").named("web:latest");
    let scene = scene(&docker(&[image]).tar());
    scene.run("mount all.tar root").succeeds();
    scene.shows_at("root", "f 0644 a  x");
}

#[test]
fn two_entries_of_one_image_are_one_image() {
    let scene = scene(&docker(&[one("web:1", "a"), one("web:2", "a")]).tar());
    scene.run("mount all.tar root").succeeds();
    scene.run("umount root").succeeds();
    scene.run("mount web:2 root").succeeds();
    scene.shows_at("root", "f 0644 a  x");
}

#[test]
fn names_are_read_as_docker_shows_them() {
    let mut line = one("", "a").oci_descriptor(Packing::Gzip);
    line["annotations"] = json!({"io.containerd.image.name": "docker.io/library/web:1", "org.opencontainers.image.ref.name": "1"});
    let archive = oci(&[one("", "a")], Packing::Gzip).with("index.json", &index(&[line])).tar();
    let scene = scene(&archive);
    scene.run("load all.tar").succeeds();
    scene.run("mount web:1 root").succeeds();
    scene.shows_at("root", "f 0644 a  x");
}

#[test]
fn load_takes_every_image() {
    let scene = scene(&docker(&[one("web:1", "a"), one("db:2", "b")]).tar());
    scene.run("load all.tar").succeeds();
    scene.run("mount db:2 root").succeeds();
    scene.shows_at("root", "f 0644 b  x");
}

#[test]
fn load_takes_only_the_image_that_is_chosen() {
    let scene = scene(&docker(&[one("web:1", "a"), one("db:2", "b")]).tar());
    scene.run("load --image db:2 all.tar").succeeds();
    scene.run("mount db:2 root").succeeds();
    scene.run("umount root").succeeds();
    scene.run("mount web:1 root").fails(3).stderr_has("no image 'web:1'");
}

#[test]
fn load_of_several_platforms_takes_the_machine_s_own() {
    let images = [one("web:1", "far").platform("linux/s390x"), one("web:1", "own")];
    let scene = scene(&oci(&images, Packing::Gzip).tar());
    scene.run("load all.tar").succeeds();
    scene.run("mount web:1 root").succeeds();
    scene.shows_at("root", "f 0644 own  x");
}
