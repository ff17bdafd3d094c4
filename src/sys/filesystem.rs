//! Which filesystem something lies on, how sizes read, and random bytes.

use std::os::fd::AsFd;

use rustix::fs;

use super::{CallFailed, trace};

/// The magic number of overlayfs (linux/magic.h, `OVERLAYFS_SUPER_MAGIC`).
const OVERLAY: u64 = 0x794c_7630;

/// Names of filesystems by their magic numbers (linux/magic.h and statfs(2)).
const NAMES: &[(u64, &str)] = &[
    (0x0102_1997, "9p"),
    (0x0102_1994, "tmpfs"),
    (0x1373, "devfs"),
    (0x28cd_3d45, "cramfs"),
    (0x2011_bab0, "exfat"),
    (0x2fc1_2fc1, "zfs"),
    (0x4d44, "vfat"),
    (0x5846_5342, "xfs"),
    (0x6265_6572, "sysfs"),
    (0x6573_5546, "fuse"),
    (0x6969, "nfs"),
    (0x7366_746e, "ntfs"),
    (0x7371_7368, "squashfs"),
    (0x8584_58f6, "ramfs"),
    (OVERLAY, "overlayfs"),
    (0x9123_683e, "btrfs"),
    (0x9660, "iso9660"),
    (0x9fa0, "proc"),
    (0xca45_1a4e, "bcachefs"),
    (0xe0f5_e1e2, "erofs"),
    (0xef53, "ext4"), // ext2 and ext3 have the same number
    (0xf2f5_2010, "f2fs"),
    (0xfe53_4d42, "smb2"),
    (0xff53_4d42, "cifs"),
];

/// A filesystem, as statfs(2) sees it.
#[derive(Debug, Clone, Copy)]
pub struct Filesystem {
    magic: u64,
    /// How many bytes root may still write.
    pub free: u64,
    /// How many bytes anybody may still write.
    pub available: u64,
    /// How many more files it can have; some filesystems need never say no.
    pub free_inodes: u64,
    /// Whether it, or the mount it was reached by, cannot be written.
    pub read_only: bool,
}

impl Filesystem {
    /// Asks which filesystem `fd` lies on.
    pub fn of(fd: impl AsFd) -> Result<Self, CallFailed> {
        let fd = fd.as_fd();
        let kind = fs::fstatfs(fd).map_err(|e| CallFailed::on("fstatfs", fd, e))?;
        let vfs = fs::fstatvfs(fd).map_err(|e| CallFailed::on("fstatvfs", fd, e))?;
        Ok(Self {
            // The magic is a u32 that the C library keeps in a signed long.
            magic: u64::try_from(kind.f_type).unwrap_or_default(),
            free: vfs.f_bfree.saturating_mul(vfs.f_frsize),
            available: vfs.f_bavail.saturating_mul(vfs.f_frsize),
            // btrfs, whose inodes are as many as there is room for, says 0 of 0.
            free_inodes: if vfs.f_files == 0 { u64::MAX } else { vfs.f_ffree },
            read_only: vfs.f_flag.contains(fs::StatVfsMountFlags::RDONLY),
        })
    }

    /// Whether this is overlayfs, which cannot hold another overlay's upper directory.
    #[must_use]
    pub fn is_overlayfs(&self) -> bool {
        self.magic == OVERLAY
    }

    /// Returns its name as mount(8) says it, or its magic number where we know none.
    #[must_use]
    pub fn name(&self) -> String {
        let known = NAMES.iter().find(|(magic, _)| *magic == self.magic);
        known
            .map_or_else(|| format!("a filesystem of type {:#x}", self.magic), |(_, name)| (*name).to_owned())
    }
}

/// Waits until all that was written to the filesystem of `fd` is on its disk.
///
/// Fails where something of it could not be written, by whomever, of which nobody has been told since `fd` was opened, or
/// before (syncfs(2), since Linux 5.8).
pub fn sync(fd: impl AsFd) -> Result<(), CallFailed> {
    let fd = fd.as_fd();
    trace::call(fs::syncfs(fd), || format!("syncfs({})", trace::fd(fd)))
        .map_err(|e| CallFailed::new("syncfs", e))
}

/// Returns `N` random bytes.
pub fn random<const N: usize>() -> Result<[u8; N], CallFailed> {
    let mut bytes = [0; N];
    rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty())
        .map_err(|e| CallFailed::new("getrandom", e))?;
    Ok(bytes)
}

/// Writes a number of bytes as people read it: `1.2 GiB`.
#[must_use]
pub fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    #[expect(clippy::cast_precision_loss, reason = "one digit after the point is shown")]
    let mut value = bytes as f64 / 1024.0;
    let mut unit = 0;
    while value >= 1023.95 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS[unit])
}

/// Reads a size: `64M`, `1G`, `4096`.
#[must_use]
pub fn read_size(text: &str) -> Option<u64> {
    let (number, unit) = match text.find(|c: char| !c.is_ascii_digit()) {
        Some(at) => text.split_at(at),
        None => (text, ""),
    };
    let shift = match unit.to_ascii_lowercase().as_str() {
        "" => 0,
        "k" | "kib" => 10,
        "m" | "mib" => 20,
        "g" | "gib" => 30,
        "t" | "tib" => 40,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(1 << shift).filter(|&size| size > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_rounded_to_a_tenth() {
        for (bytes, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (1_048_575, "1.0 MiB"),
            (246_415_360, "235.0 MiB"),
            (1_288_490_189, "1.2 GiB"),
        ] {
            assert_eq!(size(bytes), text);
        }
    }
    #[test]
    fn sizes_are_read_with_their_unit() {
        for (text, size) in [
            ("4096", Some(4096)),
            ("64M", Some(64 << 20)),
            ("1gib", Some(1 << 30)),
            ("0", None),
            ("", None),
            ("M", None),
            ("1X", None),
            ("99999999T", None),
        ] {
            assert_eq!(read_size(text), size, "{text}");
        }
    }
}
