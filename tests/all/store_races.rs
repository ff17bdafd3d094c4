//! Commands that are killed, and commands at once: each layer is whole or not there at all.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};
use std::thread;

use rustix::fs::{FlockOperation, flock};

use crate::support::{Image, Scene, image, layer};

/// An image whose top layer takes a while to unpack.
fn slow() -> Image {
    let files = (0..3000).fold(layer(), |layer, nr| layer.file(&format!("d{}/f{nr}", nr % 50), "x"));
    image("slow").layer(&layer().file("base", "b")).layer(&files)
}

fn start(scene: &Scene, words: &[&str]) -> Child {
    scene.command(words).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("ovlctl starts")
}

/// Kills a load of `slow.tar` when it has begun to unpack; false if it was too quick for that.
fn killed_midway(scene: &Scene) -> bool {
    let mut load = start(scene, &["load", "slow.tar"]);
    loop {
        if !scene.staged().is_empty() {
            load.kill().expect("it is ours");
            let killed = !load.wait().expect("it is ours").success();
            return killed && !scene.staged().is_empty();
        }
        if load.try_wait().expect("it is ours").is_some() {
            return false;
        }
    }
}

#[test]
fn what_a_killed_load_left_is_swept_by_the_next_command() {
    let scene = Scene::new();
    scene.save("slow.tar", &slow());
    assert!((0..20).any(|_| killed_midway(&scene)), "no load was killed while it unpacked");
    scene.run("load slow.tar").succeeds();
    scene.swept();
    assert_eq!(scene.kept_layers().len(), 2);
    let links = fs::read_dir(scene.store().join("overlay2/l")).unwrap().count();
    assert_eq!(links, 2, "links that lead nowhere");
    scene.mkdir("root");
    scene.run("mount --read-only slow root").succeeds();
    assert_eq!(scene.tree("root").matches("\nf 0644 d").count(), 3000);
}

#[test]
fn layer_in_the_making_is_not_swept_by_another_command() {
    let scene = Scene::new();
    scene.save("slow.tar", &slow());
    scene.save("x.tar", &image("x").layer(&layer().file("a", "1")));
    let mut load = start(&scene, &["load", "slow.tar"]);
    while scene.staged().is_empty() && load.try_wait().unwrap().is_none() {}
    scene.run("load x.tar").succeeds();
    scene.run("prune").succeeds();
    assert!(load.wait().unwrap().success(), "a load was disturbed");
    scene.mkdir("root");
    scene.run("mount --read-only slow root").succeeds();
    assert_eq!(scene.tree("root").matches("\nf 0644 d").count(), 3000);
}

#[test]
fn eight_loads_of_one_image_at_once_leave_one() {
    let scene = Scene::new();
    scene.save("slow.tar", &slow());
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| scene.run("load slow.tar").succeeds());
        }
    });
    assert_eq!(scene.kept_layers().len(), 2);
    assert_eq!(scene.run("images -q").succeeds().lines().len(), 1);
}

#[test]
fn eight_loads_over_one_base_at_once_share_it() {
    let scene = Scene::new();
    let base = layer().file("base", "b");
    for nr in 0..8 {
        let image = image(&format!("app{nr}")).layer(&base).layer(&layer().file(&format!("own{nr}"), "x"));
        scene.save(&format!("{nr}.tar"), &image);
    }
    thread::scope(|scope| {
        for nr in 0..8 {
            let scene = &scene;
            scope.spawn(move || scene.run(&format!("load {nr}.tar")).succeeds());
        }
    });
    assert_eq!(scene.kept_layers().len(), 9);
    for nr in 0..8 {
        let root = format!("root{nr}");
        scene.mkdir(&root);
        scene.run(&format!("mount --read-only app{nr} {root}")).succeeds();
        scene.shows_at(&root, &format!("f 0644 base  b\nf 0644 own{nr}  x"));
    }
}

