//! What is left of an export or a save that did not end: nothing where it was asked to, and else a directory that says so.

use std::fs;
use std::mem;
use std::os::unix::process::ExitStatusExt;
use std::process::{Output, Stdio};
use std::thread;
use std::time::Duration;

use nix::libc::{SYS_fsync, SYS_syncfs};
use nix::sys::signal::Signal;

use crate::support::tracer::{self, Happens};
use crate::support::{Scene, image, layer};

/// An image of many files, and a directory to export it to.
fn scene() -> Scene {
    let many = (0..2000).fold(layer(), |layer, nr| layer.file(&format!("d{}/f{nr}", nr % 50), "x"));
    let scene = Scene::with("image.tar", &image("web:1").layer(&many));
    scene.mkdir("to");
    scene
}

/// What is in that directory.
fn names(scene: &Scene) -> Vec<String> {
    let names = fs::read_dir(scene.path("to")).expect("it is there");
    names.map(|entry| entry.expect("readdir").file_name().into_string().expect("plain")).collect()
}

/// Exports to a directory, and lets something befall that as soon as it has begun there.
fn befalls(scene: &Scene, target: &str, happens: Happens) -> Output {
    let command = scene.command(&["export", "web:1", "--format", "dir", "-o", target]);
    let mut done = false;
    tracer::run(&command, Stdio::null(), &scene.path(""), &mut |_| {
        if done {
            // It looks for signals ten times a second, and is not to be ready before.
            thread::sleep(Duration::from_millis(1));
        } else if !names(scene).is_empty() {
            done = true;
            return happens;
        }
        Happens::Nothing
    })
}

#[test]
fn what_a_killed_export_leaves_in_a_directory_has_its_name() {
    let scene = scene();
    assert_eq!(befalls(&scene, "to", Happens::Kill).status.signal(), Some(Signal::SIGKILL as i32));
    let left = names(&scene);
    assert!(left.len() == 1 && left[0].starts_with(".to.ovlctl-"), "{left:?}");
    scene
        .run("export web:1 --format dir -o to")
        .fails(1)
        .stderr_is("ovlctl: cannot export 'web:1' to to: there is a directory that is not empty");
}

#[test]
fn interrupted_export_leaves_nothing() {
    let scene = scene();
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        let output = befalls(&scene, "to/new", Happens::Signalled(signal));
        assert_eq!(String::from_utf8_lossy(&output.stderr), "");
        assert_eq!(output.status.signal(), Some(signal as i32));
        assert_eq!(names(&scene), [""; 0]);
    }
}

#[test]
fn what_is_interrupted_while_the_disk_takes_its_time_leaves_nothing() {
    let scene = Scene::with("image.tar", &image("web:1").layer(&layer().file("f", "x")));
    scene.mkdir("to");
    for (words, call) in [
        ("save web:1 -o to/file", SYS_fsync),
        ("export web:1 -o to/file", SYS_fsync),
        ("export web:1 -f dir -o to/new", SYS_syncfs),
    ] {
        let mut command = scene.command(&words.split(' ').collect::<Vec<_>>());
        command.env_remove("OVLCTL_NO_SYNC");
        let mut is_slow = Happens::SignalledAndSlow(Signal::SIGINT);
        let output = tracer::run(&command, Stdio::null(), &scene.path(""), &mut |at| {
            if at.number == call { mem::replace(&mut is_slow, Happens::Nothing) } else { Happens::Nothing }
        });
        assert_eq!(is_slow, Happens::Nothing, "{words}: it never waited for the disk");
        assert_eq!(output.status.signal(), Some(Signal::SIGINT as i32), "{words}");
        assert_eq!(names(&scene), [""; 0], "{words}");
    }
}
