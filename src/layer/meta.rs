//! Owner, mode, extended attributes and times, in the one order that works.
//!
//! Owner first: chown(2) clears setuid bits and file capabilities. Mode before attributes: an ACL is also the mode's
//! group bits. Times last: all else changes them, and a directory's are changed by every entry made in it.

use std::fs::File;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::sys::dir::{self, Dir, Stat, Xattr};
use crate::sys::filesystem::Filesystem;
use crate::sys::{self, CallFailed, Errno};
use crate::tarfile::{Member, Time};

use super::error::{Error, For};
use super::whiteout;
use super::{LeftOut, Unheld, XattrPolicy};

/// Mode bits that chown(2) and write(2) may clear.
const SPECIAL_BITS: u32 = 0o7000;

/// The mode to make directories with, less the umask: what nearly all of them are to have in the end. Nothing of it passes
/// to what is made in them.
pub(super) const DIRECTORY_AT_BIRTH: u32 = 0o755;

/// How many attributes that could not be held are named; all are counted.
const NAMED: usize = 8;

/// What an inode has besides its contents.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Meta {
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) mode: u32,
    pub(super) mtime: Time,
    pub(super) xattrs: Vec<Xattr>,
}

impl Meta {
    /// A directory that nobody describes, in this layer or below.
    pub(super) const UNDESCRIBED: Self =
        Self { uid: 0, gid: 0, mode: 0o755, mtime: Time { seconds: 0, nanos: 0 }, xattrs: Vec::new() };

    /// Takes what a member says, less the attributes that no layer may have, which it counts.
    pub(super) fn of_member(member: &mut Member, left_out: &mut LeftOut) -> Self {
        let mut xattrs = std::mem::take(&mut member.xattrs);
        xattrs.retain(|(key, _)| match fate(key) {
            Fate::Kept => true,
            Fate::Steering => {
                left_out.steering += 1;
                false
            }
            Fate::HostLabel => {
                left_out.host_labels += 1;
                false
            }
        });
        Self { uid: member.uid, gid: member.gid, mode: member.mode, mtime: member.mtime, xattrs }
    }

    /// Returns how much memory its attributes take.
    pub(super) fn held(&self) -> u64 {
        const OF_XATTR: usize = 96; // measured: the pair, and what the allocator adds to each half
        self.xattrs.iter().map(|(key, value)| (OF_XATTR + key.len() + value.len()) as u64).sum()
    }

    /// Takes what an inode of a layer below has.
    pub(super) fn of_inode(stat: &Stat, mut xattrs: Vec<Xattr>) -> Self {
        xattrs.retain(|(key, _)| fate(key) == Fate::Kept);
        #[expect(clippy::unnecessary_cast, reason = "the fields' types differ between architectures")]
        let mtime = Time { seconds: stat.st_mtime as i64, nanos: stat.st_mtime_nsec as u32 };
        Self { uid: stat.st_uid, gid: stat.st_gid, mode: stat.st_mode & 0o7777, mtime, xattrs }
    }

    /// Takes what an overlay shows of a root: of one that is an upper directory, attributes too that no tar may have.
    pub(super) fn of_root(root: &Dir) -> Result<Self, CallFailed> {
        let mut xattrs = root.xattrs_self()?;
        xattrs.retain(|(key, _)| !labels_host(key) && !whiteout::is_own(key));
        xattrs.sort();
        Ok(Self { xattrs, ..Self::of_inode(&root.stat_self()?, Vec::new()) })
    }
}

#[derive(PartialEq, Eq)]
enum Fate {
    Kept,
    /// Would steer overlayfs: revive what a layer removed, expose files.
    Steering,
    /// Means something only to the host that wrote it.
    HostLabel,
}

/// Whether an attribute means something only to the host that wrote it, which may write one on any inode at any time.
pub(super) fn labels_host(key: &[u8]) -> bool {
    fate(key) == Fate::HostLabel
}

