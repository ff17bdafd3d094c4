//! What statmount(2) tells of an overlay.

use rustix::mount::MountFlags;

use crate::fact::{Fact, Saw, each, fact};
use crate::raw::{self, Text};
use crate::scene::{MERGED, Scene};

/// One text of the mount at `name`; `untold` where the kernel does not know it.
fn tells(s: &Scene, name: &str, text: Text) -> Saw {
    let told = raw::mount_text(&s.dir().join(name), text)?;
    Ok(told.unwrap_or_else(|| "untold".to_owned()))
}

/// The same of an overlay of one lower directory.
fn of_an_overlay(s: &Scene, lower: &str, text: Text) -> Saw {
    s.dir_named(lower);
    s.overlay("").lowers(&[lower]).mounted();
    tells(s, MERGED, text)
}

/// Only the layers among options, which come with defaults that differ.
fn layers(options: &str) -> String {
    let layer = |option: &&str| option.split('=').next().is_some_and(|key| key.ends_with("dir"));
    let layers = options.split(',').filter(layer).collect::<Vec<_>>().join(",");
    if layers.is_empty() { "none".to_owned() } else { layers }
}

pub(super) const FACTS: &[Fact] = &[
    fact("statmount::type", |s| of_an_overlay(s, "lower", raw::TYPE)).sees("ENOSYS").since("6.8", "overlay"),
    fact("statmount::source", |s| of_an_overlay(s, "lower", raw::SOURCE))
        .sees("ENOSYS")
        .since("6.8", "untold")
        .since("6.13", "overlay"),
    fact("statmount::mount_point", |s| {
        let point = of_an_overlay(s, "lower", raw::POINT)?;
        Ok(point.replace(&s.dir().display().to_string(), "HERE"))
    })
    .sees("ENOSYS")
    .since("6.8", "HERE/m"),
    fact("statmount::root_of_the_overlay_and_of_a_directory_in_it", |s| {
        s.lower().dir("d");
        s.mounted("");
        s.bind("m/d", "bound", MountFlags::empty());
        Ok(format!("{}, {}", tells(s, MERGED, raw::ROOT)?, tells(s, "bound", raw::ROOT)?))
    })
    .sees("ENOSYS")
    .since("6.8", "/, /d"),
    fact("statmount::options", |s| Ok(layers(&of_an_overlay(s, "lower", raw::OPTIONS)?)))
        .sees("ENOSYS")
        .since("6.8", "none")
        .since("6.11", "lowerdir=lower,upperdir=upper,workdir=work"),
    fact("statmount::options_are_escaped", |s| Ok(layers(&of_an_overlay(s, "a b", raw::OPTIONS)?)))
        .sees("ENOSYS")
        .since("6.8", "none")
        .since("6.11", r"lowerdir=a\040b,upperdir=upper,workdir=work"),
    fact("statmount::options_one_by_one_are_not_escaped", |s| of_an_overlay(s, "a b", raw::FIRST_OPTION))
        .sees("ENOSYS")
        .since("6.8", "untold")
        .since("6.13", "lowerdir=a b"),
    fact("statmount::of_an_overlay_whose_lower_is_gone", |s| {
        s.lowers(["a", "b"]);
        s.mounted("");
        std::fs::remove_dir("b")?;
        let options = tells(s, MERGED, raw::OPTIONS)?;
        each([Ok(layers(&options)), tells(s, MERGED, raw::TYPE)])
    })
    .sees("ENOSYS")
    .since("6.8", "none, overlay")
    .since("6.11", "lowerdir=a:b,upperdir=upper,workdir=work, overlay"),
];
