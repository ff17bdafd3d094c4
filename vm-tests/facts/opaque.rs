//! How a directory hides what lies below it.

use crate::fact::{Fact, each, fact};

const OPAQUE: &str = "trusted.overlay.opaque";

pub(super) const FACTS: &[Fact] = &[
    fact("opaque::hides_all_below", |s| {
        let [top, base] = s.lowers(["top", "base"]);
        base.file("d/old", "").file("d/deep/old", "");
        top.opaque("d").file("d/new", "");
        let m = s.mounted("");
        each([m.names("d"), m.kind("d/deep/old")])
    })
    .sees("new, ENOENT")
    .relied_on(),
    fact("opaque::in_a_middle_layer_hides_only_what_is_below_that", |s| {
        let [top, middle, base] = s.lowers(["top", "middle", "base"]);
        top.file("d/a", "");
        middle.opaque("d").file("d/b", "");
        base.file("d/c", "");
        s.mounted("").names("d")
    })
    .sees("a b")
    .relied_on(),
    fact("opaque::of_a_parent_hides_below_its_children_too", |s| {
        let [top, base] = s.lowers(["top", "base"]);
        top.opaque("d").dir("d/sub");
        base.file("d/sub/old", "");
        s.mounted("").names("d/sub")
    })
    .sees("nothing")
    .relied_on(),
    fact("opaque::only_the_value_y_counts", |s| {
        let [top, base] = s.lowers(["top", "base"]);
        top.dir("d").mark("d", OPAQUE, "n");
        base.file("d/f", "");
        s.mounted("").names("d")
    })
    .sees("f"),
    fact("opaque::at_a_layers_root_hides_nothing", |s| {
        let [top, base] = s.lowers(["top", "base"]);
        top.mark("", OPAQUE, "y").file("a", "");
        base.file("b", "");
        s.mounted("").names("")
    })
    .sees("a b"),
    fact("opaque::mark_of_user_counts_only_with_userxattr", |s| {
        let [top, base] = s.lowers(["top", "base"]);
        top.dir("d");
        if top.set_xattr("d", "user.overlay.opaque", "y").is_err() {
            return crate::fact::skip("this filesystem holds no user.* attributes");
        }
        base.file("d/f", "");
        s.mounted("").names("d")
    })
    .sees("f")
    .relied_on(),
    fact("opaque::mkdir_over_a_whiteout_is_marked", |s| {
        s.lower().file("d/f", "");
        s.upper().whiteout("d");
        let m = s.mounted("");
        m.mkdir("d")?;
        each([s.upper().xattr("d", OPAQUE), m.names("d")])
    })
    .sees("y, nothing"),
    fact("opaque::mkdir_over_a_removed_directory_is_marked", |s| {
        s.lower().dir("d");
        let m = s.mounted("");
        m.rmdir("d")?;
        m.mkdir("d")?;
        s.upper().xattr("d", OPAQUE)
    })
    .sees("y"),
    fact("opaque::mkdir_where_nothing_is_below_is_not_marked", |s| {
        s.lower();
        s.mounted("").mkdir("d")?;
        s.upper().xattr("d", OPAQUE)
    })
    .sees("y")
    .since("6.1", "ENODATA"),
    fact("opaque::mkdir_inside_a_directory_of_upper_alone_is_not_marked", |s| {
        s.lower();
        let m = s.mounted("");
        m.mkdir("d")?;
        m.mkdir("d/e")?;
        s.upper().xattr("d/e", OPAQUE)
    })
    .sees("ENODATA"),
    fact("opaque::mark_is_not_seen_through_the_overlay", |s| {
        s.lower().dir("d");
        s.upper().opaque("d");
        let m = s.mounted("");
        each([m.xattrs("d", "trusted.overlay."), m.xattr("d", OPAQUE)])
    })
    .sees("none, EOPNOTSUPP")
    .since("6.7", "none, ENODATA"),
];
