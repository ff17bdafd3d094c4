//! Members become a tar: ustar headers, with PAX records for what they cannot hold (POSIX.1-2017, pax).
//!
//! The bytes are a function of the members, and of nothing else.

use std::borrow::Cow;
use std::io::{self, Read, Write};

use tar::{EntryType, Header};

use super::header::BLOCK;
use super::{Kind, Member, Sparse};

/// How long name and link target of a ustar header are; longer ones become records. The prefix field is left empty.
const NAME: usize = 100;
/// The largest number of seven octal digits, and of eleven.
const SEVEN_DIGITS: u64 = (1 << 21) - 1;
const ELEVEN_DIGITS: u64 = (1 << 33) - 1;

/// A tar that is being written.
#[derive(Debug)]
pub struct Writer<W> {
    out: W,
}

impl<W: Write> Writer<W> {
    /// Starts a tar.
    pub fn new(out: W) -> Self {
        Self { out }
    }

    /// Writes a member, with [`Member::stored`] bytes of `contents`; fewer are an error. A sparse file's segments but the last
    /// must be whole blocks.
    pub fn member(&mut self, member: &Member, contents: &mut dyn Read) -> io::Result<()> {
        let map = member.sparse.as_ref().map(sparse_map).unwrap_or_default();
        let size = map.len() as u64 + member.stored;
        let records = records(member, size)?;
        if !records.is_empty() {
            let last = member.path.rsplit(|&byte| byte == b'/').find(|part| !part.is_empty());
            let name = [b"PaxHeaders/", last.unwrap_or(b"root")].concat();
            let header = header(&name, EntryType::XHeader, 0o644, records.len() as u64);
            self.out.write_all(header.as_bytes())?;
            self.padded(&mut records.as_slice(), records.len() as u64)?;
        }
        self.out.write_all(member_header(member, size).as_bytes())?;
        self.out.write_all(&map)?;
        self.padded(contents, member.stored)
    }

    /// Ends the tar.
    pub fn finish(mut self) -> io::Result<W> {
        self.out.write_all(&[0; 2 * BLOCK])?;
        self.out.flush()?;
        Ok(self.out)
    }

    fn padded(&mut self, from: &mut dyn Read, size: u64) -> io::Result<()> {
        if io::copy(&mut from.take(size), &mut self.out)? < size {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "it became shorter while it was read"));
        }
        let over = usize::try_from(size % BLOCK as u64).expect("less than a block");
        self.out.write_all(&[0; BLOCK][..(BLOCK - over) % BLOCK])
    }
}

fn member_header(member: &Member, size: u64) -> Header {
    let kind = match &member.kind {
        Kind::File => EntryType::Regular,
        Kind::HardLink(_) => EntryType::Link,
        Kind::Symlink(_) => EntryType::Symlink,
        Kind::CharDevice { .. } => EntryType::Char,
        Kind::BlockDevice { .. } => EntryType::Block,
        Kind::Directory => EntryType::Directory,
        Kind::Fifo => EntryType::Fifo,
    };
    let mut header = header(&name_in_header(member), kind, member.mode, size);
    header.set_uid(fitting(member.uid.into(), SEVEN_DIGITS));
    header.set_gid(fitting(member.gid.into(), SEVEN_DIGITS));
    header.set_mtime(fitting(u64::try_from(member.mtime.seconds).unwrap_or_default(), ELEVEN_DIGITS));
    if let Kind::HardLink(target) | Kind::Symlink(target) = &member.kind {
        text(&mut header.as_old_mut().linkname, target);
    }
    if let (Kind::CharDevice { major, minor } | Kind::BlockDevice { major, minor }, Some(ustar)) =
        (&member.kind, header.as_ustar_mut())
    {
        ustar.set_device_major(*major);
        ustar.set_device_minor(*minor);
    }
    header.set_cksum();
    header
}

/// Returns the name that those see who know no sparse files, who get the map, too; for others it is in a record.
fn name_in_header(member: &Member) -> Cow<'_, [u8]> {
    if member.sparse.is_none() {
        return Cow::Borrowed(&member.path);
    }
    let slash = member.path.iter().rposition(|&byte| byte == b'/').map_or(0, |slash| slash + 1);
    let (above, name) = member.path.split_at(slash);
    Cow::Owned([above, b"GNUSparseFile.0/", name].concat())
}

/// Writes the map of a sparse file as GNU tar does, in format 1.0: numbers, a line each, in whole blocks
/// (<https://www.gnu.org/software/tar/manual/html_section/Sparse-Formats.html>). That it ends with a hole an empty segment says.
fn sparse_map(sparse: &Sparse) -> Vec<u8> {
    let end = sparse.segments.last().map_or(0, |(offset, length)| offset + length);
    let last = (end < sparse.size).then_some((sparse.size, 0));
    let segments: Vec<(u64, u64)> = sparse.segments.iter().copied().chain(last).collect();
    let mut text = format!("{}\n", segments.len());
    segments.iter().for_each(|(offset, length)| text += &format!("{offset}\n{length}\n"));
    let mut map = text.into_bytes();
    map.resize(map.len().next_multiple_of(BLOCK), 0);
    map
}

fn header(name: &[u8], kind: EntryType, mode: u32, size: u64) -> Header {
    let mut header = Header::new_ustar();
    // The crate's setter refuses `..`, a leading slash, and what is too long.
    text(&mut header.as_old_mut().name, name);
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_uid(0);
    header.set_gid(0);
    header.set_size(fitting(size, ELEVEN_DIGITS));
    header.set_cksum();
    header
}

