//! An open directory, and what can be done beneath it.
//!
//! Names are single components and are never followed when they are symbolic links. Where a function takes a path, the
//! kernel keeps it inside the directory (openat2(2)).

use std::ffi::OsStr;
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{self, AtFlags, Mode, OFlags, ResolveFlags, Timespec, Timestamps};
use rustix::io::Errno;

use super::{CallFailed, through_proc};

mod change;
pub mod in_root;
mod names;

pub use rustix::fs::{FileType, Stat};

type Result<T> = std::result::Result<T, CallFailed>;

/// An extended attribute: name and value.
pub type Xattr = (Vec<u8>, Vec<u8>);

/// Returns what kind of inode `stat` speaks of.
#[must_use]
pub fn kind(stat: &Stat) -> FileType {
    FileType::from_raw_mode(stat.st_mode)
}

/// Returns how many bytes of contents the inode has that `stat` speaks of: none, unless it is a regular file.
#[must_use]
pub fn contents(stat: &Stat) -> u64 {
    let size = if kind(stat) == FileType::RegularFile { stat.st_size } else { 0 };
    u64::try_from(size).unwrap_or_default()
}

/// Whether `stat` is overlayfs' whiteout: a character device 0:0.
#[must_use]
pub fn is_whiteout(stat: &Stat) -> bool {
    kind(stat) == FileType::CharacterDevice && stat.st_rdev == 0
}

/// Returns major and minor number of the device that `stat` speaks of.
#[must_use]
pub fn device(stat: &Stat) -> (u32, u32) {
    (fs::major(stat.st_rdev), fs::minor(stat.st_rdev))
}

/// A directory, held open. Its path is only for messages.
#[derive(Debug)]
pub struct Dir {
    fd: OwnedFd,
    path: PathBuf,
}

impl AsFd for Dir {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Dir {
    /// Opens the directory at `path`, following symbolic links as any program does.
    pub fn open(path: &Path) -> Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = fs::open(path, flags, Mode::empty())
            .map_err(|e| CallFailed::new(format!("open({path:?}, O_RDONLY|O_DIRECTORY)"), e))?;
        Ok(Self { fd, path: path.to_owned() })
    }

    /// Returns where the directory was opened; for messages.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns a second handle of the same directory.
    pub fn again(&self) -> Result<Self> {
        let fd = rustix::io::fcntl_dupfd_cloexec(&self.fd, 0).map_err(|e| self.failed("dup", b"", e))?;
        Ok(Self { fd, path: self.path.clone() })
    }

