//! A mounted container is of one moment while it is committed, and can be written to again afterwards, however that ended.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::process::Stdio;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::support::tracer::{self, Call, Happens};
use crate::support::{Scene, image, layer};

fn mounted(options: &str) -> Scene {
    let scene = Scene::new();
    scene.mkdir("root");
    scene.save("image.tar", &image("web:1").layer(&layer().file("a", "1")));
    scene.run(&format!("mount --name box {options} image.tar root")).succeeds();
    fs::write(scene.path("root/mine"), "mine").expect("it works");
    scene
}

/// Whether nobody can write to the container just now.
fn is_frozen(scene: &Scene) -> bool {
    match File::create(scene.path("root/probe")) {
        Ok(_) => {
            fs::remove_file(scene.path("root/probe")).expect("it works");
            false
        }
        Err(e) => {
            assert_eq!(e.kind(), ErrorKind::ReadOnlyFilesystem);
            true
        }
    }
}

#[test]
fn container_that_is_written_to_is_refused_and_who_does_is_named() {
    let scene = mounted("");
    let file = File::create(scene.path("root/open")).unwrap();
    let pid = std::process::id();
    let command = fs::read_to_string("/proc/self/comm").unwrap();
    scene.run("commit box web:2").fails(4).stdout_is("").stderr_is(&format!(
        "
        ovlctl: cannot commit 'box': it is being written to by pid {pid} ({}, open file [DIR]/root/open)
        hint: end that first; --live takes what is there at each moment
        ",
        command.trim_end()
    ));
    assert!(!is_frozen(&scene));
    scene.run("commit --live box web:2").succeeds().stderr_is("web:2: 2 layers, 1 new, 5 B in [TIME]");
    drop(file);
    scene.run("commit box web:2").succeeds().stderr_is("web:2: 2 layers, 0 new, 5 B in [TIME]");
    assert!(!is_frozen(&scene));
}

#[test]
fn deleted_file_that_is_open_is_told_of() {
    let scene = mounted("");
    let _file = File::open(scene.path("root/mine")).unwrap();
    fs::remove_file(scene.path("root/mine")).unwrap();
    scene.run("commit box web:2").fails(4).stderr_has("open file [DIR]/root/mine (deleted))");
}

#[test]
fn container_that_is_read_is_committed() {
    let scene = mounted("");
    let _file = File::open(scene.path("root/mine")).unwrap();
    scene.run("commit box web:2").succeeds().stderr_is("web:2: 2 layers, 1 new, 5 B in [TIME]");
}

#[test]
fn nobody_writes_meanwhile_and_afterwards_all_can() {
    let scene = mounted("");
    let mut frozen = 0;
    let command = scene.command(&["commit", "box", "web:2"]);
    let output = tracer::run(&command, Stdio::null(), &scene.path(""), &mut |_| {
        frozen += usize::from(is_frozen(&scene));
        Happens::Nothing
    });
    assert!(output.status.success(), "{output:?}");
    assert!(frozen > 20, "it was frozen at {frozen} calls");
    assert!(!is_frozen(&scene));
}

/// Lets something happen to the command, and not to who watches it, at a call at which the container is frozen.
fn befalls(scene: &Scene, happens: &mut dyn FnMut(&Call) -> Happens) {
    let mut done = false;
    let command = scene.command(&["commit", "box", "web:2"]);
    let output = tracer::run(&command, Stdio::null(), &scene.path(""), &mut |call| {
        if done || call.number != nix::libc::SYS_mkdirat || !is_frozen(scene) {
            return Happens::Nothing;
        }
        done = true;
        happens(call)
    });
    assert!(done && !output.status.success(), "{output:?}");
}

/// The same; then nothing is frozen any more.
fn outlives(happens: Happens) {
    let scene = mounted("");
    befalls(&scene, &mut |_| happens);
    assert!(!is_frozen(&scene), "{happens:?}");
    scene.run("commit box web:2").succeeds();
}

#[test]
fn killed_commit_leaves_nothing_frozen() {
    outlives(Happens::Kill);
}

#[test]
fn what_a_commit_killed_with_its_watcher_left_frozen_the_next_command_thaws() {
    let scene = mounted("");
    befalls(&scene, &mut |call| {
        // Its only child.
        let watcher = fs::read_to_string(format!("/proc/{0}/task/{0}/children", call.thread)).expect("/proc");
        let watcher = watcher.trim().parse().expect("one process");
        kill(Pid::from_raw(watcher), Signal::SIGKILL).expect("it is there");
        Happens::Kill
    });
    assert!(is_frozen(&scene));
    // It can thaw nothing, and leaves it to a process that it starts before.
    scene.run("load image.tar").succeeds();
    scene.swept();
    assert!(!is_frozen(&scene));
    scene.run("check").succeeds();
}

#[test]
fn interrupted_commit_leaves_nothing_frozen() {
    outlives(Happens::Signalled(Signal::SIGINT));
    outlives(Happens::Signalled(Signal::SIGTERM));
}

#[test]
fn commit_that_fails_leaves_nothing_frozen() {
    let scene = mounted("");
    fs::write(scene.path("root/large"), "x".repeat(100_000)).unwrap();
    let mut failing = false;
    let command = scene.command(&["commit", "box", "web:2"]);
    let output = tracer::run(&command, Stdio::null(), &scene.path(""), &mut |call| {
        failing |= is_frozen(&scene) && call.number == nix::libc::SYS_mkdirat;
        if failing && call.number == nix::libc::SYS_openat && call.arguments[2] & 0o100 != 0 {
            return Happens::Fails(nix::errno::Errno::EIO);
        }
        Happens::Nothing
    });
    assert!(failing && !output.status.success(), "{output:?}");
    assert!(!is_frozen(&scene));
}

#[test]
fn container_mounted_in_another_namespace_is_frozen_too() {
    let scene = mounted("");
    let mut sleeper = std::process::Command::new("unshare")
        .args(["--mount", "sh", "-c", "exec 3>root/elsewhere; echo; read x"])
        .current_dir(scene.path(""))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    std::io::Read::read_exact(sleeper.stdout.as_mut().unwrap(), &mut [0]).unwrap();
    let pid = sleeper.id();
    scene
        .run("commit box web:2")
        .fails(4)
        .stderr_has(&format!("pid {pid} (sh, open file [DIR]/root/elsewhere)"));
    drop(sleeper.stdin.take());
    sleeper.wait().unwrap();
    scene.run("commit box web:2").succeeds();
}
