//! Directories whose names mean something to the option parser: what has to be escaped, by each way to hand them over.

use ovlctl::sys::script::How;

use crate::fact::{Done, Fact, Saw, fact};
use crate::scene::{By, Scene};

/// Each of these is awkward in its own way.
const AWKWARD: &[&str] =
    &["a b", "a\tb", "a\nb", "a\"b", "a'b", "a#b", "a=b", "\u{e9}", "lowerdir+", "\u{1}"];

/// Mounts a lower that is called `name` and spelled `spelled`.
fn lower(s: &Scene, name: &str, spelled: &str, by: By) -> Saw {
    s.dir_named(name).file("f", "found");
    s.overlay("").lowers(&[spelled]).by(by).mount()?.read("f")
}

/// Mounts an upper and a work directory that have `name` in theirs.
fn upper(s: &Scene, name: &str, spelled: &str, by: By) -> Saw {
    s.lower();
    s.dir_named(&format!("{name}u")).file("f", "found");
    s.dir_named(&format!("{name}w"));
    s.overlay("").upper_as(&format!("{spelled}u"), &format!("{spelled}w")).by(by).mount()?.read("f")
}

/// How many of the awkward names cannot be mounted as they are.
fn refused(s: &Scene, by: By) -> Saw {
    let mut refused = Vec::new();
    for name in AWKWARD {
        s.dir_named(name).file("f", "found");
        let overlay = s.overlay("").lowers(&[name]).upper("u", "w").by(by);
        if overlay.mount().done().and_then(|_| s.unmount("m")).is_err() {
            refused.push(name.escape_default().to_string());
        }
    }
    Ok(if refused.is_empty() { "all taken".to_owned() } else { refused.join(" ") })
}

pub(super) const FACTS: &[Fact] = &[
    fact("names::page_takes_most_as_they_are", |s| refused(s, By::Page)).sees("all taken").relied_on(),
    fact("names::page_lower_escaped_colon", |s| lower(s, "a:b", r"a\:b", By::Page)).sees("found"),
    fact("names::page_lower_escaped_comma", |s| lower(s, "a,b", r"a\,b", By::Page)).sees("found"),
    fact("names::page_lower_escaped_backslash", |s| lower(s, r"a\b", r"a\\b", By::Page)).sees("found"),
    fact("names::page_lower_colon", |s| lower(s, "a:b", "a:b", By::Page)).sees("ENOENT"),
    fact("names::page_lower_comma", |s| lower(s, "a,b", "a,b", By::Page))
        .sees("EINVAL")
        .since("6.5", "ENOENT"),
    fact("names::page_lower_escaped_twice", |s| lower(s, "a:b", r"a\\:b", By::Page)).sees("ENOENT"),
    fact("names::page_upper_colon", |s| upper(s, "a:b", "a:b", By::Page)).sees("found").relied_on(),
    fact("names::page_upper_escaped_comma", |s| upper(s, "a,b", r"a\,b", By::Page)).sees("found").relied_on(),
    fact("names::page_upper_escaped_backslash", |s| upper(s, r"a\b", r"a\\b", By::Page))
        .sees("found")
        .relied_on(),
    fact("names::page_colon_first", |s| lower(s, "a", ":a", By::Page)).sees("EINVAL"),
    fact("names::page_colon_last", |s| lower(s, "a", "a:", By::Page)).sees("EINVAL"),
    fact("names::page_three_colons", |s| {
        s.lowers(["a", "b"]);
        s.overlay("").lowers(&["a:::b"]).mount().done()
    })
    .sees("EINVAL"),
    fact("names::strings_take_most_as_they_are", |s| {
        s.needs_strings()?;
        refused(s, By::Strings)
    })
    .sees("all taken")
    .relied_on(),
    fact("names::string_lower_colon_comma_backslash", |s| {
        s.needs_strings()?;
        lower(s, r"a:b,c\d", r"a:b,c\d", By::Strings)
    })
    .sees("found")
    .relied_on(),
    fact("names::string_lower_is_not_unescaped", |s| {
        s.needs_strings()?;
        lower(s, "a:b", r"a\:b", By::Strings)
    })
    .sees("ENOENT")
    .relied_on(),
    fact("names::string_upper_colon_comma", |s| {
        s.needs_strings()?;
        upper(s, "a:b,c", "a:b,c", By::Strings)
    })
    .sees("found")
    .relied_on(),
    fact("names::string_upper_backslash", |s| {
        s.needs_strings()?;
        upper(s, r"a\b", r"a\b", By::Strings)
    })
    .sees("ENOENT"),
    fact("names::string_upper_escaped_backslash", |s| {
        s.needs_strings()?;
        upper(s, r"a\b", r"a\\b", By::Strings)
    })
    .sees("found")
    .relied_on(),
    fact("names::handles_need_no_name", |s| {
        s.needs_handles()?;
        refused(s, By::Handles(How::Read))
    })
    .sees("all taken")
    .relied_on(),
    fact("names::handle_upper_colon_comma_backslash", |s| {
        s.needs_handles()?;
        upper(s, r"a:b,c\d", r"a:b,c\d", By::Handles(How::Read))
    })
    .sees("found")
    .relied_on(),
];
