//! One header block: its checksum, its format, its fields.

use super::error::Reason;
use super::number;

pub(super) const BLOCK: usize = 512;

/// star marks its headers at byte 508, and then keeps access and change times behind a prefix of 131 bytes.
const STAR_TRAILER: std::ops::Range<usize> = 508..512;
const STAR_PREFIX: usize = 131;

/// A header block whose checksum is right.
pub(super) struct Header<'a> {
    layout: &'a tar::Header,
}

/// What follows a header: a member, or something about the members to come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flag {
    File,
    HardLink,
    Symlink,
    CharDevice,
    BlockDevice,
    Directory,
    Fifo,
    /// GNU's old way to store a sparse file.
    GnuSparse,
    /// A directory with a list of its names as data (GNU tar --incremental).
    GnuDump,
    /// PAX records for the next member.
    Records,
    /// PAX records for all members to come.
    GlobalRecords,
    LongName,
    LongLink,
    VolumeLabel,
}

impl<'a> Header<'a> {
    /// Takes a block for a header if its checksum says that it is one.
    pub(super) fn parse(block: &'a [u8; BLOCK]) -> Result<Self, Reason> {
        let layout = tar::Header::from_byte_slice(block);
        let said = number::field(&layout.as_old().cksum).ok_or("the header's checksum is no number")?;
        let sum = sum(block);
        // Sun's and early GNU's tar summed signed characters.
        if said != i128::from(sum) && said != i128::from(sum) - 256 * i128::from(high(block)) {
            return Err("the header's checksum is wrong".into());
        }
        Ok(Self { layout })
    }

    /// Returns what the header introduces, or refuses what only its vendor's tar understands.
    pub(super) fn flag(&self) -> Result<Flag, Reason> {
        Ok(match self.layout.as_old().linkflag[0] {
            b'0' | b'7' | 0 => Flag::File,
            b'1' => Flag::HardLink,
            b'2' => Flag::Symlink,
            b'3' => Flag::CharDevice,
            b'4' => Flag::BlockDevice,
            b'5' => Flag::Directory,
            b'6' => Flag::Fifo,
            b'S' => Flag::GnuSparse,
            b'D' => Flag::GnuDump,
            b'x' | b'X' => Flag::Records,
            b'g' => Flag::GlobalRecords,
            b'L' => Flag::LongName,
            b'K' => Flag::LongLink,
            b'V' => Flag::VolumeLabel,
            b'M' => return Err("continues a file of another volume".into()),
            // POSIX leaves the capitals to vendors, whose data is no file's (Solaris' ACLs, GNU's lists of names).
            other @ b'A'..=b'Z' => {
                return Err(format!("member type '{}' is unknown", char::from(other)).into());
            }
            // POSIX: "if other values are used, the file shall be extracted […] as if the type were regular".
            1..=b'/' | b'8'..=b'@' | b'['..=u8::MAX => Flag::File,
        })
    }

    /// Returns the name, with ustar's prefix before it.
    pub(super) fn name(&self) -> Vec<u8> {
        let name = text(&self.layout.as_old().name);
        let prefix = self.prefix();
        if prefix.is_empty() {
            return name.to_vec();
        }
        let mut whole = Vec::with_capacity(prefix.len() + 1 + name.len());
        whole.extend_from_slice(prefix);
        whole.push(b'/');
        whole.extend_from_slice(name);
        whole
    }

    /// GNU's own format has times where ustar has the prefix, and older ones have nothing there.
    fn prefix(&self) -> &[u8] {
        let block = self.layout.as_bytes();
        // The crate's own test asks for version "00" too, which Plexus and Solaris do not write.
        if &block[257..263] != b"ustar\0" {
            return &[];
        }
        let prefix = &block[345..500];
        if &block[STAR_TRAILER] == b"tar\0" { text(&prefix[..STAR_PREFIX]) } else { text(prefix) }
    }

    pub(super) fn link(&self) -> &[u8] {
        text(&self.layout.as_old().linkname)
    }

    pub(super) fn mode(&self) -> &[u8] {
        &self.layout.as_old().mode
    }

    pub(super) fn uid(&self) -> &[u8] {
        &self.layout.as_old().uid
    }

    pub(super) fn gid(&self) -> &[u8] {
        &self.layout.as_old().gid
    }

    pub(super) fn size(&self) -> &[u8] {
        &self.layout.as_old().size
    }

    pub(super) fn mtime(&self) -> &[u8] {
        &self.layout.as_old().mtime
    }

    pub(super) fn major(&self) -> &[u8] {
        &self.layout.as_bytes()[329..337]
    }

    pub(super) fn minor(&self) -> &[u8] {
        &self.layout.as_bytes()[337..345]
    }

    /// Returns the header as GNU's own format, if it is.
    pub(super) fn gnu(&self) -> Option<&tar::GnuHeader> {
        self.layout.as_gnu()
    }
}

/// A field's bytes up to its first NUL.
fn text(field: &[u8]) -> &[u8] {
    field.split(|byte| *byte == 0).next().unwrap_or_default()
}

/// Where the checksum itself stands, which counts as spaces.
const CHECKSUM: std::ops::Range<usize> = 148..156;

/// The sum of all bytes.
fn sum(block: &[u8; BLOCK]) -> u32 {
    let sum = |bytes: &[u8]| bytes.iter().map(|byte| u32::from(*byte)).sum::<u32>();
    sum(block) - sum(&block[CHECKSUM]) + u32::from(b' ') * 8
}

/// How many bytes are negative as signed characters.
fn high(block: &[u8; BLOCK]) -> u32 {
    let high = |bytes: &[u8]| bytes.iter().map(|byte| u32::from(byte >> 7)).sum::<u32>();
    high(block) - high(&block[CHECKSUM])
}
