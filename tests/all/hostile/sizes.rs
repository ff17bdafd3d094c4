//! Sizes that lie, maps of sparse files that do not fit, headers without end, tars that are cut.

use super::case::{Lab, contained, refused};
use super::raw::{
    GNU, LINK, MAGIC, MTIME, PIECES, REAL_SIZE, SIZE, file, gnu_long, header, record, records, tar,
};

const NO_FIT: &str = "its size does not fit";
const DISAGREE: &str = "its header and its PAX records disagree about its size";
const LONG: &str = "its extended header has more than 1048576 bytes";

/// A whole member, for a reader that believes another size than this one does.
fn smuggled() -> Vec<u8> {
    [file("../canary", b"smuggled"), vec![0; 512]].concat()
}

#[test]
fn sizes_that_lie_are_refused() {
    Lab::new().run(&[
        refused(
            "negative, base-256",
            |_| vec![tar(&[header(b'0', b"x").with(SIZE, &[0xff; 12]).block()])],
            NO_FIT,
        ),
        refused(
            "2^63, base-256",
            |_| vec![tar(&[header(b'0', b"x").with(SIZE, b"\x80\0\0\0\x80\0\0\0\0\0\0\0").block()])],
            NO_FIT,
        ),
        refused(
            "2^94, base-256",
            |_| {
                vec![tar(&[header(b'0', b"x")
                    .with(SIZE, b"\xbf\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff")
                    .block()])]
            },
            NO_FIT,
        ),
        refused(
            "no number",
            |_| vec![tar(&[header(b'0', b"x").with(SIZE, b"0x10").block()])],
            "its size is no number",
        ),
        refused(
            "beyond the layer",
            |_| vec![tar(&[header(b'0', b"x").size(1 << 30).and(b"a little")])],
            "entry 'x': the tar ends inside its data",
        ),
        refused(
            "beyond the layer, base-256",
            |_| {
                vec![tar(&[header(b'0', b"x")
                    .with(SIZE, b"\x80\0\0\0\0\0\x7f\xff\xff\xff\xff\xff")
                    .and(b"a little")])]
            },
            "entry 'x': the tar ends inside its data",
        ),
        refused(
            "a record of 0 over a member in the data", // CVE-2025-62518
            |_| {
                vec![tar(&[records(b'x', &[("size", b"0")]), header(b'0', b"x").size(1024).and(&smuggled())])]
            },
            DISAGREE,
        ),
        refused(
            "a record of 1,024 over a size of 0", // and its inverse, CVE-2026-33055
            |_| vec![tar(&[records(b'x', &[("size", b"1024")]), header(b'0', b"x").and(&smuggled())])],
            DISAGREE,
        ),
        refused(
            "a negative record",
            |_| vec![tar(&[records(b'x', &[("size", b"-1")]), file("x", b"")])],
            NO_FIT,
        ),
        refused(
            "a record of 2^64",
            |_| vec![tar(&[records(b'x', &[("size", b"18446744073709551616")]), file("x", b"")])],
            NO_FIT,
        ),
        refused(
            "a record of 512 GiB",
            |_| vec![tar(&[records(b'x', &[("size", b"549755813888")]), file("x", b"")])],
            "the tar ends inside its data",
        ),
        refused(
            "data behind a link, which has none",
            |_| vec![tar(&[header(b'2', b"l").with(LINK, b"x").size(8).and(b"data")])],
            "the header's checksum is",
        ),
        contained(
            "a link that has a size and no data, as old tars write it",
            |_| vec![tar(&[file("x", b"1"), header(b'1', b"h").with(LINK, b"x").size(1).block()])],
            "f 0644 h  1\nf 0644 x  1  = h",
        ),
        contained(
            "a directory that has a size and no data",
            |_| vec![tar(&[header(b'5', b"d").size(512).with(100, b"0000755\0").block(), file("x", b"1")])],
            "d 0755 d\nf 0644 x  1",
        ),
        refused(
            "a time that is no number",
            |_| vec![tar(&[header(b'0', b"x").with(MTIME, b"yesterday").block()])],
            "its time is no number that fits",
        ),
    ]);
}

