//! File handles of an overlay: `nfs_export`.
//!
//! inotify shows a watched file's handle in fdinfo, where the filesystem gives one.

use std::io::Read;
use std::os::fd::{AsFd, AsRawFd};

use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use rustix::fs::OFlags;

use crate::fact::{Fact, Saw, Stop, each, fact, same};
use crate::raw;
use crate::scene::Tree;

/// The type of a file's handle, and the handle: `f8 1f00…`; `no handle` where there is none.
fn handle(tree: &Tree, name: &str) -> Saw {
    let inotify = Inotify::init(InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC)?;
    inotify.add_watch(&tree.path(name), AddWatchFlags::IN_MODIFY)?;
    let info = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", inotify.as_fd().as_raw_fd()))?;
    let field =
        |key: &str| info.split_whitespace().find_map(|word| word.strip_prefix(key).map(str::to_owned));
    Ok(match (field("fhandle-type:"), field("f_handle:")) {
        (Some(kind), Some(handle)) => format!("{kind} {handle}"),
        _ => "no handle".to_owned(),
    })
}

fn handle_type(tree: &Tree, name: &str) -> Saw {
    let handle = handle(tree, name)?;
    Ok(handle.split(' ').next().filter(|kind| kind.len() < 3).unwrap_or("no handle").to_owned())
}

/// What a file of the overlay `tree` reads that is opened by its handle alone.
fn read_by(tree: &Tree, handle: &raw::Handle) -> Saw {
    let mut text = String::new();
    handle.open(&tree.file_at("", OFlags::RDONLY)?)?.read_to_string(&mut text)?;
    Ok(text)
}

fn raw_handle(tree: &Tree, name: &str) -> Result<raw::Handle, Stop> {
    Ok(raw::Handle::of(&tree.path(name))?)
}

pub(super) const FACTS: &[Fact] = &[
    fact("export::turns_the_index_on", |s| {
        s.lower();
        s.mounted("nfs_export=on");
        s.shows(&["index", "nfs_export"])
    })
    .sees("index=on,nfs_export=on"),
    fact("export::conflicts_with_index_off", |s| {
        s.lower();
        s.mount("nfs_export=on,index=off")?;
        s.shows(&["index", "nfs_export"])
    })
    .sees("EINVAL")
    .relied_on(),
    fact("export::gives_handles", |s| {
        s.lower().file("f", "");
        handle_type(&s.mounted("nfs_export=on"), "f")
    })
    .sees("f8"),
    fact("export::handle_outlives_a_copy_up", |s| {
        s.lower().file("f", "");
        let m = s.mounted("nfs_export=on");
        let before = handle(&m, "f")?;
        m.append("f", "x")?;
        same(before, handle(&m, "f")?)
    })
    .sees("same"),
    fact("export::handle_outlives_a_remount", |s| {
        s.lower().file("f", "");
        let m = s.mounted("nfs_export=on");
        let before = handle(&m, "f")?;
        m.append("f", "x")?;
        same(before, handle(&s.again("nfs_export=on")?, "f")?)
    })
    .sees("same"),
    fact("export::without_it_handles_only_identify", |s| {
        s.lower().file("f", "");
        handle_type(&s.mounted("nfs_export=off"), "f")
    })
    .sees("1")
    .since("6.6", "f8"),
    fact("export::copied_directory_has_an_index_entry", |s| {
        s.lower().file("d/f", "");
        s.mounted("nfs_export=on").chmod("d", 0o700)?;
        Ok(s.work().names("index")?.split(' ').count().to_string())
    })
    .sees("1"),
    fact("export::without_upper_needs_redirect_dir_nofollow", |s| {
        let [_top, _base] = s.lowers(["top", "base"]);
        s.mounted_without_upper("nfs_export=on,redirect_dir=nofollow");
        let with = s.shows(&["nfs_export"]);
        s.unmount("m")?;
        s.mounted_without_upper("nfs_export=on,redirect_dir=follow");
        each([with, s.shows(&["nfs_export"])])
    })
    .sees("nfs_export=on, none"),
    fact("export::handle_opens_its_file", |s| {
        s.lower().file("d/f", "lower");
        s.upper().file("g", "upper");
        let m = s.mounted("nfs_export=on");
        each([read_by(&m, &raw_handle(&m, "d/f")?), read_by(&m, &raw_handle(&m, "g")?)])
    })
    .sees("lower, upper"),
    fact("export::handle_opens_a_file_that_was_copied_up", |s| {
        s.lower().file("f", "old");
        let m = s.mounted("nfs_export=on");
        let handle = raw_handle(&m, "f")?;
        m.append("f", " new")?;
        read_by(&m, &handle)
    })
    .sees("old new"),
    fact("export::handle_opens_after_a_remount", |s| {
        // A new mount has nothing in memory of the old one: what it finds, it finds by the index.
        s.lower().file("f", "old").file("g", "as it was");
        let m = s.mounted("nfs_export=on");
        let (copied, untouched) = (raw_handle(&m, "f")?, raw_handle(&m, "g")?);
        m.append("f", " new")?;
        let m = s.again("nfs_export=on")?;
        each([read_by(&m, &copied), read_by(&m, &untouched)])
    })
    .sees("old new, as it was"),
    fact("export::handle_opens_a_file_that_was_renamed", |s| {
        s.lower().file("f", "text");
        let m = s.mounted("nfs_export=on");
        let handle = raw_handle(&m, "f")?;
        m.rename("f", "g")?;
        read_by(&s.again("nfs_export=on")?, &handle)
    })
    .sees("text"),
    fact("export::handle_of_a_removed_file_is_stale", |s| {
        s.lower().file("f", "text");
        let m = s.mounted("nfs_export=on");
        let handle = raw_handle(&m, "f")?;
        m.unlink("f")?;
        each([read_by(&m, &handle), read_by(&s.again("nfs_export=on")?, &handle)])
    })
    .sees("ESTALE, ESTALE"),
    fact("export::without_it_no_handle_can_be_had", |s| {
        s.lower().file("f", "text");
        raw_handle(&s.mounted("nfs_export=off"), "f").map(drop).map(|()| "ok".to_owned())
    })
    .sees("EOPNOTSUPP"),
];
