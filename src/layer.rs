//! One tar stream becomes one overlay `diff` directory, as the OCI image-spec (layer.md) means it.
//!
//! Two phases, so that layers can be unpacked side by side and settled in order:
//!
//! 1. [`unpack`] reads the tar and writes all inodes but whiteouts, knowing nothing of the layers below. Directories stay
//!    0755 and bare: a default ACL or a setgid bit would pass to what is made in them.
//! 2. [`Unpacked::settle`] does what depends on the layers below: whiteouts, opaque marks, directories that the tar only
//!    implies, hard links to files of other layers. It ends with the directories' own metadata, deepest first.
//!
//! Knows no image and no store; what it leaves behind after an error is for the caller to throw away.

mod apply;
mod below;
mod blocks;
pub mod capture;
pub mod changes;
mod compare;
mod contents;
pub mod cpio;
mod crew;
mod depth;
mod diff_id;
mod error;
pub mod extract;
mod holes;
mod lower_links;
mod meta;
pub mod pack;
mod path;
mod pipeline;
pub mod recipe;
mod scout;
mod settle;
mod sharing;
mod stream;
pub mod trace;
mod tree;
pub mod view;
pub mod walk;
pub mod weigh;
mod whiteout;
mod writer;

pub use below::Below;
pub use blocks::Buffers;
pub use compare::compare;
pub use crew::{Crew, Seat, helped};
pub use error::{Error, Refusal};
pub use pipeline::SMALL;

use std::sync::Arc;

use crate::archive::blob::{self, Blob};
use crate::archive::{Decoder, Lent};
use crate::digest::Digest;
use crate::limits::Limits;
use crate::sys::dir::Dir;
use crate::sys::{self, CallFailed, counted};

use lower_links::LowerLinks;
use meta::{Meta, Stamp};
use scout::Scout;
use tree::Tree;

/// How a layer is unpacked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Options {
    /// How much it may hold.
    pub limits: Limits,
    /// What becomes of attributes that the filesystem cannot hold.
    pub xattrs: XattrPolicy,
    /// Whether files are made without their contents, as holes of the same size: for a tar made by [`recipe::hollow`].
    pub hollow: bool,
}

/// What becomes of extended attributes that the filesystem cannot hold.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum XattrPolicy {
    /// They are errors.
    #[default]
    Keep,
    /// They are left out and counted.
    Warn,
    /// They are left out.
    Skip,
}

/// Extended attributes that are in the tar and not in the layer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LeftOut {
    /// How many `trusted.*` and `user.overlay.*` there were: they would steer overlayfs.
    pub steering: u64,
    /// How many `security.selinux`, `security.ima` and `security.evm`: they mean something to another host.
    pub host_labels: u64,
    /// How many the filesystem could not hold ([`XattrPolicy::Warn`]).
    pub unheld: u64,
    /// The first of those.
    pub named: Vec<Unheld>,
}

impl LeftOut {
    /// Returns what a user should know of it, a sentence each.
    #[must_use]
    pub fn sentences(&self) -> Vec<String> {
        let mut sentences = Vec::new();
        if self.steering > 0 {
            sentences.push(format!(
                "{} of trusted.* or user.overlay.* left out",
                counted(self.steering, "attribute")
            ));
        }
        if self.unheld > 0 {
            let first = self.named.first().map_or(String::new(), |first| {
                format!(", first '{}' of '{}'", first.key.escape_ascii(), first.path.escape_ascii())
            });
            sentences.push(format!(
                "{} that the filesystem cannot hold left out{first}",
                counted(self.unheld, "attribute")
            ));
        }
        sentences
    }
}

/// An extended attribute that the filesystem could not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unheld {
    /// The entry's name in the tar.
    pub path: Vec<u8>,
    /// The attribute's name.
    pub key: Vec<u8>,
}

/// A layer whose inodes are on disk, and what is to be done once the layers below are known.
#[derive(Debug)]
pub struct Unpacked {
    tree: Tree,
    links: LowerLinks,
    stamp: Arc<Stamp>,
    entries: u64,
    bytes: u64,
    limits: Limits,
    /// How much memory it holds already, as [`Limit::Memory`](crate::limits::Limit::Memory) counts.
    held: u64,
}

/// What a layer turned out to be.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Summary {
    /// How many entries the tar has, whiteouts included.
    pub entries: u64,
    /// How many bytes its files have, holes left out, and the targets of its symbolic links.
    pub bytes: u64,
    /// Whether it hides all layers below. Overlayfs ignores the mark on a layer's root: the stack must end here.
    pub opaque_root: bool,
    /// What is in the tar and not in the layer.
    pub left_out: LeftOut,
}

