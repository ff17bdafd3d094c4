//! What befalls a command, and the store below it: signals, limits, a store that is moved, deleted, of a later format or on a
//! filesystem that goes away, and clocks that jump.

use std::fs;
use std::os::unix::fs::symlink;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Output};

use nix::sys::signal::Signal;
use rustix::mount::{MountFlags, UnmountFlags, mount_remount, unmount};

use crate::support::case::{Case, Stage};
use crate::support::tracer::{Call, Happens};
use crate::support::tree::same;
use crate::support::{Scene, cases, image, layer};

/// So many calls of a command at which something happens.
const SAMPLE: usize = 4;

/// Lets something happen at some calls of the command, one after the other, and looks at what it came to each time.
fn at_some(
    case: &Case,
    happens: &mut dyn FnMut(&Stage<'_>, &Call) -> Happens,
    then: &mut dyn FnMut(&Stage<'_>, &Output),
) {
    let stage = Stage::set(case);
    stage.reset();
    let mut calls = Vec::new();
    let whole = stage.traced(&mut |call| {
        calls.extend(call.in_main.then_some(call.nth));
        Happens::Nothing
    });
    assert!(whole.status.success(), "{}, traced: {whole:?}", case.words);
    for &nth in calls.iter().step_by(calls.len().div_ceil(SAMPLE)) {
        stage.reset();
        let output =
            stage.traced(&mut |call| if call.nth == nth { happens(&stage, call) } else { Happens::Nothing });
        is_told(case, &output);
        then(&stage, &output);
    }
    stage.clear();
}

/// A command that failed says so in one line, and perhaps a hint.
fn is_told(case: &Case, output: &Output) {
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(!told.contains("panicked"), "{}: {told}", case.words);
    if output.status.code().is_some_and(|code| code != 0) {
        let faults = told.lines().filter(|line| line.starts_with("ovlctl: ")).count();
        assert_eq!(faults, 1, "{}: {told}", case.words);
        assert!(output.status.code().is_some_and(|code| code <= 6), "{}: {output:?}", case.words);
    }
}

#[track_caller]
fn is_sound(stage: &Stage<'_>, output: &Output) {
    stage.is_sound(true).unwrap_or_else(|problem| panic!("{output:?}\n{problem}"));
}

fn signalled(case: &Case, signal: Signal) {
    at_some(case, &mut |_, _| Happens::Signalled(signal), &mut |stage, output| {
        // Unless what got it was in the background.
        assert!(output.status.success() || output.status.signal() == Some(signal as i32), "{output:?}");
        is_sound(stage, output);
    });
}

#[test]
fn ctrl_c_ends_a_command_and_leaves_a_sound_store() {
    for case in [&cases::LOAD, &cases::MOUNT_OF_A_CONTAINER] {
        signalled(case, Signal::SIGINT);
    }
}

#[test]
fn sigterm_ends_a_command_and_leaves_a_sound_store() {
    for case in [&cases::LOAD_FROM_A_PIPE, &cases::LOAD_WHILE_IT_COMES, &cases::RM_IN_THE_BACKGROUND] {
        signalled(case, Signal::SIGTERM);
    }
}

#[test]
fn a_store_that_is_moved_below_a_command_is_sound_when_it_is_back() {
    for case in [&cases::LOAD, &cases::MOUNT_OF_AN_IMAGE, &cases::RM_OF_AN_IMAGE] {
        let away = |stage: &Stage<'_>, _: &Call| {
            fs::rename(stage.scene.store(), stage.scene.path("away")).expect("rename");
            Happens::Nothing
        };
        at_some(case, &mut { away }, &mut |stage, output| {
            // The command may have begun a new one there.
            let _ = fs::remove_dir_all(stage.scene.store());
            fs::rename(stage.scene.path("away"), stage.scene.store()).expect("rename");
            is_sound(stage, output);
        });
    }
}

#[test]
fn a_store_that_is_deleted_below_a_command_can_be_made_anew() {
    for case in [&cases::MOUNT_OF_AN_ARCHIVE, &cases::PRUNE] {
        let gone = |stage: &Stage<'_>, _: &Call| {
            let _ = fs::remove_dir_all(stage.scene.store());
            Happens::Nothing
        };
        at_some(case, &mut { gone }, &mut |stage, _| {
            stage.scene.let_go();
            stage.scene.run("load web.tar").succeeds();
            stage.scene.run("check --deep").succeeds().stdout_is("");
        });
    }
}

