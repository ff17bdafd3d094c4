//! Overlayfs' own attributes, seen and set through an overlay, and overlays of overlays.

use crate::fact::{Fact, each, fact};

pub(super) const FACTS: &[Fact] = &[
    fact("escape::own_attributes_of_a_layer_are_hidden", |s| {
        s.lower().file("f", "").mark("f", "trusted.overlay.made-up", "1");
        let m = s.mounted("");
        each([m.xattrs("f", "trusted."), m.xattr("f", "trusted.overlay.made-up")])
    })
    .sees("none, EOPNOTSUPP")
    .since("6.7", "none, ENODATA"),
    fact("escape::own_attributes_can_be_set", |s| {
        s.lower().file("f", "");
        let m = s.mounted("");
        m.set_xattr("f", "trusted.overlay.made-up", "1")?;
        m.xattr("f", "trusted.overlay.made-up")
    })
    .sees("EOPNOTSUPP")
    .since("6.7", "1"),
    fact("escape::are_stored_under_another_name", |s| {
        s.lower().file("f", "");
        s.mounted("").set_xattr("f", "trusted.overlay.made-up", "1")?;
        s.upper().xattr("f", "trusted.overlay.overlay.made-up")
    })
    .sees("EOPNOTSUPP")
    .since("6.7", "1"),
    fact("escape::escaped_attributes_of_a_layer_are_shown", |s| {
        s.lower().file("f", "").mark("f", "trusted.overlay.overlay.made-up", "1");
        s.mounted("").xattrs("f", "trusted.")
    })
    .sees("none")
    .since("6.7", "trusted.overlay.made-up"),
    fact("escape::do_not_steer_the_overlay_they_are_set_through", |s| {
        let lower = s.lower();
        lower.file("d/f", "");
        let m = s.mounted("");
        m.set_xattr("d", "trusted.overlay.opaque", "y")?;
        s.again("")?.names("d")
    })
    .sees("EOPNOTSUPP")
    .since("6.7", "f"),
    fact("escape::attributes_of_user_pass_unchanged", |s| {
        let lower = s.lower();
        lower.file("f", "");
        if lower.set_xattr("f", "user.overlay.opaque", "y").is_err() {
            return crate::fact::skip("this filesystem holds no user.* attributes");
        }
        s.mounted("").xattr("f", "user.overlay.opaque")
    })
    .sees("y"),
    fact("nesting::an_overlay_may_be_a_lower", |s| {
        s.lower().file("f", "text");
        s.mounted("");
        s.overlay("").lowers(&["m"]).upper("u2", "w2").at("m2").mounted().read("f")
    })
    .sees("text"),
    fact("nesting::a_third_level_is_refused", |s| {
        s.lower();
        s.mounted("");
        s.overlay("").lowers(&["m"]).upper("u2", "w2").at("m2").mounted();
        s.overlay("").lowers(&["m2"]).upper("u3", "w3").at("m3").mount()?;
        Ok("mounted".to_owned())
    })
    .sees("EINVAL")
    .relied_on(),
    fact("nesting::an_overlay_is_no_upper", |s| {
        s.lower();
        s.mounted("").dir("u").dir("w");
        s.overlay("").upper("m/u", "m/w").at("m2").mount()?;
        Ok("mounted".to_owned())
    })
    .sees("EINVAL")
    .relied_on(),
    fact("nesting::removal_in_the_inner_one_is_seen_in_the_outer", |s| {
        s.lower().file("gone", "").file("stays", "");
        s.mounted("").unlink("gone")?;
        s.overlay("").lowers(&["m"]).upper("u2", "w2").at("m2").mounted().names("")
    })
    .sees("stays"),
    fact("nesting::escaped_whiteout_is_honoured_one_level_up", |s| {
        let [top, base] = s.lowers(["top", "base"]);
        base.file("d/gone", "").file("d/stays", "");
        top.file("d/gone", "").mark("d/gone", "trusted.overlay.overlay.whiteout", "");
        top.mark("d", "trusted.overlay.overlay.opaque", "x");
        let inner = s.overlay("").lowers(&["top"]).upper("u1", "w1").at("m1").mounted();
        let outer = s.overlay("").lowers(&["m1", "base"]).upper("u2", "w2").at("m2").mounted();
        each([inner.kind("d/gone"), outer.kind("d/gone"), outer.names("d")])
    })
    .sees("file, file, gone stays")
    .since("6.8", "file, ENOENT, stays"),
    fact("nesting::copy_up_of_a_file_of_an_overlay", |s| {
        s.lower().file("f", "text");
        s.mounted("");
        let outer = s.overlay("").lowers(&["m"]).upper("u2", "w2").at("m2").mounted();
        outer.append("f", " more")?;
        each([outer.read("f"), s.upper().names("")])
    })
    .sees("text more, nothing"),
];