    /// Opens the directory `name`; ENOTDIR where it is something else.
    pub fn open_dir(&self, name: &[u8]) -> Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd =
            fs::openat(&self.fd, name, flags, Mode::empty()).map_err(|e| self.failed("openat", name, e))?;
        Ok(Self { fd, path: self.path.join(OsStr::from_bytes(name)) })
    }

    /// Opens the directory at `path` beneath this one; a symbolic link on the way is ELOOP.
    pub fn open_beneath(&self, path: &[u8]) -> Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
        let fd = fs::openat2(&self.fd, path, flags, Mode::empty(), resolve)
            .map_err(|e| self.failed("openat2", path, e))?;
        Ok(Self { fd, path: self.path.join(OsStr::from_bytes(path)) })
    }

    /// Returns what `name` is; `None` where there is nothing.
    pub fn stat(&self, name: &[u8]) -> Result<Option<Stat>> {
        match fs::statat(&self.fd, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(stat)),
            Err(Errno::NOENT) => Ok(None),
            Err(e) => Err(self.failed("fstatat", name, e)),
        }
    }

    /// Returns what this directory itself is.
    pub fn stat_self(&self) -> Result<Stat> {
        fs::fstat(&self.fd).map_err(|e| self.failed("fstat", b"", e))
    }

    /// Returns the target of the symbolic link `name`.
    pub fn read_link(&self, name: &[u8]) -> Result<Vec<u8>> {
        let target =
            fs::readlinkat(&self.fd, name, Vec::new()).map_err(|e| self.failed("readlinkat", name, e))?;
        Ok(target.into_bytes())
    }

    /// Opens the file `name` for reading.
    pub fn open_file(&self, name: &[u8]) -> Result<File> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let fd =
            fs::openat(&self.fd, name, flags, Mode::empty()).map_err(|e| self.failed("openat", name, e))?;
        Ok(File::from(fd))
    }

    /// Sets the owner of `name` itself, a symbolic link too. Clears setuid bits and capabilities (chown(2)).
    pub fn chown(&self, name: &[u8], uid: u32, gid: u32) -> Result<()> {
        let (uid, gid) = (fs::Uid::from_raw(uid), fs::Gid::from_raw(gid));
        fs::chownat(&self.fd, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)
            .map_err(|e| self.failed("fchownat", name, e))
    }

    /// Sets the mode of `name`, which must be no symbolic link: fchmodat(2) would follow it.
    pub fn chmod(&self, name: &[u8], mode: u32) -> Result<()> {
        fs::chmodat(&self.fd, name, Mode::from_raw_mode(mode), AtFlags::empty())
            .map_err(|e| self.failed("fchmodat", name, e))
    }

    /// Sets modification and access time of `name` itself.
    pub fn set_times(&self, name: &[u8], seconds: i64, nanos: u32) -> Result<()> {
        fs::utimensat(&self.fd, name, &both(seconds, nanos), AtFlags::SYMLINK_NOFOLLOW)
            .map_err(|e| self.failed("utimensat", name, e))
    }

    /// Sets the owner of this directory.
    pub fn chown_self(&self, uid: u32, gid: u32) -> Result<()> {
        chown(&self.fd, uid, gid).map_err(|e| self.failed("fchown", b"", e))
    }

    /// Sets the mode of this directory.
    pub fn chmod_self(&self, mode: u32) -> Result<()> {
        fs::fchmod(&self.fd, Mode::from_raw_mode(mode)).map_err(|e| self.failed("fchmod", b"", e))
    }

    /// Sets modification and access time of this directory.
    pub fn set_times_self(&self, seconds: i64, nanos: u32) -> Result<()> {
        set_times(&self.fd, seconds, nanos).map_err(|e| self.failed("futimens", b"", e))
    }

    /// Reads the extended attributes of this directory.
    pub fn xattrs_self(&self) -> Result<Vec<Xattr>> {
        xattrs(&self.fd).map_err(|e| self.failed("fgetxattr", b"", e))
    }

    /// Reads the extended attributes of `name` itself, a symbolic link or device too.
    pub fn xattrs(&self, name: &[u8]) -> Result<Vec<Xattr>> {
        let path = self.through_proc(name);
        read_xattrs(|buf| fs::llistxattr(&path, buf), |key, buf| fs::lgetxattr(&path, key, buf))
            .map_err(|e| self.failed("lgetxattr", name, e))
    }

    /// Sets one extended attribute of this directory.
    pub fn set_xattr_self(&self, key: &[u8], value: &[u8]) -> Result<()> {
        fs::fsetxattr(&self.fd, key, value, fs::XattrFlags::empty())
            .map_err(|e| self.failed("fsetxattr", b"", e))
    }

    /// Sets one extended attribute of `name` itself, a symbolic link or device too.
    pub fn set_xattr(&self, name: &[u8], key: &[u8], value: &[u8]) -> Result<()> {
        fs::lsetxattr(self.through_proc(name), key, value, fs::XattrFlags::empty())
            .map_err(|e| self.failed("lsetxattr", name, e))
    }

    /// Removes an extended attribute of this directory; nothing happens where it has none.
    pub fn remove_xattr_self(&self, key: &[u8]) -> Result<()> {
        match fs::fremovexattr(&self.fd, key) {
            Ok(()) | Err(Errno::NODATA | Errno::OPNOTSUPP) => Ok(()),
            Err(e) => Err(self.failed("fremovexattr", b"", e)),
        }
    }

    /// Returns this directory's value of one extended attribute.
    pub fn xattr_self(&self, key: &[u8]) -> Result<Option<Vec<u8>>> {
        match grow(|buf| fs::fgetxattr(&self.fd, key, buf)) {
            Ok(value) => Ok(Some(value)),
            Err(Errno::NODATA | Errno::OPNOTSUPP) => Ok(None),
            Err(e) => Err(self.failed("fgetxattr", b"", e)),
        }
    }

    /// There is no setxattrat(2) before Linux 6.13. The magic link in /proc names this directory, and the last
    /// component is not followed.
    fn through_proc(&self, name: &[u8]) -> PathBuf {
        through_proc(&self.fd).join(OsStr::from_bytes(name))
    }

    fn failed(&self, call: &str, name: &[u8], errno: Errno) -> CallFailed {
        CallFailed::new(format!("{call}({:?})", self.path.join(OsStr::from_bytes(name))), errno)
    }
}

/// Whether setting an extended attribute failed because the filesystem, or this kind of file, cannot hold it.
#[must_use]
pub fn cannot_hold(set: &CallFailed) -> bool {
    // setxattr(2); ENOSPC is ext4 out of room for attributes, EPERM a `user.` one of a device or symbolic link (xattr(7)).
    matches!(
        set.errno,
        Errno::OPNOTSUPP | Errno::NOSPC | Errno::TOOBIG | Errno::RANGE | Errno::INVAL | Errno::PERM
    )
}

/// Sets the owner of an open file. Clears setuid bits and capabilities (chown(2)).
pub fn chown(fd: impl AsFd, uid: u32, gid: u32) -> std::result::Result<(), Errno> {
    fs::fchown(fd, Some(fs::Uid::from_raw(uid)), Some(fs::Gid::from_raw(gid)))
}

