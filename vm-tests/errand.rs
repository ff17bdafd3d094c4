//! What only a process of its own can do: live in a user namespace, or be a program in a layer.
//!
//! A fact starts this same program again, which is there in a guest too, with an errand as its arguments; what that prints
//! is what was seen.

use std::fs;
use std::io::{self, Read, Write};
use std::process::{Command, ExitCode, Stdio};

use nix::sched::{CloneFlags, unshare};
use ovlctl::sys::script::{Call, Slots};

use crate::fact::{Saw, each, told};
use crate::scene::Tree;

const ERRAND: &str = "--errand";

type Errand = fn(&[String]) -> Saw;

/// What can be asked for, by name.
const ERRANDS: &[(&str, Errand)] = &[
    ("wait", wait),
    ("wait-in-user-namespace", wait_in_user_namespace),
    ("mount-in-user-namespace", mount_in_user_namespace),
];

/// Runs the errand that this process was started for; `None` where it is none. `main` asks before all else, while there
/// is but one thread.
pub(crate) fn run() -> Option<ExitCode> {
    let mut arguments = std::env::args().skip(1);
    if arguments.next()? != ERRAND {
        return None;
    }
    let name = arguments.next()?;
    let (_, errand) = ERRANDS.iter().find(|(known, _)| *known == name)?;
    let said = told(errand(&arguments.collect::<Vec<_>>()));
    io::stdout().write_all(said.as_bytes()).ok()?;
    Some(ExitCode::SUCCESS)
}

/// The arguments that make this program run an errand.
pub(crate) fn arguments<'a>(name: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    [&[ERRAND, name], more].concat()
}

/// Runs an errand in the scene's folder, and returns what it saw.
pub(crate) fn send(name: &str, more: &[&str]) -> Saw {
    let output = Command::new("/proc/self/exe").args(arguments(name, more)).stdin(Stdio::null()).output()?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Says that it runs, and ends with its input.
fn wait(_: &[String]) -> Saw {
    io::stdout().write_all(b"ready")?;
    io::stdout().flush()?;
    io::stdin().read_to_end(&mut Vec::new())?;
    Ok(String::new())
}

/// The same in a user namespace of its own, which whoever asked maps.
fn wait_in_user_namespace(arguments: &[String]) -> Saw {
    unshare(CloneFlags::CLONE_NEWUSER)?;
    wait(arguments)
}

/// As root of a user namespace mounts the scene's lower, and removes `f` from it: what that leaves in upper.
fn mount_in_user_namespace(arguments: &[String]) -> Saw {
    unshare(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNS)?;
    fs::write("/proc/self/setgroups", "deny")?;
    fs::write("/proc/self/uid_map", "0 0 1")?;
    fs::write("/proc/self/gid_map", "0 0 1")?;
    let layers = "upperdir=upper,workdir=work,lowerdir=lower";
    let given = arguments.iter().filter(|options| !options.is_empty()).map(|options| format!("{options},"));
    let data = format!("{}{layers}", given.collect::<String>());
    let (source, target) = ("overlay".into(), "m".into());
    let attributes = ovlctl::sys::mount::Attributes::empty();
    Call::Mount { source, target, attributes, data: data.into() }.make(&mut Slots::new())?;
    each([Tree::at("m").unlink("f"), Tree::at("upper").kind("f")])
}
