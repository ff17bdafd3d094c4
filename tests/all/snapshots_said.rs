//! What is said of snapshots, by what they are called, and what is refused.

use std::fs;

use serde_json::json;

use crate::snapshots::{ONE, THREE, base, shows, with_two};
use crate::support::{Scene, image};

#[test]
fn what_is_named_is_listed() {
    let scene = with_two();
    scene.run("branch box new --from one").succeeds();
    let rows = scene.run("snapshots --json").succeeds().json();
    let shown = |row: &serde_json::Value| {
        json!([row["name"], row["container"], row["at"], row["parent"], row["image"]])
    };
    let one = rows[0]["id"].clone();
    assert_eq!(shown(&rows[0]), json!(["box@one", "box", ["new"], null, "web:1"]));
    assert_eq!(shown(&rows[1]), json!(["box@two", "box", ["box"], one, "web:1"]));
    assert_eq!(rows.as_array().unwrap().len(), 2);
    scene.run("snapshots -q").succeeds().stdout_is("box@one\nbox@two");
    scene.run("snapshots -q new").succeeds().stdout_is("box@one");
    let said = scene.run("snapshots --no-headings --time rfc3339").succeeds();
    let words: Vec<Vec<&str>> = said.lines().iter().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!((words[0][0], words[0][2], words[0][3]), ("box@one", "web:1", "new"));
    assert_eq!((words[1][0], words[1][2], words[1][3]), ("box@two", "box@one", "box"));
    let mounts = scene.run("mounts --json").succeeds().json();
    assert_eq!((&mounts[0]["name"], &mounts[0]["layers"]), (&json!("box"), &json!(4)));
    assert_eq!((&mounts[1]["name"], &mounts[1]["layers"]), (&json!("new"), &json!(3)));
}

#[test]
fn what_cannot_be_is_refused_with_what_to_do() {
    let scene = with_two();
    let table = [
        ("snapshot none", 3, "no container 'none' in [STORE]\nhint: `ovlctl mounts` lists what there is"),
        (
            "snapshot box one",
            4,
            "cannot make a snapshot of 'box': there is a snapshot 'box@one' already\nhint: `ovlctl rm box@one` removes that one",
        ),
        (
            "snapshot box a/b",
            2,
            "cannot make a snapshot of 'box': 'a/b' is no name for a snapshot: letters, digits, '_', '.' and '-', at most 128",
        ),
        (
            "reset box on",
            3,
            "cannot reset 'box': container 'box' has no snapshot 'on'\nhint: did you mean 'one'?",
        ),
        (
            "reset box elsewhere",
            3,
            "cannot reset 'box': container 'box' has no snapshot 'elsewhere'\nhint: `ovlctl snapshots box` lists what there is",
        ),
        ("snapshots none", 3, "no container 'none' in [STORE]\nhint: `ovlctl mounts` lists what there is"),
        (
            "branch box box",
            4,
            "cannot branch 'box': there is a container 'box' already\nhint: `ovlctl mount box TARGET` mounts that one",
        ),
        (
            "branch box new --from x",
            3,
            "cannot branch 'box': container 'box' has no snapshot 'x'\nhint: `ovlctl snapshots box` lists what there is",
        ),
        (
            "rm none@one",
            3,
            "no image or container 'none@one' in [STORE]\nhint: `ovlctl images` and `ovlctl mounts` list what there is",
        ),
        (
            "rm box@none",
            3,
            "cannot remove 'box@none': container 'box' has no snapshot 'none'\nhint: did you mean 'one'?",
        ),
        (
            "mount --name x box@one other",
            2,
            "--name is for a new container, and a snapshot is only looked at: `ovlctl branch` makes one of it\nhint: ovlctl help mount",
        ),
        ("mount box@one", 2, "a snapshot needs TARGET\nhint: ovlctl help mount"),
        (
            "cp web.tar box@one:/",
            1,
            "cannot copy web.tar to box@one:/: 'box@one' is a snapshot, and snapshots do not change\nhint: `ovlctl branch box NEW --from one` makes a container of it",
        ),
    ];
    let before = scene.tree("store/snapshots");
    for (words, code, said) in table {
        scene.run(words).fails(code).stderr_is(&format!("ovlctl: {said}"));
    }
    assert_eq!(scene.tree("store/snapshots"), before);
    shows(&scene, "box", THREE);
}

