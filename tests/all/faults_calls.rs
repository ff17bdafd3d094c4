//! Each verb with one system call after the other failing: the verb does what it was to do, or leaves all as it was; it says in one
//! line what failed, and the store opens and is sound.
//!
//! SQLite is tested so. Here some calls of each verb fail; with `OVLCTL_EVERY_CALL` set, all of them.

use std::process::Output;

use nix::errno::Errno;

use crate::support::case::{Case, Stage, every_call, tell};
use crate::support::cases;
use crate::support::kinds::{
    is_of_copies, is_of_descriptors, is_of_files, is_of_output, is_of_room, is_of_signals, is_of_threads,
    is_of_trials,
};
use crate::support::tracer::{Call, Happens};

/// About so many calls of a verb fail where not all do.
const SAMPLE: usize = 6;

#[test]
fn load_that_makes_the_store() {
    fails(&cases::LOAD_THAT_MAKES_THE_STORE, Errno::EIO, is_of_files);
}

#[test]
fn load_that_tries_the_filesystem() {
    fails(&cases::LOAD_THAT_MAKES_THE_STORE, Errno::EIO, is_of_trials);
}

#[test]
fn load() {
    fails(&cases::LOAD, Errno::EIO, is_of_files);
}

#[test]
fn load_from_a_pipe() {
    fails(&cases::LOAD_FROM_A_PIPE, Errno::EIO, is_of_files);
}

#[test]
fn load_while_it_comes() {
    fails(&cases::LOAD_WHILE_IT_COMES, Errno::EIO, is_of_files);
}

#[test]
fn load_that_takes_a_name() {
    fails(&cases::LOAD_THAT_TAKES_A_NAME, Errno::EIO, is_of_files);
}

#[test]
fn mount_of_an_image() {
    fails(&cases::MOUNT_OF_AN_IMAGE, Errno::EIO, is_of_files);
}

#[test]
fn mount_of_an_archive() {
    fails(&cases::MOUNT_OF_AN_ARCHIVE, Errno::EIO, is_of_files);
}

#[test]
fn mount_read_only() {
    fails(&cases::MOUNT_READ_ONLY, Errno::EIO, is_of_files);
}

#[test]
fn mount_with_an_upper() {
    fails(&cases::MOUNT_WITH_AN_UPPER, Errno::EIO, is_of_files);
}

#[test]
fn mount_of_an_archive_that_cannot_be_told() {
    fails(&cases::MOUNT_OF_AN_ARCHIVE, Errno::EIO, is_of_output);
}

#[test]
fn mount_in_the_store() {
    fails(&cases::MOUNT_IN_THE_STORE, Errno::EIO, is_of_files);
}

#[test]
fn mount_of_a_container() {
    fails(&cases::MOUNT_OF_A_CONTAINER, Errno::EIO, is_of_files);
}

#[test]
fn umount() {
    fails(&cases::UMOUNT, Errno::EIO, is_of_files);
}

#[test]
fn umount_that_removes() {
    fails(&cases::UMOUNT_THAT_REMOVES, Errno::EIO, is_of_files);
}

#[test]
fn rm_of_a_container() {
    fails(&cases::RM_OF_A_CONTAINER, Errno::EIO, is_of_files);
}

#[test]
fn snapshot() {
    fails(&cases::SNAPSHOT, Errno::EIO, is_of_files);
}

#[test]
fn reset() {
    fails(&cases::RESET, Errno::EIO, is_of_files);
}

#[test]
fn branch() {
    fails(&cases::BRANCH, Errno::EIO, is_of_files);
}

#[test]
fn rm_of_a_snapshot() {
    fails(&cases::RM_OF_A_SNAPSHOT, Errno::EIO, is_of_files);
}

#[test]
fn rm_of_a_container_with_snapshots() {
    fails(&cases::RM_OF_A_CONTAINER_WITH_SNAPSHOTS, Errno::EIO, is_of_files);
}

#[test]
fn rm_of_an_image() {
    fails(&cases::RM_OF_AN_IMAGE, Errno::EIO, is_of_files);
}

#[test]
fn rm_of_a_name() {
    fails(&cases::RM_OF_A_NAME, Errno::EIO, is_of_files);
}

#[test]
fn rm_in_the_background() {
    fails(&cases::RM_IN_THE_BACKGROUND, Errno::EIO, is_of_files);
}

#[test]
fn prune() {
    fails(&cases::PRUNE, Errno::EIO, is_of_files);
}

#[test]
fn tag() {
    fails(&cases::TAG, Errno::EIO, is_of_files);
}

#[test]
fn recovery() {
    fails(&cases::RECOVERY, Errno::EIO, is_of_files);
}

#[test]
fn check_that_repairs() {
    fails(&cases::CHECK_THAT_REPAIRS, Errno::EIO, is_of_files);
}

#[test]
fn check_that_proves() {
    fails(&cases::CHECK_THAT_PROVES, Errno::EIO, is_of_files);
}

