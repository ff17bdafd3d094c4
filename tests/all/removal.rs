//! What is removed is gone at once for everybody; the files are deleted after the command.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use ovlctl::sys::dir::Dir;
use ovlctl::sys::lock::{Lock, Share};
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

use crate::support::{Image, Scene, image, layer};

/// An image of more files than a command deletes itself.
fn large() -> Image {
    let files = (0..800).fold(layer(), |layer, nr| layer.file(&format!("d{}/f{nr}", nr % 50), "x"));
    image("large").layer(&files)
}

/// A scene with `large.tar` loaded.
fn loaded() -> Scene {
    Scene::with("large.tar", &large())
}

/// Runs `act` as if another process were deleting: what it removes stays to be deleted.
fn undeleted(scene: &Scene, act: impl FnOnce()) {
    let staging = Dir::open(&scene.store().join("staging")).expect("a store");
    let _at_it = Lock::try_take(&staging, Share::Exclusive).ok().flatten().expect("nobody deletes yet");
    act();
    while is_swept(scene) {}
}

/// Whether a process deletes what was removed from the scene's store.
fn is_swept(scene: &Scene) -> bool {
    let sweep = format!("{}\0sweep\0", scene.store().display());
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten().map(|process| process.path());
    let mut commands = processes.filter_map(|process| fs::read(process.join("cmdline")).ok());
    commands.any(|command| String::from_utf8_lossy(&command).ends_with(&sweep))
}

/// How many directories of `large` there still are.
fn folders_left(scene: &Scene) -> usize {
    let staged = scene.staged();
    let trees = staged.iter().filter_map(|stage| fs::read_dir(stage).ok()).flatten();
    let diffs = trees.filter_map(|tree| fs::read_dir(tree.ok()?.path().join("diff")).ok());
    diffs.map(Iterator::count).sum()
}

#[test]
fn removed_image_is_gone_before_its_files_are() {
    let scene = loaded();
    undeleted(&scene, || {
        scene
            .run("rm large")
            .succeeds()
            .stdout_is(&format!("untagged large:latest\nremoved image {}", large().id()))
            .stderr_is("1 layer, 800 B\nits files are deleted in the background; --wait waits for it");
        assert!(folders_left(&scene) > 30);
        assert_eq!(scene.kept_layers(), Vec::<String>::new());
        assert_eq!(scene.run("images -q").succeeds().lines(), Vec::<&str>::new());
        scene.run("prune -n").succeeds().stdout_is("");
        scene.run("load large.tar").succeeds().stderr_is("1 layer, 1 new, 800 B in [TIME]");
    });
}

/// Removes `large` by a shell that holds a lock meanwhile, and looks at once at what is left.
fn returned_before_all_was_deleted(scene: &Scene) -> bool {
    scene.run("load large.tar").succeeds();
    let ovlctl = scene.command(&["rm", "large"]);
    let mut shell = Command::new("sh");
    shell
        .args(["-c", r#"exec 9>lock; flock 9; exec "$0" "$@""#])
        .arg(ovlctl.get_program())
        .args(ovlctl.get_args());
    // Returns when nobody has its standard output and error any more.
    scene.outcome(shell.current_dir(scene.path(""))).succeeds();
    let is_free = matches!(Lock::try_path(&scene.path("lock"), Share::Exclusive), Ok(Some(_)));
    assert!(is_free, "what deletes holds what the shell had open");
    let left = !scene.staged().is_empty();
    scene.swept();
    left
}

#[test]
fn rm_returns_while_its_files_are_deleted_and_nothing_holds_its_pipes() {
    let scene = loaded();
    assert!((0..20).any(|_| returned_before_all_was_deleted(&scene)), "rm waited for each deletion");
}

#[test]
fn rm_that_is_to_wait_returns_when_all_is_deleted() {
    let scene = loaded();
    scene.run("rm --wait large").succeeds().stderr_is("1 layer, 800 B");
    assert_eq!(scene.staged(), Vec::<PathBuf>::new());
}

#[test]
fn prune_that_is_to_wait_deletes_what_others_left_too() {
    let scene = loaded();
    undeleted(&scene, || drop(scene.run("rm large").succeeds()));
    // It may find the other one at it, and then says for whom it waits.
    scene.run("prune --wait").succeeds().stderr_has("0 layers, 0 B");
    assert_eq!(scene.staged(), Vec::<PathBuf>::new());
}

#[test]
fn what_a_killed_process_did_not_delete_goes_after_the_next_command() {
    let scene = loaded();
    let killed_midway = || {
        scene.run("load large.tar").succeeds();
        undeleted(&scene, || drop(scene.run("rm large").succeeds()));
        let before = folders_left(&scene);
        let mut sweep = scene.command(&["sweep"]).spawn().expect("ovlctl starts");
        while folders_left(&scene) == before {}
        sweep.kill().expect("it is ours");
        sweep.wait().expect("it is ours");
        folders_left(&scene) > 0
    };
    assert!((0..20).any(|_| killed_midway()), "it was never killed in time");
    // It says nothing of what others left.
    scene.save("x.tar", &image("x").layer(&layer().file("a", "1")));
    scene.run("load x.tar").succeeds().stderr_is("1 layer, 1 new, 1 B in [TIME]");
    scene.swept();
}

#[test]
fn container_with_many_changes_is_removed_the_same_way() {
    let scene = loaded();
    scene.mkdir("root");
    scene.run("mount --name box large root").succeeds();
    for nr in 0..500 {
        fs::write(scene.path(&format!("root/new{nr}")), "").unwrap();
    }
    undeleted(&scene, || {
        scene.run("umount --rm box").succeeds().stderr_is("removed 'box' and its changes");
        assert_eq!(scene.staged().len(), 1);
        scene.run("mounts -q").succeeds().stdout_is("");
    });
    scene.run("prune").succeeds();
    scene.swept();
}

#[test]
fn load_that_is_short_of_room_deletes_first() {
    let scene = Scene::new();
    scene.tmpfs("store", "12m");
    let half = "x".repeat(7 << 20);
    scene.save("a.tar", &image("a").layer(&layer().file("a", "1")));
    scene.save("b.tar", &image("b").layer(&layer().file("b", &half)));
    scene.run("load a.tar").succeeds();
    fs::create_dir(scene.store().join("staging/of-a-killed-load")).unwrap();
    fs::write(scene.store().join("staging/of-a-killed-load/b"), half).unwrap();
    scene.run("load b.tar").succeeds();
}

#[test]
fn what_is_mounted_in_a_removed_layer_is_not_deleted() {
    let scene = Scene::new();
    let web = image("web").layer(&layer().file("etc/motd", "m").file("a", "1"));
    scene.save("web.tar", &web);
    scene.run("load web.tar").succeeds();
    let kept = scene.mkdir("kept");
    scene.write("kept/file", b"kept");
    let inside = scene.store().join("overlay2").join(web.chain_ids()[0].hex()).join("diff/etc");
    mount(&kept, &inside, "", MountFlags::BIND, None).unwrap();
    scene.run("rm web").succeeds();
    let fault = scene.run("prune --wait").fails(1).stderr;
    assert!(fault.contains("cannot delete what was removed from [STORE]: openat2("), "{fault}");
    assert!(fault.contains("Invalid cross-device link"), "{fault}");
    assert_eq!(fs::read_to_string(scene.path("kept/file")).unwrap(), "kept");
    unmount(&scene.mounts()[0], UnmountFlags::DETACH).unwrap();
    scene.run("prune --wait").succeeds();
    assert_eq!(scene.staged(), Vec::<PathBuf>::new());
}
