//! A target that somebody swaps for a link while it is mounted on (CVE-2026-42306): what was looked at is what is mounted on.

use std::fs::{self, rename};
use std::os::unix::fs::symlink;
use std::process::Stdio;

use crate::support::tracer::{self, Happens};
use crate::support::{Scene, image, layer};

/// So many moments are tried.
const SAMPLE: usize = 60;

fn prepared() -> Scene {
    let scene = Scene::in_memory();
    scene.save("web.tar", &image("web:1").layer(&layer().file("f", "x")));
    scene.run("load web.tar").succeeds();
    scene.mkdir("root");
    scene
}

/// Runs `mount`, and makes the target a link into the store at its `nth` call. Returns how many calls there were, and
/// whether something was mounted.
fn swap_at(scene: &Scene, nth: usize) -> (usize, bool) {
    let (root, aside) = (scene.path("root"), scene.path("aside"));
    let mut calls = 0;
    let mut at = |call: &tracer::Call| {
        calls = call.nth;
        // Once something is mounted there it is too late: EBUSY.
        if call.nth == nth && rename(&root, &aside).is_ok() {
            symlink(scene.store().join("overlay2"), &root).expect("the name is free");
        }
        Happens::Nothing
    };
    let command = scene.command(&["mount", "--rm", "web:1", "root"]);
    let output = tracer::run(&command, Stdio::null(), &scene.path(""), &mut at);
    let mounted = scene.overlays();
    let in_store: Vec<_> = mounted.iter().filter(|target| target.starts_with(scene.store())).collect();
    assert!(in_store.is_empty(), "swapped at call {nth}: {in_store:?}");
    assert_eq!(output.status.success(), !mounted.is_empty(), "swapped at call {nth}: {output:?} {mounted:?}");
    let is_mounted = !mounted.is_empty();
    scene.let_go();
    scene.run("prune --wait").succeeds();
    if aside.exists() {
        fs::remove_file(&root).expect("the link");
        rename(&aside, &root).expect("nothing is mounted there");
    }
    (calls, is_mounted)
}

#[test]
fn a_target_that_becomes_a_link_is_not_followed_after_it_was_looked_at() {
    let scene = prepared();
    let (calls, is_mounted) = swap_at(&scene, 0);
    assert!(is_mounted);
    let swapped = (1..=calls).step_by(calls.div_ceil(SAMPLE));
    let mounted: Vec<bool> = swapped.map(|nth| swap_at(&scene, nth).1).collect();
    // The link itself is refused, and what it had replaced is mounted on.
    assert!(mounted.contains(&false) && mounted.contains(&true), "{mounted:?}");
}
