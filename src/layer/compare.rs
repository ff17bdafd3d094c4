//! Two trees that ought to be one and the same: every inode, with all that it has.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use super::meta;
use crate::sys::CallFailed;
use crate::sys::dir::{self, Dir, FileType, Stat, Xattr};

/// Compares `found` with `wanted`, and tells `differs` each path with what is wrong there, in words.
///
/// Contents are compared as far as `wanted` has any: what is a hole there may be anything. Marks of this host's security
/// modules, and times of whiteouts, mean nothing.
pub fn compare(wanted: &Dir, found: &Dir, differs: &mut dyn FnMut(&[u8], String)) -> Result<(), CallFailed> {
    let mut compare = Compare { differs, links: HashMap::new() };
    let root =
        |dir: &Dir| Ok(Inode { stat: dir.stat_self()?, xattrs: dir.xattrs_self()?, target: Vec::new() });
    compare.inodes(b".", &root(wanted)?, &root(found)?);
    let mut todo = vec![Vec::new()];
    while let Some(path) = todo.pop() {
        let (wanted, found) = (enter(wanted, &path)?, enter(found, &path)?);
        todo.extend(compare.directory(&path, &wanted, &found)?);
    }
    Ok(())
}

fn enter(root: &Dir, path: &[u8]) -> Result<Dir, CallFailed> {
    if path.is_empty() { root.again() } else { root.open_beneath(path) }
}

/// What is told of an inode.
struct Inode {
    stat: Stat,
    xattrs: Vec<Xattr>,
    target: Vec<u8>,
}

impl Inode {
    fn of(dir: &Dir, name: &[u8]) -> Result<Option<Self>, CallFailed> {
        let Some(stat) = dir.stat(name)? else { return Ok(None) };
        let target = if dir::kind(&stat) == FileType::Symlink { dir.read_link(name)? } else { Vec::new() };
        Ok(Some(Self { stat, xattrs: dir.xattrs(name)?, target }))
    }

    fn kind(&self) -> &'static str {
        match dir::kind(&self.stat) {
            _ if dir::is_whiteout(&self.stat) => "a whiteout",
            FileType::RegularFile => "a file",
            FileType::Directory => "a directory",
            FileType::Symlink => "a symbolic link",
            FileType::CharacterDevice => "a character device",
            FileType::BlockDevice => "a block device",
            FileType::Fifo => "a fifo",
            FileType::Socket => "a socket",
            FileType::Unknown => "an inode of unknown kind",
        }
    }

    /// All that can be told of it in a word, by the word's name.
    fn facts(&self) -> Vec<(&'static str, String)> {
        let stat = &self.stat;
        let mut facts = vec![("owner", format!("{}:{}", stat.st_uid, stat.st_gid))];
        match dir::kind(stat) {
            FileType::Symlink => facts.push(("target", format!("'{}'", self.target.escape_ascii()))),
            FileType::RegularFile => facts.push(("size", stat.st_size.to_string())),
            FileType::CharacterDevice | FileType::BlockDevice => {
                let (major, minor) = dir::device(stat);
                facts.push(("device", format!("{major}:{minor}")));
            }
            FileType::Directory | FileType::Fifo | FileType::Socket | FileType::Unknown => {}
        }
        if dir::kind(stat) != FileType::Symlink {
            facts.push(("mode", format!("{:04o}", stat.st_mode & 0o7777)));
        }
        if dir::kind(stat) != FileType::Directory {
            facts.push(("number of links", stat.st_nlink.to_string()));
        }
        facts.push(("time", format!("{}.{:09}", stat.st_mtime, stat.st_mtime_nsec)));
        facts
    }
}

struct Compare<'a> {
    differs: &'a mut dyn FnMut(&[u8], String),
    /// Which inode of the tree stands for which of the other, where an inode has several names.
    links: HashMap<u64, u64>,
}

