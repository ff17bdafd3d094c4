//! What each layer of an image adds, hides and wastes, and the figure that dive made popular.

use std::collections::{HashMap, HashSet};

use crate::sys::CallFailed;
use crate::sys::dir::{self, Dir, FileType, Stat};

use super::depth::deep;
use super::view::join;
use super::whiteout;

/// What one layer weighs, in bytes of files' contents; a file of several names counts once.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Weight {
    /// Its own files.
    pub adds: u64,
    /// Files of the layers below that it removes or replaces.
    pub hides: u64,
    /// Its own files that a layer above removes or replaces.
    pub wastes: u64,
}

/// A path that several layers have written, or removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wasteful {
    /// The path.
    pub path: Vec<u8>,
    /// How many bytes all its versions have.
    pub size: u64,
    /// How many layers have it, or remove it.
    pub count: usize,
}

/// What an image weighs.
#[derive(Debug)]
pub struct Weighed {
    /// Its layers, the base first.
    pub layers: Vec<Weight>,
    /// The smallest version of each path, all together, by all versions: 1 where nothing is written twice or removed.
    pub efficiency: f64,
    /// The paths that several layers have, the largest first.
    pub wasteful: Vec<Wasteful>,
}

/// Weighs layers, the base first; of each, its directory and whether it hides all below.
///
/// The efficiency is dive's (`Efficiency` in dive/filetree/efficiency.go): for every path that is a leaf of a layer's own
/// tree, the sizes of all its versions are added up, and the smallest is taken; a whiteout counts as a version of no size,
/// but, where it removes a directory, of the size of all that was in it. The two sums are divided. A directory that is
/// removed thus costs nothing by this figure; [`Weight::wastes`] tells of it.
pub fn weigh(layers: &[(Dir, bool)]) -> Result<Weighed, CallFailed> {
    deep(|| weighed(layers))
}

fn weighed(layers: &[(Dir, bool)]) -> Result<Weighed, CallFailed> {
    let mut scales = Scales { weights: vec![Weight::default(); layers.len()], versions: HashMap::new() };
    let mut root = Node::default();
    for (nr, (dir, is_opaque)) in layers.iter().enumerate() {
        if *is_opaque {
            scales.hide(nr, std::mem::take(&mut root));
        }
        let mut linked = HashSet::new();
        scales.directory(nr, dir, &[], &mut root, &mut linked)?;
    }
    Ok(scales.read())
}

/// Something in the merged tree.
#[derive(Debug, Default)]
struct Node {
    /// The layer that a file is in, and its size.
    file: Option<(usize, u64)>,
    below: HashMap<Vec<u8>, Node>,
}

impl Node {
    fn size(&self) -> u64 {
        self.file.map_or(0, |(_, size)| size) + self.below.values().map(Self::size).sum::<u64>()
    }
}

/// All versions of a path.
#[derive(Debug, Default)]
struct Versions {
    all: u64,
    smallest: u64,
    count: usize,
}

struct Scales {
    weights: Vec<Weight>,
    versions: HashMap<Vec<u8>, Versions>,
}

impl Scales {
    /// Lays one directory of layer `nr` on what is there.
    fn directory(
        &mut self,
        nr: usize,
        dir: &Dir,
        path: &[u8],
        node: &mut Node,
        linked: &mut HashSet<u64>,
    ) -> Result<(), CallFailed> {
        let mut names = dir.names()?;
        names.sort_unstable();
        if names.is_empty() {
            self.version(path, 0);
        }
        for name in names {
            let Some(stat) = dir.stat(&name)? else { continue };
            let path = join(path, &name);
            if dir::is_whiteout(&stat) {
                let gone = node.below.remove(&name).unwrap_or_default();
                self.version(&path, if gone.file.is_some() { 0 } else { gone.size() });
                self.hide(nr, gone);
            } else if dir::kind(&stat) == FileType::Directory {
                let below = dir.open_dir(&name)?;
                let there = node.below.entry(name).or_default();
                if there.file.is_some() || whiteout::is_opaque(&below)? {
                    self.hide(nr, std::mem::take(there));
                }
                self.directory(nr, &below, &path, there, linked)?;
            } else {
                let size = size(&stat, linked);
                if let Some(gone) =
                    node.below.insert(name, Node { file: Some((nr, size)), ..Node::default() })
                {
                    self.hide(nr, gone);
                }
                self.weights[nr].adds += size;
                self.version(&path, size);
            }
        }
        Ok(())
    }

    /// Layer `nr` removes or replaces `gone`.
    fn hide(&mut self, nr: usize, gone: Node) {
        if let Some((layer, size)) = gone.file {
            self.weights[nr].hides += size;
            self.weights[layer].wastes += size;
        }
        gone.below.into_values().for_each(|below| self.hide(nr, below));
    }

