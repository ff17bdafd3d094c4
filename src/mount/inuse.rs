//! Whether an upper or work directory belongs to a live overlay.
//!
//! With `index=off` the kernel only notes it in its log and mounts: two overlays then write to one upper directory
//! ("undefined behavior", overlayfs.rst), and the second one empties the first one's work directory at once.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::error::{Error, Role};
use super::plan::{Access, Plan};
use super::table::{self, OverlayMount};
use crate::sys::CallFailed;
use crate::sys::mount::{self, FsContext, Pinned};

/// What is known of an upper directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InUse {
    /// No overlay has it.
    Free,
    /// A live overlay has it, or has the work directory.
    Taken,
    /// This kernel does not tell.
    Unknown,
}

/// Refuses a plan whose upper or work directory is in use.
pub fn refuse(plan: &Plan) -> Result<InUse, Error> {
    let Access::Writable { upper, work } = &plan.access else { return Ok(InUse::Free) };
    let state = ask(upper, work)?;
    if state != InUse::Taken {
        return Ok(state);
    }
    let (role, path, by) = match holder(upper, Role::Upper)? {
        Some(by) => (Role::Upper, upper, Some(by)),
        None => match holder(work, Role::Work)? {
            Some(by) => (Role::Work, work, Some(by)),
            None => (Role::Upper, upper, None),
        },
    };
    Err(Error::InUse { role, path: path.clone(), by })
}

/// Asks the kernel, in any namespace and for lazily unmounted ones too: makes an overlay, mounted nowhere, that has the
/// two as lower directories and an index. An index cannot share a directory with another overlay, so the kernel says
/// EBUSY (ovl_get_layers, ovl_report_in_use). `nfs_export` is what gives an index to an overlay without an upper
/// directory, and an overlay without an upper directory writes nothing and claims nothing.
pub fn ask(upper: &Path, work: &Path) -> Result<InUse, CallFailed> {
    let (upper, work) = (Pinned::open(upper)?, Pinned::open(work)?);
    let lowers = format!("{}:{}", upper.through_proc().display(), work.through_proc().display());
    let context = FsContext::open("overlay")?;
    let options = [("redirect_dir", "nofollow"), ("nfs_export", "on"), ("lowerdir", lowers.as_str())];
    if options.iter().any(|(key, value)| context.set(key, value).is_err()) {
        return Ok(InUse::Unknown);
    }
    match context.create() {
        Ok(()) => Ok(InUse::Free),
        Err(failed) if failed.kind() == io::ErrorKind::ResourceBusy => Ok(InUse::Taken),
        Err(_) => Ok(InUse::Unknown),
    }
}

/// Finds the mount point of the overlay that has `dir` as its upper or work directory, in any mount namespace.
fn holder(dir: &Path, role: Role) -> io::Result<Option<PathBuf>> {
    let dir = fs::canonicalize(dir)?;
    let matches = |overlay: &OverlayMount| {
        let given = if role == Role::Work { &overlay.work } else { &overlay.upper };
        given.as_deref().is_some_and(|given| names(given, &dir)).then(|| overlay.target.clone())
    };
    if let Some(target) = table::overlays()?.iter().find_map(matches) {
        return Ok(Some(target));
    }
    Ok(everywhere()?.iter().find_map(matches))
}

/// Whether a path of mountinfo means `dir`: it is as it was given, escapes and all, and may be relative to a folder
/// that nobody knows any more.
fn names(given: &Path, dir: &Path) -> bool {
    if given.is_relative() {
        return dir.ends_with(given);
    }
    given == dir || fs::canonicalize(given).is_ok_and(|given| given == dir)
}

/// Reads the overlays of every other mount namespace.
pub fn everywhere() -> io::Result<Vec<OverlayMount>> {
    let mut seen = vec![fs::read_link("/proc/thread-self/ns/mnt")?];
    let mut all = Vec::new();
    for process in fs::read_dir("/proc")? {
        let process = process?.path();
        let is_process = process
            .file_name()
            .and_then(|name| name.to_str())
            .is_some_and(|name| name.parse::<u32>().is_ok());
        let namespace = if is_process { fs::read_link(process.join("ns/mnt")).ok() } else { None };
        let Some(namespace) = namespace.filter(|namespace| !seen.contains(namespace)) else { continue };
        let Some(text) = mount::read_proc(&process.join("mountinfo"))? else { continue };
        seen.push(namespace);
        all.extend(table::parse(&text).iter().filter_map(OverlayMount::of));
    }
    Ok(all)
}
