//! Files without a name (O_TMPFILE).

use std::os::fd::AsRawFd;

use rustix::fs::{AtFlags, CWD, OFlags, linkat};

use crate::fact::{Done, Fact, Saw, each, fact};
use crate::scene::Tree;

const UNNAMED: OFlags = OFlags::TMPFILE.union(OFlags::RDWR);

/// Gives a file without a name one.
fn name(file: &std::fs::File, tree: &Tree, name: &str) -> Saw {
    let magic = format!("/proc/self/fd/{}", file.as_raw_fd());
    linkat(CWD, magic, CWD, tree.path(name), AtFlags::SYMLINK_FOLLOW).done()
}

pub(super) const FACTS: &[Fact] = &[
    fact("tmpfile::can_be_made", |s| {
        s.lower();
        s.mounted("").file_at("", UNNAMED).done()
    })
    .sees("EOPNOTSUPP")
    .since("6.10", "ok"),
    fact("tmpfile::can_be_named", |s| {
        s.lower();
        let m = s.mounted("");
        let file = m.file_at("", UNNAMED)?;
        name(&file, &m, "f")?;
        each([m.kind("f"), s.upper().kind("f")])
    })
    .sees("EOPNOTSUPP")
    .since("6.10", "file, file"),
    fact("tmpfile::in_a_directory_of_lower_copies_that_up", |s| {
        s.lower().dir("d").mode("d", 0o750);
        s.mounted("").file_at("d", UNNAMED)?;
        s.upper().access("d")
    })
    .sees("EOPNOTSUPP")
    .since("6.10", "750 0:0"),
    fact("tmpfile::leaves_nothing_in_upper", |s| {
        s.lower();
        s.mounted("").file_at("", UNNAMED)?;
        each([s.upper().names(""), s.work().names("work")])
    })
    .sees("EOPNOTSUPP")
    .since("6.10", "nothing, nothing"),
    fact("tmpfile::without_upper", |s| {
        let [_top, _base] = s.lowers(["top", "base"]);
        s.mounted_without_upper("").file_at("", UNNAMED).done()
    })
    .sees("EROFS"),
];
