//! Headers as they stand in a tar, to be spoilt.

/// Where a ustar header has its fields (POSIX, pax, "ustar Interchange Format").
pub(super) const MODE: usize = 100;
pub(super) const UID: usize = 108;
pub(super) const SIZE: usize = 124;
pub(super) const MTIME: usize = 136;
pub(super) const CHECKSUM: usize = 148;
pub(super) const FLAG: usize = 156;
pub(super) const LINK: usize = 157;
pub(super) const MAGIC: usize = 257;
pub(super) const MAJOR: usize = 329;
pub(super) const PREFIX: usize = 345;

/// What GNU tar has for a magic, and where it has a sparse file's first piece and its size.
pub(super) const GNU: &[u8] = b"ustar  \0";
pub(super) const PIECES: usize = 386;
pub(super) const REAL_SIZE: usize = 483;

/// One header block.
#[must_use]
#[derive(Clone, Copy)]
pub(super) struct Header([u8; 512]);

/// A ustar header of this type, mode 0644, nobody's but root's, of the epoch and without data.
pub(super) fn header(flag: u8, name: &[u8]) -> Header {
    let name = &name[..name.len().min(100)];
    Header([0; 512]).with(0, name).with(MODE, b"0000644\0").with(FLAG, &[flag]).with(MAGIC, b"ustar\x0000")
}

impl Header {
    /// Puts bytes into it.
    pub(super) fn with(mut self, at: usize, bytes: &[u8]) -> Self {
        self.0[at..at + bytes.len()].copy_from_slice(bytes);
        self
    }

    /// Says that so much data follows.
    pub(super) fn size(self, size: u64) -> Self {
        self.with(SIZE, format!("{size:011o}\0").as_bytes())
    }

    /// Returns the block with a right checksum.
    pub(super) fn block(mut self) -> Vec<u8> {
        self.0[CHECKSUM..CHECKSUM + 8].fill(b' ');
        let sum: u32 = self.0.iter().map(|byte| u32::from(*byte)).sum();
        self.0[CHECKSUM..CHECKSUM + 8].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        self.0.to_vec()
    }

    /// Returns the block with this data behind it, in whole blocks; the header may say otherwise.
    pub(super) fn and(self, data: &[u8]) -> Vec<u8> {
        let mut bytes = self.block();
        bytes.extend(data);
        bytes.resize(bytes.len().next_multiple_of(512), 0);
        bytes
    }
}

/// A file of this name and these contents.
pub(super) fn file(name: &str, data: &[u8]) -> Vec<u8> {
    header(b'0', name.as_bytes()).size(data.len() as u64).and(data)
}

/// One PAX record.
pub(super) fn record(key: &str, value: &[u8]) -> Vec<u8> {
    let rest = key.len() + value.len() + 3;
    let digits = (1..).find(|digits| (rest + digits).to_string().len() == *digits).expect("there is one");
    [format!("{} {key}=", rest + digits).as_bytes(), value, b"\n"].concat()
}

/// The header with these PAX records, for the next member or (`b'g'`) for all.
pub(super) fn records(flag: u8, records: &[(&str, &[u8])]) -> Vec<u8> {
    let data: Vec<u8> = records.iter().flat_map(|(key, value)| record(key, value)).collect();
    header(flag, b"pax").size(data.len() as u64).and(&data)
}

/// A member whose name, or whose target, comes in GNU's way.
pub(super) fn gnu_long(flag: u8, name: &[u8]) -> Vec<u8> {
    header(flag, b"././@LongLink").with(MAGIC, GNU).size(name.len() as u64).and(name)
}

/// These bytes as a whole tar.
pub(super) fn tar(parts: &[Vec<u8>]) -> Vec<u8> {
    [parts.concat(), vec![0; 1024]].concat()
}
