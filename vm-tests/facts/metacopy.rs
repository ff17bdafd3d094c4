//! Copying up metadata alone (`metacopy=on`), and what it can be abused for.

use rustix::fs::OFlags;

use crate::fact::{Fact, each, fact};
use crate::scene::{Scene, Tree};

const METACOPY: &str = "trusted.overlay.metacopy";
const REDIRECT: &str = "trusted.overlay.redirect";

/// A file of a stranger's layer that has no data, and says that a file which only root may read is its data.
fn crafted(s: &Scene) -> Tree {
    let [top, base] = s.lowers(["top", "base"]);
    base.file("secret", "S3CRET").mode("secret", 0o600);
    top.file("f", "......").mark("f", METACOPY, "").mark("f", REDIRECT, "/secret");
    top
}

pub(super) const FACTS: &[Fact] = &[
    fact("metacopy::chmod_copies_no_data", |s| {
        s.lower().file("f", &"x".repeat(64 << 10));
        s.mounted("metacopy=on").chmod("f", 0o600)?;
        let copy = s.upper().file_at("f", OFlags::RDONLY)?;
        let data = ovlctl::sys::dir::next_data(&copy, 0)?;
        Ok(format!("{} bytes, {}", copy.metadata()?.len(), if data.is_some() { "data" } else { "a hole" }))
    })
    .sees("65536 bytes, a hole"),
    fact("metacopy::chmod_leaves_a_mark", |s| {
        s.lower().file("f", "text");
        s.mounted("metacopy=on").chmod("f", 0o600)?;
        s.upper().xattrs("f", "trusted.overlay.metacopy")
    })
    .sees("trusted.overlay.metacopy"),
    fact("metacopy::data_is_lowers_until_it_is_written", |s| {
        s.lower().file("f", "text");
        let m = s.mounted("metacopy=on");
        m.chmod("f", 0o600)?;
        let before = m.read("f");
        m.append("f", " more")?;
        each([before, m.read("f"), s.upper().read("f"), s.upper().xattr("f", METACOPY)])
    })
    .sees("text, text more, text more, ENODATA"),
    fact("metacopy::moved_file_finds_its_data_by_a_redirect", |s| {
        s.lower().file("f", "text");
        let m = s.mounted("metacopy=on");
        m.chmod("f", 0o600)?;
        m.rename("f", "g")?;
        each([s.upper().xattr("g", REDIRECT), s.again("metacopy=on")?.read("g")])
    })
    .sees("f, text"),
    fact("metacopy::leftovers_are_refused_without_it", |s| {
        s.lower().file("f", "text");
        s.mounted("metacopy=on").chmod("f", 0o600)?;
        let m = s.again("metacopy=off")?;
        each([m.kind("f"), m.read("f")])
    })
    .sees("EPERM, EPERM"),
    fact("metacopy::crafted_file_shows_what_only_root_may_read", |s| {
        crafted(s);
        s.mounted("metacopy=on").read("f")
    })
    .sees("S3CRET"),
    fact("metacopy::crafted_file_is_refused_without_it", |s| {
        crafted(s);
        let m = s.mounted("metacopy=off,redirect_dir=nofollow");
        each([m.kind("f"), m.read("f")])
    })
    .sees("EPERM, EPERM")
    .relied_on(),
    fact("metacopy::crafted_file_is_refused_without_upper", |s| {
        crafted(s);
        s.mounted_without_upper("metacopy=off,redirect_dir=nofollow").read("f")
    })
    .sees("EPERM")
    .relied_on(),
    fact("metacopy::turns_redirects_on", |s| {
        s.lower().dir("d");
        let m = s.mounted("metacopy=on");
        each([m.rename("d", "e"), s.shows(&["redirect_dir"])])
    })
    .sees("ok, none")
    .since("6.5", "ok, redirect_dir=on"),
    fact("metacopy::conflicts_with_redirect_dir_nofollow", |s| {
        s.lower();
        s.mount("metacopy=on,redirect_dir=nofollow")?;
        s.shows(&["redirect_dir", "metacopy"])
    })
    .sees("EINVAL")
    .relied_on(),
    fact("metacopy::conflicts_with_redirect_dir_off", |s| {
        s.lower();
        s.mount("metacopy=on,redirect_dir=off")?;
        s.shows(&["redirect_dir", "metacopy"])
    })
    .sees("EINVAL"),
    fact("metacopy::conflicts_with_nfs_export", |s| {
        s.lower();
        s.mount("metacopy=on,nfs_export=on")?;
        s.shows(&["nfs_export", "metacopy"])
    })
    .sees("EINVAL"),
    fact("metacopy::hard_link_of_a_copied_file_shares_its_data", |s| {
        s.lower().file("f", "text");
        let m = s.mounted("metacopy=on");
        m.link("f", "g")?;
        each([m.read("g"), s.upper().xattrs("g", "trusted.overlay.metacopy")])
    })
    .sees("text, trusted.overlay.metacopy"),
];
