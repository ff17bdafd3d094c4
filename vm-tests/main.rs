//! The kernel lab: what overlayfs does, one fact a test, over kernels and filesystems.
//!
//! One program with several lives. On the host, `lab boot` starts machines and keeps what they find in a run's folder; in a
//! guest it is the init that runs facts; for nextest it is a list of tests, made of a run's folder; `lab power-cut` cuts a
//! guest's power at hundreds of points; and called `ovlctl` it is ovlctl, for facts about that. `README.md` tells how to use it.
//!
//! | file | |
//! | --- | --- |
//! | `fact.rs`, `kernel.rs` | what a fact is, and what is expected of which kernel |
//! | `facts/` | the facts, a file a group |
//! | `scene.rs`, `scene/` | what a fact looks at |
//! | `errand.rs` | what only a process of its own can do |
//! | `raw.rs` | system calls that have no safe wrapper: all the `unsafe` there is |
//! | `record.rs` | what machines say |
//! | `story.rs`, `story/` | what happens before the power goes, and what ovlctl has promised then |
//! | `guest.rs`, `guest/` | the guest's init, and the running of facts one by one |
//! | `host.rs`, `host/` | kernels, emulators, containers, the run's folder, reports |
//! | `broken.rs` | what the harness' own tests break |

mod kernel;
mod fact;
mod scene;
mod errand;
mod raw;
mod facts;

mod record;
mod story;
mod guest;
mod host;

mod broken;

use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    if let Some(done) = errand::run() {
        return done;
    }
    let arguments: Vec<_> = std::env::args_os().collect();
    // Or what it calls the processes that it starts: `ovlctl-loader`.
    if arguments.first().is_some_and(|name| name.as_encoded_bytes().starts_with(b"ovlctl")) {
        return ovlctl::cli::main();
    }
    let words: Vec<_> = arguments.iter().skip(1).map(|word| word.to_str().unwrap_or_default()).collect();
    match words.as_slice() {
        ["boot", ..] => host::boot(arguments.into_iter().skip(2)),
        ["power-cut", ..] => host::power_cut(arguments.into_iter().skip(2)),
        ["facts", dir] => guest::facts(Path::new(dir)),
        ["catalogue"] => fact::catalogue(),
        ["worker", dir, filesystem] => guest::worker(Path::new(dir), filesystem),
        _ if rustix::process::getpid().is_init() => guest::init(),
        _ => host::report(),
    }
}
