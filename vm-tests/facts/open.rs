//! What open files see of a copy-up, and locks, watches and programs.

use std::io::{Read, Seek};
use std::os::fd::AsRawFd;
use std::process::{Command, Stdio};

use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use rustix::fs::{FlockOperation, OFlags, flock, fstat};

use crate::fact::{Done, Fact, Saw, each, fact, same};

fn read(file: &mut std::fs::File) -> Saw {
    let mut text = String::new();
    file.rewind()?;
    file.read_to_string(&mut text)?;
    Ok(if text.is_empty() { "empty".to_owned() } else { text })
}

pub(super) const FACTS: &[Fact] = &[
    fact("open::for_reading_sees_what_is_written_after", |s| {
        s.lower().file("f", "old");
        let m = s.mounted("");
        let mut before = m.file_at("f", OFlags::RDONLY)?;
        m.append("f", " and new")?;
        read(&mut before)
    })
    .sees("old and new"),
    fact("open::for_reading_is_the_same_inode_after", |s| {
        s.lower().file("f", "old");
        let m = s.mounted("");
        let before = m.file_at("f", OFlags::RDONLY)?;
        m.append("f", "x")?;
        same(fstat(&before)?.st_ino, m.inode("f")?)
    })
    .sees("same"),
    fact("open::file_of_lower_outlives_its_unlink", |s| {
        s.lower().file("f", "text");
        let m = s.mounted("");
        let mut file = m.file_at("f", OFlags::RDONLY)?;
        m.unlink("f")?;
        each([read(&mut file), Ok(fstat(&file)?.st_nlink.to_string())])
    })
    .sees("text, 1"),
    fact("open::file_of_upper_outlives_its_unlink", |s| {
        s.lower();
        let m = s.mounted("");
        m.file("f", "text");
        let mut file = m.file_at("f", OFlags::RDWR)?;
        m.unlink("f")?;
        read(&mut file)
    })
    .sees("text"),
    fact("open::keeps_the_mount_busy", |s| {
        s.lower().file("f", "");
        let m = s.mounted("");
        let held = m.file_at("f", OFlags::RDONLY)?;
        let busy = s.unmount("m");
        drop(held);
        each([busy, s.unmount("m")])
    })
    .sees("EBUSY, ok")
    .relied_on(),
    fact("open::lock_holds_over_a_copy_up", |s| {
        s.lower().file("f", "");
        let m = s.mounted("");
        let one = m.file_at("f", OFlags::RDONLY)?;
        flock(&one, FlockOperation::NonBlockingLockExclusive)?;
        m.append("f", "x")?;
        flock(m.file_at("f", OFlags::RDONLY)?, FlockOperation::NonBlockingLockExclusive).done()
    })
    .sees("EAGAIN"),
    fact("open::lock_is_apart_from_that_of_the_lower_file", |s| {
        let lower = s.lower();
        lower.file("f", "");
        let m = s.mounted("");
        let one = m.file_at("f", OFlags::RDONLY)?;
        flock(&one, FlockOperation::NonBlockingLockExclusive)?;
        flock(lower.file_at("f", OFlags::RDONLY)?, FlockOperation::NonBlockingLockExclusive).done()
    })
    .sees("ok"),
    fact("open::watch_set_before_a_copy_up_sees_the_write", |s| {
        s.lower().file("f", "");
        let m = s.mounted("");
        let inotify = Inotify::init(InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC)?;
        inotify.add_watch(&m.path("f"), AddWatchFlags::IN_MODIFY)?;
        m.append("f", "x")?;
        Ok(format!("{} event", inotify.read_events()?.len()))
    })
    .sees("1 event"),
    fact("open::watch_of_a_directory_sees_a_removal_below", |s| {
        s.lower().file("d/f", "");
        let m = s.mounted("");
        let inotify = Inotify::init(InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC)?;
        inotify.add_watch(&m.path("d"), AddWatchFlags::IN_DELETE)?;
        m.unlink("d/f")?;
        let names: Vec<_> = inotify.read_events()?.into_iter().filter_map(|event| event.name).collect();
        Ok(names.iter().map(|name| name.to_string_lossy()).collect())
    })
    .sees("f"),
    fact("open::watch_of_the_lower_file_sees_no_write_to_the_overlay", |s| {
        let lower = s.lower();
        lower.file("f", "");
        let m = s.mounted("");
        let inotify = Inotify::init(InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC)?;
        inotify.add_watch(&lower.path("f"), AddWatchFlags::IN_MODIFY)?;
        m.append("f", "x")?;
        inotify.read_events().done()
    })
    .sees("EAGAIN"),
    fact("open::program_of_lower_runs_and_cannot_be_written", |s| {
        s.lower();
        std::fs::copy("/proc/self/exe", "lower/program")?;
        let m = s.mounted("");
        // A program that waits for its input to end.
        let mut command = Command::new(m.path("program"));
        command.args(crate::errand::arguments("wait", &[])).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut running = command.spawn()?;
        let mut said = [0; 5];
        running.stdout.take().expect("it is a pipe").read_exact(&mut said)?;
        let saw = m.file_at("program", OFlags::WRONLY).done();
        drop(running.stdin.take());
        running.wait()?;
        saw
    })
    .sees("ok")
    .since("6.1", "ETXTBSY"),
    fact("open::path_of_an_open_file_is_that_in_the_overlay", |s| {
        s.lower().file("f", "");
        let file = s.mounted("").file_at("f", OFlags::RDONLY)?;
        let path = std::fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd()))?;
        Ok(path.strip_prefix(s.dir()).unwrap_or(&path).display().to_string())
    })
    .sees("m/f"),
];
