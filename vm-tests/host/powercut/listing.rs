//! A tree as text: one line an inode, with all that a layer says of it.

use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use ovlctl::digest::Digest;
use rustix::fs::{lgetxattr, llistxattr};

/// Lists the tree at `root`.
pub(super) fn list(root: &Path) -> io::Result<String> {
    let mut lines = Vec::new();
    let mut left = vec![root.to_owned()];
    while let Some(path) = left.pop() {
        let name = path.strip_prefix(root).map_err(io::Error::other)?.display().to_string();
        lines.push(format!("{name} {}", inode(&path)?));
        if fs::symlink_metadata(&path)?.is_dir() {
            for entry in fs::read_dir(&path)? {
                left.push(entry?.path());
            }
        }
    }
    lines.sort_unstable();
    Ok(lines.join("\n"))
}

fn inode(path: &Path) -> io::Result<String> {
    let meta = fs::symlink_metadata(path)?;
    let kind = meta.file_type();
    let contents = if kind.is_file() {
        Digest::of(&fs::read(path)?).hex()
    } else if kind.is_symlink() {
        fs::read_link(path)?.display().to_string()
    } else if kind.is_char_device() || kind.is_block_device() {
        format!("device {}", meta.rdev())
    } else {
        String::new()
    };
    let links = if kind.is_dir() { 0 } else { meta.nlink() };
    let time = format!("{}.{:09}", meta.mtime(), meta.mtime_nsec());
    let numbers = format!("{:o} {}:{} {links} {time}", meta.mode(), meta.uid(), meta.gid());
    Ok(format!("{numbers} {}{contents}", attributes(path)?))
}

fn attributes(path: &Path) -> io::Result<String> {
    let mut names = vec![0; 4096];
    let len = llistxattr(path, &mut names)?;
    let mut shown = Vec::new();
    for name in names[..len].split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
        let mut value = vec![0; 4096];
        let len = lgetxattr(path, name, &mut value)?;
        shown.push(format!("{}={} ", name.escape_ascii(), value[..len].escape_ascii()));
    }
    shown.sort_unstable();
    Ok(shown.concat())
}
