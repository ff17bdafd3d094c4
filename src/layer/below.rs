//! What overlayfs shows of the layers below, worked out in user space.
//!
//! A name is what the uppermost layer has of it. Directories are merged downwards until a layer has something else of
//! that name, whites it out, or has an opaque directory there (overlayfs.rst, "whiteouts and opaque directories").

use crate::sys::CallFailed;
use crate::sys::dir::{self, Dir, FileType, Stat};

use super::meta::Meta;
use super::whiteout;

/// The layers below one that is being settled.
#[derive(Debug, Default)]
pub struct Below {
    layers: Vec<Dir>,
}

/// The layers that a merged directory comes from, uppermost first; never none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Merged(Vec<usize>);

impl Merged {
    /// Returns how much memory it takes.
    pub(super) fn held(&self) -> u64 {
        (32 + size_of_val(&self.0[..])) as u64
    }
}

/// What the layers below have at a path.
#[derive(Debug)]
pub(super) enum Lower {
    Directory(Merged),
    /// The layer that it is in, and what it is.
    Other(usize, Box<Stat>),
}

impl Below {
    /// Takes the `diff` directories of the layers below, uppermost first, each already settled. Under a layer with an
    /// opaque root there is nothing: leave out what lies below that one.
    #[must_use]
    pub fn new(layers: Vec<Dir>) -> Self {
        Self { layers }
    }

    /// Lays a layer on top. One with an opaque root hides all that was there.
    pub fn lay(&mut self, layer: Dir, opaque_root: bool) {
        if opaque_root {
            self.layers.clear();
        }
        self.layers.insert(0, layer);
    }

    /// Returns the merged root; nothing, below the lowest layer.
    pub(super) fn root(&self) -> Option<Merged> {
        (!self.layers.is_empty()).then(|| Merged((0..self.layers.len()).collect()))
    }

    /// Returns one of the layers.
    pub(super) fn layer(&self, number: usize) -> &Dir {
        &self.layers[number]
    }

    /// Returns what `path` is, whose parent is the merged directory `parent`.
    pub(super) fn child(&self, parent: &Merged, path: &[u8]) -> Result<Option<Lower>, CallFailed> {
        let mut layers = Vec::new();
        for &number in &parent.0 {
            // The parent is a directory of this layer, so no link is followed on the way.
            let Some(stat) = self.layers[number].stat(path)? else { continue };
            if dir::kind(&stat) != FileType::Directory {
                if layers.is_empty() && !dir::is_whiteout(&stat) {
                    return Ok(Some(Lower::Other(number, Box::new(stat))));
                }
                break;
            }
            layers.push(number);
            if whiteout::is_opaque(&self.layers[number].open_beneath(path)?)? {
                break;
            }
        }
        Ok((!layers.is_empty()).then_some(Lower::Directory(Merged(layers))))
    }

    /// Returns what `path` is, without following links.
    pub(super) fn lookup(&self, path: &[u8]) -> Result<Option<Lower>, CallFailed> {
        let Some(mut here) = self.root() else { return Ok(None) };
        let ends = path.iter().enumerate().filter(|&(_, &b)| b == b'/').map(|(end, _)| end);
        for end in ends {
            match self.child(&here, &path[..end])? {
                Some(Lower::Directory(merged)) => here = merged,
                Some(Lower::Other(..)) | None => return Ok(None),
            }
        }
        self.child(&here, path)
    }

    /// Returns the metadata of the merged directory at `path`, which is its uppermost layer's.
    pub(super) fn directory_meta(&self, merged: &Merged, path: &[u8]) -> Result<Meta, CallFailed> {
        let top = &self.layers[merged.0[0]];
        let dir = if path.is_empty() { top.again()? } else { top.open_beneath(path)? };
        Ok(Meta::of_inode(&dir.stat_self()?, dir.xattrs_self()?))
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;

    /// Makes one layer a list, uppermost first: `d/` a directory, `d!/` an opaque one, `-f` a whiteout, `f` a file.
    fn below(home: &Path, layers: &[&[&str]]) -> Below {
        let made = layers.iter().enumerate().map(|(number, entries)| {
            let root = home.join(number.to_string());
            fs::create_dir(&root).unwrap();
            let root = Dir::open(&root).unwrap();
            for entry in *entries {
                if let Some(dir) = entry.strip_suffix('/') {
                    let name = dir.trim_end_matches('!');
                    fs::create_dir(root.path().join(name)).unwrap();
                    if dir.ends_with('!') {
                        whiteout::mark_opaque(&root.open_beneath(name.as_bytes()).unwrap()).unwrap();
                    }
                } else if let Some(gone) = entry.strip_prefix('-') {
                    whiteout::place(&root, gone.as_bytes()).unwrap();
                } else {
                    fs::write(root.path().join(entry), "").unwrap();
                }
            }
            root
        });
        Below::new(made.collect())
    }

    fn at(layers: &[&[&str]], path: &str) -> String {
        let home = tempfile::tempdir_in("/var/tmp").unwrap();
        match below(home.path(), layers).lookup(path.as_bytes()).unwrap() {
            None => "nothing".to_owned(),
            Some(Lower::Directory(Merged(layers))) => format!("directory of {layers:?}"),
            Some(Lower::Other(layer, _)) => format!("file of {layer}"),
        }
    }

    #[test]
    fn the_uppermost_layer_wins() {
        assert_eq!(at(&[&[], &["f"], &["f"]], "f"), "file of 1");
        assert_eq!(at(&[], "f"), "nothing");
    }

    #[test]
    fn a_whiteout_hides_what_is_below_it() {
        assert_eq!(at(&[&["-f"], &["f"]], "f"), "nothing");
        assert_eq!(at(&[&["f"], &["-f"], &["f"]], "f"), "file of 0");
        assert_eq!(at(&[&["d/"], &["-d"], &["d/", "d/f"]], "d/f"), "nothing");
    }

    #[test]
    fn directories_are_merged_down_to_an_opaque_one() {
        assert_eq!(at(&[&["d/"], &["d/"]], "d"), "directory of [0, 1]");
        assert_eq!(at(&[&["d/"], &["d!/"], &["d/", "d/f"]], "d"), "directory of [0, 1]");
        assert_eq!(at(&[&["d/"], &["d!/"], &["d/", "d/f"]], "d/f"), "nothing");
    }

    #[test]
    fn a_file_and_a_directory_are_not_merged() {
        assert_eq!(at(&[&["d"], &["d/", "d/f"]], "d/f"), "nothing");
        assert_eq!(at(&[&["d/"], &["d"], &["d/", "d/f"]], "d/f"), "nothing");
        assert_eq!(at(&[&["d/"], &["d"], &["d/"]], "d"), "directory of [0]");
    }
}
