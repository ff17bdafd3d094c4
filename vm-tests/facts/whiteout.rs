//! How an upper layer removes a name of the layers below.

use ovlctl::sys::dir::FileType;

use crate::fact::{Fact, each, fact, same};
use crate::scene::Tree;

/// The other kind of whiteout: an empty file with this attribute (fs/overlayfs/overlayfs.h, OVL_XATTR_XWHITEOUT).
const XATTR: &str = "trusted.overlay.whiteout";

/// A directory that says it has such whiteouts, which is what makes a listing look for them.
fn with_xattr_whiteouts(layer: &Tree) -> &Tree {
    layer.file("d/gone", "").mark("d/gone", XATTR, "").mark("d", "trusted.overlay.opaque", "x")
}

pub(super) const FACTS: &[Fact] = &[
    fact("whiteout::device_hides_the_file_below", |s| {
        let [top, base] = s.lowers(["top", "base"]);
        base.file("gone", "").file("stays", "");
        top.whiteout("gone");
        let m = s.mounted("");
        each([m.kind("gone"), m.names("")])
    })
    .sees("ENOENT, stays")
    .relied_on(),
    fact("whiteout::device_hides_the_directory_below", |s| {
        let [top, base] = s.lowers(["top", "base"]);
        base.file("gone/f", "");
        top.whiteout("gone");
        s.mounted("").kind("gone/f")
    })
    .sees("ENOENT")
    .relied_on(),
    fact("whiteout::a_layer_above_may_have_the_name_again", |s| {
        let [top, middle, base] = s.lowers(["top", "middle", "base"]);
        base.file("d/old", "");
        middle.whiteout("d");
        top.file("d/new", "");
        s.mounted("").names("d")
    })
    .sees("new")
    .relied_on(),
    fact("whiteout::of_nothing_hides_itself_in_a_merged_directory", |s| {
        let [top, base] = s.lowers(["top", "base"]);
        top.whiteout("d/never").file("d/f", "");
        base.dir("d");
        s.mounted("").names("d")
    })
    .sees("f")
    .relied_on(),
    fact("whiteout::in_a_directory_of_one_layer_is_listed_but_not_found", |s| {
        let [top, _base] = s.lowers(["top", "base"]);
        top.whiteout("d/never");
        let m = s.mounted("");
        each([m.names("d"), m.kind("d/never")])
    })
    .sees("never, ENOENT"),
    fact("whiteout::in_the_lowest_layer_is_hidden", |s| {
        let [_top, base] = s.lowers(["top", "base"]);
        base.whiteout("never");
        let m = s.mounted("");
        each([m.names(""), m.kind("never")])
    })
    .sees("nothing, ENOENT"),
    fact("whiteout::of_any_other_device_is_shown", |s| {
        let [top, base] = s.lowers(["top", "base"]);
        base.file("f", "");
        top.node("f", FileType::CharacterDevice, (0, 1));
        s.mounted("").kind("f")
    })
    .sees("device")
    .relied_on(),
    fact("whiteout::mode_and_owner_do_not_matter", |s| {
        let [top, base] = s.lowers(["top", "base"]);
        base.file("gone", "");
        top.whiteout("gone").mode("gone", 0o777).owner("gone", 7, 8);
        s.mounted("").kind("gone")
    })
    .sees("ENOENT"),
    fact("whiteout::unlink_makes_one", |s| {
        s.lower().file("f", "");
        s.mounted("").unlink("f")?;
        s.upper().kind("f")
    })
    .sees("whiteout")
    .relied_on(),
    fact("whiteout::rmdir_makes_one", |s| {
        s.lower().dir("d");
        s.mounted("").rmdir("d")?;
        s.upper().kind("d")
    })
    .sees("whiteout"),
    fact("whiteout::has_no_permissions", |s| {
        s.lower().file("f", "");
        s.mounted("").unlink("f")?;
        s.upper().access("f")
    })
    .sees("0 0:0"),
    fact("whiteout::all_of_an_upper_are_one_inode", |s| {
        s.lower().file("a", "").file("b", "");
        let m = s.mounted("");
        m.unlink("a")?;
        m.unlink("b")?;
        same(s.upper().inode("a")?, s.upper().inode("b")?)
    })
    .sees("same"),
    fact("whiteout::unlink_of_what_upper_alone_has_makes_none", |s| {
        s.lower();
        let m = s.mounted("");
        m.create("f")?;
        m.unlink("f")?;
        s.upper().names("")
    })
    .sees("nothing"),
    fact("whiteout::create_replaces_it", |s| {
        s.lower().file("f", "lower");
        s.upper().whiteout("f");
        let m = s.mounted("");
        m.create("f")?;
        each([m.read("f"), s.upper().kind("f")])
    })
    .sees("empty, file"),
    fact("whiteout::cannot_be_made_through_an_overlay", |s| {
        s.lower();
        let m = s.mounted("");
        Ok(match m.open().mknod(b"w", FileType::CharacterDevice, 0, (0, 0)) {
            Ok(()) => m.kind("w")?,
            Err(e) => return Err(e.into()),
        })
    })
    .sees("EPERM"),
    fact("whiteout::other_devices_can_be_made_through_an_overlay", |s| {
        s.lower();
        let m = s.mounted("");
        m.node("null", FileType::CharacterDevice, (1, 3)).kind("null")
    })
    .sees("device"),
    fact("whiteout::xattr_in_a_marked_directory_hides_the_file_below", |s| {
        let [top, base] = s.lowers(["top", "base"]);
        with_xattr_whiteouts(&top);
        base.file("d/gone", "").file("d/stays", "");
        let m = s.mounted("");
        each([m.kind("d/gone"), m.names("d")])
    })
    .sees("file, gone stays")
    .since("6.8", "ENOENT, stays"),
    fact("whiteout::xattr_in_an_unmarked_directory_is_listed", |s| {
        let [top, base] = s.lowers(["top", "base"]);
        top.file("d/gone", "").mark("d/gone", XATTR, "");
        base.file("d/gone", "");
        let m = s.mounted("");
        each([m.kind("d/gone"), m.names("d")])
    })
    .sees("file, gone")
    .since("6.7", "ENOENT, gone"),
    fact("whiteout::xattr_of_a_file_with_contents_hides_nothing", |s| {
        let [top, base] = s.lowers(["top", "base"]);
        with_xattr_whiteouts(&top).file("d/gone", "text");
        base.file("d/gone", "");
        s.mounted("").read("d/gone")
    })
    .sees("text"),
    fact("whiteout::xattr_in_upper_is_listed_but_not_found", |s| {
        s.lower().file("d/gone", "");
        with_xattr_whiteouts(&s.upper());
        let m = s.mounted("");
        each([m.kind("d/gone"), m.names("d")])
    })
    .sees("file, gone")
    .since("6.8", "ENOENT, gone"),
];
