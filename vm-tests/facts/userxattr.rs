//! Marks in `user.overlay.*` instead of `trusted.overlay.*`: `userxattr`, made for user namespaces.

use crate::errand;
use crate::fact::{Done, Fact, Stop, each, fact};
use crate::scene::{Scene, Tree};

/// Two lowers, where the kernel has the option and the filesystem the attributes.
fn layers(s: &Scene) -> Result<[Tree; 2], Stop> {
    s.dir_named("needs");
    if s.dir_named("probe").set_xattr("", "user.overlay.probe", "1").is_err() {
        return Err(Stop::Skip("this filesystem holds no user.* attributes".to_owned()));
    }
    s.needs("userxattr")?;
    Ok(s.lowers(["top", "base"]))
}

pub(super) const FACTS: &[Fact] = &[
    fact("userxattr::is_an_option", |s| {
        s.lower();
        s.mount("userxattr")?;
        s.shows(&["userxattr"])
    })
    .sees("EINVAL")
    .since("5.11", "userxattr"),
    fact("userxattr::honours_opaque_of_user", |s| {
        let [top, base] = layers(s)?;
        top.dir("d").mark("d", "user.overlay.opaque", "y");
        base.file("d/f", "");
        s.mounted("userxattr").names("d")
    })
    .sees("nothing"),
    fact("userxattr::ignores_opaque_of_trusted", |s| {
        let [top, base] = layers(s)?;
        top.opaque("d");
        base.file("d/f", "");
        s.mounted("userxattr").names("d")
    })
    .sees("f")
    .relied_on(),
    fact("userxattr::honours_devices_as_whiteouts", |s| {
        let [top, base] = layers(s)?;
        top.whiteout("f");
        base.file("f", "");
        s.mounted("userxattr").kind("f")
    })
    .sees("ENOENT"),
    fact("userxattr::marks_what_it_makes_with_user", |s| {
        let [_top, base] = layers(s)?;
        base.dir("d");
        let m = s.mounted("userxattr");
        m.rmdir("d")?;
        m.mkdir("d")?;
        each([s.upper().xattr("d", "user.overlay.opaque"), s.upper().xattrs("d", "trusted.")])
    })
    .sees("y, none"),
    fact("userxattr::shows_the_marks_of_trusted", |s| {
        let [top, _base] = layers(s)?;
        top.opaque("d");
        s.mounted("userxattr").xattr("d", "trusted.overlay.opaque")
    })
    .sees("y"),
    fact("userxattr::follows_no_redirect", |s| {
        let [top, base] = layers(s)?;
        base.file("secret/f", "");
        top.dir("d").mark("d", "user.overlay.redirect", "/secret");
        s.mounted("userxattr").kind("d")
    })
    .sees("EPERM"),
    fact("userxattr::refuses_to_turn_redirects_on", |s| {
        layers(s)?;
        s.mount("userxattr,redirect_dir=on").done()
    })
    .sees("EINVAL"),
    fact("userxattr::refuses_metacopy", |s| {
        layers(s)?;
        s.mount("userxattr,metacopy=on").done()
    })
    .sees("EINVAL")
    .relied_on(),
    fact("userxattr::takes_an_index", |s| {
        layers(s)?;
        s.mount("userxattr,index=on").done()
    })
    .sees("ok"),
    fact("userxattr::in_a_user_namespace_can_be_mounted", |s| {
        s.lower().file("f", "");
        errand::send("mount-in-user-namespace", &["userxattr"])
    })
    .sees("EPERM")
    .since("5.11", "ok, whiteout"),
    fact("userxattr::without_it_in_a_user_namespace_removal_works", |s| {
        s.lower().file("f", "");
        errand::send("mount-in-user-namespace", &[""])
    })
    .sees("EPERM")
    .since("5.11", "ok, whiteout"),
    fact("userxattr::tmpfs_holds_attributes_of_user", |s| {
        s.tmpfs("memory", &[]).file("f", "").set_xattr("f", "user.one", "1")
    })
    .sees("EOPNOTSUPP")
    .since("6.6", "ok")
    .relied_on(),
];
