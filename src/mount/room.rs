//! A mount in namespaces of a thread's own, in which something is run.

use std::fs;
use std::io;
use std::path::Path;
use std::thread;

use super::error::Error;
use super::perform::perform;
use super::plan::Plan;
use super::script::memory;
use super::target::Target;
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
            mount::own_mount_namespace()?;
            let mut calls = Vec::new();
            memory(PLACE, None, &mut calls);
            let mut slots = Slots::new();
            calls.iter().try_for_each(|call| call.make(&mut slots))?;
            let root = Path::new(PLACE).join("root");
            fs::create_dir(&root)?;
            perform(plan, &Target::open(&root)?)?;
            namespace::own_namespaces(network)?;
            Ok(act(&root)?)
        })?;
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}
