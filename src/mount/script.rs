//! Which calls a plan becomes, by each of the four methods.
//!
//! fsmount(2) gives a mount that is nowhere yet. mount(2) cannot, so its methods run in a mount namespace of their own,
//! whose mounts nobody sees and which goes with its thread: there the mount is made, looked at and copied (open_tree),
//! and the copy is attached. An upper directory in memory is made there too: only the overlay keeps hold of it.

use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::error::Error;
use super::plan::{Access, Method, Plan};
use crate::sys::dir::Dir;
use crate::sys::mount::{Attributes, FSCONFIG_STRING, OPTION_PAGE};
use crate::sys::script::{Attribute, Call, How, Slot, Text, Value};

/// The target, pinned.
pub(super) const TARGET: Slot = Slot(0);
const HOME: Slot = Slot(1);
const SCRATCH: Slot = Slot(2);
const PLACE: Slot = Slot(3);
const CONTEXT: Slot = Slot(4);
/// The new mount.
pub(super) const TREE: Slot = Slot(5);
const LAYER: Slot = Slot(6);
const MERGED: Slot = Slot(7);
/// Goes back to the mount namespace that the script began in.
pub(super) const LEAVE: Call = Call::SetNs { fd: HOME };
const FIRST_LOWER: usize = 16;

/// The calls of one mount, and where to look at it in between.
#[derive(Debug)]
pub(super) struct Script {
    /// Makes the mount, where nobody sees it.
    pub(super) build: Vec<Call>,
    /// What `build` leaves to be looked at.
    pub(super) look: Slot,
    /// Puts the mount on the target.
    pub(super) attach: Vec<Call>,
    /// Whether `build` leaves this thread's mount namespace.
    pub(super) private: bool,
    /// How many lower directories the mount must show.
    pub(super) lowers: usize,
}

impl Script {
    /// Works out the calls.
    pub(super) fn of(plan: &Plan, method: Method) -> Result<Self, Error> {
        let by_mount = matches!(method, Method::ProcFd | Method::Links);
        let lonely = plan.access == Access::ReadOnly && plan.lowers.len() == 1;
        let private = by_mount || lonely || matches!(plan.access, Access::Tmpfs { .. });
        let mut build = Vec::new();
        if private {
            scratch(plan, &mut build)?;
        }
        let mut lowers = plan
            .lowers
            .iter()
            .map(|lower| Ok(absolute(&lower.path)?.into()))
            .collect::<Result<Vec<Text>, Error>>()?;
        if lonely {
            // overlayfs wants two lowers where there is no upper (ovl_fill_super): the second one is empty.
            lowers.push(in_scratch("empty"));
        }
        let layers = Layers { lowers, upper: upper(plan)? };
        match method {
            Method::Fd => by_handles(plan, &layers, &mut build),
            Method::Path => by_strings(plan, &layers, &mut build),
            Method::ProcFd => by_numbers(plan, &layers, &mut build)?,
            Method::Links => by_links(plan, &layers, &mut build)?,
        }
        let look = if by_mount { MERGED } else { TREE };
        let mut attach = Vec::new();
        if private {
            attach.push(LEAVE);
        }
        attach.push(Call::MoveMount { tree: TREE, onto: TARGET });
        Ok(Self { build, look, attach, private, lowers: layers.lowers.len() })
    }

    /// Returns all calls in order.
    pub(super) fn calls(&self, target: &Path) -> Vec<Call> {
        let pin = Call::Open { path: bytes(target).into(), how: How::Path, into: TARGET };
        [&[pin][..], &self.build, &self.attach].concat()
    }
}

struct Layers {
    lowers: Vec<Text>,
    upper: Option<(Text, Text)>,
}

fn upper(plan: &Plan) -> Result<Option<(Text, Text)>, Error> {
    Ok(match &plan.access {
        Access::ReadOnly => None,
        Access::Writable { upper, work } => Some((absolute(upper)?.into(), absolute(work)?.into())),
        Access::Tmpfs { .. } => Some((in_scratch("diff"), in_scratch("work"))),
    })
}

/// A mount namespace of our own, with a tmpfs in it: out of the way of every path, and gone with the thread.
///
/// The rest of the copied mounts stay peers of the old namespace's, so that an unmount there is one here too. /proc is a
/// mount of its own also where the root is none (chroot), and no layer lies in it.
fn scratch(plan: &Plan, calls: &mut Vec<Call>) -> Result<(), Error> {
    calls.push(Call::Open { path: "/proc/thread-self/ns/mnt".into(), how: How::File, into: HOME });
    calls.extend([Call::Unshare, Call::MakePrivate { path: "/proc".into() }]);
    let size = match &plan.access {
        Access::Tmpfs { size, .. } => *size,
        Access::ReadOnly | Access::Writable { .. } => None,
    };
    memory("/proc/fs", size, calls);
    for name in ["merged", "empty"] {
        calls.push(Call::MakeDir { path: in_scratch(name), mode: 0o755 });
    }
    if let Access::Tmpfs { root, .. } = &plan.access {
        calls.push(Call::MakeDir { path: in_scratch("work"), mode: 0o700 });
        calls.push(Call::MakeDir { path: in_scratch("diff"), mode: 0o755 });
        dress(root, &in_scratch("diff"), calls)?;
    }
    Ok(())
}

