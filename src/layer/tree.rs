//! The directories of the layer being unpacked: what is known of them, and handles of those in use.
//!
//! Directories are known by heart, so that most entries find their parent without a system call. Of other names only a
//! hash is kept, which tells "surely new" from "perhaps seen before".

use std::collections::hash_map::{DefaultHasher, RandomState};
use std::collections::{BTreeSet, HashMap};
use std::hash::{BuildHasher, Hash, Hasher};
use std::sync::Arc;

use crate::sys::CallFailed;
use crate::sys::dir::Dir;

use super::error::Refusal;
use super::meta::Meta;
use super::path::PATH_MAX;

mod seen;

use seen::Seen;

/// How many directories are held open at most. Batches that wait to be written hold others; together with a second layer
/// being unpacked they stay below the usual limit of 1,024 files (getrlimit(2)).
const OPEN_DIRECTORIES: usize = 128;

/// A directory of this layer. A number is never given twice: one that was removed and made again is another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct NodeId(u32);

/// The layer's root.
pub(super) const ROOT: NodeId = NodeId(0);

impl NodeId {
    /// Returns the number, for tables beside the tree.
    pub(super) fn index(self) -> usize {
        self.0 as usize
    }
}

/// What is known of one directory.
#[derive(Debug)]
pub(super) struct Node {
    parent: NodeId,
    /// The directory that was last made in it, and the one that was made before this one in its parent; removed ones are
    /// among them. The root, which is in none, stands for none.
    last_kid: NodeId,
    earlier: NodeId,
    path_len: u16,
    removed: bool,
    /// Whether it carries an opaque mark.
    pub(super) opaque: bool,
    name: Box<[u8]>,
    /// What the tar says of it; `None` if it is only implied.
    pub(super) described: Option<Meta>,
    #[expect(
        clippy::box_collection,
        reason = "few directories have whiteouts: 8 bytes in each are less than 32"
    )]
    gone: Option<Box<BTreeSet<Box<[u8]>>>>,
}

/// All directories of this layer. Small things, for a tar may make millions of them.
#[derive(Debug)]
pub(super) struct Tree {
    nodes: Vec<Node>,
    /// By the hash of parent and name; where two have the same, the second has the next number.
    kids: HashMap<u64, NodeId>,
    /// Keyed, so that no tar can be made whose names collide; a chance collision only costs a look at the disk.
    seen: Seen,
    key: RandomState,
}

/// What one directory takes of memory besides its name and attributes: itself, its place among the kids, and what
/// `settle` notes of it; measured.
pub(super) const OF_DIRECTORY: u64 = 200;

/// The same for the first whiteout in a directory, and for each one.
pub(super) const OF_WHITEOUTS: u64 = 240;
pub(super) const OF_WHITEOUT: u64 = 48;

impl Tree {
    /// The tree of an empty layer.
    pub(super) fn new() -> Self {
        let root = Node::new(ROOT, b"", 0);
        Self { nodes: vec![root], kids: HashMap::new(), seen: Seen::new(), key: RandomState::new() }
    }

