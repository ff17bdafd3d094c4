//! An initramfs: the cpio archive that a kernel unpacks into its first root (Documentation/driver-api/early-userspace/buffer-format.rst).

use std::fmt::Write;

/// Number of the console, for what init says before it has a /dev.
const CONSOLE: (u32, u32) = (5, 1);

/// An archive in the making; it is not compressed, for the guest would be slower to unpack it than QEMU to hand it over.
#[must_use]
pub(super) struct Initramfs {
    bytes: Vec<u8>,
    entries: u32,
}

impl Initramfs {
    /// An archive that holds a /dev with a console.
    pub(super) fn new() -> Self {
        let mut archive = Self { bytes: Vec::new(), entries: 0 };
        archive.directory("dev");
        archive.entry("dev/console", 0o020_600, CONSOLE, &[]);
        archive
    }

    pub(super) fn directory(&mut self, name: &str) {
        self.entry(name, 0o040_755, (0, 0), &[]);
    }

    pub(super) fn file(&mut self, name: &str, mode: u32, contents: &[u8]) {
        self.entry(name, 0o100_000 | mode, (0, 0), contents);
    }

    /// Returns the whole archive.
    pub(super) fn finish(mut self) -> Vec<u8> {
        self.entry("TRAILER!!!", 0, (0, 0), &[]);
        self.bytes
    }

    fn entry(&mut self, name: &str, mode: u32, device: (u32, u32), contents: &[u8]) {
        self.entries += 1;
        let size = u32::try_from(contents.len()).expect("a file of an initramfs is smaller than 4 GiB");
        let name_size = u32::try_from(name.len() + 1).expect("names are short");
        let mut header = String::from("070701");
        for field in [self.entries, mode, 0, 0, 1, 0, size, 0, 0, device.0, device.1, name_size, 0]
            .map(|n| format!("{n:08X}"))
        {
            let _ = write!(header, "{field}"); // a String takes all
        }
        self.bytes.extend(header.as_bytes());
        self.bytes.extend(name.as_bytes());
        self.bytes.push(0);
        self.pad();
        self.bytes.extend(contents);
        self.pad();
    }

    /// Names and contents end on a multiple of four.
    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}
