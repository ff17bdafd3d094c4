//! Kinds of system calls, by what may make them fail.

use nix::libc;

use super::tracer::Call;

/// What a filesystem is asked for: all of it may fail with EIO.
const OF_FILES: &[i64] = &[
    libc::SYS_read,
    libc::SYS_write,
    libc::SYS_open,
    libc::SYS_stat,
    libc::SYS_fstat,
    libc::SYS_lstat,
    libc::SYS_lseek,
    libc::SYS_pread64,
    libc::SYS_pwrite64,
    libc::SYS_readv,
    libc::SYS_writev,
    libc::SYS_access,
    libc::SYS_fsync,
    libc::SYS_fdatasync,
    libc::SYS_ftruncate,
    libc::SYS_getdents64,
    libc::SYS_rename,
    libc::SYS_mkdir,
    libc::SYS_rmdir,
    libc::SYS_link,
    libc::SYS_unlink,
    libc::SYS_symlink,
    libc::SYS_readlink,
    libc::SYS_chmod,
    libc::SYS_fchmod,
    libc::SYS_fchown,
    libc::SYS_statfs,
    libc::SYS_fstatfs,
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_setxattr,
    libc::SYS_lsetxattr,
    libc::SYS_fsetxattr,
    libc::SYS_getxattr,
    libc::SYS_lgetxattr,
    libc::SYS_fgetxattr,
    libc::SYS_llistxattr,
    libc::SYS_flistxattr,
    libc::SYS_openat,
    libc::SYS_mkdirat,
    libc::SYS_mknodat,
    libc::SYS_fchownat,
    libc::SYS_newfstatat,
    libc::SYS_unlinkat,
    libc::SYS_renameat,
    libc::SYS_linkat,
    libc::SYS_symlinkat,
    libc::SYS_readlinkat,
    libc::SYS_fchmodat,
    libc::SYS_faccessat,
    libc::SYS_utimensat,
    libc::SYS_fallocate,
    libc::SYS_syncfs,
    libc::SYS_renameat2,
    libc::SYS_copy_file_range,
    libc::SYS_statx,
    libc::SYS_open_tree,
    libc::SYS_move_mount,
    libc::SYS_fsopen,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_openat2,
    libc::SYS_flock,
];

/// What needs room.
const OF_ROOM: &[i64] = &[
    libc::SYS_write,
    libc::SYS_pwrite64,
    libc::SYS_mkdir,
    libc::SYS_mkdirat,
    libc::SYS_mknodat,
    libc::SYS_symlink,
    libc::SYS_symlinkat,
    libc::SYS_link,
    libc::SYS_linkat,
    libc::SYS_rename,
    libc::SYS_renameat,
    libc::SYS_renameat2,
    libc::SYS_fsetxattr,
    libc::SYS_lsetxattr,
    libc::SYS_ftruncate,
    libc::SYS_copy_file_range,
    libc::SYS_fallocate,
];

/// What makes a descriptor.
const OF_DESCRIPTORS: &[i64] = &[
    libc::SYS_open,
    libc::SYS_openat,
    libc::SYS_openat2,
    libc::SYS_fcntl,
    libc::SYS_open_tree,
    libc::SYS_fsopen,
    libc::SYS_fsmount,
    libc::SYS_pipe2,
    libc::SYS_socketpair,
];

const OF_THREADS: &[i64] = &[libc::SYS_clone, libc::SYS_clone3, libc::SYS_vfork];

/// What a signal may interrupt (signal(7)).
const OF_SIGNALS: &[i64] =
    &[libc::SYS_read, libc::SYS_write, libc::SYS_open, libc::SYS_openat, libc::SYS_flock];

pub(crate) fn is_of_room(call: &Call) -> bool {
    // What is said needs none.
    call.in_main
        && OF_ROOM.contains(&call.number)
        && !(call.number == libc::SYS_write && call.arguments[0] < 3)
}

/// What tells whether a filesystem can hold layers.
pub(crate) fn is_of_trials(call: &Call) -> bool {
    call.in_main && matches!(call.number, libc::SYS_mknodat | libc::SYS_fsetxattr)
}

pub(crate) fn is_of_descriptors(call: &Call) -> bool {
    call.in_main && OF_DESCRIPTORS.contains(&call.number)
}

/// What makes a descriptor of another.
pub(crate) fn is_of_copies(call: &Call) -> bool {
    call.in_main && call.number == libc::SYS_fcntl && call.arguments[1] == libc::F_DUPFD_CLOEXEC as u64
}

/// What goes to standard output, which may be another process.
pub(crate) fn is_of_output(call: &Call) -> bool {
    call.in_main && call.number == libc::SYS_write && call.arguments[0] == 1
}

pub(crate) fn is_of_threads(call: &Call) -> bool {
    call.in_main && OF_THREADS.contains(&call.number)
}

pub(crate) fn is_of_signals(call: &Call) -> bool {
    call.in_main && OF_SIGNALS.contains(&call.number)
}

pub(crate) fn is_of_files(call: &Call) -> bool {
    call.in_main && OF_FILES.contains(&call.number)
}
