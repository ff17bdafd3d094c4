//! What can be moved where, and redirects.

use rustix::fs::RenameFlags;

use crate::fact::{Fact, each, fact, skip};

const REDIRECT: &str = "trusted.overlay.redirect";

pub(super) const FACTS: &[Fact] = &[
    fact("rename::file_of_lower_is_copied_and_leaves_a_whiteout", |s| {
        s.lower().file("f", "text");
        let m = s.mounted("");
        m.rename("f", "g")?;
        each([m.read("g"), m.kind("f"), s.upper().kind("f")])
    })
    .sees("text, ENOENT, whiteout")
    .relied_on(),
    fact("rename::directory_of_lower_is_refused", |s| {
        s.lower().file("d/f", "");
        s.mounted("redirect_dir=nofollow").rename("d", "e")
    })
    .sees("EXDEV")
    .relied_on(),
    fact("rename::directory_of_lower_is_refused_with_redirect_off", |s| {
        s.lower().file("d/f", "");
        s.mounted("redirect_dir=off").rename("d", "e")
    })
    .sees("EXDEV"),
    fact("rename::directory_of_lower_is_refused_with_redirect_follow", |s| {
        s.lower().file("d/f", "");
        s.mounted("redirect_dir=follow").rename("d", "e")
    })
    .sees("EXDEV"),
    fact("rename::merged_directory_is_refused", |s| {
        s.lower().file("d/f", "");
        s.upper().file("d/g", "");
        s.mounted("redirect_dir=nofollow").rename("d", "e")
    })
    .sees("EXDEV")
    .relied_on(),
    fact("rename::directory_of_upper_alone_is_moved", |s| {
        s.lower();
        let m = s.mounted("redirect_dir=nofollow");
        m.file("d/f", "").rename("d", "e")?;
        m.names("e")
    })
    .sees("f")
    .relied_on(),
    fact("rename::directory_is_redirected", |s| {
        s.lower().file("d/f", "text");
        let m = s.mounted("redirect_dir=on");
        m.rename("d", "e")?;
        each([m.read("e/f"), m.kind("d"), s.upper().names("e")])
    })
    .sees("text, ENOENT, nothing"),
    fact("rename::redirect_in_the_same_directory_is_a_name", |s| {
        s.lower().dir("d");
        s.mounted("redirect_dir=on").rename("d", "e")?;
        s.upper().xattr("e", REDIRECT)
    })
    .sees("d"),
    fact("rename::redirect_to_another_directory_is_a_path", |s| {
        s.lower().dir("a/d").dir("b");
        s.mounted("redirect_dir=on").rename("a/d", "b/d")?;
        s.upper().xattr("b/d", REDIRECT)
    })
    .sees("/a/d"),
    fact("rename::redirect_in_a_lower_is_followed_where_asked", |s| {
        let [top, base] = s.lowers(["top", "base"]);
        base.file("secret/f", "text");
        top.dir("d").mark("d", REDIRECT, "/secret");
        s.mounted("redirect_dir=follow").read("d/f")
    })
    .sees("text"),
    fact("rename::redirect_in_a_lower_is_refused_by_nofollow", |s| {
        let [top, base] = s.lowers(["top", "base"]);
        base.file("secret/f", "text");
        top.dir("d").mark("d", REDIRECT, "/secret");
        s.mounted("redirect_dir=nofollow").kind("d")
    })
    .sees("EPERM")
    .relied_on(),
    fact("rename::redirect_in_a_lower_is_followed_by_default_where_the_module_says_so", |s| {
        let always = std::fs::read_to_string("/sys/module/overlay/parameters/redirect_always_follow")?;
        if always.trim() != "Y" {
            return skip("the module was told redirect_always_follow=N");
        }
        let [top, base] = s.lowers(["top", "base"]);
        base.file("secret/f", "text");
        top.dir("d").mark("d", REDIRECT, "/secret");
        s.mounted("redirect_dir=off").read("d/f")
    })
    .sees("text"),
    fact("rename::onto_a_file_of_lower_replaces_it", |s| {
        s.lower().file("a", "a").file("b", "b");
        let m = s.mounted("");
        m.rename("a", "b")?;
        each([m.read("b"), m.names("")])
    })
    .sees("a, b"),
    fact("rename::onto_a_directory_with_something_in_it_is_refused", |s| {
        s.lower().file("d/f", "");
        let m = s.mounted("");
        m.mkdir("e")?;
        m.rename("e", "d")
    })
    .sees("ENOTEMPTY"),
    fact("rename::onto_a_directory_whose_contents_were_removed", |s| {
        s.lower().file("d/f", "");
        let m = s.mounted("");
        m.unlink("d/f")?;
        m.file("e/g", "").rename("e", "d")?;
        m.names("d")
    })
    .sees("g"),
    fact("rename::a_moved_directory_hides_what_was_below_its_new_name", |s| {
        s.lower().file("d/old", "");
        let m = s.mounted("");
        m.unlink("d/old")?;
        m.rmdir("d")?;
        m.file("e/new", "").rename("e", "d")?;
        each([m.names("d"), s.upper().xattr("d", "trusted.overlay.opaque")])
    })
    .sees("new, y"),
    fact("rename::exchange_of_files", |s| {
        s.lower().file("a", "a").file("b", "b");
        let m = s.mounted("");
        m.rename_with("a", "b", RenameFlags::EXCHANGE)?;
        each([m.read("a"), m.read("b")])
    })
    .sees("b, a"),
    fact("rename::exchange_of_file_and_directory_of_upper", |s| {
        s.lower();
        let m = s.mounted("");
        m.file("f", "").dir("d").rename_with("f", "d", RenameFlags::EXCHANGE)?;
        each([m.kind("f"), m.kind("d")])
    })
    .sees("directory, file"),
    fact("rename::exchange_with_a_directory_of_lower_is_refused", |s| {
        s.lower().dir("d").file("f", "");
        s.mounted("redirect_dir=nofollow").rename_with("f", "d", RenameFlags::EXCHANGE)
    })
    .sees("EXDEV"),
    fact("rename::noreplace_sees_what_lower_has", |s| {
        s.lower().file("a", "").file("b", "");
        s.mounted("").rename_with("a", "b", RenameFlags::NOREPLACE)
    })
    .sees("EEXIST")
    .relied_on(),
    fact("rename::noreplace_does_not_see_a_whiteout", |s| {
        s.lower().file("a", "a").file("b", "b");
        let m = s.mounted("");
        m.unlink("b")?;
        m.rename_with("a", "b", RenameFlags::NOREPLACE)?;
        m.read("b")
    })
    .sees("a"),
    fact("rename::whiteout_flag_is_refused", |s| {
        s.lower().file("a", "");
        s.mounted("").rename_with("a", "b", RenameFlags::WHITEOUT)
    })
    .sees("EINVAL"),
    fact("rename::between_two_overlays_is_refused", |s| {
        s.lower().file("f", "");
        let m = s.mounted("");
        let other = s.overlay("").upper("u2", "w2").at("m2").mounted();
        let (from, to) = (m.open(), other.open());
        from.rename(b"f", &to, b"f")?;
        Ok("moved".to_owned())
    })
    .sees("EXDEV"),
];
