//! A program that is run call by call (ptrace(2)), and what can befall it at one of them.
//!
//! strace(1) can do such things too, but counts the calls of each thread for itself: what a thread does that is started after
//! the hundredth call could not be reached. Here calls are counted over all threads and child processes, in the order in which
//! they are entered. With threads that order is not the same each time: of all numbers together, not of one, it can be said
//! that every call was met.

use std::collections::HashMap;
use std::fs::{self, File};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, ExitStatus, Output, Stdio};

use nix::errno::Errno;
use nix::libc;
use nix::sys::ptrace::{self, AddressType, Options};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

/// A system call that is about to be made.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Call {
    /// Which it is of all that the program makes, from 1; its threads and children are counted too.
    pub(crate) nth: usize,
    /// Its number (asm/unistd.h).
    pub(crate) number: i64,
    /// What it is called with, the first three.
    pub(crate) arguments: [u64; 3],
    /// The thread that makes it.
    pub(crate) thread: Pid,
    /// Whether main() has begun: before, the calls are the C library's, and Rust's.
    pub(crate) in_main: bool,
}

/// What befalls a program at a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Happens {
    /// Nothing: it is made.
    Nothing,
    /// The process that makes it is killed, and it is not made.
    Kill,
    /// It is not made, and fails so.
    Fails(Errno),
    /// The process gets a signal before it is made.
    Signalled(Signal),
    /// The same, and it is so slow that another thread has read the signal (signalfd(2)), and goes on, before it is made.
    SignalledAndSlow(Signal),
    /// It is made; if it asks for the time of day, it is told so many seconds since 1970.
    Tells(i64),
}

/// PTRACE_EVENT_EXEC and PTRACE_SYSCALL_INFO_ENTRY (linux/ptrace.h).
const EXEC: i32 = 4;
const ENTRY: u8 = 1;

/// Runs `command` in the directory that it says, and asks at each call what is to happen. Returns when it and all that it started
/// have ended, with what it, and only it, came to.
///
/// What it says goes through files in `scratch`: nobody reads a pipe meanwhile.
pub(crate) fn run(
    command: &Command,
    stdin: Stdio,
    scratch: &Path,
    at: &mut dyn FnMut(&Call) -> Happens,
) -> Output {
    let [said, told] = ["stdout", "stderr"].map(|name| scratch.join(format!(".traced-{name}")));
    let mut stopped = behind_a_stop(command);
    stopped
        .stdin(stdin)
        .stdout(File::create(&said).expect("a file"))
        .stderr(File::create(&told).expect("a file"));
    #[expect(clippy::zombie_processes, reason = "follow() waits for it")]
    let child = stopped.spawn().expect("sh starts");
    let leader = Pid::from_raw(child.id().try_into().expect("a pid"));
    waitpid(leader, Some(WaitPidFlag::WUNTRACED)).expect("it stops itself");
    let options = Options::PTRACE_O_EXITKILL
        | Options::PTRACE_O_TRACESYSGOOD
        | Options::PTRACE_O_TRACEEXEC
        | Options::PTRACE_O_TRACECLONE
        | Options::PTRACE_O_TRACEFORK
        | Options::PTRACE_O_TRACEVFORK;
    ptrace::seize(leader, options).expect("root may trace");
    kill(leader, Signal::SIGCONT).expect("it is there");
    let status = follow(leader, at);
    let read = |path| fs::read(path).expect("a file");
    Output { status, stdout: read(&said), stderr: read(&told) }
}

/// The same command, started by a shell that waits until it is traced.
fn behind_a_stop(command: &Command) -> Command {
    let mut shell = Command::new("sh");
    shell
        .args(["-c", "kill -STOP $$; exec \"$0\" \"$@\""])
        .arg(command.get_program())
        .args(command.get_args());
    shell.env_clear().envs(command.get_envs().filter_map(|(key, value)| Some((key, value?))));
    shell.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
    if let Some(dir) = command.get_current_dir() {
        shell.current_dir(dir);
    }
    shell
}

fn follow(leader: Pid, at: &mut dyn FnMut(&Call) -> Happens) -> ExitStatus {
    let mut ended = None;
    let mut seen = Seen::default();
    loop {
        // Only this thread's: other tests have children too.
        let status = match waitpid(None, Some(WaitPidFlag::__WALL | WaitPidFlag::__WNOTHREAD)) {
            Err(Errno::ECHILD) => break,
            status => status.expect("waitpid"),
        };
        // A process may be killed while it is stopped: then what is asked of it is ESRCH, and its end comes next.
        let signal = match status {
            WaitStatus::Exited(pid, code) => {
                if pid == leader {
                    ended = Some(ExitStatus::from_raw(code << 8));
                }
                continue;
            }
            WaitStatus::Signaled(pid, signal, _) => {
                if pid == leader {
                    ended = Some(ExitStatus::from_raw(signal as i32));
                }
                continue;
            }
            WaitStatus::PtraceSyscall(thread) => {
                let signal = seen.stop(thread, at).unwrap_or_default();
                if seen.holds(thread) {
                    continue;
                }
                signal
            }
            WaitStatus::PtraceEvent(thread, _, EXEC) => {
                seen.counting = true;
                let _ = without_vdso(thread);
                None
            }
            WaitStatus::PtraceEvent(..) => None,
            WaitStatus::Stopped(_, signal) => Some(signal),
            other @ (WaitStatus::Continued(_) | WaitStatus::StillAlive) => panic!("{other:?}"),
        };
        let _ = ptrace::syscall(status.pid().expect("it has one"), signal);
    }
    ended.expect("the program ends")
}

