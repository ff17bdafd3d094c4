//! Two hundred rounds of mounts, eight at a time: no wrong tree, no mount that stays, and a store as before.

use std::fs;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use crate::support::tree::same;
use crate::support::{Scene, image, layer};

const ROUNDS: usize = 200;
const AT_ONCE: usize = 8;

/// A scene with the images `a:1` and `b:1`, over one base.
fn two_images() -> Scene {
    let scene = Scene::new();
    let base = layer().file("base", "0");
    for name in ["a:1", "b:1"] {
        scene.save("x.tar", &image(name).layer(&base).layer(&layer().file("which", name)));
        scene.run("load x.tar").succeeds();
    }
    scene
}

/// Runs `round` for each number below `ROUNDS`, eight at a time.
fn rounds(round: impl Fn(usize) + Sync) {
    let next = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                loop {
                    match next.fetch_add(1, Ordering::Relaxed) {
                        nr if nr < ROUNDS => round(nr),
                        _ => break,
                    }
                }
            });
        }
    });
}

fn name_of(round: usize) -> &'static str {
    ["a:1", "b:1"][round % 2]
}

#[test]
fn rounds_at_targets_of_their_own() {
    let scene = two_images();
    let before = scene.tree("store");
    rounds(|nr| {
        let (name, root) = (name_of(nr), format!("root{nr}"));
        scene.mkdir(&root);
        let access = ["--rm", "--read-only"][nr / 2 % 2];
        scene.run(&format!("mount {access} {name} {root}")).succeeds();
        scene.shows_at(&root, &format!("f 0644 base  0\nf 0644 which  {name}"));
        scene.run(&format!("umount {root}")).succeeds();
        assert_eq!(scene.tree(&root), "");
    });
    assert_eq!(scene.mounts(), Vec::<std::path::PathBuf>::new());
    same("the store", &scene.tree("store"), &before);
}

#[test]
fn rounds_at_one_target_show_what_was_asked_for() {
    let scene = two_images();
    scene.mkdir("root");
    let before = scene.tree("store");
    let mounted = AtomicUsize::new(0);
    rounds(|nr| {
        // Eight want the one target: one gets it, the others are told so.
        let outcome = scene.run(&format!("mount --rm {} root", name_of(nr)));
        if outcome.code == Some(4) {
            return;
        }
        outcome.succeeds();
        mounted.fetch_add(1, Ordering::Relaxed);
        assert_eq!(fs::read_to_string(scene.path("root/which")).unwrap(), name_of(nr));
        scene.run("umount root").succeeds();
    });
    assert!(mounted.into_inner() > 0, "no round got the target");
    assert_eq!(scene.mounts(), Vec::<std::path::PathBuf>::new());
    same("the store", &scene.tree("store"), &before);
}

#[test]
fn rounds_of_one_container_never_show_it_twice() {
    let scene = two_images();
    scene.mkdir("root");
    scene.run("mount --name box a:1 root").succeeds();
    scene.run("umount root").succeeds();
    rounds(|nr| {
        let root = format!("root{}", nr % AT_ONCE);
        scene.mkdir(&root);
        let outcome = scene.run(&format!("mount box {root}"));
        if outcome.code == Some(4) {
            return;
        }
        outcome.succeeds();
        assert_eq!(scene.mounts().len(), 1, "one upper directory is mounted twice");
        scene.run("umount box").succeeds();
    });
    assert_eq!(scene.mounts(), Vec::<std::path::PathBuf>::new());
}
