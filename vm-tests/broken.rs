//! What goes wrong on purpose, for the harness' own tests.

use std::fs;
use std::thread;
use std::time::Duration;

use crate::fact::{Fact, Saw, fact};
use crate::scene::Scene;

/// Facts that only the harness' tests run.
pub(crate) const ALL: &[Fact] = &[
    fact("broken::is_expected_otherwise", answers).sees("something else"),
    fact("broken::is_well", answers).sees("an answer"),
    fact("broken::crashes", crashes).sees("an answer"),
    fact("broken::hangs", hangs).sees("an answer"),
    fact("broken::warns", warns).sees("an answer"),
    fact("broken::eats_all_memory", eats_all_memory).sees("an answer"),
    fact("broken::panics_the_kernel", panics_the_kernel).sees("an answer"),
    fact("broken::ends_the_machine", ends_the_machine).sees("an answer"),
    fact("broken::is_well_too", answers).sees("an answer"),
];

fn answers(_: &Scene) -> Saw {
    Ok("an answer".to_owned())
}

fn crashes(_: &Scene) -> Saw {
    std::process::abort()
}

fn hangs(_: &Scene) -> Saw {
    loop {
        thread::sleep(Duration::from_secs(3600));
    }
}

/// Writes what WARN_ON() would: no user can make a healthy kernel warn.
fn warns(scene: &Scene) -> Saw {
    fs::write("/dev/kmsg", "WARNING: CPU: 0 PID: 1 at fs/overlayfs/super.c:1 made_up+0x0/0x10\n")?;
    answers(scene)
}

fn eats_all_memory(_: &Scene) -> Saw {
    let mut hoard = Vec::new();
    loop {
        hoard.push(vec![1_u8; 1 << 24]);
    }
}

fn panics_the_kernel(scene: &Scene) -> Saw {
    fs::write("/proc/sysrq-trigger", "c")?;
    answers(scene)
}

/// Without a word: a machine that is gone is gone.
fn ends_the_machine(scene: &Scene) -> Saw {
    fs::write("/proc/sysrq-trigger", "o")?;
    thread::sleep(Duration::from_secs(3600));
    answers(scene)
}
