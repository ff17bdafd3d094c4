//! Mistakes that the kernel takes without an error, so that ovlctl must refuse them itself.

use ovlctl::sys::kmsg;
use rustix::fs::{FlockOperation, OFlags, flock};

use crate::fact::{Done, Fact, each, fact, skip};

pub(super) const FACTS: &[Fact] = &[
    fact("silent::upper_in_use_is_taken", |s| {
        s.lower();
        s.mounted("index=off");
        s.overlay("index=off").upper("upper", "work2").at("m2").mount().done()
    })
    .sees("ok"),
    fact("silent::upper_and_work_in_use_are_taken", |s| {
        s.lower();
        s.mounted("index=off");
        s.overlay("index=off").at("m2").mount().done()
    })
    .sees("ok"),
    fact("silent::upper_in_use_is_warned_of_in_the_log", |s| {
        s.lower();
        s.mounted("index=off");
        let log = kmsg::Mark::now();
        s.overlay("index=off").upper("upper", "work2").at("m2").mounted();
        let said = log.since();
        if std::fs::File::open("/dev/kmsg").is_err() {
            return skip("the kernel's log cannot be read");
        }
        let warned = said.iter().any(|said| said.contains("is in-use as upperdir/workdir of another mount"));
        Ok(if warned { "warned" } else { "not a word" }.to_owned())
    })
    .sees("warned")
    .relied_on(),
    fact("silent::upper_that_is_a_lower_of_another_is_taken", |s| {
        s.lower();
        s.mounted("index=off");
        s.overlay("index=off").lowers(&["upper"]).upper("u2", "w2").at("m2").mount().done()
    })
    .sees("ok"),
    fact("silent::upper_inside_a_lower_is_taken", |s| {
        s.dir_named("a/upper");
        s.overlay("").lowers(&["a"]).upper("a/upper", "work").mount()?.names("")
    })
    .sees("upper"),
    fact("silent::work_inside_a_lower_is_taken", |s| {
        s.dir_named("a/work");
        s.overlay("").lowers(&["a"]).upper("upper", "a/work").mount()?.names("")
    })
    .sees("work"),
    fact("silent::upper_in_use_is_not_locked_by_overlayfs", |s| {
        s.lower();
        s.mounted("");
        flock(s.upper().file_at("", OFlags::RDONLY)?, FlockOperation::NonBlockingLockExclusive).done()
    })
    .sees("ok")
    .relied_on(),
    fact("silent::work_that_cannot_be_cleaned_makes_it_read_only", |s| {
        s.lower();
        s.work().file("work/a/b/c", "");
        s.mount("")?.create("f")
    })
    .sees("EROFS")
    .relied_on(),
    fact("silent::shallow_leftovers_in_work_are_cleaned", |s| {
        s.lower();
        s.work().file("work/#12", "").file("work/#13/f", "");
        let m = s.mount("")?;
        each([m.create("f"), s.work().names("work")])
    })
    .sees("ok, nothing")
    .relied_on(),
    fact("silent::file_in_place_of_the_work_folder_is_replaced", |s| {
        s.lower();
        s.work().file("work", "");
        each([s.mount("")?.create("f"), s.work().kind("work")])
    })
    .sees("ok, directory"),
    fact("silent::unescaped_colon_takes_another_directory", |s| {
        s.dir_named("a:b").file("right", "");
        s.dir_named("a").file("wrong", "");
        s.dir_named("b");
        s.overlay("").lowers(&["a:b"]).mount()?.names("")
    })
    .sees("wrong"),
    fact("silent::unescaped_comma_takes_another_directory", |s| {
        s.dir_named("a,volatile").file("right", "");
        s.dir_named("a").file("wrong", "");
        s.overlay("").lowers(&["a,volatile"]).mount()?.names("")
    })
    .sees("wrong"),
    fact("silent::a_mount_on_a_mount_hides_it", |s| {
        s.lower().file("f", "");
        s.mounted("");
        s.overlay("").upper("u2", "w2").mount().done()
    })
    .sees("ok"),
];
