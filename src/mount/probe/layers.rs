//! How layers are handed over, how many of them, and what can be one.

use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{Command, Stdio};

use super::super::error::Error;
use super::super::explain;
use super::super::perform;
use super::super::plan::{MAX_LOWER, Method, Plan};
use super::lab::{Bench, Ground, Lab, MOST, done};
use super::{Answer, image};
use crate::sys::dir::Dir;
use crate::sys::mount::{self, Attributes, FsContext, OPTION_PAGE};
use crate::sys::probe;
use crate::sys::script::{Call, How, Slot, Slots, Value};
use crate::sys::{CallFailed, Errno};

type Result<T> = std::result::Result<T, Error>;

const ONE_STRING: &str = "this kernel gathers them into one string";

pub(super) fn own_parser(_: &Lab) -> Result<Answer> {
    Ok(if probe::has_own_parser()? { Answer::yes() } else { Answer::no(ONE_STRING) })
}

pub(super) fn strings(lab: &Lab) -> Result<Answer> {
    let bench = lab.bench(Ground::Memory)?;
    offered(|context| context.set("lowerdir+", &bench.path("lower").to_string_lossy()))
}

pub(super) fn handles(lab: &Lab) -> Result<Answer> {
    let dir = Dir::open(&lab.bench(Ground::Memory)?.path("lower"))?;
    offered(|context| context.set_fd("lowerdir+", &dir))
}

/// Offers overlayfs an option, and makes nothing of it.
fn offered(set: impl FnOnce(&FsContext) -> std::result::Result<(), CallFailed>) -> Result<Answer> {
    if !probe::has_own_parser()? {
        return Ok(Answer::no(ONE_STRING));
    }
    set(&FsContext::open("overlay")?).map_err(|failed| explain::explain(failed.into(), &[]))?;
    Ok(Answer::yes())
}

/// Whether a filesystem that is mounted nowhere can be a layer. It is taken as an option long before it is taken.
pub(super) fn detached(lab: &Lab) -> Result<Answer> {
    if !probe::has_own_parser()? {
        return Ok(Answer::no(ONE_STRING));
    }
    let bench = lab.bench(Ground::Memory)?;
    let tree = filesystem("tmpfs", "ovlctl", Attributes::empty())?;
    let context = FsContext::open("overlay")?;
    let path = |name: &str| bench.path(name).to_string_lossy().into_owned();
    let taken = context.set_fd("lowerdir+", &tree);
    if taken.as_ref().is_err_and(|failed| failed.errno == Errno::BADF) {
        return Ok(Answer::no("this kernel takes no such handle"));
    }
    taken
        .and_then(|()| context.set("upperdir", &path("upper")))
        .and_then(|()| context.set("workdir", &path("work")))
        .and_then(|()| context.create())
        .map_err(|failed| explain::explain(failed.into(), &[]))?;
    Ok(Answer::yes())
}

/// Makes a filesystem that is mounted nowhere yet.
fn filesystem(name: &'static str, source: &str, attributes: Attributes) -> Result<OwnedFd> {
    let (context, tree) = (Slot(0), Slot(1));
    let source = Value::String(source.into());
    let calls = [
        Call::FsOpen { filesystem: name, into: context },
        Call::Configure { context, key: "source".to_owned(), value: source },
        Call::Create { context },
        Call::FsMount { context, attributes, into: tree },
    ];
    let mut slots = Slots::new();
    calls.iter().try_for_each(|call| call.make(&mut slots))?;
    slots.take(tree).ok_or_else(|| CallFailed::new("fsmount", Errno::BADF).into())
}

/// Finds the highest number of layers that a writable container can have by `method`.
pub(super) fn most(lab: &Lab, method: Method) -> Result<Answer> {
    let whole = lab.stack()?;
    let plan =
        |count: usize| Plan { lowers: whole.lowers[..count].to_vec(), method: Some(method), ..whole.clone() };
    perform::choose(&plan(1))?;
    perform::rehearse(&plan(1), method)?;
    let takes = |count| perform::rehearse(&plan(count), method);
    let count = highest(|count| takes(count).is_ok());
    let why = match count {
        MOST => Some(format!("or more; a mount gets {MAX_LOWER} at most")),
        // What the kernel is known for needs no reason.
        MAX_LOWER => None,
        fewer => takes(fewer + 1).err().map(|error| match matches!(error, Error::Page { .. }) {
            true => format!("more names are over mount(2)'s {OPTION_PAGE} bytes"),
            false => error.to_string(),
        }),
    };
    Ok(Answer { has: Some(true), count: Some(count), why })
}

