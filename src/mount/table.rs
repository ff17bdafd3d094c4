//! What is mounted: /proc/PID/mountinfo, read.
//!
//! Overlay's own part of a line is what was given at mount time, escapes included, so paths in it are for people;
//! who must know which layers a mount has keeps a record of its own.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use crate::sys::{CallFailed, read_proc};

/// One mount, as a line of mountinfo has it (proc_pid_mountinfo(5)).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// Its id: what statx(2) calls STATX_MNT_ID.
    pub id: u64,
    /// The mount it is mounted on.
    pub parent: u64,
    /// Major and minor number of the filesystem.
    pub device: (u32, u32),
    /// Which directory of the filesystem is mounted.
    pub root: PathBuf,
    /// Where it is mounted, seen from the process' root.
    pub target: PathBuf,
    /// Options of this mount: `rw,nodev`.
    pub flags: String,
    /// Whether mounts on it come and go in other mount namespaces too (`shared:`, or `master:`).
    pub propagates: bool,
    /// The kind of filesystem, without a subtype.
    pub filesystem: String,
    /// What was given as the source.
    pub source: OsString,
    /// Options of the filesystem, still escaped: `rw,lowerdir=/a\040b:/c`.
    pub options: OsString,
}

impl Mount {
    /// Returns where in the filesystem `path` lies, which is reached by this mount.
    #[must_use]
    pub fn inside(&self, path: &Path) -> PathBuf {
        match path.strip_prefix(&self.target) {
            Ok(rest) => self.root.join(rest),
            Err(_) => path.to_owned(),
        }
    }
}

/// An overlay that is mounted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OverlayMount {
    /// Its id, as in mountinfo.
    pub mount_id: u64,
    /// The mount it is mounted on.
    pub parent: u64,
    /// Major and minor number of the filesystem.
    pub device: (u32, u32),
    /// Which directory of the overlay is mounted.
    pub root: PathBuf,
    /// Where it is mounted.
    pub target: PathBuf,
    /// What was given as the source.
    pub source: OsString,
    /// The lower directories as they were given, uppermost first.
    pub lowers: Vec<PathBuf>,
    /// The upper directory as it was given.
    pub upper: Option<PathBuf>,
    /// The work directory as it was given.
    pub work: Option<PathBuf>,
    /// Whether this mount, or the overlay itself, is read-only.
    pub read_only: bool,
    /// Whether the overlay itself is read-only, however it is mounted.
    pub frozen: bool,
    /// Whether writes are never synced.
    pub volatile: bool,
    /// The other options, as the kernel shows them.
    pub options: Vec<String>,
}

impl OverlayMount {
    /// Reads the overlay's options; `None` where the mount is of another kind.
    #[must_use]
    pub fn of(mount: &Mount) -> Option<Self> {
        if mount.filesystem != "overlay" {
            return None;
        }
        let mut overlay = Self {
            mount_id: mount.id,
            parent: mount.parent,
            device: mount.device,
            root: mount.root.clone(),
            target: mount.target.clone(),
            source: mount.source.clone(),
            lowers: Vec::new(),
            upper: None,
            work: None,
            read_only: mount.flags.split(',').any(|flag| flag == "ro"),
            frozen: false,
            volatile: false,
            options: Vec::new(),
        };
        // The kernel writes a comma of a value as \054 (seq_show_option in linux/seq_file.h).
        for option in mount.options.as_bytes().split(|&b| b == b',') {
            overlay.take_option(option);
        }
        overlay.read_only |= overlay.frozen;
        Some(overlay)
    }

    fn take_option(&mut self, option: &[u8]) {
        let mut halves = option.splitn(2, |&b| b == b'=');
        let (key, value) = (halves.next().unwrap_or_default(), halves.next().map(unescape));
        match (key, value) {
            (b"lowerdir", Some(value)) => self.lowers = split_layers(&value),
            (b"lowerdir+" | b"datadir+", Some(value)) => self.lowers.push(path(value)),
            (b"upperdir", Some(value)) => self.upper = Some(path(value)),
            (b"workdir", Some(value)) => self.work = Some(path(value)),
            (b"ro", None) => self.frozen = true,
            (b"rw", None) => {}
            (key, value) => {
                // Shown as `volatile`, or as `fsync=volatile` since Linux 7.0 and late 6.12 and 6.18.
                let text =
                    [key, value.map(|v| [b"=", &v[..]].concat()).unwrap_or_default().as_slice()].concat();
                self.volatile |= text == b"volatile" || text == b"fsync=volatile";
                self.options.push(String::from_utf8_lossy(&text).into_owned());
            }
        }
    }
}