#[test]
fn save() {
    fails(&cases::SAVE, Errno::EIO, is_of_files);
}

#[test]
fn save_compressed() {
    fails(&cases::SAVE_COMPRESSED, Errno::EIO, is_of_files);
}

#[test]
fn export() {
    fails(&cases::EXPORT, Errno::EIO, is_of_files);
}

#[test]
fn export_of_a_container() {
    fails(&cases::EXPORT_OF_A_CONTAINER, Errno::EIO, is_of_files);
}

#[test]
fn commit() {
    fails(&cases::COMMIT, Errno::EIO, is_of_files);
}

#[test]
fn commit_of_a_mounted_container() {
    fails(&cases::COMMIT_OF_A_MOUNTED_CONTAINER, Errno::EIO, is_of_files);
}

#[test]
fn squash() {
    fails(&cases::SQUASH, Errno::EIO, is_of_files);
}

/// The verbs that do most.
const SOME: [&Case; 2] = [&cases::MOUNT_OF_AN_ARCHIVE, &cases::RM_OF_AN_IMAGE];

#[test]
fn no_room() {
    SOME.iter().for_each(|case| fails(case, Errno::ENOSPC, is_of_room));
}

#[test]
fn no_room_within_the_quota() {
    SOME.iter().for_each(|case| fails(case, Errno::EDQUOT, is_of_room));
}

#[test]
fn read_only() {
    SOME.iter().for_each(|case| fails(case, Errno::EROFS, is_of_room));
}

#[test]
fn no_descriptor() {
    SOME.iter().for_each(|case| fails(case, Errno::EMFILE, is_of_descriptors));
}

#[test]
fn no_second_descriptor() {
    fails(&cases::MOUNT_OF_AN_ARCHIVE, Errno::EMFILE, is_of_copies);
}

#[test]
fn no_memory() {
    SOME.iter().for_each(|case| fails(case, Errno::ENOMEM, is_of_files));
}

#[test]
fn no_thread() {
    fails(&cases::MOUNT_OF_AN_ARCHIVE, Errno::EAGAIN, is_of_threads);
}

#[test]
fn interrupted() {
    SOME.iter().for_each(|case| fails(case, Errno::EINTR, is_of_signals));
}

/// Lets one call of the command after the other fail.
fn fails(case: &Case, errno: Errno, which: fn(&Call) -> bool) {
    let stage = Stage::set(case);
    let calls = stage.count(which);
    let step = if every_call() || calls < 2 * SAMPLE { 1 } else { calls.div_ceil(SAMPLE) };
    let (mut runs, mut problems) = (0, Vec::new());
    for nth in (1..=calls + calls / 20).step_by(step) {
        let Some((call, output)) = stage.at(nth, which, Happens::Fails(errno)) else { continue };
        runs += 1;
        if let Err(problem) = is_right(case, &stage, &output) {
            problems.push(format!("call {} (number {}): {problem}\n{output:?}", call.nth, call.number));
        }
    }
    stage.clear();
    tell(&format!(
        "{}, {errno:?}: {calls} calls, {runs} failed: {} different stores, {} wrong",
        case.words,
        stage.stores(),
        problems.len()
    ));
    assert!(runs > 0, "{}: nothing failed", case.words);
    assert!(problems.is_empty(), "{}: {} of {runs}\n{}", case.words, problems.len(), problems.join("\n"));
}

/// What ends well is done, and what does not has changed nothing and says why; either way the store is sound.
fn is_right(case: &Case, stage: &Stage<'_>, output: &Output) -> Result<(), String> {
    let told = String::from_utf8_lossy(&output.stderr);
    if output.status.code().is_none_or(|code| code > 6) || told.contains("panicked") {
        return Err("a crash".to_owned());
    }
    let state = stage.is_sound(false)?;
    if output.status.success() {
        return if state == stage.done {
            Ok(())
        } else {
            Err(format!("said to be done, and is not: {state:#?}"))
        };
    }
    names_what_failed(&told)?;
    let only_unsaid = told.contains("cannot write to standard output") && state == stage.done;
    if state == stage.before || case.halves || only_unsaid {
        Ok(())
    } else {
        Err(format!("failed, and did it or half: {state:#?}"))
    }
}

/// Whether the one line of an error names a thing between what could not be done and what the system says.
fn names_what_failed(told: &str) -> Result<(), String> {
    let faults: Vec<&str> = told.lines().filter(|line| line.starts_with("ovlctl: ")).collect();
    let [fault] = faults[..] else {
        // Where the very line could not be written.
        return if told.is_empty() { Ok(()) } else { Err(format!("{} errors are told", faults.len())) };
    };
    let whole =
        ["standard output", "the process that reads", "no space left on ", "read-only filesystem", "problem"];
    if fault.matches(": ").count() > 2 || whole.iter().any(|words| fault.contains(words)) {
        Ok(())
    } else {
        Err("it does not say what failed".to_owned())
    }
}
