//! What statfs(2) shows of an overlay.

use ovlctl::sys::filesystem::Filesystem;
use ovlctl::sys::mount::{Attributes, is_read_only};
use rustix::fs::fstatvfs;

use crate::fact::{Fact, each, fact, same};

pub(super) const FACTS: &[Fact] = &[
    fact("statfs::names_overlayfs", |s| {
        s.lower();
        Ok(Filesystem::of(s.mounted("").open())?.name())
    })
    .sees("overlayfs")
    .relied_on(),
    fact("statfs::has_the_sizes_of_uppers_filesystem", |s| {
        s.tmpfs("sized", &[("size", "16m")]);
        s.lower();
        let m = s.overlay("").upper("sized/u", "sized/w").mounted();
        let vfs = fstatvfs(m.open())?;
        Ok(format!("{} MiB", (vfs.f_blocks * vfs.f_frsize) >> 20))
    })
    .sees("16 MiB")
    .relied_on(),
    fact("statfs::without_upper_has_the_sizes_of_the_top_lower", |s| {
        s.tmpfs("a", &[("size", "16m")]);
        s.tmpfs("b", &[("size", "32m")]);
        let vfs = fstatvfs(s.overlay("").lowers(&["a", "b"]).read_only().mounted().open())?;
        Ok(format!("{} MiB", (vfs.f_blocks * vfs.f_frsize) >> 20))
    })
    .sees("16 MiB"),
    fact("statfs::has_the_longest_name_of_upper", |s| {
        s.lower();
        same(fstatvfs(s.mounted("").open())?.f_namemax, fstatvfs(s.upper().open())?.f_namemax)
    })
    .sees("same"),
    fact("statfs::tells_that_there_is_no_upper", |s| {
        let [_top, _base] = s.lowers(["top", "base"]);
        Ok(is_read_only(s.mounted_without_upper("").open())?.to_string())
    })
    .sees("true")
    .relied_on(),
    fact("statfs::tells_that_work_could_not_be_had", |s| {
        s.lower();
        s.work().file("work/a/b/c", "");
        let m = s.mounted("");
        each([Ok(is_read_only(m.open())?.to_string()), m.create("f")])
    })
    .sees("true, EROFS")
    .relied_on(),
    fact("statfs::tells_flags_of_the_mount", |s| {
        s.lower();
        let flags = Attributes::MOUNT_ATTR_NODEV | Attributes::MOUNT_ATTR_NOEXEC;
        let vfs = fstatvfs(s.overlay("").flags(flags).mounted().open())?;
        let names: Vec<_> = vfs.f_flag.iter_names().map(|(name, _)| name).collect();
        Ok(names.join(" "))
    })
    .sees("NODEV NOEXEC RELATIME")
    .relied_on(),
];
