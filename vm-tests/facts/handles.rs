//! Layers that are handed over as open directories, or one by one: fsconfig(2).

use ovlctl::sys::mount::Attributes;
use ovlctl::sys::script::{Call, How, Slot, Slots, Text, Value};

use crate::fact::{Done, Fact, Saw, Stop, each, fact};
use crate::scene::{By, Context, Scene};

/// Makes a filesystem in memory that is mounted nowhere, with two directories in it; takes them as upper and work.
fn upper_in_a_detached_tmpfs(s: &Scene) -> Saw {
    s.lower().file("f", "lower");
    let [context, tree, layer, target] = [0, 1, 2, 3].map(Slot);
    let inside = |name: &str| Text::from("/proc/thread-self/fd/").and_number(tree).and(name);
    let set = |key: &str, value| Call::Configure { context, key: key.to_owned(), value };
    let attributes = Attributes::empty();
    let mut calls = vec![
        Call::FsOpen { filesystem: "tmpfs", into: context },
        Call::Create { context },
        Call::FsMount { context, attributes, into: tree },
        Call::MakeDir { path: inside("/u"), mode: 0o755 },
        Call::MakeDir { path: inside("/w"), mode: 0o755 },
        Call::FsOpen { filesystem: "overlay", into: context },
        set("lowerdir+", Value::String("lower".into())),
    ];
    for (key, name) in [("upperdir", "/u"), ("workdir", "/w")] {
        calls.push(Call::Open { path: inside(name), how: How::Read, into: layer });
        calls.push(set(key, Value::Fd(layer)));
    }
    calls.extend([
        Call::Create { context },
        Call::FsMount { context, attributes, into: tree },
        Call::Open { path: "m".into(), how: How::Path, into: target },
        Call::MoveMount { tree, onto: target },
    ]);
    let mut slots = Slots::new();
    calls.iter().try_for_each(|call| call.make(&mut slots))?;
    let m = s.dir_named("m");
    m.append("f", " and memory")?;
    m.read("f")
}

/// What the context's log says of an option that is refused.
fn log_of(key: &str, value: &str) -> Saw {
    let refused = Context::open("overlay")?.set(key, value).map_err(|e| e.said);
    Ok(refused.map_or_else(
        |said| if said.is_empty() { "nothing".to_owned() } else { said },
        |()| "taken".to_owned(),
    ))
}

pub(super) const FACTS: &[Fact] = &[
    fact("handles::unknown_option_is_refused_at_once", |_| Context::open("overlay")?.flag("made-up").done())
        .sees("ok")
        .since("6.5", "EINVAL")
        .relied_on(),
    fact("handles::unknown_option_is_named_in_the_log", |_| log_of("made-up", "x"))
        .sees("taken")
        .since("6.5", "Unknown parameter 'made-up'")
        .relied_on(),
    fact("handles::unknown_value_is_named_in_the_log", |_| log_of("xino", "perhaps"))
        .sees("taken")
        .since("6.5", "Bad value for 'xino'")
        .relied_on(),
    fact("handles::lower_that_is_a_file_is_named_in_the_log", |s| {
        s.dir_named("x").file("file", "");
        log_of("lowerdir+", "x/file")
    })
    .sees("taken")
    .since("6.7", "x/file is not a directory"),
    fact("handles::lower_that_is_missing_leaves_no_log", |_| log_of("lowerdir+", "none"))
        .sees("taken")
        .since("6.7", "nothing"),
    fact("handles::layers_one_by_one_after_lowerdir_are_refused", |s| {
        s.lowers(["a", "b"]);
        s.overlay("lowerdir=a,lowerdir+=b").lowers(&[]).mount().done()
    })
    .sees("EINVAL"),
    fact("handles::of_upper_and_work", |s| {
        s.needs_strings()?;
        s.lower();
        let mut context = Context::open("overlay")?;
        context.set("lowerdir+", "lower")?;
        context.handle("upperdir", "upper", How::Read)?;
        context.handle("workdir", "work", How::Read)?;
        context.mount("m", Attributes::empty())?;
        s.dir_named("m").create("f")
    })
    .sees("EINVAL")
    .since("6.13", "ok")
    .relied_on(),
    fact("handles::of_lowerdir_are_refused", |s| {
        s.lower();
        Context::open("overlay")?.handle("lowerdir", "lower", How::Read).done()
    })
    .sees("EOPNOTSUPP")
    .since("6.5", "EINVAL"),
    fact("handles::may_be_closed_before_the_mount_is_made", |s| {
        s.needs_handles()?;
        s.lower().file("f", "text");
        s.overlay("").by(By::Handles(How::Read)).mount()?.read("f")
    })
    .sees("text")
    .relied_on(),
    fact("handles::of_a_directory_in_a_detached_tmpfs", upper_in_a_detached_tmpfs)
        .sees("EOPNOTSUPP")
        .since("6.5", "EINVAL")
        .since("6.15", "lower and memory"),
    fact("handles::context_that_is_open_keeps_the_mount_busy", |s| {
        s.lower();
        let mut context = Context::with("overlay", "lowerdir=lower,upperdir=upper,workdir=work")?;
        context.mount("m", Attributes::empty())?;
        let busy = s.unmount("m");
        drop(context);
        each([busy, s.unmount("m")])
    })
    .sees("EBUSY, ok")
    .relied_on(),
    fact("handles::mount_that_is_nowhere_yet_is_not_in_mountinfo", |s| {
        s.lower();
        let mut slots = Slots::new();
        let [context, tree] = [0, 1].map(Slot);
        let set = |key: &str, value: &str| Call::Configure {
            context,
            key: key.to_owned(),
            value: Value::String(value.into()),
        };
        for call in [
            Call::FsOpen { filesystem: "overlay", into: context },
            set("lowerdir", "lower"),
            set("upperdir", "upper"),
            set("workdir", "work"),
            Call::Create { context },
            Call::FsMount { context, attributes: Attributes::empty(), into: tree },
        ] {
            call.make(&mut slots)?;
        }
        let id = ovlctl::sys::mount::mount_id(slots.get(tree)?)?;
        let known = ovlctl::mount::table::mounts().map_err(Stop::from)?.iter().any(|mount| mount.id == id);
        Ok(if known { "is there" } else { "is not there" }.to_owned())
    })
    .sees("is not there")
    .relied_on(),
];
