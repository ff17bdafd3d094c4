//! What is made of containers that have snapshots is what is made of those that changed the same at one go.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;

use serde_json::json;

use crate::snapshots::{change, mounted, shows, with_two};
use crate::support::{Scene, image, layer, needs};

#[track_caller]
fn commit(scene: &Scene, container: &str, name: &str) -> String {
    scene.at_a_time(&format!("commit {container} {name}")).stdout
}

/// What a container or an image shows.
#[track_caller]
fn tree(scene: &Scene, name: &str) -> String {
    scene.run(&format!("mount --read-only {name} other")).succeeds();
    let tree = scene.tree("other");
    scene.run("umount other").succeeds();
    tree
}

/// Changes the same in each container, in three steps; the first one has a snapshot after each of the first two.
fn with_and_without(options: &str) -> Scene {
    let scene = mounted(options);
    scene.run("umount root").succeeds();
    scene.run(&format!("mount --name plain {options} web:1 root")).succeeds();
    scene.run("umount root").succeeds();
    for name in ["box", "plain"] {
        for step in 0..3 {
            scene.run(&format!("mount {name} root")).succeeds();
            step_of(&scene, step);
            scene.run("umount root").succeeds();
            if name == "box" && step < 2 {
                scene.run(&format!("snapshot box s{step}")).succeeds();
            }
        }
    }
    scene
}

fn step_of(scene: &Scene, step: usize) {
    let root = |name: &str| scene.path("root").join(name);
    match step {
        0 => {
            fs::write(root("new"), "n".repeat(70_000)).expect("it works");
            fs::hard_link(root("new"), root("again")).expect("it works");
            move_directory(scene, "srv", "web");
            fs::remove_file(root("etc/motd")).expect("it works");
        }
        1 => {
            // Not the file with two names: over another directory overlayfs would part them.
            fs::set_permissions(root("web"), Permissions::from_mode(0o2711)).expect("it works");
            fs::write(root("web/index"), "<body>").expect("it works");
            fs::create_dir(root("etc/motd")).expect("it works");
            fs::write(root("etc/motd/1"), "1").expect("it works");
            fs::write(root("for-a-while"), "").expect("it works");
        }
        _ => {
            fs::remove_file(root("for-a-while")).expect("it works");
            fs::remove_dir_all(root("etc/motd")).expect("it works");
            fs::write(root("etc/motd"), "hello").expect("it works");
            move_directory(scene, "web", "etc/web");
            fs::set_permissions(root("etc/hosts"), Permissions::from_mode(0o600)).expect("it works");
        }
    }
}

/// As mv(1) does: without redirects overlayfs renames no directory of a layer below.
fn move_directory(scene: &Scene, from: &str, to: &str) {
    let mut mv = std::process::Command::new("mv");
    let _ = scene.outcome(mv.args([from, to]).current_dir(scene.path("root"))).succeeds();
}

#[test]
fn the_same_layer_comes_of_what_was_frozen_on_the_way() {
    for options in ["", "-o redirect_dir=on,metacopy=on"] {
        if !options.is_empty() && !needs::has("metacopy") {
            continue;
        }
        let scene = with_and_without(options);
        let shown = tree(&scene, "box");
        let diff = scene.run("diff box").succeeds().stdout;
        let ids = ["box", "plain"].map(|name| commit(&scene, name, &format!("{name}:2")));
        assert_eq!(ids[0], ids[1], "{options}");
        assert_eq!(tree(&scene, "box:2"), shown);
        scene.run("diff web:1 box:2").succeeds().stdout_is(&diff);
        scene.run("commit box box:now").succeeds();
        scene.run("diff box:now box").succeeds().stdout_is("");
        // Nothing has changed since: the same once more, from what is frozen to the last.
        scene.run("snapshot box").succeeds();
        assert_eq!(commit(&scene, "box", "box:3"), ids[0]);
        scene.run("diff plain").succeeds().stdout_is(&diff);
        scene.run("check --deep").succeeds().stdout_is("");
    }
}

#[test]
fn who_went_back_or_off_commits_what_is_shown() {
    let scene = with_and_without("");
    scene.run("branch box off --from s0").succeeds();
    change(&scene, |_| ());
    scene.run("mount off root").succeeds();
    step_of(&scene, 1);
    step_of(&scene, 2);
    scene.run("umount root").succeeds();
    let last = commit(&scene, "box", "last:1");
    assert_eq!(commit(&scene, "off", "off:1"), last);
    let before = tree(&scene, "box@s0");
    scene.run("reset box s0").succeeds();
    commit(&scene, "box", "first:1");
    assert_eq!(tree(&scene, "first:1"), before);
    change(&scene, |scene| {
        step_of(scene, 1);
        step_of(scene, 2);
    });
    assert_eq!(commit(&scene, "box", "back:1"), last);
    // The image as it was: no layer more.
    scene.run("reset box --image").succeeds();
    scene.run("commit box same:1").succeeds().stderr_has("same:1: 2 layers, 0 new");
    assert_eq!(tree(&scene, "same:1"), tree(&scene, "web:1"));
    // What was committed stands on nothing of the containers'.
    scene.run("rm box off plain").succeeds();
    scene.run("check --deep").succeeds().stdout_is("");
    assert_eq!(tree(&scene, "first:1"), before);
}

