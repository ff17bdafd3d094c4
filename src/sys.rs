//! The door to the kernel: the only place that names `rustix`, `nix` and their like.
//!
//! Every function is one system call, or the few that make one meaning; a failed one says what was called as
//! strace(1) would print it. Knows nothing of layers, images or stores.

pub mod background;
pub mod caps;
pub mod confine;
pub mod copy;
pub mod dir;
pub mod filesystem;
pub mod furnish;
pub mod interrupt;
pub mod kmsg;
pub mod lock;
pub mod loopback;
pub mod mount;
pub mod namespace;
pub mod new_file;
pub mod path;
pub mod probe;
pub mod script;
pub mod signal;
pub mod terminal;
pub mod trace;
pub mod tree;

use std::ffi::{CString, OsStr};
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::{LazyLock, OnceLock};

pub use rustix::io::Errno;

/// A system call that failed.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{call}: {}{}", describe(*.errno), Said(.said))]
pub struct CallFailed {
    /// The call with its arguments, as strace prints it: `openat(3, "etc", O_RDONLY)`.
    pub call: String,
    /// What the kernel answered.
    pub errno: Errno,
    /// What the kernel said besides, one line; empty where it said nothing.
    pub said: String,
}

/// Returns a path that leads to what `fd` holds open, and to nothing else, for calls that take only a path.
fn through_proc(fd: impl AsFd) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", fd.as_fd().as_raw_fd()))
}

impl CallFailed {
    /// Notes that `call` was answered with `errno`.
    #[must_use]
    pub fn new(call: impl Into<String>, errno: Errno) -> Self {
        Self { call: call.into(), errno, said: String::new() }
    }

    /// Notes that `call` on the open file `fd` was answered with `errno`.
    #[must_use]
    pub fn on(call: &str, fd: impl AsFd, errno: Errno) -> Self {
        let path =
            rustix::fs::readlink(through_proc(fd), Vec::new()).map(CString::into_bytes).unwrap_or_default();
        Self::new(format!("{call}({:?})", OsStr::from_bytes(&path)), errno)
    }

    /// Notes that `call`, made by the standard library, ended with `error`.
    #[must_use]
    pub fn of_io(call: impl Into<String>, error: &io::Error) -> Self {
        Self::new(call, Errno::from_io_error(error).unwrap_or(Errno::IO))
    }

    /// Adds what the kernel's log says of it.
    #[must_use]
    pub fn saying(mut self, said: impl Into<String>) -> Self {
        self.said = said.into();
        self
    }

    /// Returns what kind of error it is, for those who know no errno.
    #[must_use]
    pub fn kind(&self) -> io::ErrorKind {
        io::Error::from(self.errno).kind()
    }
}

impl From<CallFailed> for io::Error {
    fn from(failed: CallFailed) -> Self {
        Self::new(failed.kind(), failed)
    }
}

/// Lets this process hold as many files open as it may: an image of 500 layers takes as many. Returns how many it could
/// before; `None` where there was no limit.
pub fn raise_file_limit() -> Option<u64> {
    use rustix::process::{Resource, getrlimit};
    let limit = getrlimit(Resource::Nofile);
    set_file_limit(limit.maximum);
    limit.current
}

/// Sets how many files this process, and those that it starts, may hold open.
pub fn set_file_limit(current: Option<u64>) {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    // Where that is refused, the call that has too many files open says so.
    let _ = setrlimit(Resource::Nofile, rustix::process::Rlimit { current, ..limit });
}

/// Lets this thread, and those that it starts, give way to all others (nice(2), which on Linux is a thread's own). Once is
/// enough.
pub fn give_way() {
    /// A third of the weight (sched(7)): what gives way still gets on, and does not hold its memory for nothing.
    const BY: i32 = 5;
    // Where that is refused, it only takes longer.
    let _ = rustix::process::nice(BY);
}

