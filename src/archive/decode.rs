//! Decompressing: gzip, zstd, xz, bzip2 or nothing, found by the first bytes.
//!
//! Knows no file. The stored bytes are counted and hashed on the way in, so that whoever reads to the end has had them
//! compared with what the image says.

use std::fmt;
use std::io::{self, BufReader, Cursor, Read};

use zstd::zstd_safe::DParameter;

use super::bound::Bound;
use super::format::{Format, HEAD, unsupported};
use crate::digest::{Digest, Hasher};

/// What one read of the file takes; larger ones go past the buffer.
const BUFFER: usize = 256 << 10;

/// zstd's own default bound for streams (`ZSTD_WINDOWLOG_LIMIT_DEFAULT`): 128 MiB, what `--ultra -22` and `--long` write.
const ZSTD_WINDOW_LOG: u32 = 27;

/// `xz -9` needs 65 MiB to decompress (xz(1)).
const XZ_MEMORY: u64 = 128 << 20;

/// What the image says of a blob; what it leaves out is not checked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Expected {
    /// The sha256 of the stored bytes.
    pub digest: Option<Digest>,
    /// How many bytes are stored.
    pub size: Option<u64>,
}

/// A blob that is not what it should be. Comes as the inner error of an [`io::Error`] of kind `InvalidData`.
#[derive(Debug, thiserror::Error)]
pub enum Damaged {
    /// Other bytes than the image names.
    #[error("contents are sha256:{}, the image says sha256:{}", .found.short(), .expected.short())]
    Digest {
        /// What the bytes hash to.
        found: Digest,
        /// What they should.
        expected: Digest,
    },
    /// More or fewer bytes than the image names.
    #[error("{found} bytes long, the image says {expected}")]
    Size {
        /// How many there are.
        found: u64,
        /// How many there should be.
        expected: u64,
    },
    /// The compressed bytes make no sense.
    #[error("damaged {format} data: {reason}")]
    Compression {
        /// As what it was read.
        format: Format,
        /// What the decoder said.
        reason: String,
    },
    /// A compression that no image tool writes.
    #[error("{0}, which is not supported")]
    Unsupported(&'static str),
}

/// A blob's uncompressed bytes. The end is told (`Ok(0)`) only when all stored bytes were read and are what the image
/// says; else reading fails there with [`Damaged`].
pub struct Decoder {
    format: Format,
    state: State,
    expected: Expected,
    known: Option<Digest>,
    bound: Bound,
    /// How many bytes are stored, where that is known before they are read.
    whole: Option<u64>,
}

type Input = BufReader<Stored>;

enum State {
    Plain(Stored),
    Gzip(flate2::bufread::MultiGzDecoder<Input>),
    Zstd(zstd::stream::read::Decoder<'static, Input>),
    Xz(liblzma::bufread::XzDecoder<Input>),
    Bzip2(bzip2::bufread::MultiBzDecoder<Input>),
    /// All was read, and all is well.
    Ended,
    /// All was read, and it is not what the image says.
    Failed,
}

/// The stored bytes, counted and, where the image names a digest, hashed as they are read.
struct Stored {
    inner: io::Chain<Cursor<Vec<u8>>, Box<dyn Read + Send>>,
    hasher: Option<Hasher>,
    size: u64,
}

impl Decoder {
    pub(super) fn new(mut source: Box<dyn Read + Send>, expected: Expected) -> io::Result<Self> {
        let mut head = Vec::with_capacity(HEAD);
        source.by_ref().take(HEAD as u64).read_to_end(&mut head)?;
        let format = Format::of(&head);
        if let Some(name) = unsupported(&head) {
            return Err(Damaged::Unsupported(name).into());
        }
        let hasher = expected.digest.map(|_| Hasher::default());
        let stored = Stored { inner: Cursor::new(head).chain(source), hasher, size: 0 };
        Ok(Self {
            format,
            state: State::new(format, stored)?,
            expected,
            known: None,
            bound: Bound::none(),
            whole: None,
        })
    }

    /// Bounds what may come of `whole` stored bytes; where nobody knows how many they are, of those read so far.
    pub(super) fn bounded(mut self, bound: Bound, whole: Option<u64>) -> Self {
        (self.bound, self.whole) = (bound, whole);
        self
    }

    /// Returns how the blob is compressed.
    #[must_use]
    pub fn format(&self) -> Format {
        self.format
    }

    /// Returns the sha256 of the bytes that are read from here, where it is known before they are.
    #[must_use]
    pub fn known(&self) -> Option<Digest> {
        self.known
    }

    /// Notes that the stored bytes were hashed before, in a place where nobody else can have changed them since.
    pub(super) fn note_stored(&mut self, digest: Digest) {
        self.known = (self.format == Format::Plain).then_some(digest);
    }