#[test]
fn a_snapshot_is_committed_as_the_container_was_then() {
    let scene = with_and_without("");
    // The container itself is in use meanwhile, and by now another.
    scene.run("mount box root").succeeds();
    let open = fs::File::create(scene.path("root/open")).unwrap();
    let then = commit(&scene, "box@s1", "then:1");
    assert_eq!(tree(&scene, "then:1"), tree(&scene, "box@s1"));
    let first = commit(&scene, "box@s0", "first:1");
    assert_ne!(first, then);
    drop(open);
    scene.run("umount root").succeeds();
    scene.run("reset box s1").succeeds();
    assert_eq!(commit(&scene, "box", "then:2"), then);
    scene.run("rm box@s1").succeeds();
    scene.run("commit box@s1 x").fails(3).stdout_is("").stderr_is(
        "
        ovlctl: cannot commit 'box@s1': container 'box' has no snapshot 's1'
        hint: did you mean 's0'?
        ",
    );
    scene.run("commit bax@s0 x").fails(3).stderr_has("ovlctl: no container 'bax@s0' in [STORE]");
}

#[test]
fn a_path_in_a_snapshot_is_blamed() {
    let scene = with_and_without("");
    let rows = scene.run("blame --json /etc/motd box@s1").succeeds().json();
    let told: Vec<_> =
        rows.as_array().unwrap().iter().map(|row| [&row["snapshot"], &row["action"]]).collect();
    assert_eq!(json!(told[..2]), json!([["s1", "added"], ["s0", "removed"]]));
    assert!(told[2..].iter().all(|[snapshot, _]| snapshot.is_null()) && told.len() > 2, "{told:?}");
}

#[test]
fn a_mounted_one_is_committed_over_its_snapshots() {
    let scene = with_two();
    scene.run("mount box root").succeeds();
    scene.write("root/four", b"4");
    let said = scene.run("commit box four:1").succeeds();
    let _ = said.stderr_has("four:1: 3 layers, 1 new");
    assert_eq!(tree(&scene, "four:1"), scene.tree("root"));
    scene.write("root/five", b"5");
    scene.run("umount root").succeeds();
}

#[test]
fn what_is_saved_of_it_is_read_elsewhere() {
    let scene = with_two();
    scene.run("branch box new --from one").succeeds();
    scene.run("commit box box:1").succeeds();
    scene.run("commit new new:1").succeeds();
    let shown = ["box:1", "new:1"].map(|name| tree(&scene, name));
    scene.run("save box:1 new:1 -o both.tar").succeeds();
    scene.run("rm box new box:1 new:1 web:1").succeeds();
    scene.swept();
    assert_eq!(scene.kept_layers(), Vec::<String>::new());
    scene.run("load both.tar").succeeds();
    assert_eq!(["box:1", "new:1"].map(|name| tree(&scene, name)), shown);
}

#[test]
fn exported_are_containers_and_snapshots_alike() {
    let scene = with_two();
    for (name, file) in [("box", "box.tar"), ("box@one", "one.tar")] {
        let tar = scene.run_bytes(&format!("export {name}"));
        scene.save(file, &image(&format!("{file}:1")).layer_of_bytes(tar));
        scene.run(&format!("load {file}")).succeeds();
        assert_eq!(tree(&scene, &format!("{file}:1")), tree(&scene, name));
        scene.run(&format!("export --format dir {name} -o {file}.d")).succeeds();
        assert_eq!(scene.tree(&format!("{file}.d")), tree(&scene, name));
    }
}

#[test]
fn programs_run_in_it_and_are_frozen_in_turn() {
    let Some(busybox) = needs::busybox() else { return };
    let scene = Scene::new();
    scene.mkdir("other");
    let base = layer().file_of_bytes(b"bin/busybox", &busybox).mode(0o755).symlink("bin/sh", "busybox");
    scene.save("web.tar", &image("web:1").layer(&base));
    scene.run("load web.tar").succeeds();
    let shell = |name: &str, script: &str| scene.run_args(&["run", name, "--", "/bin/sh", "-c", script]);
    let first = scene.run_args(&["run", "--name", "box", "web:1", "--", "/bin/sh", "-c", "echo 1 >/one"]);
    let _ = first.succeeds();
    scene.run("snapshot box one").succeeds();
    let _ =
        shell("box", "read a </one; echo $a; echo 2 >/two; /bin/busybox rm /one").succeeds().stdout_is("1");
    scene.run("snapshot box two").succeeds();
    let _ = shell("box", "[ ! -e /one ] && echo gone").succeeds().stdout_is("gone");
    scene.run("branch box new --from one").succeeds();
    let _ = shell("new", "echo /o* /t*").succeeds().stdout_is("/one /t*");
    scene.run("reset box one").succeeds();
    shows(&scene, "box", &tree(&scene, "box@one"));
    let _ = shell("box", "read a </one; echo $a").succeeds().stdout_is("1");
}
