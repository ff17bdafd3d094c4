//! A tar's members become files in a directory that is there, over what it has: as tar(1) makes them, and with no whiteouts.

use std::fs::File;
use std::io::{BufRead, Seek, SeekFrom};
use std::rc::Rc;

use crate::limits::{Limit, Limits};
use crate::sys::dir::in_root::Last;
use crate::sys::dir::{self, Dir, FileType, cannot_hold};
use crate::sys::{CallFailed, Errno};
use crate::tarfile::{self, Kind, Member, Reader, Sparse};

use super::error::{Error, For, Refusal};
use super::meta::Meta;
use super::path::EntryPath;
use super::view::join;
use super::{LeftOut, Unheld, writer};

/// What a member is called until it is whole.
const UNFINISHED: &[u8] = b".ovlctl-copying";

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
        left_out: LeftOut::default(),
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
    left_out: LeftOut,
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
        let meta = Meta::of_member(&mut member, &mut self.left_out);
        let parent = self.directory(&parents.join(&b'/'), entry)?;
        let there = parent.stat(name).entry(entry)?.map(|stat| dir::kind(&stat));
        if member.kind == Kind::Directory {
            match there {
                None => parent.mkdir(name, 0o700).entry(entry)?,
                Some(FileType::Directory) => {}
                Some(_) => return Err(refused(name, Errno::NOTDIR)).entry(entry),
            }
            self.held += meta.held() + (entry.len() + size_of::<(Vec<u8>, Meta)>()) as u64;
            self.limits.check(Limit::Memory, self.held).entry(entry)?;
            self.directories.push((path.joined(), meta));
            return Ok(());
        }
        if there == Some(FileType::Directory) {
            return Err(refused(name, Errno::ISDIR)).entry(entry);
        }
        remove(&parent).entry(entry)?;
        let made = self.make(member, &meta, &parent, entry, members);
        let made = made.and_then(|()| parent.rename(UNFINISHED, &parent, name).entry(entry));
        // Also where it was made: rename(2) does nothing where both are names of one file already.
        let left = remove(&parent).entry(entry);
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
        match member.kind {
            Kind::HardLink(target) => return self.link(&target, to, entry),
            Kind::File => {
                let mut file = to.create(UNFINISHED, 0o600).entry(entry)?;
                write(member.sparse, &mut file, entry, members)?;
            }
            Kind::Symlink(ref target) => to.symlink(target, UNFINISHED).entry(entry)?,
            Kind::CharDevice { major: 0, minor: 0 } => return Err(Refusal::WhiteoutDevice.of(entry)),
            Kind::CharDevice { major, minor } => {
                to.mknod(UNFINISHED, FileType::CharacterDevice, 0o600, (major, minor)).entry(entry)?;
            }
            Kind::BlockDevice { major, minor } => {
                to.mknod(UNFINISHED, FileType::BlockDevice, 0o600, (major, minor)).entry(entry)?;
            }
            Kind::Fifo => to.mknod(UNFINISHED, FileType::Fifo, 0o600, (0, 0)).entry(entry)?,
            Kind::Directory => unreachable!("directories are made in place"),
        }
        to.chown(UNFINISHED, meta.uid, meta.gid).entry(entry)?;
        if !matches!(member.kind, Kind::Symlink(_)) {
            to.chmod(UNFINISHED, meta.mode).entry(entry)?;
        }
        for (key, value) in &meta.xattrs {
            self.held_or_not(to.set_xattr(UNFINISHED, key, value), key, entry)?;
        }
        to.set_times(UNFINISHED, meta.mtime.seconds, meta.mtime.nanos).entry(entry)
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
            let dir = found.open_dir().entry(&path)?;
            dir.chown_self(meta.uid, meta.gid).entry(&path)?;
            dir.chmod_self(meta.mode).entry(&path)?;
            for (key, value) in &meta.xattrs {
                self.held_or_not(dir.set_xattr_self(key, value), key, &path)?;
            }
            dir.set_times_self(meta.mtime.seconds, meta.mtime.nanos).entry(&path)?;
        }
        Ok(self.left_out)
    }

    /// Counts an attribute that the filesystem cannot hold.
    fn held_or_not(&mut self, set: Result<(), CallFailed>, key: &[u8], path: &[u8]) -> Result<(), Error> {
        match set {
            Err(failed) if cannot_hold(&failed) => {
                self.left_out.unheld += 1;
                if self.left_out.named.is_empty() {
                    self.left_out.named.push(Unheld { path: path.to_owned(), key: key.to_owned() });
                }
                Ok(())
            }
            set => set.entry(path),
        }
    }
}

/// Writes what the member has, and leaves its holes.
fn write<R: BufRead>(
    sparse: Option<Sparse>,
    file: &mut File,
    entry: &[u8],
    members: &mut Reader<R>,
) -> Result<(), Error> {
    let failed = |call, e| Err::<(), _>(CallFailed::of_io(call, &e)).entry(entry);
    let size = sparse.as_ref().map_or(members.data_left(), |sparse| sparse.size);
    let runs = sparse.map_or_else(|| vec![(0, size)], |sparse| sparse.segments);
    for (offset, mut left) in runs {
        file.seek(SeekFrom::Start(offset)).map(drop).or_else(|e| failed("lseek", e))?;
        while left > 0 {
            let run = members.fill()?;
            let n = usize::try_from(left).map_or(run.len(), |left| left.min(run.len()));
            if n == 0 {
                break;
            }
            writer::write_all(file, &run[..n], entry)?;
            members.consume(n);
            left -= n as u64;
        }
    }
    file.set_len(size).or_else(|e| failed("ftruncate", e))
}

fn remove(dir: &Dir) -> Result<(), CallFailed> {
    match dir.unlink(UNFINISHED) {
        Err(failed) if failed.errno != Errno::NOENT => Err(failed),
        Ok(()) | Err(_) => Ok(()),
    }
}

fn refused(name: &[u8], errno: Errno) -> CallFailed {
    CallFailed::new(format!("rename(\"{}\")", name.escape_ascii()), errno)
}