    fn version(&mut self, path: &[u8], size: u64) {
        let versions = self.versions.entry(path.to_owned()).or_default();
        versions.smallest = if versions.count == 0 { size } else { versions.smallest.min(size) };
        versions.all += size;
        versions.count += 1;
    }

    fn read(self) -> Weighed {
        let smallest: u64 = self.versions.values().map(|versions| versions.smallest).sum();
        let all: u64 = self.versions.values().map(|versions| versions.all).sum();
        #[expect(clippy::cast_precision_loss, reason = "a figure of three digits is shown")]
        let efficiency = if all == 0 { 1.0 } else { smallest as f64 / all as f64 };
        let several = self.versions.into_iter().filter(|(_, versions)| versions.count > 1);
        let mut wasteful: Vec<Wasteful> = several
            .map(|(path, versions)| Wasteful { path, size: versions.all, count: versions.count })
            .collect();
        wasteful.sort_by(|a, b| b.size.cmp(&a.size).then_with(|| a.path.cmp(&b.path)));
        Weighed { layers: self.weights, efficiency, wasteful }
    }
}

/// Returns the size of a file, once.
fn size(stat: &Stat, linked: &mut HashSet<u64>) -> u64 {
    let is_again = stat.st_nlink > 1 && !linked.insert(stat.st_ino);
    if is_again { 0 } else { dir::contents(stat) }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;

    /// Makes a layer of words: `a/f=12` a file of so many bytes, `-a/f` a whiteout, `a!` an opaque directory.
    fn layer(root: &Path, words: &str) -> Dir {
        fs::create_dir(root).unwrap();
        for word in words.split_whitespace() {
            let name = word.trim_start_matches('-').split(['=', '!']).next().unwrap();
            fs::create_dir_all(root.join(name).parent().unwrap()).unwrap();
            let dir = Dir::open(root.join(name).parent().unwrap()).unwrap();
            let last = name.rsplit('/').next().unwrap();
            if word.starts_with('-') {
                whiteout::place(&dir, last.as_bytes()).unwrap();
            } else if let Some((_, size)) = word.split_once('=') {
                fs::write(root.join(name), "x".repeat(size.parse().unwrap())).unwrap();
            } else {
                fs::create_dir_all(root.join(name)).unwrap();
                whiteout::mark_opaque(&Dir::open(&root.join(name)).unwrap()).unwrap();
            }
        }
        Dir::open(root).unwrap()
    }

    /// Weighs layers; tells `adds hides wastes` of each, and the efficiency in percent.
    fn told(layers: &[&str]) -> (Vec<String>, f64) {
        let home = tempfile::tempdir_in("/var/tmp").unwrap();
        let dirs: Vec<(Dir, bool)> = layers
            .iter()
            .enumerate()
            .map(|(nr, words)| (layer(&home.path().join(nr.to_string()), words), false))
            .collect();
        let weighed = weigh(&dirs).unwrap();
        let told = weighed.layers.iter().map(|w| format!("{} {} {}", w.adds, w.hides, w.wastes));
        (told.collect(), (weighed.efficiency * 1000.0).round() / 10.0)
    }

    #[test]
    fn what_is_written_twice_or_removed_is_wasted() {
        assert_eq!(told(&["a=10 d/b=20"]), (vec!["30 0 0".to_owned()], 100.0));
        // Of `a` the smaller version counts: 4 + 20 of 10 + 4 + 20.
        assert_eq!(told(&["a=10 d/b=20", "a=4"]), (vec!["30 0 10".to_owned(), "4 10 0".to_owned()], 70.6));
        // A file's whiteout is a version of no size: 20 of 30.
        assert_eq!(told(&["a=10 d/b=20", "-a"]), (vec!["30 0 10".to_owned(), "0 10 0".to_owned()], 66.7));
    }

    #[test]
    fn removed_directory_costs_nothing_by_dives_figure() {
        assert_eq!(
            told(&["a=10 d/b=20 d/e/c=5", "-d"]),
            (vec!["35 0 25".to_owned(), "0 25 0".to_owned()], 100.0)
        );
    }

    #[test]
    fn what_starts_anew_hides_all_below() {
        let (weights, _) = told(&["d/b=20 d/c=1 e=2", "d! d/c=3"]);
        assert_eq!(weights, ["23 0 21", "3 21 0"]);
        let (weights, _) = told(&["d/b=20", "d=3", "d/x=1"]);
        assert_eq!(weights, ["20 0 20", "3 20 3", "1 3 0"]);
    }

    #[test]
    fn nothing_is_efficient() {
        assert_eq!(told(&[""]), (vec!["0 0 0".to_owned()], 100.0));
    }
}
