//! Tars written by hand, and what is read from them, a member a line.

use super::*;

mod hostile;
mod sparse;

/// A tar in the making.
#[must_use]
#[derive(Clone, Default)]
struct Tar(Vec<u8>);

/// A header block; its checksum is set when it goes into a [`Tar`].
#[must_use]
#[derive(Clone, Copy)]
struct Block([u8; 512]);

const NAME: usize = 0;
const MODE: usize = 100;
const UID: usize = 108;
const GID: usize = 116;
const SIZE: usize = 124;
const MTIME: usize = 136;
const CHECKSUM: usize = 148;
const FLAG: usize = 156;
const LINK: usize = 157;
const MAGIC: usize = 257;
const MAJOR: usize = 329;
const MINOR: usize = 337;
const PREFIX: usize = 345;

const GNU: &[u8] = b"ustar  \0";
const V7: &[u8] = &[0; 8];

/// A ustar header, mode 0644, nobody's but root's, of the epoch.
fn block(flag: u8, name: &str) -> Block {
    Block([0; 512])
        .with(NAME, name.as_bytes())
        .with(MODE, b"0000644\0")
        .with(FLAG, &[flag])
        .with(MAGIC, b"ustar\x0000")
}

impl Block {
    fn with(mut self, at: usize, bytes: &[u8]) -> Self {
        self.0[at..at + bytes.len()].copy_from_slice(bytes);
        self
    }
}

impl Tar {
    /// Adds a header whose size is that of `data`, and the data in whole blocks.
    fn add(self, header: Block, data: &[u8]) -> Self {
        let size = format!("{:011o}\0", data.len());
        self.add_as_is(header.with(SIZE, size.as_bytes()), data)
    }

    fn add_as_is(mut self, header: Block, data: &[u8]) -> Self {
        self.0.extend_from_slice(&sealed(header.0));
        self.0.extend_from_slice(data);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }

    fn file(self, name: &str, data: &[u8]) -> Self {
        self.add(block(b'0', name), data)
    }

    fn pax(self, records: &[(&str, &[u8])]) -> Self {
        self.add(block(b'x', "pax"), &pax(records))
    }

    /// Adds the two blocks of zeros at the end.
    fn end(mut self) -> Self {
        self.0.resize(self.0.len() + 1024, 0);
        self
    }

    /// Returns all members, and the error where there is one, a line each.
    fn listing(&self) -> String {
        listing(&self.0, Limits::DEFAULT)
    }

    #[track_caller]
    fn shows(&self, expected: &str) {
        let expected: Vec<&str> = expected.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        assert_eq!(self.listing().lines().collect::<Vec<_>>(), expected);
    }
}

fn sealed(mut block: [u8; 512]) -> [u8; 512] {
    block[CHECKSUM..CHECKSUM + 8].fill(b' ');
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    block[CHECKSUM..CHECKSUM + 8].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    block
}

fn pax(records: &[(&str, &[u8])]) -> Vec<u8> {
    let mut data = Vec::new();
    for (key, value) in records {
        let rest = key.len() + value.len() + 3;
        let length = (1..).find(|digits| (rest + digits).to_string().len() == *digits).unwrap() + rest;
        data.extend_from_slice(format!("{length} {key}=").as_bytes());
        data.extend_from_slice(value);
        data.push(b'\n');
    }
    data
}

fn listing(tar: &[u8], limits: Limits) -> String {
    let mut reader = Reader::new(tar, limits);
    let mut lines = String::new();
    loop {
        let line = match reader.next() {
            Ok(None) => return lines,
            Ok(Some(member)) => data(&mut reader).map(|data| line(&member, &data)),
            Err(error) => Err(error),
        };
        match line {
            Ok(line) => lines.push_str(&line),
            Err(error) => return lines + &error.to_string(),
        }
    }
}

fn data(reader: &mut Reader<&[u8]>) -> Result<Vec<u8>, Error> {
    let mut data = Vec::new();
    loop {
        let run = reader.fill()?;
        if run.is_empty() {
            assert_eq!(reader.data_left(), 0);
            return Ok(data);
        }
        data.extend_from_slice(run);
        let length = run.len();
        reader.consume(length);
    }
}

