//! What a store is, but for what is another each time: whatever is random, and the time.
//!
//! Of the many calls at which a command is killed most leave the same store: it need be lived in once.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use ovlctl::digest::Digest;

/// Describes all below `root`. Ids that are `known` are told apart, other ones are not.
pub(crate) fn of(root: &Path, known: &BTreeSet<String>) -> Digest {
    let mut lines = Vec::new();
    walk(root, "", known, &mut lines);
    // Names that are random are in no order.
    lines.sort();
    Digest::of(lines.join("\n").as_bytes())
}

fn walk(dir: &Path, above: &str, known: &BTreeSet<String>, lines: &mut Vec<String>) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let name = format!("{above}/{}", plain(&entry.file_name().to_string_lossy(), known));
        let Ok(meta) = fs::symlink_metadata(entry.path()) else { continue };
        let kind = meta.file_type();
        let says = if kind.is_symlink() {
            fs::read_link(entry.path())
                .map(|target| plain(&target.to_string_lossy(), known))
                .unwrap_or_default()
        } else if kind.is_file() {
            contents(&entry.path(), known)
        } else {
            String::new()
        };
        lines.push(format!("{:o} {}:{} {} {name} {says}", meta.mode(), meta.uid(), meta.gid(), meta.rdev()));
        if kind.is_dir() {
            walk(&entry.path(), &name, known, lines);
        } else if kind.is_fifo() || kind.is_socket() {
            lines.push(format!("? {name}"));
        }
    }
}

fn contents(path: &Path, known: &BTreeSet<String>) -> String {
    let bytes = fs::read(path).unwrap_or_default();
    match std::str::from_utf8(&bytes) {
        Ok(text) => plain(text, known),
        Err(_) => Digest::of(&bytes).hex(),
    }
}

/// Leaves out words that are as long as a random name and not known, and those that are a time.
fn plain(text: &str, known: &BTreeSet<String>) -> String {
    let is_time =
        |word: &str| word.len() > 18 && word.contains('T') && word.ends_with('Z') && word.starts_with("20");
    let mut line = String::new();
    for word in text.split_inclusive(|c: char| !c.is_ascii_alphanumeric() && !matches!(c, '-' | '.' | ':')) {
        let (word, end) = word.split_at(word.trim_end_matches(|c: char| !c.is_ascii_alphanumeric()).len());
        let id = word.rsplit(':').next().unwrap_or_default();
        line.push_str(if (id.len() >= 26 && !known.contains(id)) || is_time(word) { "*" } else { word });
        line.push_str(end);
    }
    line
}
