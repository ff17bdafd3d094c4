//! Inode and device numbers of layers on several filesystems: `xino`.

use crate::fact::{Fact, Saw, Stop, each, fact, same};
use crate::scene::{Scene, Tree};

/// An overlay of a lower directory on a filesystem of its own.
fn across(s: &Scene, options: &str) -> Tree {
    let other = s.tmpfs("other", &[]);
    other.file("d/f", "");
    s.overlay(options).lowers(&["other"]).mounted()
}

fn one_device(m: &Tree) -> Saw {
    same(m.stat("d")?.st_dev, m.stat("d/f")?.st_dev)
}

fn high_bits(m: &Tree) -> Result<bool, Stop> {
    Ok(m.inode("d/f")? >> 32 != 0)
}

pub(super) const FACTS: &[Fact] = &[
    fact("xino::layers_of_one_filesystem_show_one_device", |s| {
        s.lower().file("d/f", "");
        one_device(&s.mounted("xino=off"))
    })
    .sees("same"),
    fact("xino::off_shows_another_device_for_files_of_another_filesystem", |s| {
        one_device(&across(s, "xino=off"))
    })
    .sees("different"),
    fact("xino::on_shows_one_device", |s| one_device(&across(s, "xino=on"))).sees("same"),
    fact("xino::auto_shows_one_device", |s| one_device(&across(s, "xino=auto"))).sees("same"),
    fact("xino::on_puts_the_layer_into_the_high_bits", |s| {
        let m = across(s, "xino=on");
        Ok(if high_bits(&m)? { "high bits" } else { "as it is" }.to_owned())
    })
    .sees("high bits"),
    fact("xino::off_changes_no_inode_number_by_copy_up", |s| {
        let m = across(s, "xino=off");
        let before = m.inode("d/f")?;
        m.append("d/f", "x")?;
        same(before, m.inode("d/f")?)
    })
    .sees("same"),
    fact("xino::on_changes_no_inode_number_by_copy_up", |s| {
        let m = across(s, "xino=on");
        let before = m.inode("d/f")?;
        m.append("d/f", "x")?;
        same(before, m.inode("d/f")?)
    })
    .sees("same"),
    fact("xino::is_not_shown_where_it_is_of_no_use", |s| {
        s.lower();
        s.mounted("xino=on");
        let one = s.shows(&["xino"]);
        s.unmount("m")?;
        across(s, "xino=on");
        each([one, s.shows(&["xino"])])
    })
    .sees("none, xino=on"),
];