fn line(member: &Member, data: &[u8]) -> String {
    let Member { path, kind, mode, uid, gid, mtime, xattrs, stored, sparse } = member;
    assert_eq!(*stored, data.len() as u64);
    let kind = match kind {
        Kind::File => format!("file '{}'", data.escape_ascii()),
        Kind::Directory => "directory".to_owned(),
        Kind::Symlink(target) => format!("symlink {}", target.escape_ascii()),
        Kind::HardLink(target) => format!("link {}", target.escape_ascii()),
        Kind::CharDevice { major, minor } => format!("char {major}:{minor}"),
        Kind::BlockDevice { major, minor } => format!("block {major}:{minor}"),
        Kind::Fifo => "fifo".to_owned(),
    };
    let mut line = format!("{} {kind}", path.escape_ascii());
    if *mode != 0o644 {
        line += &format!(" {mode:04o}");
    }
    if (*uid, *gid) != (0, 0) {
        line += &format!(" {uid}:{gid}");
    }
    if *mtime != Time::default() {
        line += &format!(" @{}+{}ns", mtime.seconds, mtime.nanos);
    }
    for (name, value) in xattrs {
        line += &format!(" {}={}", name.escape_ascii(), value.escape_ascii());
    }
    if let Some(Sparse { size, segments }) = sparse {
        line += &format!(" of {size} {segments:?}");
    }
    line + "\n"
}

#[test]
fn a_name_is_where_its_format_has_it() {
    let long = "n".repeat(100);
    let times = b"12574544345\x0012574542274\0";
    let star = block(b'0', "star").with(PREFIX, &[b'p'; 131]).with(PREFIX + 131, times).with(508, b"tar\0");
    Tar::default()
        .add(block(b'0', "v7").with(MAGIC, V7).with(PREFIX, b"junk"), b"")
        .add(block(b'0', "ustar").with(PREFIX, b"some/prefix"), b"")
        .add(block(b'0', "plexus").with(MAGIC, b"ustar\0\0\0").with(PREFIX, b"dir"), b"")
        .add(block(b'0', &long).with(PREFIX, b"d"), b"")
        .add(block(b'0', "gnu").with(MAGIC, GNU).with(PREFIX, times), b"")
        .add(star, b"")
        .add(block(b'L', "././@LongLink").with(MAGIC, GNU), b"gnu/long\0junk")
        .add(block(b'0', "gnu/lo").with(MAGIC, GNU), b"")
        .add(block(b'L', "././@LongLink").with(MAGIC, GNU), b"both/long\0")
        .pax(&[("path", b"both/long")])
        .file("short", b"")
        .pax(&[("path", b"pax/long")])
        .file("short", b"")
        .file("new\nline", b"")
        .end()
        .shows(&format!(
            "v7 file ''
            some/prefix/ustar file ''
            dir/plexus file ''
            d/{long} file ''
            gnu file ''
            {p}/star file ''
            gnu/long file ''
            both/long file ''
            pax/long file ''
            new\\nline file ''",
            p = "p".repeat(131),
        ));
}

#[test]
fn a_kind_is_what_the_flag_says() {
    Tar::default()
        .add(block(0, "v7/").with(MAGIC, V7), b"")
        .add(block(b'7', "contiguous"), b"data")
        .add(block(b'q', "unheard-of"), b"data")
        .add(block(b'5', "dir"), b"")
        .add(block(b'D', "dump").with(MAGIC, GNU), b"Yname\0\0")
        .add(block(b'V', "label").with(MAGIC, GNU), b"")
        .add(block(b'2', "symlink").with(LINK, b"../to"), b"")
        .add(block(b'1', "link").with(LINK, b"to"), b"")
        .add(block(b'K', "././@LongLink").with(MAGIC, GNU), b"long/to\0")
        .add(block(b'2', "long").with(LINK, b"long"), b"")
        .pax(&[("linkpath", b"pax/to")])
        .add(block(b'1', "pax").with(LINK, b"pax"), b"")
        .add(block(b'3', "null").with(MAJOR, b"0000001\0").with(MINOR, b"0000003\0"), b"")
        .add(block(b'4', "loop").with(MAJOR, b"7777\0\0\0\0").with(MINOR, b"3777777\0"), b"")
        .add(block(b'6', "pipe"), b"")
        .end()
        .shows(
            "v7/ directory
            contiguous file 'data'
            unheard-of file 'data'
            dir directory
            dump directory
            symlink symlink ../to
            link link to
            long symlink long/to
            pax link pax/to
            null char 1:3
            loop block 4095:1048575
            pipe fifo",
        );
}

