//! `tarfile`: headers, PAX records and sparse maps.
//!
//! Whatever the bytes, reading them ends, and does not depend on how they come in; and where the `tar` crate takes them
//! too, it finds the same members: two readers that see two different tars is how contents are smuggled (CVE-2025-62518).

use std::collections::HashSet;
use std::io::{BufRead, BufReader, Read};

use ovlctl::tarfile::{Kind, Limits, Member, Reader};

use crate::choices::Choices;
use crate::make;

/// What a tar has: members with their data, and what is wrong with it in the end.
#[derive(Debug, PartialEq)]
struct Seen {
    members: Vec<(Member, Vec<u8>)>,
    fault: Option<String>,
}

/// Takes a way to make a tar of the rest, and the rest.
pub fn run(data: &[u8]) {
    let mut choices = Choices::new(data);
    let tar = match choices.below(4) {
        0 => choices.rest().to_vec(),
        1 => {
            let mut tar = choices.rest().to_vec();
            make::seal_all(&mut tar);
            tar
        }
        2 => make::tar(&mut choices, false),
        _ => make::tar(&mut choices, true),
    };
    let seen = read(&tar[..], Limits::DEFAULT);
    for (member, data) in &seen.members {
        holds_together(member, data);
    }
    assert_eq!(
        seen,
        read(BufReader::with_capacity(7, &tar[..]), Limits::DEFAULT),
        "it depends on how bytes come in"
    );
    passes_over_data(&tar, &seen);
    read(&tar[..], Limits { records: 64, global_records: 32, segments: 1 });
    if seen.fault.is_none() {
        if let Some(theirs) = the_crate_reads(&tar) {
            the_same(&seen.members, &theirs);
        }
    }
}

fn read(input: impl BufRead, limits: Limits) -> Seen {
    let mut reader = Reader::new(input, limits);
    let mut members = Vec::new();
    let fault = loop {
        match reader.next() {
            Ok(None) => break reader.finish().err().map(|e| e.to_string()),
            Err(e) => break Some(e.to_string()),
            Ok(Some(member)) => {
                let mut data = Vec::new();
                let fault = loop {
                    match reader.fill() {
                        Ok([]) => break None,
                        Ok(run) => data.extend_from_slice(run),
                        Err(e) => break Some(e.to_string()),
                    }
                    let taken = member.stored - reader.data_left();
                    reader.consume(data.len() - taken as usize);
                };
                members.push((member, data));
                if fault.is_some() {
                    break fault;
                }
            }
        }
    };
    if let Some(fault) = &fault {
        assert!(!fault.chars().any(char::is_control), "it would reach a terminal: {fault:?}");
    }
    Seen { members, fault }
}

/// Whoever does not read data must see the same members, but for the last one's missing data.
fn passes_over_data(tar: &[u8], seen: &Seen) {
    let mut reader = Reader::new(tar, Limits::DEFAULT);
    let mut nr = 0;
    while let Ok(Some(member)) = reader.next() {
        assert_eq!(Some(&member), seen.members.get(nr).map(|(member, _)| member), "member {nr}");
        nr += 1;
    }
    assert_eq!(nr, seen.members.len());
}

fn holds_together(member: &Member, data: &[u8]) {
    assert!(!member.path.contains(&0));
    assert!(member.mode <= 0o7777 && member.mtime.nanos < 1_000_000_000);
    assert!(member.uid != u32::MAX && member.gid != u32::MAX, "-1 leaves an owner as it is");
    assert!(data.len() as u64 <= member.stored);
    for (nr, (name, _)) in member.xattrs.iter().enumerate() {
        assert!(!name.is_empty() && !name.contains(&0));
        assert!(member.xattrs[..nr].iter().all(|(before, _)| before != name), "an attribute twice");
    }
    match &member.kind {
        Kind::Symlink(target) | Kind::HardLink(target) => assert!(!target.contains(&0)),
        Kind::CharDevice { major, minor } | Kind::BlockDevice { major, minor } => {
            assert!(*major < 1 << 12 && *minor < 1 << 20);
        }
        Kind::File | Kind::Directory | Kind::Fifo => {}
    }
    assert!(matches!(member.kind, Kind::File | Kind::Directory) || member.stored == 0);
    let Some(sparse) = &member.sparse else { return };
    assert_eq!(member.kind, Kind::File);
    let mut end = 0;
    for (offset, length) in &sparse.segments {
        assert!(*offset >= end && *length > 0, "{sparse:?}");
        end = offset + length;
    }
    assert!(end <= sparse.size && i64::try_from(sparse.size).is_ok());
    assert_eq!(sparse.segments.iter().map(|(_, length)| length).sum::<u64>(), member.stored);
}

