//! Each verb killed at its system calls, the background's and child processes' included: the next command succeeds, `check`
//! finds nothing, the store is as before or as after, nothing is left in it, and other containers keep their changes.
//!
//! Here a few calls of each verb are met; with `OVLCTL_EVERY_CALL` set, as `scripts/kill-every-call` does, all of them.

use crate::support::case::{Case, Stage, every_call, tell};
use crate::support::cases;
use crate::support::tracer::Happens;

/// So many calls of a verb are met where not all are.
const SAMPLE: usize = 6;

/// Kills the command at one call after the other.
fn survives(case: &Case) {
    survives_some(case, if every_call() { usize::MAX } else { SAMPLE });
}

/// Kills the command at so many of its calls.
fn survives_some(case: &Case, sample: usize) {
    let stage = Stage::set(case);
    let calls = stage.count(|_| true);
    let (mut runs, mut as_before, mut as_after, mut problems) = (0, 0, 0, Vec::new());
    // Threads are never quite as quick as the last time: some calls may come later.
    for nth in (1..=calls + calls / 20).step_by(calls.div_ceil(sample)) {
        let Some((call, _)) = stage.at(nth, |_| true, Happens::Kill) else { continue };
        runs += 1;
        match stage.is_sound(runs % 2 == 0) {
            Ok(state) => {
                as_before += usize::from(state == stage.before);
                as_after += usize::from(state == stage.done);
            }
            Err(problem) => {
                problems.push(format!("killed at call {nth} of {calls}, number {}: {problem}", call.number));
            }
        }
    }
    stage.clear();
    tell(&format!(
        "{}: {calls} calls, killed at {runs}: {as_before} times as before, {as_after} as after, {} different stores, {} wrong",
        case.words,
        stage.stores(),
        problems.len()
    ));
    assert!(
        problems.is_empty(),
        "{}: {} of {runs} runs\n{}",
        case.words,
        problems.len(),
        problems.join("\n")
    );
}

#[test]
fn load_that_makes_the_store() {
    survives(&cases::LOAD_THAT_MAKES_THE_STORE);
}

#[test]
fn load() {
    survives(&cases::LOAD);
}

#[test]
fn load_from_a_pipe() {
    survives(&cases::LOAD_FROM_A_PIPE);
}

#[test]
fn load_while_it_comes() {
    survives(&cases::LOAD_WHILE_IT_COMES);
}

#[test]
fn load_that_takes_a_name() {
    survives(&cases::LOAD_THAT_TAKES_A_NAME);
}

#[test]
fn mount_of_an_image() {
    survives(&cases::MOUNT_OF_AN_IMAGE);
}

#[test]
fn mount_of_an_archive() {
    survives(&cases::MOUNT_OF_AN_ARCHIVE);
}

#[test]
fn mount_read_only() {
    survives(&cases::MOUNT_READ_ONLY);
}

#[test]
fn mount_with_an_upper() {
    survives(&cases::MOUNT_WITH_AN_UPPER);
}

#[test]
fn mount_in_the_store() {
    survives(&cases::MOUNT_IN_THE_STORE);
}

#[test]
fn mount_of_a_container() {
    survives(&cases::MOUNT_OF_A_CONTAINER);
}

#[test]
fn umount() {
    survives(&cases::UMOUNT);
}

#[test]
fn umount_that_removes() {
    survives(&cases::UMOUNT_THAT_REMOVES);
}

#[test]
fn rm_of_a_container() {
    survives(&cases::RM_OF_A_CONTAINER);
}

#[test]
fn snapshot() {
    survives(&cases::SNAPSHOT);
}

#[test]
fn reset() {
    survives(&cases::RESET);
}

#[test]
fn branch() {
    survives(&cases::BRANCH);
}

#[test]
fn rm_of_a_snapshot() {
    survives(&cases::RM_OF_A_SNAPSHOT);
}

#[test]
fn rm_of_a_container_with_snapshots() {
    survives(&cases::RM_OF_A_CONTAINER_WITH_SNAPSHOTS);
}

#[test]
fn rm_of_an_image() {
    survives(&cases::RM_OF_AN_IMAGE);
}

#[test]
fn rm_of_a_name() {
    survives(&cases::RM_OF_A_NAME);
}

#[test]
fn rm_in_the_background() {
    survives(&cases::RM_IN_THE_BACKGROUND);
}

#[test]
fn prune() {
    survives(&cases::PRUNE);
}

#[test]
fn tag() {
    survives(&cases::TAG);
}

#[test]
fn recovery() {
    survives(&cases::RECOVERY);
}

#[test]
fn check_that_repairs() {
    survives(&cases::CHECK_THAT_REPAIRS);
}

#[test]
fn check_that_proves() {
    survives(&cases::CHECK_THAT_PROVES);
}

#[test]
fn save() {
    survives(&cases::SAVE);
}

#[test]
fn save_compressed() {
    survives(&cases::SAVE_COMPRESSED);
}

#[test]
fn export() {
    survives(&cases::EXPORT);
}

#[test]
fn export_of_a_container() {
    survives(&cases::EXPORT_OF_A_CONTAINER);
}

#[test]
fn probe() {
    // Of its thousands of calls nearly all try what the kernel can do.
    survives_some(&cases::PROBE, SAMPLE);
}

#[test]
fn commit() {
    survives(&cases::COMMIT);
}

#[test]
fn commit_of_a_mounted_container() {
    survives(&cases::COMMIT_OF_A_MOUNTED_CONTAINER);
}

#[test]
fn squash() {
    survives(&cases::SQUASH);
}
