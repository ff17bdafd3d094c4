//! The recipe of a layer: what its tar has besides the contents of its files, enough to make the same tar again.
//!
//! A tree is not a tar: owners' names, the order of entries, records that no inode holds, whiteouts that hid nothing and
//! padding are lost when it is unpacked, and with them the digest by which the layer is known. The recipe keeps them, byte
//! for byte, and says at which place the contents of which file come. Those are checked by their CRC-32 when they are
//! read: the digest proves the whole, the sums tell which file it was.
//!
//! ```text
//! zstd frames (RFC 8878) with checksums, and in them "ovlctl recipe 1\n" and any number of these; numbers little-endian:
//!   r  length u32, bytes                         as they stand in the tar
//!   f  length u16, path, crc u32,                the file's contents: these runs of it
//!      runs u32, {offset u64, size u64}
//!   d  length u16, path, number u64              what stood at this path is now displaced/NUMBER
//!   e  size u64                                  the end of a tar of so many bytes
//! ```
//!
//! A path is the file's place in the layer, links resolved. A file that a later entry of the same tar replaces, or removes
//! with its directory, is in no tree: it is moved to `displaced/` beside the recipe. No known tool writes such layers.

mod displaced;
mod rebuild;

use std::fs::File;
use std::io::{self, Write};

use crc32fast::Hasher;

use super::error::Error;
use crate::sys::CallFailed;
use crate::sys::dir::Dir;

pub(super) use displaced::Displaced;
pub use rebuild::{Fault, hollow, length, rebuild};

/// What a recipe is called in the directory that it is made in.
pub const RECIPE: &str = "recipe";

/// Beside the recipe: files that are in the tar and not in the tree. Most layers have none, and no such directory.
pub const DISPLACED: &str = "displaced";

/// What a recipe begins with, once inflated.
const MAGIC: &[u8; 16] = b"ovlctl recipe 1\n";

const RUN: u8 = b'r';
const FILE: u8 = b'f';
const GONE: u8 = b'd';
const END: u8 = b'e';

/// How much is compressed at a time: some 400 headers.
const CHUNK: usize = 256 << 10;

/// Fast: headers are all alike, and a higher one gains little.
const LEVEL: i32 = 1;

/// What is kept from one recipe to the next: the compressor's tables, and room for a chunk.
#[derive(Default)]
pub(super) struct Packer {
    zstd: Option<zstd::bulk::Compressor<'static>>,
    plain: Vec<u8>,
    packed: Vec<u8>,
}

impl Packer {
    fn pack(&mut self) -> io::Result<&[u8]> {
        let zstd = match &mut self.zstd {
            Some(zstd) => zstd,
            none => {
                let mut zstd = zstd::bulk::Compressor::new(LEVEL)?;
                zstd.include_checksum(true)?;
                none.insert(zstd)
            }
        };
        self.packed.clear();
        self.packed.reserve(zstd::zstd_safe::compress_bound(self.plain.len()));
        zstd.compress_to_buffer(&self.plain, &mut self.packed)?;
        self.plain.clear();
        Ok(&self.packed)
    }
}

/// Writes a recipe while the tar goes by.
pub(super) struct Writer<'a> {
    dir: &'a Dir,
    file: File,
    packer: &'a mut Packer,
    /// Where in the chunk the length of the run stands that is going by.
    run: Option<usize>,
    /// The sum of the contents that are going by; none while other bytes do.
    contents: Option<Hasher>,
    size: u64,
    gone: u64,
    fault: Option<io::Error>,
}

impl<'a> Writer<'a> {
    /// Begins the recipe in `dir`.
    pub(super) fn new(dir: &'a Dir, packer: &'a mut Packer) -> Result<Self, Error> {
        let file = dir.create(RECIPE.as_bytes(), 0o600).map_err(Error::Call)?;
        packer.plain.clear();
        packer.plain.extend_from_slice(MAGIC);
        Ok(Self { dir, file, packer, run: None, contents: None, size: 0, gone: 0, fault: None })
    }

    /// Takes the next bytes of the tar.
    pub(super) fn pass(&mut self, bytes: &[u8]) {
        self.size += bytes.len() as u64;
        if let Some(sum) = &mut self.contents {
            sum.update(bytes);
            return;
        }
        for part in bytes.chunks(CHUNK) {
            if self.run.is_none() {
                self.packer.plain.push(RUN);
                self.run = Some(self.packer.plain.len());
                self.packer.plain.extend([0; 4]);
            }
            self.packer.plain.extend_from_slice(part);
            if self.packer.plain.len() >= CHUNK {
                self.end_run();
            }
        }
    }

    /// The bytes that follow are a file's contents.
    pub(super) fn contents(&mut self) {
        self.end_run();
        self.contents = Some(Hasher::new());
    }

    /// Those were the contents of the file at `path`: these runs, offset and size, of it.
    pub(super) fn file(&mut self, path: &[u8], runs: &[(u64, u64)]) {
        let sum = self.contents.take().map_or(0, Hasher::finalize);
        self.path(FILE, path);
        self.packer.plain.extend(sum.to_le_bytes());
        self.packer.plain.extend(u32::try_from(runs.len()).expect("tarfile's limit is lower").to_le_bytes());
        for number in runs.iter().flat_map(|(offset, size)| [offset, size]) {
            self.packer.plain.extend(number.to_le_bytes());
        }
        self.end_op();
    }

    /// Notes that the file at `path` is from here on the next one in [`DISPLACED`].
    pub(super) fn gone(&mut self, path: &[u8]) {
        self.end_run();
        self.path(GONE, path);
        self.packer.plain.extend(self.gone.to_le_bytes());
        self.gone += 1;
        self.end_op();
    }

    /// Ends the recipe of a tar that has gone by to its last byte.
    pub(super) fn finish(&mut self) -> Result<(), Error> {
        self.end_run();
        self.packer.plain.push(END);
        self.packer.plain.extend(self.size.to_le_bytes());
        self.write_out();
        let path = self.dir.path().join(RECIPE);
        let failed = |e: io::Error| Error::Call(CallFailed::of_io(format!("write({path:?})"), &e));
        self.fault.take().map_or(Ok(()), |e| Err(failed(e)))
    }

    fn path(&mut self, op: u8, path: &[u8]) {
        self.packer.plain.push(op);
        self.packer.plain.extend(u16::try_from(path.len()).expect("PATH_MAX is lower").to_le_bytes());
        self.packer.plain.extend_from_slice(path);
    }

    fn end_run(&mut self) {
        if let Some(at) = self.run.take() {
            let plain = &mut self.packer.plain;
            let length = u32::try_from(plain.len() - at - 4).expect("it ends soon after CHUNK");
            plain[at..at + 4].copy_from_slice(&length.to_le_bytes());
            self.end_op();
        }
    }

    fn end_op(&mut self) {
        if self.packer.plain.len() >= CHUNK {
            self.write_out();
        }
    }

    /// Writes what has gathered. After a failure, which `finish` tells, nothing more is written.
    fn write_out(&mut self) {
        if self.fault.is_none() {
            self.fault = self.packer.pack().and_then(|packed| self.file.write_all(packed)).err();
        }
        self.packer.plain.clear();
    }
}
