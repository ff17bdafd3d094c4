//! Which identity an overlay has: `uuid`, and the fsid that statfs(2) shows.

use crate::fact::{Fact, Saw, each, fact, same};
use crate::scene::Tree;

/// The fsid, as statfs(2) has it, in no form that anybody may rely on.
fn fsid(tree: &Tree) -> Saw {
    Ok(format!("{:?}", rustix::fs::fstatfs(tree.open())?.f_fsid))
}

pub(super) const FACTS: &[Fact] = &[
    fact("uuid::a_new_overlay_has_an_fsid_of_its_own", |s| {
        s.lower();
        same(fsid(&s.mounted(""))?, fsid(&s.upper())?)
    })
    .sees("same")
    .since("6.6", "different"),
    fact("uuid::null_takes_the_fsid_of_upper", |s| {
        s.lower();
        s.needs("uuid=null")?;
        same(fsid(&s.mounted("uuid=null"))?, fsid(&s.upper())?)
    })
    .sees("same"),
    fact("uuid::two_overlays_of_one_upper_filesystem_differ", |s| {
        s.lower();
        let one = s.mounted("");
        let two = s.overlay("").upper("u2", "w2").at("m2").mounted();
        same(fsid(&one)?, fsid(&two)?)
    })
    .sees("same")
    .since("6.6", "different"),
    fact("uuid::fsid_outlives_a_remount", |s| {
        s.lower();
        let before = fsid(&s.mounted(""))?;
        same(before, fsid(&s.again("")?)?)
    })
    .sees("same"),
    fact("uuid::is_kept_in_upper", |s| {
        s.lower();
        s.mounted("").create("f")?;
        s.upper().xattr("", "trusted.overlay.uuid").map(|_| "kept".to_owned())
    })
    .sees("ENODATA")
    .since("6.6", "kept"),
    fact("uuid::off_keeps_none", |s| {
        s.lower();
        s.mount("uuid=off")?;
        s.upper().xattr("", "trusted.overlay.uuid")
    })
    .sees("EINVAL")
    .since("5.11", "ENODATA"),
    fact("uuid::auto_is_shown_as_on_by_the_first_mount_only", |s| {
        s.lower();
        s.mounted("");
        let first = s.shows(&["uuid"]);
        s.again("")?;
        each([first, s.shows(&["uuid"])])
    })
    .sees("none, none")
    .since("6.6", "uuid=on, none"),
    fact("uuid::on_is_an_option", |s| {
        s.lower();
        s.mount("uuid=on")?;
        Ok("ok".to_owned())
    })
    .sees("EINVAL")
    .since("5.11", "ok"),
];
