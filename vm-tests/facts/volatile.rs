//! Overlays that never sync: `volatile`, and the folder that warns of it.

use std::fs;

use rustix::fs::{OFlags, syncfs};

use crate::fact::{Done, Fact, each, fact};

const MARKER: &str = "work/incompat/volatile";

pub(super) const FACTS: &[Fact] = &[
    fact("volatile::leaves_a_marker", |s| {
        s.lower();
        s.mounted("volatile");
        s.unmount("m")?;
        s.work().kind(MARKER)
    })
    .sees("directory")
    .relied_on(),
    fact("volatile::marker_refuses_the_next_mount", |s| {
        s.lower();
        s.mounted("volatile");
        s.again("").done()
    })
    .sees("EINVAL")
    .relied_on(),
    fact("volatile::marker_refuses_the_next_volatile_mount_too", |s| {
        s.lower();
        s.mounted("volatile");
        s.again("volatile").done()
    })
    .sees("EINVAL")
    .relied_on(),
    fact("volatile::mounts_again_without_its_marker", |s| {
        s.lower();
        s.mounted("volatile").create("f")?;
        s.unmount("m")?;
        fs::remove_dir_all(s.work().path(MARKER))?;
        s.mount("")?.kind("f")
    })
    .sees("file")
    .relied_on(),
    fact("volatile::is_shown", |s| {
        s.lower();
        s.mounted("volatile");
        s.shows(&["volatile", "fsync"])
    })
    .sees("volatile")
    .between("6.12.90", "6.13", "fsync=volatile")
    .between("6.18.30", "6.19", "fsync=volatile")
    .since("7.0", "fsync=volatile")
    .relied_on(),
    fact("volatile::syncs_say_ok", |s| {
        s.lower().file("f", "");
        let m = s.mounted("volatile");
        let file = m.file_at("f", OFlags::RDWR)?;
        each([rustix::fs::fsync(&file).done(), syncfs(&file).done()])
    })
    .sees("ok, ok"),
    fact("volatile::without_upper_is_ignored", |s| {
        let [_top, _base] = s.lowers(["top", "base"]);
        s.mounted_without_upper("volatile");
        s.shows(&["volatile", "fsync"])
    })
    .sees("none"),
    fact("volatile::fsync_strict_is_an_option", |s| {
        s.lower();
        s.mount("fsync=strict")?;
        s.shows(&["fsync"])
    })
    .sees("EINVAL")
    .between("6.12.90", "6.13", "fsync=strict")
    .between("6.18.30", "6.19", "fsync=strict")
    .since("7.0", "fsync=strict"),
    fact("volatile::unknown_marker_refuses_the_mount", |s| {
        s.lower();
        s.work().dir("work/incompat/unheard-of");
        let m = s.mount("")?;
        m.create("f")
    })
    .sees("EINVAL"),
    fact("volatile::unknown_marker_with_something_in_it", |s| {
        s.lower();
        s.work().dir("work/incompat/unheard-of/deep");
        let m = s.mount("")?;
        m.create("f")
    })
    .sees("EINVAL"),
];
