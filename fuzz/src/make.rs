//! Tars out of decisions: every kind of member, with few names, so that they meet; and headers that lie.

use crate::choices::Choices;

const BLOCK: usize = 512;

/// Where the fields of a header are, and how long.
const FIELDS: [(usize, usize); 12] = [
    (0, 100),   // name
    (100, 8),   // mode
    (108, 8),   // uid
    (116, 8),   // gid
    (124, 12),  // size
    (136, 12),  // mtime
    (156, 1),   // flag
    (157, 100), // link
    (257, 8),   // magic
    (329, 8),   // major
    (337, 8),   // minor
    (345, 155), // prefix
];
const MODE: usize = 1;
const SIZE: usize = 4;
const MTIME: usize = 5;
const FLAG: usize = 6;
const MAGIC: usize = 8;

const MOST_MEMBERS: usize = 32;

const NAMES: [&[u8]; 14] = [
    b"a",
    b"b",
    b"c",
    b"d",
    b".",
    b"..",
    b"",
    b".wh.a",
    b".wh.b",
    b".wh.c",
    b".wh..wh..opq",
    b".wh.",
    b".wh...",
    b".wh..wh.plnk",
];

const KEYS: [&str; 24] = [
    "path",
    "linkpath",
    "size",
    "uid",
    "gid",
    "mtime",
    "SCHILY.devmajor",
    "SCHILY.devminor",
    "SCHILY.xattr.user.a",
    "SCHILY.xattr.user.b",
    "SCHILY.xattr.trusted.overlay.opaque",
    "SCHILY.xattr.trusted.overlay.redirect",
    "SCHILY.xattr.user.overlay.metacopy",
    "SCHILY.xattr.security.capability",
    "SCHILY.xattr.system.posix_acl_access",
    "SCHILY.xattr.security.selinux",
    "GNU.sparse.major",
    "GNU.sparse.minor",
    "GNU.sparse.size",
    "GNU.sparse.realsize",
    "GNU.sparse.map",
    "GNU.sparse.numblocks",
    "GNU.sparse.name",
    "comment",
];

/// Makes a tar. An honest one has no field that lies, and no damage.
pub fn tar(choices: &mut Choices<'_>, honest: bool) -> Vec<u8> {
    let mut tar = Vec::new();
    for _ in 0..MOST_MEMBERS {
        if !choices.more() {
            break;
        }
        member(choices, honest, &mut tar);
    }
    let blocks = if honest { 2 } else { *choices.pick(&[2, 2, 1, 0]) };
    tar.resize(tar.len() + blocks * BLOCK, 0);
    if !honest && choices.once_in(16) {
        tar.truncate(tar.len().saturating_sub(usize::from(choices.byte()) * 8));
    }
    tar.extend(choices.rest());
    tar
}

/// Writes a member, and the extended headers before it.
fn member(choices: &mut Choices<'_>, honest: bool, tar: &mut Vec<u8>) {
    let flags: &[u8] = if honest { b"00011122255533446" } else { b"00001112225553346S0xgLKVDX\x007MA~" };
    let flag = *choices.pick(flags);
    if choices.once_in(4) {
        let records = records(choices, honest);
        let global = choices.once_in(8);
        append(choices, header(if global { b'g' } else { b'x' }, b"pax"), &records, true, tar);
    }
    for kind in *b"LK" {
        if choices.once_in(12) {
            let name = [path(choices), b"\0".to_vec()].concat();
            append(choices, header(kind, b"././@LongLink"), &name, true, tar);
        }
    }
    let mut header = header(flag, &path(choices));
    if matches!(flag, b'1' | b'2') {
        set(&mut header, 157, 100, &path(choices));
    }
    if matches!(flag, b'3' | b'4') {
        set(&mut header, 329, 8, format!("{:07o}\0", choices.below(8)).as_bytes());
        set(&mut header, 337, 8, format!("{:07o}\0", choices.below(8)).as_bytes());
    }
    let data = match flag {
        b'S' => old_sparse(choices, &mut header),
        b'x' | b'g' | b'X' => records(choices, honest),
        b'0' | b'L' | b'K' => contents(choices),
        _ => Vec::new(),
    };
    append(choices, header, &data, honest, tar);
}

