//! Tests of the power cut itself, which need no machine.

use std::fs::{self, File};
use std::path::Path;

use super::disk::{FIRST, MARKS};
use super::log::Log;
use super::points::{Kept, Point, choose};
use super::replay::Replay;
use crate::story::promised::Promised;
use crate::story::{Manner, SECTOR, STEPS};

/// What the disk holds at each of these, a letter a sector, of a log that begins with `aa`, a flush, `bb` and a mark.
pub(in crate::host) fn a_cut_keeps_what_was_flushed_and_some_of_the_rest() {
    let folder = tempfile::tempdir().expect("a folder");
    let log = made_up(folder.path());
    let at = |taken, kept| disk_at(&log, Point { taken, kept }, folder.path());
    assert_eq!(at(1, Kept::None), "....");
    assert_eq!(at(1, Kept::All), "aa..");
    assert_eq!(at(2, Kept::None), "aa..");
    assert_eq!(at(3, Kept::None), "aa..");
    assert_eq!(at(3, Kept::All), "abb.");
    assert_eq!(at(5, Kept::None), "aa.f");
    assert_eq!(at(5, Kept::All), "abbf");
    assert_eq!(at(7, Kept::All), "abb.");
    let some: Vec<String> = (0..64).map(|seed| at(3, Kept::Some(seed))).collect();
    assert!(some.iter().any(|disk| disk == "aa..") && some.iter().any(|disk| disk == "abb."), "{some:?}");
    assert!(some.iter().all(|disk| disk == "aa.." || disk == "abb."), "a torn block: {some:?}");
}

pub(in crate::host) fn a_mark_tells_which_steps_had_returned() {
    let folder = tempfile::tempdir().expect("a folder");
    let log = made_up(folder.path());
    assert_eq!((log.acknowledged(3), log.acknowledged(4), log.acknowledged(7)), (0, 3, 3));
    let (points, again) = (choose(&log, 40, 1), choose(&log, 40, 1));
    assert_eq!((points.len(), &points), (40, &again));
    assert!(points.iter().any(|(point, _)| *point == Point { taken: 4, kept: Kept::None }));
    assert_ne!(points, choose(&log, 40, 2));
}

pub(in crate::host) fn what_was_promised_is_known_of_every_step() {
    let after = |step: &str| {
        let nr = STEPS.iter().position(|other| other.name() == step).expect("it is a step");
        Promised::after(nr + 1)
    };
    assert_eq!(Promised::after(0), Promised::default());
    assert!(after("load app:1.tar").images.contains_key("app:1"));
    let mounted = after("mount --name t tool:1.tar t");
    assert!(!mounted.images.contains_key("tool:1") && !mounted.containers.contains_key("t"));
    // The next step removes the other name, and perhaps has done so.
    let tagged = &after("tag gone:1 other:1").images["gone:1"];
    assert_eq!(tagged.all_of.iter().collect::<Vec<_>>(), [&"other:1"]);
    let removed = after("rm gone:1");
    assert!(!removed.images.contains_key("gone:1"), "the step after it removes the last name: {removed:?}");
    let last = Promised::after(STEPS.len());
    assert_eq!(
        last.images.keys().copied().collect::<Vec<_>>(),
        ["app:1", "app:2", "app:3", "made:1", "tool:1"]
    );
    assert_eq!(last.containers.keys().copied().collect::<Vec<_>>(), ["c", "g"]);
    assert_eq!(last.containers["c"]["new"], [Some("newer")]);
    assert_eq!(last.committed["made:1"], last.snapshots[&("c", "s3")].files);
}

pub(in crate::host) fn what_snapshots_promise_is_known_of_every_step() {
    let before = |step: &str| {
        let nr = STEPS.iter().position(|other| other.name() == step).expect("it is a step");
        [Promised::after(nr), Promised::after(nr + 1)]
    };
    let synced =
        |promised: &Promised, name| promised.snapshots.get(&("a", name)).is_some_and(|one| one.synced);
    let [begun, done] = before("snapshot a s1");
    assert_eq!((synced(&begun, "s1"), synced(&done, "s1")), (false, true));
    let [_, done] = before("snapshot --no-sync a s2");
    assert!(!synced(&done, "s2"));
    let [begun, done] = before("reset a s1");
    assert!(synced(&begun, "s2"), "the branch before it has synced");
    assert_eq!(begun.containers["a"]["lost"], [Some("lost"), None]);
    assert_eq!(begun.containers["a"]["new"], [Some("newer"), Some("new")]);
    assert_eq!(
        (&done.containers["a"]["lost"], &done.containers["a"]["new"]),
        (&vec![None], &vec![Some("new")])
    );
    let [begun, done] = before("rm a@s2");
    assert!(!synced(&begun, "s2") && begun.gone.is_empty());
    assert!(done.gone.contains(&("a", "s2")));
}

pub(in crate::host) fn a_second_cut_takes_nothing_back() {
    let story = |recovers| Manner { sync: true, seed: 1, recovers };
    let first = story(None).promised(0);
    assert!(first.images.is_empty());
    let [begun, done] = [1, 2].map(|acknowledged| story(Some(0)).promised(acknowledged));
    assert_eq!(begun, first);
    assert_eq!(done.images.keys().collect::<Vec<_>>(), [&"app:1"]);
    let late = story(Some(STEPS.len()));
    assert_eq!(late.promised(0), Promised::after(STEPS.len()));
    assert_eq!(late.promised(2), late.promised(0));
}

/// Entries: `aa`, flush, `bb` from the second sector on, mark 3, `f` that needs no flush, flush, discard of the fourth sector.
fn made_up(folder: &Path) -> Log {
    let write = |from: u64, flags: u64, letters: &str| {
        let mut bytes = entry(FIRST + from, letters.len() as u64, flags);
        letters.bytes().for_each(|letter| bytes.extend([letter; 512]));
        bytes
    };
    let mut mark = entry(MARKS + 3, 1, 0);
    mark.extend(b"MARK 3\n");
    mark.resize(2 * 512, 0);
    let flush = entry(0, 0, 1);
    let entries = [
        write(0, 0, "aa"),
        flush.clone(),
        write(1, 0, "bb"),
        mark,
        write(3, 2, "f"),
        flush,
        entry(FIRST + 3, 1, 4),
    ];
    let mut bytes = sector([0x006a_7366_7773_6872, 1, entries.len() as u64, SECTOR]);
    bytes.extend(entries.concat());
    let path = folder.join("log");
    fs::write(&path, bytes).expect("a log can be written");
    Log::read(&path).expect("it is a log")
}

fn entry(from: u64, count: u64, flags: u64) -> Vec<u8> {
    sector([from, count, flags, 0])
}

fn sector(numbers: [u64; 4]) -> Vec<u8> {
    let mut bytes: Vec<u8> = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
    bytes.resize(512, 0);
    bytes
}

fn disk_at(log: &Log, point: Point, folder: &Path) -> String {
    let (made, image) = (folder.join("made"), folder.join("image"));
    File::create(&made).and_then(|file| file.set_len(4 * SECTOR)).expect("an empty disk");
    Replay::new(log, &made, folder).and_then(|mut replay| replay.make(point, &image)).expect("it replays");
    let bytes = fs::read(&image).expect("the disk can be read");
    let letter = |sector: &[u8]| {
        assert!(sector.iter().all(|byte| *byte == sector[0]), "a torn sector");
        if sector[0] == 0 { '.' } else { char::from(sector[0]) }
    };
    bytes.chunks(512).map(letter).collect()
}
