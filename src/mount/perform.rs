//! Carries a plan out, and looks at what came of it.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::thread;

use super::error::{Error, Role, Shown};
use super::explain;
use super::inuse::{self, InUse};
use super::plan::{Access, Method, Plan};
use super::script::{LEAVE, Script, TARGET, TREE};
use super::table::{self, OverlayMount};
use super::target::Target;
use crate::sys::caps::{self, TO_MOUNT, TO_RETURN};
use crate::sys::dir::Dir;
use crate::sys::kmsg;
use crate::sys::mount;
use crate::sys::probe::{self, Absent, Layers};
use crate::sys::script::{Call, Slots};
use crate::sys::trace;
use crate::sys::{CallFailed, counted};

/// A mount that was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mounted {
    /// Its id, as in mountinfo.
    pub mount_id: u64,
    /// Where it is.
    pub target: PathBuf,
    /// How the layers were handed over.
    pub method: Method,
    /// What the kernel's log says of it; other mounts' sentences may be among them.
    pub warnings: Vec<String>,
}

/// Mounts `plan` on `target`: what appears there is what was asked for, or nothing does.
pub fn perform(plan: &Plan, target: &Target) -> Result<Mounted, Error> {
    let lacking = caps::missing(TO_MOUNT);
    if !lacking.is_empty() {
        return Err(Error::Capabilities(lacking));
    }
    let method = choose(plan)?;
    trace::done(|| format!("{}: layers are handed over {}", target.path().display(), why(plan, method)));
    let script = Script::of(plan, method)?;
    let lacking = caps::missing(if script.private { TO_RETURN } else { &[] });
    if !lacking.is_empty() {
        return Err(Error::Capabilities(lacking));
    }
    let claim = inuse::claim(plan)?;
    let log = kmsg::Mark::now();
    let _turn = target.turn()?;
    let mut slots = Slots::new();
    slots.put(TARGET, target.handle()?);
    let made = run(&script, plan, &mut slots).and_then(|()| {
        let tree = slots.get(TREE)?;
        let undo = Undo(tree);
        look(plan, &script, tree, false)?;
        let warnings = log.warnings();
        sure_after_all(plan, claim.state, &warnings)?;
        let mount_id = mount::mount_id(tree)?;
        undo.keep();
        trace::done(|| format!("{}: mounted, {}", target.path().display(), counted(script.lowers, "layer")));
        Ok(Mounted { mount_id, target: target.path().to_owned(), method, warnings })
    });
    made.map_err(|error| explain::explain(error, &log.since()))
}

/// Returns the method that is asked for, or the first that this kernel takes.
pub fn choose(plan: &Plan) -> Result<Method, Error> {
    let first = plan.lowers.first().ok_or(Error::NoLower)?;
    match (plan.method, layers(&Dir::open(&first.path)?)?) {
        (None, Layers::Handles) => Ok(Method::Fd),
        (None, Layers::Strings) => Ok(Method::Path),
        (None, Layers::Page) => Ok(Method::ProcFd),
        (Some(Method::Fd), Layers::Strings | Layers::Page) => Err(Error::NoMethod(Method::Fd)),
        (Some(Method::Path), Layers::Page) => Err(Error::NoMethod(Method::Path)),
        (Some(method), _) => Ok(method),
    }
}

/// Says how layers are handed over, and why so.
fn why(plan: &Plan, method: Method) -> String {
    let way = match method {
        Method::Fd => "as open directories",
        Method::Path => "as a string each",
        Method::ProcFd => "as numbers in /proc/self/fd",
        Method::Links => "as short names, all in one string",
    };
    let reason = match (plan.method, method) {
        (Some(_), _) => "as was asked for",
        (None, Method::Fd) => "the best way, which this kernel has",
        (None, Method::Path | Method::ProcFd | Method::Links) => "the best that this kernel has",
    };
    format!("{way} (--method {}): {reason}", method.name())
}

/// Finds out how this kernel takes layers, by offering it `layer`.
pub(super) fn layers(layer: &Dir) -> Result<Layers, Error> {
    probe::layers(layer).map_err(|failed| match Absent::from_errno(failed.errno) {
        Some(Absent::Overlay) => Error::NoOverlay,
        Some(Absent::NewCalls) => Error::TooOld,
        Some(Absent::Permission) | None => Error::Kernel(failed),
    })
}

/// Makes the mount that `plan` asks for where nobody sees it, looks at it, and lets it go.
pub(super) fn rehearse(plan: &Plan, method: Method) -> Result<(), Error> {
    unattached(plan, method).map(|_| ())
}

