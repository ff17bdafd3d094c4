//! Layers on idmapped mounts, and idmapped mounts of an overlay: mount_setattr(2).

use std::fs::{self, File};
use std::io::Read;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::process::{Command, Stdio};

use ovlctl::sys::mount::Attributes;
use ovlctl::sys::script::How;
use rustix::fs::CWD;
use rustix::mount::{MoveMountFlags, OpenTreeFlags, move_mount, open_tree};

use crate::errand;
use crate::fact::{Fact, Stop, each, fact};
use crate::raw;
use crate::scene::{Context, Scene, Tree};

/// The first id on disk, and as what it is shown; 65535 follow.
type Map = (u32, u32);

const UP: Map = (0, 100_000);
const DOWN: Map = (100_000, 0);

/// A user namespace that maps like this; it lives as long as it is open.
fn namespace((disk, shown): Map) -> Result<File, Stop> {
    let mut command = Command::new("/proc/self/exe");
    command.args(errand::arguments("wait-in-user-namespace", &[]));
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    let mut ready = [0; 5];
    let said = child.stdout.take().expect("it is a pipe").read_exact(&mut ready);
    let proc = format!("/proc/{}", child.id());
    let map = format!("{disk} {shown} 65536");
    let opened = said
        .and_then(|()| fs::write(format!("{proc}/uid_map"), &map))
        .and_then(|()| fs::write(format!("{proc}/gid_map"), &map))
        .and_then(|()| File::open(format!("{proc}/ns/user")));
    child.wait()?;
    opened.map_err(|e| Stop::Skip(format!("no user namespace: {e}")))
}

/// A second mount of `from`, idmapped, and attached nowhere.
fn detached(from: &str, map: Map) -> Result<OwnedFd, Stop> {
    let tree = open_tree(CWD, from, OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC)?;
    raw::map_ids(tree.as_fd(), namespace(map)?.as_fd())?;
    Ok(tree)
}

/// The same for what is to be a layer, where the filesystem can be idmapped.
fn detached_layer(from: &str, map: Map) -> Result<OwnedFd, Stop> {
    detached(from, map).map_err(|_| Stop::Skip("no idmapped mounts of this filesystem".to_owned()))
}

fn attach(s: &Scene, tree: &OwnedFd) -> Result<Tree, Stop> {
    let mapped = s.dir_named("mapped");
    move_mount(tree, "", CWD, "mapped", MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)?;
    Ok(mapped)
}

/// A lower directory with a file `f` of user and group 1000.
fn owned(s: &Scene) {
    s.lower().file("f", "text").owner("f", 1000, 1000);
}

/// An upper and work directory of root's, as `map` has it on disk, below a mount that maps so.
fn upper(s: &Scene, map: Map) -> Result<Tree, Stop> {
    let base = s.dir_named("base");
    for name in ["", "upper", "work"] {
        base.dir(name).owner(name, map.0, map.0);
    }
    attach(s, &detached_layer("base", map)?)?;
    Ok(base)
}

pub(super) const FACTS: &[Fact] = &[
    fact("idmap::lower_shows_mapped_owners", |s| {
        owned(s);
        attach(s, &detached_layer("lower", UP)?)?;
        s.overlay("").lowers(&["mapped"]).mount()?.access("f")
    })
    .sees("EINVAL")
    .since("5.19", "644 101000:101000"),
    fact("idmap::lower_is_copied_up_as_it_is_shown", |s| {
        owned(s);
        attach(s, &detached_layer("lower", UP)?)?;
        let m = s.overlay("").lowers(&["mapped"]).mount()?;
        m.append("f", " more")?;
        each([m.access("f"), s.upper().access("f")])
    })
    .sees("EINVAL")
    .since("5.19", "644 101000:101000, 644 101000:101000"),
    fact("idmap::upper_stores_owners_mapped_back", |s| {
        owned(s);
        let base = upper(s, DOWN)?;
        let m = s.overlay("").upper_as("mapped/upper", "mapped/work").mount()?;
        m.append("f", " more")?;
        m.create("new")?;
        each([m.access("f"), base.access("upper/f"), m.access("new"), base.access("upper/new")])
    })
    .sees("EINVAL")
    .since("5.19", "644 1000:1000, 644 101000:101000, 644 0:0, 644 100000:100000"),
    fact("idmap::upper_without_an_id_for_the_mounter_is_read_only", |s| {
        owned(s);
        upper(s, UP)?;
        let m = s.overlay("").upper_as("mapped/upper", "mapped/work").mount()?;
        each([m.read("f"), m.append("f", " more")])
    })
    .sees("EINVAL")
    .since("5.19", "text, EROFS"),
    fact("idmap::chown_to_an_id_that_upper_does_not_map", |s| {
        owned(s);
        upper(s, DOWN)?;
        let m = s.overlay("").upper_as("mapped/upper", "mapped/work").mount()?;
        each([m.chown("f", 70_000, 0), m.access("f")])
    })
    .sees("EINVAL")
    .since("5.19", "EOVERFLOW, 644 1000:1000"),
    fact("idmap::detached_tree_is_taken_as_a_handle", |s| {
        s.needs_handles()?;
        owned(s);
        let tree = detached_layer("lower", UP)?;
        let mut context = Context::with("overlay", "upperdir=upper,workdir=work")?;
        let path = format!("/proc/thread-self/fd/{}", tree.as_raw_fd());
        context.handle("lowerdir+", &path, How::Read)?;
        context.mount("m", Attributes::empty())?;
        s.dir_named("m").access("f")
    })
    .sees("EINVAL")
    .since("6.15", "644 101000:101000"),
    fact("idmap::overlay_itself", |s| {
        owned(s);
        s.mounted("");
        let tree = detached("m", UP)?;
        attach(s, &tree)?.access("f")
    })
    .sees("ENOSYS")
    .since("5.12", "EINVAL")
    .since("7.3", "644 101000:101000"),
    fact("idmap::overlay_of_an_idmapped_lower_is_no_idmapped_mount", |s| {
        owned(s);
        attach(s, &detached_layer("lower", UP)?)?;
        let m = s.overlay("").lowers(&["mapped"]).mount()?;
        each([m.chown("f", 1000, 1000), s.upper().access("f"), s.unmount("mapped")])
    })
    .sees("EINVAL")
    .since("5.19", "ok, 644 1000:1000, ok"),
];
