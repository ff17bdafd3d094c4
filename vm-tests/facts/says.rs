//! What the kernel's log says of mounts that it refuses: where fsconfig(2) tells nothing, ovlctl explains by this.

use ovlctl::sys::kmsg;

use crate::fact::{Fact, Saw, fact, skip};
use crate::scene::Scene;

/// Does something that overlayfs refuses, and looks for `sentence` in what it wrote.
fn says(sentence: &str, refused: impl FnOnce() -> bool) -> Saw {
    if std::fs::File::open("/dev/kmsg").is_err() {
        return skip("the kernel's log cannot be read");
    }
    let log = kmsg::Mark::now();
    if refused() {
        return Ok("it is mounted".to_owned());
    }
    let said = log.since().iter().any(|said| said.contains(sentence));
    Ok(if said { "said" } else { "not said" }.to_owned())
}

fn mounts(s: &Scene, options: &str) -> bool {
    s.mount(options).is_ok()
}

pub(super) const FACTS: &[Fact] = &[
    fact("says::a_third_level", |s| {
        s.lower();
        s.mounted("");
        s.overlay("").lowers(&["m"]).upper("u2", "w2").at("m2").mounted();
        says("maximum fs stacking depth exceeded", || {
            s.overlay("").lowers(&["m2"]).upper("u3", "w3").at("m3").mount().is_ok()
        })
    })
    .sees("said")
    .relied_on(),
    fact("says::other_lowers", |s| {
        s.lower();
        s.mounted("index=on");
        s.unmount("m")?;
        s.dir_named("other");
        let other = s.overlay("index=on").lowers(&["other"]);
        says("failed to verify upper root origin", || other.mount().is_ok())
    })
    .sees("said")
    .relied_on(),
    fact("says::work_of_another_upper", |s| {
        s.lower();
        s.mounted("index=on");
        s.unmount("m")?;
        let other = s.overlay("index=on").upper("upper2", "work");
        says("failed to verify index dir", || other.mount().is_ok())
    })
    .sees("said")
    .relied_on(),
    fact("says::upper_in_use", |s| {
        s.lower();
        s.mounted("index=on");
        let second = s.overlay("index=on").upper("upper", "work2").at("m2");
        says("is in-use as upperdir/workdir of another mount, mount with", || second.mount().is_ok())
    })
    .sees("said")
    .relied_on(),
    fact("says::marker_of_a_feature", |s| {
        s.lower();
        s.mounted("volatile");
        s.unmount("m")?;
        says("with incompat feature", || mounts(s, ""))
    })
    .sees("said")
    .relied_on(),
    fact("says::a_lower_inside_another", |s| {
        s.dir_named("a/b");
        says("overlapping lowerdir path", || s.overlay("").lowers(&["a", "a/b"]).mount().is_ok())
    })
    .sees("said")
    .relied_on(),
    fact("says::a_lower_twice", |s| {
        s.dir_named("a");
        says("conflicting lowerdir path", || s.overlay("").lowers(&["a", "a"]).mount().is_ok())
    })
    .sees("said")
    .relied_on(),
    fact("says::work_on_another_filesystem", |s| {
        s.lower();
        s.tmpfs("other", &[]);
        let overlay = s.overlay("").upper("upper", "other/work");
        says("must reside under the same mount", || overlay.mount().is_ok())
    })
    .sees("said")
    .relied_on(),
    fact("says::work_inside_upper", |s| {
        s.lower();
        let overlay = s.overlay("").upper("upper", "upper/work");
        says("must be separate subtrees", || overlay.mount().is_ok())
    })
    .sees("said"),
    fact("says::options_in_conflict", |s| {
        s.lower();
        says("conflicting options: ", || mounts(s, "metacopy=on,redirect_dir=nofollow"))
    })
    .sees("said")
    .relied_on(),
    fact("says::no_work", |s| {
        s.lower();
        says("missing 'workdir'", || s.overlay("upperdir=upper").read_only().mount().is_ok())
    })
    .sees("said"),
    fact("says::too_many_lowers", |s| {
        s.many_lowers(501);
        says("too many lower directories, limit is 500", || mounts(s, ""))
    })
    .sees("said"),
    fact("says::a_lower_that_is_missing", |s| {
        says("failed to resolve 'none': -2", || s.overlay("").lowers(&["none"]).mount().is_ok())
    })
    .sees("said"),
    fact("says::one_lower_without_upper", |s| {
        s.lower();
        says("at least 2 lowerdir are needed", || s.overlay("").read_only().mount().is_ok())
    })
    .sees("said"),
];
