//! What can be synced.

use rustix::fs::{OFlags, fdatasync, fsync, syncfs};

use crate::fact::{Done, Fact, Saw, each, fact, same, told};
use crate::scene::Scene;

fn at(s: &Scene, name: &str, flags: OFlags, sync: fn(&std::fs::File) -> rustix::io::Result<()>) -> Saw {
    s.lower().file("d/f", "text");
    sync(&s.mounted("").file_at(name, flags)?).done()
}

pub(super) const FACTS: &[Fact] = &[
    fact("sync::fsync_of_a_copied_file", |s| at(s, "d/f", OFlags::RDWR, |file| fsync(file))).sees("ok"),
    fact("sync::fsync_of_a_lower_file", |s| at(s, "d/f", OFlags::RDONLY, |file| fsync(file))).sees("ok"),
    fact("sync::fdatasync_of_a_copied_file", |s| at(s, "d/f", OFlags::RDWR, |file| fdatasync(file)))
        .sees("ok"),
    fact("sync::fsync_of_a_directory_of_lower", |s| at(s, "d", OFlags::RDONLY, |file| fsync(file)))
        .sees("ok"),
    fact("sync::syncfs", |s| at(s, "", OFlags::RDONLY, |file| syncfs(file))).sees("ok"),
    fact("sync::fsync_of_a_directory_of_upper", |s| {
        s.lower().dir("d");
        let m = s.mounted("");
        m.create("d/f")?;
        fsync(m.file_at("d", OFlags::RDONLY)?).done()
    })
    .sees("ok"),
    fact("sync::syncfs_without_upper", |s| {
        let [_top, _base] = s.lowers(["top", "base"]);
        syncfs(s.mounted_without_upper("").file_at("", OFlags::RDONLY)?).done()
    })
    .sees("ok"),
    fact("sync::fsync_of_a_file_opened_before_its_copy_up", |s| {
        s.lower().file("f", "old");
        let m = s.mounted("");
        let file = m.file_at("f", OFlags::RDONLY)?;
        m.append("f", " new")?;
        each([fsync(&file).done(), m.read("f")])
    })
    .sees("ok, old new"),
    fact("sync::writing_with_o_sync", |s| {
        use std::io::Write;
        s.lower().file("f", "old");
        let m = s.mounted("");
        m.file_at("f", OFlags::WRONLY | OFlags::APPEND | OFlags::SYNC)?.write_all(b" new")?;
        m.read("f")
    })
    .sees("old new"),
    fact("sync::writing_with_o_direct", |s| {
        s.lower().file("f", "");
        let direct = s.upper().file("probe", "").file_at("probe", OFlags::RDWR | OFlags::DIRECT);
        let through = s.mounted("").file_at("f", OFlags::RDWR | OFlags::DIRECT);
        // Whatever upper's filesystem says of it.
        same(told(direct.done()), told(through.done()))
    })
    .sees("same"),
];
