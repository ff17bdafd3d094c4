//! What nothing needs goes, what anything uses stays: `rm` and `prune`, as Docker has them.

use std::fs;

use serde_json::json;

use crate::support::{Image, Scene, image, layer};

fn base() -> crate::support::Layer {
    layer().file("a", "aaaa")
}

fn web() -> Image {
    let labels = json!({"Labels": {"keep": "", "stage": "1"}});
    let web = image("web:1").layer(&base()).layer(&layer().file("b", "bb"));
    web.config("created", json!("2020-01-01T00:00:00Z")).config("config", labels)
}

fn api() -> Image {
    let api = image("api:1").layer(&base()).layer(&layer().file("c", "c"));
    api.config("created", json!("2024-01-01T00:00:00Z"))
}

fn load(scene: &Scene, images: &[Image]) {
    for image in images {
        scene.save("image.tar", image);
        scene.run("load image.tar").succeeds();
    }
    scene.mkdir("root");
    scene.mkdir("other");
}

fn loaded() -> Scene {
    let scene = Scene::new();
    load(&scene, &[web(), api()]);
    scene
}

/// What is left, images and then containers.
#[track_caller]
fn left(scene: &Scene, images: &[&str], containers: &[&str]) {
    let table = scene.run("images --no-headings").succeeds().stdout;
    let names = table.lines().filter_map(|row| row.split_whitespace().next());
    assert_eq!(names.collect::<Vec<_>>(), images, "images");
    assert_eq!(scene.run("mounts -q").succeeds().lines(), containers, "containers");
}

#[test]
fn rm_untags_first_and_deletes_with_the_last_name() {
    let scene = loaded();
    scene.run("tag web:1 web:2").succeeds();
    scene.run("rm web:2").succeeds().stdout_is("untagged web:2").stderr_is("");
    let id = web().id();
    scene
        .run("rm web:1")
        .succeeds()
        .stdout_is(&format!("untagged web:1\nremoved image {id}"))
        .stderr_is("1 layer, 2 B");
}

#[test]
fn rm_of_an_id_takes_all_tags_of_one_repository_and_no_more_unless_forced() {
    let scene = loaded();
    scene.run("tag web:1 web:2").succeeds();
    scene.run("tag web:1 www").succeeds();
    let id = web().id();
    scene.run(&format!("rm {}", id.short())).fails(4).stderr_is(&format!(
        "
        ovlctl: cannot remove '{}': it has several names: web:1, web:2, www:latest
        hint: `ovlctl rm NAME` takes one, `rm -f` all and the image
        ",
        id.short()
    ));
    scene.run("rm www").succeeds();
    let gone = format!("untagged web:1\nuntagged web:2\nremoved image {id}");
    scene.run(&format!("rm {}", id.short())).succeeds().stdout_is(&gone);
    load(&scene, &[web()]);
    scene.run("tag web:1 www").succeeds();
    let gone = format!("untagged web:1\nuntagged www:latest\nremoved image {id}");
    scene.run(&format!("rm -f {}", id.short())).succeeds().stdout_is(&gone);
}

#[test]
fn image_in_use_stays_and_who_uses_it_is_named() {
    let scene = loaded();
    scene.run("mount --name box web:1 root").succeeds();
    scene.run("umount box").succeeds();
    scene.run("rm web:1").fails(4).stderr_is(
        "
        ovlctl: cannot remove 'web:1': in use by container 'box'
        hint: `ovlctl mounts` lists containers and mounts
        ",
    );
    scene
        .run("rm -f web:1")
        .succeeds()
        .stdout_is("untagged web:1")
        .stderr_is("kept without a name, in use by container 'box': `ovlctl prune` takes it then");
    scene.run("prune").succeeds().stdout_is("").stderr_is("0 layers, 0 B");
    scene.run("mount box root").succeeds();
    scene.shows_at("root", "f 0644 a  aaaa\nf 0644 b  bb");
    scene.run("umount box").succeeds();
    scene.run("rm box").succeeds();
    scene.run("prune").succeeds().stderr_is("1 layer, 2 B");
    left(&scene, &["api:1"], &[]);
}

#[test]
fn rm_by_force_unmounts_first_and_finds_nothing_wrong_with_what_is_not_there() {
    let scene = loaded();
    scene.run("mount --name box web:1 root").succeeds();
    scene.run("rm box").fails(4).stderr_has("mounted on [DIR]/root");
    scene.run("rm -f box").succeeds().stdout_is("removed container box").stderr_is("");
    scene.shows_at("root", "");
    scene.run("mount --name temp --rm web:1 root").succeeds();
    scene
        .run("rm -f temp nothing web:1")
        .succeeds()
        .stdout_is(&format!("removed container temp\nuntagged web:1\nremoved image {}", web().id()));
    scene.run("mount --name busy api:1 root").succeeds();
    let _file = fs::File::open(scene.path("root/a")).unwrap();
    scene.run("rm -f busy").fails(4).stderr_has("cannot remove 'busy'");
    left(&scene, &["api:1"], &["busy"]);
    scene.run("rm nothing").fails(3);
}

