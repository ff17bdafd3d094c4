//! The parts of unpacking, one by one: `cargo bench --bench parts`.

use std::env;
use std::fs;
use std::hint::black_box;
use std::io::Read;
use std::os::unix::fs::DirBuilderExt;

use divan::Bencher;
use divan::counter::{BytesCount, ItemsCount};
use ovlctl::archive::blob::{self, Blob};
use ovlctl::digest::{Digest, Hasher};
use ovlctl::layer::{self, Buffers, Options};
use ovlctl::sys::dir::Dir;
use ovlctl::tarfile::{Limits, Reader};
use tempfile::TempDir;

const MIB: usize = 1 << 20;

fn main() {
    divan::main();
}

/// Bytes that compress as text does.
fn text(len: usize) -> Vec<u8> {
    let mut state = 1_u32;
    let mut word = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        format!("word{} ", (state >> 20) % 600).into_bytes()
    };
    let mut text = Vec::with_capacity(len + 16);
    while text.len() < len {
        text.extend(word());
    }
    text.truncate(len);
    text
}

/// A tar of `count` files of `size` bytes, ten a directory; with PAX records where these are wanted.
fn tar(count: usize, size: usize, records: bool) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    let contents = text(size);
    for nr in 0..count {
        let mut header = tar::Header::new_ustar();
        header.set_size(size as u64);
        header.set_mode(0o644);
        header.set_mtime(1_700_000_000);
        if records {
            let records =
                [("mtime", &b"1700000000.123456789"[..]), ("SCHILY.xattr.user.comment", b"some\nbytes")];
            tar.append_pax_extensions(records).expect("memory takes all");
        }
        tar.append_data(&mut header, format!("usr/share/doc/{}/file-{nr}", nr / 10), &*contents)
            .expect("memory takes all");
    }
    tar.into_inner().expect("memory takes all")
}

/// A folder in memory, where nothing else is named: not to measure a disk, or an ext4 without a journal.
fn folder() -> TempDir {
    let parent = env::var_os("TMPDIR").unwrap_or_else(|| "/dev/shm".into());
    tempfile::tempdir_in(parent).expect("there is room in TMPDIR")
}

#[divan::bench]
fn hash(bencher: Bencher<'_, '_>) {
    let bytes = text(16 * MIB);
    bencher.counter(BytesCount::of_slice(&bytes)).bench(|| {
        let mut hasher = Hasher::default();
        hasher.update(black_box(&bytes));
        hasher.finish()
    });
}

/// The tar reader over small files, without and with PAX records.
#[divan::bench(args = [false, true])]
fn members(bencher: Bencher<'_, '_>, records: bool) {
    let tar = tar(10_000, 600, records);
    bencher.counter(ItemsCount::new(10_000_usize)).bench(|| {
        let mut reader = Reader::new(black_box(&*tar), Limits::default());
        let mut members = 0;
        while reader.next().expect("the tar is sound").is_some() {
            members += 1;
        }
        members
    });
}

#[divan::bench(args = ["plain", "gzip", "zstd"])]
fn decode(bencher: Bencher<'_, '_>, format: &str) {
    let bytes = text(16 * MIB);
    let stored = match format {
        "gzip" => {
            let mut gzip = flate2::read::GzEncoder::new(&*bytes, flate2::Compression::default());
            let mut stored = Vec::new();
            gzip.read_to_end(&mut stored).expect("memory takes all");
            stored
        }
        "zstd" => zstd::encode_all(&*bytes, 3).expect("memory takes all"),
        _ => bytes.clone(),
    };
    let folder = folder();
    let path = folder.path().join("blob");
    fs::write(&path, stored).expect("there is room in TMPDIR");
    let mut buffer = vec![0; MIB / 2];
    bencher.counter(BytesCount::of_slice(&bytes)).bench_local(|| {
        let blob = Blob::of_file(fs::File::open(&path).expect("it is there")).expect("it is a file");
        let mut decoder = blob::decoder(blob).expect("it has a format");
        while decoder.read(&mut buffer).expect("it is sound") > 0 {}
    });
}

/// The whole pipeline, and a helper.
#[divan::bench(args = [100, 2_000, 20_000], sample_count = 10)]
fn unpack(bencher: Bencher<'_, '_>, files: usize) {
    let tar = tar(files, 4_000, false);
    let folder = folder();
    let path = folder.path().join("layer.tar");
    fs::write(&path, &tar).expect("there is room in TMPDIR");
    let (diff_id, root) = (Digest::of(&tar), folder.path().join("diff"));
    let beside = folder.path().join("beside");
    let fresh = || {
        for dir in [&root, &beside] {
            let _ = fs::remove_dir_all(dir);
            fs::DirBuilder::new().mode(0o700).create(dir).expect("there is room in TMPDIR");
        }
        let blob = Blob::of_file(fs::File::open(&path).expect("it is there")).expect("it is a file");
        (blob, Dir::open(&root).expect("it is there"), Dir::open(&beside).expect("it is there"))
    };
    let bencher = bencher.counter(ItemsCount::new(files)).with_inputs(fresh);
    layer::helped(|crew| {
        let mut buffers = Buffers::alone(crew);
        bencher.bench_local_values(|(blob, dir, beside)| {
            layer::unpack(blob, &diff_id, &dir, &beside, &Options::default(), &mut buffers).map(drop)
        });
    });
}