#[test]
fn headers_without_end_are_refused() {
    Lab::new().run(&[
        refused(
            "PAX records of 8 GiB",
            |_| vec![tar(&[header(b'x', b"p").with(SIZE, b"77777777777\0").block()])],
            LONG,
        ),
        refused(
            "PAX records of 2^62",
            |_| vec![tar(&[header(b'x', b"p").with(SIZE, b"\x80\0\0\0\x40\0\0\0\0\0\0\0").block()])],
            LONG,
        ),
        refused(
            "a GNU name of 8 GiB",
            |_| vec![tar(&[header(b'L', b"l").with(SIZE, b"77777777777\0").block()])],
            LONG,
        ),
        refused(
            "a GNU target of 8 GiB",
            |_| vec![tar(&[header(b'K', b"l").with(SIZE, b"77777777777\0").block()])],
            LONG,
        ),
        refused(
            "global records of 8 GiB",
            |_| vec![tar(&[header(b'g', b"g").with(SIZE, b"77777777777\0").block()])],
            LONG,
        ),
        refused(
            "a name of 1 MiB and more",
            |_| vec![tar(&[gnu_long(b'L', &[b'n'; (1 << 20) + 1]), file("x", b"")])],
            LONG,
        ),
        refused(
            "a name of 1 MiB", // shown, but not all of it
            |_| vec![tar(&[gnu_long(b'L', &vec![b'n'; 1 << 20]), file("x", b"")])],
            "a path of 1048576 bytes, and 4095 is the longest",
        ),
        refused(
            "records in many headers",
            |_| {
                let half = records(b'x', &[("comment", &vec![b'c'; 600 << 10])]);
                vec![tar(&[half.clone(), half, file("x", b"")])]
            },
            LONG,
        ),
        refused(
            "global records that add up",
            |_| {
                let some = records(b'g', &[("SCHILY.xattr.user.a", &[b'v'; 9000])]);
                vec![tar(&[some.clone(), some, file("x", b"")])]
            },
            "its global records have more than 16384 bytes",
        ),
        refused(
            "a record longer than its header",
            |_| vec![tar(&[header(b'x', b"p").size(12).and(b"99 path=good\n"), file("x", b"")])],
            "its PAX records are damaged",
        ),
        refused(
            "a record whose length ends in the next",
            |_| vec![tar(&[header(b'x', b"p").size(18).and(b"14 uid=12\n9 gid=1\n"), file("x", b"")])],
            "its PAX records are damaged",
        ),
        contained(
            "a value that looks like a record",
            |_| {
                let value = [&b"\n"[..], &record("path", b"../../canary")].concat();
                vec![tar(&[records(b'x', &[("SCHILY.xattr.user.a", &value)]), file("x", b"1")])]
            },
            "f 0644 x  1  {user.a=\\n21 path=../../canary\\n}",
        ),
    ]);
}

#[test]
fn tars_that_are_cut_or_damaged_are_refused() {
    Lab::new().run(&[
        refused(
            "a wrong checksum",
            |_| {
                let mut tar = tar(&[file("a", b"1"), file("b", b"2")]);
                tar[1024] ^= 1;
                vec![tar]
            },
            "the header's checksum is wrong",
        ),
        refused(
            "a header cut in two",
            |_| vec![tar(&[file("a", b"1")])[..1300].to_vec()],
            "the tar ends inside a header",
        ),
        refused(
            "data cut in two",
            |_| vec![file("a", &[b'x'; 5000])[..2048].to_vec()],
            "entry 'a': the tar ends inside its data",
        ),
        refused(
            "padding cut off",
            |_| vec![file("a", b"1")[..514].to_vec()],
            "entry 'a': the tar ends inside its data",
        ),
        refused(
            "records for no member",
            |_| vec![tar(&[file("a", b"1"), records(b'x', &[("path", b"b")])])],
            "ends after a member's extended header",
        ),
        refused(
            "noise",
            |_| vec![(0..2048u32).map(|n| (n * 7 + 1) as u8).collect()],
            "the header's checksum is",
        ),
        refused(
            "a member of another volume",
            |_| vec![tar(&[header(b'M', b"x").with(MAGIC, GNU).block()])],
            "continues a file of another volume",
        ),
        refused(
            "a type that nobody knows",
            |_| vec![tar(&[header(b'Z', b"x").block()])],
            "member type 'Z' is unknown",
        ),
        contained("no end marker", |_| vec![file("a", b"1")], "f 0644 a  1"),
        contained("nothing at all", |_| vec![Vec::new()], ""),
        contained(
            "a second tar behind the first, which ends it",
            |_| vec![[tar(&[file("a", b"1")]), tar(&[file("../canary", b"2")])].concat()],
            "f 0644 a  1",
        ),
        contained(
            "two tars with no end between",
            |_| vec![[file("a", b"1"), tar(&[file("b", b"2")])].concat()],
            "f 0644 a  1\nf 0644 b  2",
        ),
    ]);
}

/// A PAX sparse file of format 0.1.
fn sparse(size: &[u8], count: &[u8], map: &[u8], data: &[u8]) -> Vec<Vec<u8>> {
    let records =
        records(b'x', &[("GNU.sparse.size", size), ("GNU.sparse.numblocks", count), ("GNU.sparse.map", map)]);
    vec![tar(&[records, file("s", data)])]
}