/// Writes as much as there is room for: the whole is in a record then.
fn text(field: &mut [u8], value: &[u8]) {
    let len = value.len().min(field.len());
    field[..len].copy_from_slice(&value[..len]);
}

/// Returns 0 for what a field has no room for: it is in a record then, and GNU's own form of it in no ustar header.
fn fitting(number: u64, most: u64) -> u64 {
    if number > most { 0 } else { number }
}

/// Returns the records of what the header cannot hold. The crate would take keys that are UTF-8 only, and end a tar that
/// failed as if it were whole; names of attributes are any bytes.
fn records(member: &Member, size: u64) -> io::Result<Vec<u8>> {
    let mut records = Vec::new();
    let mut record = |key: &[u8], value: &[u8]| {
        let body = [b" ", key, b"=", value, b"\n"].concat();
        // The length counts its own digits.
        let mut len = body.len();
        while len != body.len() + len.to_string().len() {
            len = body.len() + len.to_string().len();
        }
        records.extend_from_slice(len.to_string().as_bytes());
        records.extend_from_slice(&body);
    };
    if let Some(sparse) = &member.sparse {
        record(b"GNU.sparse.major", b"1");
        record(b"GNU.sparse.minor", b"0");
        record(b"GNU.sparse.name", &member.path);
        record(b"GNU.sparse.realsize", sparse.size.to_string().as_bytes());
    } else if member.path.len() > NAME {
        record(b"path", &member.path);
    }
    if let Kind::HardLink(target) | Kind::Symlink(target) = &member.kind {
        if target.len() > NAME {
            record(b"linkpath", target);
        }
    }
    for (key, number) in [(&b"uid"[..], member.uid), (b"gid", member.gid)] {
        if u64::from(number) > SEVEN_DIGITS {
            record(key, number.to_string().as_bytes());
        }
    }
    if size > ELEVEN_DIGITS {
        record(b"size", size.to_string().as_bytes());
    }
    let time = member.mtime;
    if time.nanos > 0 || !u64::try_from(time.seconds).is_ok_and(|seconds| seconds <= ELEVEN_DIGITS) {
        record(b"mtime", decimal(time.seconds, time.nanos).as_bytes());
    }
    for (key, value) in &member.xattrs {
        if key.contains(&b'=') {
            let what = format!("extended attribute '{}' has a name that no tar can hold", key.escape_ascii());
            return Err(io::Error::new(io::ErrorKind::InvalidInput, what));
        }
        record(&[b"SCHILY.xattr.", &key[..]].concat(), value);
    }
    Ok(records)
}

/// Writes a time as a decimal fraction: what is before 1970 counts backwards from there.
fn decimal(seconds: i64, nanos: u32) -> String {
    let total = i128::from(seconds) * 1_000_000_000 + i128::from(nanos);
    let (sign, total) = (if total < 0 { "-" } else { "" }, total.unsigned_abs());
    let (whole, part) = (total / 1_000_000_000, total % 1_000_000_000);
    if part == 0 { format!("{sign}{whole}") } else { format!("{sign}{whole}.{part:09}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tarfile::{Limits, Reader, Time};

    fn member(path: &str, kind: Kind) -> Member {
        Member {
            path: path.into(),
            kind,
            mode: 0o4755,
            uid: 1,
            gid: 2,
            mtime: Time { seconds: 7, nanos: 0 },
            xattrs: Vec::new(),
            stored: 0,
            sparse: None,
        }
    }

    fn sparse(path: &str, size: u64, segments: &[(u64, u64)]) -> Member {
        let sparse = Sparse { size, segments: segments.to_vec() };
        Member { stored: sparse.stored(), sparse: Some(sparse), ..member(path, Kind::File) }
    }

    #[test]
    fn what_was_written_is_read_back() {
        let long = "d/".repeat(99) + "name";
        let odd = Member {
            uid: 3_000_000,
            gid: 4_000_000_000,
            mtime: Time { seconds: -3, nanos: 250_000_000 },
            xattrs: vec![(b"user.k".to_vec(), b"a\nb\0c".to_vec())],
            stored: 5,
            ..member("odd", Kind::File)
        };
        let members = [
            member("d/", Kind::Directory),
            odd,
            Member { mtime: Time { seconds: 1 << 40, nanos: 1 }, ..member(&long, Kind::Fifo) },
            member("l", Kind::Symlink(long.clone().into_bytes())),
            member("h", Kind::HardLink(b"odd".to_vec())),
            member("c", Kind::CharDevice { major: 4095, minor: 1_048_575 }),
            member("b", Kind::BlockDevice { major: 8, minor: 0 }),
            sparse("d/sparse", 1 << 40, &[(512, 1), (1 << 20, 4)]),
            sparse(&long, 5, &[(0, 5)]),
            sparse("hole", 9, &[]),
            sparse("many", 1 << 30, &(0..5).map(|nr| (nr << 20, 1)).collect::<Vec<_>>()),
        ];
        let mut writer = Writer::new(Vec::new());
        for member in &members {
            writer.member(member, &mut &b"12345"[..]).unwrap();
        }
        let tar = writer.finish().unwrap();
        assert_eq!(tar.len() % BLOCK, 0);
        let mut reader = Reader::new(tar.as_slice(), Limits::default());
        let mut read = Vec::new();
        while let Some(member) = reader.next().unwrap() {
            read.push(member);
        }
        assert_eq!(read, members);
    }

    #[test]
    fn file_that_became_shorter_is_an_error() {
        let file = Member { stored: 5, ..member("f", Kind::File) };
        assert!(Writer::new(Vec::new()).member(&file, &mut &b"1234"[..]).is_err());
    }
}
