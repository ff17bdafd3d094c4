//! POSIX access control lists.

use crate::fact::{Fact, each, fact};

const ACCESS: &str = "system.posix_acl_access";
const DEFAULT: &str = "system.posix_acl_default";

/// The user that the lists speak of.
const SOMEBODY: u32 = 1000;

/// A list by which SOMEBODY may read, and the owner do all, as xattr (linux/posix_acl_xattr.h): tag, permissions, id.
fn somebody_reads() -> Vec<u8> {
    const NOBODY: u32 = u32::MAX;
    let entries: [(u16, u16, u32); 5] =
        [(1, 6, NOBODY), (2, 4, SOMEBODY), (4, 0, NOBODY), (0x10, 4, NOBODY), (0x20, 0, NOBODY)];
    let mut list = 2_u32.to_le_bytes().to_vec();
    for (tag, permissions, id) in entries {
        list.extend(tag.to_le_bytes());
        list.extend(permissions.to_le_bytes());
        list.extend(id.to_le_bytes());
    }
    list
}

pub(super) const FACTS: &[Fact] = &[
    fact("acl::of_a_lower_file_is_obeyed", |s| {
        s.lower().file("f", "text").mark("f", ACCESS, somebody_reads());
        let m = s.mounted("");
        each([s.as_user(SOMEBODY, || m.read("f")), s.as_user(SOMEBODY + 1, || m.read("f"))])
    })
    .sees("text, EACCES")
    .relied_on(),
    fact("acl::is_copied_up", |s| {
        s.lower().file("f", "text").mark("f", ACCESS, somebody_reads());
        s.mounted("").append("f", "x")?;
        crate::fact::same(s.upper().xattr("f", ACCESS)?, somebody_reads().escape_ascii().to_string())
    })
    .sees("same")
    .relied_on(),
    fact("acl::set_through_the_overlay_is_uppers", |s| {
        let lower = s.lower();
        lower.file("f", "text");
        s.mounted("").set_xattr("f", ACCESS, somebody_reads())?;
        each([lower.xattrs("f", ACCESS), s.upper().xattrs("f", ACCESS)])
    })
    .sees("none, system.posix_acl_access"),
    fact("acl::by_default_of_a_lower_directory_is_inherited", |s| {
        s.lower().dir("d").mark("d", DEFAULT, somebody_reads());
        let m = s.mounted("");
        m.create("d/f")?;
        m.mkdir("d/e")?;
        each([s.upper().xattrs("d/f", "system."), s.upper().xattrs("d/e", DEFAULT)])
    })
    .sees("system.posix_acl_access, system.posix_acl_default"),
    fact("acl::default_of_upper_does_not_reach_copies", |s| {
        s.lower().file("d/f", "").mode("d/f", 0o600);
        s.upper().mark("", DEFAULT, somebody_reads());
        s.mounted("").append("d/f", "x")?;
        each([s.upper().xattrs("d/f", "system."), s.upper().access("d/f")])
    })
    .sees("none, 600 0:0"),
    fact("acl::chmod_changes_the_mask", |s| {
        s.lower().file("f", "text").mark("f", ACCESS, somebody_reads());
        let m = s.mounted("");
        m.chmod("f", 0o600)?;
        s.as_user(SOMEBODY, || m.read("f"))
    })
    .sees("EACCES"),
    fact("acl::removed_through_the_overlay_is_gone", |s| {
        s.lower().file("f", "text").mark("f", ACCESS, somebody_reads());
        let m = s.mounted("");
        m.remove_xattr("f", ACCESS)?;
        each([m.xattrs("f", "system."), s.as_user(SOMEBODY, || m.read("f"))])
    })
    .sees("none, EACCES"),
];
