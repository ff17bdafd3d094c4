//! Members become a tar: ustar headers, with PAX records for what they cannot hold (POSIX.1-2017, pax).
//!
//! The bytes are a function of the members, and of nothing else.

use std::io::{self, Read, Write};

use tar::{EntryType, Header};

use super::header::BLOCK;
use super::{Kind, Member};

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

    /// Writes a member, with [`Member::stored`] bytes of `contents`; fewer are an error. Sparse maps are not written.
    pub fn member(&mut self, member: &Member, contents: &mut dyn Read) -> io::Result<()> {
        let records = records(member)?;
        if !records.is_empty() {
            let last = member.path.rsplit(|&byte| byte == b'/').find(|part| !part.is_empty());
            let name = [b"PaxHeaders/", last.unwrap_or(b"root")].concat();
            let header = header(&name, EntryType::XHeader, 0o644, records.len() as u64);
            self.out.write_all(header.as_bytes())?;
            self.padded(&mut records.as_slice(), records.len() as u64)?;
        }
        self.out.write_all(member_header(member).as_bytes())?;
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

fn member_header(member: &Member) -> Header {
    let kind = match &member.kind {
        Kind::File => EntryType::Regular,
        Kind::HardLink(_) => EntryType::Link,
        Kind::Symlink(_) => EntryType::Symlink,
        Kind::CharDevice { .. } => EntryType::Char,
        Kind::BlockDevice { .. } => EntryType::Block,
        Kind::Directory => EntryType::Directory,
        Kind::Fifo => EntryType::Fifo,
    };
    let mut header = header(&member.path, kind, member.mode, member.stored);
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
fn records(member: &Member) -> io::Result<Vec<u8>> {
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
    if member.path.len() > NAME {
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
    if member.stored > ELEVEN_DIGITS {
        record(b"size", member.stored.to_string().as_bytes());
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