#[test]
fn what_carries_no_data_has_none_whatever_its_size() {
    let size = b"00000000777\0";
    let mut tar = Tar::default();
    for flag in *b"123456" {
        tar = tar.add_as_is(block(flag, "x").with(SIZE, size).with(LINK, b"to"), b"");
    }
    tar.file("next", b"data").shows(
        "x link to
        x symlink to
        x char 0:0
        x block 0:0
        x directory
        x fifo
        next file 'data'",
    );
}

#[test]
fn metadata_is_exact() {
    let xattrs: &[(&str, &[u8])] = &[
        ("SCHILY.xattr.security.capability", b"\x01\0\0\x02\n\0"),
        ("SCHILY.xattr.user.empty", b""),
        ("LIBARCHIVE.xattr.user.other", b"AAAA"),
        ("SCHILY.acl.access", b"user::rwx"),
        ("comment", b"none"),
    ];
    Tar::default()
        .add(
            block(b'0', "setuid").with(MODE, b"0104755\0").with(UID, b"0001750\0").with(GID, b"0000012\0"),
            b"",
        )
        .add(block(b'0', "old").with(MTIME, &[0xff; 12]), b"")
        .add(block(b'0', "big").with(UID, b"\x80\0\0\0\xff\xff\xff\xfe").with(MTIME, b"777777777777"), b"")
        .pax(&[("uid", b"4294967294"), ("gid", b"7"), ("mtime", b"-1.25")])
        .add(block(b'0', "pax").with(UID, b"rubbish!"), b"")
        .pax(&[("mtime", b"1"), ("mtime", b"")])
        .add(block(b'0', "undone").with(MTIME, b"00000000002\0"), b"")
        .pax(xattrs)
        .file("xattrs", b"")
        .add(block(b'0', "device-junk").with(MAJOR, b"dos\0"), b"")
        .end()
        .shows(
            r"setuid file '' 4755 1000:10
            old file '' @-1+0ns
            big file '' 4294967294:0 @68719476735+0ns
            pax file '' 4294967294:7 @-2+750000000ns
            undone file '' @2+0ns
            xattrs file '' security.capability=\x01\x00\x00\x02\n\x00 user.empty=
            device-junk file ''",
        );
}

#[test]
fn global_records_hold_until_others_say_otherwise() {
    Tar::default()
        .add(block(b'g', "global"), &pax(&[("uid", b"7"), ("mtime", b"9"), ("comment", b"0123")]))
        .file("a", b"")
        .pax(&[("uid", b"8")])
        .file("b", b"")
        .add(block(b'g', "global"), &pax(&[("uid", b"")]))
        .file("c", b"")
        .end()
        .shows(
            "a file '' 7:0 @9+0ns
            b file '' 8:0 @9+0ns
            c file '' @9+0ns",
        );
}

#[test]
fn records_are_for_the_next_member_even_past_other_headers() {
    Tar::default()
        .pax(&[("size", b"4")])
        .add(block(b'L', "././@LongLink").with(MAGIC, GNU), b"long")
        .file("short", b"data")
        .file("next", b"")
        .end()
        .shows(
            "long file 'data'
            next file ''",
        );
}

#[test]
fn a_tar_ends_at_a_block_of_zeros_or_with_its_input() {
    let one = Tar::default().file("a", b"data");
    let zeros = |n: usize| Tar([&one.0[..], &vec![0; n]].concat());
    let trailing = Tar([&zeros(1024).0[..], &Tar::default().file("b", b"").0, b"junk"].concat());
    let lone = Tar([&zeros(512).0[..], &Tar::default().file("b", b"").0].concat());
    for tar in [zeros(0), zeros(512), zeros(1024), zeros(10_240), trailing, lone] {
        tar.shows("a file 'data'");
        let mut reader = Reader::new(&tar.0[..], Limits::DEFAULT);
        while reader.next().unwrap().is_some() {}
        assert!(reader.next().unwrap().is_none());
        assert!(reader.finish().unwrap().is_empty());
    }
    Tar::default().shows("");
}

#[test]
fn unread_data_is_passed_over() {
    let tar = Tar::default().file("a", &[b'a'; 700]).file("b", b"data").end();
    let mut reader = Reader::new(&tar.0[..], Limits::DEFAULT);
    reader.next().unwrap();
    assert_eq!((reader.data_left(), reader.position()), (700, 512));
    reader.consume(100);
    *reader.input_mut() = &tar.0[512 + 300..];
    reader.took(200);
    assert_eq!((reader.data_left(), reader.position()), (400, 812));
    assert_eq!(reader.next().unwrap().unwrap().path, b"b");
    assert_eq!(data(&mut reader).unwrap(), b"data");
}
