//! System calls that have no safe wrapper, each behind a safe function: the only place with `unsafe`.
//!
//! Numbers and structures are those of the kernel's headers; libc does not have all of them.

#![expect(unsafe_code, reason = "no crate wraps these calls")]

use std::ffi::{CStr, CString, c_int, c_long};
use std::fs::File;
use std::io;
use std::mem::offset_of;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{AtFlags, CWD, StatxFlags, statx};

/// What a system call answered, or the errno that it left.
fn answer(answered: c_long) -> io::Result<c_long> {
    if answered < 0 { Err(io::Error::last_os_error()) } else { Ok(answered) }
}

/// struct mount_attr of <linux/mount.h>
#[repr(C)]
struct MountAttributes {
    set: u64,
    clear: u64,
    propagation: u64,
    user_namespace: u64,
}

const MOUNT_ATTR_IDMAP: u64 = 0x10_0000;

/// mount_setattr(2): maps the ids of a mount that is attached nowhere as `user_namespace` does.
pub(crate) fn map_ids(tree: BorrowedFd<'_>, user_namespace: BorrowedFd<'_>) -> io::Result<()> {
    let attributes = MountAttributes {
        set: MOUNT_ATTR_IDMAP,
        clear: 0,
        propagation: 0,
        user_namespace: u64::try_from(user_namespace.as_raw_fd()).expect("an open descriptor is positive"),
    };
    let (tree, flags, size) = (tree.as_raw_fd(), libc::AT_EMPTY_PATH, size_of_val(&attributes));
    // SAFETY: both descriptors are open; the kernel reads an empty string, and `size` bytes of a structure that lives on.
    let answered = unsafe {
        libc::syscall(libc::SYS_mount_setattr, tree, c"".as_ptr(), flags, &raw const attributes, size)
    };
    answer(answered).map(drop)
}

/// struct file_handle of <fcntl.h>, with room for any.
#[repr(C)]
pub(crate) struct Handle {
    len: u32,
    kind: c_int,
    bytes: [u8; MAX_HANDLE],
}

/// MAX_HANDLE_SZ
const MAX_HANDLE: usize = 128;

impl Handle {
    /// name_to_handle_at(2)
    pub(crate) fn of(path: &Path) -> io::Result<Self> {
        let path = CString::new(path.as_os_str().as_bytes())?;
        let mut handle = Self { len: MAX_HANDLE as u32, kind: 0, bytes: [0; MAX_HANDLE] };
        let mut mount: c_int = 0;
        let number = libc::SYS_name_to_handle_at;
        // SAFETY: the path ends with NUL; the kernel writes an int, and to `handle` no more than the `len` bytes it has.
        let answered = unsafe {
            libc::syscall(number, libc::AT_FDCWD, path.as_ptr(), &raw mut handle, &raw mut mount, 0)
        };
        answer(answered).map(|_| handle)
    }

    /// open_by_handle_at(2), for reading, in the filesystem that `mount` is an open file of.
    pub(crate) fn open(&self, mount: &File) -> io::Result<File> {
        let (number, flags) = (libc::SYS_open_by_handle_at, libc::O_RDONLY | libc::O_CLOEXEC);
        // SAFETY: the kernel reads `len` bytes after the head, and `of` let it write no more than there are.
        let opened = unsafe { libc::syscall(number, mount.as_raw_fd(), &raw const *self, flags) };
        let descriptor = c_int::try_from(answer(opened)?).expect("a descriptor is an int");
        // SAFETY: the descriptor is new, and nobody else knows of it.
        Ok(unsafe { File::from_raw_fd(descriptor) })
    }
}

/// Calls ioctl(2) with a structure that the request reads or writes.
///
/// # Safety
///
/// `request` must not read or write more than a `T`.
unsafe fn ioctl<T>(file: &File, request: u32, argument: &mut T) -> io::Result<()> {
    // SAFETY: the descriptor is open, and the caller promises the rest.
    let answered = unsafe { libc::ioctl(file.as_raw_fd(), request as _, &raw mut *argument) };
    answer(c_long::from(answered)).map(drop)
}

const FIFREEZE: u32 = 0xc004_5877;
const FITHAW: u32 = 0xc004_5878;

/// Makes whoever writes to the filesystem of `file` wait.
pub(crate) fn freeze(file: &File) -> io::Result<()> {
    // SAFETY: declared with an int, which the kernel does not even look at.
    unsafe { ioctl::<c_int>(file, FIFREEZE, &mut 0) }
}

/// Ends what `freeze` began.
pub(crate) fn thaw(file: &File) -> io::Result<()> {
    // SAFETY: declared with an int, which the kernel does not even look at.
    unsafe { ioctl::<c_int>(file, FITHAW, &mut 0) }
}

