//! The lists of archives: what to mount, and what to expect.

use std::fs;
use std::path::{Path, PathBuf};

/// Listings of the collection that are mistaken, or that no mount can show, and why.
const MISTAKEN: [(&str, Mistake, &str); 7] = [
    (
        "5aba5d2a4f49-amd64",
        Mistake::Refused,
        "the text of symbolic links in the place of blobs: no digest matches",
    ),
    (
        "fc43a260e4dd-amd64",
        Mistake::Refused,
        "the text of symbolic links in the place of blobs: no digest matches",
    ),
    (
        "215679f5d01d-bla.tar.lzma",
        Mistake::Refused,
        "lzma is no packing of layers, and the diff id is of the packed bytes",
    ),
    ("3d6d087201af-test_extract.tar.lzma.uu", Mistake::Refused, "the same"),
    ("9d8c9e828878-bad-cksum.tar", Mistake::Refused, "a header's checksum fails"),
    ("634216175368-pax-bad-mtime-file.tar", Mistake::Refused, "a time that is no number"),
    ("6ab349af2a5a-gnu-incremental.tar", Mistake::Unsettled, "GNU's atime was read as ustar's prefix"),
];

/// What a row is really worth.
#[derive(Clone, Copy)]
enum Mistake {
    /// The archive must be refused.
    Refused,
    /// Nothing is known of the tree.
    Unsettled,
}

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
        expected: expected(dir, file, tree, reason),
    }
}

fn expected(dir: &Path, file: &str, tree: &str, reason: &str) -> Expected {
    let mistaken = MISTAKEN.iter().find(|(known, ..)| *known == file);
    match (mistaken, tree) {
        (Some((_, Mistake::Refused, why)), _) => Expected::Refusal((*why).to_owned()),
        (Some((_, Mistake::Unsettled, _)), _) | (None, "OPEN") => Expected::Either,
        (None, "REFUSED") => Expected::Refusal(reason.to_owned()),
        (None, tree) => Expected::Tree(dir.join("trees").join(tree)),
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
