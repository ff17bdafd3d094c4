//! Images become an archive: their layers' tars are made again, and proved, as they are written.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Read, Seek, Write};
use std::path::Path;
use std::sync::Arc;
use std::thread;

use super::error::{Error, file};
use super::images::Image;
use super::record::{ImageLayer, ImageRecord, Unreadable};
use super::staged::called;
use super::{STORE_LOCK, Store};
use crate::archive::write::{self, Blob, Entry, Form, Packing, Writer};
use crate::digest::{Digest, Hasher};
use crate::layer;
use crate::layer::recipe::{self, Fault};
use crate::progress::{Counting, Progress};
use crate::sys::Errno;
use crate::sys::dir::Dir;
use crate::sys::lock::{Holder, Lock, Share};
use crate::sys::{filesystem, trace};

/// How much of a packed layer is read at a time.
const PIECE: usize = 64 << 10;

/// Keeps what is in the store from being removed.
#[derive(Debug)]
#[must_use]
pub struct Held {
    _lock: Option<Lock>,
}

impl Store {
    /// Lets nothing be removed as long as what is returned lives. Nothing is written: this may be done on a full filesystem,
    /// and on a read-only one, where nobody removes anything.
    pub fn hold(&self, waiting: &mut dyn FnMut(&[Holder])) -> Result<Held, Error> {
        match Lock::take(&self.layout().locks().join(STORE_LOCK), Share::Shared, waiting) {
            Err(failed) if matches!(failed.errno, Errno::ROFS | Errno::NOENT) => Ok(Held { _lock: None }),
            lock => Ok(Held { _lock: Some(lock?) }),
        }
    }
}

/// An archive under way. What cannot be written to it is the inner error of each method, what the store lacks the outer one.
pub struct Saving<'a, W> {
    store: &'a Store,
    archive: Writer<W>,
    form: Form,
    packing: Packing,
    /// Where a packed layer is until its size is known.
    spool: &'a Path,
    progress: &'a Progress,
    entries: Vec<Entry>,
    /// The blobs of layers that are written, by diff id.
    written: HashMap<Digest, Blob>,
}

impl<'a, W: Write> Saving<'a, W> {
    /// Starts an archive. Packed layers are kept, one at a time, in a file without a name in `spool`. What `progress` knows
    /// of layers, by their diff ids, is counted.
    pub fn new(
        store: &'a Store,
        (form, packing): (Form, Packing),
        spool: &'a Path,
        progress: &'a Progress,
        out: W,
    ) -> Self {
        let archive = Writer::new(out);
        Self { store, archive, form, packing, spool, progress, entries: Vec::new(), written: HashMap::new() }
    }

    /// Writes an image, under those of its names that `image` tells.
    pub fn image(&mut self, image: &Image) -> Result<io::Result<()>, Error> {
        let config = self.config(&image.record)?;
        let of = image.record.layers.len();
        let mut layers = Vec::with_capacity(of);
        for (nr, layer) in (1..).zip(&image.record.layers) {
            match self.layer(&Nth { nr, of, layer })? {
                Ok(blob) => layers.push(blob),
                Err(e) => return Ok(Err(e)),
            }
        }
        let entry = Entry {
            config: Blob::of(&config),
            platform: image.record.platform.parse().ok(),
            names: image.names.clone(),
            layers,
            packing: self.packing,
        };
        let manifest = entry.manifest();
        self.entries.push(entry);
        Ok([config, manifest].iter().try_for_each(|bytes| self.archive.file(&Blob::of(bytes).path(), bytes)))
    }

    /// Writes the documents that name the images, and returns what all went to.
    pub fn finish(mut self) -> io::Result<W> {
        for (name, bytes) in write::documents(self.form, &self.entries) {
            self.archive.file(name, &bytes)?;
        }
        self.archive.finish()
    }

    /// Reads the config, whose digest is the image's id.
    fn config(&self, image: &ImageRecord) -> Result<Vec<u8>, Error> {
        let config = self.store.image_config(&image.id)?;
        let found = Digest::of(&config);
        if found == image.id {
            return Ok(config);
        }
        let path = self.store.layout().image(&image.id).join(super::layout::IMAGE_CONFIG);
        Err(Error::Record { path, source: Unreadable::Another(found) })
    }

    /// Writes a layer, unless another image has brought it.
    fn layer(&mut self, nth: &Nth<'_>) -> Result<io::Result<Blob>, Error> {
        if let Some(blob) = self.written.get(&nth.layer.diff_id) {
            return Ok(Ok(*blob));
        }
        let path = self.store.layout().recipe(&nth.layer.chain_id);
        let recipe = File::open(&path).map_err(file(&path))?;
        let size = recipe::length(&recipe).map_err(|fault| nth.wrong(layer::Error::Recipe(fault)))?;
        let written = match self.packing {
            Packing::Plain => self.plain(nth, size)?,
            Packing::Gzip | Packing::Zstd => self.packed(nth, size)?,
        };
        if let Ok(blob) = &written {
            self.written.insert(nth.layer.diff_id, *blob);
            trace::done(|| format!("{}: written, {}", nth.called(), filesystem::size(blob.size)));
        }
        Ok(written)
    }

    fn plain(&mut self, nth: &Nth<'_>, size: u64) -> Result<io::Result<Blob>, Error> {
        let blob = Blob { digest: nth.layer.diff_id, size };
        if let Err(e) = self.archive.begin(&blob.path(), size) {
            return Ok(Err(e));
        }
        Ok(nth.tar(self.store, &mut self.archive, self.progress)?.map(|()| blob))
    }