    /// Returns what is known of a directory.
    pub(super) fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id.index()]
    }

    /// Returns what is known of a directory, to be changed.
    pub(super) fn node_mut(&mut self, id: NodeId) -> &mut Node {
        &mut self.nodes[id.index()]
    }

    /// Returns how many directories were made, those removed again included.
    pub(super) fn made(&self) -> usize {
        self.nodes.len()
    }

    /// Returns all directories that are there, parents before their children.
    pub(super) fn ids(&self) -> impl DoubleEndedIterator<Item = NodeId> + use<'_> {
        let there = |(number, node): (usize, &Node)| (!node.removed).then_some(NodeId(number as u32));
        self.nodes.iter().enumerate().filter_map(there)
    }

    /// Whether a directory is still there.
    pub(super) fn is_there(&self, id: NodeId) -> bool {
        !self.node(id).removed
    }

    /// Returns the directory `name` in `parent`.
    pub(super) fn kid(&self, parent: NodeId, name: &[u8]) -> Option<NodeId> {
        let hash = self.hash(parent, name);
        let slots = (0..).map(|next| self.kids.get(&hash.wrapping_add(next)).copied());
        slots.map_while(|id| id).find(|&id| self.is(id, parent, name))
    }

    fn is(&self, id: NodeId, parent: NodeId, name: &[u8]) -> bool {
        let node = self.node(id);
        !node.removed && node.parent == parent && *node.name == *name
    }

    /// Whether a directory is there, and at this path; without a hash for each name, as [`kid`](Self::kid) takes.
    pub(super) fn is_at(&self, id: NodeId, path: &[&[u8]]) -> bool {
        let mut here = id;
        for part in path.iter().rev() {
            if here == ROOT || self.name(here) != *part {
                return false;
            }
            here = self.parent(here);
        }
        here == ROOT && self.is_there(id)
    }

    /// Returns the directory that `id` is in; the root is in itself.
    pub(super) fn parent(&self, id: NodeId) -> NodeId {
        self.node(id).parent
    }

    /// Returns the name of a directory in its parent; the root's is empty.
    pub(super) fn name(&self, id: NodeId) -> &[u8] {
        &self.node(id).name
    }

    /// Returns the path of a directory from the root, without links on the way; the root's is empty.
    pub(super) fn path(&self, id: NodeId) -> Vec<u8> {
        self.path_of(self.parent(id), self.name(id))
    }

    /// Returns the path of `name` in a directory.
    pub(super) fn path_of(&self, parent: NodeId, name: &[u8]) -> Vec<u8> {
        let mut path = vec![b'/'; self.path_len(parent, name)];
        let (mut end, mut here, mut part) = (path.len(), parent, name);
        loop {
            let start = end - part.len();
            path[start..end].copy_from_slice(part);
            if here == ROOT {
                return path;
            }
            (end, part, here) = (start - 1, self.name(here), self.parent(here));
        }
    }

    /// Whether the path of `name` in `parent` is one that the kernel takes: links can lead to longer ones than the
    /// tar has.
    pub(super) fn fits(&self, parent: NodeId, name: &[u8]) -> Result<(), Refusal> {
        let len = self.path_len(parent, name);
        if len > PATH_MAX { Err(Refusal::LongPath(len)) } else { Ok(()) }
    }

    fn path_len(&self, parent: NodeId, name: &[u8]) -> usize {
        usize::from(self.node(parent).path_len) + usize::from(parent != ROOT) + name.len()
    }

    /// Adds the directory `name` to `parent`.
    pub(super) fn add(&mut self, parent: NodeId, name: &[u8]) -> NodeId {
        let id = NodeId(u32::try_from(self.nodes.len()).expect("limits end long before"));
        let path_len = u16::try_from(self.path_len(parent, name)).expect("PATH_MAX is lower");
        let mut hash = self.hash(parent, name);
        while self.kids.get(&hash).is_some_and(|&other| !self.node(other).removed) {
            hash = hash.wrapping_add(1);
        }
        self.kids.insert(hash, id);
        let earlier = std::mem::replace(&mut self.node_mut(parent).last_kid, id);
        self.nodes.push(Node { earlier, ..Node::new(parent, name, path_len) });
        id
    }

    /// Notes that a directory whites out `name`; returns how much memory that takes, none where it did already.
    pub(super) fn white_out(&mut self, id: NodeId, name: &[u8]) -> u64 {
        let gone = &mut self.node_mut(id).gone;
        let first = if gone.is_none() { OF_WHITEOUTS } else { 0 };
        if gone.get_or_insert_default().insert(name.into()) {
            first + OF_WHITEOUT + name.len() as u64
        } else {
            0
        }
    }

    /// Whether a directory whites out `name`.
    pub(super) fn whites_out(&self, id: NodeId, name: &[u8]) -> bool {
        self.node(id).gone.as_ref().is_some_and(|gone| gone.contains(name))
    }

    /// Returns the names that a directory whites out.
    pub(super) fn gone(&self, id: NodeId) -> impl Iterator<Item = &[u8]> {
        self.node(id).gone.iter().flat_map(|gone| gone.iter()).map(|name| &**name)
    }

    /// Takes out a directory with all in it, and returns them, children before their parents.
    pub(super) fn remove(&mut self, top: NodeId) -> Vec<NodeId> {
        let mut removed = vec![top];
        let mut next = 0;
        while let Some(&id) = removed.get(next) {
            let node = self.node_mut(id);
            node.removed = true;
            // A layer may remove again what it made, any number of times.
            (node.described, node.gone) = (None, None);
            let mut kid = std::mem::replace(&mut node.last_kid, ROOT);
            while kid != ROOT {
                if self.is_there(kid) {
                    removed.push(kid);
                }
                kid = self.node(kid).earlier;
            }
            next += 1;
        }
        removed.reverse();
        removed
    }

    /// Notes that `name` in `parent` is taken; `true` where it may have been taken before.
    pub(super) fn take_name(&mut self, parent: NodeId, name: &[u8]) -> bool {
        let hash = self.hash(parent, name);
        self.seen.insert(hash)
    }

    /// Whether `name` in `parent` may be taken, by a directory or anything else.
    pub(super) fn may_be_taken(&self, parent: NodeId, name: &[u8]) -> bool {
        self.seen.may_have(self.hash(parent, name))
    }

    fn hash(&self, parent: NodeId, name: &[u8]) -> u64 {
        let mut hasher: DefaultHasher = self.key.build_hasher();
        parent.hash(&mut hasher);
        name.hash(&mut hasher);
        hasher.finish()
    }
}

