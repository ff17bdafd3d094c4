//! What a lower file takes along when it is copied to upper.

use std::fs;
use std::os::unix::fs::MetadataExt;

use ovlctl::sys::dir::FileType;
use rustix::fs::{IFlags, OFlags};

use crate::fact::{Done, Fact, Stop, each, fact, same, skip};
use crate::scene::Tree;

/// A capability set as `setcap cap_net_raw+ep` writes it: revision 2, effective, permitted 1 << 13.
const NET_RAW: &[u8] = b"\x01\0\0\x02\0\x20\0\0\0\0\0\0\0\0\0\0\0\0\0\0";

fn times(tree: &Tree, name: &str) -> Result<(i64, i64), Stop> {
    let stat = tree.stat(name)?;
    Ok((stat.st_mtime, stat.st_mtime_nsec as i64))
}

/// A file of 8 MiB that is all hole but its last byte.
fn sparse(tree: &Tree, name: &str) -> Result<u64, Stop> {
    use std::os::unix::fs::FileExt;
    tree.file(name, "");
    tree.file_at(name, OFlags::WRONLY)?.write_all_at(b"x", (8 << 20) - 1)?;
    Ok(tree.stat(name)?.st_blocks as u64)
}

pub(super) const FACTS: &[Fact] = &[
    fact("copyup::reading_copies_nothing", |s| {
        s.lower().file("f", "text");
        s.mounted("").read("f")?;
        s.upper().names("")
    })
    .sees("nothing")
    .relied_on(),
    fact("copyup::writing_leaves_lower_as_it_was", |s| {
        let lower = s.lower();
        lower.file("f", "old");
        let m = s.mounted("");
        m.append("f", " and new")?;
        each([m.read("f"), lower.read("f"), s.upper().read("f")])
    })
    .sees("old and new, old, old and new")
    .relied_on(),
    fact("copyup::opening_for_writing_copies", |s| {
        s.lower().file("f", "text");
        s.mounted("").file_at("f", OFlags::WRONLY)?;
        s.upper().read("f")
    })
    .sees("text"),
    fact("copyup::truncating_copies_no_data", |s| {
        s.lower().file("f", "text");
        s.mounted("").file_at("f", OFlags::WRONLY | OFlags::TRUNC)?;
        s.upper().read("f")
    })
    .sees("empty"),
    fact("copyup::chmod_copies_data_too", |s| {
        s.lower().file("f", "text");
        s.mounted("metacopy=off").chmod("f", 0o600)?;
        s.upper().read("f")
    })
    .sees("text"),
    fact("copyup::keeps_mode_and_owner", |s| {
        s.lower().file("f", "").owner("f", 7, 8).mode("f", 0o6751);
        s.mounted("").file_at("f", OFlags::WRONLY)?;
        s.upper().access("f")
    })
    .sees("6751 7:8")
    .relied_on(),
    fact("copyup::keeps_xattrs", |s| {
        s.lower().file("f", "").mark("f", "trusted.one", "1").mark("f", "security.two", "2");
        s.mounted("").file_at("f", OFlags::WRONLY)?;
        each([s.upper().xattr("f", "trusted.one"), s.upper().xattr("f", "security.two")])
    })
    .sees("1, 2")
    .relied_on(),
    fact("copyup::keeps_xattrs_of_user", |s| {
        let lower = s.lower();
        lower.file("f", "");
        if lower.set_xattr("f", "user.one", "1").is_err() {
            return skip("this filesystem holds no user.* attributes");
        }
        s.mounted("").file_at("f", OFlags::WRONLY)?;
        s.upper().xattr("f", "user.one")
    })
    .sees("1"),
    fact("copyup::keeps_file_capabilities", |s| {
        s.lower().file("f", "").mark("f", "security.capability", NET_RAW);
        let m = s.mounted("");
        m.link("f", "g")?;
        same(s.upper().xattr("g", "security.capability")?, NET_RAW.escape_ascii().to_string())
    })
    .sees("same")
    .relied_on(),
    fact("copyup::keeps_modification_time", |s| {
        let lower = s.lower();
        lower.file("f", "");
        lower.open().set_times(b"f", 1_000_000_000, 123_456_789)?;
        s.mounted("").chmod("f", 0o600)?;
        same(times(&s.upper(), "f")?, (1_000_000_000, 123_456_789))
    })
    .sees("same")
    .relied_on(),
    fact("copyup::keeps_holes", |s| {
        let blocks = sparse(&s.lower(), "f")?;
        s.mounted("").chmod("f", 0o600)?;
        let copied = s.upper().stat("f")?.st_blocks as u64;
        Ok(if copied <= blocks { "as sparse" } else { "filled" }.to_owned())
    })
    .sees("as sparse"),
    fact("copyup::keeps_data_of_many_chunks", |s| {
        let text: String = (0..4096).map(|nr| format!("{nr:1024}")).collect();
        s.lower().file("f", &text);
        s.mounted("").append("f", "")?;
        same(s.upper().read("f")?, text)
    })
    .sees("same"),
    fact("copyup::makes_parents_with_their_attributes", |s| {
        s.lower().file("a/b/f", "").mode("a", 0o750).owner("a/b", 7, 8).mode("a/b", 0o1777);
        s.mounted("").append("a/b/f", "x")?;
        each([s.upper().access("a"), s.upper().access("a/b")])
    })
    .sees("750 0:0, 1777 7:8")
    .relied_on(),
    fact("copyup::of_a_directory_copies_nothing_inside", |s| {
        s.lower().file("d/f", "").dir("d/e");
        s.mounted("").chmod("d", 0o700)?;
        s.upper().names("d")
    })
    .sees("nothing"),
    fact("copyup::of_symlink_fifo_and_device", |s| {
        let lower = s.lower();
        lower.symlink("link", "target").node("fifo", FileType::Fifo, (0, 0));
        lower.node("null", FileType::CharacterDevice, (1, 3));
        let (m, upper) = (s.mounted(""), s.upper());
        for name in ["link", "fifo", "null"] {
            m.chown(name, 7, 8)?;
        }
        each([upper.read_link("link"), upper.kind("fifo"), upper.kind("null"), upper.access("link")])
    })
    .sees("target, fifo, device, 777 7:8"),
    fact("copyup::changes_no_inode_number", |s| {
        s.lower().file("f", "");
        let m = s.mounted("");
        let before = m.inode("f")?;
        m.append("f", "x")?;
        same(before, m.inode("f")?)
    })
    .sees("same"),
    fact("copyup::changes_no_inode_number_over_a_remount", |s| {
        s.lower().file("f", "");
        let m = s.mounted("");
        let before = m.inode("f")?;
        m.append("f", "x")?;
        same(before, s.again("")?.inode("f")?)
    })
    .sees("same"),
    fact("copyup::inode_number_is_that_of_lower", |s| {
        let lower = s.lower();
        lower.file("f", "");
        let m = s.mounted("");
        m.append("f", "x")?;
        same(lower.inode("f")?, m.inode("f")?)
    })
    .sees("same"),
    fact("copyup::breaks_hard_links", |s| {
        s.lower().file("a", "old").hard_link("a", "b");
        let m = s.mounted("index=off");
        m.write("a", "new")?;
        each([m.read("a"), m.read("b")])
    })
    .sees("new, old")
    .relied_on(),
    fact("copyup::broken_hard_link_has_one_name", |s| {
        s.lower().file("a", "old").hard_link("a", "b");
        let m = s.mounted("index=off");
        m.write("a", "new")?;
        Ok(format!("{} {}", m.stat("a")?.st_nlink, m.stat("b")?.st_nlink))
    })
    .sees("1 2"),
    fact("copyup::leaves_an_origin", |s| {
        s.lower().file("f", "");
        s.mounted("index=off").append("f", "x")?;
        s.upper().xattrs("f", "trusted.overlay.")
    })
    .sees("trusted.overlay.origin"),
    fact("copyup::marks_its_directory_impure", |s| {
        s.lower().file("d/f", "");
        s.mounted("").append("d/f", "x")?;
        s.upper().xattr("d", "trusted.overlay.impure")
    })
    .sees("y"),
    fact("copyup::leaves_no_access_time_in_lower", |s| {
        let lower = s.lower();
        lower.file("f", "text");
        lower.open().set_times(b"f", 1_000_000_000, 0)?;
        s.mounted("").read("f")?;
        same(fs::metadata(lower.path("f"))?.atime(), 1_000_000_000)
    })
    .sees("same"),
    fact("copyup::without_room_leaves_nothing_behind", |s| {
        s.lower().file("f", &"x".repeat(2 << 20));
        s.tmpfs("small", &[("size", "1m")]);
        let m = s.overlay("").upper("small/u", "small/w").mounted();
        let (upper, work) = (Tree::at("small/u"), Tree::at("small/w/work"));
        each([m.append("f", "x"), upper.names(""), work.names("")])
    })
    .sees("ENOSPC, nothing, nothing")
    .relied_on(),
    fact("copyup::keeps_file_flags", |s| {
        let lower = s.lower();
        lower.file("f", "");
        let flags = IFlags::NOATIME;
        if rustix::fs::ioctl_setflags(lower.file_at("f", OFlags::RDONLY)?, flags).is_err() {
            return skip("this filesystem has no such flag");
        }
        let m = s.mounted("");
        m.append("f", "x")?;
        let now = rustix::fs::ioctl_getflags(s.upper().file_at("f", OFlags::RDONLY)?)?;
        Ok(if now.contains(flags) { "kept" } else { "lost" }.to_owned())
    })
    .sees("lost")
    .since("5.15", "kept"),
    fact("copyup::immutable_is_noted_in_an_xattr", |s| {
        s.lower().file("f", "");
        let m = s.mounted("");
        let set = |flags| rustix::fs::ioctl_setflags(m.file_at("f", OFlags::RDONLY)?, flags).done();
        if set(IFlags::IMMUTABLE).is_err() {
            return skip("no immutable files here");
        }
        let saw = each([s.upper().xattr("f", "trusted.overlay.protattr"), m.append("f", "x")]);
        set(IFlags::empty())?;
        saw
    })
    .sees("ENODATA, EPERM")
    .since("5.15", "i, EPERM"),
    fact("copyup::upper_that_is_gone_ends_it", |s| {
        s.lower().file("f", "");
        let m = s.mounted("");
        fs::remove_dir_all("upper")?;
        each([m.append("f", "x"), m.create("g"), m.read("f")])
    })
    .sees("ENOENT, ENOENT, empty"),
    fact("copyup::work_that_is_gone_ends_it", |s| {
        s.lower().file("f", "");
        let m = s.mounted("");
        fs::remove_dir_all("work/work")?;
        each([m.append("f", "x"), m.read("f")])
    })
    .sees("ok, x")
    .on("ext4", "EPERM, empty"),
];
