//! A file that is there when it is whole, and not before: until then it has no name, and vanishes with its process.

use std::fs::File;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{self, AtFlags, Mode, OFlags};
use rustix::io::Errno;

use super::dir::{self, Dir, FileType};
use super::path::fsync;
use super::script::quoted;
use super::{CallFailed, filesystem, through_proc, trace};
use crate::digest::hex;

/// A file that is being written, and will be called so.
#[derive(Debug)]
#[must_use = "it is gone if it is not kept"]
pub struct NewFile {
    folder: Dir,
    name: Vec<u8>,
    file: File,
    /// What it is called meanwhile, on a filesystem where a file must have a name.
    meanwhile: Option<Vec<u8>>,
}

impl NewFile {
    /// Begins a file that is to be at `path`, or where a symbolic link there leads. What is there must be a regular file
    /// (EEXIST), and stays until this one is kept.
    pub fn begin(path: &Path, mode: u32) -> Result<Self, CallFailed> {
        let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
        let failed = |errno| CallFailed::new(format!("open({path:?}, O_WRONLY|O_CREAT)"), errno);
        let name = path.file_name().ok_or_else(|| failed(Errno::ISDIR))?.as_bytes().to_owned();
        let folder = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        let folder = Dir::open(folder.unwrap_or(Path::new(".")))?;
        match folder.stat(&name)?.map(|stat| dir::kind(&stat)) {
            Some(FileType::Directory) => return Err(failed(Errno::ISDIR)),
            Some(FileType::RegularFile) | None => {}
            Some(_) => return Err(failed(Errno::EXIST)),
        }
        let flags = OFlags::RDWR | OFlags::TMPFILE | OFlags::CLOEXEC;
        match fs::openat(&folder, ".", flags, Mode::from_raw_mode(mode)) {
            Ok(fd) => Ok(Self { folder, name, file: File::from(fd), meanwhile: None }),
            // Not every filesystem has O_TMPFILE (open(2)): NFS, FUSE and vfat do not.
            Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::NOENT) => {
                let meanwhile = beside(&name)?;
                let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let fd = fs::openat(&folder, meanwhile.as_slice(), flags, Mode::from_raw_mode(mode))
                    .map_err(failed)?;
                Ok(Self { folder, name, file: File::from(fd), meanwhile: Some(meanwhile) })
            }
            Err(e) => Err(failed(e)),
        }
    }

    /// Returns the file, to be written to.
    #[must_use]
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Waits until the disk has what is in the file.
    pub fn sync(&self) -> Result<(), CallFailed> {
        fsync(&self.file).map_err(|e| CallFailed::on("fsync", &self.file, e))
    }

    /// Gives the file its name, in the stead of one that is there; if so, the disk has the name before this returns.
    pub fn keep(mut self, sync: bool) -> Result<(), CallFailed> {
        match self.meanwhile.take() {
            Some(meanwhile) => self.replace(&meanwhile)?,
            None => match self.link(&self.name) {
                Err(failed) if failed.errno == Errno::EXIST => {
                    // link(2) replaces nothing.
                    let meanwhile = beside(&self.name)?;
                    self.link(&meanwhile)?;
                    self.replace(&meanwhile)?;
                }
                linked => linked?,
            },
        }
        if sync { fsync(&self.folder).map_err(|e| CallFailed::on("fsync", &self.folder, e)) } else { Ok(()) }
    }

    fn link(&self, name: &[u8]) -> Result<(), CallFailed> {
        let file = through_proc(&self.file);
        let made = fs::linkat(fs::CWD, &file, &self.folder, name, AtFlags::SYMLINK_FOLLOW);
        let shown = || {
            let (folder, name) = (trace::fd(&self.folder), quoted(name));
            format!("linkat(AT_FDCWD, {file:?}, {folder}, {name}, AT_SYMLINK_FOLLOW)")
        };
        trace::call(made, shown).map_err(|e| CallFailed::on("linkat", &self.folder, e))
    }

    fn replace(&self, meanwhile: &[u8]) -> Result<(), CallFailed> {
        let renamed = self.folder.rename(meanwhile, &self.folder, &self.name);
        if renamed.is_err() {
            let _ = self.folder.unlink(meanwhile);
        }
        renamed
    }
}

impl Drop for NewFile {
    fn drop(&mut self) {
        if let Some(meanwhile) = &self.meanwhile {
            let _ = self.folder.unlink(meanwhile);
        }
    }
}

/// Returns a name of what is to become `name` in the same directory.
pub fn beside(name: &[u8]) -> Result<Vec<u8>, CallFailed> {
    let random = hex(&filesystem::random::<4>()?);
    // Room for the longest name there is.
    Ok([b".", &name[..name.len().min(200)], b".ovlctl-", random.as_bytes()].concat())
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn names(dir: &Path) -> Vec<String> {
        let names = std::fs::read_dir(dir).unwrap();
        let mut names: Vec<String> =
            names.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_file_is_there_when_it_is_kept() {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("f");
        let begun = NewFile::begin(&path, 0o600).unwrap();
        begun.file().write_all(b"1").unwrap();
        assert_eq!(names(scratch.path()), [""; 0]);
        drop(begun);
        assert_eq!(names(scratch.path()), [""; 0]);
        for text in ["1", "2"] {
            let new = NewFile::begin(&path, 0o600).unwrap();
            new.file().write_all(text.as_bytes()).unwrap();
            new.sync().unwrap();
            new.keep(true).unwrap();
            assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
        }
        assert_eq!(names(scratch.path()), ["f"]);
    }

    #[test]
    fn a_link_leads_to_the_file_that_is_replaced_and_nothing_else_is() {
        let scratch = tempfile::tempdir().unwrap();
        let path = |name: &str| scratch.path().join(name);
        std::fs::write(path("old"), "old").unwrap();
        std::os::unix::fs::symlink("old", path("link")).unwrap();
        std::os::unix::fs::symlink("/dev/null", path("null")).unwrap();
        NewFile::begin(&path("link"), 0o600).unwrap().keep(false).unwrap();
        assert_eq!(std::fs::read(path("old")).unwrap(), b"");
        assert!(path("link").is_symlink());
        for (name, errno) in [("null", Errno::EXIST), ("", Errno::ISDIR), ("none/f", Errno::NOENT)] {
            assert_eq!(NewFile::begin(&path(name), 0o600).unwrap_err().errno, errno, "{name}");
        }
    }
}