/// What the `tar` crate says of a member; links and names as they are, numbers as the header or the records have them.
#[derive(Debug, PartialEq)]
struct Theirs {
    flag: u8,
    path: Vec<u8>,
    link: Option<Vec<u8>>,
    data: Vec<u8>,
}

/// Reads with the `tar` crate; nothing where it finds fault, or where it is known to read otherwise.
fn the_crate_reads(tar: &[u8]) -> Option<Vec<Theirs>> {
    let mut archive = tar::Archive::new(tar);
    let mut members = Vec::new();
    for entry in archive.entries().ok()? {
        let mut entry = entry.ok()?;
        if let Some(records) = entry.pax_extensions().ok()? {
            let mut keys = HashSet::new();
            for record in records {
                let record = record.ok()?;
                let (key, value) = (record.key_bytes(), record.value_bytes());
                // It knows no sparse files of PAX, and takes the first of a key, where POSIX has the last hold, and an
                // empty one undo those before.
                if key.starts_with(b"GNU.sparse.") || value.is_empty() || !keys.insert(key) {
                    return None;
                }
            }
        }
        let flag = entry.header().as_old().linkflag[0];
        // Records for all members, labels and vendors' own are members to it.
        if matches!(flag, b'g' | b'S' | b'A'..=b'Z' | b'x') {
            return None;
        }
        // The prefix of a name counts to it in version 00 alone; to GNU tar and Go's reader, and here, the magic is enough.
        let header = entry.header().as_bytes();
        if header[257..263] == *b"ustar\0" && header[263..265] != *b"00" && header[345] != 0 {
            return None;
        }
        let (path, link) =
            (entry.path_bytes().into_owned(), entry.link_name_bytes().map(|name| name.into_owned()));
        // Links and devices have no data, whatever they say, to Go's reader and Python's, too; not to the crate.
        if matches!(flag, b'1'..=b'6') && entry.size() != 0 {
            return None;
        }
        // It looks for the end of a long name from behind.
        if path.contains(&0) || link.as_ref().is_some_and(|link| link.contains(&0)) {
            return None;
        }
        let mut data = Vec::new();
        if !matches!(flag, b'1'..=b'6') {
            entry.read_to_end(&mut data).ok()?;
        }
        members.push(Theirs { flag, path, link, data });
    }
    Some(members)
}

fn the_same(ours: &[(Member, Vec<u8>)], theirs: &[Theirs]) {
    // It takes a newline in a value for the end of a record.
    if ours.iter().flat_map(|(member, _)| &member.xattrs).any(|(_, value)| value.contains(&b'\n')) {
        return;
    }
    let our_names: Vec<_> = ours.iter().map(|(member, _)| member.path.escape_ascii().to_string()).collect();
    let their_names: Vec<_> = theirs.iter().map(|theirs| theirs.path.escape_ascii().to_string()).collect();
    assert_eq!(our_names, their_names, "the tar crate sees other members");
    for ((member, data), theirs) in ours.iter().zip(theirs) {
        match &member.kind {
            Kind::File => assert_eq!(data, &theirs.data, "{member:?}"),
            Kind::Symlink(target) | Kind::HardLink(target) => {
                assert_eq!(target, theirs.link.as_deref().unwrap_or_default(), "{member:?}");
            }
            Kind::Directory | Kind::CharDevice { .. } | Kind::BlockDevice { .. } | Kind::Fifo => {}
        }
    }
}