#[test]
fn a_filesystem_that_goes_away_below_a_command_takes_only_its_store_along() {
    let mut gone = |stage: &Stage<'_>, _: &Call| {
        unmount(stage.scene.store(), UnmountFlags::DETACH).expect("umount -l");
        Happens::Nothing
    };
    let case = Case { after: &["tmpfs store"], ..cases::LOAD_THAT_MAKES_THE_STORE };
    at_some(&case, &mut gone, &mut |stage, _| {
        assert!(stage.scene.overlays().is_empty());
        stage.scene.run("load web.tar").succeeds();
        stage.scene.run("check --deep").succeeds().stdout_is("");
    });
}

#[test]
fn a_filesystem_that_becomes_read_only_below_a_command_is_told() {
    for case in [&cases::LOAD, &cases::MOUNT_OF_AN_IMAGE, &cases::RM_OF_AN_IMAGE] {
        let remount = |stage: &Stage<'_>, flags| mount_remount(stage.scene.path(""), flags, "");
        let mut read_only = |stage: &Stage<'_>, _: &Call| {
            // EBUSY: a file is just being written, and the kernel lets it.
            let _ = remount(stage, MountFlags::RDONLY);
            Happens::Nothing
        };
        at_some(case, &mut read_only, &mut |stage, output| {
            remount(stage, MountFlags::empty()).expect("writable again");
            let told = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success() || told.to_lowercase().contains("read-only file"), "{told}");
            is_sound(stage, output);
        });
    }
}

#[test]
fn no_clock_decides_anything() {
    const YEAR_2100: i64 = 4_102_444_800;
    for case in [&cases::MOUNT_OF_AN_ARCHIVE, &cases::UMOUNT] {
        let stage = Stage::set(case);
        // Ever on, ever back, at either end, and now here, now there.
        let clocks: [fn(usize) -> i64; 4] = [
            |_| 0,
            |_| YEAR_2100,
            |nth| YEAR_2100 - nth as i64,
            |nth| if nth % 2 == 0 { -1 } else { YEAR_2100 },
        ];
        for clock in clocks {
            stage.reset();
            let output = stage.traced(&mut |call| Happens::Tells(clock(call.nth)));
            assert!(output.status.success(), "{output:?}");
            let state = stage.is_sound(true).unwrap_or_else(|problem| panic!("{problem}"));
            assert_eq!(state, stage.done);
        }
        stage.clear();
    }
}

#[test]
fn the_time_that_is_recorded_is_the_clock_s() {
    let stage = Stage::set(&cases::LOAD);
    stage.reset();
    let output = stage.traced(&mut |_| Happens::Tells(86_400));
    assert!(output.status.success(), "{output:?}");
    let images = stage.scene.run("images --json").succeeds().json();
    let loaded =
        images.as_array().expect("rows").iter().map(|row| row["loaded"].as_str().unwrap_or_default());
    assert!(loaded.into_iter().any(|time| time.starts_with("1970-01-02T00:00:00")), "{images}");
    stage.clear();
}

/// Runs `ovlctl` within a limit of prlimit(1).
fn limited(scene: &Scene, limit: &str, words: &str) -> crate::support::outcome::Outcome {
    let mut command = Command::new("prlimit");
    command.arg(limit).arg(env!("CARGO_BIN_EXE_ovlctl")).arg("--root").arg(scene.store());
    scene.outcome(command.args(words.split(' ')).current_dir(scene.path("")))
}

#[test]
fn too_few_open_files_are_told() {
    let scene = Scene::new();
    scene.save("many.tar", &image("many:1").layers(90));
    scene.mkdir("root");
    for words in ["load many.tar", "mount many.tar root", "check --deep"] {
        let outcome = limited(&scene, "--nofile=64:64", words);
        if outcome.code != Some(0) {
            outcome.fails(1).stderr_has("ovlctl: cannot ").stderr_has("Too many open files");
        }
        scene.run("check").succeeds().stdout_is("");
    }
    limited(&scene, "--nofile=8:8", "load many.tar").fails(1).stderr_has("Too many open files");
    scene.run("mount many.tar root").succeeds();
}

