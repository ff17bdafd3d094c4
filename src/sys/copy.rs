//! Whole trees copied: every inode with its owner, mode, extended attributes, time, holes and other names.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::rc::Rc;
use std::sync::Arc;

use super::CallFailed;
use super::dir::in_root::{Found, Last};
use super::dir::{self, Dir, FileType, Stat, cannot_hold};
use crate::progress::Counter;
use rustix::io::Errno;

/// What a file is called until it is whole.
pub const UNFINISHED: &[u8] = b".ovlctl-copying";

/// Inodes' names, each with that of an extended attribute.
pub type Unheld = Vec<(Vec<u8>, Vec<u8>)>;

/// A copy under way. Knows which inodes it has copied: their other names become hard links.
#[derive(Debug, Default)]
pub struct Copy {
    done: HashMap<(u64, u64), (Rc<Dir>, Vec<u8>)>,
    /// Extended attributes that the filesystem copied to cannot hold: the inode's name and theirs.
    pub unheld: Unheld,
    /// What counts the bytes of files, and may end it before its time (EINTR).
    pub counter: Arc<Counter>,
}

/// A directory whose entries are being copied.
struct Level {
    from: Dir,
    to: Rc<Dir>,
    left: Vec<Vec<u8>>,
    /// What the copy is to look like once it is full.
    stat: Stat,
    xattrs: Vec<dir::Xattr>,
}

impl Copy {
    /// Copies `from` to `name` in `to`. A file takes the place of what is there, but of no directory (EISDIR); a directory
    /// is merged with one that is there, and takes the place of nothing else (ENOTDIR). What is mounted on a directory
    /// is left out.
    pub fn tree(&mut self, from: &Found, to: &Rc<Dir>, name: &[u8]) -> Result<(), CallFailed> {
        let mut levels = Vec::new();
        levels.extend(self.inode(from, to, name, true)?);
        while let Some(level) = levels.last_mut() {
            if let Some(name) = level.left.pop() {
                let to = Rc::clone(&level.to);
                // It may be removed while it is looked at.
                let Some(found) = level.from.find(&name, Last::Kept)? else { continue };
                levels.extend(self.inode(&found, &to, &name, false)?);
            } else if let Some(Level { to, stat, xattrs, .. }) = levels.pop() {
                self.dress(&to, &stat, &xattrs)?;
            }
        }
        Ok(())
    }

    /// Copies what is in the directory `from` into `to`, which stays as it is.
    pub fn contents(&mut self, from: &Found, to: &Rc<Dir>) -> Result<(), CallFailed> {
        let from = from.open_dir()?;
        for name in from.names()? {
            if let Some(found) = from.find(&name, Last::Kept)? {
                self.tree(&found, to, &name)?;
            }
        }
        Ok(())
    }

    /// Copies one inode; of a directory, returns what is left to do.
    fn inode(
        &mut self,
        from: &Found,
        to: &Rc<Dir>,
        name: &[u8],
        is_top: bool,
    ) -> Result<Option<Level>, CallFailed> {
        if self.counter.is_cancelled() {
            return Err(CallFailed::new("signal", Errno::INTR));
        }
        let stat = from.stat()?;
        if dir::kind(&stat) == FileType::Directory {
            let all = is_top || !from.is_mount_root()?;
            return Self::directory(from, stat, to, name, all).map(Some);
        }
        if to.stat(name)?.is_some_and(|there| dir::kind(&there) == FileType::Directory) {
            return Err(refused(to, name, Errno::ISDIR));
        }
        let identity = (stat.st_dev, stat.st_ino);
        clear(to)?;
        if let Some((dir, first)) = self.done.get(&identity).filter(|_| stat.st_nlink > 1) {
            dir.link(first, to, UNFINISHED)?;
        } else {
            self.make(from, &stat, to, name)?;
        }
        to.rename(UNFINISHED, to, name)?;
        // rename(2) does nothing where both are names of one file already.
        clear(to)?;
        if stat.st_nlink > 1 {
            self.done.entry(identity).or_insert_with(|| (Rc::clone(to), name.to_owned()));
        }
        Ok(None)
    }

    fn directory(from: &Found, stat: Stat, to: &Dir, name: &[u8], all: bool) -> Result<Level, CallFailed> {
        match to.mkdir(name, 0o700) {
            Err(failed) if failed.errno == Errno::EXIST => {
                if to.stat(name)?.is_some_and(|there| dir::kind(&there) != FileType::Directory) {
                    return Err(refused(to, name, Errno::NOTDIR));
                }
            }
            made => made?,
        }
        let (dir, to) = (from.open_dir()?, Rc::new(to.open_dir(name)?));
        let left = if all { dir.names()? } else { Vec::new() };
        Ok(Level { from: dir, to, left, stat, xattrs: from.xattrs()? })
    }

