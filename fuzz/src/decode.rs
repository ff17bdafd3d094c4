//! `archive::decode`: compressed streams, sound and damaged, whole and in pieces.

use std::io::{self, Read, Write};

use ovlctl::archive::{Blob, Damaged, decoder};

use crate::choices::Choices;

/// What is read of a stream that may be a bomb.
const ENOUGH: u64 = 4 << 20;

/// Takes how the stream comes about, and what it is made of.
pub fn run(data: &[u8]) {
    let mut choices = Choices::new(data);
    match choices.below(2) {
        0 => {
            read(choices.rest());
        }
        _ => packed(&mut choices),
    }
}

/// What is compressed, in several pieces, is read again; and what was damaged then, is not taken for something else
/// where there are checksums.
fn packed(choices: &mut Choices<'_>) {
    let format = choices.below(4);
    let (mut stream, mut plain) = (Vec::new(), Vec::new());
    for _ in 0..=choices.below(3) {
        let text = choices.bytes(255).repeat(*choices.pick(&[1, 1, 1, 3, 200]));
        stream.extend(pack(format, &text));
        plain.extend(text);
        if format == 1 && choices.once_in(4) {
            stream.extend(b"\x5f\x2a\x4d\x18\x03\0\0\0abc");
        }
    }
    assert_eq!(read(&stream).as_ref(), Some(&plain), "it is not what was packed");
    for _ in 0..=choices.below(4) {
        let at = usize::from(choices.byte()) * (stream.len() / 256 + 1);
        match choices.below(4) {
            0 => stream.truncate(at),
            1 => stream.extend(choices.bytes(16)),
            _ => {
                if let Some(byte) = stream.get_mut(at) {
                    *byte ^= choices.byte();
                }
            }
        }
    }
    read(&stream);
}

fn pack(format: usize, text: &[u8]) -> Vec<u8> {
    let packed = match format {
        0 => {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            encoder.write_all(text).and_then(|()| encoder.finish())
        }
        1 => zstd::encode_all(text, 1),
        2 => {
            let mut encoder = liblzma::write::XzEncoder::new(Vec::new(), 0);
            encoder.write_all(text).and_then(|()| encoder.finish())
        }
        _ => {
            let mut encoder = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
            encoder.write_all(text).and_then(|()| encoder.finish())
        }
    };
    packed.expect("memory takes it")
}

/// Reads a stream at once and by small pieces, which must not differ; returns what it holds, if it is sound.
fn read(stream: &[u8]) -> Option<Vec<u8>> {
    let (whole, fault) = read_by(stream, 64 << 10);
    let (pieces, fault_in_pieces) = read_by(stream, 257);
    if whole.len().max(pieces.len()) as u64 > ENOUGH {
        return Some(whole);
    }
    assert_eq!(fault.is_some(), fault_in_pieces.is_some(), "{fault:?}, in pieces {fault_in_pieces:?}");
    if let Some(fault) = fault {
        is_told(&fault);
        return None;
    }
    assert!(whole == pieces, "in pieces it is something else");
    Some(whole)
}

fn read_by(stream: &[u8], piece: usize) -> (Vec<u8>, Option<io::Error>) {
    let fd = rustix::fs::memfd_create("stream", rustix::fs::MemfdFlags::CLOEXEC).expect("a file in memory");
    let mut file = std::fs::File::from(fd);
    file.write_all(stream).expect("room for it");
    let mut decoder = match Blob::of_file(file).and_then(decoder) {
        Ok(decoder) => decoder,
        Err(fault) => return (Vec::new(), Some(fault)),
    };
    let (mut out, mut buffer) = (Vec::new(), vec![0; piece]);
    loop {
        match decoder.read(&mut buffer) {
            Ok(0) => return (out, None),
            Ok(_) if out.len() as u64 > ENOUGH => return (out, None),
            Ok(n) => out.extend_from_slice(&buffer[..n]),
            Err(fault) => return (out, Some(fault)),
        }
    }
}

fn is_told(fault: &io::Error) {
    let inner = fault.get_ref().and_then(|inner| inner.downcast_ref::<Damaged>());
    assert!(inner.is_some(), "it is the stream's fault: {fault:?}");
    let line = fault.to_string();
    assert!(!line.chars().any(char::is_control), "it would reach a terminal: {line:?}");
}
