//! The store's overlay2 tree is Docker's, exactly; layers are shared by chain id.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::support::{Image, Scene, image, layer};

fn web() -> Image {
    image("web:1")
        .layer(&layer().file("a", "1"))
        .layer(&layer().file("b", "2"))
        .layer(&layer().file("c", "3"))
}

/// A scene with `web.tar` loaded.
fn loaded() -> Scene {
    Scene::with("web.tar", &web())
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).expect("it is there").permissions().mode() & 0o7777
}

fn names(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).expect("a directory");
    let mut names: Vec<String> =
        entries.map(|entry| entry.expect("readdir").file_name().into_string().expect("plain")).collect();
    names.sort();
    names
}

/// A layer's directory under `overlay2`.
fn dir_of(scene: &Scene, nr: usize) -> std::path::PathBuf {
    scene.store().join("overlay2").join(web().chain_ids()[nr].hex())
}

#[test]
fn nobody_but_root_enters_the_store() {
    let scene = loaded();
    assert_eq!(mode(&scene.store()), 0o700);
}

#[test]
fn layers_are_named_by_chain_id() {
    let scene = loaded();
    let mut expected: Vec<String> = web().chain_ids().iter().map(ovlctl::digest::Digest::hex).collect();
    expected.sort();
    assert_eq!(scene.kept_layers(), expected);
}

#[test]
fn base_layer_has_no_lower_and_no_work() {
    let scene = loaded();
    assert_eq!(names(&dir_of(&scene, 0)), ["diff", "link"]);
}

#[test]
fn layer_over_others_has_lower_and_work() {
    let scene = loaded();
    assert_eq!(names(&dir_of(&scene, 1)), ["diff", "link", "lower", "work"]);
    assert_eq!(mode(&dir_of(&scene, 1).join("work")), 0o700);
}

#[test]
fn links_are_26_characters_that_lead_to_the_layer() {
    let scene = loaded();
    for nr in 0..3 {
        let link = fs::read_to_string(dir_of(&scene, nr).join("link")).unwrap();
        let fits = |c: char| c.is_ascii_uppercase() || ('2'..='7').contains(&c);
        assert!(link.len() == 26 && link.chars().all(fits), "{link:?}");
        let target = fs::read_link(scene.store().join("overlay2/l").join(&link)).unwrap();
        assert_eq!(target, Path::new(&format!("../{}/diff", web().chain_ids()[nr].hex())));
    }
}

#[test]
fn lower_lists_the_links_below_uppermost_first() {
    let scene = loaded();
    let link = |nr| fs::read_to_string(dir_of(&scene, nr).join("link")).unwrap();
    let lower = fs::read_to_string(dir_of(&scene, 2).join("lower")).unwrap();
    assert_eq!(lower, format!("l/{}:l/{}", link(1), link(0)));
}

#[test]
fn link_that_was_lost_leads_to_its_layer_again_after_a_load() {
    let scene = loaded();
    for nr in 0..3 {
        let link = fs::read_to_string(dir_of(&scene, nr).join("link")).unwrap();
        let link = scene.store().join("overlay2/l").join(link);
        fs::remove_file(&link).unwrap();
        scene.run("load web.tar").succeeds();
        let target = fs::read_link(link).unwrap();
        assert_eq!(target, Path::new(&format!("../{}/diff", web().chain_ids()[nr].hex())));
    }
}

#[test]
fn container_is_a_directory_of_the_same_form_over_its_image() {
    let scene = loaded();
    scene.mkdir("root");
    scene.run("mount --name box web:1 root").succeeds();
    let inspected = scene.run("inspect box").succeeds().json();
    let upper = inspected[0]["GraphDriver"]["Data"]["UpperDir"].as_str().unwrap().replace("[STORE]", "");
    let id = upper.trim_start_matches("/overlay2/").trim_end_matches("/diff");
    assert!(id.len() == 64 && id.bytes().all(|c| c.is_ascii_hexdigit()), "{upper}");
    let dir = scene.store().join("overlay2").join(id);
    assert_eq!(names(&dir), ["diff", "link", "lower", "merged", "work"]);
    assert_eq!(mode(&dir.join("work")), 0o700);
    let lower = fs::read_to_string(dir.join("lower")).unwrap();
    assert_eq!(lower.split(':').count(), 3, "{lower}");
    fs::write(scene.path("root/new"), "n").unwrap();
    assert_eq!(fs::read_to_string(dir.join("diff/new")).unwrap(), "n");
}

#[test]
fn layers_are_shared_between_images_over_the_same_base() {
    let scene = loaded();
    let api = web().named("api:1").layer(&layer().file("d", "4"));
    scene.save("api.tar", &api);
    scene.run("load api.tar").succeeds();
    assert_eq!(scene.kept_layers().len(), 4);
}

