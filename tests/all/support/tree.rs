//! A directory tree as text, one inode a line, so that a test compares all of it and nothing extra slips by.
//!
//! ```text
//! d 0755 etc
//! f 0644 etc/issue  v1                      a file and its contents
//! f 4755 0:5 bin/su  x                      an owner that is not 0:0
//! l 0777 etc/link  -> issue
//! c 0620 dev/tty  5:0
//! f 0644 etc/b  v1  = etc/a                 another name of etc/a
//! f 0755 bin/ping  x  {user.k=v}            extended attributes
//! w etc/motd                                a whiteout, in a layer's own directory
//! d 0755 srv  opaque
//! ? srv/ghost                               a name that no call can open
//! ```
//!
//! The root has a line only if it is not `d 0755`. Times are listed on request only: `@12.000000034` before the name.

use std::collections::HashMap;
use std::fs::{self, Metadata};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use ovlctl::digest::Digest;
use rustix::fs::{lgetxattr, llistxattr, major, minor};

/// Contents longer than this are shown by length and digest.
const LONGEST_CONTENTS: usize = 80;

/// Whether modification times are part of a listing.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Times {
    /// Not at all.
    Hidden,
    /// To the nanosecond; those of today, which no test can know, as `@now`.
    Shown,
}

/// Lists the tree below `root`.
pub(crate) fn list(root: &Path, times: Times) -> String {
    let mut lister = Lister { root, times, lines: Vec::new(), seen: HashMap::new() };
    let meta = fs::symlink_metadata(root).expect("the root can be read");
    let line = lister.line(root, ".", &meta);
    if !matches!(line.as_str(), "d 0755 ." | "d 0755 @now ." | "d 0755 @0 .") {
        lister.lines.push(line);
    }
    lister.below(root);
    lister.lines.join("\n")
}

/// Fails unless `found` is `expected`, a literal whose indentation does not matter.
#[track_caller]
pub(crate) fn same(what: &str, found: &str, expected: &str) {
    let expected = dedent(expected);
    assert!(
        found == expected,
        "{what} is not as expected (- expected, + found)\n{}",
        difference(&expected, found)
    );
}

/// Takes the common indentation off, and blank lines at both ends.
pub(crate) fn dedent(text: &str) -> String {
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    let indent = lines.iter().map(|line| line.len() - line.trim_start().len()).min().unwrap_or(0);
    lines.iter().map(|line| line[indent..].trim_end()).collect::<Vec<_>>().join("\n")
}

fn difference(expected: &str, found: &str) -> String {
    let (old, new): (Vec<&str>, Vec<&str>) = (expected.lines().collect(), found.lines().collect());
    let mut out = Vec::new();
    for line in &old {
        out.push(format!("{} {line}", if new.contains(line) { ' ' } else { '-' }));
    }
    out.extend(new.iter().filter(|line| !old.contains(line)).map(|line| format!("+ {line}")));
    out.push(format!("all that was found:\n{found}"));
    out.join("\n")
}

struct Lister<'a> {
    root: &'a Path,
    times: Times,
    lines: Vec<String>,
    seen: HashMap<(u64, u64), String>,
}

