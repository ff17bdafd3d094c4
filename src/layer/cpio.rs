//! A tree becomes a cpio archive of the form that the kernel unpacks as its initramfs: "newc"
//! (Documentation/driver-api/early-userspace/buffer-format.rst).

use std::collections::HashMap;
use std::io::{self, Read, Write};

use crate::sys::dir::in_root::Found;
use crate::sys::dir::{self, FileType, Stat};

use super::pack::Error;
use super::walk::walk;
use super::whiteout;

/// What such an archive has no room for.
#[derive(Debug, Default)]
pub struct Lost {
    /// How many extended attributes.
    pub xattrs: usize,
    /// The first of them: the path, and the attribute's name.
    pub first: Option<(Vec<u8>, Vec<u8>)>,
    /// How many times before 1970 or after 2106.
    pub times: usize,
}

/// The longest path that the kernel unpacks, its NUL included (init/initramfs.c, do_header).
const PATH_MAX: usize = 4096;

/// What cpio(1) fills the last record up to.
const RECORD: u64 = 512;

/// Writes `root` and all that is in it, and returns what could not be written.
pub fn tree(root: &Found, out: impl Write) -> Result<Lost, Error> {
    let mut cpio = Cpio { out, written: 0, next: 1, links: HashMap::new(), lost: Lost::default() };
    walk(root, &mut |path, found, stat| cpio.add(if path.is_empty() { b"." } else { path }, found, stat))?;
    cpio.finish().map_err(|source| Error::Member { path: b"end".to_vec(), source })?;
    Ok(cpio.lost)
}

struct Cpio<W> {
    out: W,
    written: u64,
    /// Numbers of inodes have 32 bits here, and other filesystems' more.
    next: u32,
    /// The number of each inode that has several names.
    links: HashMap<(u64, u64), u32>,
    lost: Lost,
}

/// The fields of a header, in its order, but for the length of the name and the sum, which is none.
#[derive(Default)]
struct Fields {
    ino: u32,
    mode: u32,
    uid: u32,
    gid: u32,
    nlink: u32,
    mtime: u32,
    size: u32,
    device: (u32, u32),
}

impl<W: Write> Cpio<W> {
    fn add(&mut self, path: &[u8], found: &Found, stat: &Stat) -> Result<(), Error> {
        let failed = |source| Error::Member { path: path.to_owned(), source };
        let kind = dir::kind(stat);
        let (ino, is_new) = self.number(stat);
        let target = if kind == FileType::Symlink { found.link()? } else { Vec::new() };
        let size = match kind {
            // The contents stand with its first name; other archivers have them with the last, and readers take either.
            FileType::RegularFile if is_new => dir::contents(stat),
            FileType::Symlink => target.len() as u64,
            FileType::RegularFile
            | FileType::Directory
            | FileType::Fifo
            | FileType::Socket
            | FileType::CharacterDevice
            | FileType::BlockDevice
            | FileType::Unknown => 0,
        };
        let size = u32::try_from(size)
            .map_err(|_| failed(refused("its size, of 4 GiB or more, is too large for cpio")))?;
        if path.len() >= PATH_MAX {
            return Err(failed(refused("its path is longer than the kernel unpacks")));
        }
        let mtime = u32::try_from(stat.st_mtime).unwrap_or_else(|_| {
            self.lost.times += 1;
            if stat.st_mtime < 0 { 0 } else { u32::MAX }
        });
        self.forget(path, found)?;
        let fields = Fields {
            ino,
            mode: stat.st_mode,
            uid: stat.st_uid,
            gid: stat.st_gid,
            nlink: u32::try_from(stat.st_nlink).unwrap_or(u32::MAX),
            mtime,
            size,
            device: dir::device(stat),
        };
        self.header(&fields, path).map_err(failed)?;
        if kind == FileType::RegularFile && size > 0 {
            self.contents(&mut found.open_file()?, size.into()).map_err(failed)
        } else {
            self.contents(&mut target.as_slice(), size.into()).map_err(failed)
        }
    }

    /// Returns the number of an inode, and whether it was not met before.
    fn number(&mut self, stat: &Stat) -> (u32, bool) {
        let has_names = stat.st_nlink > 1 && dir::kind(stat) != FileType::Directory;
        let identity = (stat.st_dev, stat.st_ino);
        if let Some(&known) = self.links.get(&identity).filter(|_| has_names) {
            return (known, false);
        }
        let number = self.next;
        self.next = self.next.wrapping_add(1);
        if has_names {
            self.links.insert(identity, number);
        }
        (number, true)
    }

    /// Counts the extended attributes.
    fn forget(&mut self, path: &[u8], found: &Found) -> Result<(), Error> {
        for (key, _) in whiteout::shown(found.xattrs()?) {
            self.lost.xattrs += 1;
            self.lost.first.get_or_insert_with(|| (path.to_owned(), key));
        }
        Ok(())
    }

    fn header(&mut self, fields: &Fields, name: &[u8]) -> io::Result<()> {
        let Fields { ino, mode, uid, gid, nlink, mtime, size, device } = fields;
        let length = u32::try_from(name.len() + 1).map_err(io::Error::other)?;
        let all = [ino, mode, uid, gid, nlink, mtime, size, &0, &0, &device.0, &device.1, &length, &0];
        let text: String = all.into_iter().map(|field| format!("{field:08x}")).collect();
        self.write(b"070701")?;
        self.write(text.as_bytes())?;
        self.write(name)?;
        self.write(b"\0")?;
        self.pad(4)
    }

    fn contents(&mut self, from: &mut dyn Read, size: u64) -> io::Result<()> {
        if io::copy(&mut from.take(size), &mut self.out)? < size {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "it became shorter while it was read"));
        }
        self.written += size;
        self.pad(4)
    }

    fn finish(&mut self) -> io::Result<()> {
        self.header(&Fields { nlink: 1, ..Fields::default() }, b"TRAILER!!!")?;
        self.pad(RECORD)?;
        self.out.flush()
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.written += bytes.len() as u64;
        self.out.write_all(bytes)
    }

    fn pad(&mut self, to: u64) -> io::Result<()> {
        let lacks = usize::try_from((to - self.written % to) % to).expect("less than a record");
        self.write(&[0; RECORD as usize][..lacks])
    }
}

fn refused(why: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::FileTooLarge, why)
}