fn fate(key: &[u8]) -> Fate {
    if key.starts_with(b"trusted.") || key.starts_with(b"user.overlay.") {
        Fate::Steering
    } else if matches!(key, b"security.selinux" | b"security.ima" | b"security.evm") {
        Fate::HostLabel
    } else {
        Fate::Kept
    }
}

/// Puts metadata on inodes; shared by all threads that do.
#[derive(Debug)]
pub(super) struct Stamp {
    policy: XattrPolicy,
    filesystem: Box<str>,
    /// Whose an inode is when it is made; `None` where that is not known.
    born: Option<(u32, u32)>,
    umask: u32,
    left_out: Mutex<LeftOut>,
}

impl Stamp {
    /// Prepares for inodes in `diff`, where no directory is complete before all is made in it.
    pub(super) fn new(diff: &Dir, policy: XattrPolicy) -> Result<Self, Error> {
        Ok(Self { born: Some(sys::creates_as()), ..Self::anywhere(diff, policy)? })
    }

    /// Prepares for inodes in the tree at `root`, whose directories may pass on their group to what is made in them.
    pub(super) fn anywhere(root: &Dir, policy: XattrPolicy) -> Result<Self, Error> {
        let filesystem = Filesystem::of(root).map_err(Error::Call)?.name().into();
        Ok(Self { policy, filesystem, born: None, umask: sys::umask(), left_out: Mutex::default() })
    }

