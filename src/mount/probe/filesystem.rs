//! What the filesystem of the directory asked about offers to overlayfs.

use std::fs::{self, File};

use super::super::error::Error;
use super::super::perform;
use super::super::plan::{Access, Lower, Plan};
use super::Answer;
use super::lab::{Ground, Lab, done};
use crate::sys::dir::{Dir, is_whiteout};
use crate::sys::probe;

type Result<T> = std::result::Result<T, Error>;

/// A new file, a changed one and a removed one, as a container has them.
pub(super) fn upper(lab: &Lab) -> Result<Answer> {
    let bench = lab.bench(Ground::Place)?;
    let overlay = bench.overlay("")?;
    for (name, text) in [("new", "new"), ("dir/file", "changed")] {
        let path = overlay.path(name);
        done("write", &path, fs::write(&path, text))?;
    }
    let path = overlay.path("file");
    done("unlink", &path, fs::remove_file(&path))?;
    let upper = Dir::open(&bench.path("upper"))?;
    let gone = upper.stat(b"file")?.is_some_and(|stat| is_whiteout(&stat));
    let kept = fs::read(bench.path("upper/dir/file")).is_ok_and(|text| text == b"changed");
    Ok(Answer::seen(gone && kept && upper.stat(b"new")?.is_some(), &overlay.said))
}

pub(super) fn trusted_xattrs(lab: &Lab) -> Result<Answer> {
    Dir::open(&lab.fresh(Ground::Place)?)?.set_xattr_self(b"trusted.overlay.opaque", b"y")?;
    Ok(Answer::yes())
}

pub(super) fn user_xattrs(lab: &Lab) -> Result<Answer> {
    let why = "this filesystem holds none; tmpfs does since Linux 6.6";
    Ok(if holds_user_xattrs(lab, Ground::Place)? { Answer::yes() } else { Answer::no(why) })
}

pub(super) fn holds_user_xattrs(lab: &Lab, ground: Ground) -> Result<bool> {
    Ok(Dir::open(&lab.fresh(ground)?)?.set_xattr_self(b"user.ovlctl", b"y").is_ok())
}

pub(super) fn d_type(lab: &Lab) -> Result<Answer> {
    let bench = lab.bench(Ground::Place)?;
    let tells = probe::tells_kinds(&Dir::open(&bench.path("lower"))?)?;
    Ok(if tells {
        Answer::yes()
    } else {
        Answer::no("overlayfs would show whiteouts; on xfs: mkfs.xfs -n ftype=1")
    })
}

pub(super) fn o_tmpfile(lab: &Lab) -> Result<Answer> {
    probe::create_nameless(&Dir::open(&lab.fresh(Ground::Place)?)?)?;
    Ok(Answer::yes())
}

pub(super) fn rename_whiteout(lab: &Lab) -> Result<Answer> {
    let bench = lab.bench(Ground::Place)?;
    let dir = Dir::open(&bench.path("lower"))?;
    probe::rename_leaving_whiteout(&dir, "file", "moved")?;
    Ok(Answer::seen(dir.stat(b"file")?.is_some_and(|stat| is_whiteout(&stat)), &[]))
}

pub(super) fn reflink(lab: &Lab) -> Result<Answer> {
    let bench = lab.bench(Ground::Place)?;
    let (from, to) = (bench.path("lower/file"), bench.path("copy"));
    let (from, to) = (done("open", &from, File::open(&from))?, done("open", &to, File::create(&to))?);
    let shared = probe::share_contents(&from, &to);
    Ok(shared.map_or_else(|_| Answer::no("a changed file is copied whole"), |()| Answer::yes()))
}

pub(super) fn tmpfs_upper(lab: &Lab) -> Result<Answer> {
    let root = lab.bench(Ground::Place)?.path("lower");
    let plan = Plan::new(vec![Lower::from(root.clone())], Access::Tmpfs { size: None, root });
    perform::rehearse(&plan, perform::choose(&plan)?)?;
    let lacks = "without user.* attributes, which tmpfs holds since Linux 6.6";
    let why = (!holds_user_xattrs(lab, Ground::Memory)?).then(|| lacks.to_owned());
    Ok(Answer { why, ..Answer::yes() })
}
