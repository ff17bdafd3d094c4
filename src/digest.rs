//! Digests: what names a blob, a layer and an image.
//!
//! Knows no file and no JSON beyond its own spelling `sha256:<64 lower-case hex digits>`.

use std::fmt;
use std::io::{self, Read};
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

const PREFIX: &str = "sha256:";

/// What each byte is worth as a lower-case hex digit.
const VALUES: [u8; 256] = {
    let mut values = [NO_DIGIT; 256];
    let mut value = 0;
    while value < DIGITS.len() {
        values[DIGITS[value] as usize] = value as u8;
        value += 1;
    }
    values
};
/// How many hex digits a digest has.
pub const HEX_LEN: usize = 64;
const DIGITS: &[u8; 16] = b"0123456789abcdef";
const NO_DIGIT: u8 = 0x80;

/// A sha256 digest.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Digest([u8; 32]);

/// A text that is no digest we can check.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum NotADigest {
    /// The OCI image-spec registers other algorithms too; no tool that writes archives uses them.
    #[error("'{}' is no sha256 digest", .0.escape_debug())]
    OtherAlgorithm(String),
    /// Not 64 lower-case hex digits.
    #[error("'{}' is not 64 lower-case hex digits", .0.escape_debug())]
    NotHex(String),
}

impl Digest {
    /// Stands where nobody knows a digest: nothing that is known has this one.
    pub const NONE: Self = Self([0; 32]);

    /// Returns the digest of `bytes`.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// Reads 64 lower-case hex digits, without `sha256:` before them.
    pub fn from_hex(hex: &str) -> Result<Self, NotADigest> {
        let mut bytes = [0; 32];
        let mut seen = 0;
        for (byte, pair) in bytes.iter_mut().zip(hex.as_bytes().chunks_exact(2)) {
            let (high, low) = (VALUES[usize::from(pair[0])], VALUES[usize::from(pair[1])]);
            *byte = (high << 4) | (low & 15);
            seen |= high | low;
        }
        if hex.len() == HEX_LEN && seen < NO_DIGIT {
            Ok(Self(bytes))
        } else {
            Err(NotADigest::NotHex(hex.to_owned()))
        }
    }

    /// Returns the 64 hex digits.
    #[must_use]
    pub fn hex(&self) -> String {
        hex(&self.0)
    }

    /// Returns the first twelve hex digits, as tables show them.
    #[must_use]
    pub fn short(&self) -> String {
        self.hex()[..12].to_owned()
    }

    /// Returns the chain id of a layer `diff_id` over the stack `below` (OCI image-spec, config.md, "Layer ChainID").
    #[must_use]
    pub fn chain(below: Option<&Self>, diff_id: &Self) -> Self {
        match below {
            None => *diff_id,
            Some(below) => Self::of(format!("{below} {diff_id}").as_bytes()),
        }
    }
}

impl FromStr for Digest {
    type Err = NotADigest;

    fn from_str(text: &str) -> Result<Self, NotADigest> {
        let hex = text.strip_prefix(PREFIX).ok_or_else(|| NotADigest::OtherAlgorithm(text.to_owned()))?;
        Self::from_hex(hex)
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PREFIX}{}", self.hex())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> Self {
        digest.to_string()
    }
}

impl TryFrom<String> for Digest {
    type Error = NotADigest;

    fn try_from(text: String) -> Result<Self, NotADigest> {
        text.parse()
    }
}

/// Returns bytes as lower-case hex digits.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    let digits = |byte: &u8| [byte >> 4, byte & 15].map(|digit| char::from(DIGITS[usize::from(digit)]));
    bytes.iter().flat_map(digits).collect()
}

/// What a stream turned out to be: its digest and its length in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    /// The sha256 of all bytes.
    pub digest: Digest,
    /// How many bytes there were.
    pub size: u64,
}

/// Hashes bytes as they come by.
#[derive(Default)]
pub struct Hasher {
    state: Sha256,
    size: u64,
}

impl io::Write for Hasher {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Hasher {
    /// Adds the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.state.update(bytes);
        self.size += bytes.len() as u64;
    }

    /// Returns what all the bytes were.
    #[must_use]
    pub fn finish(self) -> Seen {
        Seen { digest: Digest(self.state.finalize().into()), size: self.size }
    }
}

/// A reader that hashes what is read through it.
pub struct HashingReader<R> {
    inner: R,
    hasher: Hasher,
}

impl<R: Read> HashingReader<R> {
    /// Wraps `inner`; bytes read before do not count.
    pub fn new(inner: R) -> Self {
        Self { inner, hasher: Hasher::default() }
    }

    /// Returns what the bytes read so far were.
    pub fn finish(self) -> Seen {
        self.hasher.finish()
    }
}

impl<R: Read> Read for HashingReader<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buf)?;
        self.hasher.update(&buf[..n]);
        Ok(n)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EMPTY: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn reads_what_it_writes() {
        let digest: Digest = EMPTY.parse().unwrap();
        assert_eq!(digest, Digest::of(b""));
        assert_eq!(digest.to_string(), EMPTY);
        assert_eq!(digest.short(), "e3b0c44298fc");
    }

    #[test]
    fn refuses_what_could_be_a_path_or_another_algorithm() {
        let hex = &EMPTY[7..];
        for (text, fault) in [
            ("../../etc/passwd".to_owned(), NotADigest::OtherAlgorithm("../../etc/passwd".to_owned())),
            (format!("sha512:{hex}{hex}"), NotADigest::OtherAlgorithm(format!("sha512:{hex}{hex}"))),
            ("sha256:../../x".to_owned(), NotADigest::NotHex("../../x".to_owned())),
            (format!("sha256:{}", hex.to_uppercase()), NotADigest::NotHex(hex.to_uppercase())),
            (format!("sha256:{}", &hex[1..]), NotADigest::NotHex(hex[1..].to_owned())),
        ] {
            assert_eq!(text.parse::<Digest>(), Err(fault));
        }
    }

    #[test]
    fn chain_id_of_a_base_layer_is_its_diff_id() {
        let a = Digest::of(b"a");
        let b = Digest::of(b"b");
        assert_eq!(Digest::chain(None, &a), a);
        assert_eq!(Digest::chain(Some(&a), &b), Digest::of(format!("{a} {b}").as_bytes()));
    }

    #[test]
    fn a_hashing_reader_tells_digest_and_size() {
        let mut reader = HashingReader::new(&b"hello"[..]);
        io::copy(&mut reader, &mut io::sink()).unwrap();
        assert_eq!(reader.finish(), Seen { digest: Digest::of(b"hello"), size: 5 });
    }
}
