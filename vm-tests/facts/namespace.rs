//! Overlays that are made in one mount namespace and attached in another.

use std::thread;

use ovlctl::sys::mount::Attributes;
use ovlctl::sys::script::{Call, How, Slot, Slots, Text, Value};
use rustix::mount::{MountFlags, MountPropagationFlags, mount_change};

use crate::fact::{Fact, Saw, Stop, each, fact};
use crate::scene::Scene;

const HOME: Slot = Slot(0);
const PLACE: Slot = Slot(1);
const TREE: Slot = Slot(2);
const CONTEXT: Slot = Slot(3);

/// Makes `calls` in a namespace of their own that ends with them, and attaches what they leave in TREE at `m`.
fn made_elsewhere(calls: &[Call]) -> Saw {
    let around = |calls: &[Call]| {
        let mut all = vec![
            Call::Open { path: "/proc/thread-self/ns/mnt".into(), how: How::File, into: HOME },
            Call::Open { path: "m".into(), how: How::Path, into: PLACE },
            Call::Unshare,
            Call::MakePrivate { path: "/proc".into() },
        ];
        all.extend_from_slice(calls);
        all.extend([Call::SetNs { fd: HOME }, Call::MoveMount { tree: TREE, onto: PLACE }]);
        all
    };
    // The scene's folder, in which relative names begin, would be lost to this thread by setns(2).
    let run = || -> Saw {
        let mut slots = Slots::new();
        around(calls).iter().try_for_each(|call| call.make(&mut slots))?;
        Ok("ok".to_owned())
    };
    thread::scope(|scope| scope.spawn(run).join().expect("nothing there panics"))
}

/// mount(2) at `at`, and a copy of that mount.
fn mounted_and_copied(s: &Scene) -> Vec<Call> {
    let here = s.dir().display().to_string();
    let inside = |name: &str| format!("{here}/{name}");
    let data = format!("upperdir={here}/upper,workdir={here}/work,lowerdir={here}/lower");
    let target: Text = inside("elsewhere").into();
    vec![
        Call::Mount { source: "overlay".into(), target, attributes: Attributes::empty(), data: data.into() },
        Call::Open { path: here.as_str().into(), how: How::Path, into: CONTEXT },
        Call::CloneTree { at: CONTEXT, path: "elsewhere", into: TREE },
    ]
}

/// A filesystem in memory that only the new namespace has, and an overlay that writes to it.
fn upper_in_memory(s: &Scene) -> Vec<Call> {
    let here = s.dir().display().to_string();
    let inside = |name: &str| Text::from(format!("{here}/{name}"));
    let set = |key: &str, value: Text| Call::Configure {
        context: CONTEXT,
        key: key.to_owned(),
        value: Value::String(value),
    };
    let attributes = Attributes::empty();
    let memory = Slot(4);
    vec![
        Call::FsOpen { filesystem: "tmpfs", into: CONTEXT },
        Call::Create { context: CONTEXT },
        Call::FsMount { context: CONTEXT, attributes, into: TREE },
        Call::Open { path: inside("elsewhere"), how: How::Path, into: memory },
        Call::MoveMount { tree: TREE, onto: memory },
        Call::MakeDir { path: inside("elsewhere/u"), mode: 0o755 },
        Call::MakeDir { path: inside("elsewhere/w"), mode: 0o755 },
        Call::FsOpen { filesystem: "overlay", into: CONTEXT },
        set("lowerdir", inside("lower")),
        set("upperdir", inside("elsewhere/u")),
        set("workdir", inside("elsewhere/w")),
        Call::Create { context: CONTEXT },
        Call::FsMount { context: CONTEXT, attributes, into: TREE },
    ]
}

/// A mount that shares what is mounted below it with its peer.
fn shared(s: &Scene) -> Result<(), Stop> {
    s.tmpfs("shared", &[]).dir("m");
    mount_change("shared", MountPropagationFlags::SHARED)?;
    s.bind("shared", "peer", MountFlags::empty());
    Ok(())
}

pub(super) const FACTS: &[Fact] = &[
    fact("namespace::copy_of_a_mount_is_attached_in_another", |s| {
        s.lower().file("f", "old");
        s.dir_named("elsewhere");
        made_elsewhere(&mounted_and_copied(s))?;
        let m = s.dir_named("m");
        each([m.append("f", " new"), m.read("f"), s.dir_named("elsewhere").names("")])
    })
    .sees("ok, old new, nothing")
    .relied_on(),
    fact("namespace::upper_that_only_another_namespace_had_stays", |s| {
        s.lower().file("f", "old");
        s.dir_named("elsewhere");
        made_elsewhere(&upper_in_memory(s))?;
        let m = s.dir_named("m");
        each([m.append("f", " new"), m.read("f"), s.dir_named("elsewhere").names("")])
    })
    .sees("ok, old new, nothing")
    .relied_on(),
    fact("namespace::mount_below_a_shared_one_is_seen_below_its_peer", |s| {
        s.lower().file("f", "");
        shared(s)?;
        s.overlay("").at("shared/m").mounted();
        s.dir_named("peer/m").names("")
    })
    .sees("f"),
    fact("namespace::unmount_below_a_shared_one_is_one_below_its_peer", |s| {
        s.lower().file("f", "");
        shared(s)?;
        s.overlay("").at("shared/m").mounted();
        s.unmount("peer/m")?;
        s.dir_named("shared/m").names("")
    })
    .sees("nothing"),
];
