//! Names in a directory are made, moved and removed.

use std::fs::File;
use std::os::fd::AsRawFd;

use rustix::fs::{self, AtFlags, FileType, Mode, OFlags};

use super::{Dir, Result};
use crate::sys::script::quoted;
use crate::sys::trace;

impl Dir {
    /// Creates the directory `name`.
    pub fn mkdir(&self, name: &[u8], mode: u32) -> Result<()> {
        let made = fs::mkdirat(&self.fd, name, Mode::from_raw_mode(mode));
        trace::call(made, || format!("mkdirat({}, {}, 0{mode:o})", self.shown(), quoted(name)))
            .map_err(|e| self.failed("mkdirat", name, e))
    }

    /// Creates the regular file `name`, open for writing; EEXIST where the name is taken.
    pub fn create(&self, name: &[u8], mode: u32) -> Result<File> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let made = fs::openat(&self.fd, name, flags, Mode::from_raw_mode(mode));
        let shown = "O_WRONLY|O_CREAT|O_EXCL|O_NOFOLLOW|O_CLOEXEC";
        trace::call(made, || format!("openat({}, {}, {shown}, 0{mode:o})", self.shown(), quoted(name)))
            .map(File::from)
            .map_err(|e| self.failed("openat", name, e))
    }

    /// Creates the symbolic link `name` that says `target`.
    pub fn symlink(&self, target: &[u8], name: &[u8]) -> Result<()> {
        let made = fs::symlinkat(target, &self.fd, name);
        trace::call(made, || format!("symlinkat({}, {}, {})", quoted(target), self.shown(), quoted(name)))
            .map_err(|e| self.failed("symlinkat", name, e))
    }

    /// Creates the device, fifo or socket `name`; `device` is major and minor.
    pub fn mknod(&self, name: &[u8], kind: FileType, mode: u32, device: (u32, u32)) -> Result<()> {
        let (major, minor) = device;
        let made = fs::mknodat(&self.fd, name, kind, Mode::from_raw_mode(mode), fs::makedev(major, minor));
        let shown = || {
            let kind = match kind {
                FileType::CharacterDevice => "S_IFCHR",
                FileType::BlockDevice => "S_IFBLK",
                FileType::Fifo => "S_IFIFO",
                FileType::Socket => "S_IFSOCK",
                FileType::RegularFile | FileType::Directory | FileType::Symlink | FileType::Unknown => {
                    "S_IFREG"
                }
            };
            let mode = format!("0{mode:o}");
            let device = format!("makedev({major:#x}, {minor:#x})").replace("0x0", "0");
            format!("mknodat({}, {}, {kind}|{mode:0>3}, {device})", self.shown(), quoted(name))
        };
        trace::call(made, shown).map_err(|e| self.failed("mknodat", name, e))
    }

    /// Gives the inode `name` a second name, `new` in `to`; a symbolic link itself is linked, not its target.
    pub fn link(&self, name: &[u8], to: &Self, new: &[u8]) -> Result<()> {
        let made = fs::linkat(&self.fd, name, &to.fd, new, AtFlags::empty());
        trace::call(made, || format!("linkat({}, 0)", self.both(name, to, new)))
            .map_err(|e| to.failed("linkat", new, e))
    }

    /// Removes `name`, which is no directory.
    pub fn unlink(&self, name: &[u8]) -> Result<()> {
        let made = fs::unlinkat(&self.fd, name, AtFlags::empty());
        trace::call(made, || format!("unlinkat({}, {}, 0)", self.shown(), quoted(name)))
            .map_err(|e| self.failed("unlinkat", name, e))
    }

    /// Removes the empty directory `name`.
    pub fn rmdir(&self, name: &[u8]) -> Result<()> {
        let made = fs::unlinkat(&self.fd, name, AtFlags::REMOVEDIR);
        trace::call(made, || format!("unlinkat({}, {}, AT_REMOVEDIR)", self.shown(), quoted(name)))
            .map_err(|e| self.failed("unlinkat", name, e))
    }

    /// Moves `name` to `new` in `to`; a file there is replaced.
    pub fn rename(&self, name: &[u8], to: &Self, new: &[u8]) -> Result<()> {
        let made = fs::renameat(&self.fd, name, &to.fd, new);
        trace::call(made, || format!("renameat({})", self.both(name, to, new)))
            .map_err(|e| to.failed("renameat", new, e))
    }

    /// Moves `name` to `new` in `to`; EEXIST where that is taken.
    pub fn rename_to_free(&self, name: &[u8], to: &Self, new: &[u8]) -> Result<()> {
        let made = fs::renameat_with(&self.fd, name, &to.fd, new, fs::RenameFlags::NOREPLACE);
        trace::call(made, || format!("renameat2({}, RENAME_NOREPLACE)", self.both(name, to, new)))
            .map_err(|e| to.failed("renameat2", new, e))
    }

    /// Puts `name` where `other` in `to` is, and the other way round, at once.
    pub fn exchange(&self, name: &[u8], to: &Self, other: &[u8]) -> Result<()> {
        let made = fs::renameat_with(&self.fd, name, &to.fd, other, fs::RenameFlags::EXCHANGE);
        trace::call(made, || format!("renameat2({}, RENAME_EXCHANGE)", self.both(name, to, other)))
            .map_err(|e| to.failed("renameat2", other, e))
    }

    /// Shows this directory as `strace -y` does. Its path is that by which it was opened: /proc, which knows better, a process
    /// that reads archives does not have.
    fn shown(&self) -> String {
        format!("{}<{}>", self.fd.as_raw_fd(), self.path.as_os_str().as_encoded_bytes().escape_ascii())
    }

    /// Shows two names, as calls take them.
    fn both(&self, name: &[u8], to: &Self, new: &[u8]) -> String {
        format!("{}, {}, {}, {}", self.shown(), quoted(name), to.shown(), quoted(new))
    }
}
