//! A mount in namespaces of a thread's own, in which something is run.

use std::fs;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::thread;

use super::error::Error;
use super::perform::perform;
use super::plan::Plan;
use super::script::memory;
use super::target::Target;
use crate::sys::background::OURSELVES;
use crate::sys::caps::{self, TO_LOOK};
use crate::sys::mount;
use crate::sys::namespace::{self, Home, Network, PLACE};
use crate::sys::script::Slots;

const ROOT: &str = "root";
const PROGRAM: &str = "ovlctl";

/// A directory that nobody else sees, with the mount, this program, and what is written for it.
#[derive(Debug)]
pub struct Room(PathBuf);

impl Room {
    /// The room at `path`, from inside.
    #[must_use]
    pub fn at(path: &Path) -> Self {
        Self(path.to_owned())
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The mount's root.
    #[must_use]
    pub fn root(&self) -> PathBuf {
        self.0.join(ROOT)
    }

    /// A file of this name in it.
    #[must_use]
    pub fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// This program, with `verb` as its command line's first word and the room as its second.
    ///
    /// It is a copy. A strange program can have the program run again that it was started by, with libraries of its own
    /// (`#!/proc/self/exe`), and write to that file afterwards (CVE-2019-5736).
    #[must_use]
    pub fn command(&self, verb: &str) -> Command {
        let mut command = Command::new(self.0.join(PROGRAM));
        command.arg0("ovlctl").arg(verb).arg(&self.0).env_clear();
        command
    }

    /// Puts a copy of this program there.
    fn equip(&self) -> Result<(), Error> {
        // With its mode.
        fs::copy(OURSELVES, self.file(PROGRAM))?;
        Ok(())
    }
}

/// Mounts `plan` where nobody else sees it, and starts something there, in namespaces of its own; then `attend`s to it where
/// this process came from. No trace stays of anything: the mount goes with the last process there.
pub fn within<T: Send>(
    plan: &Plan,
    network: Network,
    start: impl FnOnce(&Room) -> io::Result<Child> + Send,
    attend: impl FnOnce(Child) -> io::Result<T> + Send,
) -> Result<T, Error> {
    thread::scope(|scope| {
        let thread = thread::Builder::new().name("room".to_owned()).spawn_scoped(scope, || {
            let home = Home::here()?;
            let room = place()?;
            room.equip()?;
            perform(plan, &Target::open(&room.root())?)?;
            namespace::own_namespaces(network)?;
            // Who is started belongs to this thread, and ends with it.
            let mut child = start(&room)?;
            // All other mounts are in that namespace too, until the child has given them up; none is to be held here.
            if let Err(failed) = home.back() {
                child.kill()?;
                child.wait()?;
                return Err(failed.into());
            }
            Ok(attend(child)?)
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
            let root = place()?.root();
            mount::attach(tree, &root)?;
            caps::drop_all_but(TO_LOOK);
            Ok(act(&root)?)
        })?;
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// Gives this thread a mount namespace, and in it a room with an empty directory for a mount.
fn place() -> Result<Room, Error> {
    mount::own_mount_namespace()?;
    let mut calls = Vec::new();
    memory(PLACE, None, &mut calls);
    let mut slots = Slots::new();
    calls.iter().try_for_each(|call| call.make(&mut slots))?;
    let room = Room(PathBuf::from(PLACE));
    fs::create_dir(room.root())?;
    Ok(room)
}