fn header(flag: u8, name: &[u8]) -> [u8; BLOCK] {
    let mut header = [0; BLOCK];
    set(&mut header, 0, 100, name);
    for (field, text) in [(MODE, &b"0000644\0"[..]), (MTIME, b"00000000001\0"), (FLAG, &[flag])] {
        set(&mut header, FIELDS[field].0, FIELDS[field].1, text);
    }
    set(&mut header, 257, 8, if flag == b'S' { b"ustar  \0" } else { b"ustar\x0000" });
    header
}

fn set(header: &mut [u8; BLOCK], at: usize, most: usize, bytes: &[u8]) {
    let length = bytes.len().min(most);
    header[at..at + most].fill(0);
    header[at..at + length].copy_from_slice(&bytes[..length]);
}

/// Appends a header, to which something may happen, and its data.
fn append(choices: &mut Choices<'_>, mut header: [u8; BLOCK], data: &[u8], honest: bool, tar: &mut Vec<u8>) {
    set(&mut header, 124, 12, format!("{:011o}\0", data.len()).as_bytes());
    if !honest && choices.once_in(4) {
        for _ in 0..=choices.below(2) {
            spoil(choices, &mut header);
        }
    }
    seal(&mut header);
    if !honest && choices.once_in(64) {
        header[usize::from(choices.byte()) * 2] ^= choices.byte();
    }
    tar.extend(header);
    tar.extend(data);
    tar.resize(tar.len().next_multiple_of(BLOCK), 0);
}

/// Has one field say something else.
fn spoil(choices: &mut Choices<'_>, header: &mut [u8; BLOCK]) {
    let field = choices.below(FIELDS.len());
    let (at, length) = FIELDS[field];
    let text = match field {
        MAGIC => {
            choices.pick(&[&b"ustar  \0"[..], b"\0\0\0\0\0\0\0\0", b"ustar\0\0\0", b"ustar\x0000"]).to_vec()
        }
        MODE..=MTIME | 9 | 10 => match choices.below(4) {
            0 => format!("{:o}", choices.number()).into_bytes(),
            1 => {
                let number = choices.number().to_be_bytes();
                let mark = *choices.pick(&[0x80, 0xff, 0xc0, 0xbf]);
                let mut text = vec![if mark == 0xff { 0xff } else { 0 }; length];
                let tail = length.min(number.len()) - 1;
                text[length - tail..].copy_from_slice(&number[number.len() - tail..]);
                text[0] = mark;
                text
            }
            2 => format!(" {:o} ", choices.number()).into_bytes(),
            _ => choices.bytes(length).to_vec(),
        },
        SIZE.. | 0 => choices.bytes(length).to_vec(),
    };
    set(header, at, length, &text);
}

/// Gives a header the checksum that it ought to have.
pub fn seal(header: &mut [u8]) {
    header[148..156].fill(b' ');
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
}

/// Gives each header of a tar the checksum that it ought to have, as far as sizes tell where headers are.
pub fn seal_all(tar: &mut [u8]) {
    let mut at = 0;
    while let Some(header) = tar.get_mut(at..at + BLOCK) {
        if header.iter().any(|byte| *byte != 0) {
            seal(header);
        }
        let size = std::str::from_utf8(&header[124..136]).unwrap_or_default();
        let size = usize::from_str_radix(size.trim_matches(['\0', ' ']), 8).unwrap_or_default();
        at = at.saturating_add(BLOCK).saturating_add(size.min(1 << 30).next_multiple_of(BLOCK));
    }
}

/// A name of up to five parts.
fn path(choices: &mut Choices<'_>) -> Vec<u8> {
    let mut path = if choices.once_in(8) { b"/".to_vec() } else { Vec::new() };
    for part in 0..*choices.pick(&[1, 1, 1, 2, 2, 3, 5]) {
        if part > 0 {
            path.push(b'/');
        }
        match choices.below(NAMES.len() + 4) {
            nr if nr < NAMES.len() => path.extend(NAMES[nr]),
            nr if nr > NAMES.len() + 1 => path.extend(NAMES[choices.below(4)]),
            nr if nr > NAMES.len() => path.resize(path.len() + 50 * choices.below(8), b'n'),
            _ => path.extend(choices.bytes(8)),
        }
    }
    if choices.once_in(12) {
        path.push(b'/');
    }
    path
}

