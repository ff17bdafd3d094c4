//! The lists of archives: what to mount, and what to expect.

use std::fs;
use std::path::{Path, PathBuf};

/// Layouts of which the collection has the text of symbolic links in the place of blobs: no digest matches.
const LINKS_AS_TEXT: [&str; 2] = ["5aba5d2a4f49-amd64", "fc43a260e4dd-amd64"];

/// One row of a list.
pub(crate) struct Case {
    /// What the test is called.
    pub(crate) name: String,
    /// The archive, or the layer.
    pub(crate) source: PathBuf,
    /// What `--image` gets.
    pub(crate) image: Option<String>,
    /// Whether the source is one layer, to be made an image first.
    pub(crate) is_layer: bool,
    /// What is to come of it.
    pub(crate) expected: Expected,
}

/// What is to come of mounting an archive.
pub(crate) enum Expected {
    /// The tree in this listing.
    Tree(PathBuf),
    /// No mount, for this reason.
    Refusal(String),
    /// Nothing is settled: a mount or a refusal, but no crash.
    Either,
}

/// Reads the list of archives out of public repositories.
pub(crate) fn corpus(dir: &Path) -> Vec<Case> {
    let text = read(&dir.join("INDEX.tsv"));
    text.lines().skip(1).map(|line| corpus_row(dir, line)).collect()
}

fn corpus_row(dir: &Path, line: &str) -> Case {
    let columns: Vec<&str> = line.split('\t').collect();
    let &[file, kind, image, tree, reason, ..] = columns.as_slice() else {
        panic!("INDEX.tsv: a row of less than five columns: {line}")
    };
    let is_layer =
        !matches!(kind, "docker-archive-legacy" | "docker-archive-oci" | "oci-archive" | "oci-layout-dir");
    let nr = Some(image).filter(|image| *image != "-");
    Case {
        name: nr.map_or_else(|| format!("{kind}::{file}"), |nr| format!("{kind}::{file}@{nr}")),
        source: dir.join("files").join(file),
        image: nr.map(|nr| format!("@{nr}")),
        is_layer,
        expected: match tree {
            _ if LINKS_AS_TEXT.contains(&file) => Expected::Refusal("its blobs are text of links".to_owned()),
            "REFUSED" => Expected::Refusal(reason.to_owned()),
            "OPEN" => Expected::Either,
            tree => Expected::Tree(dir.join("trees").join(tree)),
        },
    }
}

/// Reads the list of archives that `scripts/make-archives` made: archive, image, tree and tool a row.
pub(crate) fn archives(dir: &Path) -> Vec<Case> {
    let text = read(&dir.join("index.tsv"));
    text.lines().skip(1).map(|line| archives_row(dir, line)).collect()
}

fn archives_row(dir: &Path, line: &str) -> Case {
    let columns: Vec<&str> = line.split('\t').collect();
    let &[archive, image, tree, _made_by] = columns.as_slice() else {
        panic!("index.tsv: not four columns: {line}")
    };
    let image = Some(image).filter(|image| *image != "-");
    Case {
        name: image.map_or_else(|| archive.to_owned(), |image| format!("{archive}@{image}")),
        source: dir.join(archive),
        image: image.map(str::to_owned),
        is_layer: false,
        expected: Expected::Tree(dir.join(tree)),
    }
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|fault| panic!("{}: {fault}", path.display()))
}
