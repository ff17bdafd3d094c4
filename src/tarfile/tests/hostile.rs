//! Tars that lie or are damaged.

use super::*;

#[test]
fn numbers_that_do_not_fit_are_refused_and_never_cut() {
    let dev = |major: &[u8], minor: &[u8]| block(b'3', "x").with(MAJOR, major).with(MINOR, minor);
    for (header, reason) in [
        (block(b'0', "x").with(UID, b"\x80\0\0\x01\0\0\0\0"), "its owner 4294967296 does not fit"),
        (block(b'0', "x").with(UID, b"\x80\0\0\0\xff\xff\xff\xff"), "its owner 4294967295 does not fit"),
        (block(b'0', "x").with(GID, &[0xff; 8]), "its group -1 does not fit"),
        (block(b'0', "x").with(UID, b"root\0"), "its owner is no number"),
        (block(b'0', "x").with(MODE, b"rw-r--r-"), "its mode is no number"),
        (block(b'0', "x").with(SIZE, &[0xff; 12]), "its size does not fit"),
        (block(b'0', "x").with(SIZE, b"\x80\0\0\0\x80\0\0\0\0\0\0\0"), "its size does not fit"),
        (block(b'0', "x").with(SIZE, b"ten"), "its size is no number"),
        (block(b'0', "x").with(MTIME, b"\x80\0\0\0\x80\0\0\0\0\0\0\0"), "its time is no number that fits"),
        (dev(b"0010000\0", b"0\0"), "its major number 4096 does not fit"),
        (dev(b"\x80\0\0\x01\0\0\0\x01", b"0\0"), "its major number 4294967297 does not fit"),
        (dev(b"0\0", b"4000000\0"), "its minor number 1048576 does not fit"),
        (dev(b"dos\0", b"0\0"), "its major number is no number"),
        (block(b'M', "x").with(MAGIC, GNU), "continues a file of another volume"),
        (block(b'N', "x").with(MAGIC, GNU), "member type 'N' is unknown"),
        (block(b'S', "x"), "its sparse format is unknown"),
    ] {
        Tar::default().add_as_is(header, b"").shows(&format!("entry 'x': {reason}"));
    }
}

#[test]
fn records_that_lie_are_refused() {
    for (key, value, reason) in [
        ("uid", &b"4294967295"[..], "its owner 4294967295 does not fit"),
        ("gid", b"-1", "its group -1 does not fit"),
        ("uid", b"1x", "its owner is no number"),
        ("mtime", b"999xxx", "its time is no number that fits"),
        ("size", b"-1", "its size does not fit"),
        ("size", b"9223372036854775808", "its size does not fit"),
        ("size", b"512", "its header and its PAX records disagree about its size"),
        ("SCHILY.xattr.", b"1", "'' is no name of an extended attribute"),
        ("SCHILY.xattr.a\0b", b"1", "'a\\x00b' is no name of an extended attribute"),
        ("GNU.sparse.new", b"1", "record 'GNU.sparse.new' is unknown"),
        ("GNU.sparse.numbytes", b"1", "its sparse map is out of order"),
    ] {
        Tar::default().pax(&[(key, value)]).file("x", b"data").shows(&format!("entry 'x': {reason}"));
    }
    Tar::default().pax(&[("path", b"a\0b")]).file("x", b"").shows("entry 'a\\x00b': a NUL is in its name");
    let link = block(b'2', "x");
    Tar::default().pax(&[("linkpath", b"a\0b")]).add(link, b"").shows("entry 'x': a NUL is in its target");
}

#[test]
fn sizes_beyond_the_octal_field_come_from_the_records() {
    let tar = Tar::default().pax(&[("size", b"8589934592")]).file("x", b"");
    let mut reader = Reader::new(&tar.0[..], Limits::DEFAULT);
    assert_eq!(reader.next().unwrap().unwrap().stored, 1 << 33);
}

#[test]
fn checksums_may_be_signed_but_not_wrong() {
    let mut header = sealed(block(b'0', "\u{fc}").0);
    let signed: i32 = header.iter().map(|byte| i32::from(i8::from_ne_bytes([*byte]))).sum();
    let own: i32 = header[CHECKSUM..CHECKSUM + 8].iter().map(|byte| i32::from(*byte)).sum();
    let sum = signed - own + 8 * i32::from(b' ');
    header[CHECKSUM..CHECKSUM + 8].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    Tar(header.to_vec()).shows(r"\xc3\xbc file ''");

    header[NAME] ^= 1;
    Tar(header.to_vec()).shows("no sound tar at byte 0: the header's checksum is wrong");
}

