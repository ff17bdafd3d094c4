//! How much a tar may make its reader remember.

/// How much a tar may make its reader remember; what is beyond is refused.
///
/// File data is not limited here: it is streamed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of the PAX records of one member, and of a GNU long name.
    pub records: u64,
    /// Bytes of the PAX records that hold for all members.
    pub global_records: usize,
    /// Pieces of one sparse file.
    pub segments: usize,
}

impl Limits {
    /// What no honest image comes near; the record limit is Go's (CVE-2022-2879).
    pub const DEFAULT: Self = Self { records: 1 << 20, global_records: 16 << 10, segments: 1 << 16 };
}

impl Default for Limits {
    fn default() -> Self {
        Self::DEFAULT
    }
}