    /// Leaves out what the diff id proves that the reader compares: the sums of zstd's frames, and the digest of an
    /// uncompressed blob, where it `is_diff_id` itself. Once is enough, at 2 GB/s a core.
    pub(super) fn leave_to_diff_id(&mut self, is_diff_id: bool) -> io::Result<()> {
        if let State::Zstd(decoder) = &mut self.state {
            decoder.set_parameter(DParameter::ForceIgnoreChecksum(true))?;
        } else if let (State::Plain(stored), true) = (&mut self.state, is_diff_id) {
            stored.hasher = None;
        }
        Ok(())
    }

    /// Compares what was read with what the image says.
    fn check(&mut self) -> io::Result<()> {
        let Some(mut stored) = std::mem::replace(&mut self.state, State::Ended).into_stored() else {
            return Ok(());
        };
        self.state = State::Failed;
        // Decoders may stop at the end of their own format; what follows is part of the blob all the same.
        io::copy(&mut stored, &mut io::sink())?;
        if let Some(expected) = self.expected.size.filter(|&size| size != stored.size) {
            return Err(Damaged::Size { found: stored.size, expected }.into());
        }
        let found = stored.hasher.map(|hasher| hasher.finish().digest);
        match (found, self.expected.digest) {
            (Some(found), Some(expected)) if found != expected => {
                Err(Damaged::Digest { found, expected }.into())
            }
            _ => {
                self.state = State::Ended;
                Ok(())
            }
        }
    }
}

impl Read for Decoder {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = self.state.read(buf).map_err(|e| named(self.format, e))?;
        let stored =
            (self.format != Format::Plain).then(|| self.whole.unwrap_or_else(|| self.state.stored()));
        self.bound.count(n as u64, stored)?;
        if n == 0 && !buf.is_empty() {
            self.check()?;
        }
        Ok(n)
    }
}

impl fmt::Debug for Decoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Decoder").field("format", &self.format).finish_non_exhaustive()
    }
}

/// Tells the decoder's complaints from those of the file it reads, which carry an errno or come from [`Blob`](super::blob::Blob).
fn named(format: Format, error: io::Error) -> io::Error {
    if error.raw_os_error().is_some() || format == Format::Plain {
        return error;
    }
    Damaged::Compression { format, reason: error.to_string() }.into()
}

impl State {
    fn new(format: Format, stored: Stored) -> io::Result<Self> {
        let input = |stored| BufReader::with_capacity(BUFFER, stored);
        Ok(match format {
            // Whoever reads it does so in large pieces, and a buffer between would be a copy more.
            Format::Plain => Self::Plain(stored),
            Format::Gzip => Self::Gzip(flate2::bufread::MultiGzDecoder::new(input(stored))),
            Format::Zstd => {
                let mut decoder = zstd::stream::read::Decoder::with_buffer(input(stored))?;
                decoder.window_log_max(ZSTD_WINDOW_LOG)?;
                Self::Zstd(decoder)
            }
            Format::Xz => {
                let several = liblzma::stream::CONCATENATED;
                let stream = liblzma::stream::Stream::new_stream_decoder(XZ_MEMORY, several)?;
                Self::Xz(liblzma::bufread::XzDecoder::new_stream(input(stored), stream))
            }
            Format::Bzip2 => Self::Bzip2(bzip2::bufread::MultiBzDecoder::new(input(stored))),
        })
    }

    /// Returns how many stored bytes were read so far.
    fn stored(&self) -> u64 {
        match self {
            Self::Plain(stored) => stored.size,
            Self::Gzip(decoder) => decoder.get_ref().get_ref().size,
            Self::Zstd(decoder) => decoder.get_ref().get_ref().size,
            Self::Xz(decoder) => decoder.get_ref().get_ref().size,
            Self::Bzip2(decoder) => decoder.get_ref().get_ref().size,
            Self::Ended | Self::Failed => 0,
        }
    }

    /// Returns what is still to be read; what a decoder read ahead was counted and hashed as it was read.
    fn into_stored(self) -> Option<Stored> {
        Some(match self {
            Self::Plain(stored) => stored,
            Self::Gzip(decoder) => decoder.into_inner().into_inner(),
            Self::Zstd(decoder) => decoder.finish().into_inner(),
            Self::Xz(decoder) => decoder.into_inner().into_inner(),
            Self::Bzip2(decoder) => decoder.into_inner().into_inner(),
            Self::Ended | Self::Failed => return None,
        })
    }
}