fn contents(choices: &mut Choices<'_>) -> Vec<u8> {
    match choices.below(8) {
        0 => vec![b'x'; usize::from(choices.byte()) * 16],
        1 => sparse_map(choices, "\n"),
        _ => choices.bytes(24).to_vec(),
    }
}

/// PAX records.
fn records(choices: &mut Choices<'_>, honest: bool) -> Vec<u8> {
    let mut records = Vec::new();
    for _ in 0..=choices.below(5) {
        let keys = if honest { &KEYS[..10] } else { &KEYS[..] };
        let key = *choices.pick(keys);
        let value = match key {
            "path" | "linkpath" | "GNU.sparse.name" => path(choices),
            "GNU.sparse.map" => sparse_map(choices, ","),
            "mtime" => format!("{}.{}", choices.number() >> 1, choices.byte()).into_bytes(),
            "size" if honest => continue,
            "uid" | "gid" | "SCHILY.devmajor" | "SCHILY.devminor" if honest => {
                choices.byte().to_string().into_bytes()
            }
            key if key.contains("xattr") => choices.bytes(12).to_vec(),
            _ if choices.once_in(6) => choices.bytes(12).to_vec(),
            _ if choices.once_in(6) => format!("-{}", choices.number()).into_bytes(),
            _ => choices.number().to_string().into_bytes(),
        };
        let rest = key.len() + value.len() + 3;
        let digits = (1..).find(|digits| (rest + digits).to_string().len() == *digits).unwrap_or(1);
        let lie = if !honest && choices.once_in(32) { choices.below(8) } else { 0 };
        records.extend(format!("{} {key}=", rest + digits + lie).into_bytes());
        records.extend(value);
        records.push(b'\n');
    }
    records
}

/// Offsets and lengths, most often ascending.
fn pieces(choices: &mut Choices<'_>) -> Vec<(u64, u64)> {
    let mut at = 0;
    (0..choices.below(6))
        .map(|_| {
            let (gap, length) = (choices.number(), u64::from(choices.byte()));
            let offset = if choices.once_in(16) { gap } else { gap.wrapping_add(at) };
            at = offset.wrapping_add(length);
            (offset, length)
        })
        .collect()
}

/// A map as PAX has it, and, where it stands before the data, as much data as it tells of.
fn sparse_map(choices: &mut Choices<'_>, between: &str) -> Vec<u8> {
    let pieces = pieces(choices);
    let numbers: Vec<String> =
        pieces.iter().flat_map(|(at, length)| [at.to_string(), length.to_string()]).collect();
    if between == "," {
        return numbers.join(between).into_bytes();
    }
    let mut map = format!("{}\n{}\n", pieces.len(), numbers.join(between)).into_bytes();
    map.resize(map.len().next_multiple_of(BLOCK), 0);
    let stored: u64 = pieces.iter().map(|(_, length)| length).sum();
    map.resize(map.len() + stored as usize, b's');
    map
}

/// The map in an old GNU header; returns the data.
fn old_sparse(choices: &mut Choices<'_>, header: &mut [u8; BLOCK]) -> Vec<u8> {
    const MAP: usize = 386;
    const REAL_SIZE: usize = 483;
    let pieces = pieces(choices);
    let (mut stored, mut end) = (0, 0);
    for (nr, (at, length)) in pieces.iter().take(4).enumerate() {
        set(header, MAP + 24 * nr, 12, format!("{at:o}").as_bytes());
        set(header, MAP + 24 * nr + 12, 12, format!("{length:o}").as_bytes());
        (stored, end) = (stored + length, at.wrapping_add(*length));
    }
    set(header, REAL_SIZE, 12, format!("{end:o}").as_bytes());
    vec![b's'; stored as usize]
}
