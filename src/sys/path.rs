//! What has a path is made, moved and removed, and brought to the disk.

use std::fs::{self, DirBuilder};
use std::io::{self, ErrorKind};
use std::os::fd::AsFd;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use super::script::quoted;
use super::{Errno, trace};

/// Moves a file or a directory.
pub fn rename(from: &Path, to: &Path) -> io::Result<()> {
    trace::call(fs::rename(from, to), || format!("rename({}, {})", shown(from), shown(to)))
}

/// Removes a file.
pub fn unlink(file: &Path) -> io::Result<()> {
    trace::call(fs::remove_file(file), || format!("unlink({})", shown(file)))
}

/// Makes a symbolic link that says `target`.
pub fn symlink(target: &Path, link: &Path) -> io::Result<()> {
    let made = std::os::unix::fs::symlink(target, link);
    trace::call(made, || format!("symlink({}, {})", shown(target), shown(link)))
}

/// Makes a directory.
pub fn mkdir(dir: &Path, mode: u32) -> io::Result<()> {
    let made = DirBuilder::new().mode(mode).create(dir);
    trace::call(made, || format!("mkdir({}, 0{mode:o})", shown(dir)))
}

/// Makes a directory where it is missing, and those above it.
pub fn mkdirs(dir: &Path, mode: u32) -> io::Result<()> {
    let made = match (mkdir(dir, mode), dir.parent()) {
        (Err(e), Some(parent)) if e.kind() == ErrorKind::NotFound && !parent.as_os_str().is_empty() => {
            mkdirs(parent, mode)?;
            mkdir(dir, mode)
        }
        (made, _) => made,
    };
    if made.is_err() && dir.is_dir() { Ok(()) } else { made }
}

/// Gives a file a second name.
pub fn link(file: &Path, new: &Path) -> io::Result<()> {
    let made = fs::hard_link(file, new);
    trace::call(made, || format!("linkat(AT_FDCWD, {}, AT_FDCWD, {}, 0)", shown(file), shown(new)))
}

/// Waits until the disk has a file, or a directory's names.
pub fn fsync(fd: impl AsFd) -> Result<(), Errno> {
    let fd = fd.as_fd();
    let made = rustix::io::retry_on_intr(|| rustix::fs::fsync(fd));
    trace::call(made, || format!("fsync({})", trace::fd(fd)))
}

/// Shows a path as strace does.
fn shown(path: &Path) -> String {
    quoted(path.as_os_str().as_encoded_bytes())
}
