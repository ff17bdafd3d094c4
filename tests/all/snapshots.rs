//! What a container had changed is frozen, gone back to, and gone on from.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::thread;

use crate::support::{Layer, Scene, image, layer};

pub(crate) fn base() -> Layer {
    layer()
        .dir("etc")
        .file("etc/hosts", "localhost")
        .file("etc/motd", "hello")
        .dir("srv")
        .file("srv/index", "<html>")
}

/// A scene with the container `box` over two layers, mounted on `root` with these options.
pub(crate) fn mounted(options: &str) -> Scene {
    let scene = Scene::new();
    for dir in ["root", "other"] {
        scene.mkdir(dir);
    }
    scene.save("web.tar", &image("web:1").layer(&base()).layer(&layer().file("etc/issue", "v1")));
    scene.run(&format!("mount --name box {options} web.tar root")).succeeds();
    scene
}

/// Changes `box` while it is mounted on `root`.
pub(crate) fn change(scene: &Scene, change: impl FnOnce(&Scene)) {
    scene.run("mount box root").succeeds();
    change(scene);
    scene.run("umount root").succeeds();
}

/// Checks what a container or a snapshot shows.
#[track_caller]
pub(crate) fn shows(scene: &Scene, name: &str, expected: &str) {
    scene.run(&format!("mount {name} other")).succeeds();
    scene.shows_at("other", expected);
    scene.run("umount other").succeeds();
}

/// A scene in which `box` has the snapshots `one` and `two`, and something more.
pub(crate) fn with_two() -> Scene {
    let scene = mounted("");
    scene.write("root/one", b"1");
    fs::remove_dir_all(scene.path("root/srv")).expect("it is there");
    scene.run("umount root").succeeds();
    scene.run("snapshot box one").succeeds().stdout_is("box@one").stderr_is("");
    change(&scene, |scene| {
        scene.write("root/two", b"2");
        scene.write("root/etc/motd", b"two");
        scene.mkdir("root/srv");
        scene.write("root/srv/new", b"n");
    });
    scene.run("snapshot box two").succeeds();
    change(&scene, |scene| {
        scene.write("root/three", b"3");
        fs::remove_file(scene.path("root/one")).expect("it is there");
        fs::remove_file(scene.path("root/etc/hosts")).expect("it is there");
    });
    scene
}

pub(crate) const ONE: &str = "
    d 0755 etc
    f 0644 etc/hosts  localhost
    f 0644 etc/issue  v1
    f 0644 etc/motd  hello
    f 0644 one  1
    ";
pub(crate) const TWO: &str = "
    d 0755 etc
    f 0644 etc/hosts  localhost
    f 0644 etc/issue  v1
    f 0644 etc/motd  two
    f 0644 one  1
    d 0755 srv
    f 0644 srv/new  n
    f 0644 two  2
    ";
pub(crate) const THREE: &str = "
    d 0755 etc
    f 0644 etc/issue  v1
    f 0644 etc/motd  two
    d 0755 srv
    f 0644 srv/new  n
    f 0644 three  3
    f 0644 two  2
    ";
pub(crate) const IMAGE: &str = "
    d 0755 etc
    f 0644 etc/hosts  localhost
    f 0644 etc/issue  v1
    f 0644 etc/motd  hello
    d 0755 srv
    f 0644 srv/index  <html>
    ";

#[test]
fn what_was_changed_since_is_taken_back() {
    let scene = with_two();
    shows(&scene, "box", THREE);
    scene.run("reset box").succeeds().stdout_is("").stderr_is("container 'box' is as snapshot 'two' was");
    shows(&scene, "box", TWO);
    scene.run("reset box one").succeeds().stderr_is("container 'box' is as snapshot 'one' was");
    shows(&scene, "box", ONE);
    // Later ones stay, and can be gone to.
    scene.run("reset box two").succeeds();
    shows(&scene, "box", TWO);
    scene.run("reset box --image").succeeds().stderr_is("container 'box' is as its image was");
    shows(&scene, "box", IMAGE);
    scene.run("reset box two").succeeds();
    shows(&scene, "box", TWO);
    scene.run("check --deep").succeeds().stdout_is("");
}