impl Read for State {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(stored) => stored.read(buf),
            Self::Gzip(decoder) => decoder.read(buf),
            Self::Zstd(decoder) => decoder.read(buf),
            Self::Xz(decoder) => decoder.read(buf),
            Self::Bzip2(decoder) => decoder.read(buf),
            Self::Ended => Ok(0),
            Self::Failed => {
                Err(io::Error::new(io::ErrorKind::InvalidData, "read on after its fault was told"))
            }
        }
    }
}

impl Read for Stored {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buf)?;
        if let Some(hasher) = &mut self.hasher {
            hasher.update(&buf[..n]);
        }
        self.size += n as u64;
        Ok(n)
    }
}

impl From<Damaged> for io::Error {
    fn from(damaged: Damaged) -> Self {
        Self::new(io::ErrorKind::InvalidData, damaged)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    const TEXT: &[u8] = b"once upon a time ";

    fn decoded(bytes: &[u8]) -> io::Result<Vec<u8>> {
        decoded_as(bytes, Expected { digest: Some(Digest::of(bytes)), size: Some(bytes.len() as u64) })
    }

    fn decoded_as(bytes: &[u8], expected: Expected) -> io::Result<Vec<u8>> {
        let mut out = Vec::new();
        Decoder::new(Box::new(Cursor::new(bytes.to_vec())), expected)?.read_to_end(&mut out)?;
        Ok(out)
    }

    fn gzip(text: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }

    fn bzip2(text: &[u8]) -> Vec<u8> {
        let mut encoder = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::default());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }

    fn zstd(text: &[u8]) -> Vec<u8> {
        zstd::encode_all(text, 1).unwrap()
    }

    fn xz(text: &[u8]) -> Vec<u8> {
        let mut encoder = liblzma::write::XzEncoder::new(Vec::new(), 1);
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn decodes_every_format_in_one_piece_or_several() {
        type Encode = fn(&[u8]) -> Vec<u8>;
        let formats: [(Format, Encode); 5] = [
            (Format::Plain, <[u8]>::to_vec),
            (Format::Gzip, gzip),
            (Format::Zstd, zstd),
            (Format::Xz, xz),
            (Format::Bzip2, bzip2),
        ];
        for (format, encode) in formats {
            let one = encode(TEXT);
            assert_eq!(Format::of(&one), format);
            assert_eq!(decoded(&one).unwrap(), TEXT, "{format}");
            let two = [one.clone(), one].concat();
            assert_eq!(decoded(&two).unwrap(), TEXT.repeat(2), "{format}, twice");
            assert_eq!(decoded(&encode(b"")).unwrap(), b"", "{format}, nothing");
        }
    }

    #[test]
    fn skips_skippable_zstd_frames() {
        let skippable = b"\x5f\x2a\x4d\x18\x03\0\0\0abc".to_vec();
        for pieces in [
            [skippable.clone(), zstd(TEXT), skippable.clone()],
            [skippable.clone(), skippable.clone(), zstd(TEXT)],
            [zstd(TEXT), skippable.clone(), skippable],
        ] {
            assert_eq!(decoded(&pieces.concat()).unwrap(), TEXT);
        }
    }

    #[test]
    fn no_bytes_are_no_bytes() {
        assert_eq!(decoded(b"").unwrap(), b"");
    }

    #[test]
    fn compressed_data_that_is_cut_short_is_damaged() {
        for whole in [gzip(TEXT), zstd(TEXT), xz(TEXT), bzip2(TEXT)] {
            for len in [12, whole.len() - 1] {
                let error = decoded(&whole[..len]).unwrap_err();
                assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{error}");
                assert!(error.to_string().starts_with("damaged "), "{error}");
            }
        }
    }

    #[test]
    fn what_follows_the_compressed_data_is_damage() {
        for whole in [gzip(TEXT), zstd(TEXT), xz(TEXT), bzip2(TEXT)] {
            let error = decoded(&[whole, b"something else".to_vec()].concat()).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{error}");
        }
    }

    #[test]
    fn the_end_is_not_told_when_the_image_says_something_else() {
        let other = Digest::of(b"other");
        for (expected, reason) in [
            (
                Expected { digest: Some(other), size: None },
                "contents are sha256:b10468e64bd7, the image says sha256:d9298a10d1b0",
            ),
            (Expected { digest: None, size: Some(18) }, "17 bytes long, the image says 18"),
        ] {
            let error = decoded_as(TEXT, expected).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidData);
            assert_eq!(error.to_string(), reason);
        }
    }

    #[test]
    fn names_compressions_that_are_not_supported() {
        let error = decoded(b"\x04\x22\x4d\x18 and so on").unwrap_err();
        assert_eq!(error.to_string(), "lz4-compressed, which is not supported");
    }
}
