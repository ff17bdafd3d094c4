//! Paths resolved as a process would whose root a directory is: no link leads out (openat2(2), RESOLVE_IN_ROOT).

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{self, AtFlags, Mode, OFlags, ResolveFlags, Stat};
use rustix::io::Errno;

use super::{Dir, Result, Xattr, read_xattrs};
use crate::sys::{CallFailed, through_proc};

/// What becomes of a symbolic link at the end of a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Last {
    /// It is what is meant.
    Kept,
    /// It leads to what is meant.
    Followed,
}

/// Something that a path leads to, held but not opened: a device does nothing yet, and a fifo waits for nobody.
#[derive(Debug)]
pub struct Found {
    fd: OwnedFd,
    path: PathBuf,
}

impl Dir {
    /// Opens the directory that `fd` is a handle of; messages call it `shown`.
    pub fn of(fd: impl AsFd, shown: &Path) -> Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = fs::openat(fd, ".", flags, Mode::empty())
            .map_err(|e| CallFailed::new(format!("openat({shown:?}, \".\")"), e))?;
        Ok(Self { fd, path: shown.to_owned() })
    }

    /// Finds what `path` leads to inside this directory, which is its root; `None` where nothing is.
    pub fn find(&self, path: &[u8], last: Last) -> Result<Option<Found>> {
        let kept = if last == Last::Kept { OFlags::NOFOLLOW } else { OFlags::empty() };
        let flags = OFlags::PATH | OFlags::CLOEXEC | kept;
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        let path = if path.is_empty() { b"." } else { path };
        loop {
            match fs::openat2(&self.fd, path, flags, Mode::empty(), resolve) {
                Ok(fd) => {
                    let path = self.path.join(Path::new(std::ffi::OsStr::from_bytes(path)));
                    return Ok(Some(Found { fd, path }));
                }
                Err(Errno::NOENT | Errno::NOTDIR) => return Ok(None),
                // Something was renamed meanwhile (openat2(2)).
                Err(Errno::AGAIN | Errno::INTR) => {}
                Err(e) => return Err(self.failed("openat2", path, e)),
            }
        }
    }
}

impl AsFd for Found {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Found {
    /// Returns what it is.
    pub fn stat(&self) -> Result<Stat> {
        fs::fstat(&self.fd).map_err(|e| self.failed("fstat", e))
    }

    /// Returns the target of a symbolic link.
    pub fn link(&self) -> Result<Vec<u8>> {
        let target = fs::readlinkat(&self.fd, "", Vec::new()).map_err(|e| self.failed("readlinkat", e))?;
        Ok(target.into_bytes())
    }

    /// Reads its extended attributes.
    pub fn xattrs(&self) -> Result<Vec<Xattr>> {
        // An O_PATH handle is none to fgetxattr(2). The magic link leads to the inode itself, if it is a link too.
        let path = through_proc(&self.fd);
        read_xattrs(|buf| fs::listxattr(&path, buf), |key, buf| fs::getxattr(&path, key, buf))
            .map_err(|e| self.failed("getxattr", e))
    }

    /// Opens it as a directory.
    pub fn open_dir(&self) -> Result<Dir> {
        Dir::of(&self.fd, &self.path)
    }

    /// Opens it for reading. What is no regular file may do anything when it is opened.
    pub fn open_file(&self) -> Result<File> {
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let fd =
            fs::open(through_proc(&self.fd), flags, Mode::empty()).map_err(|e| self.failed("open", e))?;
        Ok(File::from(fd))
    }

    /// Whether it is the root of what is mounted there, and not part of what it was found in.
    pub fn is_mount_root(&self) -> Result<bool> {
        let found = fs::statx(&self.fd, "", AtFlags::EMPTY_PATH, fs::StatxFlags::BASIC_STATS)
            .map_err(|e| self.failed("statx", e))?;
        // Since Linux 5.8.
        Ok(found.stx_attributes.contains(fs::StatxAttributes::MOUNT_ROOT))
    }

    fn failed(&self, call: &str, errno: Errno) -> CallFailed {
        CallFailed::new(format!("{call}({:?})", self.path), errno)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn links_lead_nowhere_but_inside() {
        let scratch = tempfile::tempdir().unwrap();
        let root = scratch.path().join("root");
        std::fs::create_dir_all(root.join("etc")).unwrap();
        std::fs::write(root.join("etc/passwd"), "inside").unwrap();
        symlink("/etc/passwd", root.join("absolute")).unwrap();
        symlink("../../../etc/passwd", root.join("up")).unwrap();
        symlink("/proc/self/root", root.join("magic")).unwrap();
        let dir = Dir::open(&root).unwrap();
        for path in ["absolute", "up", "../../etc/passwd", "/etc/passwd"] {
            let found = dir.find(path.as_bytes(), Last::Followed).unwrap().unwrap();
            let text = std::io::read_to_string(found.open_file().unwrap()).unwrap();
            assert_eq!(text, "inside", "{path}");
        }
        assert!(dir.find(b"magic", Last::Followed).unwrap().is_none());
        let link = dir.find(b"absolute", Last::Kept).unwrap().unwrap();
        assert_eq!(link.link().unwrap(), b"/etc/passwd");
        assert_eq!(link.xattrs().unwrap(), []);
        assert!(dir.find(b"etc/passwd/x", Last::Kept).unwrap().is_none());
    }
}