#[test]
fn without_a_snapshot_it_goes_back_to_the_image() {
    let scene = mounted("");
    scene.write("root/x", b"");
    scene.run("umount root").succeeds();
    scene.run("reset box").succeeds().stderr_is("container 'box' is as its image was");
    shows(&scene, "box", IMAGE);
    assert_eq!(scene.kept_layers().len(), 3);
}

#[test]
fn what_is_frozen_lies_where_it_lay_and_has_what_a_layer_has() {
    let scene = mounted("");
    scene.write("root/x", b"");
    let file = scene.run("inspect box").succeeds().json()[0]["GraphDriver"]["Data"]["UpperDir"].clone();
    let diff =
        std::path::PathBuf::from(file.as_str().unwrap().replace("[STORE]", scene.store().to_str().unwrap()));
    let inode = fs::metadata(diff.join("x")).unwrap().ino();
    scene.run("umount root").succeeds();
    scene.run("snapshot box").succeeds().stdout_is("box@1");
    assert_eq!(fs::metadata(diff.join("x")).unwrap().ino(), inode);
    let mut names: Vec<_> =
        fs::read_dir(diff.parent().unwrap()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["diff", "link", "lower"]);
    // Docker's words: what lies below, uppermost first.
    let facts = scene.run("inspect box").succeeds().json();
    let data = &facts[0]["GraphDriver"]["Data"];
    let lower: Vec<&str> = data["LowerDir"].as_str().unwrap().split(':').collect();
    assert_eq!((lower.len(), lower[0]), (3, file.as_str().unwrap()));
    assert_ne!(data["UpperDir"], file);
}

#[test]
fn it_takes_as_many_calls_whatever_was_changed() {
    use crate::support::tracer::{self, Happens};
    let calls = |files: usize| {
        let scene = mounted("");
        for nr in 0..files {
            scene.write(&format!("root/f{nr}"), b"x");
        }
        scene.run("umount root").succeeds();
        let mut calls = 0;
        let command = scene.command(&["snapshot", "box"]);
        let output = tracer::run(&command, std::process::Stdio::null(), &scene.path(""), &mut |call| {
            calls += usize::from(call.in_main);
            Happens::Nothing
        });
        assert!(output.status.success(), "{output:?}");
        calls
    };
    // What looks at other processes meets more or fewer of them.
    let (few, many) = (calls(10), calls(2000));
    assert!(many.abs_diff(few) < 400, "{few} calls with 10 files, {many} with 2000");
}

#[test]
fn branches_go_on_for_themselves() {
    let scene = with_two();
    scene.run("branch box new").succeeds().stdout_is("new").stderr_is("both stand on snapshot 'box@1'");
    // Nothing has changed since: no other snapshot is needed.
    scene.run("branch box newer").succeeds().stdout_is("newer").stderr_is("");
    scene.run("branch box older --from one").succeeds();
    shows(&scene, "new", THREE);
    shows(&scene, "newer", THREE);
    shows(&scene, "older", ONE);
    scene.run("mount new root").succeeds();
    fs::remove_dir_all(scene.path("root/etc")).unwrap();
    scene.run("umount root").succeeds();
    change(&scene, |scene| scene.write("root/box", b"b"));
    shows(&scene, "new", "d 0755 srv\nf 0644 srv/new  n\nf 0644 three  3\nf 0644 two  2");
    shows(&scene, "newer", THREE);
    shows(&scene, "box", &format!("f 0644 box  b\n{}", crate::support::tree::dedent(THREE)));
    // A branch goes back to where it began, and further.
    scene.run("reset new").succeeds().stderr_is("container 'new' is as snapshot '1' was");
    shows(&scene, "new", THREE);
    scene.run("reset new one").succeeds();
    shows(&scene, "new", ONE);
    scene.run("check --deep").succeeds().stdout_is("");
}

