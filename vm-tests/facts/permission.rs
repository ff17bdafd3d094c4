//! Who may do what: users' permissions in an overlay, and the capabilities of whoever mounted it.

use std::thread;

use ovlctl::sys::caps::{TO_MOUNT, drop_all_but};
use ovlctl::sys::dir::FileType;
use ovlctl::sys::mount::Attributes;
use rustix::fs::{Access, OFlags};
use rustix::mount::MountFlags;

use crate::fact::{Done, Fact, Saw, each, fact};
use crate::scene::Context;

const USER: u32 = 1000;

/// Does something with CAP_SYS_ADMIN and no other capability.
fn able_only_to_mount(body: impl FnOnce() -> Saw + Send) -> Saw {
    // Capabilities belong to a thread.
    let lessened = || {
        drop_all_but(TO_MOUNT);
        body()
    };
    thread::scope(|scope| scope.spawn(lessened).join().expect("nothing there panics"))
}

pub(super) const FACTS: &[Fact] = &[
    fact("permission::mounting_is_not_for_users", |s| {
        s.lower();
        s.as_user(USER, || s.mount("").done())
    })
    .sees("EPERM")
    .relied_on(),
    fact("permission::a_context_is_not_for_users", |s| {
        s.as_user(USER, || Context::open("overlay").map(drop).done())
    })
    .sees("EPERM")
    .relied_on(),
    fact("permission::mode_of_a_lower_file_is_obeyed", |s| {
        s.lower().file("f", "text").mode("f", 0o600);
        let m = s.mounted("");
        s.as_user(USER, || m.read("f"))
    })
    .sees("EACCES"),
    fact("permission::a_user_may_write_what_only_overlayfs_can_copy_up", |s| {
        s.lower().file("d/f", "old").mode("d/f", 0o666);
        let m = s.mounted("");
        s.as_user(USER, || m.append("d/f", " new"))?;
        each([m.read("d/f"), s.upper().access("d/f")])
    })
    .sees("old new, 666 0:0"),
    fact("permission::a_user_owns_what_it_makes", |s| {
        s.lower().dir("d").mode("d", 0o777);
        let m = s.mounted("");
        s.as_user(USER, || each([m.create("d/f"), m.mkdir("d/e")]))?;
        each([s.upper().access("d/f"), s.upper().access("d/e")])
    })
    .sees("644 1000:1000, 755 1000:1000"),
    fact("permission::a_user_may_remove_without_being_able_to_make_devices", |s| {
        s.lower().file("d/f", "").mode("d", 0o777);
        let m = s.mounted("");
        each([s.as_user(USER, || m.unlink("d/f")), s.upper().kind("d/f")])
    })
    .sees("ok, whiteout"),
    fact("permission::sticky_directory_of_lower_is_obeyed", |s| {
        s.lower().file("d/f", "").mode("d", 0o1777);
        let m = s.mounted("");
        s.as_user(USER, || m.unlink("d/f"))
    })
    .sees("EPERM"),
    fact("permission::only_the_owner_may_chmod", |s| {
        s.lower().file("f", "").mode("f", 0o666);
        let m = s.mounted("");
        each([s.as_user(USER, || m.chmod("f", 0o777)), s.upper().names("")])
    })
    .sees("EPERM, nothing"),
    fact("permission::writing_clears_setuid", |s| {
        s.lower().file("f", "").mode("f", 0o4777);
        let m = s.mounted("");
        s.as_user(USER, || m.append("f", "x"))?;
        m.access("f")
    })
    .sees("777 0:0"),
    fact("permission::writing_clears_file_capabilities", |s| {
        let capability = b"\x01\0\0\x02\0\x20\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
        s.lower().file("f", "").mark("f", "security.capability", capability).mode("f", 0o666);
        let m = s.mounted("");
        s.as_user(USER, || m.append("f", "x"))?;
        m.xattrs("f", "security.capability")
    })
    .sees("none"),
    fact("permission::trusted_attributes_are_not_for_users", |s| {
        s.lower().file("f", "").mark("f", "trusted.one", "1").mode("f", 0o666);
        let m = s.mounted("");
        s.as_user(USER, || each([m.xattrs("f", "trusted."), m.xattr("f", "trusted.one")]))
    })
    .sees("none, ENODATA"),
    fact("permission::an_upper_needs_more_than_cap_sys_admin", |s| {
        s.lower();
        able_only_to_mount(|| s.mount("").done())
    })
    .sees("EACCES")
    .relied_on(),
    fact("permission::overlayfs_has_only_the_mounters_capabilities", |s| {
        let [top, _base] = s.lowers(["top", "base"]);
        top.file("f", "text").owner("f", 7, 8).mode("f", 0o600);
        able_only_to_mount(|| s.overlay("").read_only().mount().done())?;
        each([top.read("f"), s.dir_named("m").read("f")])
    })
    .sees("text, EACCES")
    .relied_on(),
    fact("permission::nodev_of_a_layer_does_not_count", |s| {
        s.dir_named("tree").node("null", FileType::CharacterDevice, (1, 3));
        s.bind("tree", "lower", MountFlags::NODEV);
        let lower = s.dir_named("lower").file_at("null", OFlags::RDONLY).done();
        let m = s.overlay("").lowers(&["lower"]).mounted();
        each([lower, m.file_at("null", OFlags::RDONLY).done()])
    })
    .sees("EACCES, ok"),
    fact("permission::nodev_of_the_overlay_counts", |s| {
        s.lower().node("null", FileType::CharacterDevice, (1, 3));
        let m = s.overlay("").flags(Attributes::MOUNT_ATTR_NODEV).mounted();
        m.file_at("null", OFlags::RDONLY).done()
    })
    .sees("EACCES")
    .relied_on(),
    fact("permission::noexec_of_the_overlay_counts", |s| {
        s.lower().file("program", "").mode("program", 0o755);
        let m = s.overlay("").flags(Attributes::MOUNT_ATTR_NOEXEC).mounted();
        rustix::fs::access(m.path("program"), Access::EXEC_OK).done()
    })
    .sees("EACCES")
    .relied_on(),
    fact("permission::override_creds_is_an_option", |s| {
        s.lower();
        s.mount("override_creds")?.create("f")
    })
    .sees("EINVAL")
    .since("6.15", "ok"),
    fact("permission::nooverride_creds_is_an_option", |s| {
        s.lower();
        s.mount("nooverride_creds")?.create("f")
    })
    .sees("EINVAL")
    .since("6.15", "ok"),
    fact("permission::default_permissions_is_an_option", |s| {
        s.lower();
        s.mount("default_permissions")?.create("f")
    })
    .sees("ok"),
];
