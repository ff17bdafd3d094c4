//! A tree as one line a path: `TYPE MODE UID GID SIZE MTIME RDEV LINK XATTRS BODY PATH`.
//!
//! SIZE is of files and links, MTIME in whole seconds and `-` for the root, LINK the first path of the same inode, XATTRS
//! `name=hex,…` sorted, BODY the sha256 of a file or a link's target. `-` where there is none; `*` in an expected line
//! matches anything. Spaces, backslashes and bytes that are no UTF-8 are `\xNN`.

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File, Metadata};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use ovlctl::digest::HashingReader;
use rustix::fs::{lgetxattr, llistxattr, major, minor};

const FIELDS: [&str; 10] = ["type", "mode", "uid", "gid", "size", "mtime", "rdev", "link", "xattrs", "body"];

/// Where `link` and `xattrs` are among the fields.
const LINK: usize = 7;
const XATTRS: usize = 8;

/// Attributes of overlayfs and of the host: no image has them.
const HIDDEN: [&str; 5] =
    ["trusted.overlay.", "user.overlay.", "security.selinux", "security.ima", "security.evm"];

/// How many differences are worth reading.
const MOST_SHOWN: usize = 40;

/// Reads a listing, packed by gzip or not.
pub(crate) fn read(path: &Path) -> String {
    let raw = fs::read(path).unwrap_or_else(|fault| panic!("{}: {fault}", path.display()));
    if !raw.starts_with(&[0x1f, 0x8b]) {
        return String::from_utf8(raw).expect("a listing is text");
    }
    let mut text = String::new();
    flate2::read::MultiGzDecoder::new(&raw[..]).read_to_string(&mut text).expect("a listing is text");
    text
}

/// Compares two listings, path by path.
pub(crate) fn compare(expected: &str, found: &str) -> Result<(), String> {
    let (expected, found) = (rows(expected), rows(found));
    let mut faults = Vec::new();
    for (path, row) in &expected {
        match found.get(path) {
            None => faults.push(format!("missing  {path}  ({})", row.join(" "))),
            Some(other) => {
                let fields = FIELDS.iter().zip(row.iter().zip(other));
                let unlike = fields.filter(|(_, (expected, found))| **expected != "*" && expected != found);
                faults.extend(
                    unlike.map(|(name, (a, b))| format!("differs  {path}  {name}: expected {a}, found {b}")),
                );
            }
        }
    }
    let extra = found.iter().filter(|(path, _)| !expected.contains_key(*path));
    faults.extend(extra.map(|(path, row)| format!("extra    {path}  ({})", row.join(" "))));
    if faults.is_empty() {
        return Ok(());
    }
    let more = faults.len().saturating_sub(MOST_SHOWN);
    faults.truncate(MOST_SHOWN);
    Err(format!("{}\nand {more} more", faults.join("\n")))
}

/// Returns a name of this listing that no Linux filesystem can hold, if there is one.
pub(crate) fn too_long(listing: &str) -> Option<&str> {
    /// limits.h, NAME_MAX
    const NAME_MAX: usize = 255;
    let bytes = |name: &str| name.len() - 3 * name.matches("\\x").count();
    rows(listing).keys().flat_map(|path| path.split('/')).find(|name| bytes(name) > NAME_MAX)
}

fn rows(listing: &str) -> BTreeMap<&str, Vec<&str>> {
    let mut names: HashMap<&str, usize> = HashMap::new();
    let mut rows = BTreeMap::new();
    for line in listing.lines() {
        let mut fields: Vec<&str> = line.split(' ').collect();
        let path = fields.pop().unwrap_or_default();
        if let Some(xattrs) = fields.get_mut(XATTRS).filter(|xattrs| xattrs.split(',').all(is_hidden)) {
            *xattrs = "-";
        }
        *names.entry(fields.get(LINK).copied().unwrap_or_default()).or_default() += 1;
        rows.insert(path, fields);
    }
    // overlayfs counts the names of the layer, also those that a layer above removed.
    for link in rows.values_mut().filter_map(|fields| fields.get_mut(LINK)) {
        if names.get(link) == Some(&1) {
            *link = "-";
        }
    }
    rows
}

fn is_hidden(xattr: &str) -> bool {
    HIDDEN.iter().any(|hidden| xattr.starts_with(hidden))
}