/// Sets the mode of an open file.
pub fn chmod(fd: impl AsFd, mode: u32) -> std::result::Result<(), Errno> {
    fs::fchmod(fd, Mode::from_raw_mode(mode))
}

/// Sets one extended attribute of an open file.
pub fn set_xattr(fd: impl AsFd, key: &[u8], value: &[u8]) -> std::result::Result<(), Errno> {
    fs::fsetxattr(fd, key, value, fs::XattrFlags::empty())
}

/// Returns start and end of the next run of data in an open file at or after `from`; `None` where only a hole follows.
pub fn next_data(fd: impl AsFd, from: u64) -> std::result::Result<Option<(u64, u64)>, Errno> {
    let fd = fd.as_fd();
    match fs::seek(fd, fs::SeekFrom::Data(from)) {
        Ok(start) => Ok(Some((start, fs::seek(fd, fs::SeekFrom::Hole(start))?))),
        Err(Errno::NXIO) => Ok(None),
        Err(e) => Err(e),
    }
}

/// Sets modification and access time of an open file.
pub fn set_times(fd: impl AsFd, seconds: i64, nanos: u32) -> std::result::Result<(), Errno> {
    fs::futimens(fd, &both(seconds, nanos))
}

/// Reads the extended attributes of an open file.
pub fn xattrs(fd: impl AsFd) -> std::result::Result<Vec<Xattr>, Errno> {
    let fd = fd.as_fd();
    read_xattrs(|buf| fs::flistxattr(fd, buf), |key, buf| fs::fgetxattr(fd, key, buf))
}

fn read_xattrs(
    list: impl Fn(&mut [u8]) -> std::result::Result<usize, Errno>,
    get: impl Fn(&[u8], &mut [u8]) -> std::result::Result<usize, Errno>,
) -> std::result::Result<Vec<Xattr>, Errno> {
    let names = match grow(list) {
        Err(Errno::OPNOTSUPP) => return Ok(Vec::new()),
        names => names?,
    };
    let keys = names.split(|&b| b == 0).filter(|key| !key.is_empty());
    keys.map(|key| Ok((key.to_owned(), grow(|buf| get(key, buf))?))).collect()
}

/// Calls `read` with buffers that grow until the answer fits.
fn grow(
    read: impl Fn(&mut [u8]) -> std::result::Result<usize, Errno>,
) -> std::result::Result<Vec<u8>, Errno> {
    let mut buf = vec![0; 256];
    loop {
        match read(&mut buf) {
            Ok(len) => {
                buf.truncate(len);
                return Ok(buf);
            }
            // XATTR_SIZE_MAX and XATTR_LIST_MAX are 64 KiB (linux/limits.h).
            Err(Errno::RANGE) if buf.len() < 1 << 16 => buf.resize(buf.len() * 4, 0),
            Err(e) => return Err(e),
        }
    }
}

fn both(seconds: i64, nanos: u32) -> Timestamps {
    let time = Timespec { tv_sec: seconds, tv_nsec: i64::from(nanos) };
    Timestamps { last_access: time, last_modification: time }
}

impl Dir {
    /// Opens the file at `path` for reading, wherever links lead that stay beneath this directory (EXDEV where one does
    /// not); never waits for a fifo's writer.
    pub fn open_file_beneath(&self, path: &[u8]) -> Result<File> {
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
        loop {
            match fs::openat2(&self.fd, path, flags, Mode::empty(), resolve) {
                Ok(fd) => return Ok(File::from(fd)),
                // Something was renamed meanwhile, and the kernel cannot tell whether `..` is still inside (openat2(2)).
                Err(Errno::AGAIN | Errno::INTR) => {}
                Err(e) => return Err(self.failed("openat2", path, e)),
            }
        }
    }

    /// Creates a file that has no name and is gone when it is closed.
    pub fn create_unnamed(&self) -> Result<File> {
        let flags = OFlags::RDWR | OFlags::TMPFILE | OFlags::CLOEXEC;
        match fs::openat(&self.fd, ".", flags, Mode::from_raw_mode(0o600)) {
            Ok(fd) => Ok(File::from(fd)),
            // Not every filesystem has O_TMPFILE (open(2)): NFS and FUSE do not.
            Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::NOENT) => self.create_unlinked(),
            Err(e) => Err(self.failed("openat", b".", e)),
        }
    }

    fn create_unlinked(&self) -> Result<File> {
        let name = format!(".spool-{}", std::process::id());
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let open = || fs::openat(&self.fd, name.as_str(), flags, Mode::from_raw_mode(0o600));
        let opened = match open() {
            // A process of this number was killed between the two calls.
            Err(Errno::EXIST) => self.unlink(name.as_bytes()).ok().map_or(Err(Errno::EXIST), |()| open()),
            opened => opened,
        };
        let fd = opened.map_err(|e| self.failed("openat", name.as_bytes(), e))?;
        self.unlink(name.as_bytes())?;
        Ok(File::from(fd))
    }
}