impl Node {
    fn new(parent: NodeId, name: &[u8], path_len: u16) -> Self {
        Self {
            parent,
            last_kid: ROOT,
            earlier: ROOT,
            path_len,
            removed: false,
            opaque: false,
            name: name.into(),
            described: None,
            gone: None,
        }
    }
}

/// Open handles of this layer's directories, some of them at a time.
#[derive(Debug)]
pub(super) struct Handles {
    root: Arc<Dir>,
    open: HashMap<NodeId, Arc<Dir>>,
}

impl Handles {
    /// Holds only the layer's root open.
    pub(super) fn new(root: &Dir) -> Result<Self, CallFailed> {
        Ok(Self { root: Arc::new(root.again()?), open: HashMap::new() })
    }

    /// Returns a handle of a directory.
    pub(super) fn get(&mut self, tree: &Tree, id: NodeId) -> Result<Arc<Dir>, CallFailed> {
        if id == ROOT {
            return Ok(Arc::clone(&self.root));
        }
        if let Some(dir) = self.open.get(&id) {
            return Ok(Arc::clone(dir));
        }
        let parent = tree.parent(id);
        let dir = match self.open.get(&parent) {
            Some(parent) => parent.open_dir(tree.name(id))?,
            None => self.root.open_beneath(&tree.path(id))?,
        };
        // Tars go through a tree in order: what is needed again was used just now, and is soon open again.
        if self.open.len() >= OPEN_DIRECTORIES {
            self.open.clear();
        }
        let dir = Arc::new(dir);
        self.open.insert(id, Arc::clone(&dir));
        Ok(dir)
    }

    /// Lets go of a directory that is to be removed.
    pub(super) fn forget(&mut self, id: NodeId) {
        self.open.remove(&id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_made_again_is_another() {
        let mut tree = Tree::new();
        let a = tree.add(ROOT, b"a");
        let b = tree.add(a, b"b");
        assert_eq!(tree.path_of(b, b"c"), b"a/b/c");
        assert!(tree.is_at(b, &[b"a", b"b"]) && tree.is_at(ROOT, &[]));
        let elsewhere: [&[&[u8]]; 4] = [&[], &[b"b"], &[b"a", b"c"], &[b"a", b"a", b"b"]];
        assert!(elsewhere.iter().all(|path| !tree.is_at(b, path)));
        assert_eq!(tree.remove(a), [b, a]);
        assert!(!tree.is_at(b, &[b"a", b"b"]));
        assert_eq!(tree.kid(ROOT, b"a"), None);
        let again = tree.add(ROOT, b"a");
        assert_ne!(again, a);
        assert_eq!((tree.kid(ROOT, b"a"), tree.kid(again, b"b")), (Some(again), None));
        assert_eq!(tree.ids().count(), 2);
        let kids = [tree.add(again, b"b"), tree.add(again, b"c")];
        assert_eq!(tree.remove(kids[0]), [kids[0]]);
        assert_eq!(tree.remove(again), [kids[1], again]);
    }

    #[test]
    fn a_directory_takes_as_little_memory_as_is_said() {
        let size = size_of::<Node>() as u64;
        // Its name's allocation, its slot in `kids` (17 bytes, half of them empty), and its view in `settle`.
        assert!(size + 32 + 39 + 33 <= OF_DIRECTORY, "{size} for itself");
    }

    #[test]
    fn a_name_is_new_once() {
        let mut tree = Tree::new();
        let a = tree.add(ROOT, b"a");
        assert!(!tree.may_be_taken(a, b"x"));
        assert!(!tree.take_name(a, b"x"));
        assert!(tree.may_be_taken(a, b"x"));
        assert!(tree.take_name(a, b"x"));
        assert!(!tree.may_be_taken(ROOT, b"x"));
    }
}
