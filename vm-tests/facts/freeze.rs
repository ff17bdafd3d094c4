//! Frozen filesystems: FIFREEZE, FITHAW.

use std::fs;
use std::path::Path;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use rustix::fs::OFlags;

use crate::fact::{Done, Fact, Saw, Stop, each, fact, told};
use crate::raw;
use crate::scene::Scene;

/// Where nobody else writes to the filesystem under test: in a machine of the lab's own, whose init it is.
fn needs_a_machine() -> Result<(), Stop> {
    let init = fs::read_link("/proc/1/exe").unwrap_or_default();
    let own = init == Path::new("/init") && fs::read_link("/proc/self/exe")? == init;
    if own { Ok(()) } else { Err(Stop::Skip("others use this filesystem".to_owned())) }
}

/// Does `body` with upper's filesystem frozen; what it leaves waiting goes on afterwards.
fn while_frozen(s: &Scene, body: impl FnOnce() -> Saw) -> Saw {
    needs_a_machine()?;
    let upper = s.upper().file_at("", OFlags::RDONLY)?;
    raw::freeze(&upper)?;
    let saw = body();
    raw::thaw(&upper)?;
    saw
}

/// Writes with upper's filesystem frozen: whether that waits, and what comes of it afterwards.
fn writes(s: &Scene, write: impl FnOnce() -> Saw + Send) -> Saw {
    let (send, receive) = mpsc::channel();
    thread::scope(|scope| {
        let mut writer = None;
        let waits = while_frozen(s, || {
            let writer = writer.insert(scope.spawn(move || {
                let _ = send.send(rustix::thread::gettid());
                write()
            }));
            let task = receive.recv().expect("it says so first").as_raw_nonzero();
            while !writer.is_finished() {
                let stat = fs::read_to_string(format!("/proc/self/task/{task}/stat"))?;
                if stat.contains(") D ") {
                    return Ok("waits".to_owned());
                }
                thread::sleep(Duration::from_millis(1));
            }
            Ok("does not wait".to_owned())
        })?;
        let writer = writer.expect("it was started");
        Ok(format!("{waits}, {}", told(writer.join().expect("nothing there panics"))))
    })
}

pub(super) const FACTS: &[Fact] = &[
    fact("freeze::overlay_itself", |s| {
        s.lower();
        let root = s.mounted("").file_at("", OFlags::RDONLY)?;
        each([raw::freeze(&root).done(), raw::thaw(&root).done()])
    })
    .sees("EOPNOTSUPP, EINVAL"),
    fact("freeze::of_upper_lets_readers_go_on", |s| {
        s.lower().file("f", "lower");
        s.upper().file("g", "upper");
        let m = s.mounted("");
        while_frozen(s, || each([m.read("f"), m.read("g"), m.names("")]))
    })
    .sees("lower, upper, f g")
    .on("tmpfs", "EOPNOTSUPP"),
    fact("freeze::of_upper_stops_copying_up", |s| {
        s.lower().file("f", "old");
        let m = s.mounted("");
        writes(s, || each([m.append("f", " new"), m.read("f")]))
    })
    .sees("waits, ok, old new")
    .on("tmpfs", "EOPNOTSUPP"),
    fact("freeze::of_upper_stops_writing_to_an_open_file", |s| {
        use std::io::Write;
        s.lower();
        let m = s.mounted("");
        m.create("f")?;
        let mut file = m.file_at("f", OFlags::WRONLY)?;
        writes(s, || each([file.write_all(b"new").done(), m.read("f")]))
    })
    .sees("waits, ok, new")
    .on("tmpfs", "EOPNOTSUPP"),
];