    /// Makes anything but a directory, under a name of its own.
    fn make(&mut self, from: &Found, stat: &Stat, to: &Dir, name: &[u8]) -> Result<(), CallFailed> {
        match dir::kind(stat) {
            FileType::RegularFile => {
                let made = to.create(UNFINISHED, 0o600)?;
                let size = u64::try_from(stat.st_size).unwrap_or_default();
                copy_data(&from.open_file()?, &made, size, &self.counter)
                    .map_err(|e| CallFailed::of_io("write", &e))?;
            }
            FileType::Symlink => to.symlink(&from.link()?, UNFINISHED)?,
            kind @ (FileType::Directory
            | FileType::Fifo
            | FileType::Socket
            | FileType::CharacterDevice
            | FileType::BlockDevice
            | FileType::Unknown) => to.mknod(UNFINISHED, kind, 0o600, dir::device(stat))?,
        }
        to.chown(UNFINISHED, stat.st_uid, stat.st_gid)?;
        if dir::kind(stat) != FileType::Symlink {
            to.chmod(UNFINISHED, stat.st_mode & 0o7777)?;
        }
        for (key, value) in from.xattrs()?.iter().filter(|(key, _)| is_portable(key)) {
            match to.set_xattr(UNFINISHED, key, value) {
                Err(failed) if cannot_hold(&failed) => self.unheld.push((name.to_owned(), key.clone())),
                set => set?,
            }
        }
        to.set_times(UNFINISHED, stat.st_mtime, u32::try_from(stat.st_mtime_nsec).unwrap_or_default())
    }

    /// Gives a directory in which nothing is made any more the owner, mode, attributes and time that another one has.
    pub fn dress(&mut self, to: &Dir, stat: &Stat, xattrs: &[dir::Xattr]) -> Result<(), CallFailed> {
        to.chown_self(stat.st_uid, stat.st_gid)?;
        to.chmod_self(stat.st_mode & 0o7777)?;
        for (key, value) in xattrs.iter().filter(|(key, _)| is_portable(key)) {
            match to.set_xattr_self(key, value) {
                Err(failed) if cannot_hold(&failed) => self.unheld.push((b".".to_vec(), key.clone())),
                set => set?,
            }
        }
        to.set_times_self(stat.st_mtime, u32::try_from(stat.st_mtime_nsec).unwrap_or_default())
    }
}

/// Whether an attribute means the same elsewhere: labels of a host's security modules do not.
fn is_portable(key: &[u8]) -> bool {
    !matches!(key, b"security.selinux" | b"security.ima" | b"security.evm")
}

/// Removes what is not whole yet, if anything is there.
pub fn clear(dir: &Dir) -> Result<(), CallFailed> {
    match dir.unlink(UNFINISHED) {
        Err(failed) if failed.errno != Errno::NOENT => Err(failed),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// What a directory is that is not replaced by anything else, nor anything else by it.
pub fn refused(to: &Dir, name: &[u8], errno: Errno) -> CallFailed {
    CallFailed::new(format!("rename({:?})", to.path().join(OsStr::from_bytes(name))), errno)
}

/// Makes the empty file `to` share the contents of `from` (FICLONE): another file, of the same blocks until one of them is
/// written to. Returns what came of it.
pub fn share(from: &File, to: &File) -> Result<Shared, CallFailed> {
    match rustix::fs::ioctl_ficlone(to, from) {
        Ok(()) => Ok(Shared::Whole),
        // Another filesystem, or one that cannot: ENOTTY where it has no such calls at all.
        Err(Errno::XDEV | Errno::OPNOTSUPP | Errno::NOTTY | Errno::NOSYS) => Ok(Shared::Never),
        // This file: on btrfs it may have no checksums where the other one has (ioctl_ficlone(2)).
        Err(Errno::INVAL | Errno::PERM | Errno::TXTBSY | Errno::BADF) => Ok(Shared::NotThis),
        Err(errno) => Err(CallFailed::new("ioctl(FICLONE)", errno)),
    }
}

/// What came of [`share`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shared {
    /// Both have the same contents now.
    Whole,
    /// This file's cannot be shared.
    NotThis,
    /// None can be, between these two places.
    Never,
}

/// Copies the runs of data of a file, and leaves its holes.
fn copy_data(from: &File, to: &File, size: u64, counter: &Counter) -> io::Result<()> {
    let mut buffer = vec![0; 256 << 10];
    let mut at = 0;
    while let Some((start, end)) = dir::next_data(from, at)? {
        at = start;
        while at < end {
            let most = usize::try_from(end - at).map_or(buffer.len(), |left| left.min(buffer.len()));
            let read = from.read_at(&mut buffer[..most], at)?;
            if read == 0 {
                break;
            }
            to.write_all_at(&buffer[..read], at)?;
            at += read as u64;
            counter.add(read as u64)?;
        }
        at = end;
    }
    to.set_len(size)
}
