//! A sparse file of 20 bytes, `ab` at 4 and `c` at 10, as each writer stores it.

use super::*;

const EXPECTED: &str = "s file 'abc' of 20 [(4, 2), (10, 1)]
    next file ''";

fn gnu(pieces: &[(u64, u64)]) -> Block {
    let mut header = block(b'S', "s").with(MAGIC, GNU).with(483, b"00000000024\0");
    for (nr, (offset, length)) in pieces.iter().enumerate() {
        header = header.with(386 + 24 * nr, format!("{offset:011o}\0{length:011o}\0").as_bytes());
    }
    header
}

#[test]
fn in_a_gnu_header() {
    let tar = Tar::default().add(gnu(&[(4, 2), (10, 1), (20, 0)]), b"abc");
    tar.file("next", b"").end().shows(EXPECTED);
}

#[test]
fn in_the_blocks_that_continue_a_gnu_header() {
    let mut continued = [0; 1024];
    continued[..24].copy_from_slice(b"00000000012\x0000000000001\0");
    continued[504] = 1;
    let size = block(b'S', "s").with(SIZE, b"00000000003\0").0;
    let mut header = gnu(&[(4, 2)]).with(482, &[1]);
    header.0[SIZE..SIZE + 12].copy_from_slice(&size[SIZE..SIZE + 12]);
    let tar = Tar::default().add_as_is(header, &[&continued[..], b"abc"].concat());
    tar.file("next", b"").end().shows(EXPECTED);
}

#[test]
fn in_pax_records_of_format_0_0() {
    let records: &[(&str, &[u8])] = &[
        ("GNU.sparse.size", b"20"),
        ("GNU.sparse.numblocks", b"3"),
        ("GNU.sparse.offset", b"4"),
        ("GNU.sparse.numbytes", b"2"),
        ("GNU.sparse.offset", b"10"),
        ("GNU.sparse.numbytes", b"1"),
        ("GNU.sparse.offset", b"20"),
        ("GNU.sparse.numbytes", b"0"),
    ];
    Tar::default().pax(records).file("s", b"abc").file("next", b"").end().shows(EXPECTED);
}

fn format_0_1(map: &[u8], count: &[u8]) -> Tar {
    let records: &[(&str, &[u8])] = &[
        ("GNU.sparse.size", b"20"),
        ("GNU.sparse.numblocks", count),
        ("GNU.sparse.name", b"s"),
        ("GNU.sparse.map", map),
    ];
    Tar::default().pax(records).file("GNUSparseFile.1/s", b"abc")
}

#[test]
fn in_pax_records_of_format_0_1() {
    format_0_1(b"4,2,10,1", b"2").file("next", b"").end().shows(EXPECTED);
}

fn format_1_0(map: &[u8]) -> Tar {
    let records: &[(&str, &[u8])] = &[
        ("GNU.sparse.major", b"1"),
        ("GNU.sparse.minor", b"0"),
        ("GNU.sparse.name", b"s"),
        ("GNU.sparse.realsize", b"20"),
    ];
    let mut data = map.to_vec();
    data.resize(map.len().next_multiple_of(512), 0);
    data.extend_from_slice(b"abc");
    Tar::default().pax(records).file("GNUSparseFile.1/s", &data)
}

#[test]
fn before_the_data_in_format_1_0() {
    format_1_0(b"2\n4\n2\n10\n1\n").file("next", b"").end().shows(EXPECTED);
}

#[test]
fn a_map_before_the_data_may_cross_blocks() {
    let map = format!("251\n4\n2\n10\n1\n{}", "20\n0\n".repeat(249));
    format_1_0(map.as_bytes()).file("next", b"").end().shows(EXPECTED);
}

#[test]
fn a_file_may_be_nothing_but_a_hole() {
    let records: &[(&str, &[u8])] =
        &[("GNU.sparse.size", b"20"), ("GNU.sparse.numblocks", b"0"), ("GNU.sparse.map", b"")];
    Tar::default().pax(records).file("s", b"").shows("s file '' of 20 []");
    Tar::default().add(gnu(&[]), b"").shows("s file '' of 20 []");
}

#[test]
fn a_map_that_lies_is_refused() {
    for (map, count, reason) in [
        ("4,2,5,1", "2", "its sparse map overlaps or goes backwards"),
        ("10,1,4,2", "2", "its sparse map overlaps or goes backwards"),
        ("4,2,20,1", "2", "its sparse map goes beyond its end"),
        ("4,2", "1", "its sparse map tells of 2 bytes, 3 are stored"),
        ("4,2,10,2", "2", "its sparse map tells of 4 bytes, 3 are stored"),
        ("4,2,10,1", "3", "its sparse map has another length than it says"),
        ("4,2,10", "2", "its sparse map is cut"),
        ("4,x", "1", "its sparse map holds no number"),
        ("4,-1", "1", "its sparse map holds no number"),
        ("18446744073709551615,1", "1", "its sparse map is beyond all files"),
    ] {
        format_0_1(map.as_bytes(), count.as_bytes()).shows(&format!("entry 's': {reason}"));
    }
    for (map, reason) in [
        (&*format!("256\n{}", "0\n0\n".repeat(127)), "its sparse map is longer than its data"),
        ("2\nx\n", "its sparse map holds no number"),
        ("99999999999999999999999\n", "its sparse map is no map"),
    ] {
        format_1_0(map.as_bytes()).shows(&format!("entry 's': {reason}"));
    }
}

#[test]
fn a_map_is_bounded_and_for_files_only() {
    let limits = Limits { segments: 1, ..Limits::DEFAULT };
    assert_eq!(
        listing(&format_0_1(b"4,2,10,1", b"2").0, limits),
        "entry 's': its sparse map has more than 1 pieces"
    );
    Tar::default()
        .pax(&[("GNU.sparse.major", b"1"), ("GNU.sparse.minor", b"0"), ("GNU.sparse.realsize", b"1")])
        .add(block(b'5', "d"), b"")
        .shows("entry 'd': a sparse map is for files");
    Tar::default()
        .pax(&[("GNU.sparse.major", b"2"), ("GNU.sparse.minor", b"0"), ("GNU.sparse.realsize", b"1")])
        .file("f", b"")
        .shows("entry 'f': its sparse format is unknown");
}
