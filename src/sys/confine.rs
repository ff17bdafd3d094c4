//! Giving up, before strangers' bytes are read, all that reading them does not need.
//!
//! A root directory of its own has nothing in it but what may be reached; capabilities go for good, the bounding set's too;
//! Landlock leaves a few directories and files to open; a filter of system calls leaves no way to mount, to run a program or to
//! reach a network. Each part holds where the kernel has it, and the others hold without it: `ovlctl probe` tells which those
//! are.

mod calls;
mod world;

use std::path::Path;

use super::caps::{self, Need};
use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, PathBeneath, PathFd, Ruleset,
    RulesetAttr, RulesetCreated, RulesetCreatedAttr, RulesetError, RulesetStatus, Scope,
};
pub use world::limit_world;

/// What can still be opened by its name.
#[derive(Debug, Clone, Copy, Default)]
pub struct Reach<'a> {
    /// Directories in which anything may be made, read, changed and removed, but nothing executed.
    pub writes: &'a [&'a Path],
    /// Files to read, and directories with all that is in them. What is not there is left out.
    pub reads: &'a [&'a Path],
}

/// Who holds the lock that is waited for, and since which start of the machine.
const PROC: [&str; 2] = ["/proc/locks", "/proc/sys/kernel/random/boot_id"];

/// Files of /proc that stay open: the rules are for inodes, and /proc makes new ones as it likes.
#[derive(Debug)]
#[must_use = "what may be read of /proc may be so as long as this is there"]
pub struct Confined {
    _proc: Vec<PathFd>,
}

/// Confines this thread and those that it starts, for good. To be called before any other is started.
///
/// Nothing is reported: what a kernel refuses here is what it lacks, and no part relies on another.
pub fn confine(needs: &[Need], reach: &Reach<'_>) -> Confined {
    // Read now: /proc/self/status cannot be opened afterwards.
    let _ = super::umask();
    let _ = limit_world(reach, &PROC.map(Path::new));
    caps::drop_all_but(needs);
    let _ = rustix::thread::set_no_new_privs(true);
    let proc: Vec<PathFd> = PROC.iter().filter_map(|path| PathFd::new(path).ok()).collect();
    let _ = limit_paths(reach, &proc);
    let _ = limit_calls();
    Confined { _proc: proc }
}

/// Leaves this thread no file to open but those in `reach`, and `also` these; `false` where the kernel has no such thing.
pub fn limit_paths(reach: &Reach<'_>, also: &[PathFd]) -> Result<bool, RulesetError> {
    let everything = AccessFs::from_all(TESTED);
    let write = everything & !(AccessFs::Execute | AccessFs::IoctlDev | AccessFs::MakeSock);
    let mut rules = ruleset(everything)?;
    for place in reach.writes.iter().filter_map(|path| PathFd::new(path).ok()) {
        rules = rules.add_rule(PathBeneath::new(place, write))?;
    }
    for path in reach.reads {
        let Some(place) = PathFd::new(path).ok().filter(has_place) else { continue };
        let read =
            if path.is_dir() { AccessFs::ReadFile | AccessFs::ReadDir } else { AccessFs::ReadFile.into() };
        rules = rules.add_rule(PathBeneath::new(place, read))?;
    }
    for file in also {
        rules = rules.add_rule(PathBeneath::new(file, AccessFs::ReadFile))?;
    }
    Ok(rules.restrict_self()?.ruleset != RulesetStatus::NotEnforced)
}

/// The newest of Landlock's versions whose rights were tried: what it adds later is another thing to refuse.
const TESTED: ABI = ABI::V5;

fn ruleset(everything: BitFlags<AccessFs>) -> Result<RulesetCreated, RulesetError> {
    Ruleset::default()
        // Before it knew this right (Linux 5.19) Landlock let nobody link or rename from one directory to another.
        .set_compatibility(CompatLevel::HardRequirement)
        .handle_access(AccessFs::Refer)?
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(everything)?
        .handle_access(AccessNet::from_all(ABI::V4))?
        .scope(Scope::from_all(ABI::V6))?
        .create()
}

/// Whether there can be a rule for a file. There is none (EBADFD) for a pipe without a name, as behind /dev/fd/63, which
/// stays open to whoever has it (landlock(7)).
fn has_place(file: &PathFd) -> bool {
    rustix::fs::fstatfs(file).is_ok_and(|fs| fs.f_type != PIPES)
}

/// The magic number of the filesystem that pipes lie on (linux/magic.h, `PIPEFS_MAGIC`).
const PIPES: rustix::fs::FsWord = 0x5049_5045;

/// Leaves this thread no system call that reading archives and writing layers does not need; `false` where there is no
/// filter for this machine.
pub fn limit_calls() -> Result<bool, seccompiler::Error> {
    let Some(filter) = calls::filter() else { return Ok(false) };
    seccompiler::apply_filter(&filter).map(|()| true)
}
