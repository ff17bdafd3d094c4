//! `layer::recipe`: a recipe that something else wrote than ovlctl, or that has gone bad, over a tree that is another.
//!
//! It may make a tar, or be refused. What is remembered is bounded, and nothing but the layer's own files is read.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

use ovlctl::layer::recipe::{Fault, hollow, rebuild};
use ovlctl::sys::chain;
use ovlctl::sys::dir::Dir;

use crate::choices::Choices;
use crate::jail::{self, HERE, SECRET};

/// How much of a tar is taken: who writes a sound recipe may have it tell of any number of bytes.
const ROOM: u64 = 16 << 20;

const PATHS: [&[u8]; 13] = [
    b"a",
    b"b",
    b"d/a",
    b"none",
    b"d",
    b"link",
    b"out/outside",
    b"../../outside",
    b"/outside",
    b"fifo",
    b"",
    b"d/",
    b".",
];

/// Takes how the recipe comes about, and what it is made of.
pub fn run(data: &[u8]) {
    let mut choices = Choices::new(data);
    let magic = b"ovlctl recipe 1\n";
    let (file, plain) = match choices.below(3) {
        0 => (choices.rest().to_vec(), 0),
        1 => frames(&[magic, choices.rest()].concat()),
        _ => frames(&[&magic[..], &operations(&mut choices)].concat()),
    };
    jail::run(|| cook(&file, plain));
}

/// Compresses a recipe as ovlctl does; returns how long it was, too.
fn frames(plain: &[u8]) -> (Vec<u8>, usize) {
    (zstd::bulk::compress(plain, 1).expect("it fits"), plain.len())
}

fn operations(choices: &mut Choices<'_>) -> Vec<u8> {
    let mut ops = Vec::new();
    let mut size = 0;
    while choices.more() {
        match choices.below(8) {
            0 | 1 => {
                let bytes = choices.bytes(64);
                let lie = if choices.once_in(8) { choices.number() as u32 } else { 0 };
                ops.push(b'r');
                ops.extend((bytes.len() as u32).wrapping_add(lie).to_le_bytes());
                ops.extend(bytes);
                size += bytes.len() as u64;
            }
            2..=5 => {
                path(choices, b'f', &mut ops);
                ops.extend((choices.number() as u32).to_le_bytes());
                let runs: Vec<_> =
                    (0..choices.below(4)).map(|_| (choices.number(), choices.number())).collect();
                let lie = if choices.once_in(16) { choices.number() as u32 } else { 0 };
                ops.extend((runs.len() as u32).wrapping_add(lie).to_le_bytes());
                for (offset, length) in runs {
                    ops.extend(offset.to_le_bytes());
                    ops.extend(length.to_le_bytes());
                    size = length.wrapping_add(size);
                }
            }
            6 => {
                path(choices, b'd', &mut ops);
                ops.extend(choices.number().to_le_bytes());
            }
            _ => ops.extend(choices.bytes(16)),
        }
    }
    ops.push(b'e');
    ops.extend(size.to_le_bytes());
    ops
}

fn path(choices: &mut Choices<'_>, op: u8, ops: &mut Vec<u8>) {
    let path = *choices.pick(&PATHS);
    ops.push(op);
    ops.extend((path.len() as u16).to_le_bytes());
    ops.extend(path);
}

fn cook(recipe: &[u8], plain: usize) {
    let home = Path::new(HERE);
    fs::write(home.join("recipe"), recipe).expect("room for it");
    let recipe = File::open(home.join("recipe")).expect("it is there");
    furnish(home);
    let (diff, displaced) =
        (Dir::open(&home.join("diff")).expect("it"), Dir::open(&home.join("displaced")).expect("it"));
    for displaced in [None, Some(&displaced)] {
        let mut out = Out::default();
        let mut told = 0;
        let mut go_on = |fault: Fault| {
            is_told(&fault);
            told += 1;
            Ok(())
        };
        if let Err(fault) = rebuild(&recipe, displaced, &diff, &mut out, &mut go_on) {
            is_told(&fault);
        }
        assert!(told <= plain, "more is told than the recipe has");
        assert!(!contains(&out.written, SECRET.as_bytes()), "it is not the layer's");
    }
    let mut tar = tempfile::tempfile_in(HERE).expect("a file");
    if let Err(fault) = hollow(&recipe, &mut tar) {
        is_told(&fault);
    }
}

/// A tree with a file, a link and more, and two files beside it.
fn furnish(home: &Path) {
    for dir in ["diff/d", "displaced"] {
        fs::create_dir_all(home.join(dir)).expect("a directory");
    }
    for (file, contents) in [
        ("diff/a", "once upon a time"),
        ("diff/b", ""),
        ("diff/d/a", "more"),
        ("displaced/0", "zero"),
        ("displaced/1", ""),
    ] {
        fs::write(home.join(file), contents).expect("a file");
    }
    std::os::unix::fs::symlink("/outside", home.join("diff/link")).expect("a link");
    std::os::unix::fs::symlink("/", home.join("diff/out")).expect("a link");
    let mode = rustix::fs::Mode::from_raw_mode(0o600);
    rustix::fs::mknodat(rustix::fs::CWD, home.join("diff/fifo"), rustix::fs::FileType::Fifo, mode, 0)
        .expect("a fifo");
}

/// Where tars go: some of it is looked at.
#[derive(Default)]
struct Out {
    written: Vec<u8>,
    size: u64,
}

impl Write for Out {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.size += bytes.len() as u64;
        self.written.extend_from_slice(&bytes[..bytes.len().min((1 << 16) - self.written.len())]);
        if self.size < ROOM { Ok(bytes.len()) } else { Err(io::ErrorKind::StorageFull.into()) }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}

fn is_told(fault: &Fault) {
    let line = chain(fault);
    assert!(!line.chars().any(char::is_control), "it would reach a terminal: {line:?}");
}
