//! A directory tree: what is put into it, what is done to it, and what it shows.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use ovlctl::sys::dir::{Dir, FileType, Stat};
use rustix::fs::{AtFlags, CWD, Mode, OFlags, RenameFlags};

use crate::fact::{Done, Saw, Stop};

/// A directory of the scene: a layer, or where an overlay is mounted.
#[derive(Debug, Clone)]
pub(crate) struct Tree {
    path: PathBuf,
}

/// What is put there before anything is looked at; the fact ends where it cannot be.
impl Tree {
    pub(crate) fn at(path: impl AsRef<Path>) -> Self {
        Self { path: path.as_ref().to_owned() }
    }

    /// Makes a directory, and those above it.
    #[track_caller]
    pub(crate) fn dir(&self, name: &str) -> &Self {
        self.must(name, fs::create_dir_all(self.path(name)))
    }

    #[track_caller]
    pub(crate) fn file(&self, name: &str, text: &str) -> &Self {
        self.parents(name).must(name, fs::write(self.path(name), text))
    }

    /// Makes overlayfs' whiteout, a device 0:0.
    #[track_caller]
    pub(crate) fn whiteout(&self, name: &str) -> &Self {
        let kind = FileType::CharacterDevice;
        self.parents(name).must(name, self.open().mknod(name.as_bytes(), kind, 0, (0, 0)))
    }

    #[track_caller]
    pub(crate) fn node(&self, name: &str, kind: FileType, device: (u32, u32)) -> &Self {
        self.parents(name).must(name, self.open().mknod(name.as_bytes(), kind, 0o644, device))
    }

    #[track_caller]
    pub(crate) fn symlink(&self, name: &str, target: &str) -> &Self {
        self.parents(name).must(name, self.open().symlink(target.as_bytes(), name.as_bytes()))
    }

    /// Gives the file `name` a second name.
    #[track_caller]
    pub(crate) fn hard_link(&self, name: &str, second: &str) -> &Self {
        self.parents(second).must(second, fs::hard_link(self.path(name), self.path(second)))
    }

    /// Sets an extended attribute; the empty name is the tree's own root.
    #[track_caller]
    pub(crate) fn mark(&self, name: &str, key: &str, value: impl AsRef<[u8]>) -> &Self {
        self.must(name, self.set_xattr(name, key, value))
    }

    /// Marks a directory as hiding what lies below it.
    #[track_caller]
    pub(crate) fn opaque(&self, name: &str) -> &Self {
        self.dir(name).mark(name, "trusted.overlay.opaque", "y")
    }

    #[track_caller]
    pub(crate) fn mode(&self, name: &str, mode: u32) -> &Self {
        self.must(name, self.chmod(name, mode))
    }

    #[track_caller]
    pub(crate) fn owner(&self, name: &str, uid: u32, gid: u32) -> &Self {
        self.must(name, self.chown(name, uid, gid))
    }

    #[track_caller]
    fn parents(&self, name: &str) -> &Self {
        let path = self.path(name);
        let parent = path.parent().expect("a name has a parent");
        self.must(name, fs::create_dir_all(parent))
    }

    #[track_caller]
    fn must<T, E: std::fmt::Debug>(&self, name: &str, made: Result<T, E>) -> &Self {
        if let Err(e) = made {
            panic!("{}: {e:?}", self.path(name).display());
        }
        self
    }
}