/// Returns the highest number up to [`MOST`] that `takes` takes; it is known to take 1. The likely answer is tried first.
fn highest(takes: impl Fn(usize) -> bool) -> usize {
    let (mut good, mut bad) = (1, MOST + 1);
    let mut next = MAX_LOWER;
    while good + 1 < bad {
        if takes(next) {
            good = next;
        } else {
            bad = next;
        }
        next = if good == MAX_LOWER { MOST } else { usize::midpoint(good, bad) };
    }
    good
}

/// Whether a layer can be shown with other owners. There is no door to mount_setattr(2), so mount(8) makes it, which has
/// `X-mount.idmap` since util-linux 2.39; an older one takes it for a comment.
pub(super) fn idmapped(lab: &Lab) -> Result<Answer> {
    const OTHER: u32 = 100_000;
    let bench = lab.bench(Ground::Place)?;
    let mapped = lab.fresh(Ground::Memory)?;
    let ran = Command::new("mount")
        .args(["--bind", "-o", &format!("X-mount.idmap=b:0:{OTHER}:1")])
        .args([&bench.path("lower"), &mapped])
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .output();
    let Ok(ran) = ran else { return Ok(Answer::untried("mount(8) is needed to try it")) };
    let _undo = Mounted(&mapped);
    if !ran.status.success() {
        // `mount: /x: mount_setattr() failed: Invalid argument.`, and perhaps a line about dmesg(1).
        let said = String::from_utf8_lossy(&ran.stderr).lines().next().unwrap_or_default().to_owned();
        let reason = said.rsplit(": ").next().unwrap_or_default().trim_end_matches('.');
        return Ok(Answer::no(format!("no idmapped mounts of this filesystem: {reason}")));
    }
    let owner = |path: &Path| done("stat", path, fs::metadata(path)).map(|meta| meta.uid());
    if owner(&mapped.join("file"))? != OTHER {
        return Ok(Answer::untried("mount(8) of util-linux 2.39 or newer is needed to try it"));
    }
    let overlay = bench.overlay_over(&mapped.to_string_lossy(), "")?;
    Ok(Answer::seen(owner(&overlay.path("file"))? == OTHER, &overlay.said))
}

/// A mount that is to go when it has been tried.
struct Mounted<'a>(&'a Path);

impl Drop for Mounted<'_> {
    fn drop(&mut self) {
        // Where nothing was mounted, or it cannot go now: the namespace takes all along.
        let _gone: std::result::Result<(), CallFailed> = mount::unmount(self.0, true);
    }
}

pub(super) fn erofs(_: &Lab) -> Result<Answer> {
    Ok(match FsContext::open("erofs") {
        Ok(_) => Answer::yes(),
        Err(failed) if failed.errno == Errno::NODEV => Answer::no("this kernel has no erofs"),
        Err(failed) => return Err(failed.into()),
    })
}

/// Whether an image that lies in the directory asked about can be mounted as it is, and be a layer.
pub(super) fn erofs_file(lab: &Lab) -> Result<Answer> {
    let bench = lab.bench(Ground::Place)?;
    let path = bench.path("image");
    done("open", &path, fs::write(&path, image::empty()))?;
    let mut slots = Slots::new();
    // fsconfig(2) takes no long paths.
    Call::ChangeDir { path: path_bytes(&bench).into() }.make(&mut slots)?;
    let tree = match filesystem("erofs", "image", Attributes::MOUNT_ATTR_RDONLY) {
        Err(Error::Kernel(failed)) if failed.errno == Errno::NODEV => {
            return Ok(Answer::no("this kernel has no erofs"));
        }
        Err(Error::Kernel(failed)) if failed.errno == Errno::NOTBLK => {
            return Ok(Answer::no("needs a loop device; not on ext4, xfs and btrfs since Linux 6.12"));
        }
        made => made?,
    };
    let mounted = lab.fresh(Ground::Memory)?;
    let (from, onto) = (Slot(0), Slot(1));
    slots.put(from, tree);
    Call::Open { path: mounted.to_string_lossy().as_bytes().into(), how: How::Path, into: onto }
        .make(&mut slots)?;
    Call::MoveMount { tree: from, onto }.make(&mut slots)?;
    let _undo = Mounted(&mounted);
    let overlay = bench.overlay_over(&format!("{}:lower", mounted.display()), "")?;
    Ok(Answer::seen(overlay.read("file")? == "lower", &overlay.said))
}

fn path_bytes(bench: &Bench) -> Vec<u8> {
    bench.path("").into_os_string().into_encoded_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_highest_number_is_found_whatever_it_is() {
        for limit in [1, 2, 128, 137, 499, MAX_LOWER, MOST, MOST + 7] {
            assert_eq!(highest(|count| count <= limit), limit.min(MOST));
        }
    }
}
