//! Whether an upper or work directory belongs to a live overlay.
//!
//! With `index=off` the kernel only notes it in its log and mounts: two overlays then write to one upper directory
//! ("undefined behavior", overlayfs.rst), and the second one empties the first one's work directory at once.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use super::error::{Error, Role};
use super::patience::{self, PASSING};
use super::plan::{Access, Plan};
use super::table::{self, OverlayMount};
use crate::sys::dir::Dir;
use crate::sys::filesystem::Filesystem;
use crate::sys::mount::{self, FsContext, Pinned};
use crate::sys::{CallFailed, Errno};

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

/// The right to mount an upper directory: until it is dropped, no other ovlctl asks for the same one.
#[derive(Debug)]
#[must_use]
pub(super) struct Claim {
    pub(super) state: InUse,
    _lock: Option<Dir>,
}

/// Refuses a plan whose upper or work directory is in use.
pub(super) fn claim(plan: &Plan) -> Result<Claim, Error> {
    match &plan.access {
        Access::Writable { upper, work } => claim_of(upper, work),
        Access::ReadOnly | Access::Tmpfs { .. } => Ok(Claim { state: InUse::Free, _lock: None }),
    }
}

/// Refuses an upper and a work directory of which one is in use.
pub(super) fn claim_of(upper: &Path, work: &Path) -> Result<Claim, Error> {
    // Two that ask at once would both be told that it is free.
    let lock = Dir::open(upper)?;
    let mut locked = false;
    let state = patience::until(PASSING, || {
        locked = locked || mount::try_lock(&lock)?;
        let state = if locked { ask(upper, work)? } else { InUse::Taken };
        if state != InUse::Taken {
            return Ok(Some(state));
        }
        for (role, path) in [(Role::Upper, upper), (Role::Work, work)] {
            if let Some(by) = holder(path, role)? {
                return Err(Error::InUse { role, path: path.to_owned(), by: Some(by) });
            }
        }
        // Nobody to be seen: perhaps a copy of what was just unmounted, in a mount namespace that is just ending.
        Ok(None)
    })?;
    match state {
        Some(state) => Ok(Claim { state, _lock: Some(lock) }),
        None => Err(Error::InUse { role: Role::Upper, path: upper.to_owned(), by: None }),
    }
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
        Err(failed) if failed.errno == Errno::BUSY => Ok(InUse::Taken),
        Err(_) => Ok(InUse::Unknown),
    }
}

/// Filesystems that overlayfs makes an index on, which needs handles of files; on others it leaves that out, and then also
/// says yes to a directory that is in use (ovl_lower_dir).
const INDEXED: [&str; 4] = ["btrfs", "ext4", "tmpfs", "xfs"];

/// Whether no overlay has these as its upper and work directories, in any mount namespace; `false` where the kernel cannot be
/// believed.
pub(super) fn is_surely_free(upper: &Path, work: &Path) -> bool {
    // Both lie on one: overlayfs wants that.
    let filesystem = Pinned::open(upper).and_then(|dir| Filesystem::of(&dir));
    let is_indexed = filesystem.is_ok_and(|found| INDEXED.contains(&found.name().as_str()));
    is_indexed && matches!(ask(upper, work), Ok(InUse::Free))
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
    let is = |given: &Path| match given.is_relative() {
        true => dir.ends_with(given),
        false => given == dir || fs::canonicalize(given).is_ok_and(|given| given == dir),
    };
    // Given as a string it has overlayfs' escapes (ovl_unescape), given as an open directory it has none.
    is(given) || is(&unescaped(given))
}

fn unescaped(given: &Path) -> PathBuf {
    let mut bytes = given.as_os_str().as_bytes().iter();
    let mut plain = Vec::with_capacity(bytes.len());
    while let Some(&byte) = bytes.next() {
        plain.push(if byte == b'\\' { *bytes.next().unwrap_or(&byte) } else { byte });
    }
    PathBuf::from(OsString::from_vec(plain))
}

/// Reads the overlays of every other mount namespace.
pub fn everywhere() -> io::Result<Vec<OverlayMount>> {
    Ok(namespaces()?.into_iter().flat_map(|(_, overlays)| overlays).collect())
}

/// The same by namespace: the folder in /proc of a process that is in it, and its overlays.
pub(super) fn namespaces() -> io::Result<Vec<(PathBuf, Vec<OverlayMount>)>> {
    let failed = |call: &'static str| move |e: io::Error| io::Error::from(CallFailed::of_io(call, &e));
    let own = fs::read_link("/proc/thread-self/ns/mnt")
        .map_err(failed("readlink(\"/proc/thread-self/ns/mnt\")"))?;
    let mut seen = vec![own];
    let mut all = Vec::new();
    for process in fs::read_dir("/proc").map_err(failed("open(\"/proc\")"))? {
        let process = process.map_err(failed("getdents64(\"/proc\")"))?.path();
        let is_process = process
            .file_name()
            .and_then(|name| name.to_str())
            .is_some_and(|name| name.parse::<u32>().is_ok());
        let namespace = if is_process { fs::read_link(process.join("ns/mnt")).ok() } else { None };
        let Some(namespace) = namespace.filter(|namespace| !seen.contains(namespace)) else { continue };
        let Some(text) =
            mount::read_proc(&process.join("mountinfo")).map_err(failed("read(\"/proc/PID/mountinfo\")"))?
        else {
            continue;
        };
        seen.push(namespace);
        all.push((process, table::parse(&text).iter().filter_map(OverlayMount::of).collect()));
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_known_by_what_mountinfo_shows_of_it() {
        let table = [
            ("/srv/a,b", "/srv/a,b", true),
            (r"/srv/a\,b", "/srv/a,b", true),
            (r"/srv/a\\b", r"/srv/a\b", true),
            (r"/srv/a\b", r"/srv/a\b", true),
            ("a/diff", "/store/overlay2/a/diff", true),
            (r"a\,b/diff", "/store/overlay2/a,b/diff", true),
            (r"/srv/a\,b", "/srv/a", false),
            ("b/diff", "/store/overlay2/a/diff", false),
        ];
        for (given, dir, means) in table {
            assert_eq!(names(Path::new(given), Path::new(dir)), means, "{given}");
        }
    }
}
