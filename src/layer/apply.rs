//! One member of the tar after the other becomes an inode, or a note of what to do later.
//!
//! Where a member goes, and what has to go for it, is in `places`.

mod places;

use crate::limits::{Exceeded, Limit, Limits};
use crate::sys::dir::{Dir, FileType};
use crate::tarfile::{self, Kind, Member, Reader, Sparse};

use super::Options;
use super::contents;
use super::error::{Error, For, Refusal};
use super::lower_links::{FileId, LowerFile, LowerLinks, Spot};
use super::meta::{Meta, Stamp};
use super::path::EntryPath;
use super::pipeline::Input;
use super::recipe::Displaced;
use super::scout::Scout;
use super::sharing::Offer;
use super::tree::{Handles, NodeId, ROOT, Tree};
use super::whiteout::{self, Name};
use super::writer::{Job, Writers};

/// Files up to this size are left to the writers.
pub(super) const SMALL: u64 = 1 << 20;

/// What is known of the layer after its last member.
pub(super) struct Applied {
    pub(super) tree: Tree,
    pub(super) links: LowerLinks,
    pub(super) entries: u64,
    pub(super) bytes: u64,
    pub(super) held: u64,
}

type Members<'i, 'r> = Reader<&'i mut Input<'r>>;

/// Unpacks the tar in `input` into `diff`, and reads `input` to its end.
pub(super) fn layer(
    input: &mut Input<'_>,
    scout: Scout,
    diff: &Dir,
    displaced: Displaced<'_>,
    options: &Options,
    stamp: &Stamp,
    writers: &mut Writers,
) -> Result<Applied, Error> {
    let handles = Handles::new(diff).map_err(Error::Call)?;
    let mut apply = Apply {
        tree: Tree::new(),
        here: ROOT,
        links: LowerLinks::default(),
        handles,
        displaced,
        limits: &options.limits,
        hollow: options.hollow,
        stamp,
        writers,
        entries: 0,
        bytes: 0,
        held: 0,
    };
    let read = apply.members(input, scout);
    // The tar reader was only told that reading failed; the input knows why.
    read.map_err(|error| if matches!(error, Error::Read(_)) { input.fault() } else { error })?;
    let Apply { tree, links, entries, bytes, held, .. } = apply;
    Ok(Applied { tree, links, entries, bytes, held })
}

struct Apply<'a> {
    tree: Tree,
    /// Where the last member went: the next one mostly goes there too.
    here: NodeId,
    links: LowerLinks,
    handles: Handles,
    displaced: Displaced<'a>,
    limits: &'a Limits,
    hollow: bool,
    stamp: &'a Stamp,
    writers: &'a mut Writers,
    entries: u64,
    bytes: u64,
    /// How much memory is held for what comes after the last member.
    held: u64,
}

