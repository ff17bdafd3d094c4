//! Snapshots outlive a power cut as containers do, with what was synced in them: whatever became of the files around.

use std::fs;
use std::path::{Path, PathBuf};

use crate::power_cuts::{loaded, overlay, put_aside, restore, tear, unmark, web};
use crate::support::Scene;

/// A scene with the image `web:1` on the disk, the container `box` with the snapshots `one` and `two`, and `new`, a branch of `one`.
fn frozen() -> Scene {
    let scene = loaded("load web.tar");
    scene.run("mount --name box web:1 root").succeeds();
    for (file, snapshot) in [("first", "one"), ("second", "two")] {
        scene.write(&format!("root/{file}"), b"x");
        scene.run("umount root").succeeds();
        scene.run(&format!("snapshot box {snapshot}")).succeeds();
        scene.run("mount box root").succeeds();
    }
    scene.write("root/third", b"x");
    scene.run("umount root").succeeds();
    scene.run("branch box new --from one").succeeds();
    scene
}

const BOX: &str = "f 0644 base  b\nf 0644 first  x\nf 0644 second  x\nf 0644 third  x\nf 0644 top  t";
const TWO: &str = "f 0644 base  b\nf 0644 first  x\nf 0644 second  x\nf 0644 top  t";
const ONE: &str = "f 0644 base  b\nf 0644 first  x\nf 0644 top  t";

#[track_caller]
fn shows(scene: &Scene, name: &str, expected: &str) {
    scene.run(&format!("mount {name} root")).succeeds();
    scene.shows_at("root", expected);
    scene.run("umount root").succeeds();
}

#[track_caller]
fn all_is_whole(scene: &Scene) {
    scene.run("check --deep").succeeds().stdout_is("");
    for (name, tree) in [("box", BOX), ("new", ONE), ("box@two", TWO), ("box@one", ONE), ("new@one", ONE)] {
        shows(scene, name, tree);
    }
}

/// Returns the directories of `box`, of `new`, and of the snapshots `one` and `two`.
fn dirs(scene: &Scene) -> [PathBuf; 4] {
    let container = |name: &str| {
        let facts = scene.run(&format!("inspect {name}")).succeeds().json();
        let upper = facts[0]["GraphDriver"]["Data"]["UpperDir"].as_str().expect("it has one").to_owned();
        let id = Path::new(&upper).parent().and_then(Path::file_name).expect("it has one").to_owned();
        scene.store().join("overlay2").join(id)
    };
    let rows = scene.run("snapshots --json").succeeds().json();
    let snapshot = |nr: usize| overlay(scene, rows[nr]["id"].as_str().expect("it has one"));
    [container("box"), container("new"), snapshot(0), snapshot(1)]
}

/// What no sync has covered: records, and what lies beside each `diff`. Short names of directories stand for the four.
const UNSYNCED: [&str; 16] = [
    "containers/box.json",
    "containers/new.json",
    "snapshots/ONE.json",
    "snapshots/TWO.json",
    "BOX/link",
    "BOX/lower",
    "NEW/link",
    "NEW/lower",
    "ONE/link",
    "ONE/lower",
    "TWO/link",
    "TWO/lower",
    "names.json",
    "store.json",
    "boot",
    "snapshots",
];

/// Tears these of [`UNSYNCED`] in a copy of the store.
fn torn(scene: &Scene, dirs: &[PathBuf; 4], which: &[&str], how: usize) {
    let store = scene.store();
    restore(scene);
    let id = |dir: &Path| dir.file_name().and_then(|name| name.to_str()).expect("it has one").to_owned();
    for what in which {
        let mut path = (*what).to_owned();
        for (word, dir) in ["BOX", "NEW", "ONE", "TWO"].iter().zip(dirs) {
            path = path.replace(&format!("{word}/"), &format!("overlay2/{}/", id(dir)));
            path = path.replace(&format!("{word}.json"), &format!("{}.json", id(dir)));
        }
        if store.join(&path).exists() {
            tear(&store.join(&path), how);
        }
    }
}

#[test]
fn whatever_was_torn_the_next_command_puts_right() {
    let scene = frozen();
    let dirs = dirs(&scene);
    scene.power_cut();
    put_aside(&scene);
    for how in 0..3 {
        for nr in 0..UNSYNCED.len() {
            torn(&scene, &dirs, &UNSYNCED[nr..=nr], how);
            all_is_whole(&scene);
        }
        torn(&scene, &dirs, &UNSYNCED, how);
        all_is_whole(&scene);
    }
}

#[test]
fn a_record_of_before_the_snapshot_is_not_taken_for_the_last() {
    let scene = frozen();
    let record = scene.store().join("containers/box.json");
    let before = fs::read(&record).expect("it is there");
    shows(&scene, "box", BOX);
    scene.run("snapshot box three").succeeds();
    scene.run("mount box root").succeeds();
    scene.write("root/fourth", b"x");
    scene.run("umount root").succeeds();
    // What a disk may have: the files of the directory that is its own since, and not the record that says so.
    fs::write(&record, before).expect("it can be written");
    scene.power_cut();
    scene.run("check --deep").succeeds().stdout_is("");
    let tree = format!("{}\nf 0644 fourth  x\n{}", &BOX[..30], &BOX[31..]);
    shows(&scene, "box", &sorted(&tree));
    shows(&scene, "box@three", BOX);
}

fn sorted(tree: &str) -> String {
    let mut lines: Vec<&str> = tree.lines().collect();
    lines.sort_by_key(|line| line.split(' ').nth(2).expect("a name").to_owned());
    lines.join("\n")
}

#[test]
fn snapshots_wait_for_their_image_as_containers_do() {
    let scene = frozen();
    unmark(&scene, &web(), 0);
    scene.power_cut();
    let said = scene.run("check").succeeds();
    said.stderr_has("container 'box' keeps its changes, but its image is gone: load web:1 again")
        .stderr_has("0 layers, 0 images, 2 containers, 2 snapshots: all is well");
    scene.run("mount box@one root").fails(1).stderr_has("its image web:1 is not in the store any more");
    scene.run("load web.tar").succeeds();
    all_is_whole(&scene);
}

#[test]
fn what_was_given_up_does_not_come_back() {
    let scene = frozen();
    scene.run("reset box one").succeeds();
    scene.power_cut();
    scene.run("check").succeeds().stdout_is("");
    shows(&scene, "box", ONE);
    scene.run("mounts -q").succeeds().stdout_is("box\nnew");
    scene.run("rm box new").succeeds();
    scene.power_cut();
    scene.run("prune").succeeds();
    scene.run("mounts -q").succeeds().stdout_is("");
    scene.run("snapshots -q").succeeds().stdout_is("");
    assert_eq!(scene.kept_layers().len(), 2);
}

#[test]
fn who_goes_back_or_removes_a_snapshot_waits_for_the_disk() {
    for words in ["snapshot box", "branch box newer", "reset box one", "rm box@two"] {
        let scene = frozen();
        let mark = overlay(&scene, &web().chain_ids()[0].hex()).join("committed");
        // What a sync finds without a mark gets one.
        fs::remove_file(&mark).expect("it is there");
        scene.run(&format!("{words} --no-sync")).succeeds();
        assert!(!mark.exists(), "{words} --no-sync");
        let again = words.replace("two", "one").replace("newer", "newest");
        scene.run_synced(&again).succeeds();
        assert!(mark.exists(), "{words}");
    }
}
