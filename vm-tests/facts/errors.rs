//! How the kernel answers a mount that is wrong.

use rustix::mount::{MountFlags, mount_remount};

use crate::fact::{Done, Fact, fact};

pub(super) const FACTS: &[Fact] = &[
    fact("errors::no_such_lower", |s| s.overlay("").lowers(&["none"]).mount().done()).sees("ENOENT"),
    fact("errors::no_such_upper", |s| {
        s.lower();
        std::fs::remove_dir("upper")?;
        s.mount("").done()
    })
    .sees("ENOENT"),
    fact("errors::no_such_work", |s| {
        s.lower();
        std::fs::remove_dir("work")?;
        s.mount("").done()
    })
    .sees("ENOENT"),
    fact("errors::lower_is_a_dangling_symlink", |s| {
        s.dir_named("l").symlink("short", "../none");
        s.overlay("").lowers(&["l/short"]).mount().done()
    })
    .sees("ENOENT"),
    fact("errors::lower_is_a_file", |s| {
        s.dir_named("x").file("file", "");
        s.overlay("").lowers(&["x/file"]).mount().done()
    })
    .sees("EINVAL"),
    fact("errors::upper_is_a_file", |s| {
        s.lower();
        s.dir_named("x").file("file", "");
        s.overlay("").upper("x/file", "work").mount().done()
    })
    .sees("EINVAL"),
    fact("errors::work_is_a_file", |s| {
        s.lower();
        s.dir_named("x").file("file", "");
        s.overlay("").upper("upper", "x/file").mount().done()
    })
    .sees("EINVAL"),
    fact("errors::no_lower", |s| s.mount("").done()).sees("EINVAL"),
    fact("errors::empty_lower", |s| s.overlay("").lowers(&[""]).mount().done()).sees("EINVAL"),
    fact("errors::no_work", |s| {
        s.lower();
        s.overlay("upperdir=upper").read_only().mount().done()
    })
    .sees("ENOMEM")
    .since("5.11", "EINVAL"),
    fact("errors::work_without_upper_is_ignored", |s| {
        let [top, _base] = s.lowers(["top", "base"]);
        top.file("f", "");
        s.overlay("workdir=work").read_only().mount()?.create("g")
    })
    .sees("EROFS"),
    fact("errors::a_lower_twice", |s| {
        s.lowers(["a", "b"]);
        s.overlay("").lowers(&["a", "b", "a"]).mount().done()
    })
    .sees("ELOOP"),
    fact("errors::two_links_to_one_lower", |s| {
        s.dir_named("a");
        s.dir_named("l").symlink("one", "../a").symlink("two", "../a");
        s.overlay("").lowers(&["l/one", "l/two"]).mount().done()
    })
    .sees("ELOOP")
    .relied_on(),
    fact("errors::a_lower_inside_the_lower_above", |s| {
        s.dir_named("a/b");
        s.overlay("").lowers(&["a", "a/b"]).mount().done()
    })
    .sees("ELOOP"),
    fact("errors::a_lower_inside_the_lower_below", |s| {
        s.dir_named("a/b");
        s.overlay("").lowers(&["a/b", "a"]).mount().done()
    })
    .sees("ELOOP"),
    fact("errors::upper_is_a_lower", |s| s.overlay("").lowers(&["upper"]).mount().done()).sees("ELOOP"),
    fact("errors::work_is_a_lower", |s| s.overlay("").lowers(&["work"]).mount().done()).sees("ELOOP"),
    fact("errors::a_lower_inside_upper", |s| {
        s.dir_named("upper/lower");
        s.overlay("").lowers(&["upper/lower"]).mount().done()
    })
    .sees("ELOOP"),
    fact("errors::a_lower_inside_work", |s| {
        s.dir_named("work/lower");
        s.overlay("").lowers(&["work/lower"]).mount().done()
    })
    .sees("ELOOP"),
    fact("errors::work_is_upper", |s| {
        s.lower();
        s.overlay("").upper("upper", "upper").mount().done()
    })
    .sees("EINVAL"),
    fact("errors::work_inside_upper", |s| {
        s.lower();
        s.overlay("").upper("upper", "upper/work").mount().done()
    })
    .sees("EINVAL"),
    fact("errors::upper_inside_work", |s| {
        s.lower();
        s.overlay("").upper("work/upper", "work").mount().done()
    })
    .sees("EINVAL"),
    fact("errors::work_on_another_filesystem", |s| {
        s.lower();
        s.tmpfs("other", &[]);
        s.overlay("").upper("upper", "other/work").mount().done()
    })
    .sees("EINVAL"),
    fact("errors::work_in_another_mount_of_the_filesystem", |s| {
        s.lower();
        s.dir_named("other/work");
        s.bind("other", "bound", MountFlags::empty());
        s.overlay("").upper("upper", "bound/work").mount().done()
    })
    .sees("EINVAL"),
    fact("errors::upper_in_a_read_only_mount", |s| {
        s.lower();
        s.dir_named("rw/u");
        s.dir_named("rw/w");
        s.bind("rw", "ro", MountFlags::RDONLY);
        s.overlay("").upper("ro/u", "ro/w").mount().done()
    })
    .sees("EROFS")
    .since("5.11", "EINVAL"),
    fact("errors::upper_on_a_read_only_filesystem", |s| {
        s.lower();
        s.tmpfs("other", &[]).dir("u").dir("w");
        mount_remount("other", MountFlags::RDONLY, "")?;
        s.overlay("").upper("other/u", "other/w").mount().done()
    })
    .sees("EINVAL"),
    fact("errors::upper_on_proc", |s| {
        s.lower();
        s.overlay("").upper("/proc/fs", "/proc/fs").mount().done()
    })
    .sees("EINVAL"),
    fact("errors::unknown_option", |s| {
        s.lower();
        s.mount("made-up=on").done()
    })
    .sees("EINVAL"),
    fact("errors::unknown_value", |s| {
        s.lower();
        s.mount("redirect_dir=perhaps").done()
    })
    .sees("EINVAL"),
    fact("errors::flags_of_mounts_are_no_options", |s| {
        s.lower();
        s.mount("nodev").done()
    })
    .sees("EINVAL")
    .relied_on(),
    fact("errors::ro_is_an_option", |s| {
        s.lower();
        s.mount("ro")?.create("f")
    })
    .sees("EINVAL")
    .since("6.5", "EROFS"),
    fact("errors::no_such_target", |s| {
        s.lower();
        std::fs::remove_dir("m")?;
        s.mount("").done()
    })
    .sees("ENOENT"),
    fact("errors::target_is_a_file", |s| {
        s.lower();
        s.dir_named("x").file("file", "");
        s.overlay("").at("x/file").mount().done()
    })
    .sees("ENOTDIR"),
    fact("errors::umount_of_what_is_not_mounted", |s| s.unmount("upper").done()).sees("EINVAL"),
    fact("errors::lower_that_was_removed", |s| {
        s.lowers(["base"]);
        let gone = s.dir_named("gone");
        let held = gone.open();
        std::fs::remove_dir("gone")?;
        let number = std::os::fd::AsRawFd::as_raw_fd(&rustix::fd::AsFd::as_fd(&held));
        let name = format!("/proc/self/fd/{number}");
        s.overlay("").lowers(&[&name, "base"]).mount().done()
    })
    .sees("ok"),
];
