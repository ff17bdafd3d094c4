//! What is found under a name that several layers have, or that something is mounted on.

use rustix::fs::{CWD, OFlags};
use rustix::mount::{MountFlags, MoveMountFlags, OpenTreeFlags, move_mount, open_tree};

use crate::fact::{Fact, each, fact};

pub(super) const FACTS: &[Fact] = &[
    fact("lookup::upper_hides_lower", |s| {
        s.lower().file("f", "lower");
        s.upper().file("f", "upper");
        s.mounted("").read("f")
    })
    .sees("upper")
    .relied_on(),
    fact("lookup::first_lower_is_uppermost", |s| {
        let [top, base] = s.lowers(["top", "base"]);
        top.file("f", "top");
        base.file("f", "base");
        s.mounted("").read("f")
    })
    .sees("top")
    .relied_on(),
    fact("lookup::file_mounted_on_a_link_is_found_instead", |s| {
        s.lower().symlink("l", "../no/where");
        s.dir_named("other").file("f", "shown");
        let m = s.mounted("");
        let link = m.file_at("l", OFlags::PATH | OFlags::NOFOLLOW)?;
        let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
        let tree = open_tree(CWD, "other/f", flags)?;
        let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
        move_mount(&tree, "", &link, "", flags)?;
        each([m.kind("l"), m.read("l"), s.upper().names("")])
    })
    .sees("file, shown, nothing")
    .relied_on(),
    fact("lookup::directories_merge", |s| {
        let [top, middle, base] = s.lowers(["top", "middle", "base"]);
        top.file("d/a", "");
        middle.file("d/b", "");
        base.file("d/c", "");
        s.upper().file("d/u", "");
        s.mounted("").names("d")
    })
    .sees("a b c u")
    .relied_on(),
    fact("lookup::a_name_is_listed_once", |s| {
        let [top, base] = s.lowers(["top", "base"]);
        top.file("d/f", "");
        base.file("d/f", "");
        s.upper().file("d/f", "");
        s.mounted("").names("d")
    })
    .sees("f")
    .relied_on(),
    fact("lookup::file_hides_directory_below", |s| {
        let [top, base] = s.lowers(["top", "base"]);
        top.file("x", "");
        base.file("x/f", "");
        let m = s.mounted("");
        each([m.kind("x"), m.kind("x/f")])
    })
    .sees("file, ENOTDIR")
    .relied_on(),
    fact("lookup::directory_hides_file_below", |s| {
        let [top, base] = s.lowers(["top", "base"]);
        top.dir("x");
        base.file("x", "");
        s.mounted("").names("x")
    })
    .sees("nothing")
    .relied_on(),
    fact("lookup::file_between_directories_ends_the_merge", |s| {
        let [top, middle, base] = s.lowers(["top", "middle", "base"]);
        top.file("d/a", "");
        middle.file("d", "");
        base.file("d/c", "");
        s.mounted("").names("d")
    })
    .sees("a")
    .relied_on(),
    fact("lookup::symlink_hides_directory_below", |s| {
        let [top, base] = s.lowers(["top", "base"]);
        top.symlink("d", "elsewhere");
        base.file("d/f", "");
        let m = s.mounted("");
        each([m.read_link("d"), m.kind("d/f")])
    })
    .sees("elsewhere, ENOENT")
    .relied_on(),
    fact("lookup::directory_has_attributes_of_its_uppermost_layer", |s| {
        let [top, base] = s.lowers(["top", "base"]);
        top.dir("d").mode("d", 0o750).owner("d", 7, 8);
        base.dir("d").mode("d", 0o711).owner("d", 9, 10);
        s.mounted("").access("d")
    })
    .sees("750 7:8")
    .relied_on(),
    fact("lookup::directory_has_xattrs_of_its_uppermost_layer_only", |s| {
        let [top, base] = s.lowers(["top", "base"]);
        top.dir("d").mark("d", "trusted.top", "1");
        base.dir("d").mark("d", "trusted.base", "1");
        s.mounted("").xattrs("d", "trusted.")
    })
    .sees("trusted.top")
    .relied_on(),
    fact("lookup::root_has_attributes_of_upper", |s| {
        s.lower().mode("", 0o750).owner("", 7, 8);
        s.upper().mode("", 0o711).owner("", 9, 10);
        s.mounted("").access("")
    })
    .sees("711 9:10")
    .relied_on(),
    fact("lookup::root_without_upper_has_attributes_of_top_lower", |s| {
        let [top, base] = s.lowers(["top", "base"]);
        top.mode("", 0o750).owner("", 7, 8);
        base.mode("", 0o711).owner("", 9, 10);
        s.mounted_without_upper("").access("")
    })
    .sees("750 7:8")
    .relied_on(),
    fact("lookup::lower_may_be_a_symlink", |s| {
        s.dir_named("l/store/diff").file("f", "found");
        s.dir_named("l").symlink("short", "store/diff");
        s.overlay("").lowers(&["l/short"]).mounted().read("f")
    })
    .sees("found")
    .relied_on(),
    fact("lookup::lower_that_is_a_symlink_is_resolved_once", |s| {
        let l = s.dir_named("l");
        s.dir_named("one").file("f", "one");
        s.dir_named("two").file("f", "two");
        l.symlink("short", "../one");
        let m = s.overlay("").lowers(&["l/short"]).mounted();
        l.unlink("short")?;
        l.symlink("short", "../two");
        m.read("f")
    })
    .sees("one")
    .relied_on(),
    fact("lookup::mount_below_a_lower_is_not_seen", |s| {
        let lower = s.lower();
        lower.file("d/below", "");
        s.tmpfs("lower/d", &[]).file("inside", "");
        s.mounted("").names("d")
    })
    .sees("below")
    .relied_on(),
    fact("lookup::lower_may_be_a_bind_mount", |s| {
        s.dir_named("tree/part").file("f", "found");
        s.bind("tree/part", "bound", MountFlags::empty());
        s.overlay("").lowers(&["bound"]).mounted().read("f")
    })
    .sees("found"),
    fact("lookup::lower_may_be_on_another_filesystem", |s| {
        s.tmpfs("other", &[]).file("f", "found");
        s.overlay("").lowers(&["other"]).mounted().read("f")
    })
    .sees("found")
    .relied_on(),
    fact("lookup::lower_stays_when_its_mount_is_taken_away", |s| {
        s.tmpfs("other", &[]).file("f", "found");
        let m = s.overlay("").lowers(&["other"]).mounted();
        s.unmount("other")?;
        m.read("f")
    })
    .sees("found")
    .relied_on(),
    fact("lookup::a_layer_added_to_while_mounted_is_seen_by_new_lookups", |s| {
        let lower = s.lower();
        lower.file("d/old", "");
        let m = s.mounted("");
        lower.file("d/new", "");
        m.kind("d/new")
    })
    .sees("file"),
    fact("lookup::without_upper_nothing_can_be_created", |s| {
        let [_top, _base] = s.lowers(["top", "base"]);
        let m = s.mounted_without_upper("");
        each([m.create("f"), m.mkdir("d")])
    })
    .sees("EROFS, EROFS")
    .relied_on(),
    fact("lookup::fifo_socket_and_device_are_shown_as_they_are", |s| {
        use ovlctl::sys::dir::FileType;
        let lower = s.lower();
        lower.node("fifo", FileType::Fifo, (0, 0)).node("socket", FileType::Socket, (0, 0));
        lower.node("null", FileType::CharacterDevice, (1, 3));
        let m = s.mounted("");
        each([m.kind("fifo"), m.kind("socket"), m.kind("null")])
    })
    .sees("fifo, socket, device")
    .relied_on(),
];
