//! The index (`index=on`): hard links that stay together, and directories that are watched over.

use ovlctl::sys::mount::unmount;
use rustix::fs::OFlags;

use crate::fact::{Done, Fact, each, fact};

pub(super) const FACTS: &[Fact] = &[
    fact("index::keeps_hard_links", |s| {
        s.lower().file("a", "old").hard_link("a", "b");
        let m = s.mounted("index=on");
        m.write("a", "new")?;
        each([m.read("a"), m.read("b"), Ok(m.stat("a")?.st_nlink.to_string())])
    })
    .sees("new, new, 2"),
    fact("index::has_an_entry_for_a_hard_link", |s| {
        s.lower().file("a", "").hard_link("a", "b").file("single", "");
        let m = s.mounted("index=on");
        m.append("single", "x")?;
        let before = s.work().names("index");
        m.append("a", "x")?;
        each([before, Ok(s.work().names("index")?.split(' ').count().to_string())])
    })
    .sees("nothing, 1"),
    fact("index::is_shown", |s| {
        s.lower();
        s.mounted("index=on");
        s.shows(&["index"])
    })
    .sees("index=on"),
    fact("index::upper_in_use_is_refused", |s| {
        s.lower();
        s.mounted("index=on");
        s.overlay("index=on").upper("upper", "work2").at("m2").mount().done()
    })
    .sees("EBUSY")
    .relied_on(),
    fact("index::work_in_use_is_refused", |s| {
        s.lower();
        s.mounted("index=on");
        s.overlay("index=on").upper("upper2", "work").at("m2").mount().done()
    })
    .sees("EBUSY"),
    fact("index::upper_of_another_overlay_is_no_lower", |s| {
        s.lower();
        s.mounted("index=on");
        s.overlay("index=on").lowers(&["upper"]).upper("u2", "w2").at("m2").mount().done()
    })
    .sees("EBUSY"),
    fact("index::a_lower_may_be_shared", |s| {
        s.lower();
        s.mounted("index=on");
        s.overlay("index=on").upper("u2", "w2").at("m2").mount().done()
    })
    .sees("ok"),
    fact("index::upper_is_free_after_unmount", |s| {
        s.lower();
        s.mounted("index=on");
        s.again("index=on").done()
    })
    .sees("ok")
    .relied_on(),
    fact("index::upper_stays_in_use_while_a_file_of_a_lazy_unmount_is_open", |s| {
        s.lower().file("f", "");
        let held = s.mounted("index=on").file_at("f", OFlags::RDONLY)?;
        unmount("m".as_ref(), true)?;
        let busy = s.mount("index=on").done();
        drop(held);
        // The last handle's overlay is torn down when the task returns to user space.
        each([busy, s.mount("index=on").done()])
    })
    .sees("EBUSY, ok")
    .relied_on(),
    fact("index::other_lowers_are_refused", |s| {
        s.lower();
        s.mounted("index=on");
        s.unmount("m")?;
        s.dir_named("other");
        s.overlay("index=on").lowers(&["other"]).mount().done()
    })
    .sees("ESTALE")
    .relied_on(),
    fact("index::other_lowers_are_taken_with_index_off", |s| {
        s.lower();
        s.mounted("index=on");
        s.unmount("m")?;
        s.dir_named("other");
        s.overlay("index=off").lowers(&["other"]).mount().done()
    })
    .sees("ok")
    .relied_on(),
    fact("index::work_of_another_upper_is_refused", |s| {
        s.lower();
        s.mounted("index=on");
        s.unmount("m")?;
        s.overlay("index=on").upper("upper2", "work").mount().done()
    })
    .sees("ESTALE")
    .relied_on(),
    fact("index::more_lowers_on_top_are_refused", |s| {
        s.lower();
        s.mounted("index=on");
        s.unmount("m")?;
        s.dir_named("more");
        s.overlay("index=on").lowers(&["more", "lower"]).mount().done()
    })
    .sees("ESTALE"),
    fact("index::without_upper_is_not_shown", |s| {
        let [_top, _base] = s.lowers(["top", "base"]);
        s.mounted_without_upper("index=on");
        s.shows(&["index"])
    })
    .sees("none"),
    fact("index::off_leaves_no_index_directory", |s| {
        s.lower();
        s.mounted("index=off");
        s.work().names("")
    })
    .sees("work")
    .relied_on(),
    fact("index::on_makes_an_index_directory", |s| {
        s.lower();
        s.mounted("index=on");
        s.work().names("")
    })
    .sees("index work"),
];
