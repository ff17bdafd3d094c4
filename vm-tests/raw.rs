//! System calls that have no safe wrapper, each behind a safe function: the only place with `unsafe`.
//!
//! Numbers and structures are those of the kernel's headers; libc does not have all of them.

#![expect(unsafe_code, reason = "no crate wraps these calls")]

use std::ffi::c_long;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

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