/// Not /proc/self: that is the main thread, which may have another namespace.
const MOUNTINFO: &str = "/proc/thread-self/mountinfo";

/// Reads the mounts of this thread's namespace, in the kernel's order: of two at one target the later is on top.
pub fn mounts() -> io::Result<Vec<Mount>> {
    let text =
        read_proc(MOUNTINFO.as_ref()).map_err(|e| CallFailed::of_io(format!("read({MOUNTINFO:?})"), &e))?;
    Ok(parse(&text))
}

/// Reads the overlays of this thread's namespace.
pub fn overlays() -> io::Result<Vec<OverlayMount>> {
    Ok(mounts()?.iter().filter_map(OverlayMount::of).collect())
}

/// Returns the top-most of the mounts whose target is `target`.
#[must_use]
pub fn top_at<'a>(mounts: &'a [Mount], target: &Path) -> Option<&'a Mount> {
    mounts.iter().rfind(|mount| mount.target == target)
}

/// Parses mountinfo. A line that is none is left out.
#[must_use]
pub fn parse(mountinfo: &[u8]) -> Vec<Mount> {
    mountinfo.split(|&b| b == b'\n').filter_map(parse_line).collect()
}

fn parse_line(line: &[u8]) -> Option<Mount> {
    let mut fields = line.split(|&b| b == b' ');
    let id = number(fields.next()?)?;
    let parent = number(fields.next()?)?;
    let device = text(fields.next()?);
    let (major, minor) = device.split_once(':')?;
    let root = path(unescape(fields.next()?));
    let target = path(unescape(fields.next()?));
    let flags = text(fields.next()?);
    // Any number of `shared:1`, `master:2` and such, ended by a dash.
    let mut propagates = false;
    fields.by_ref().find(|&field| {
        propagates |= field.starts_with(b"shared:") || field.starts_with(b"master:");
        field == b"-"
    })?;
    let kind = text(&unescape(fields.next()?));
    let source = OsString::from_vec(unescape(fields.next()?));
    // An empty source leaves two spaces side by side, which split() makes an empty field of: nothing to mend.
    let options = OsString::from_vec(fields.next()?.to_owned());
    let filesystem = kind.split('.').next().unwrap_or_default().to_owned();
    let device = (major.parse().ok()?, minor.parse().ok()?);
    Some(Mount { id, parent, device, root, target, flags, propagates, filesystem, source, options })
}

/// Undoes the kernel's escapes: a backslash and three octal digits (mangle_path in fs/seq_file.c).
fn unescape(bytes: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some((&byte, after)) = rest.split_first() {
        match octal(rest) {
            Some(meant) => {
                plain.push(meant);
                rest = &rest[4..];
            }
            None => {
                plain.push(byte);
                rest = after;
            }
        }
    }
    plain
}