/// What it shows.
impl Tree {
    /// Where `name` is, from the scene's folder.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        if name.is_empty() { self.path.clone() } else { self.path.join(name) }
    }

    /// The directory itself, by ovlctl's own door.
    #[track_caller]
    pub(crate) fn open(&self) -> Dir {
        Dir::open(&self.path).unwrap_or_else(|e| panic!("{e}"))
    }

    /// The contents of a file; `empty` where there are none.
    pub(crate) fn read(&self, name: &str) -> Saw {
        let text = String::from_utf8_lossy(&fs::read(self.path(name))?).into_owned();
        Ok(if text.is_empty() { "empty".to_owned() } else { text })
    }

    /// The names in a directory in alphabetical order; `nothing` where there are none.
    pub(crate) fn names(&self, name: &str) -> Saw {
        let mut names: Vec<_> =
            Dir::open(&self.path(name))?.names()?.iter().map(|n| n.escape_ascii().to_string()).collect();
        names.sort();
        Ok(if names.is_empty() { "nothing".to_owned() } else { names.join(" ") })
    }

    pub(crate) fn stat(&self, name: &str) -> Result<Stat, Stop> {
        Ok(rustix::fs::statat(CWD, self.path(name), AtFlags::SYMLINK_NOFOLLOW)?)
    }

    /// Its inode number.
    pub(crate) fn inode(&self, name: &str) -> Result<u64, Stop> {
        Ok(self.stat(name)?.st_ino)
    }

    /// Permissions, owner and group: `640 7:8`.
    pub(crate) fn access(&self, name: &str) -> Saw {
        let stat = self.stat(name)?;
        Ok(format!("{:o} {}:{}", stat.st_mode & 0o7777, stat.st_uid, stat.st_gid))
    }

    /// What is there: `file`, `directory`, `whiteout`…, or ENOENT.
    pub(crate) fn kind(&self, name: &str) -> Saw {
        let stat = self.stat(name)?;
        Ok(match ovlctl::sys::dir::kind(&stat) {
            FileType::CharacterDevice if stat.st_rdev == 0 => "whiteout",
            FileType::RegularFile => "file",
            FileType::Directory => "directory",
            FileType::Symlink => "symlink",
            FileType::Fifo => "fifo",
            FileType::Socket => "socket",
            FileType::CharacterDevice | FileType::BlockDevice => "device",
            FileType::Unknown => "unknown",
        }
        .to_owned())
    }

    /// The value of an extended attribute, escaped; ENODATA where there is none.
    pub(crate) fn xattr(&self, name: &str, key: &str) -> Saw {
        let mut value = vec![0; 1 << 16];
        let len = rustix::fs::lgetxattr(self.path(name), key, &mut value)?;
        Ok(value[..len].escape_ascii().to_string())
    }

    /// The names of its extended attributes that start with `prefix`, in alphabetical order; `none` without any.
    pub(crate) fn xattrs(&self, name: &str, prefix: &str) -> Saw {
        let mut list = vec![0; 1 << 16];
        let len = rustix::fs::llistxattr(self.path(name), &mut list)?;
        let text = String::from_utf8_lossy(&list[..len]).into_owned();
        let mut keys: Vec<_> = text.split_terminator('\0').filter(|key| key.starts_with(prefix)).collect();
        keys.sort_unstable();
        Ok(if keys.is_empty() { "none".to_owned() } else { keys.join(" ") })
    }
}

/// What is done to it: `ok`, or what the kernel answers.
impl Tree {
    /// Opens a file, or a directory.
    pub(crate) fn file_at(&self, name: &str, flags: OFlags) -> Result<File, Stop> {
        let flags = flags | OFlags::CLOEXEC;
        Ok(File::from(rustix::fs::open(self.path(name), flags, Mode::from_raw_mode(0o644))?))
    }

    /// Makes a file that is not there yet.
    pub(crate) fn create(&self, name: &str) -> Saw {
        self.open().create(name.as_bytes(), 0o644).done()
    }

    /// Replaces a file's contents.
    pub(crate) fn write(&self, name: &str, text: &str) -> Saw {
        self.file_at(name, OFlags::WRONLY | OFlags::TRUNC)?.write_all(text.as_bytes()).done()
    }

    /// Adds to a file's contents.
    pub(crate) fn append(&self, name: &str, text: &str) -> Saw {
        self.file_at(name, OFlags::WRONLY | OFlags::APPEND)?.write_all(text.as_bytes()).done()
    }

    pub(crate) fn mkdir(&self, name: &str) -> Saw {
        self.open().mkdir(name.as_bytes(), 0o755).done()
    }

    pub(crate) fn unlink(&self, name: &str) -> Saw {
        self.open().unlink(name.as_bytes()).done()
    }

    pub(crate) fn rmdir(&self, name: &str) -> Saw {
        self.open().rmdir(name.as_bytes()).done()
    }

    pub(crate) fn rename(&self, name: &str, new: &str) -> Saw {
        let dir = self.open();
        dir.rename(name.as_bytes(), &dir, new.as_bytes()).done()
    }

    /// renameat2(2)
    pub(crate) fn rename_with(&self, name: &str, new: &str, flags: RenameFlags) -> Saw {
        rustix::fs::renameat_with(CWD, self.path(name), CWD, self.path(new), flags).done()
    }

    pub(crate) fn link(&self, name: &str, new: &str) -> Saw {
        let dir = self.open();
        dir.link(name.as_bytes(), &dir, new.as_bytes()).done()
    }

    pub(crate) fn chmod(&self, name: &str, mode: u32) -> Saw {
        rustix::fs::chmod(self.path(name), Mode::from_raw_mode(mode)).done()
    }

    pub(crate) fn chown(&self, name: &str, uid: u32, gid: u32) -> Saw {
        std::os::unix::fs::lchown(self.path(name), Some(uid), Some(gid)).done()
    }

    pub(crate) fn set_xattr(&self, name: &str, key: &str, value: impl AsRef<[u8]>) -> Saw {
        let flags = rustix::fs::XattrFlags::empty();
        rustix::fs::lsetxattr(self.path(name), key, value.as_ref(), flags).done()
    }

    pub(crate) fn remove_xattr(&self, name: &str, key: &str) -> Saw {
        rustix::fs::lremovexattr(self.path(name), key).done()
    }

    /// The link's text.
    pub(crate) fn read_link(&self, name: &str) -> Saw {
        Ok(OsStr::from_bytes(&self.open().read_link(name.as_bytes())?).to_string_lossy().into_owned())
    }
}
