//! Containers outlive a power cut, with what was synced in them: whatever became of the files around.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::thread;

use crate::power_cuts::{loaded, overlay, put_aside, restore, tear, unmark, web};
use crate::support::Scene;

/// A scene with the image `web:1` on the disk, and a container with a file.
fn boxed() -> Scene {
    let scene = loaded("load web.tar");
    scene.run("mount --name box web:1 root").succeeds();
    fs::write(scene.path("root/mine"), "mine").expect("it is there");
    scene.run("umount root").succeeds();
    scene
}

/// Returns the directory of the only container.
fn container(scene: &Scene) -> PathBuf {
    let ids = scene.kept_layers();
    let found: Vec<_> = ids.iter().filter(|id| overlay(scene, id).join("merged").exists()).collect();
    assert_eq!(found.len(), 1, "{ids:?}");
    overlay(scene, found[0])
}

#[track_caller]
fn box_is_whole(scene: &Scene) {
    scene.run("check --deep").succeeds().stdout_is("");
    scene.run("mount box root").succeeds();
    scene.shows_at("root", "f 0644 base  b\nf 0644 mine  mine\nf 0644 top  t");
    scene.run("umount root").succeeds();
}

#[test]
fn a_container_outlives_its_image_and_stands_on_it_again() {
    let scene = boxed();
    unmark(&scene, &web(), 0);
    scene.power_cut();
    let said = scene.run("check").succeeds();
    said.stderr_has("container 'box' keeps its changes, but its image is gone: load web:1 again").stderr_has(
        "container 'box' waits for image web:1: load it again\n0 layers, 0 images, 1 container: all is well",
    );
    scene.run("mount box root").fails(1).stderr_is(
        "ovlctl: cannot mount 'box' on root: its image web:1 is not in the store any more: it was lost when the machine went \
         down\nhint: load it again; the container's changes are kept",
    );
    assert_eq!(fs::read_to_string(container(&scene).join("diff/mine")).expect("it is there"), "mine");
    scene.run("load web.tar").succeeds();
    box_is_whole(&scene);
}

#[test]
fn a_container_without_a_record_is_told_by_its_directory() {
    let scene = boxed();
    fs::remove_file(scene.store().join("containers/box.json")).expect("it is there");
    scene.power_cut();
    scene.run("mounts -q").succeeds();
    let said = scene.run("check").succeeds();
    said.stderr_has("container 'box' is back: its record was lost when the machine went down");
    box_is_whole(&scene);
}

#[test]
fn a_container_whose_short_name_was_torn_keeps_the_one_that_leads_to_it() {
    let scene = boxed();
    let link = container(&scene).join("link");
    let name = fs::read_to_string(&link).unwrap();
    fs::write(&link, "").unwrap();
    scene.power_cut();
    scene.run("check").succeeds();
    assert_eq!(fs::read_to_string(&link).unwrap(), name);
    scene.run("rm box").succeeds();
    scene.run("check").succeeds().stderr_is("2 layers, 1 image, 0 containers: all is well");
}

#[test]
fn a_container_whose_name_is_taken_gets_another() {
    let scene = boxed();
    let lost = container(&scene);
    fs::remove_file(scene.store().join("containers/box.json")).expect("it is there");
    scene.run("mount --name box web:1 root").succeeds();
    scene.run("umount root").succeeds();
    scene.power_cut();
    scene.run("check").succeeds();
    let id = lost.file_name().expect("it is there").to_str().expect("it is there");
    scene.run_args(&["mount", &format!("recovered-{}", &id[..12]), "root"]).succeeds();
    assert_eq!(fs::read_to_string(scene.path("root/mine")).expect("it is there"), "mine");
}

#[test]
fn a_container_of_which_nothing_tells_is_known_by_what_lies_below() {
    let scene = boxed();
    let dir = container(&scene);
    fs::remove_file(scene.store().join("containers/box.json")).expect("it is there");
    rustix::fs::removexattr(&dir, "trusted.ovlctl.container").expect("it is there");
    scene.power_cut();
    let said = scene.run("tag web:1 other").succeeds();
    let name =
        format!("recovered-{}", &dir.file_name().expect("it is there").to_str().expect("it is there")[..12]);
    said.stderr_is(&format!("container '{name}' is back: its record was lost when the machine went down"));
    scene.run_args(&["mount", &name, "root"]).succeeds();
    scene.shows_at("root", "f 0644 base  b\nf 0644 mine  mine\nf 0644 top  t");
}

#[test]
fn a_container_of_which_nobody_knows_the_image_keeps_its_changes() {
    let scene = boxed();
    let dir = container(&scene);
    fs::remove_file(scene.store().join("containers/box.json")).expect("it is there");
    fs::remove_file(dir.join("lower")).expect("it is there");
    rustix::fs::removexattr(&dir, "trusted.ovlctl.container").expect("it is there");
    scene.power_cut();
    let id = dir.file_name().expect("it is there").to_str().expect("it is there").to_owned();
    let said = scene.run("check").succeeds();
    said.stderr_has(&format!("nothing tells of its image: its changes are in [STORE]/overlay2/{id}/diff"));
    assert_eq!(fs::read_to_string(dir.join("diff/mine")).expect("it is there"), "mine");
}

#[test]
fn a_container_that_was_used_is_not_taken_for_one_that_never_was() {
    let scene = boxed();
    let record = scene.store().join("containers/box.json");
    let early = fs::read_to_string(&record)
        .expect("it is there")
        .replace("\"unfinished\": false", "\"unfinished\": true");
    fs::write(&record, early).expect("it is there");
    scene.power_cut();
    box_is_whole(&scene);
}

/// What no sync has covered when a container was mounted a moment ago.
const UNSYNCED: [&str; 7] =
    ["names.json", "containers/box.json", "BOX/link", "BOX/lower", "L", "store.json", "boot"];

/// Tears these of [`UNSYNCED`] in a copy of the store.
fn torn(scene: &Scene, which: &[&str], how: usize) {
    let store = scene.store();
    restore(scene);
    let dir = container(scene);
    for what in which {
        let path = match *what {
            "L" => store.join("overlay2/l").join(fs::read_to_string(dir.join("link")).expect("it is there")),
            "BOX/link" => dir.join("link"),
            "BOX/lower" => dir.join("lower"),
            other => store.join(other),
        };
        // The link's own name is read from it: it goes last.
        if *what != "BOX/link" {
            tear(&path, if *what == "L" { 0 } else { how });
        }
    }
    if which.contains(&"BOX/link") {
        tear(&dir.join("link"), how);
    }
}

#[test]
fn whatever_was_torn_the_next_command_puts_right() {
    let scene = boxed();
    scene.power_cut();
    put_aside(&scene);
    for how in 0..3 {
        for nr in 0..UNSYNCED.len() {
            torn(&scene, &UNSYNCED[nr..=nr], how);
            box_is_whole(&scene);
        }
        torn(&scene, &UNSYNCED, how);
        box_is_whole(&scene);
    }
}

#[test]
fn a_link_that_leads_elsewhere_is_put_right() {
    let scene = boxed();
    let dir = container(&scene);
    let link =
        scene.store().join("overlay2/l").join(fs::read_to_string(dir.join("link")).expect("it is there"));
    fs::remove_file(&link).expect("it is there");
    symlink("../nowhere/diff", &link).expect("it is there");
    scene.power_cut();
    box_is_whole(&scene);
}

#[test]
fn commands_at_once_recover_once() {
    let scene = boxed();
    unmark(&scene, &web(), 1);
    scene.power_cut();
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| scene.run("load web.tar").succeeds());
        }
    });
    box_is_whole(&scene);
}