impl Lister<'_> {
    fn below(&mut self, dir: &Path) {
        let mut names: Vec<_> = fs::read_dir(dir)
            .expect("a directory can be read")
            .map(|e| e.expect("readdir").file_name())
            .collect();
        names.sort();
        for name in names {
            let path = dir.join(name);
            let shown = escape(path.strip_prefix(self.root).expect("it lies below").as_os_str().as_bytes());
            let Ok(meta) = fs::symlink_metadata(&path) else {
                self.lines.push(format!("? {shown}"));
                continue;
            };
            let line = self.line(&path, &shown, &meta);
            self.lines.push(line);
            if meta.is_dir() {
                self.below(&path);
            }
        }
    }

    fn line(&mut self, path: &Path, shown: &str, meta: &Metadata) -> String {
        let kind = kind(meta);
        if kind == 'c' && meta.rdev() == 0 {
            return format!("w {shown}");
        }
        let mut line = format!("{kind} {:04o}", meta.mode() & 0o7777);
        if (meta.uid(), meta.gid()) != (0, 0) {
            line += &format!(" {}:{}", meta.uid(), meta.gid());
        }
        if self.times == Times::Shown {
            line += &format!(" @{}", time(meta));
        }
        line += &format!(" {shown}");
        for detail in
            [contents(kind, path, meta), self.other_name(shown, meta), xattrs(path)].into_iter().flatten()
        {
            line += &format!("  {detail}");
        }
        line
    }

    fn other_name(&mut self, shown: &str, meta: &Metadata) -> Option<String> {
        if meta.is_dir() || meta.nlink() == 1 {
            return None;
        }
        let first = self.seen.entry((meta.dev(), meta.ino())).or_insert_with(|| shown.to_owned());
        (first != shown).then(|| format!("= {first}"))
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

fn contents(kind: char, path: &Path, meta: &Metadata) -> Option<String> {
    match kind {
        'f' if meta.len() > LONGEST_CONTENTS as u64 => {
            let digest = Digest::of(&fs::read(path).expect("a file can be read"));
            Some(format!("{} bytes {}", meta.len(), digest.short()))
        }
        'f' => Some(escape(&fs::read(path).expect("a file can be read"))).filter(|text| !text.is_empty()),
        'l' => Some(format!(
            "-> {}",
            escape(fs::read_link(path).expect("a link can be read").as_os_str().as_bytes())
        )),
        'b' | 'c' => Some(format!("{}:{}", major(meta.rdev()), minor(meta.rdev()))),
        _ => None,
    }
}

fn xattrs(path: &Path) -> Option<String> {
    let mut names = vec![0; 64 << 10];
    let len = llistxattr(path, &mut names).expect("names of xattrs can be read");
    let mut shown = Vec::new();
    let mut opaque = false;
    for name in names[..len].split(|&byte| byte == 0).filter(|name| !name.is_empty()) {
        let mut value = vec![0; 64 << 10];
        let len = lgetxattr(path, name, &mut value).expect("an xattr can be read");
        match name {
            b"security.selinux" => {} // the host's, not the image's
            b"trusted.overlay.opaque" if &value[..len] == b"y" => opaque = true,
            _ => shown.push(format!("{}={}", escape(name), escape(&value[..len]))),
        }
    }
    shown.sort();
    let list = (!shown.is_empty()).then(|| format!("{{{}}}", shown.join(", ")));
    let mark = opaque.then(|| "opaque".to_owned());
    let all: Vec<String> = mark.into_iter().chain(list).collect();
    (!all.is_empty()).then(|| all.join("  "))
}

fn time(meta: &Metadata) -> String {
    /// 2025: no test gives an entry a time between this and the day on which it runs.
    const TODAY: i64 = 1_735_689_600;
    /// 2038: some tests do give later ones.
    const LATER: i64 = 1 << 31;
    match (meta.mtime(), meta.mtime_nsec()) {
        (TODAY..LATER, _) => "now".to_owned(),
        (seconds, 0) => seconds.to_string(),
        (seconds, nanos) => format!("{seconds}.{nanos:09}"),
    }
}

fn escape(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) if !text.contains(char::is_control) => text.to_owned(),
        Ok(_) | Err(_) => bytes.escape_ascii().to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::super::{Scene, layer};

    #[test]
    fn lists_what_gnu_tar_makes_of_a_layer() {
        let scene = Scene::new();
        let words = layer()
            .dir("./")
            .mode(0o711)
            .dir("d")
            .mode(0o1777)
            .owner(3, 4)
            .file("d/f", "text")
            .xattr("user.k", b"v")
            .hardlink("d/h", "d/f")
            .symlink("l", "d/f")
            .char_device("null", 1, 3)
            .fifo("p")
            .file(&"long".repeat(40), "")
            .whiteout("d/gone")
            .opaque("d");
        scene.write("layer.tar", &words.tar());
        scene.mkdir("x");
        let mut tar = Command::new("tar");
        tar.args(["--xattrs", "--xattrs-include=*", "--numeric-owner", "-pxf", "layer.tar", "-C", "x"]);
        scene.outcome(tar.current_dir(scene.path(""))).succeeds().stderr_is("");
        scene.shows_at(
            "x",
            &format!(
                "
                d 0711 .
                d 1777 3:4 d
                f 0644 d/.wh..wh..opq
                f 0644 d/.wh.gone
                f 0644 d/f  text  {{user.k=v}}
                f 0644 d/h  text  = d/f  {{user.k=v}}
                l 0777 l  -> d/f
                f 0644 {}
                c 0644 null  1:3
                p 0644 p
                ",
                "long".repeat(40)
            ),
        );
    }
}