/// Keeps from a program that has just begun that the kernel gives it code of its own (vdso(7)): it then asks for the time by a
/// system call.
fn without_vdso(thread: Pid) -> nix::Result<()> {
    const WORD: u64 = 8;
    // AT_SYSINFO_EHDR and AT_IGNORE (linux/auxvec.h).
    const SYSINFO: i64 = 33;
    const IGNORE: i64 = 1;
    let word = |at: u64| ptrace::read(thread, at as AddressType);
    let mut at = ptrace::getregs(thread)?.rsp;
    // The stack has argc, argv, a zero, the environment, a zero, and pairs of a type and a value.
    at += WORD * (2 + u64::try_from(word(at)?).unwrap_or_default());
    while word(at)? != 0 {
        at += WORD;
    }
    at += WORD;
    while word(at)? != 0 {
        if word(at)? == SYSINFO {
            ptrace::write(thread, at as AddressType, IGNORE)?;
        }
        at += 2 * WORD;
    }
    Ok(())
}

/// Whether the call that has just returned has.
fn has_read_a_signal(thread: Pid) -> bool {
    let size = size_of::<libc::signalfd_siginfo>() as u64;
    let is_it = |registers: libc::user_regs_struct| {
        i64::try_from(registers.orig_rax) == Ok(libc::SYS_read) && registers.rax == size
    };
    ptrace::getregs(thread).is_ok_and(is_it)
}

#[derive(Default)]
struct Seen {
    counting: bool,
    in_main: bool,
    calls: usize,
    /// What is to become of calls that were not made, by thread.
    failing: HashMap<Pid, Errno>,
    /// Where which time is to be written when a call returns, by thread.
    telling: HashMap<Pid, (u64, i64)>,
    /// Who waits until another has read a signal.
    held: Option<Pid>,
    /// Who has.
    heard: Option<Pid>,
}

impl Seen {
    /// Whether a thread that was just stopped is to stay so; who has read a signal, and goes on, lets it go on.
    fn holds(&mut self, stopped: Pid) -> bool {
        let Some(held) = self.held else { return false };
        if self.heard == Some(stopped) {
            let _ = ptrace::syscall(held, None);
            self.held = None;
        } else if has_read_a_signal(stopped) {
            self.heard = Some(stopped);
        }
        held == stopped
    }

    fn stop(&mut self, thread: Pid, at: &mut dyn FnMut(&Call) -> Happens) -> nix::Result<Option<Signal>> {
        let mut registers = ptrace::getregs(thread)?;
        if ptrace::syscall_info(thread)?.op != ENTRY {
            if let Some(errno) = self.failing.remove(&thread) {
                // The kernel's way to say it: the negative number.
                registers.rax = 0_u64.wrapping_sub(errno as u64);
                ptrace::setregs(thread, registers)?;
            }
            if let Some((timespec, seconds)) = self.telling.remove(&thread) {
                ptrace::write(thread, timespec as AddressType, seconds)?;
            }
            return Ok(None);
        }
        if !self.counting {
            return Ok(None);
        }
        self.calls += 1;
        let number = i64::try_from(registers.orig_rax).unwrap_or(-1);
        let call = Call {
            nth: self.calls,
            number,
            arguments: [registers.rdi, registers.rsi, registers.rdx],
            thread,
            in_main: self.in_main,
        };
        // Rust gives its main thread a stack for signals last of all, before it calls main().
        self.in_main |= number == libc::SYS_sigaltstack;
        match at(&call) {
            Happens::Nothing => Ok(None),
            Happens::Tells(seconds) => {
                if number == libc::SYS_clock_gettime && registers.rdi == libc::CLOCK_REALTIME as u64 {
                    self.telling.insert(thread, (registers.rsi, seconds));
                }
                Ok(None)
            }
            // The number of any of its threads means the process (kill(2)).
            Happens::Kill => kill(thread, Signal::SIGKILL).map(|()| None),
            Happens::Signalled(signal) => kill(thread, signal).map(|()| None),
            Happens::SignalledAndSlow(signal) => {
                self.held = Some(thread);
                kill(thread, signal).map(|()| None)
            }
            Happens::Fails(errno) => {
                registers.orig_rax = u64::MAX; // no call has this number
                ptrace::setregs(thread, registers)?;
                self.failing.insert(thread, errno);
                Ok(None)
            }
        }
    }
}
