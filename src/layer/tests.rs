//! What a `diff` directory must hold. Layers and trees are text, one inode a line, and read the same:
//!
//! ```text
//! KIND [MODE] [UID:GID] [@SECONDS[.NANOS]] [{KEY=VALUE}]… PATH [CONTENT | LINK TARGET | FIRST NAME | MAJOR:MINOR]
//! ```
//!
//! KIND: `d`, `f`, `l` symbolic link, `h` hard link, `c`, `b`, `p`; in trees `-` is overlayfs' whiteout. What is left out is
//! the default: 0755 for directories, else 0644, root's, of 1970. `\xNN` is a byte.

mod helpers;
mod metadata;
mod order;
mod recipes;
mod refusals;
mod rules;
mod stream;

use std::collections::HashMap;
use std::fmt::Write as _;
use std::fs::File;
use std::io::Write as _;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use flate2::Compression;
use flate2::write::GzEncoder;
use tempfile::TempDir;

use super::*;
use crate::limits::Limit;
use crate::sys::dir::{self as sysdir, FileType};

/// Layers, each over the ones before.
struct Scene {
    home: TempDir,
    layers: usize,
    options: Options,
    summary: Summary,
}

impl Scene {
    fn new() -> Self {
        // Not /tmp: a tmpfs holds no `user.` attributes, before Linux 6.6.
        let home = tempfile::tempdir_in("/var/tmp").unwrap();
        Self { home, layers: 0, options: Options::default(), summary: Summary::default() }
    }

    fn with(mut self, options: Options) -> Self {
        self.options = options;
        self
    }

    #[track_caller]
    fn layer(mut self, text: &str) -> Self {
        let outcome = self.add(&tar(text));
        self.summary = outcome.unwrap_or_else(|e| panic!("{}", told(&e)));
        self
    }

    #[track_caller]
    fn refuses(mut self, text: &str, reason: &str) -> Self {
        match self.add(&tar(text)) {
            Ok(_) => panic!("was taken:\n{}", list(&self.top())),
            Err(e) => {
                let home = self.home.path().display().to_string();
                let filesystem = format!(
                    "{} cannot hold",
                    crate::sys::filesystem::Filesystem::of(self.top()).unwrap().name()
                );
                let told = told(&e).replace(&home, "HOME").replace(&filesystem, "FS cannot hold");
                assert_eq!(told, reason);
            }
        }
        self
    }

    fn add(&mut self, tar: &[u8]) -> Result<Summary, Error> {
        let below = (0..self.layers).rev().map(|n| self.open(n)).collect();
        std::fs::create_dir(self.home.path().join(self.layers.to_string())).unwrap();
        self.layers += 1;
        let outcome = self.unpacked(tar, blob(tar), &mut Buffers::default(), &self.top(), below);
        self.compare_with_threads(tar, outcome.is_ok());
        outcome
    }

    /// Unpacks a layer, and makes its tar again from what has become of it.
    fn unpacked(
        &self,
        tar: &[u8],
        blob: Blob,
        buffers: &mut Buffers,
        diff: &Dir,
        below: Vec<Dir>,
    ) -> Result<Summary, Error> {
        let beside = tempfile::tempdir_in(&self.home).unwrap();
        let beside = Dir::open(beside.path()).unwrap();
        let summary = unpack(blob, &Digest::of(tar), diff, &beside, &self.options, buffers)?
            .settle(diff, &Below::new(below))?;
        assert!(rebuilt(&beside, diff).unwrap() == tar, "the recipe makes another tar");
        Ok(summary)
    }

    /// On one thread, with a helper, and with a reader too, which zeros behind the tar's end make the blob large enough for,
    /// the same must come out.
    fn compare_with_threads(&self, tar: &[u8], well: bool) {
        let large = [tar, &vec![0; 1 << 20]].concat();
        for stored in [blob(&large), blob(&gzip(&large, Compression::none()))] {
            assert!(!pipeline::is_small(&stored));
            helped(|crew| self.compare_with(&large, stored, &mut Buffers::alone(crew), well));
        }
    }

    fn compare_with(&self, tar: &[u8], stored: Blob, buffers: &mut Buffers, well: bool) {
        let path = self.home.path().join("with-threads");
        std::fs::create_dir(&path).unwrap();
        let diff = Dir::open(&path).unwrap();
        let below = (0..self.layers - 1).rev().map(|n| self.open(n)).collect();
        let outcome = self.unpacked(tar, stored, buffers, &diff, below);
        assert_eq!(outcome.is_ok(), well);
        if well {
            assert_eq!(list(&diff), list(&self.top()));
        }
        std::fs::remove_dir_all(path).unwrap();
    }

    fn open(&self, layer: usize) -> Dir {
        Dir::open(&self.home.path().join(layer.to_string())).unwrap()
    }