/// struct fsverity_enable_arg of <linux/fsverity.h>
#[repr(C)]
#[derive(Default)]
struct EnableVerity {
    version: u32,
    hash_algorithm: u32,
    block_size: u32,
    salt_size: u32,
    salt: u64,
    signature_size: u32,
    reserved: u32,
    signature: u64,
    more_reserved: [u64; 11],
}

/// struct fsverity_digest, with room for SHA-256.
#[repr(C)]
struct VerityDigest {
    algorithm: u16,
    len: u16,
    digest: [u8; 32],
}

const FS_IOC_ENABLE_VERITY: u32 = 0x4080_6685;
const FS_IOC_MEASURE_VERITY: u32 = 0xc004_6686;
const SHA256: u32 = 1;

/// Makes a file, opened for reading, one that never changes again: fs-verity with SHA-256 of 4 KiB blocks, no salt.
pub(crate) fn enable_verity(file: &File) -> io::Result<()> {
    let mut wanted =
        EnableVerity { version: 1, hash_algorithm: SHA256, block_size: 4096, ..EnableVerity::default() };
    // SAFETY: the request reads this structure; salt and signature are empty, so no pointer in it is followed.
    unsafe { ioctl(file, FS_IOC_ENABLE_VERITY, &mut wanted) }
}

/// Returns the digest that the kernel has of a file with fs-verity.
pub(crate) fn verity_digest(file: &File) -> io::Result<[u8; 32]> {
    let mut measured = VerityDigest { algorithm: 0, len: 32, digest: [0; 32] };
    // SAFETY: the request writes the head, and as many bytes as `len` says there are.
    unsafe { ioctl(file, FS_IOC_MEASURE_VERITY, &mut measured) }?;
    Ok(measured.digest)
}

/// struct mnt_id_req of <linux/mount.h>, as Linux 6.8 has it.
#[repr(C)]
struct MountRequest {
    size: u32,
    spare: u32,
    mount: u64,
    asked: u64,
}

/// The head of struct statmount; strings follow at byte 512, to which `fs_type` and its like are offsets.
#[repr(C)]
struct MountHead {
    size: u32,
    options: u32,
    told: u64,
    device: [u32; 2],
    magic: u64,
    flags: u32,
    fs_type: u32,
    ids: [u64; 3],
    attributes: u64,
    propagation: [u64; 4],
    root: u32,
    point: u32,
    namespace: u64,
    subtype: u32,
    source: u32,
    option_count: u32,
    option_array: u32,
}

/// A text that statmount(2) tells: the bit that asks for it, and where its offset is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Text(u64, usize);

pub(crate) const ROOT: Text = Text(0x8, offset_of!(MountHead, root));
pub(crate) const POINT: Text = Text(0x10, offset_of!(MountHead, point));
pub(crate) const TYPE: Text = Text(0x20, offset_of!(MountHead, fs_type));
pub(crate) const OPTIONS: Text = Text(0x80, offset_of!(MountHead, options));
pub(crate) const SOURCE: Text = Text(0x200, offset_of!(MountHead, source));
/// The first of the options, which are not escaped here.
pub(crate) const FIRST_OPTION: Text = Text(0x400, offset_of!(MountHead, option_array));

const STATMOUNT: c_long = 457;
const STRINGS: usize = 512;
const STATX_MNT_ID_UNIQUE: u32 = 0x4000;

/// statmount(2) of the mount that `path` is on: `None` where the kernel does not tell this.
pub(crate) fn mount_text(path: &Path, text: Text) -> io::Result<Option<String>> {
    let unique = StatxFlags::from_bits_retain(STATX_MNT_ID_UNIQUE);
    let mount = statx(CWD, path, AtFlags::empty(), unique)?.stx_mnt_id;
    let size = u32::try_from(size_of::<MountRequest>()).expect("it is small");
    let request = MountRequest { size, spare: 0, mount, asked: text.0 };
    let mut buffer = vec![0_u64; 1024];
    let room = size_of_val(buffer.as_slice());
    // SAFETY: the kernel reads `size` bytes of the request, and writes no more than `room` bytes to the aligned buffer.
    let answered = unsafe { libc::syscall(STATMOUNT, &raw const request, buffer.as_mut_ptr(), room, 0) };
    answer(answered)?;
    let bytes: Vec<u8> = buffer.iter().flat_map(|word| word.to_ne_bytes()).collect();
    let told = buffer[offset_of!(MountHead, told) / size_of::<u64>()];
    if told & text.0 == 0 {
        return Ok(None);
    }
    let offset = bytes[text.1..][..4].try_into().expect("four bytes");
    let from = STRINGS + usize::try_from(u32::from_ne_bytes(offset)).expect("an offset fits");
    let string = CStr::from_bytes_until_nul(&bytes[from..]).map_err(io::Error::other)?;
    Ok(Some(string.to_string_lossy().into_owned()))
}