#[test]
fn a_mounted_container_is_refused_by_its_target() {
    let scene = with_two();
    scene.run("mount box root").succeeds();
    let mounted = "mounted on [DIR]/root\nhint: ovlctl umount [DIR]/root";
    scene
        .run("snapshot box")
        .fails(4)
        .stderr_is(&format!("ovlctl: cannot make a snapshot of 'box': {mounted}"));
    scene.run("reset box").fails(4).stderr_is(&format!("ovlctl: cannot reset 'box': {mounted}"));
    scene.run("branch box new").fails(4).stderr_is(&format!("ovlctl: cannot branch 'box': {mounted}"));
    // What was frozen before is not what is written to.
    scene.run("branch box new --from two").succeeds();
    // Files stay open in it after the mount is gone from the table.
    let held = fs::File::create(scene.path("root/held")).unwrap();
    scene.run("umount --lazy root").succeeds();
    scene.run("snapshot box").fails(4);
    drop(held);
    scene.run("snapshot box").succeeds().stdout_is("box@1");
    scene.run("cat box@1:/held").succeeds();
}

#[test]
fn changes_elsewhere_than_in_the_store_are_not_frozen() {
    let scene = Scene::new();
    for dir in ["root", "own", "other"] {
        scene.mkdir(dir);
    }
    scene.save("web.tar", &image("web:1").layer(&base()));
    scene.run("mount --name box --upper own web.tar root").succeeds();
    scene.run("umount root").succeeds();
    let reason = "its changes are in [DIR]/own, where others than ovlctl may change them";
    scene
        .run("snapshot box")
        .fails(1)
        .stderr_is(&format!("ovlctl: cannot make a snapshot of 'box': {reason}"));
    scene.run("reset box").fails(1).stderr_is(&format!("ovlctl: cannot reset 'box': {reason}"));
    scene.run("branch box new").fails(1).stderr_is(&format!("ovlctl: cannot branch 'box': {reason}"));
    scene.run("mount --name memory --upper tmpfs web:1 other").succeeds();
    scene
        .run("snapshot memory")
        .fails(1)
        .stderr_is("ovlctl: cannot make a snapshot of 'memory': its changes are in memory");
    scene.run("rm box").succeeds();
}

#[test]
fn a_snapshot_is_looked_at() {
    let scene = with_two();
    scene.run("mount box@one other").succeeds().stdout_is("[DIR]/other").stderr_is("");
    scene.shows_at("other", ONE);
    assert!(fs::write(scene.path("other/x"), "").is_err(), "it is read-only");
    let row = scene.run("mounts --json").succeeds().json()[1].clone();
    assert_eq!(
        json!([row["name"], row["target"], row["read_only"], row["layers"]]),
        json!(["box@one", "[DIR]/other", true, 3])
    );
    // The container may be mounted as well.
    scene.run("mount box root").succeeds();
    scene.shows_at("root", THREE);
    scene.run("umount root").succeeds();
    let mounted = "mounted on [DIR]/other\nhint: ovlctl umount [DIR]/other";
    scene.run("rm box@one").fails(4).stderr_is(&format!("ovlctl: cannot remove 'box@one': {mounted}"));
    scene.run("rm box").fails(4).stderr_is(&format!("ovlctl: cannot remove 'box': {mounted}"));
    scene.run("umount box@one").succeeds().stdout_is("[DIR]/other");
    scene.run("ls box@one").succeeds().stdout_is("etc\none");
    scene.run("cat box@two:/etc/motd").succeeds().stdout_is("two");
    scene.run("cp box@two:/etc/motd out").succeeds();
    assert_eq!(fs::read_to_string(scene.path("out")).unwrap(), "two");
    scene.run("plan box@one other").succeeds();
}

#[test]
fn differences_are_told_over_snapshots() {
    let scene = with_two();
    let all = "
        C /etc
        D /etc/hosts
        C /etc/motd
        C /srv
        D /srv/index
        A /srv/new
        A /three
        A /two
        ";
    scene.run("diff box").succeeds().stdout_is(all);
    scene.run("snapshot box").succeeds();
    scene.run("diff box").succeeds().stdout_is(all);
    scene.run("diff box@one").succeeds().stdout_is("A /one\nD /srv");
    scene.run("diff box@one box@two").succeeds().stdout_is("C /etc\nC /etc/motd\nA /srv\nA /srv/new\nA /two");
    scene.run("diff box@two box").succeeds().stdout_is("C /etc\nD /etc/hosts\nD /one\nA /three");
    scene.run("diff box@1 box").succeeds().stdout_is("");
    let said = scene.run("blame --no-headings etc/motd box").succeeds();
    let last = |line: &&str| line.split("  ").last().map(|cell| cell.trim().to_owned()).unwrap();
    assert_eq!(said.lines().iter().map(last).collect::<Vec<_>>(), ["snapshot 'two'", "-"]);
    let rows = scene.run("blame --json etc/motd box").succeeds().json();
    assert_eq!(json!([rows[0]["snapshot"], rows[0]["layer"]]), json!(["two", null]));
    assert_eq!(json!([rows[1]["snapshot"], rows[1]["layer"]]), json!([null, 1]));
}