    fn packed(&mut self, nth: &Nth<'_>, size: u64) -> Result<io::Result<Blob>, Error> {
        let mut spool = Dir::open(self.spool)?.create_unnamed()?;
        let mut packer = Packer::new(self.packing, size, Hashing::new(BufWriter::new(&spool)))
            .map_err(file(self.spool))?;
        let packed = nth.tar(self.store, &mut packer, self.progress)?.and_then(|()| packer.finish());
        let (seen, mut buffer) = packed.map_err(file(self.spool))?.finish();
        buffer.flush().map_err(file(self.spool))?;
        drop(buffer);
        spool.rewind().map_err(file(self.spool))?;
        let blob = Blob { digest: seen.digest, size: seen.size };
        if let Err(e) = self.archive.begin(&blob.path(), blob.size) {
            return Ok(Err(e));
        }
        Ok(copy(&spool, &mut self.archive).map_err(file(self.spool))?.map(|()| blob))
    }
}

/// Copies a file to its end. What cannot be written is the inner error, what cannot be read the outer one.
fn copy(from: impl Read, to: &mut impl Write) -> io::Result<io::Result<()>> {
    let mut from = BufReader::with_capacity(PIECE, from);
    loop {
        let bytes = match from.fill_buf() {
            Ok([]) => return Ok(Ok(())),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            read => read?,
        };
        if let Err(e) = to.write_all(bytes) {
            return Ok(Err(e));
        }
        let count = bytes.len();
        from.consume(count);
    }
}

/// A layer of an image, by its number.
struct Nth<'a> {
    nr: usize,
    of: usize,
    layer: &'a ImageLayer,
}

impl Nth<'_> {
    fn called(&self) -> String {
        called(self.nr, self.of, &self.layer.chain_id)
    }

    /// Makes the layer's tar again, which must be the one that it was made of.
    fn tar(&self, store: &Store, out: &mut impl Write, progress: &Progress) -> Result<io::Result<()>, Error> {
        let counter = progress.counter_of(&self.layer.diff_id);
        let mut out = Counting { inner: Hashing::new(out), counter: Arc::clone(&counter) };
        match store.tar(&self.layer.chain_id, &mut out, &mut Err)? {
            Err(Fault::Output(e)) => return Ok(Err(e)),
            made => made.map_err(|fault| self.wrong(layer::Error::Recipe(fault)))?,
        }
        counter.end();
        let (found, wanted) = (out.inner.finish().0.digest, self.layer.diff_id);
        if found == wanted { Ok(Ok(())) } else { Err(self.wrong(layer::Error::Contents { found, wanted })) }
    }

    fn wrong(&self, source: layer::Error) -> Error {
        Error::Layer { nr: self.nr, of: self.of, source }
    }
}

/// A writer that hashes what is written through it.
struct Hashing<W> {
    out: W,
    hasher: Hasher,
}

impl<W: Write> Hashing<W> {
    fn new(out: W) -> Self {
        Self { out, hasher: Hasher::default() }
    }

    fn finish(self) -> (crate::digest::Seen, W) {
        (self.hasher.finish(), self.out)
    }
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.out.write(bytes)?;
        self.hasher.update(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// What packs a layer; what comes out is a function of the layer alone.
enum Packer<W: Write> {
    Gzip(flate2::write::GzEncoder<W>),
    Zstd(zstd::Encoder<'static, W>),
}

impl<W: Write> Packer<W> {
    fn new(packing: Packing, size: u64, out: W) -> io::Result<Self> {
        if packing == Packing::Gzip {
            return Ok(Self::Gzip(flate2::write::GzEncoder::new(out, flate2::Compression::default())));
        }
        let mut zstd = zstd::Encoder::new(out, zstd::DEFAULT_COMPRESSION_LEVEL)?;
        zstd.include_checksum(true)?;
        zstd.set_pledged_src_size(Some(size))?;
        // With one thread or many, the bytes are the same; with none they are others (zstd.h, ZSTD_c_nbWorkers).
        let threads = thread::available_parallelism().map_or(1, usize::from);
        zstd.multithread(u32::try_from(threads).unwrap_or(1))?;
        Ok(Self::Zstd(zstd))
    }

    fn finish(self) -> io::Result<W> {
        match self {
            Self::Gzip(gzip) => gzip.finish(),
            Self::Zstd(zstd) => zstd.finish(),
        }
    }
}

impl<W: Write> Write for Packer<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Gzip(gzip) => gzip.write(bytes),
            Self::Zstd(zstd) => zstd.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Gzip(gzip) => gzip.flush(),
            Self::Zstd(zstd) => zstd.flush(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_packed_is_the_same_with_any_number_of_threads() {
        let data: Vec<u8> =
            (0..3_000_000u32).flat_map(|nr| (nr.wrapping_mul(nr) / 7).to_le_bytes()).collect();
        let packed = |threads| {
            let mut zstd = zstd::Encoder::new(Vec::new(), zstd::DEFAULT_COMPRESSION_LEVEL).unwrap();
            zstd.include_checksum(true).unwrap();
            zstd.set_pledged_src_size(Some(data.len() as u64)).unwrap();
            zstd.multithread(threads).unwrap();
            zstd.write_all(&data).unwrap();
            zstd.finish().unwrap()
        };
        let mut packer = Packer::new(Packing::Zstd, data.len() as u64, Vec::new()).unwrap();
        packer.write_all(&data).unwrap();
        let ours = packer.finish().unwrap();
        for threads in [1, 3] {
            assert!(packed(threads) == ours, "{threads} threads");
        }
    }
}
