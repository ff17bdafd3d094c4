//! A blob's bytes as they lie in a file.
//!
//! Knows no tar and no JSON.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use super::bound::Bound;
use super::decode::{Damaged, Decoder, Expected};
use crate::digest::Digest;
use crate::progress::Counter;
use crate::sys;

/// How far ahead of what is read the kernel is asked to be: whoever reads does much else between two reads.
const AHEAD: u64 = 8 << 20;

/// A run of bytes of an open file.
#[derive(Debug, Clone)]
pub struct Extent {
    pub(super) file: Arc<File>,
    pub(super) start: u64,
    pub(super) len: u64,
    /// The sha256 of its bytes, where they were hashed on their way into a file that only this process writes.
    pub(super) digest: Option<Digest>,
}

/// A blob as it is stored in the archive. Blobs share no file offset, so they can be read at the same time.
#[derive(Debug)]
pub struct Blob {
    extent: Extent,
    read: u64,
    /// Up to where in the file the kernel was asked to read ahead.
    asked: u64,
    expected: Expected,
    diff_id: Option<Digest>,
    bound: Bound,
    counter: Option<Arc<Counter>>,
}

impl Extent {
    /// Returns how many bytes it has.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether it has no bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
}

impl Blob {
    /// Takes the bytes of `extent`, to be checked against `expected`.
    pub(super) fn new(extent: Extent, expected: Expected) -> Self {
        Self {
            asked: extent.start,
            extent,
            read: 0,
            expected,
            diff_id: None,
            bound: Bound::none(),
            counter: None,
        }
    }

    /// Takes all of `file`, of which nothing is expected.
    pub fn of_file(file: File) -> io::Result<Self> {
        let len = file.metadata()?.len();
        Ok(Self::new(Extent { file: Arc::new(file), start: 0, len, digest: None }, Expected::default()))
    }

    /// Returns the same bytes, to be read once more from their beginning: neither compared nor counted.
    #[must_use]
    pub fn again(&self) -> Self {
        Self::new(self.extent.clone(), Expected::default())
    }

    /// Notes that its bytes need no hash: the caller knows that their sha256 is `digest`, or what stands for it.
    #[must_use]
    pub fn hashed(mut self, digest: Digest) -> Self {
        self.extent.digest = Some(digest);
        self
    }

    /// Notes that whoever decodes the blob compares its uncompressed bytes with `diff_id`.
    pub(super) fn of_layer(mut self, diff_id: Digest) -> Self {
        self.diff_id = Some(diff_id);
        self
    }

    /// Bounds what it may become when it is decoded.
    pub(super) fn bounded(mut self, bound: Bound) -> Self {
        self.bound = bound;
        self
    }

    /// Counts what is read.
    #[must_use]
    pub fn counted(mut self, counter: Arc<Counter>) -> Self {
        self.counter = Some(counter);
        self
    }

    /// Returns how many bytes are stored.
    #[must_use]
    pub fn stored(&self) -> u64 {
        self.extent.len
    }
}

impl Read for Blob {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let left = self.extent.len - self.read;
        let want = usize::try_from(left).unwrap_or(usize::MAX).min(buf.len());
        if want == 0 {
            return Ok(0);
        }
        let Extent { file, start, len, .. } = &self.extent;
        // Many want but the first bytes, to see what it is.
        if self.read > 0 {
            sys::read_ahead(file, &mut self.asked, start + (self.read + AHEAD).min(*len));
        }
        let n = file.read_at(&mut buf[..want], start + self.read)?;
        if n == 0 {
            let reason = "the archive was cut short while it was read";
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, reason));
        }
        self.read += n as u64;
        self.counter.as_ref().map_or(Ok(()), |counter| counter.add(n as u64))?;
        Ok(n)
    }
}