#[test]
fn a_tar_that_is_cut_says_where() {
    let tar = Tar::default().file("a", b"data").pax(&[("path", b"bcd")]).file("b", b"more");
    for (length, error) in [
        (511, "no sound tar at byte 511: the tar ends inside a header"),
        (512, "entry 'a': the tar ends inside its data"),
        (514, "entry 'a': the tar ends inside its data"),
        (516, "a file 'data'\nentry 'a': the tar ends inside its data"),
        (1536, "a file 'data'\nentry 'pax': the tar ends inside its extended header"),
        (1600, "a file 'data'\nentry 'pax': the tar ends inside its extended header"),
        (2048, "a file 'data'\nno sound tar at byte 2048: ends after a member's extended header"),
        (2560, "a file 'data'\nentry 'bcd': the tar ends inside its data"),
    ] {
        Tar(tar.0[..length].to_vec()).shows(error);
    }
}

#[test]
fn a_name_that_readers_would_disagree_on_is_refused() {
    let long = |flag| Tar::default().add(block(flag, "././@LongLink").with(MAGIC, GNU), b"long\0");
    for tar in [
        long(b'L').pax(&[("path", b"record")]).file("a", b""),
        long(b'L').pax(&[("path", b"long")]).pax(&[("GNU.sparse.name", b"record")]).file("a", b""),
    ] {
        tar.shows("entry 'long': its long name and its PAX records disagree");
    }
    let link = long(b'K').pax(&[("linkpath", b"record")]).add(block(b'2', "a"), b"");
    link.shows("entry 'a': its long name and its PAX records disagree");
    let emptied = long(b'K').pax(&[("linkpath", b"")]).add(block(b'2', "a"), b"");
    emptied.shows("a symlink long");
}

#[test]
fn what_is_remembered_is_bounded() {
    let limits = Limits { records: 64, global_records: 16, segments: 1 };
    let long = [b'x'; 65];
    for (tar, expected) in [
        (
            Tar::default().add(block(b'L', "l"), &long),
            "entry 'l': its extended header has more than 64 bytes",
        ),
        (
            Tar::default().pax(&[("a", &long[..30])]).pax(&[("a", &long[..30])]),
            "entry 'pax': its extended header has more than 64 bytes",
        ),
        (
            Tar::default().add_as_is(block(b'x', "x").with(SIZE, b"77777777777\0"), b""),
            "entry 'x': its extended header has more than 64 bytes",
        ),
        (
            Tar::default().add(block(b'g', "g"), &pax(&[("uid", b"1"), ("gid", b"1"), ("uid", b"2")])),
            "no sound tar at byte 1024: its global records have more than 16 bytes",
        ),
    ] {
        assert_eq!(listing(&tar.0, limits), expected);
    }
}

/// Numbers that are the same on each run (xorshift64).
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).unwrap() % n
    }
}

fn sample() -> Vec<u8> {
    let sparse: &[(&str, &[u8])] =
        &[("GNU.sparse.major", b"1"), ("GNU.sparse.minor", b"0"), ("GNU.sparse.realsize", b"20")];
    let map: &[(&str, &[u8])] =
        &[("GNU.sparse.size", b"9"), ("GNU.sparse.numblocks", b"1"), ("GNU.sparse.map", b"2,4")];
    let mut data = b"1\n4\n3\n".to_vec();
    data.resize(512, 0);
    data.extend_from_slice(b"abc");
    let old = block(b'S', "s").with(MAGIC, GNU).with(386, b"00000000004\x0000000000003\0");
    let all = Tar::default()
        .add(block(b'g', "g"), &pax(&[("gid", b"7"), ("SCHILY.xattr.user.g", b"1")]))
        .add(block(b'L', "././@LongLink").with(MAGIC, GNU), b"a/long/name\0")
        .file("a", &[b'a'; 600])
        .pax(&[("path", b"b"), ("mtime", b"-1.5"), ("uid", b"12"), ("SCHILY.xattr.user.a", b"\n\0")])
        .file("b", b"b")
        .pax(sparse)
        .file("c", &data)
        .pax(map)
        .file("d", b"data")
        .add(old.with(482, &[1]).with(483, b"00000000024\0"), b"abc")
        .add(block(b'3', "null").with(MAJOR, b"0000001\0").with(MINOR, b"0000003\0"), b"")
        .add(block(b'1', "l").with(LINK, b"b").with(MTIME, &[0xff; 12]), b"");
    all.end().0
}

#[test]
fn no_bytes_whatever_make_it_panic() {
    let sample = sample();
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
    for _ in 0..10_000 {
        let mut tar = sample.clone();
        for _ in 0..=dice.below(4) {
            let at = dice.below(tar.len());
            tar[at] = match dice.below(4) {
                0 => 0,
                1 => 0xff,
                2 => b"0123456789 \n=,-"[dice.below(15)],
                _ => u8::try_from(dice.below(256)).unwrap(),
            };
            // Most changes of a header would go no further than its checksum.
            let start = at / 512 * 512;
            if tar[start + MAGIC..].starts_with(b"ustar") {
                let header = sealed(tar[start..start + 512].try_into().unwrap());
                tar[start..start + 512].copy_from_slice(&header);
            }
        }
        if dice.below(8) == 0 {
            tar.truncate(dice.below(tar.len()));
        }
        listing(&tar, Limits { records: 4096, ..Limits::DEFAULT });
    }
}
