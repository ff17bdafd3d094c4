//! Hard links to files that only a layer below has: noted while the tar is read, made when the layers below are known.

use std::collections::HashMap;

use super::tree::{NodeId, Tree};

/// A name in a directory of this layer.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Spot {
    pub(super) parent: NodeId,
    pub(super) name: Box<[u8]>,
}

impl Spot {
    pub(super) fn new(parent: NodeId, name: &[u8]) -> Self {
        Self { parent, name: name.into() }
    }
}

impl Spot {
    /// Returns how much memory it takes as the name of a file, measured.
    pub(super) fn held(&self) -> u64 {
        100 + self.name.len() as u64
    }
}

/// A file that is to be brought up from below.
#[derive(Debug)]
pub(super) struct LowerFile {
    /// Where it lies below.
    pub(super) source: Vec<u8>,
    /// The first entry that links to it.
    pub(super) entry: Vec<u8>,
    /// The target as that entry has it.
    pub(super) target: Vec<u8>,
}

impl LowerFile {
    /// Returns how much memory it takes with its own name, measured.
    pub(super) fn held(&self) -> u64 {
        300 + (self.source.len() * 2 + self.entry.len() + self.target.len()) as u64
    }
}

/// A number in the list of files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FileId(usize);

/// The files to be brought up, and the names that they are to have.
#[derive(Debug, Default)]
pub(super) struct LowerLinks {
    files: Vec<LowerFile>,
    names: HashMap<Spot, usize>,
}

impl LowerLinks {
    /// Notes a file; it gets its own name in this layer too.
    pub(super) fn bring_up(&mut self, file: LowerFile, own: Spot) -> FileId {
        let id = FileId(self.files.len());
        self.files.push(file);
        self.add_name(id, own);
        id
    }

    /// Gives a file one more name.
    pub(super) fn add_name(&mut self, file: FileId, name: Spot) {
        self.names.insert(name, file.0);
    }

    /// Returns the file that is to have this name.
    pub(super) fn at(&self, name: &Spot) -> Option<FileId> {
        self.names.get(name).copied().map(FileId)
    }

    /// Notes that something else took a name.
    pub(super) fn forget(&mut self, name: &Spot) {
        self.names.remove(name);
    }

    /// Returns each file with the names that are left to it: none, if later entries took them all.
    pub(super) fn into_files(self, tree: &Tree) -> Vec<(LowerFile, Vec<Spot>)> {
        let mut files: Vec<_> = self.files.into_iter().map(|file| (file, Vec::new())).collect();
        for (name, file) in self.names {
            if tree.is_there(name.parent) {
                files[file].1.push(name);
            }
        }
        for (_, names) in &mut files {
            names.sort();
        }
        files
    }
}