/// Decompresses `blob` by what its first bytes say, whatever a media type claims. No bytes at all are an empty tar.
///
/// A layer's blob must be compared with its diff id by whoever reads it: of an uncompressed one with that very digest
/// nothing else is hashed here, and zstd's own sums are passed over. What was hashed before is compared now, and not hashed
/// again ([`Decoder::known`]).
pub fn decoder(blob: Blob) -> io::Result<Decoder> {
    let (expected, diff_id, found) = (blob.expected, blob.diff_id, blob.extent.digest);
    let (bound, stored) = (blob.bound.clone(), Some(blob.stored()));
    if let (Some(found), Some(expected)) = (found, expected.digest.filter(|&digest| Some(digest) != found)) {
        return Err(Damaged::Digest { found, expected }.into());
    }
    let unproved = expected.digest.filter(|_| found.is_none());
    let mut decoder =
        Decoder::new(Box::new(blob), Expected { digest: unproved, ..expected })?.bounded(bound, stored);
    if let Some(found) = found {
        decoder.note_stored(found);
    }
    if diff_id.is_some() {
        decoder.leave_to_diff_id(expected.digest == diff_id)?;
    }
    Ok(decoder)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn blob(bytes: &[u8]) -> Blob {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&[b"before", bytes, b"after"].concat()).unwrap();
        let digest = Some(Digest::of(b"other"));
        let extent = Extent { file: Arc::new(file), start: 6, len: bytes.len() as u64, digest: None };
        Blob::new(extent, Expected { digest, size: None })
    }

    /// One that the image gives no digest.
    fn unnamed(bytes: &[u8]) -> Blob {
        Blob { expected: Expected::default(), ..blob(bytes) }
    }

    fn read(mut from: impl Read) -> io::Result<String> {
        let mut text = String::new();
        from.read_to_string(&mut text).map(|_| text)
    }

    #[test]
    fn is_its_own_bytes_and_no_others() {
        assert_eq!(read(blob(b"text")).unwrap(), "text");
    }

    #[test]
    fn a_file_that_shrinks_is_an_error_and_no_end() {
        let shrinking = blob(b"text");
        shrinking.extent.file.set_len(8).unwrap();
        assert_eq!(read(shrinking).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }

    #[test]
    fn a_plain_layer_whose_digest_is_its_diff_id_is_left_to_the_reader() {
        assert_eq!(read(decoder(blob(b"text").of_layer(Digest::of(b"other"))).unwrap()).unwrap(), "text");
        assert!(read(decoder(blob(b"text").of_layer(Digest::of(b"text"))).unwrap()).is_err());
        assert!(read(decoder(blob(b"text")).unwrap()).is_err());
    }

    #[test]
    fn a_zstd_layer_is_proved_by_its_diff_id_and_not_by_its_own_sum() {
        let mut packer = zstd::bulk::Compressor::new(1).unwrap();
        packer.include_checksum(true).unwrap();
        let mut packed = packer.compress(b"text").unwrap();
        *packed.last_mut().unwrap() ^= 1;
        let error = read(decoder(unnamed(&packed)).unwrap()).unwrap_err();
        assert!(error.to_string().starts_with("damaged zstd data: "), "{error}");
        let layer = unnamed(&packed).of_layer(Digest::of(b"text"));
        assert_eq!(read(decoder(layer).unwrap()).unwrap(), "text");
    }

    #[test]
    fn what_was_hashed_before_is_compared_and_not_hashed_again() {
        let hashed = |stored: &[u8], digest: &[u8], expected: &[u8]| {
            let Blob { extent, .. } = blob(stored);
            let extent = Extent { digest: Some(Digest::of(digest)), ..extent };
            decoder(Blob::new(extent, Expected { digest: Some(Digest::of(expected)), size: None }))
        };
        let reason = hashed(b"text", b"text", b"else").unwrap_err().to_string();
        let (found, expected) = (Digest::of(b"text").short(), Digest::of(b"else").short());
        assert_eq!(reason, format!("contents are sha256:{found}, the image says sha256:{expected}"));

        // Given a wrong digest, it believes it: that is how one sees that it does not hash again.
        let plain = hashed(b"text", b"else", b"else").unwrap();
        assert_eq!(plain.known(), Some(Digest::of(b"else")));
        assert_eq!(read(plain).unwrap(), "text");
        let packed = zstd::encode_all(&b"text"[..], 1).unwrap();
        let packed = hashed(&packed, b"else", b"else").unwrap();
        assert_eq!(packed.known(), None, "what it is when it is decompressed was not hashed");
        assert_eq!(read(packed).unwrap(), "text");
    }
}
