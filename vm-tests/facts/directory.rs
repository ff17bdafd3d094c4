//! Directories that several layers make up.

use rustix::fs::Dir;

use crate::fact::{Fact, Saw, Stop, each, fact, same};
use crate::scene::Tree;

fn stream(tree: &Tree, name: &str) -> Result<Dir, Stop> {
    Ok(Dir::read_from(ovlctl::sys::dir::Dir::open(&tree.path(name))?)?)
}

fn listed(stream: &mut Dir) -> Saw {
    let mut names = Vec::new();
    for entry in stream.by_ref() {
        names.push(entry?.file_name().to_string_lossy().into_owned());
    }
    names.retain(|name| name != "." && name != "..");
    names.sort();
    Ok(names.join(" "))
}

pub(super) const FACTS: &[Fact] = &[
    fact("directory::merged_has_a_link_count_of_1", |s| {
        s.lower().dir("d/a").dir("d/b");
        s.upper().dir("d/c");
        let m = s.mounted("");
        Ok(m.stat("d")?.st_nlink.to_string())
    })
    .sees("1"),
    fact("directory::with_something_in_it_is_not_removed", |s| {
        s.lower().file("d/f", "");
        s.mounted("").rmdir("d")
    })
    .sees("ENOTEMPTY"),
    fact("directory::whose_contents_were_removed_is_removed", |s| {
        s.lower().file("d/f", "");
        let m = s.mounted("");
        m.unlink("d/f")?;
        m.rmdir("d")?;
        each([m.kind("d"), s.upper().kind("d")])
    })
    .sees("ENOENT, whiteout"),
    fact("directory::of_whiteouts_alone_is_removed", |s| {
        s.lower().dir("d");
        s.upper().whiteout("d/never");
        let m = s.mounted("");
        each([m.rmdir("d"), m.kind("d")])
    })
    .sees("ok, ENOENT"),
    fact("directory::of_upper_alone_leaves_nothing", |s| {
        s.lower();
        let m = s.mounted("");
        m.mkdir("d")?;
        m.rmdir("d")?;
        s.upper().names("")
    })
    .sees("nothing"),
    fact("directory::opened_before_a_copy_up_lists_what_is_made_after", |s| {
        s.lower().file("d/old", "");
        let m = s.mounted("");
        let mut stream = stream(&m, "d")?;
        let before = listed(&mut stream);
        m.create("d/new")?;
        stream.rewind();
        each([before, listed(&mut stream)])
    })
    .sees("old, new old"),
    fact("directory::changes_no_inode_number_by_copy_up", |s| {
        s.lower().file("d/f", "");
        let m = s.mounted("");
        let before = m.inode("d")?;
        m.chmod("d", 0o700)?;
        same(before, m.inode("d")?)
    })
    .sees("same"),
    fact("directory::entry_and_file_have_one_inode_number", |s| {
        let [top, base] = s.lowers(["top", "base"]);
        top.file("d/a", "");
        base.file("d/b", "");
        let m = s.mounted("");
        m.append("d/b", "x")?;
        let stream = stream(&m, "d")?;
        let mut differ = 0;
        for entry in stream {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if !name.starts_with('.') && entry.ino() != m.inode(&format!("d/{name}"))? {
                differ += 1;
            }
        }
        Ok(format!("{differ} differ"))
    })
    .sees("0 differ"),
    fact("directory::entries_have_their_type", |s| {
        use rustix::fs::FileType;
        let [top, base] = s.lowers(["top", "base"]);
        top.dir("d/a").file("d/b", "");
        base.symlink("d/c", "x");
        let stream = stream(&s.mounted(""), "d")?;
        let unknown = stream.filter(|entry| matches!(entry, Ok(e) if e.file_type() == FileType::Unknown));
        Ok(format!("{} unknown", unknown.count()))
    })
    .sees("0 unknown"),
    fact("directory::1000_entries_of_two_layers_are_all_listed", |s| {
        let [top, base] = s.lowers(["top", "base"]);
        // With such names they do not fit into the buffer of one getdents64(2).
        for nr in 0..500 {
            top.create(&format!("{nr:t>60}"))?;
            base.create(&format!("{nr:b>60}"))?;
        }
        Ok(s.mounted("").names("")?.split(' ').count().to_string())
    })
    .sees("1000"),
    fact("directory::made_in_a_directory_of_lower", |s| {
        s.lower().dir("a/b").mode("a/b", 0o750);
        s.mounted("").mkdir("a/b/c")?;
        each([s.upper().kind("a/b/c"), s.upper().access("a/b")])
    })
    .sees("directory, 750 0:0"),
    fact("directory::gives_setgid_and_group_to_what_is_made_in_it", |s| {
        s.lower().dir("d").owner("d", 0, 8).mode("d", 0o2775);
        let m = s.mounted("");
        m.mkdir("d/e")?;
        m.create("d/f")?;
        each([m.access("d/e"), m.access("d/f")])
    })
    .sees("2755 0:8, 644 0:8"),
    fact("directory::removed_while_it_is_open_cannot_be_filled", |s| {
        s.lower().dir("d");
        let m = s.mounted("");
        let held = ovlctl::sys::dir::Dir::open(&m.path("d"))?;
        m.rmdir("d")?;
        held.create(b"f", 0o644).map(|_| "made".to_owned()).map_err(Stop::from)
    })
    .sees("ENOENT"),
];