#[test]
fn a_file_that_is_larger_than_the_limit_is_told() {
    let scene = Scene::new();
    scene.save("big.tar", &image("big:1").layer(&layer().file("a", "1").file("big", &"x".repeat(2 << 20))));
    let said = limited(&scene, "--fsize=1000000:1000000", "load big.tar").fails(1).stderr;
    assert!(said.starts_with("ovlctl: cannot load big.tar: layer 1 of 1: entry 'big': "), "{said}");
    assert!(said.contains("File too large"), "{said}");
    assert_eq!(scene.kept_layers(), Vec::<String>::new());
    scene.swept();
    scene.run("load big.tar").succeeds();
}

#[test]
fn a_store_of_a_later_format_is_left_as_it_is() {
    let scene = Scene::with("web.tar", &image("web:1").layer(&layer().file("a", "1")));
    scene.mkdir("root");
    scene.swept();
    let format = scene.store().join("store.json");
    let ours = fs::read(&format).unwrap();
    scene.write("store/store.json", br#"{"format": 3, "of": "tomorrow"}"#);
    let before = scene.tree("store");
    for words in [
        "load web.tar",
        "mount web:1 root",
        "mount web.tar root",
        "umount --all",
        "images",
        "layers",
        "mounts",
        "inspect web:1",
        "tag web:1 x",
        "rm web:1",
        "prune",
        "check",
        "check --deep --repair --from web.tar",
        "df",
        "plan web:1 root",
        "sweep",
    ] {
        let said = scene.run(words).fails(6).stderr;
        let reason = "[STORE]/store.json: written in format 3, and this ovlctl knows format 2\nhint: use the ovlctl that made it, or a later one";
        assert!(said.trim_end().ends_with(reason) && said.starts_with("ovlctl: cannot "), "{words}: {said}");
        same(words, &scene.tree("store"), &before);
    }
    fs::write(format, ours).unwrap();
}

#[test]
fn a_store_that_a_killed_command_was_making_is_made() {
    let scene = Scene::new();
    for name in ["overlay2/l", "layers", "trial"] {
        scene.mkdir(&format!("store/{name}"));
    }
    scene.save("web.tar", &image("web:1").layer(&layer().file("a", "1")));
    scene.run("check").succeeds();
    scene.run("load web.tar").succeeds();
    scene.run("images -q").succeeds().stdout_is(&image("web:1").layer(&layer().file("a", "1")).id().short());
}

#[test]
fn short_names_that_a_killed_command_left_are_no_problem_and_pruned() {
    let scene = Scene::with("web.tar", &image("web:1").layer(&layer().file("a", "1")));
    let link = scene.store().join("overlay2/l").join("A".repeat(26));
    symlink(format!("../{}/diff", "0".repeat(64)), &link).unwrap();
    scene.run("check").succeeds().stdout_is("");
    scene.run("prune").succeeds();
    assert!(link.symlink_metadata().is_err(), "it is still there");
}

#[test]
fn a_container_that_a_killed_mount_left_does_not_keep_its_image() {
    let scene = Scene::with("web.tar", &image("web:1").layer(&layer().file("a", "1")));
    scene.mkdir("root");
    scene.run("mount --name box web:1 root").succeeds();
    scene.run("umount root").succeeds();
    let record = scene.store().join("containers/box.json");
    let text = fs::read_to_string(&record).unwrap();
    fs::write(&record, text.replace("\"unfinished\": false", "\"unfinished\": true")).unwrap();
    scene.run("mounts -q").succeeds().stdout_is("");
    scene.run("rm web:1").succeeds();
    assert_eq!(scene.kept_layers(), Vec::<String>::new());
}

#[test]
fn an_image_that_cannot_get_its_name_is_not_there() {
    let scene = Scene::new();
    scene.save("base.tar", &image("base:1").layer(&layer().file("a", "1")));
    scene.save("web.tar", &image("web:1").layer(&layer().file("a", "2")));
    scene.run("load base.tar").succeeds();
    // Nothing can be renamed to a directory.
    let names = scene.store().join("names.json");
    let before = fs::read(&names).unwrap();
    fs::remove_file(&names).unwrap();
    fs::create_dir(&names).unwrap();
    scene.run("load web.tar").fails(1);
    fs::remove_dir(&names).unwrap();
    fs::write(&names, before).unwrap();
    assert_eq!(scene.run("images -q").succeeds().lines().len(), 1);
}