#[test]
fn killed_mount_leaves_no_container_that_is_half_there() {
    let scene = Scene::new();
    scene.save("slow.tar", &slow());
    scene.mkdir("root");
    let mut mount = start(&scene, &["mount", "--name", "box", "slow.tar", "root"]);
    while scene.staged().is_empty() && mount.try_wait().unwrap().is_none() {}
    mount.kill().unwrap();
    mount.wait().unwrap();
    if scene.mounts().is_empty() {
        scene.run("mount --name box slow.tar root").succeeds();
    }
    assert_eq!(scene.tree("root").matches("\nf 0644 d").count(), 3000);
}

/// Leaves of `image` what a removal leaves that is killed early: its layers, but not the image.
fn half_removed(scene: &Scene, image: &Image) {
    fs::remove_dir_all(scene.store().join("images").join(image.id().hex())).expect("it is there");
    fs::remove_file(scene.store().join("names.json")).expect("it is there");
}

#[test]
fn layers_that_a_killed_rm_left_go_with_what_they_stand_on() {
    let scene = Scene::new();
    let (base, top) = (layer().file("a", "1"), layer().file("b", "2"));
    let web = image("web").layer(&base).layer(&top);
    scene.save("web.tar", &web);
    scene.save("base.tar", &image("base").layer(&base));
    scene.run("load web.tar").succeeds();
    half_removed(&scene, &web);
    scene.run("load base.tar").succeeds();
    scene.run("rm base").succeeds();
    assert_eq!(scene.kept_layers(), Vec::<String>::new());
    scene.mkdir("root");
    scene.run("mount web.tar root").succeeds();
    scene.shows_at("root", "f 0644 a  1\nf 0644 b  2");
}

#[test]
fn prune_takes_a_layer_before_the_one_it_stands_on() {
    let scene = Scene::new();
    let web = image("web").layers(6);
    scene.save("web.tar", &web);
    scene.run("load web.tar").succeeds();
    half_removed(&scene, &web);
    let removed = scene.run("prune").succeeds().stdout;
    let removed: Vec<&str> = removed.lines().filter_map(|line| line.split(' ').nth(1)).collect();
    let uppermost_first: Vec<String> = web.chain_ids().iter().rev().map(ToString::to_string).collect();
    assert_eq!(removed, uppermost_first);
    assert_eq!(scene.kept_layers(), Vec::<String>::new());
}

#[test]
fn prune_takes_the_locks_of_killed_loads() {
    let scene = Scene::new();
    scene.save("slow.tar", &slow());
    assert!((0..20).any(|_| killed_midway(&scene)), "no load was killed while it unpacked");
    fs::write(scene.store().join("locks/layer-of-a-killed-load"), "").unwrap();
    scene.run("prune").succeeds();
    assert_eq!(fs::read_dir(scene.store().join("locks")).unwrap().count(), 1, "more than the store's own");
}

#[test]
fn a_container_is_waited_for_by_whichever_name_it_is_called() {
    let scene = Scene::with("x.tar", &image("x").layer(&layer().file("a", "1")));
    scene.mkdir("root");
    scene.run("mount --name box x root").succeeds();
    scene.run("umount root").succeeds();
    let id = scene.run("inspect box").succeeds().json()[0]["Id"].as_str().unwrap().to_owned();
    for name in ["box", &id] {
        let lock = File::create(scene.store().join("locks/container-box")).unwrap();
        flock(&lock, FlockOperation::LockExclusive).unwrap();
        let mut snapshot = scene.command(&["snapshot", name]).stderr(Stdio::piped()).spawn().unwrap();
        let mut said = String::new();
        BufReader::new(snapshot.stderr.take().unwrap()).read_line(&mut said).unwrap();
        assert!(said.starts_with("waiting for pid "), "{name}: {said}");
        drop(lock);
        assert!(snapshot.wait().unwrap().success(), "{name}");
    }
}