/// One of format 1.0, whose map stands before its data.
fn sparse_1_0(map: &[u8], data: &[u8]) -> Vec<Vec<u8>> {
    let records = records(
        b'x',
        &[("GNU.sparse.major", b"1"), ("GNU.sparse.minor", b"0"), ("GNU.sparse.realsize", b"100")],
    );
    let mut body = map.to_vec();
    body.resize(body.len().next_multiple_of(512), 0);
    body.extend(data);
    vec![tar(&[records, file("s", &body)])]
}

/// GNU's old format, with one piece.
fn sparse_old(offset: &[u8], length: &[u8], size: &[u8], data: &[u8]) -> Vec<Vec<u8>> {
    let old = header(b'S', b"s").with(MAGIC, GNU).with(PIECES, offset).with(PIECES + 12, length);
    vec![tar(&[old.with(REAL_SIZE, size).size(data.len() as u64).and(data)])]
}

#[test]
fn sparse_maps_that_lie_are_refused() {
    const ORDER: &str = "its sparse map overlaps or goes backwards";
    const BEYOND: &str = "its sparse map goes beyond its end";
    Lab::new().run(&[
        refused("pieces that overlap", |_| sparse(b"100", b"2", b"0,10,5,10", &[1; 20]), ORDER),
        refused("pieces that go backwards", |_| sparse(b"100", b"2", b"50,10,0,10", &[1; 20]), ORDER),
        refused("a piece beyond the end", |_| sparse(b"100", b"1", b"95,10", &[1; 10]), BEYOND),
        refused(
            "a piece beyond all files",
            |_| sparse(b"100", b"1", b"18446744073709551615,10", &[1; 10]),
            "beyond all files",
        ),
        refused(
            "more data than pieces",
            |_| sparse(b"100", b"1", b"0,10", &[1; 20]),
            "tells of 10 bytes, 20 are stored",
        ),
        refused(
            "more pieces than data",
            |_| sparse(b"100", b"1", b"0,90", &[1; 20]),
            "tells of 90 bytes, 20 are stored",
        ),
        refused("half a piece", |_| sparse(b"100", b"1", b"0,10,50", &[1; 10]), "its sparse map is cut"),
        refused(
            "fewer pieces than it says",
            |_| sparse(b"100", b"7", b"0,10", &[1; 10]),
            "another length than it says",
        ),
        refused("no numbers", |_| sparse(b"100", b"1", b"a,b", &[1; 10]), "its sparse map holds no number"),
        refused("a negative size", |_| sparse(b"-1", b"0", b"", b""), "its sparse map holds no number"),
        refused("a size of 2^63", |_| sparse(b"9223372036854775808", b"0", b"", b""), NO_FIT),
        refused(
            "70,000 pieces",
            |_| {
                let map: Vec<String> = (0..70_000).map(|nr| format!("{},1", nr * 2)).collect();
                sparse(b"140000", b"70000", map.join(",").as_bytes(), &[1; 70_000])
            },
            "its sparse map has more than 65536 pieces",
        ),
        refused(
            "a map that is longer than its data",
            |_| sparse_1_0(&[&b"200\n"[..], &b"0\n".repeat(254)].concat(), b""),
            "its sparse map is longer than its data",
        ),
        refused("a map that is no map", |_| sparse_1_0(&[b'1'; 512], &[1; 10]), "its sparse map is no map"),
        refused(
            "a map of 2^64 pieces",
            |_| sparse_1_0(b"18446744073709551616\n", b""),
            "its sparse map holds no number",
        ),
        refused("a map that overlaps, before its data", |_| sparse_1_0(b"2\n0\n5\n3\n5\n", &[1; 10]), ORDER),
        refused(
            "an old one beyond its end",
            |_| sparse_old(b"00000000100\0", b"00000000003\0", b"00000000024\0", b"abc"),
            BEYOND,
        ),
        refused(
            "an old one of too little data",
            |_| sparse_old(b"00000000000\0", b"00000000007\0", b"00000000024\0", b"abc"),
            "tells of 7 bytes, 3 are stored",
        ),
        refused(
            "a map for a directory",
            |_| {
                let map: &[(&str, &[u8])] =
                    &[("GNU.sparse.size", b"1"), ("GNU.sparse.numblocks", b"0"), ("GNU.sparse.map", b"")];
                vec![tar(&[records(b'x', map), header(b'5', b"d").block()])]
            },
            "a sparse map is for files",
        ),
        contained(
            "a sound one",
            |_| sparse(b"12", b"1", b"2,4", b"data"),
            "f 0644 s  \\x00\\x00data\\x00\\x00\\x00\\x00\\x00\\x00",
        ),
    ]);
}