/// Unpacks `blob` into the empty directory `diff`, and checks that its contents are those that `diff_id` and the blob's
/// own digest and size name. Its [`recipe`] is made in the directory `beside`, on the same filesystem.
pub fn unpack(
    blob: Blob,
    diff_id: &Digest,
    diff: &Dir,
    beside: &Dir,
    options: &Options,
    buffers: &mut Buffers,
) -> Result<Unpacked, Error> {
    let small = pipeline::is_small(&blob);
    let scout = Scout::new(blob.again());
    let decoder = blob::decoder(blob)?;
    if let Some(found) = decoder.known().filter(|found| found != diff_id) {
        return Err(Error::Contents { found, wanted: *diff_id });
    }
    decoded(decoder, scout, small, diff, beside, options, buffers)?.named(diff_id, None)
}

/// A layer that was unpacked before anybody knew what it ought to be.
#[derive(Debug)]
#[must_use]
pub struct Unnamed(Result<pipeline::Seen<Unpacked>, Error>);

impl Unnamed {
    /// Returns how much memory it holds, as [`Limit::Memory`](crate::limits::Limit::Memory) counts.
    #[must_use]
    pub fn held(&self) -> u64 {
        self.0.as_ref().ok().and_then(pipeline::Seen::outcome).map_or(0, |unpacked| unpacked.held)
    }

    /// Returns the layer if its contents are those that `diff_id` names, and `blob` is the digest of the blob that it came
    /// as, where the image gives it one.
    pub fn named(self, diff_id: &Digest, blob: Option<&Digest>) -> Result<Unpacked, Error> {
        self.0?.named(diff_id, blob)
    }
}

/// Unpacks what goes by into the empty directory `diff`, as [`unpack`] does, and remembers its digests.
pub fn unpack_lent(
    bytes: Lent,
    diff: &Dir,
    beside: &Dir,
    options: &Options,
    buffers: &mut Buffers,
) -> Unnamed {
    let decoder = bytes.decoder(&options.limits).map_err(Error::from);
    Unnamed(
        decoder.and_then(|decoder| decoded(decoder, Scout::blind(), false, diff, beside, options, buffers)),
    )
}

fn decoded(
    decoder: Decoder,
    scout: Scout,
    small: bool,
    diff: &Dir,
    beside: &Dir,
    options: &Options,
    buffers: &mut Buffers,
) -> Result<pipeline::Seen<Unpacked>, Error> {
    fresh_root(diff).map_err(Error::Call)?;
    let stamp = Arc::new(Stamp::new(diff, options.xattrs)?);
    let crew = buffers.crew(small);
    let seen = pipeline::run(decoder, small, beside, buffers, |input| {
        let displaced = recipe::Displaced::new(beside);
        writer::with(&crew, &stamp, |writers| {
            apply::layer(input, scout, diff, displaced, options, &stamp, writers)
        })
    })?;
    Ok(seen.map(|applied| {
        let apply::Applied { tree, links, entries, bytes, held } = applied;
        Unpacked { tree, links, stamp, entries, bytes, limits: options.limits, held }
    }))
}

/// Makes a new directory one from which nothing is inherited: no default ACL, no setgid bit, no foreign group.
pub fn fresh_root(dir: &Dir) -> Result<(), CallFailed> {
    // Most are so already, and a change that changes nothing goes through the filesystem's journal all the same.
    let xattrs = dir.xattrs_self()?;
    for acl in [b"system.posix_acl_default", b"system.posix_acl_access".as_slice()] {
        if xattrs.iter().any(|(key, _)| key == acl) {
            dir.remove_xattr_self(acl)?;
        }
    }
    let stat = dir.stat_self()?;
    let (uid, gid) = sys::creates_as();
    if (stat.st_uid, stat.st_gid) != (uid, gid) {
        dir.chown_self(uid, gid)?;
    }
    if stat.st_mode & 0o7777 == 0o700 { Ok(()) } else { dir.chmod_self(0o700) }
}

/// Gives the fresh directory `to` the metadata of the layer's root `from`.
pub fn copy_root(from: &Dir, to: &Dir) -> Result<(), Error> {
    let meta = Meta::of_root(from).map_err(Error::Call)?;
    Stamp::new(to, XattrPolicy::Keep)?.directory(to, &meta, b"/")
}

/// Whether two roots have the same metadata, but for times: these tell of nothing that is not told by what is in them.
pub fn is_same_root(one: &Dir, other: &Dir) -> Result<bool, CallFailed> {
    let mut one = Meta::of_root(one)?;
    let other = Meta::of_root(other)?;
    one.mtime = other.mtime;
    Ok(one == other)
}

#[cfg(test)]
mod tests;
