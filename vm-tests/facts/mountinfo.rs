//! What /proc/self/mountinfo shows of an overlay.

use ovlctl::mount::table;
use ovlctl::sys::mount::Attributes;
use ovlctl::sys::script::How;

use crate::fact::{Fact, Saw, fact};
use crate::scene::{By, Scene};

/// The option `key` as mountinfo has it, of a lower directory with an awkward name.
fn shows_lower(s: &Scene, name: &str, spelled: &str, by: By) -> Saw {
    s.dir_named(name);
    s.overlay("").lowers(&[spelled]).by(by).mount()?;
    s.shows(&["lowerdir", "lowerdir+"])
}

pub(super) const FACTS: &[Fact] = &[
    fact("mountinfo::shows_layers_as_they_were_given", |s| {
        s.lowers(["top", "base"]);
        s.mounted("");
        s.shows(&["lowerdir", "upperdir", "workdir"])
    })
    .sees("lowerdir=top:base,upperdir=upper,workdir=work")
    .relied_on(),
    fact("mountinfo::shows_layers_one_by_one_where_they_came_so", |s| {
        s.needs_strings()?;
        s.lowers(["top", "base"]);
        s.overlay("").by(By::Strings).mount()?;
        s.shows(&["lowerdir", "lowerdir+"])
    })
    .sees("lowerdir+=top,lowerdir+=base")
    .relied_on(),
    fact("mountinfo::shows_whole_paths_of_handles", |s| {
        s.needs_handles()?;
        s.lowers(["top"]);
        s.overlay("").by(By::Handles(How::Read)).mount()?;
        let shown = s.shows(&["lowerdir+"])?;
        Ok(shown.replace(&s.dir().display().to_string(), "HERE"))
    })
    .sees("lowerdir+=HERE/top")
    .relied_on(),
    fact("mountinfo::shows_data_layers", |s| {
        s.needs_strings()?;
        s.dir_named("data");
        s.lowers(["top"]);
        s.overlay("metacopy=on").data(&["data"]).by(By::Strings).mount()?;
        s.shows(&["lowerdir+", "datadir+"])
    })
    .sees("lowerdir+=top,datadir+=data"),
    fact("mountinfo::space", |s| shows_lower(s, "a b", "a b", By::Page)).sees(r"lowerdir=a\040b").relied_on(),
    fact("mountinfo::newline", |s| shows_lower(s, "a\nb", "a\nb", By::Page))
        .sees(r"lowerdir=a\012b")
        .relied_on(),
    fact("mountinfo::escaped_colon", |s| shows_lower(s, "a:b", r"a\:b", By::Page))
        .sees(r"lowerdir=a\134:b")
        .relied_on(),
    fact("mountinfo::escaped_comma", |s| shows_lower(s, "a,b", r"a\,b", By::Page))
        .sees(r"lowerdir=a\134\054b")
        .relied_on(),
    fact("mountinfo::escaped_backslash", |s| shows_lower(s, r"a\b", r"a\\b", By::Page))
        .sees(r"lowerdir=a\134\134b")
        .relied_on(),
    fact("mountinfo::colon_of_a_string", |s| {
        s.needs_strings()?;
        shows_lower(s, "a:b", "a:b", By::Strings)
    })
    .sees("lowerdir+=a:b")
    .relied_on(),
    fact("mountinfo::comma_of_a_string", |s| {
        s.needs_strings()?;
        shows_lower(s, "a,b", "a,b", By::Strings)
    })
    .sees(r"lowerdir+=a\054b")
    .relied_on(),
    fact("mountinfo::equals_sign_is_shown_as_it_is", |s| shows_lower(s, "a=b", "a=b", By::Page))
        .sees("lowerdir=a=b")
        .relied_on(),
    fact("mountinfo::shows_the_source", |s| {
        s.lower();
        s.mounted("");
        let target = s.dir().join("m");
        let overlay = table::overlays()?.into_iter().rfind(|overlay| overlay.target == target);
        Ok(overlay.map_or_else(|| "no overlay".to_owned(), |o| o.source.to_string_lossy().into_owned()))
    })
    .sees("overlay")
    .relied_on(),
    fact("mountinfo::shows_flags_of_the_mount_apart_from_the_filesystems", |s| {
        s.lower();
        s.overlay("").flags(Attributes::MOUNT_ATTR_NODEV).mounted();
        let target = s.dir().join("m");
        let mount = table::mounts()?.into_iter().rfind(|mount| mount.target == target);
        Ok(mount.map_or_else(|| "no mount".to_owned(), |mount| mount.flags))
    })
    .sees("rw,nodev,relatime")
    .relied_on(),
    fact("mountinfo::says_ro_of_a_filesystem_without_upper", |s| {
        let [_top, _base] = s.lowers(["top", "base"]);
        s.mounted_without_upper("");
        s.shows(&["ro", "rw", "upperdir"])
    })
    .sees("ro")
    .relied_on(),
    fact("mountinfo::lower_that_was_removed_is_shown_as_it_was", |s| {
        let [_a, _b] = s.lowers(["a", "b"]);
        s.mounted("");
        std::fs::remove_dir("b")?;
        s.shows(&["lowerdir"])
    })
    .sees("lowerdir=a:b"),
    fact("mountinfo::redirects_of_an_overlay_without_upper", |s| {
        let [_top, _base] = s.lowers(["top", "base"]);
        s.mounted_without_upper("redirect_dir=follow");
        s.shows(&["redirect_dir"])
    })
    .sees("redirect_dir=follow")
    .since("6.5", "redirect_dir=on"),
];