/// Mounts a tmpfs on `place`, and leaves it in `SCRATCH`.
pub(super) fn memory(place: &str, size: Option<u64>, calls: &mut Vec<Call>) {
    calls.push(Call::FsOpen { filesystem: "tmpfs", into: CONTEXT });
    calls.push(string("source", "ovlctl".into()));
    calls.push(string("mode", "0700".into()));
    if let Some(size) = size {
        calls.push(string("size", size.to_string().into()));
    }
    calls.push(Call::Create { context: CONTEXT });
    calls.push(Call::FsMount { context: CONTEXT, attributes: Attributes::empty(), into: SCRATCH });
    calls.push(Call::Close { fd: CONTEXT });
    calls.push(Call::Open { path: place.into(), how: How::Path, into: PLACE });
    calls.push(Call::MoveMount { tree: SCRATCH, onto: PLACE });
}

/// The merged root takes its metadata from the upper directory: gives `path` that of `like`.
fn dress(like: &Path, path: &Text, calls: &mut Vec<Call>) -> Result<(), Error> {
    let dir = Dir::open(like)?;
    let (stat, xattrs) = (dir.stat_self()?, dir.xattrs_self()?);
    // In this order: chown(2) clears bits of the mode and file capabilities.
    let mut set = |attribute| calls.push(Call::Set { path: path.clone(), attribute });
    set(Attribute::Owner(stat.st_uid, stat.st_gid));
    set(Attribute::Mode(stat.st_mode & 0o7777));
    for (key, value) in xattrs {
        // The layer's own marks mean something else on an upper directory.
        if !key.starts_with(b"trusted.overlay.") && !key.starts_with(b"user.overlay.") {
            set(Attribute::Xattr(key, value));
        }
    }
    let nanos = u32::try_from(stat.st_mtime_nsec).unwrap_or_default();
    set(Attribute::Time(stat.st_mtime, nanos));
    Ok(())
}

fn by_handles(plan: &Plan, layers: &Layers, calls: &mut Vec<Call>) {
    open_context(plan, calls);
    for lower in &layers.lowers {
        handle("lowerdir+", lower, calls);
    }
    if let Some((upper, work)) = &layers.upper {
        handle("upperdir", upper, calls);
        handle("workdir", work, calls);
    }
    close_context(plan, calls);
}

/// The context keeps hold of the directory itself, so the handle can go at once.
fn handle(key: &str, path: &Text, calls: &mut Vec<Call>) {
    calls.push(Call::Open { path: path.clone(), how: How::Read, into: LAYER });
    calls.push(Call::Configure { context: CONTEXT, key: key.to_owned(), value: Value::Fd(LAYER) });
    calls.push(Call::Close { fd: LAYER });
}

fn by_strings(plan: &Plan, layers: &Layers, calls: &mut Vec<Call>) {
    open_context(plan, calls);
    for lower in &layers.lowers {
        path_string("lowerdir+", lower, lower.clone(), calls);
    }
    if let Some((upper, work)) = &layers.upper {
        // Unlike lowerdir+, these two are unescaped (ovl_parse_layer).
        path_string("upperdir", upper, escaped(upper, b"\\"), calls);
        path_string("workdir", work, escaped(work, b"\\"), calls);
    }
    close_context(plan, calls);
}

/// Sets a path, by way of a handle where fsconfig(2) would not take its length.
fn path_string(key: &str, path: &Text, spelled: Text, calls: &mut Vec<Call>) {
    if spelled.longest(DIGITS) <= FSCONFIG_STRING {
        calls.push(string(key, spelled));
        return;
    }
    calls.push(Call::Open { path: path.clone(), how: How::Read, into: LAYER });
    calls.push(string(key, Text::from("/proc/self/fd/").and_number(LAYER)));
    calls.push(Call::Close { fd: LAYER });
}