#[test]
fn what_others_stand_on_outlives_its_container() {
    let scene = with_two();
    scene.run("branch box new --from two").succeeds();
    scene.run("rm box").succeeds().stdout_is("removed container box");
    scene.run("snapshots -q").succeeds().stdout_is("new@one\nnew@two");
    shows(&scene, "new", TWO);
    scene.run("reset new one").succeeds();
    // Nothing stands on it any more, and its container is gone.
    scene.run("snapshots -q").succeeds().stdout_is("new@one");
    shows(&scene, "new", ONE);
    scene.run("check").succeeds().stderr_has("\n2 layers, 1 image, 1 container, 1 snapshot: all is well");
    scene.run("rm new").succeeds();
    scene.run("snapshots -q").succeeds().stdout_is("");
    assert_eq!(scene.kept_layers().len(), 2);
}

#[test]
fn a_snapshot_that_is_removed_goes_as_far_as_nothing_stands_on_it() {
    let scene = with_two();
    let before = scene.kept_layers().len();
    scene
        .run("rm box@one")
        .succeeds()
        .stdout_is("removed snapshot box@one")
        .stderr_is("what was changed until then is kept: others stand on it");
    scene.run("snapshots --json").succeeds().json().as_array().map(|rows| assert_eq!(rows.len(), 2)).unwrap();
    shows(&scene, "box", THREE);
    scene.run("reset box --image").succeeds();
    assert_eq!(scene.kept_layers().len(), before);
    scene.run("rm box@two").succeeds().stdout_is("removed snapshot box@two").stderr_is("");
    // With it what only it stood on.
    assert_eq!(scene.kept_layers().len(), before - 2);
    scene.run("check").succeeds().stderr_has("\n2 layers, 1 image, 1 container: all is well");
}

#[test]
fn commands_at_once_wait_for_each_other() {
    let scene = with_two();
    thread::scope(|scope| {
        for nr in 0..3 {
            scope.spawn({
                let scene = &scene;
                move || scene.run(&format!("snapshot box s{nr}")).succeeds()
            });
            scope.spawn({
                let scene = &scene;
                move || scene.run(&format!("branch box b{nr}")).succeeds()
            });
        }
    });
    scene.run("check").succeeds().stdout_is("");
    for nr in 0..3 {
        shows(&scene, &format!("b{nr}"), THREE);
        shows(&scene, &format!("box@s{nr}"), THREE);
    }
    shows(&scene, "box", THREE);
    // Each needs the other's name.
    thread::scope(|scope| {
        for (one, other) in [("b0", "b1"), ("b1", "b0"), ("b1", "b2"), ("b2", "b1")] {
            let scene = &scene;
            scope.spawn(move || scene.run(&format!("branch {one} {other}")).fails(4));
        }
    });
}

#[test]
fn what_records_tell_of_snapshots_is_put_right() {
    let scene = with_two();
    let id = scene.run("snapshots --json").succeeds().json()[1]["id"].as_str().unwrap().to_owned();
    let dir = scene.store().join("overlay2").join(&id);
    let link = fs::read_to_string(dir.join("link")).unwrap();
    fs::write(dir.join("lower"), "l/NOWHERE").unwrap();
    fs::remove_file(scene.store().join("overlay2/l").join(&link)).unwrap();
    let said = scene.run("check").fails(6);
    assert!(said.stdout.contains(&format!("snapshot {id}")), "{}", said.stdout);
    scene.run("check --repair").succeeds();
    scene.run("check").succeeds().stdout_is("");
    shows(&scene, "box", THREE);
    fs::remove_file(scene.store().join(format!("snapshots/{id}.json"))).unwrap();
    let said = scene.run("check").fails(6).stdout;
    assert!(said.contains(&format!("snapshot {id} below it cannot be had")), "{said}");
    // Nobody knows any more what is needed: nothing goes.
    scene.run("rm box@one").succeeds().stderr_is("what was changed until then is kept: others stand on it");
    scene.run("prune").succeeds();
    shows(&scene, "box", THREE);
    // Its directory has it once more.
    scene.run("check --repair").succeeds();
    scene.run("check").succeeds().stdout_is("");
    assert_eq!(scene.run("snapshots -q").succeeds().lines().last(), Some(&"box@two"));
}

#[test]
fn a_record_that_knows_of_snapshots_is_of_a_format_of_its_own() {
    let scene = with_two();
    let record = fs::read_to_string(scene.store().join("containers/box.json")).unwrap();
    assert!(record.contains("\"format\": 2"), "{record}");
}
