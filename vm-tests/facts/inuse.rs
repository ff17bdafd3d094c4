//! How to ask whether a directory is the upper or work directory of a live overlay: an overlay that is mounted nowhere,
//! has the two as lower directories, and an index, must share them with no other.

use ovlctl::sys::mount::unmount;
use rustix::fs::OFlags;

use crate::fact::{Done, Fact, Saw, each, fact, same};
use crate::scene::Context;

const ASKING: &str = "redirect_dir=nofollow,nfs_export=on";

/// Asks about the scene's upper and work directory.
fn ask(options: &str) -> Saw {
    let mut context = Context::with("overlay", options)?;
    context.set("lowerdir", "upper:work")?;
    context.create().done()
}

pub(super) const FACTS: &[Fact] = &[
    fact("inuse::nobody_has_it", |s| {
        s.lower();
        let before = ask(ASKING);
        s.mounted("index=off");
        s.unmount("m")?;
        each([before, ask(ASKING)])
    })
    .sees("ok, ok")
    .relied_on(),
    fact("inuse::an_overlay_has_it", |s| {
        s.lower();
        s.mounted("index=off");
        ask(ASKING)
    })
    .sees("EBUSY")
    .relied_on(),
    fact("inuse::an_overlay_has_only_the_work_directory", |s| {
        s.lower();
        s.overlay("index=off").upper("other", "work").mounted();
        ask(ASKING)
    })
    .sees("EBUSY")
    .relied_on(),
    fact("inuse::an_overlay_that_was_unmounted_lazily_has_it", |s| {
        s.lower().file("f", "");
        let held = s.mounted("index=off").file_at("f", OFlags::RDONLY)?;
        unmount("m".as_ref(), true)?;
        let busy = ask(ASKING);
        drop(held);
        each([busy, ask(ASKING)])
    })
    .sees("EBUSY, ok")
    .relied_on(),
    fact("inuse::an_overlay_of_it_as_lower_does_not_have_it", |s| {
        let [_top, _base] = s.lowers(["top", "base"]);
        s.overlay("").lowers(&["upper", "work"]).read_only().mounted();
        ask(ASKING)
    })
    .sees("ok")
    .relied_on(),
    fact("inuse::asking_without_an_index_tells_nothing", |s| {
        s.lower();
        s.mounted("index=off");
        ask("redirect_dir=nofollow")
    })
    .sees("ok"),
    fact("inuse::asking_leaves_no_trace", |s| {
        s.lower();
        let look = || each([s.upper().names(""), s.upper().xattrs("", "trusted."), s.work().names("")]);
        let before = look()?;
        ask(ASKING)?;
        same(before, look()?)
    })
    .sees("same")
    .relied_on(),
    fact("inuse::asking_takes_nothing", |s| {
        s.lower();
        let mut context = Context::with("overlay", ASKING)?;
        context.set("lowerdir", "upper:work")?;
        context.create()?;
        s.mount("index=on").done()
    })
    .sees("ok")
    .relied_on(),
];