#[test]
fn same_tar_over_another_base_is_another_layer() {
    let scene = Scene::new();
    let top = layer().file("d/x", "1");
    for (name, mode) in [("a", 0o700), ("b", 0o711)] {
        scene.save("x.tar", &image(name).layer(&layer().dir("d").mode(mode)).layer(&top));
        scene.run("load x.tar").succeeds();
        scene.mkdir(name);
        scene.run(&format!("mount --read-only {name} {name}")).succeeds();
    }
    assert_eq!(scene.kept_layers().len(), 4);
    scene.shows_at("a", "d 0700 d\nf 0644 d/x  1");
    scene.shows_at("b", "d 0711 d\nf 0644 d/x  1");
}

#[test]
fn empty_layer_that_is_repeated_mounts() {
    let scene =
        Scene::new().layer(layer()).layer(layer().file("a", "1")).layer(layer()).layer(layer()).mounted();
    scene.shows("f 0644 a  1");
}

#[test]
fn second_load_of_an_image_changes_nothing() {
    let scene = loaded();
    let before = scene.tree("store");
    scene.run("load web.tar").succeeds();
    assert!(scene.tree("store") == before, "the store changed");
}

#[test]
fn name_moves_to_the_image_that_was_loaded_last() {
    let scene = loaded();
    scene.save("newer.tar", &image("web:1").layer(&layer().file("newer", "x")));
    scene.run("load newer.tar").succeeds();
    scene.mkdir("root");
    scene.run("mount web:1 root").succeeds();
    scene.shows_at("root", "f 0644 newer  x");
    scene.mkdir("old");
    scene.run(&format!("mount {} old", web().id())).succeeds();
    scene.shows_at("old", "f 0644 a  1\nf 0644 b  2\nf 0644 c  3");
}

#[test]
fn image_is_found_by_name_id_and_part_of_the_id() {
    let scene = loaded();
    for source in ["web:1".to_owned(), web().id().to_string(), web().id().hex(), web().id().short()] {
        scene.mkdir("root");
        scene.run(&format!("mount --rm {source} root")).succeeds();
        scene.run("umount root").succeeds();
    }
}

#[test]
fn tag_gives_a_second_name_and_rm_takes_names_before_the_image() {
    let scene = loaded();
    scene.run("tag web:1 web:stable").succeeds();
    scene.run("rm web:1").succeeds();
    scene.mkdir("root");
    scene.run("mount --rm web:stable root").succeeds();
    scene.run("umount root").succeeds();
    scene.run("rm web:stable").succeeds();
    scene.run("mount web:stable root").fails(3).stderr_has("no image 'web:stable' in [STORE]");
}

#[test]
fn name_without_a_tag_means_latest() {
    let scene = Scene::with("x.tar", &image("app:latest").layer(&layer().file("a", "1")));
    scene.run("tag app other").succeeds();
    scene.mkdir("root");
    scene.run("mount other:latest root").succeeds();
}

#[test]
fn prune_takes_what_nothing_needs_and_tells_before() {
    let scene = loaded();
    scene.save("api.tar", &image("api:1").layer(&layer().file("a", "1")).layer(&layer().file("d", "4")));
    scene.run("load api.tar").succeeds();
    assert_eq!(scene.kept_layers().len(), 4);
    scene.run("rm web:1").succeeds();
    let before = scene.tree("store");
    scene.run("prune -n").succeeds();
    assert!(scene.tree("store") == before, "`prune -n` changed the store");
    scene.run("prune").succeeds();
    assert_eq!(scene.kept_layers().len(), 2);
    let links = names(&scene.store().join("overlay2/l"));
    assert_eq!(links.len(), 2, "links without a layer: {links:?}");
    scene.mkdir("root");
    scene.run("mount api:1 root").succeeds();
    scene.shows_at("root", "f 0644 a  1\nf 0644 d  4");
}

#[test]
fn prune_leaves_what_a_container_stands_on() {
    let scene = loaded();
    scene.mkdir("root");
    scene.run("mount --name box web:1 root").succeeds();
    scene.run("umount root").succeeds();
    scene.run("prune").succeeds();
    scene.run("mount box root").succeeds();
    scene.shows_at("root", "f 0644 a  1\nf 0644 b  2\nf 0644 c  3");
}

#[test]
fn image_that_a_container_stands_on_is_not_removed() {
    let scene = loaded();
    scene.mkdir("root");
    scene.run("mount --name box web:1 root").succeeds();
    scene.run("rm web:1").fails(4).stderr_is(
        "
        ovlctl: cannot remove 'web:1': mounted on [DIR]/root
        hint: ovlctl umount [DIR]/root
        ",
    );
    scene.run("rm box").fails(4).stderr_is(
        "
        ovlctl: cannot remove 'box': mounted on [DIR]/root
        hint: ovlctl umount [DIR]/root
        ",
    );
}

#[test]
fn container_that_is_removed_leaves_nothing() {
    let scene = loaded();
    let before = scene.tree("store");
    scene.mkdir("root");
    scene.run("mount --name box web:1 root").succeeds();
    scene.run("umount root").succeeds();
    scene.run("rm box").succeeds();
    let after = scene.tree("store");
    crate::support::tree::same("the store", &after, &before);
}