/// Lists the tree below `root`.
pub(crate) fn list(root: &Path) -> String {
    let mut lister = Lister { root, text: String::new(), seen: HashMap::new() };
    let meta = fs::metadata(root).expect("the root can be read");
    let xattrs = xattrs(root);
    lister.text +=
        &format!("d {:04o} {} {} - - - - {xattrs} - .\n", meta.mode() & 0o7777, meta.uid(), meta.gid());
    lister.below(root);
    lister.text
}

struct Lister<'a> {
    root: &'a Path,
    text: String,
    seen: HashMap<(u64, u64), String>,
}

impl Lister<'_> {
    fn below(&mut self, dir: &Path) {
        let entries = fs::read_dir(dir).expect("a directory can be read");
        let mut names: Vec<_> = entries.map(|entry| entry.expect("readdir").file_name()).collect();
        names.sort();
        for name in names {
            let path = dir.join(name);
            match fs::symlink_metadata(&path) {
                Ok(meta) => {
                    self.line(&path, &meta);
                    if meta.is_dir() {
                        self.below(&path);
                    }
                }
                Err(_) => self.text += &format!("ghost - - - - - - - - - {}\n", self.shown(&path)),
            }
        }
    }

    fn line(&mut self, path: &Path, meta: &Metadata) {
        let shown = self.shown(path);
        let kind = kind(meta);
        let size = if matches!(kind, 'f' | 'l') { meta.len().to_string() } else { "-".to_owned() };
        let device = match kind {
            'b' | 'c' => format!("{}:{}", major(meta.rdev()), minor(meta.rdev())),
            _ => "-".to_owned(),
        };
        let link = match kind {
            'd' => "-",
            _ if meta.nlink() == 1 => "-",
            _ => self.seen.entry((meta.dev(), meta.ino())).or_insert_with(|| shown.clone()),
        };
        self.text += &format!(
            "{kind} {:04o} {} {} {size} {} {device} {link} {} {} {shown}\n",
            meta.mode() & 0o7777,
            meta.uid(),
            meta.gid(),
            meta.mtime(),
            xattrs(path),
            body(kind, path),
        );
    }

    fn shown(&self, path: &Path) -> String {
        text(path.strip_prefix(self.root).expect("it lies below").as_os_str().as_bytes())
    }
}

fn kind(meta: &Metadata) -> char {
    let kind = meta.file_type();
    match () {
        () if kind.is_file() => 'f',
        () if kind.is_dir() => 'd',
        () if kind.is_symlink() => 'l',
        () if kind.is_char_device() => 'c',
        () if kind.is_block_device() => 'b',
        () if kind.is_fifo() => 'p',
        () => 's',
    }
}

fn body(kind: char, path: &Path) -> String {
    match kind {
        'f' => {
            let mut reader = HashingReader::new(File::open(path).expect("a file can be read"));
            io::copy(&mut reader, &mut io::sink()).expect("a file can be read");
            reader.finish().digest.hex()
        }
        'l' => text(fs::read_link(path).expect("a link can be read").as_os_str().as_bytes()),
        _ => "-".to_owned(),
    }
}

fn xattrs(path: &Path) -> String {
    let mut names = vec![0; 64 << 10];
    let len = llistxattr(path, &mut names).expect("names of xattrs can be read");
    let mut pairs = Vec::new();
    for name in names[..len].split(|&byte| byte == 0).filter(|name| !name.is_empty()) {
        let shown = String::from_utf8_lossy(name).into_owned();
        if !is_hidden(&shown) {
            let mut value = vec![0; 64 << 10];
            let len = lgetxattr(path, name, &mut value).expect("an xattr can be read");
            let hex: String = value[..len].iter().map(|byte| format!("{byte:02x}")).collect();
            pairs.push((shown, hex));
        }
    }
    pairs.sort();
    let shown: Vec<String> = pairs.iter().map(|(name, hex)| format!("{name}={hex}")).collect();
    if shown.is_empty() { "-".to_owned() } else { shown.join(",") }
}

fn text(name: &[u8]) -> String {
    match std::str::from_utf8(name) {
        Ok(name) => name
            .chars()
            .map(|c| if c <= ' ' || matches!(c, '\\' | '\x7f') { hex(c as u8) } else { c.into() })
            .collect(),
        Err(_) => name
            .iter()
            .map(|&c| if c.is_ascii_graphic() && c != b'\\' { char::from(c).into() } else { hex(c) })
            .collect(),
    }
}

fn hex(byte: u8) -> String {
    format!("\\x{byte:02x}")
}