#[test]
fn prune_of_all_takes_images_with_names_that_nothing_uses() {
    let scene = loaded();
    load(&scene, &[image("db:1").layer(&layer().file("d", "ddd"))]);
    scene.run("mount --name box web:1 root").succeeds();
    scene.run("mount -r api:1 other").succeeds();
    let id = |image: &Image| image.id();
    let db = image("db:1").layer(&layer().file("d", "ddd"));
    let says = format!("image {}  db:1\nlayer {}  3 B", id(&db), db.chain_ids()[0]);
    scene.run("prune -n --all").succeeds().stdout_is(&says).stderr_is("1 layer, 3 B");
    left(&scene, &["api:1", "db:1", "web:1"], &["box", "[DIR]/other"]);
    scene.run("prune --all").succeeds().stdout_is(&says);
    scene.run("umount root").succeeds();
    scene.run("umount other").succeeds();
    scene.run("prune --all").succeeds().stderr_is("1 layer, 1 B");
    left(&scene, &["web:1"], &["box"]);
    scene.run("rm box").succeeds();
    scene.run("prune -a").succeeds().stderr_is("2 layers, 6 B");
    left(&scene, &[], &[]);
    assert_eq!(scene.kept_layers(), Vec::<String>::new());
}

#[test]
fn prune_of_containers_takes_what_is_not_mounted_and_says_so_before() {
    let scene = loaded();
    scene.run("mount --name idle web:1 root").succeeds();
    scene.run("umount root").succeeds();
    scene.run("mount --name box web:1 root").succeeds();
    let before = scene.tree("store");
    let all = scene.run("prune -n --containers --all").succeeds().stdout;
    assert!(all.starts_with("container idle\n") && all.contains("  api:1\n"), "{all}");
    assert_eq!(scene.tree("store"), before, "`prune -n` changed the store");
    scene.run("prune --containers").succeeds().stdout_is("container idle").stderr_is("0 layers, 0 B");
    left(&scene, &["api:1", "web:1"], &["box"]);
    scene.run("umount box").succeeds();
    let says = scene.run("prune -n --containers --all").succeeds().stdout;
    scene.run("prune --containers --all").succeeds().stdout_is(&says);
    left(&scene, &[], &[]);
}

#[test]
fn container_that_was_unmounted_lazily_and_is_still_used_stays() {
    let scene = loaded();
    scene.run("mount --name box web:1 root").succeeds();
    let _file = fs::File::create(scene.path("root/held")).unwrap();
    scene.run("umount --lazy box").succeeds();
    scene.run("prune --containers --all").succeeds().stderr_has("warning: container 'box' stays: ");
    left(&scene, &["web:1"], &["box"]);
}

#[test]
fn prune_takes_only_what_the_filters_let_it() {
    let scene = loaded();
    let images = |scene: &Scene, words: &str| {
        let said = scene.run(&format!("prune -n --all {words}")).succeeds().stdout;
        let names = said.lines().filter_map(|line| line.strip_prefix("image ")?.split("  ").nth(1));
        names.collect::<Vec<_>>().join(" ")
    };
    for (words, takes) in [
        ("", "api:1 web:1"),
        ("--filter until=2022-01-01", "web:1"),
        ("--filter until=2020-01-01", ""),
        ("--filter until=1h", "api:1 web:1"),
        ("--filter until=1600000000", "web:1"),
        ("--filter label=keep", "web:1"),
        ("--filter label=stage=2", ""),
        ("--filter label!=keep", "api:1"),
        ("--filter label!=keep --filter until=2022-01-01", ""),
    ] {
        assert_eq!(images(&scene, words), takes, "{words}");
    }
    scene.run("prune --filter old=1").fails(2).stderr_is(
        "
        ovlctl: 'old=1' is no filter: until=TIME, label=KEY[=VALUE] and label!=KEY[=VALUE] are
        hint: ovlctl help prune
        ",
    );
    // A container has its image's labels.
    for (name, image) in [("box", "web:1"), ("two", "api:1")] {
        scene.run(&format!("mount --name {name} {image} root")).succeeds();
        scene.run("umount root").succeeds();
    }
    scene.run("prune --containers --filter label=keep").succeeds().stdout_is("container box");
    scene.run("prune --containers --filter until=1h").succeeds().stdout_is("");
    left(&scene, &["api:1", "web:1"], &["two"]);
}

#[test]
fn layer_that_stays_keeps_what_it_stands_on() {
    let scene = Scene::new();
    let tall = image("").layer(&base()).layer(&layer().file("b", "b")).layer(&layer().file("c", "c"));
    let low = image("low").layer(&base());
    load(&scene, &[tall.clone(), low]);
    // As a killed removal leaves it: layers of no image, on one that an image has.
    fs::remove_dir_all(scene.store().join("images").join(tall.id().hex())).unwrap();
    scene.run("prune --all --filter label!=none").succeeds();
    // These have no labels, so they stay, and the image's layer with them.
    assert_eq!(scene.kept_layers().len(), 3);
    left(&scene, &[], &[]);
    scene.run("check").succeeds();
    scene.run("prune").succeeds().stderr_is("3 layers, 6 B");
}
