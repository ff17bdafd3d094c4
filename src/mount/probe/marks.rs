//! What layers say to overlayfs: that a name is gone, where contents lie.

use std::fs::File;

use super::super::error::Error;
use super::Answer;
use super::lab::{Ground, Lab, done};
use crate::sys::dir::{Dir, FileType};

type Result<T> = std::result::Result<T, Error>;

pub(super) fn whiteout_device(lab: &Lab) -> Result<Answer> {
    let bench = lab.bench(Ground::Place)?;
    Dir::open(&bench.mkdir("top")?)?.mknod(b"file", FileType::CharacterDevice, 0, (0, 0))?;
    let overlay = bench.layers("top:lower", "")?;
    Ok(Answer::seen(!overlay.path("file").exists(), &overlay.said))
}

/// An empty file with the attribute, in a directory that is marked as having some (overlayfs.rst).
pub(super) fn whiteout_xattr(lab: &Lab) -> Result<Answer> {
    let bench = lab.bench(Ground::Memory)?;
    bench.mkdir("top")?;
    let dir = Dir::open(&bench.mkdir("top/dir")?)?;
    dir.set_xattr_self(b"trusted.overlay.opaque", b"x")?;
    bench.write("top/dir/file", "")?;
    dir.set_xattr(b"file", b"trusted.overlay.whiteout", b"y")?;
    let overlay = bench.layers("top:lower", "")?;
    Ok(Answer::seen(!overlay.path("dir/file").exists(), &[IGNORED.to_owned()]))
}

const IGNORED: &str = "the file is shown";

/// What is set through the overlay is kept under an escaped name, so that it means nothing to this overlay.
pub(super) fn escaping(lab: &Lab) -> Result<Answer> {
    let bench = lab.bench(Ground::Memory)?;
    let overlay = bench.overlay("")?;
    Dir::open(&overlay.path("dir"))?.set_xattr_self(b"trusted.overlay.opaque", b"y")?;
    let kept = Dir::open(&bench.path("upper/dir"))?.xattr_self(b"trusted.overlay.overlay.opaque")?;
    Ok(Answer::seen(kept.as_deref() == Some(b"y"), &overlay.said))
}

/// A file without contents, which lie under another name in a layer that shows no names of its own.
pub(super) fn data_only(lab: &Lab, option: &str) -> Result<Answer> {
    const CONTENTS: &str = "contents";
    let bench = lab.bench(Ground::Memory)?;
    let top = Dir::open(&bench.mkdir("top")?)?;
    bench.mkdir("data")?;
    bench.write("data/blob", CONTENTS)?;
    let path = bench.path("top/name");
    let made = File::create(&path).and_then(|file| file.set_len(CONTENTS.len() as u64));
    done("open", &path, made)?;
    top.set_xattr(b"name", b"trusted.overlay.metacopy", b"")?;
    top.set_xattr(b"name", b"trusted.overlay.redirect", b"/blob")?;
    let overlay = bench.layers("top::data", option)?;
    Ok(Answer::seen(overlay.read("name")? == CONTENTS, &overlay.said))
}