    /// Returns all that was left out.
    pub(super) fn into_left_out(self) -> LeftOut {
        self.left_out.into_inner().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_born_so(&self, meta: &Meta) -> bool {
        self.born == Some((meta.uid, meta.gid))
    }

    /// Returns what was left out so far, to be added to.
    pub(super) fn left_out(&self) -> MutexGuard<'_, LeftOut> {
        self.left_out.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the mode to create a file with that will be given `meta`.
    pub(super) fn mode_at_birth(meta: &Meta) -> u32 {
        meta.mode & !SPECIAL_BITS
    }

    /// Gives `meta` to a file that was made with [`mode_at_birth`](Self::mode_at_birth) and has its contents.
    pub(super) fn file(&self, file: &File, meta: &Meta, path: &[u8]) -> Result<(), Error> {
        let failed = |call: &str, errno| {
            let call = format!("{call}(\"{}\")", path.escape_ascii());
            Err::<(), _>(CallFailed::new(call, errno)).entry(path)
        };
        let chowned = !self.is_born_so(meta);
        if chowned {
            dir::chown(file, meta.uid, meta.gid).or_else(|e| failed("fchown", e))?;
        }
        // The common file, 0644 of root under umask 022, is created right and needs neither call.
        if chowned || meta.mode & (self.umask | SPECIAL_BITS) != 0 {
            dir::chmod(file, meta.mode).or_else(|e| failed("fchmod", e))?;
        }
        let call = || format!("fsetxattr(\"{}\")", path.escape_ascii());
        self.xattrs(meta, path, |key, value| {
            dir::set_xattr(file, key, value).map_err(|e| CallFailed::new(call(), e))
        })?;
        dir::set_times(file, meta.mtime.seconds, meta.mtime.nanos).or_else(|e| failed("futimens", e))
    }

    /// Gives `meta` to the symbolic link `name`, which has no mode of its own.
    pub(super) fn symlink(&self, dir: &Dir, name: &[u8], meta: &Meta, path: &[u8]) -> Result<(), Error> {
        if !self.is_born_so(meta) {
            dir.chown(name, meta.uid, meta.gid).entry(path)?;
        }
        self.name(dir, name, meta, path)
    }

    /// Gives `meta` to the device or fifo `name`.
    pub(super) fn node(&self, dir: &Dir, name: &[u8], meta: &Meta, path: &[u8]) -> Result<(), Error> {
        dir.chown(name, meta.uid, meta.gid).entry(path)?;
        dir.chmod(name, meta.mode).entry(path)?;
        self.name(dir, name, meta, path)
    }

    fn name(&self, dir: &Dir, name: &[u8], meta: &Meta, path: &[u8]) -> Result<(), Error> {
        self.xattrs(meta, path, |key, value| dir.set_xattr(name, key, value))?;
        dir.set_times(name, meta.mtime.seconds, meta.mtime.nanos).entry(path)
    }

    /// Gives `meta` to the directory `name`, made with [`DIRECTORY_AT_BIRTH`], in which nothing is made afterwards.
    pub(super) fn directory_at(&self, dir: &Dir, name: &[u8], meta: &Meta, path: &[u8]) -> Result<(), Error> {
        if !self.is_born_so(meta) {
            dir.chown(name, meta.uid, meta.gid).entry(path)?;
        }
        if meta.mode != DIRECTORY_AT_BIRTH & !self.umask {
            dir.chmod(name, meta.mode).entry(path)?;
        }
        self.name(dir, name, meta, path)
    }

    /// Gives `meta` to the directory `dir`, in which nothing is made afterwards.
    pub(super) fn directory(&self, dir: &Dir, meta: &Meta, path: &[u8]) -> Result<(), Error> {
        if !self.is_born_so(meta) {
            dir.chown_self(meta.uid, meta.gid).entry(path)?;
        }
        dir.chmod_self(meta.mode).entry(path)?;
        self.xattrs(meta, path, |key, value| dir.set_xattr_self(key, value))?;
        dir.set_times_self(meta.mtime.seconds, meta.mtime.nanos).entry(path)
    }

    fn xattrs(
        &self,
        meta: &Meta,
        path: &[u8],
        set: impl Fn(&[u8], &[u8]) -> Result<(), CallFailed>,
    ) -> Result<(), Error> {
        for (key, value) in &meta.xattrs {
            // The kernel takes no capability of an odd length but this one, and then nobody can read it, nor copy the file
            // up (setxattr and cap_inode_getsecurity, linux/security/commoncap.c).
            let unreadable = key == b"security.capability" && value.is_empty();
            let set = if unreadable {
                Err(CallFailed::new(r#"setxattr("security.capability", "")"#, Errno::INVAL))
            } else {
                set(key, value)
            };
            self.xattr(set, key, path)?;
        }
        Ok(())
    }

    /// Decides what an attribute that could not be set means.
    fn xattr(&self, set: Result<(), CallFailed>, key: &[u8], path: &[u8]) -> Result<(), Error> {
        let Err(source) = set else { return Ok(()) };
        if !dir::cannot_hold(&source) {
            return Err(source).entry(path);
        }
        match self.policy {
            XattrPolicy::Keep => Err(Error::Unheld {
                path: path.to_owned(),
                key: key.to_owned(),
                filesystem: self.filesystem.clone(),
                source,
            }),
            XattrPolicy::Warn => {
                let mut left_out = self.left_out();
                left_out.unheld += 1;
                if left_out.named.len() < NAMED {
                    left_out.named.push(Unheld { path: path.to_owned(), key: key.to_owned() });
                }
                Ok(())
            }
            XattrPolicy::Skip => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tarfile::Kind;

    #[test]
    fn attributes_that_steer_overlayfs_or_label_a_host_are_left_out() {
        let keys = [
            "security.capability",
            "trusted.overlay.opaque",
            "user.overlay.redirect",
            "user.overlayed",
            "trusted.anything",
            "security.selinux",
            "security.ima",
            "security.evm",
            "system.posix_acl_access",
        ];
        let mut member = Member {
            path: b"f".to_vec(),
            kind: Kind::File,
            mode: 0o644,
            uid: 0,
            gid: 0,
            mtime: Time::default(),
            xattrs: keys.map(|key| (key.into(), b"v".to_vec())).to_vec(),
            stored: 0,
            sparse: None,
        };
        let mut left_out = LeftOut::default();
        let meta = Meta::of_member(&mut member, &mut left_out);
        let kept: Vec<_> = meta.xattrs.iter().map(|(key, _)| std::str::from_utf8(key).unwrap()).collect();
        assert_eq!(kept, ["security.capability", "user.overlayed", "system.posix_acl_access"]);
        assert_eq!((left_out.steering, left_out.host_labels), (3, 3));
    }
}