fn by_numbers(plan: &Plan, layers: &Layers, calls: &mut Vec<Call>) -> Result<(), Error> {
    let mut lowerdir = Text::default();
    for (nr, path) in layers.lowers.iter().enumerate() {
        let into = Slot(FIRST_LOWER + nr);
        calls.push(Call::Open { path: path.clone(), how: How::Read, into });
        if nr > 0 {
            lowerdir.push(":");
        }
        lowerdir.push_number(into);
    }
    calls.push(Call::ChangeDir { path: "/proc/self/fd".into() });
    let mut data = options(plan, &layers.upper);
    data.append(&lowerdir);
    if let (true, Some((upper, work))) = (data.longest(DIGITS) > OPTION_PAGE, &layers.upper) {
        // Paths are shown in mountinfo and so worth having, but only where they fit.
        let slots = [Slot(FIRST_LOWER + layers.lowers.len()), Slot(FIRST_LOWER + layers.lowers.len() + 1)];
        for (path, into) in [upper, work].into_iter().zip(slots) {
            let open = Call::Open { path: path.clone(), how: How::Read, into };
            calls.insert(calls.len() - 1, open);
        }
        let numbers = slots.map(|slot| Text::default().and_number(slot));
        let [upper, work] = numbers;
        data = options(plan, &Some((upper, work)));
        data.append(&lowerdir);
    }
    mount(plan, data, calls)
}

fn by_links(plan: &Plan, layers: &Layers, calls: &mut Vec<Call>) -> Result<(), Error> {
    let Some(overlay2) = &plan.overlay2 else { return Err(Error::NoLinks) };
    let inside = |text: &Text, path: &Path| match path.strip_prefix(overlay2) {
        Ok(relative) => bytes(relative).into(),
        Err(_) => text.clone(),
    };
    calls.push(Call::ChangeDir { path: bytes(&absolute_path(overlay2)?).into() });
    let upper = match (&layers.upper, &plan.access) {
        (Some((u, w)), Access::Writable { upper, work }) => Some((inside(u, upper), inside(w, work))),
        (upper, _) => upper.clone(),
    };
    let mut data = options(plan, &upper);
    for (nr, path) in layers.lowers.iter().enumerate() {
        if nr > 0 {
            data.push(":");
        }
        match plan.lowers.get(nr) {
            Some(lower) => data.push(["l/", lower.link.as_deref().ok_or(Error::NoLinks)?].concat()),
            None => data.append(path),
        }
    }
    mount(plan, data, calls)
}

/// mount(2)'s options up to the lower directories, which come last.
fn options(plan: &Plan, upper: &Option<(Text, Text)>) -> Text {
    let mut data = Text::default();
    for (key, value) in plan.options.resolved() {
        data.push(key);
        if let Some(value) = value {
            data.push("=");
            data.append(&escaped(&value.into(), b",\\"));
        }
        data.push(",");
    }
    if let Some((upper, work)) = upper {
        data.push("upperdir=");
        data.append(&escaped(upper, b",\\"));
        data.push(",workdir=");
        data.append(&escaped(work, b",\\"));
        data.push(",");
    }
    data.push("lowerdir=");
    data
}

/// The mount itself and a copy of it that can be attached elsewhere.
fn mount(plan: &Plan, data: Text, calls: &mut Vec<Call>) -> Result<(), Error> {
    let bytes = data.longest(DIGITS);
    if bytes > OPTION_PAGE {
        return Err(Error::Page { layers: plan.lowers.len(), bytes });
    }
    let (source, target) = (plan.source.as_str().into(), in_scratch("merged"));
    calls.push(Call::Mount { source, target, attributes: plan.options.flags(), data });
    calls.push(Call::Open { path: in_scratch("merged"), how: How::Path, into: MERGED });
    calls.push(Call::CloneTree { at: SCRATCH, path: "merged", into: TREE });
    Ok(())
}

fn open_context(plan: &Plan, calls: &mut Vec<Call>) {
    calls.push(Call::FsOpen { filesystem: "overlay", into: CONTEXT });
    calls.push(string("source", plan.source.as_str().into()));
    for (key, value) in plan.options.resolved() {
        calls.push(match value {
            Some(value) => string(&key, value.into()),
            None => Call::Configure { context: CONTEXT, key, value: Value::Flag },
        });
    }
}

fn close_context(plan: &Plan, calls: &mut Vec<Call>) {
    calls.push(Call::Create { context: CONTEXT });
    calls.push(Call::FsMount { context: CONTEXT, attributes: plan.options.flags(), into: TREE });
    // An open context keeps the filesystem busy.
    calls.push(Call::Close { fd: CONTEXT });
}

/// How many digits a file descriptor's number is taken to have; `Call::Mount` looks again at what it really hands over.
const DIGITS: usize = 4;

fn in_scratch(name: &str) -> Text {
    Text::from("/proc/self/fd/").and_number(SCRATCH).and("/").and(name)
}

fn string(key: &str, value: Text) -> Call {
    Call::Configure { context: CONTEXT, key: key.to_owned(), value: Value::String(value) }
}

fn escaped(text: &Text, special: &[u8]) -> Text {
    text.escaped(special)
}

fn absolute(path: &Path) -> Result<Vec<u8>, Error> {
    Ok(bytes(&absolute_path(path)?).to_owned())
}

fn absolute_path(path: &Path) -> Result<PathBuf, Error> {
    std::path::absolute(path).map_err(Error::Io)
}

fn bytes(path: &Path) -> &[u8] {
    path.as_os_str().as_bytes()
}