fn octal(bytes: &[u8]) -> Option<u8> {
    let [b'\\', a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', ..] = bytes else { return None };
    Some(((a - b'0') << 6) | ((b - b'0') << 3) | (c - b'0'))
}

/// Splits `a:b\:c` at its colons. A double colon, which sets data-only layers apart, separates as well.
fn split_layers(value: &[u8]) -> Vec<PathBuf> {
    let mut layers = vec![Vec::new()];
    let mut bytes = value.iter();
    while let Some(&byte) = bytes.next() {
        match byte {
            b':' => layers.push(Vec::new()),
            b'\\' => layers.last_mut().into_iter().for_each(|layer| layer.extend(bytes.next())),
            other => layers.last_mut().into_iter().for_each(|layer| layer.push(other)),
        }
    }
    layers.into_iter().filter(|layer| !layer.is_empty()).map(path).collect()
}

fn path(bytes: Vec<u8>) -> PathBuf {
    PathBuf::from(OsString::from_vec(bytes))
}

fn text(bytes: &[u8]) -> String {
    OsStr::from_bytes(bytes).to_string_lossy().into_owned()
}

fn number(bytes: &[u8]) -> Option<u64> {
    std::str::from_utf8(bytes).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn overlay(line: &str) -> OverlayMount {
        OverlayMount::of(&parse(line.as_bytes())[0]).unwrap()
    }

    #[test]
    fn a_line_is_read_whole() {
        let line = "71 46 0:40 / /var/tmp/m\\040x rw,relatime shared:1 master:2 - overlay ovlctl:ab \
                    rw,lowerdir=/a:/b\\134:c:/d\\054e,upperdir=/u,workdir=/w,redirect_dir=nofollow,fsync=volatile";
        let found = overlay(line);
        assert_eq!((found.mount_id, found.parent, found.device), (71, 46, (0, 40)));
        assert_eq!(found.target, Path::new("/var/tmp/m x"));
        assert_eq!(found.source, "ovlctl:ab");
        assert_eq!(found.lowers, ["/a", "/b:c", "/d,e"].map(PathBuf::from));
        assert_eq!(found.upper.as_deref(), Some(Path::new("/u")));
        assert_eq!(found.work.as_deref(), Some(Path::new("/w")));
        assert_eq!(found.options, ["redirect_dir=nofollow", "fsync=volatile"]);
        assert!(found.volatile && !found.read_only && !found.frozen);
    }

    #[test]
    fn what_propagates_is_known() {
        let table = [("", false), ("shared:7 ", true), ("master:7 ", true), ("unbindable ", false)];
        for (fields, propagates) in table {
            let line = format!("1 0 0:4 / /m rw {fields}- tmpfs x rw");
            assert_eq!(parse(line.as_bytes())[0].propagates, propagates, "{fields}");
        }
    }

    #[test]
    fn layers_given_one_by_one_are_counted() {
        let found =
            overlay("1 2 0:4 / /m ro - overlay x ro,lowerdir+=/a:b,lowerdir+=/c\\134d,datadir+=/e,volatile");
        assert_eq!(found.lowers, ["/a:b", "/c\\d", "/e"].map(PathBuf::from));
        assert!(found.volatile && found.read_only && found.frozen);
    }

    #[test]
    fn a_mount_may_be_read_only_on_a_writable_overlay() {
        let found = overlay("1 2 0:4 / /m ro,nodev - overlay x rw,lowerdir=/a,upperdir=/u,workdir=/w");
        assert!(found.read_only && !found.frozen);
    }

    #[test]
    fn escapes_are_undone_once() {
        let table: [(&str, &[u8]); 6] = [
            ("a\\040b", b"a b"),
            ("a\\011b\\012c", b"a\tb\nc"),
            ("a\\134b", b"a\\b"),
            ("a\\134040", b"a\\040"),
            ("end\\", b"end\\"),
            ("\\377", b"\xff"),
        ];
        for (escaped, plain) in table {
            assert_eq!(unescape(escaped.as_bytes()), plain, "{escaped}");
        }
    }

    #[test]
    fn lines_that_are_none_and_other_filesystems_are_no_overlays() {
        assert_eq!(parse(b"\nnonsense\n1 2 x / / rw - a b c\n"), []);
        let tmpfs = parse(b"1 2 0:4 / /m rw - fuse.overlay  rw\n");
        assert_eq!((tmpfs[0].filesystem.as_str(), tmpfs[0].source.as_os_str()), ("fuse", OsStr::new("")));
        assert_eq!(OverlayMount::of(&tmpfs[0]), None);
    }

    #[test]
    fn the_later_of_two_mounts_at_one_target_is_on_top() {
        let stacked = parse(
            b"1 0 0:1 / /m rw - tmpfs a rw\n2 1 0:2 / /m rw - tmpfs b rw\n3 0 0:3 / /n rw - tmpfs c rw\n",
        );
        assert_eq!(top_at(&stacked, Path::new("/m")).map(|mount| mount.id), Some(2));
        assert_eq!(top_at(&stacked, Path::new("/none")), None);
    }
}