    fn top(&self) -> Dir {
        self.open(self.layers - 1)
    }

    /// Compares the uppermost `diff` with a tree; its root comes first.
    #[track_caller]
    fn holds(self, tree: &str) -> Self {
        let wanted: Vec<_> = tree.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        assert_eq!(list(&self.top()).trim_end(), wanted.join("\n"));
        self
    }
}

/// Makes the tar again; whatever is wrong is an error.
fn rebuilt(beside: &Dir, diff: &Dir) -> Result<Vec<u8>, recipe::Fault> {
    let mut tar = Vec::new();
    let file = beside.open_file(recipe::RECIPE.as_bytes()).unwrap();
    let displaced = beside.open_dir(recipe::DISPLACED.as_bytes()).ok();
    recipe::rebuild(&file, displaced.as_ref(), diff, &mut tar, &mut Err)?;
    Ok(tar)
}

fn blob(bytes: &[u8]) -> Blob {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    Blob::of_file(file).unwrap()
}

fn gzip(bytes: &[u8], level: Compression) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), level);
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// Says an error as the command line would.
fn told(error: &dyn std::error::Error) -> String {
    std::iter::successors(Some(error), |e| e.source()).map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

/// Writes the tar that `text` describes.
fn tar(text: &str) -> Vec<u8> {
    let mut tar = Vec::new();
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        entry(&mut tar, line);
    }
    tar.extend([0; 1024]);
    tar
}

/// What stands before a path: the header of an entry so far, and its records.
fn facts<'a>(kind: &str, mut rest: &'a str) -> (tar::Header, Vec<u8>, &'a str) {
    let (mut mode, mut owner, mut time, mut records) =
        (if kind == "d" { 0o755 } else { 0o644 }, (0, 0), "0", Vec::new());
    loop {
        let (token, after) = rest.split_once(' ').unwrap_or((rest, ""));
        if let Some(token) = token.strip_prefix('@') {
            time = token;
            record(&mut records, b"mtime", time.as_bytes());
        } else if let Some((key, value)) = token.strip_prefix('{').and_then(|t| t.split_once('=')) {
            let key = [b"SCHILY.xattr.", key.as_bytes()].concat();
            record(&mut records, &key, &bytes(value.trim_end_matches('}')));
        } else if token.len() == 4 && token.bytes().all(|b| (b'0'..=b'7').contains(&b)) {
            mode = u32::from_str_radix(token, 8).unwrap();
        } else if let Some((uid, gid)) = token.split_once(':') {
            owner = (uid.parse().unwrap(), gid.parse().unwrap());
        } else {
            break;
        }
        rest = after.trim_start();
    }
    let seconds = time.split('.').next().unwrap().parse::<i64>().unwrap().max(0);
    let mut header = tar::Header::new_gnu();
    header.set_mode(mode);
    header.set_uid(owner.0);
    header.set_gid(owner.1);
    header.set_mtime(seconds as u64);
    (header, records, rest)
}

fn entry(tar: &mut Vec<u8>, line: &str) {
    let (kind, rest) = line.split_once(' ').unwrap();
    let (mut header, mut records, rest) = facts(kind, rest.trim_start());
    let (path, content) = rest.split_once(' ').unwrap_or((rest, ""));
    let (path, content) = (bytes(path), bytes(content));
    let mut data: &[u8] = &[];
    header.set_entry_type(match kind {
        "d" => tar::EntryType::Directory,
        "f" => tar::EntryType::Regular,
        "l" => tar::EntryType::Symlink,
        "h" => tar::EntryType::Link,
        "c" => tar::EntryType::Char,
        "b" => tar::EntryType::Block,
        "p" => tar::EntryType::Fifo,
        other => panic!("no such kind: {other}"),
    });
    match kind {
        "f" => data = &content,
        "l" | "h" if content.len() > 100 => record(&mut records, b"linkpath", &content),
        "l" | "h" => header.as_old_mut().linkname[..content.len()].copy_from_slice(&content),
        "c" | "b" => {
            let (major, minor) = std::str::from_utf8(&content).unwrap().split_once(':').unwrap();
            header.set_device_major(major.parse().unwrap()).unwrap();
            header.set_device_minor(minor.parse().unwrap()).unwrap();
        }
        _ => {}
    }
    if path.len() > 100 || path.is_empty() {
        record(&mut records, b"path", &path);
    } else {
        header.as_old_mut().name[..path.len()].copy_from_slice(&path);
    }
    if !records.is_empty() {
        let mut pax = tar::Header::new_ustar();
        pax.set_entry_type(tar::EntryType::XHeader);
        append(tar, pax, &records);
    }
    append(tar, header, data);
}