impl Apply<'_> {
    fn members(&mut self, input: &mut Input<'_>, mut scout: Scout) -> Result<(), Error> {
        let mut members = Reader::new(input, tarfile::Limits::DEFAULT);
        while let Some(member) = members.next()? {
            self.entries += 1;
            self.limits.check(Limit::Entries, self.entries)?;
            scout.look(self.entries, members.position(), self.limits)?;
            self.member(member, &mut members)?;
        }
        self.tell_displaced(&mut members);
        members.finish()?;
        Ok(())
    }

    /// The recipe must know what is gone before it has another file at the same place.
    fn tell_displaced(&mut self, members: &mut Members<'_, '_>) {
        for path in self.displaced.news() {
            members.input_mut().recipe().gone(&path);
        }
    }

    fn member(&mut self, mut member: Member, members: &mut Members<'_, '_>) -> Result<(), Error> {
        let entry = std::mem::take(&mut member.path);
        let path = EntryPath::parse(&entry).entry(&entry)?;
        self.limits.check(Limit::Depth, path.depth() as u64).entry(&entry)?;
        let Some((parents, last)) = path.split() else {
            return self.root(member, &entry);
        };
        if whiteout::is_bookkeeping(parents, last) {
            return Ok(());
        }
        let name = whiteout::read(last).entry(&entry)?;
        if !matches!(name, Name::Plain(_)) && self.is_below_no_directory(parents, &entry)? {
            return Ok(());
        }
        let parent = self.enter(parents, &entry)?;
        self.tree.fits(parent, last).entry(&entry)?;
        match name {
            Name::Opaque => self.tree.node_mut(parent).opaque = true,
            Name::Whiteout(gone) => {
                let held = self.tree.white_out(parent, gone);
                self.hold(held).entry(&entry)?;
            }
            Name::Plain(name) => {
                let at = Spot::new(parent, name);
                self.plain(member, at, entry, members)?;
            }
        }
        Ok(())
    }

    fn root(&mut self, mut member: Member, entry: &[u8]) -> Result<(), Error> {
        if member.kind != Kind::Directory {
            return Err(Refusal::RootNoDirectory.of(entry));
        }
        let meta = self.meta(&mut member);
        self.describe(ROOT, meta, entry)
    }

    fn meta(&self, member: &mut Member) -> Meta {
        Meta::of_member(member, &mut self.stamp.left_out())
    }

    fn plain(
        &mut self,
        mut member: Member,
        at: Spot,
        entry: Vec<u8>,
        members: &mut Members<'_, '_>,
    ) -> Result<(), Error> {
        let meta = self.meta(&mut member);
        match member.kind {
            Kind::File => self.file(member.sparse, meta, at, entry, members),
            Kind::Directory => self.directory(meta, &at, &entry),
            Kind::Symlink(target) => {
                // As st_size has it, which Docker counts.
                self.bytes += target.len() as u64;
                let dir = self.room_for(&at, &entry)?;
                dir.symlink(&target, &at.name).entry(&entry)?;
                self.stamp.symlink(&dir, &at.name, &meta, &entry)
            }
            Kind::HardLink(target) => self.hard_link(&target, at, &entry),
            Kind::CharDevice { major: 0, minor: 0 } => Err(Refusal::WhiteoutDevice.of(&entry)),
            Kind::CharDevice { major, minor } => {
                self.special(FileType::CharacterDevice, (major, minor), &meta, &at, &entry)
            }
            Kind::BlockDevice { major, minor } => {
                self.special(FileType::BlockDevice, (major, minor), &meta, &at, &entry)
            }
            Kind::Fifo => self.special(FileType::Fifo, (0, 0), &meta, &at, &entry),
        }
    }

    fn directory(&mut self, meta: Meta, at: &Spot, entry: &[u8]) -> Result<(), Error> {
        let id = match self.tree.kid(at.parent, &at.name) {
            Some(id) => id,
            None => self.make_directory(at, entry)?,
        };
        self.describe(id, meta, entry)
    }

    fn describe(&mut self, id: NodeId, meta: Meta, entry: &[u8]) -> Result<(), Error> {
        self.hold(meta.held()).entry(entry)?;
        self.tree.node_mut(id).described = Some(meta);
        Ok(())
    }

    /// Counts memory that is needed until the layer is settled. What is let go before is not taken off: a tar can describe
    /// the same directory any number of times.
    fn hold(&mut self, bytes: u64) -> Result<(), Exceeded> {
        self.held += bytes;
        self.limits.check(Limit::Memory, self.held)
    }

    fn special(
        &mut self,
        kind: FileType,
        device: (u32, u32),
        meta: &Meta,
        at: &Spot,
        entry: &[u8],
    ) -> Result<(), Error> {
        let dir = self.room_for(at, entry)?;
        dir.mknod(&at.name, kind, 0, device).entry(entry)?;
        self.stamp.node(&dir, &at.name, meta, entry)
    }

    fn file(
        &mut self,
        sparse: Option<Sparse>,
        meta: Meta,
        at: Spot,
        entry: Vec<u8>,
        members: &mut Members<'_, '_>,
    ) -> Result<(), Error> {
        self.bytes += members.data_left();
        let dir = self.room_for(&at, &entry)?;
        self.tell_displaced(members);
        let path = self.tree.path_of(at.parent, &at.name);
        let size = members.data_left();
        members.input_mut().recipe().contents();
        if let Some(offer) = members.input_mut().offered(&entry).filter(|offer| offer.size == size) {
            self.take_over(&offer, &meta, &dir, &at.name, &entry, members)?;
            members.input_mut().recipe().file(&path, &[(0, size)]);
            return Ok(());
        }
        if sparse.is_some() || size > SMALL || self.hollow {
            let runs = self.large_file(sparse, &meta, &dir, &at.name, &entry, members)?;
            members.input_mut().recipe().file(&path, &runs);
            return Ok(());
        }
        let mut pieces = Vec::new();
        loop {
            let n = members.fill()?.len();
            if n == 0 {
                break;
            }
            pieces.push(members.input_mut().share(n));
            members.consume(n);
        }
        members.input_mut().recipe().file(&path, &[(0, size)]);
        self.writers.push(Job { dir, name: at.name, path: entry, meta, pieces })
    }

    /// Gives a file that has its contents already its place; they are read all the same, to be hashed.
    fn take_over(
        &mut self,
        offer: &Offer,
        meta: &Meta,
        dir: &Dir,
        name: &[u8],
        entry: &[u8],
        members: &mut Members<'_, '_>,
    ) -> Result<(), Error> {
        self.writers.flush()?;
        let file = offer.move_to(dir, name).entry(entry)?;
        contents::pass_over(members)?;
        self.stamp.file(&file, meta, entry)
    }

    fn large_file(
        &mut self,
        sparse: Option<Sparse>,
        meta: &Meta,
        dir: &Dir,
        name: &[u8],
        entry: &[u8],
        members: &mut Members<'_, '_>,
    ) -> Result<Vec<(u64, u64)>, Error> {
        self.writers.flush()?;
        let mut file = dir.create(name, Stamp::mode_at_birth(meta)).entry(entry)?;
        let runs = contents::write(sparse, self.hollow, &mut file, entry, members)?;
        self.stamp.file(&file, meta, entry)?;
        Ok(runs)
    }

    /// Gives the inode that the target's name stands for one more name; its metadata stays as it is.
    fn hard_link(&mut self, target: &[u8], at: Spot, entry: &[u8]) -> Result<(), Error> {
        let bad = |why| Refusal::LinkTarget { target: target.to_owned(), why: Box::new(why) };
        let path = EntryPath::parse(target).map_err(bad).entry(entry)?;
        let Some((parents, name)) = path.split() else {
            return Err(Refusal::LinkToDirectory(target.to_owned()).of(entry));
        };
        let parent = self.enter(parents, entry)?;
        self.tree.fits(parent, name).map_err(bad).entry(entry)?;
        let from = Spot::new(parent, name);
        if self.tree.kid(parent, name).is_some() {
            return Err(Refusal::LinkToDirectory(target.to_owned()).of(entry));
        }
        if let Some(file) = self.links.at(&from) {
            self.room_for(&at, entry)?;
            self.add_lower_name(file, at, entry)?;
        } else if self.is_on_disk(&from, entry)? {
            self.link(&from, &at, entry)?;
        } else {
            let source = self.tree.path_of(parent, name);
            let (own, target) = (from.clone(), target.to_owned());
            self.tree.take_name(own.parent, &own.name);
            let file = LowerFile { source, entry: entry.to_owned(), target };
            self.hold(file.held()).entry(entry)?;
            let file = self.links.bring_up(file, own);
            if at != from {
                self.room_for(&at, entry)?;
                self.add_lower_name(file, at, entry)?;
            }
        }
        Ok(())
    }

    fn add_lower_name(&mut self, file: FileId, name: Spot, entry: &[u8]) -> Result<(), Error> {
        self.hold(name.held()).entry(entry)?;
        self.links.add_name(file, name);
        Ok(())
    }

    fn link(&mut self, from: &Spot, to: &Spot, entry: &[u8]) -> Result<(), Error> {
        if from == to {
            return Ok(());
        }
        let source = self.handles.get(&self.tree, from.parent).entry(entry)?;
        if !self.tree.may_be_taken(to.parent, &to.name) {
            return source.link(&from.name, &*self.room_for(to, entry)?, &to.name).entry(entry);
        }
        // What has to make room may hold the target, so that gets its new name aside first.
        let dir = self.handles.get(&self.tree, to.parent).entry(entry)?;
        source.link(&from.name, &dir, whiteout::ASIDE).entry(entry)?;
        self.room_for(to, entry)?;
        dir.rename(whiteout::ASIDE, &dir, &to.name).entry(entry)
    }
}
