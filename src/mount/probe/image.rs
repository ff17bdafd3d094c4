//! The smallest erofs image: one block that holds the superblock and an empty root directory.

/// Returns an image of an empty directory (fs/erofs/erofs_fs.h).
pub(super) fn empty() -> Vec<u8> {
    const BLOCK: usize = 4096;
    const SUPERBLOCK: usize = 1024;
    /// The root directory's inode: right behind the 128 bytes of the superblock. Inodes are counted by 32 bytes.
    const ROOT: usize = SUPERBLOCK + 128;
    let mut image = vec![0; BLOCK];
    let mut put = |at: usize, bytes: &[u8]| image[at..at + bytes.len()].copy_from_slice(bytes);
    put(SUPERBLOCK, &0xe0f5_e1e2_u32.to_le_bytes());
    put(SUPERBLOCK + 12, &[12]); // blocks of 1 << 12 bytes
    put(SUPERBLOCK + 14, &u16_of(ROOT / 32).to_le_bytes());
    put(SUPERBLOCK + 16, &1_u64.to_le_bytes()); // inodes
    put(SUPERBLOCK + 36, &1_u32.to_le_bytes()); // blocks
    let entries = entries(u64::from(u16_of(ROOT / 32)));
    put(ROOT, &(2_u16 << 1).to_le_bytes()); // a compact inode with its contents behind it: EROFS_INODE_FLAT_INLINE
    put(ROOT + 4, &0o040_755_u16.to_le_bytes());
    put(ROOT + 6, &2_u16.to_le_bytes()); // links
    put(ROOT + 8, &u16_of(entries.len()).to_le_bytes());
    put(ROOT + 20, &1_u32.to_le_bytes()); // its number for stat(2)
    put(ROOT + 32, &entries);
    image
}

/// The entries `.` and `..`: 12 bytes each, then the names.
fn entries(root: u64) -> Vec<u8> {
    const DIRECTORY: u8 = 2; // EROFS_FT_DIR
    let names = [".", ".."];
    let mut bytes = Vec::new();
    let mut name_at = 12 * names.len();
    for name in names {
        bytes.extend(root.to_le_bytes());
        bytes.extend(u16_of(name_at).to_le_bytes());
        bytes.extend([DIRECTORY, 0]);
        name_at += name.len();
    }
    bytes.extend(names.concat().into_bytes());
    bytes
}

fn u16_of(number: usize) -> u16 {
    u16::try_from(number).expect("one block's offsets fit")
}