impl Compare<'_> {
    /// Compares what is in two directories; returns the paths of those that both have.
    fn directory(&mut self, path: &[u8], wanted: &Dir, found: &Dir) -> Result<Vec<Vec<u8>>, CallFailed> {
        let (mut names, mut surplus) = (wanted.names()?, found.names()?);
        names.sort_unstable();
        surplus.sort_unstable();
        surplus.retain(|name| names.binary_search(name).is_err());
        let below = |name: &[u8]| if path.is_empty() { name.to_owned() } else { [path, b"/", name].concat() };
        for name in surplus {
            (self.differs)(&below(&name), "is not in the layer".to_owned());
        }
        let mut directories = Vec::new();
        for name in names {
            let path = below(&name);
            let Some(is) = Inode::of(found, &name)? else {
                (self.differs)(&path, "is missing".to_owned());
                continue;
            };
            let Some(ought) = Inode::of(wanted, &name)? else { continue };
            if !self.inodes(&path, &ought, &is) {
                continue;
            }
            if dir::kind(&ought.stat) == FileType::Directory {
                directories.push(path);
            } else if dir::kind(&ought.stat) == FileType::RegularFile && ought.stat.st_size == is.stat.st_size
            {
                let same = same_data(&wanted.open_file(&name)?, &found.open_file(&name)?);
                if !same.map_err(|e| {
                    CallFailed::of_io(format!("read({:?})", String::from_utf8_lossy(&path)), &e)
                })? {
                    (self.differs)(&path, "has other contents".to_owned());
                }
            }
        }
        Ok(directories)
    }

    /// Compares two inodes; returns whether they are of one kind.
    fn inodes(&mut self, path: &[u8], ought: &Inode, is: &Inode) -> bool {
        if ought.kind() != is.kind() {
            (self.differs)(path, format!("is {}, and was {}", is.kind(), ought.kind()));
            return false;
        }
        if dir::is_whiteout(&ought.stat) {
            return true;
        }
        for ((what, ought), (_, is)) in ought.facts().into_iter().zip(is.facts()) {
            if ought != is {
                (self.differs)(path, format!("has {what} {is}, and had {ought}"));
            }
        }
        let own = |xattrs: &[Xattr]| -> HashMap<Vec<u8>, Vec<u8>> {
            xattrs.iter().filter(|(key, _)| !meta::labels_host(key)).cloned().collect()
        };
        let (had, mut has) = (own(&ought.xattrs), own(&is.xattrs));
        for (key, value) in had {
            match has.remove(&key) {
                Some(now) if now == value => {}
                Some(_) => (self.differs)(path, format!("has another value of '{}'", key.escape_ascii())),
                None => (self.differs)(path, format!("has lost '{}'", key.escape_ascii())),
            }
        }
        for key in has.keys() {
            (self.differs)(path, format!("has got '{}'", key.escape_ascii()));
        }
        let names = ought.stat.st_nlink > 1 && dir::kind(&ought.stat) != FileType::Directory;
        if names && *self.links.entry(ought.stat.st_ino).or_insert(is.stat.st_ino) != is.stat.st_ino {
            (self.differs)(path, "is no longer a hard link".to_owned());
        }
        true
    }
}

/// Whether all data of `wanted` is in `found` too.
fn same_data(wanted: &File, found: &File) -> io::Result<bool> {
    let (mut ought, mut is) = (vec![0; 128 << 10], vec![0; 128 << 10]);
    let mut at = 0;
    while let Some((start, end)) = dir::next_data(wanted, at).map_err(io::Error::from)? {
        at = start;
        while at < end {
            let most = usize::try_from(end - at).map_or(ought.len(), |left| left.min(ought.len()));
            wanted.read_exact_at(&mut ought[..most], at)?;
            found.read_exact_at(&mut is[..most], at)?;
            if ought[..most] != is[..most] {
                return Ok(false);
            }
            at += most as u64;
        }
    }
    Ok(true)
}
