//! Files that are mapped into memory.

use std::io::Write;

use rustix::fs::OFlags;
use vmap::{Flush, Map, MapMut};

use crate::fact::{Fact, Saw, each, fact};

/// What a mapping shows.
fn text(map: &[u8]) -> Saw {
    Ok(String::from_utf8_lossy(map).into_owned())
}

pub(super) const FACTS: &[Fact] = &[
    fact("mmap::shared_before_a_copy_up_shows_the_lower_file_on_and_on", |s| {
        s.lower().file("f", "old");
        let m = s.mounted("");
        let map = Map::with_options().map(&m.file_at("f", OFlags::RDONLY)?).expect("it can be mapped");
        m.file_at("f", OFlags::WRONLY)?.write_all(b"new")?;
        each([text(&map), m.read("f")])
    })
    .sees("old, new"),
    fact("mmap::shared_after_a_copy_up_shows_what_is_written", |s| {
        s.lower().file("f", "old");
        let m = s.mounted("");
        let mut writer = m.file_at("f", OFlags::WRONLY)?;
        let map = Map::with_options().map(&m.file_at("f", OFlags::RDONLY)?).expect("it can be mapped");
        writer.write_all(b"new")?;
        text(&map)
    })
    .sees("new"),
    fact("mmap::by_a_handle_from_before_a_copy_up_shows_what_was_written", |s| {
        s.lower().file("f", "old");
        let m = s.mounted("");
        let before = m.file_at("f", OFlags::RDONLY)?;
        m.file_at("f", OFlags::WRONLY)?.write_all(b"new")?;
        text(&Map::with_options().map(&before).expect("it can be mapped"))
    })
    .sees("old"),
    fact("mmap::writing_changes_upper_alone", |s| {
        let lower = s.lower();
        lower.file("f", "old");
        let m = s.mounted("");
        let file = m.file_at("f", OFlags::RDWR)?;
        let mut map: MapMut = MapMut::with_options().write().map(&file).expect("it can be mapped");
        map.copy_from_slice(b"new");
        map.flush(&file, Flush::Sync).expect("it can be flushed");
        each([m.read("f"), lower.read("f"), s.upper().read("f")])
    })
    .sees("new, old, new"),
];