fn append(tar: &mut Vec<u8>, mut header: tar::Header, data: &[u8]) {
    header.set_size(data.len() as u64);
    header.set_cksum();
    tar.extend(header.as_bytes());
    tar.extend(data);
    tar.resize(tar.len().next_multiple_of(512), 0);
}

/// Adds a PAX record: its length, which counts itself, key and value.
fn record(records: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    let rest = key.len() + value.len() + 3;
    let len = (rest..).find(|len| rest + len.to_string().len() == *len).unwrap();
    records.extend([len.to_string().as_bytes(), b" ", key, b"=", value, b"\n"].concat());
}

fn bytes(text: &str) -> Vec<u8> {
    let mut pieces = text.split("\\x");
    let mut out = pieces.next().unwrap().as_bytes().to_vec();
    for piece in pieces {
        out.push(u8::from_str_radix(&piece[..2], 16).unwrap());
        out.extend(&piece.as_bytes()[2..]);
    }
    out
}

/// Lists a tree, names in order, directories before what is in them.
fn list(root: &Dir) -> String {
    let mut out = String::new();
    inode(&mut out, root, None, "./");
    below(&mut out, root, "", &mut HashMap::new());
    out
}

fn below(out: &mut String, dir: &Dir, prefix: &str, first: &mut HashMap<u64, String>) {
    let mut names = dir.names().unwrap();
    names.sort();
    for name in names {
        let path = format!("{prefix}{}", text(&name));
        let stat = dir.stat(&name).unwrap().unwrap();
        let is_dir = sysdir::kind(&stat) == FileType::Directory;
        if sysdir::is_whiteout(&stat) {
            writeln!(out, "- {path}").unwrap();
        } else if let Some(first) = first.get(&stat.st_ino).filter(|_| !is_dir) {
            writeln!(out, "h {path} {first}").unwrap();
        } else {
            inode(out, dir, Some(&name), &path);
            first.insert(stat.st_ino, path.clone());
        }
        if is_dir {
            below(out, &dir.open_dir(&name).unwrap(), &format!("{path}/"), first);
        }
    }
}

fn inode(out: &mut String, dir: &Dir, name: Option<&[u8]>, path: &str) {
    let (stat, xattrs) = match name {
        None => (dir.stat_self().unwrap(), dir.xattrs_self().unwrap()),
        Some(name) => (dir.stat(name).unwrap().unwrap(), dir.xattrs(name).unwrap()),
    };
    let on_disk = dir.path().join(std::ffi::OsStr::from_bytes(name.unwrap_or_default()));
    let (major, minor) = sysdir::device(&stat);
    let (kind, usual, content) = match sysdir::kind(&stat) {
        FileType::Directory => ("d", 0o755, String::new()),
        FileType::RegularFile => ("f", 0o644, contents(&std::fs::read(&on_disk).unwrap())),
        FileType::Symlink => ("l", 0o777, text(&dir.read_link(name.unwrap()).unwrap())),
        FileType::CharacterDevice => ("c", 0o644, format!("{major}:{minor}")),
        FileType::BlockDevice => ("b", 0o644, format!("{major}:{minor}")),
        FileType::Fifo => ("p", 0o644, String::new()),
        FileType::Socket | FileType::Unknown => panic!("{path}: what is that?"),
    };
    out.push_str(kind);
    if stat.st_mode & 0o7777 != usual {
        write!(out, " {:04o}", stat.st_mode & 0o7777).unwrap();
    }
    if (stat.st_uid, stat.st_gid) != (0, 0) {
        write!(out, " {}:{}", stat.st_uid, stat.st_gid).unwrap();
    }
    match (stat.st_mtime, stat.st_mtime_nsec) {
        (0, 0) => {}
        (seconds, 0) => write!(out, " @{seconds}").unwrap(),
        (seconds, nanos) => write!(out, " @{seconds}.{nanos:09}").unwrap(),
    }
    let mut xattrs = xattrs;
    xattrs.sort();
    for (key, value) in xattrs.iter().filter(|(key, _)| key != b"security.selinux") {
        write!(out, " {{{}={}}}", text(key), text(value)).unwrap();
    }
    writeln!(out, " {path} {content}").unwrap();
    out.truncate(out.trim_end().len());
    out.push('\n');
}

/// Says what a small file holds; of a large one, what it can be compared by.
fn contents(bytes: &[u8]) -> String {
    if bytes.len() < 1 << 16 { text(bytes).replace("\\x20", " ") } else { Digest::of(bytes).to_string() }
}

fn text(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut out, &b| {
        if b.is_ascii_graphic() {
            out.push(char::from(b));
        } else {
            write!(out, "\\x{b:02x}").unwrap();
        }
        out
    })
}

fn exists(path: &Path) -> bool {
    path.symlink_metadata().is_ok()
}

fn file_at(path: &Path) -> File {
    File::open(path).unwrap()
}
