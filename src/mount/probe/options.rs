//! Options of a mount: each is tried as `mount -o` would give it, and then what it is for.

use std::fs::{self, OpenOptions, Permissions};
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

use super::super::error::Error;
use super::lab::{Bench, Ground, Lab, Overlay, done};
use super::{Answer, Parameter, filesystem, parameters};
use crate::sys::dir::Dir;

type Result<T> = std::result::Result<T, Error>;

/// Whether an option is taken; what it does shows only where more than a probe has.
pub(super) fn taken(lab: &Lab, option: &str) -> Result<Answer> {
    lab.bench(Ground::Place)?.overlay(option)?;
    Ok(Answer::yes())
}

pub(super) fn index(lab: &Lab) -> Result<Answer> {
    let bench = lab.bench(Ground::Place)?;
    let link = bench.path("lower/link");
    done("link", &link, fs::hard_link(bench.path("lower/file"), &link))?;
    let overlay = bench.overlay("index=on")?;
    let path = overlay.path("file");
    let changed = OpenOptions::new().append(true).open(&path).and_then(|mut file| file.write_all(b"!"));
    done("write", &path, changed)?;
    Ok(Answer::seen(overlay.read("link")? == "lower!", &overlay.said))
}

pub(super) fn redirect_dir(lab: &Lab) -> Result<Answer> {
    let bench = lab.bench(Ground::Place)?;
    let overlay = bench.overlay("redirect_dir=on")?;
    let path = overlay.path("dir");
    done("rename", &path, fs::rename(&path, overlay.path("moved")))?;
    Ok(Answer::seen(overlay.read("moved/file")? == "lower", &overlay.said))
}

pub(super) fn metacopy(lab: &Lab) -> Result<Answer> {
    let bench = lab.bench(Ground::Place)?;
    let overlay = bench.overlay("metacopy=on")?;
    let path = overlay.path("file");
    done("chmod", &path, fs::set_permissions(&path, Permissions::from_mode(0o600)))?;
    let xattrs = Dir::open(&bench.path("upper"))?.xattrs(b"file")?;
    let only_metadata = xattrs.iter().any(|(key, _)| key == b"trusted.overlay.metacopy");
    let answer = Answer::seen(only_metadata, &overlay.said);
    let why = answer
        .why
        .or(Some("not with redirect_dir=off or nofollow, which a mount then leaves out".to_owned()));
    Ok(Answer { why, ..answer })
}

/// Device numbers differ between layers of two filesystems, so the lower one is in memory.
pub(super) fn xino(lab: &Lab) -> Result<Answer> {
    let (bench, other) = (lab.bench(Ground::Place)?, lab.bench(Ground::Memory)?);
    let overlay = bench.overlay_over(&other.path("lower").to_string_lossy(), "xino=on")?;
    let device = |name: &str| {
        let path = overlay.path(name);
        done("stat", &path, fs::metadata(&path)).map(|meta| meta.dev())
    };
    Ok(Answer::seen(device("file")? == device("dir")?, &overlay.said))
}

pub(super) fn nfs_export(lab: &Lab) -> Result<Answer> {
    let overlay = lab.bench(Ground::Place)?.overlay("nfs_export=on")?;
    Ok(Answer::seen(in_force(&overlay, "nfs_export")?, &overlay.said))
}

/// Whether an option is on: the kernel shows only what is not the default.
fn in_force(overlay: &Overlay, option: &str) -> Result<bool> {
    let default = parameters()?.get(option) == Some(&Parameter::Flag(true));
    Ok(overlay.shows(&format!("{option}=on")) || (default && !overlay.shows(&format!("{option}=off"))))
}

pub(super) fn volatile(lab: &Lab) -> Result<Answer> {
    let overlay = lab.bench(Ground::Place)?.overlay("volatile")?;
    let answer = Answer::seen(overlay.is_volatile(), &overlay.said);
    let spelled = overlay.shows("fsync=volatile").then(|| "shown as fsync=volatile".to_owned());
    Ok(Answer { why: answer.why.or(spelled), ..answer })
}

pub(super) fn fsync(lab: &Lab) -> Result<Answer> {
    let overlay = lab.bench(Ground::Place)?.overlay("fsync=volatile")?;
    Ok(Answer::seen(overlay.is_volatile(), &overlay.said))
}

/// From Linux 5.11 to 6.5 there was another `uuid=on`, which only meant not `uuid=off`.
pub(super) fn uuid(lab: &Lab) -> Result<Answer> {
    let bench = lab.bench(Ground::Place)?;
    let overlay = bench.overlay("uuid=on")?;
    let kept = Dir::open(&bench.path("upper"))?.xattr_self(b"trusted.overlay.uuid")?.is_some();
    let only_off = "only uuid=off means something on this kernel".to_owned();
    Ok(Answer::seen(kept, &[&overlay.said[..], &[only_off]].concat()))
}

pub(super) fn userxattr(lab: &Lab) -> Result<Answer> {
    if !filesystem::holds_user_xattrs(lab, Ground::Place)? {
        return Ok(Answer::no("this filesystem holds no user.* attributes; tmpfs does since Linux 6.6"));
    }
    let bench = lab.bench(Ground::Place)?;
    let overlay = bench.overlay("userxattr")?;
    let path = overlay.path("dir");
    done("rmdir", &path, fs::remove_dir_all(&path))?;
    done("mkdir", &path, fs::create_dir(&path))?;
    let answer = Answer::seen(is_opaque(&bench)?, &overlay.said);
    let why = answer.why.or(Some("not for images: their layers are marked in trusted.overlay.*".to_owned()));
    Ok(Answer { why, ..answer })
}

fn is_opaque(bench: &Bench) -> Result<bool> {
    let mark = Dir::open(&bench.path("upper/dir"))?.xattr_self(b"user.overlay.opaque")?;
    Ok(mark.as_deref() == Some(b"y"))
}
