//! Changing an overlay that is mounted.

use rustix::mount::{
    FsPickFlags, MountFlags, fsconfig_reconfigure, fsconfig_set_flag, fspick, mount_remount,
};

use crate::fact::{Done, Fact, each, fact};

pub(super) const FACTS: &[Fact] = &[
    fact("remount::read_only_and_back", |s| {
        s.lower();
        let m = s.mounted("");
        mount_remount("m", MountFlags::RDONLY, "")?;
        let frozen = m.create("f");
        mount_remount("m", MountFlags::empty(), "")?;
        each([frozen, m.create("f")])
    })
    .sees("EROFS, ok")
    .relied_on(),
    fact("remount::without_upper_stays_read_only", |s| {
        let [_top, _base] = s.lowers(["top", "base"]);
        s.mounted_without_upper("");
        mount_remount("m", MountFlags::empty(), "").done()
    })
    .sees("EROFS"),
    fact("remount::read_only_with_a_file_open_for_writing_is_refused", |s| {
        s.lower().file("f", "");
        let _held = s.mounted("").file_at("f", rustix::fs::OFlags::RDWR)?;
        mount_remount("m", MountFlags::RDONLY, "").done()
    })
    .sees("EBUSY"),
    fact("remount::options_are_ignored", |s| {
        s.lower();
        s.mounted("");
        mount_remount("m", MountFlags::empty(), c"index=on,made-up")?;
        s.shows(&["index", "made-up"])
    })
    .sees("none"),
    fact("remount::by_fsconfig_takes_no_change", |s| {
        s.lower();
        s.mounted("");
        let picked = fspick(rustix::fs::CWD, "m", FsPickFlags::FSPICK_CLOEXEC)?;
        fsconfig_set_flag(&picked, "userxattr")?;
        fsconfig_reconfigure(&picked).done()
    })
    .sees("ok")
    .since("6.5", "EINVAL"),
    fact("remount::by_fsconfig_to_read_only", |s| {
        s.lower();
        let m = s.mounted("");
        let picked = fspick(rustix::fs::CWD, "m", FsPickFlags::FSPICK_CLOEXEC)?;
        fsconfig_set_flag(&picked, "ro")?;
        fsconfig_reconfigure(&picked)?;
        m.create("f")
    })
    .sees("EROFS"),
    fact("remount::of_the_mount_alone_to_read_only", |s| {
        s.lower();
        let m = s.mounted("");
        mount_remount("m", MountFlags::BIND | MountFlags::RDONLY, "")?;
        each([m.create("f"), s.shows(&["ro", "rw"])])
    })
    .sees("EROFS, rw"),
    fact("remount::a_second_mount_on_top_hides_the_first", |s| {
        s.lower().file("first", "");
        s.mounted("");
        s.dir_named("second-lower").file("second", "");
        let second = s.overlay("").lowers(&["second-lower"]).upper("u2", "w2").mounted();
        let seen = second.names("");
        s.unmount("m")?;
        each([seen, second.names("")])
    })
    .sees("second, first")
    .relied_on(),
];