/// Makes the mount that `plan` asks for where nobody sees it: it is gone with what is returned.
fn unattached(plan: &Plan, method: Method) -> Result<Slots, Error> {
    let mut script = Script::of(plan, method)?;
    script.attach.clear();
    let log = kmsg::Mark::now();
    let mut slots = Slots::new();
    run(&script, plan, &mut slots).map_err(|error| explain::explain(error, &log.since()))?;
    Ok(slots)
}

/// A mount that nobody sees, and that is gone when this is dropped and all that was opened in it is closed.
#[derive(Debug)]
#[must_use]
pub struct Hidden {
    /// Its root.
    pub root: Dir,
    _tree: Slots,
}

/// Mounts `plan` nowhere.
pub fn hidden(plan: &Plan) -> Result<Hidden, Error> {
    let lacking = caps::missing(TO_MOUNT);
    if !lacking.is_empty() {
        return Err(Error::Capabilities(lacking));
    }
    let method = choose(plan)?;
    let _claim = inuse::claim(plan)?;
    let slots = unattached(plan, method)?;
    Ok(Hidden { root: Dir::of(slots.get(TREE)?, Path::new("/"))?, _tree: slots })
}

/// Makes the calls. A script with a mount namespace of its own runs in a thread, which takes that namespace with it.
fn run(script: &Script, plan: &Plan, slots: &mut Slots) -> Result<(), Error> {
    if !script.private {
        return steps(script, plan, slots);
    }
    thread::scope(|scope| {
        let thread = thread::Builder::new()
            .name("mount".to_owned())
            .spawn_scoped(scope, || steps(script, plan, slots))?;
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

fn steps(script: &Script, plan: &Plan, slots: &mut Slots) -> Result<(), Error> {
    let made = make(&script.build, slots)
        .and_then(|()| look(plan, script, slots.get(script.look)?, script.look == TREE))
        .and_then(|()| make(&script.attach, slots));
    if script.private && (made.is_err() || script.attach.is_empty()) {
        // The namespace would go with the thread, but when is the kernel's business: until then the upper directory
        // would be in use. Where there is none yet this fails, and changes nothing; who only looks may not be allowed to.
        let _left: Result<(), Error> = make(&[LEAVE], slots);
    }
    made
}

fn make(calls: &[Call], slots: &mut Slots) -> Result<(), Error> {
    calls.iter().try_for_each(|call| call.make(slots)).map_err(Error::Kernel)
}

/// Compares the mount with the plan. One that `is_nowhere` yet is not in mountinfo: of it only statfs(2) tells.
fn look(plan: &Plan, script: &Script, tree: &OwnedFd, is_nowhere: bool) -> Result<(), Error> {
    let frozen = |said| match &plan.access {
        Access::Writable { work, .. } => Error::Frozen { work: work.clone(), said },
        Access::ReadOnly | Access::Tmpfs { .. } => Error::Mismatch("it is read-only".to_owned()),
    };
    let writable = plan.access != Access::ReadOnly;
    if writable && !plan.options.read_only() && mount::is_read_only(tree)? {
        return Err(frozen(Vec::new()));
    }
    if is_nowhere {
        return Ok(());
    }
    let id = mount::mount_id(tree)?;
    let Some(found) = table::mounts()?.into_iter().find(|mount| mount.id == id) else { return Ok(()) };
    let Some(found) = OverlayMount::of(&found) else {
        return Err(Error::Mismatch(format!("a {} on {}", found.filesystem, Shown(&found.target))));
    };
    if found.lowers.len() != script.lowers {
        return Err(Error::Mismatch(format!("{} layers of {}", found.lowers.len(), script.lowers)));
    }
    if found.upper.is_some() != writable || found.work.is_some() != writable {
        return Err(Error::Mismatch("not with the upper directory that was asked for".to_owned()));
    }
    if writable && found.frozen && !plan.options.read_only() {
        return Err(frozen(Vec::new()));
    }
    Ok(())
}

/// Where it could not be asked before whether the upper directory is in use, the kernel's log is the last to know.
fn sure_after_all(plan: &Plan, sure: InUse, warnings: &[String]) -> Result<(), Error> {
    let warned = warnings.iter().any(|said| said.contains("is in-use as upperdir/workdir of another mount"));
    match (&plan.access, sure) {
        (Access::Writable { upper, .. }, InUse::Unknown) if warned => {
            Err(Error::InUse { role: Role::Upper, path: upper.clone(), by: None })
        }
        _ => Ok(()),
    }
}

/// Takes a mount away again unless it is kept.
#[must_use]
struct Undo<'a>(&'a OwnedFd);

impl Undo<'_> {
    fn keep(self) {
        std::mem::forget(self);
    }
}

impl Drop for Undo<'_> {
    fn drop(&mut self) {
        // Nothing more can be done here, and the error that leads here is the one to be told.
        let _gone: Result<(), CallFailed> = mount::detach(self.0);
    }
}