/// O_NONBLOCK, for the standard library's way to open files.
pub const NONBLOCK: i32 = rustix::fs::OFlags::NONBLOCK.bits() as i32;

/// Makes a pipe with a name, for root alone.
pub fn make_fifo(path: &std::path::Path) -> Result<(), CallFailed> {
    use rustix::fs::{CWD, FileType, Mode, mknodat};
    mknodat(CWD, path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0)
        .map_err(|e| CallFailed::new(format!("mknod({path:?}, S_IFIFO)"), e))
}

/// Lets a pipe hold 512 KiB instead of 64, so that who writes and who reads wake one another less often. With 1 MiB,
/// the most that anybody may ask for (pipe(7)), a load takes longer again. What is no pipe stays as it is.
pub fn widen(pipe: impl AsFd) {
    use rustix::pipe::{fcntl_getpipe_size, fcntl_setpipe_size};
    const WIDE: usize = 512 << 10;
    if fcntl_getpipe_size(&pipe).is_ok_and(|size| size < WIDE) {
        // Where that is refused, it only takes longer.
        let _ = fcntl_setpipe_size(&pipe, WIDE);
    }
}

/// Asks the kernel to bring bytes of a file into memory that will be read soon, from the offset `asked` on, which moves, up to
/// `to`, in pieces of 512 KiB; less is not worth a call. Reading them then waits for no disk; by itself the kernel goes only
/// some 128 KiB further than was read.
pub fn read_ahead(file: impl AsFd, asked: &mut u64, to: u64) {
    use rustix::fs::{Advice, fadvise};
    /// Of more at once it may take a part only (`force_page_cache_ra` in mm/readahead.c).
    const AT_ONCE: u64 = 512 << 10;
    while *asked + AT_ONCE <= to {
        // Where that is refused, it only takes longer.
        let _ = fadvise(&file, *asked, std::num::NonZero::new(AT_ONCE), Advice::WillNeed);
        *asked += AT_ONCE;
    }
}

/// Sets the mode bits that are cleared from what this process, and those that it starts, create.
pub fn set_umask(mask: u32) {
    let _ = rustix::process::umask(rustix::fs::Mode::from_raw_mode(mask));
}

/// Returns what tells this boot of the machine from all others (random(4)). Containers have that of their host. Read once: no
/// process outlives its boot.
pub fn boot_id() -> Result<String, CallFailed> {
    const FILE: &str = "/proc/sys/kernel/random/boot_id";
    static BOOT: OnceLock<String> = OnceLock::new();
    if let Some(boot) = BOOT.get() {
        return Ok(boot.clone());
    }
    let text = read_proc(FILE.as_ref()).map_err(|e| CallFailed::of_io(format!("open({FILE:?})"), &e))?;
    Ok(BOOT.get_or_init(|| String::from_utf8_lossy(&text).trim_end().to_owned()).clone())
}

/// Reads a file under /proc in as few pieces as the kernel gives: it tells no size, and the standard library begins with
/// pieces of 32 bytes then.
pub fn read_proc(path: &Path) -> io::Result<Vec<u8>> {
    /// More than most have; the kernel gives a page at a time, or a line that is longer.
    const USUAL: usize = 16 << 10;
    let mut text = Vec::with_capacity(USUAL);
    File::open(path)?.take(u64::MAX).read_to_end(&mut text)?;
    Ok(text)
}

/// What is known of this process, as it was when that was asked for first. Read once: it takes as long as creating some files,
/// and cannot be opened by a process that is confined.
static STATUS: LazyLock<String> = LazyLock::new(|| {
    let status = read_proc("/proc/self/status".as_ref()).unwrap_or_default();
    String::from_utf8_lossy(&status).into_owned()
});

/// Returns what /proc/self/status says of `key`, for what does not change while this process runs.
fn status(key: &str) -> Option<&'static str> {
    STATUS.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':')).map(str::trim)
}

