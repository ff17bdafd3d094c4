//! A mount in namespaces of a thread's own, in which something is run.

use std::fs;
use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::thread;

use super::error::Error;
use super::perform::perform;
use super::plan::Plan;
use super::script::memory;
use super::target::Target;
use crate::sys::caps::{self, TO_LOOK};
use crate::sys::mount;
use crate::sys::namespace::{self, Network};
use crate::sys::script::Slots;

/// Where the mount is: on a tmpfs over a directory that every /proc has.
const PLACE: &str = "/proc/driver";

/// Mounts `plan` where nobody else sees it, and does something there. What `act` starts is in namespaces of its own; no
/// trace stays of anything.
pub fn within<T: Send>(
    plan: &Plan,
    network: Network,
    act: impl FnOnce(&Path) -> io::Result<T> + Send,
) -> Result<T, Error> {
    thread::scope(|scope| {
        let thread = thread::Builder::new().name("room".to_owned()).spawn_scoped(scope, || {
            let root = place()?;
            perform(plan, &Target::open(&root)?)?;
            namespace::own_namespaces(network)?;
            Ok(act(&root)?)
        })?;
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// Puts `tree`, a mount that nobody sees, where nobody else sees it, and does something there, in a thread that keeps no
/// capability but those for looking.
pub fn attached<T: Send>(
    tree: &(impl AsFd + Sync),
    act: impl FnOnce(&Path) -> io::Result<T> + Send,
) -> Result<T, Error> {
    thread::scope(|scope| {
        let thread = thread::Builder::new().name("room".to_owned()).spawn_scoped(scope, || {
            let root = place()?;
            mount::attach(tree, &root)?;
            caps::drop_all_but(TO_LOOK);
            Ok(act(&root)?)
        })?;
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// Gives this thread a mount namespace, and in it an empty directory for a mount.
fn place() -> Result<PathBuf, Error> {
    mount::own_mount_namespace()?;
    let mut calls = Vec::new();
    memory(PLACE, None, &mut calls);
    let mut slots = Slots::new();
    calls.iter().try_for_each(|call| call.make(&mut slots))?;
    let root = Path::new(PLACE).join("root");
    fs::create_dir(&root)?;
    Ok(root)
}
