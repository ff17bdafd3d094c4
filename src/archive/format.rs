//! What a file's first bytes say of it.

use std::fmt;

/// How many bytes tell a format: a tar's magic lies in its first header, which is one block.
pub(super) const HEAD: usize = 512;

/// How a blob is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Not at all.
    Plain,
    /// RFC 1952, of one or several members.
    Gzip,
    /// RFC 8878, of one or several frames, skippable ones among them.
    Zstd,
    /// The .xz format, of one or several streams.
    Xz,
    /// bzip2, of one or several streams.
    Bzip2,
}

impl Format {
    /// Tells the format by the first bytes of a blob.
    #[must_use]
    pub fn of(head: &[u8]) -> Self {
        // A plain tar starts with its first member's name, which may well be "BZh": each magic is compared in full.
        match head {
            [0x1f, 0x8b, 8, ..] => Self::Gzip,
            [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Self::Zstd,
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Self::Xz,
            [b'B', b'Z', b'h', b'1'..=b'9', 0x31, 0x41, 0x59, 0x26, 0x53, 0x59, ..]
            | [b'B', b'Z', b'h', b'1'..=b'9', 0x17, 0x72, 0x45, 0x38, 0x50, 0x90, ..] => Self::Bzip2,
            _ => Self::Plain,
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Plain => "plain",
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
            Self::Xz => "xz",
            Self::Bzip2 => "bzip2",
        })
    }
}

/// Names what begins like this and is neither a tar nor compressed in a way that images use.
pub(super) fn unsupported(head: &[u8]) -> Option<&'static str> {
    if head.get(257..262) == Some(b"ustar") {
        return None;
    }
    Some(match head {
        [0x04, 0x22, 0x4d, 0x18, ..] => "lz4-compressed",
        [b'L', b'Z', b'I', b'P', 1, ..] => "lzip-compressed",
        [0x1f, 0x9d, ..] => "compressed by compress(1)",
        [0x5d, 0, 0, _, _, 0xff | 0, ..] => "lzma-compressed",
        [0x89, b'L', b'Z', b'O', 0, ..] => "lzop-compressed",
        [b'P', b'K', 3, 4, ..] => "a zip archive",
        [0x7f, b'E', b'L', b'F', ..] => "an ELF program",
        [b'h', b's', b'q', b's', ..] => "a squashfs image",
        [b'S', b'I', b'F', b'_', ..] => "a SIF image",
        [b'Q', b'F', b'I', 0xfb, ..] => "a qcow2 disk",
        [b'0', b'7', b'0', b'7', b'0', b'1' | b'2' | b'7', ..] => "a cpio archive",
        [b'!', b'<', b'a', b'r', b'c', b'h', b'>', ..] => "an ar archive, as a .deb is",
        // A boot sector's end.
        head if head.get(510..512) == Some(&[0x55, 0xaa]) => "a disk",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tar_whose_first_name_looks_like_a_magic_is_a_tar() {
        for name in ["BZh9/file", "PK\u{3}\u{4}"] {
            let mut header = tar::Header::new_ustar();
            header.set_path(name).unwrap();
            assert_eq!(Format::of(header.as_bytes()), Format::Plain);
            assert_eq!(unsupported(header.as_bytes()), None);
        }
    }

    #[test]
    fn names_what_it_cannot_read() {
        assert_eq!(unsupported(b"\x04\x22\x4d\x18 and so on"), Some("lz4-compressed"));
        assert_eq!(unsupported(b"PK\x03\x04 and so on"), Some("a zip archive"));
        assert_eq!(unsupported(b"070701 and so on"), Some("a cpio archive"));
        assert_eq!(unsupported(&[&[0; 510][..], &[0x55, 0xaa]].concat()), Some("a disk"));
        assert_eq!(unsupported(&[0; 512]), None);
        assert_eq!(unsupported(b""), None);
    }
}