/// Lets a write beyond the limit of file sizes (`ulimit -f`) fail as other writes do, with EFBIG: SIGXFSZ would end this
/// process without a word. To be called before there are other threads.
pub fn outlive_size_limit() {
    use nix::sys::signal::{SigSet, Signal};
    // What is blocked is not delivered (setrlimit(2)). Where that is refused, all is as it was.
    let _ = SigSet::from(Signal::SIGXFSZ).thread_block();
}

/// Returns the C library's sentence for `errno`, without Rust's "(os error N)".
#[must_use]
pub fn describe(errno: Errno) -> String {
    let text = io::Error::from(errno).to_string();
    text.split(" (os error").next().unwrap_or_default().to_owned()
}

/// Joins what each error of a chain says, outside in, into one line.
#[must_use]
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut line = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        line = format!("{line}: {}", plain(&error.to_string()));
        cause = error.source();
    }
    plain(&line)
}

/// Counts things in words: `1 layer`, `2 layers`.
#[must_use]
pub fn counted<N: Copy + fmt::Display + PartialEq + From<u8>>(count: N, thing: &str) -> String {
    let s = if count == N::from(1) { "" } else { "s" };
    format!("{count} {thing}{s}")
}

/// Leaves out the number that Rust puts behind the C library's sentence.
fn plain(text: &str) -> String {
    match text.split_once(" (os error ") {
        Some((before, after)) => {
            format!("{before}{}", after.split_once(')').map_or("", |(_, rest)| rest))
        }
        None => text.to_owned(),
    }
}

/// Returns the user and group that own what this process creates.
#[must_use]
pub fn creates_as() -> (u32, u32) {
    (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw())
}

/// Returns the mode bits that the kernel may clear from what this process creates; never too few.
///
/// Read, not set and reset: umask(2) is the whole process's, and another thread may be creating a file just now.
#[must_use]
pub fn umask() -> u32 {
    // Asked for each file that is made; told since Linux 4.7.
    static UMASK: LazyLock<u32> = LazyLock::new(|| {
        status("Umask").and_then(|octal| u32::from_str_radix(octal, 8).ok()).unwrap_or(0o777)
    });
    *UMASK
}

struct Said<'a>(&'a str);

impl fmt::Display for Said<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() { Ok(()) } else { write!(f, " ({})", self.0) }
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    #[test]
    fn a_thread_gives_way_with_those_that_it_starts_and_no_others() {
        fn nice() -> i32 {
            let stat = std::fs::read_to_string("/proc/thread-self/stat").unwrap();
            let after_name = stat.rsplit_once(") ").unwrap().1; // proc_pid_stat(5): the fields from the third
            after_name.split(' ').nth(19 - 3).unwrap().parse().unwrap()
        }
        let before = nice();
        let beside = thread::spawn(|| {
            give_way();
            (nice(), thread::spawn(nice).join().unwrap())
        });
        let more = (before + 5).min(19);
        assert_eq!(beside.join().unwrap(), (more, more));
        assert_eq!(nice(), before);
    }

    #[test]
    fn a_pipe_is_made_wider_and_all_else_is_left() {
        use rustix::pipe::{fcntl_getpipe_size, pipe};
        let (from, _to) = pipe().unwrap();
        widen(&from);
        assert_eq!(fcntl_getpipe_size(&from), Ok(512 << 10));
        widen(File::open("/dev/null").unwrap());
    }

    #[test]
    fn a_failed_call_reads_as_strace_prints_it() {
        let failed = CallFailed::new("mkdirat(3, \"etc\", 0755)", Errno::EXIST);
        assert_eq!(failed.to_string(), "mkdirat(3, \"etc\", 0755): File exists");
        let failed =
            CallFailed::new("fsconfig(\"upper\", \"/x\")", Errno::INVAL).saying("Unknown parameter 'upper'");
        assert_eq!(
            failed.to_string(),
            "fsconfig(\"upper\", \"/x\"): Invalid argument (Unknown parameter 'upper')"
        );
    }
}
