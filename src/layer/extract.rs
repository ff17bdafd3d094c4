//! A tar's members become files in a directory that is there, over what it has: as tar(1) makes them, and with no whiteouts.

use std::io::BufRead;
use std::rc::Rc;

use crate::limits::{Limit, Limits};
use crate::sys::Errno;
use crate::sys::copy::{UNFINISHED, clear, refused};
use crate::sys::dir::in_root::Last;
use crate::sys::dir::{self, Dir, FileType};
use crate::tarfile::{self, Kind, Member, Reader};

use super::error::{Error, For, Refusal};
use super::meta::{Meta, Stamp};
use super::path::EntryPath;
use super::view::join;
use super::{LeftOut, XattrPolicy, contents};

/// Extracts the tar that `input` has into the directory `into` of `root`, and reads it to its end. Links in the way lead to
/// what they lead to in `root`, and never out of it. A file takes the place of what is there, but of no directory (EISDIR), a
/// directory of nothing else (ENOTDIR). What the tar says of its own root is left out, as `docker cp` does.
pub fn tar(input: impl BufRead, root: &Dir, into: &[u8], limits: &Limits) -> Result<LeftOut, Error> {
    let mut extract = Extract {
        root,
        into,
        limits,
        last: None,
        directories: Vec::new(),
        held: 0,
        stamp: Stamp::anywhere(root, XattrPolicy::Warn)?,
    };
    let mut members = Reader::new(input, tarfile::Limits::DEFAULT);
    let mut entries = 0;
    while let Some(mut member) = members.next()? {
        entries += 1;
        limits.check(Limit::Entries, entries)?;
        let entry = std::mem::take(&mut member.path);
        extract.member(member, &entry, &mut members)?;
    }
    members.finish()?;
    extract.finish()
}

struct Extract<'a> {
    root: &'a Dir,
    into: &'a [u8],
    limits: &'a Limits,
    /// The directory that was needed last, by its path: tars go through a tree in order.
    last: Option<(Vec<u8>, Rc<Dir>)>,
    /// What directories are to look like in the end, when nothing is made in them any more.
    directories: Vec<(Vec<u8>, Meta)>,
    /// How much memory these take.
    held: u64,
    stamp: Stamp,
}

impl Extract<'_> {
    fn member<R: BufRead>(
        &mut self,
        mut member: Member,
        entry: &[u8],
        members: &mut Reader<R>,
    ) -> Result<(), Error> {
        let path = EntryPath::parse(entry).entry(entry)?;
        self.limits.check(Limit::Depth, path.depth() as u64).entry(entry)?;
        let Some((parents, name)) = path.split() else { return Ok(()) };
        let meta = Meta::of_member(&mut member, &mut self.stamp.left_out());
        let parent = self.directory(&parents.join(&b'/'), entry)?;
        let there = parent.stat(name).entry(entry)?.map(|stat| dir::kind(&stat));
        if member.kind == Kind::Directory {
            match there {
                None => parent.mkdir(name, 0o700).entry(entry)?,
                Some(FileType::Directory) => {}
                Some(_) => return Err(refused(&parent, name, Errno::NOTDIR)).entry(entry),
            }
            self.held += meta.held() + (entry.len() + size_of::<(Vec<u8>, Meta)>()) as u64;
            self.limits.check(Limit::Memory, self.held).entry(entry)?;
            self.directories.push((path.joined(), meta));
            return Ok(());
        }
        if there == Some(FileType::Directory) {
            return Err(refused(&parent, name, Errno::ISDIR)).entry(entry);
        }
        clear(&parent).entry(entry)?;
        let made = self.make(member, &meta, &parent, entry, members);
        let made = made.and_then(|()| parent.rename(UNFINISHED, &parent, name).entry(entry));
        // Also where it was made: rename(2) does nothing where both are names of one file already.
        let left = clear(&parent).entry(entry);
        made.and(left)
    }

    /// Makes anything but a directory, under a name of its own.
    fn make<R: BufRead>(
        &mut self,
        member: Member,
        meta: &Meta,
        to: &Dir,
        entry: &[u8],
        members: &mut Reader<R>,
    ) -> Result<(), Error> {
        let device = |kind, device| {
            to.mknod(UNFINISHED, kind, 0o600, device).entry(entry)?;
            self.stamp.node(to, UNFINISHED, meta, entry)
        };
        match member.kind {
            Kind::HardLink(target) => self.link(&target, to, entry),
            Kind::File => {
                let mut file = to.create(UNFINISHED, 0o600).entry(entry)?;
                contents::write(member.sparse, false, &mut file, entry, members)?;
                self.stamp.file(&file, meta, entry)
            }
            Kind::Symlink(target) => {
                to.symlink(&target, UNFINISHED).entry(entry)?;
                self.stamp.symlink(to, UNFINISHED, meta, entry)
            }
            Kind::CharDevice { major: 0, minor: 0 } => Err(Refusal::WhiteoutDevice.of(entry)),
            Kind::CharDevice { major, minor } => device(FileType::CharacterDevice, (major, minor)),
            Kind::BlockDevice { major, minor } => device(FileType::BlockDevice, (major, minor)),
            Kind::Fifo => device(FileType::Fifo, (0, 0)),
            Kind::Directory => unreachable!("directories are made in place"),
        }
    }

    /// Gives a file that is there, in the tar or not, one more name.
    fn link(&mut self, target: &[u8], to: &Dir, entry: &[u8]) -> Result<(), Error> {
        let bad = |why| Refusal::LinkTarget { target: target.to_owned(), why: Box::new(why) };
        let path = EntryPath::parse(target).map_err(bad).entry(entry)?;
        let Some((parents, name)) = path.split() else {
            return Err(Refusal::LinkToDirectory(target.to_owned()).of(entry));
        };
        let from = self.directory(&parents.join(&b'/'), entry)?;
        from.link(name, to, UNFINISHED).entry(entry)
    }

    /// Opens the directory at a path below `into`; what of it is not there is made.
    fn directory(&mut self, path: &[u8], entry: &[u8]) -> Result<Rc<Dir>, Error> {
        if let Some((_, dir)) = self.last.as_ref().filter(|(last, _)| last == path) {
            return Ok(Rc::clone(dir));
        }
        let dir = match self.root.find(&join(self.into, path), Last::Followed).entry(entry)? {
            Some(found) => Rc::new(found.open_dir().entry(entry)?),
            None => {
                let slash = path.iter().rposition(|&byte| byte == b'/');
                let (above, name) = slash.map_or((&b""[..], path), |at| (&path[..at], &path[at + 1..]));
                let above = self.directory(above, entry)?;
                above.mkdir(name, 0o755).entry(entry)?;
                above.chmod(name, 0o755).entry(entry)?;
                Rc::new(above.open_dir(name).entry(entry)?)
            }
        };
        self.last = Some((path.to_owned(), Rc::clone(&dir)));
        Ok(dir)
    }

    /// Gives directories what they are to have.
    fn finish(mut self) -> Result<LeftOut, Error> {
        for (path, meta) in std::mem::take(&mut self.directories) {
            let Some(found) = self.root.find(&join(self.into, &path), Last::Kept).entry(&path)? else {
                continue;
            };
            self.stamp.directory(&found.open_dir().entry(&path)?, &meta, &path)?;
        }
        Ok(self.stamp.into_left_out())
    }
}
