//! The system calls that are refused (EPERM), and why: a list of what harms, since libraries need others each year.
//!
//! The list becomes a search tree. The kernel runs the filter once for each call there is when it is installed, and a list
//! in which it looks at one after the other, as seccompiler writes it, takes half a millisecond; this takes less than half of that.

use seccompiler::{BpfProgram, sock_filter};

/// Calls that are refused whatever their arguments.
const REFUSED: &[&[i64]] = &[
    // Mounts, and what else CAP_SYS_ADMIN would do: it stays for the sake of `trusted.*` attributes.
    &[
        libc::SYS_mount,
        libc::SYS_umount2,
        libc::SYS_pivot_root,
        libc::SYS_chroot,
        libc::SYS_fsopen,
        libc::SYS_fspick,
        libc::SYS_fsconfig,
        libc::SYS_fsmount,
        libc::SYS_move_mount,
        libc::SYS_open_tree,
        libc::SYS_mount_setattr,
        OPEN_TREE_ATTR,
        libc::SYS_unshare,
        libc::SYS_setns,
        libc::SYS_swapon,
        libc::SYS_swapoff,
        libc::SYS_quotactl,
        libc::SYS_quotactl_fd,
        libc::SYS_sethostname,
        libc::SYS_setdomainname,
        libc::SYS_syslog,
        libc::SYS_acct,
        libc::SYS_reboot,
        libc::SYS_bpf,
        libc::SYS_perf_event_open,
        libc::SYS_fanotify_init,
        libc::SYS_fanotify_mark,
        libc::SYS_init_module,
        libc::SYS_finit_module,
        libc::SYS_delete_module,
        libc::SYS_kexec_load,
        libc::SYS_open_by_handle_at,
    ],
    // Networks. Rings of io_uring(7) would make calls that no filter sees.
    &[
        libc::SYS_socket,
        libc::SYS_socketpair,
        libc::SYS_connect,
        libc::SYS_bind,
        libc::SYS_listen,
        libc::SYS_accept,
        libc::SYS_accept4,
        libc::SYS_sendto,
        libc::SYS_sendmsg,
        libc::SYS_sendmmsg,
        libc::SYS_io_uring_setup,
        libc::SYS_io_uring_enter,
        libc::SYS_io_uring_register,
    ],
    // Other programs and processes: root's own signals and limits need no capability.
    &[
        libc::SYS_execve,
        libc::SYS_execveat,
        libc::SYS_ptrace,
        libc::SYS_process_vm_readv,
        libc::SYS_process_vm_writev,
        libc::SYS_process_madvise,
        libc::SYS_pidfd_open,
        libc::SYS_pidfd_getfd,
        libc::SYS_pidfd_send_signal,
        libc::SYS_tkill,
        libc::SYS_rt_sigqueueinfo,
        libc::SYS_rt_tgsigqueueinfo,
        libc::SYS_kcmp,
        libc::SYS_shmget,
        libc::SYS_shmat,
        libc::SYS_shmctl,
        libc::SYS_msgget,
        libc::SYS_msgctl,
        libc::SYS_semget,
        libc::SYS_semctl,
        libc::SYS_keyctl,
        libc::SYS_add_key,
        libc::SYS_request_key,
        libc::SYS_userfaultfd,
    ],
    // By name, where Landlock does not look before Linux 6.2; here files are cut short by their handles.
    &[libc::SYS_truncate],
    ONLY_HERE,
];

/// Since Linux 6.15, by the same number everywhere.
const OPEN_TREE_ATTR: i64 = 467;

/// Those that only the older machines have.
#[cfg(target_arch = "x86_64")]
const ONLY_HERE: &[i64] = &[
    libc::SYS_fork,
    libc::SYS_vfork,
    libc::SYS_iopl,
    libc::SYS_ioperm,
    libc::SYS_modify_ldt,
    libc::SYS_kexec_file_load,
];
#[cfg(not(target_arch = "x86_64"))]
const ONLY_HERE: &[i64] = &[];

/// What may be asked of an open file by ioctl(2), whose every other request is refused: root can type into its terminal
/// (TIOCSTI), freeze filesystems, and read all of a btrfs.
const REQUESTS: [u32; 4] = [
    libc::TCGETS as u32,
    0x802c_542a, // TCGETS2, which newer C libraries ask instead
    libc::TIOCGWINSZ as u32,
    libc::FIONREAD as u32,
];

/// Numbers from here on are x32's calls (arch/x86/include/uapi/asm/unistd.h, `__X32_SYSCALL_BIT`): the same once more.
const X32: u32 = 0x4000_0000;

/// This machine's calls (linux/audit.h, `AUDIT_ARCH_*`); those of others that it can run too mean other things.
const MACHINE: Option<u32> = if cfg!(target_arch = "x86_64") {
    Some(0xc000_003e)
} else if cfg!(target_arch = "aarch64") {
    Some(0xc000_00b7)
} else {
    None
};

/// Where the kernel shows a filter what was called (linux/seccomp.h, `seccomp_data`).
const NUMBER: u32 = 0;
const CALLED_AS: u32 = 4;
const ARGUMENTS: u32 = 16;

const ALLOWED: sock_filter = ends(libc::SECCOMP_RET_ALLOW);
const REFUSAL: sock_filter = ends(libc::SECCOMP_RET_ERRNO | libc::EPERM as u32);

/// The C library takes it for an old kernel.
const UNKNOWN: sock_filter = ends(libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32);

/// Assembles the filter; there is none for machines whose numbers nobody has looked up.
pub(super) fn filter() -> Option<BpfProgram> {
    let mut calls: Vec<(u32, Vec<sock_filter>)> =
        REFUSED.iter().flat_map(|calls| calls.iter()).map(|call| (number(*call), vec![REFUSAL])).collect();
    let here = std::process::id();
    calls.extend([
        // A new thread, and no new process.
        (
            number(libc::SYS_clone),
            vec![
                loads(argument(0)),
                jumps(libc::BPF_JSET, libc::CLONE_THREAD as u32, 1, 0),
                REFUSAL,
                ALLOWED,
            ],
        ),
        // Its flags lie in memory, which no filter reads; who knows no clone3(2) calls clone(2).
        (number(libc::SYS_clone3), vec![UNKNOWN]),
        // abort(3) sends this process a signal.
        (number(libc::SYS_tgkill), only(0, &[here])),
        // And whoever was interrupted ends itself by that signal.
        (number(libc::SYS_kill), only(0, &[here])),
        (number(libc::SYS_prlimit64), only(0, &[0, here])),
        (number(libc::SYS_ioctl), only(1, &REQUESTS)),
    ]);
    calls.sort_by_key(|(number, _)| *number);
    let before = [
        loads(CALLED_AS),
        jumps(libc::BPF_JEQ, MACHINE?, 1, 0),
        REFUSAL,
        loads(NUMBER),
        jumps(libc::BPF_JGE, X32, 0, 1),
        REFUSAL,
    ];
    Some(before.into_iter().chain(tree(&calls)).collect())
}

/// Finds a number among the sorted `calls`, and goes on as it says there.
fn tree(calls: &[(u32, Vec<sock_filter>)]) -> BpfProgram {
    /// Fewer are looked at one after the other.
    const FEW: usize = 4;
    if calls.len() <= FEW {
        let one = |(number, then): &(u32, Vec<sock_filter>)| {
            let mut steps = vec![jumps(libc::BPF_JEQ, *number, 0, then.len())];
            steps.extend(then.iter().cloned());
            steps
        };
        return calls.iter().flat_map(one).chain([ALLOWED]).collect();
    }
    let (low, high) = calls.split_at(calls.len() / 2);
    let (below, above) = (tree(low), tree(high));
    let mut steps = vec![jumps(libc::BPF_JGE, high[0].0, below.len(), 0)];
    steps.extend(below);
    steps.extend(above);
    steps
}

/// Allows a call where an argument, of which the kernel looks at 32 bits, is one of these.
fn only(nr: u32, values: &[u32]) -> Vec<sock_filter> {
    let compare = |(at, value): (usize, &u32)| jumps(libc::BPF_JEQ, *value, values.len() - at, 0);
    let compares = values.iter().enumerate().map(compare);
    [loads(argument(nr))].into_iter().chain(compares).chain([REFUSAL, ALLOWED]).collect()
}

/// Where the lower half of an argument is: these machines put it first.
fn argument(nr: u32) -> u32 {
    ARGUMENTS + 8 * nr
}

fn number(call: i64) -> u32 {
    u32::try_from(call).expect("numbers of calls are small")
}

fn loads(from: u32) -> sock_filter {
    step(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, from, 0, 0)
}

/// Goes on so many steps further where the comparison holds, and so many where it does not.
fn jumps(comparison: u32, value: u32, holds: usize, or_else: usize) -> sock_filter {
    let far = |steps| u8::try_from(steps).expect("the whole tree is not much longer");
    step(libc::BPF_JMP | comparison | libc::BPF_K, value, far(holds), far(or_else))
}

const fn ends(answer: u32) -> sock_filter {
    step(libc::BPF_RET | libc::BPF_K, answer, 0, 0)
}

const fn step(code: u32, k: u32, jt: u8, jf: u8) -> sock_filter {
    sock_filter { code: code as u16, jt, jf, k }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs the filter as the kernel does.
    fn answer(filter: &[sock_filter], machine: u32, call: i64, arguments: [u64; 2]) -> u32 {
        let (mut at, mut loaded) = (0, 0);
        loop {
            let now = &filter[at];
            let code = u32::from(now.code);
            at += 1;
            if code == libc::BPF_RET | libc::BPF_K {
                return now.k;
            }
            if code == libc::BPF_LD | libc::BPF_W | libc::BPF_ABS {
                loaded = match now.k {
                    NUMBER => call as u32,
                    CALLED_AS => machine,
                    16 => arguments[0] as u32,
                    24 => arguments[1] as u32,
                    other => panic!("there is nothing at {other}"),
                };
                continue;
            }
            let holds = match code & 0xf0 {
                libc::BPF_JEQ => loaded == now.k,
                libc::BPF_JGE => loaded >= now.k,
                libc::BPF_JSET => loaded & now.k != 0,
                other => panic!("no comparison: {other}"),
            };
            at += usize::from(if holds { now.jt } else { now.jf });
        }
    }

    /// asm-generic/ioctls.h, linux/fs.h: the C libraries do not agree on the type of these.
    const TIOCSTI: u64 = 0x5412;
    const FICLONE: u64 = 0x4004_9409;

    const EPERM: u32 = libc::SECCOMP_RET_ERRNO | libc::EPERM as u32;
    const ALLOW: u32 = libc::SECCOMP_RET_ALLOW;

    #[test]
    fn each_call_of_the_list_is_refused_and_no_other() {
        let (filter, machine) = (filter().unwrap(), MACHINE.unwrap());
        let listed: Vec<i64> = REFUSED.iter().flat_map(|calls| calls.iter().copied()).collect();
        let with_conditions = [
            libc::SYS_clone,
            libc::SYS_clone3,
            libc::SYS_tgkill,
            libc::SYS_kill,
            libc::SYS_prlimit64,
            libc::SYS_ioctl,
        ];
        for call in (0..600).filter(|call| !with_conditions.contains(call)) {
            let expected = if listed.contains(&call) { EPERM } else { ALLOW };
            assert_eq!(answer(&filter, machine, call, [0; 2]), expected, "{call}");
        }
    }

    #[test]
    fn arguments_decide_of_some() {
        let (filter, machine, here) = (filter().unwrap(), MACHINE.unwrap(), u64::from(std::process::id()));
        let thread = (libc::CLONE_THREAD | libc::CLONE_VM) as u64;
        for (call, arguments, expected) in [
            (libc::SYS_clone, [thread, 0], ALLOW),
            (libc::SYS_clone, [libc::SIGCHLD as u64, 0], EPERM),
            (libc::SYS_clone, [libc::CLONE_NEWUSER as u64, 0], EPERM),
            (libc::SYS_clone3, [0, 0], libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32),
            (libc::SYS_tgkill, [here, 1], ALLOW),
            (libc::SYS_tgkill, [1, 1], EPERM),
            (libc::SYS_kill, [here, 2], ALLOW),
            (libc::SYS_kill, [1, 2], EPERM),
            (libc::SYS_kill, [0, 2], EPERM),
            (libc::SYS_prlimit64, [0, 0], ALLOW),
            (libc::SYS_prlimit64, [here, 0], ALLOW),
            (libc::SYS_prlimit64, [1, 0], EPERM),
            (libc::SYS_ioctl, [0, u64::from(REQUESTS[0])], ALLOW),
            (libc::SYS_ioctl, [0, TIOCSTI], EPERM),
            // The kernel does not look at the upper half of a request (CVE-2019-10063).
            (libc::SYS_ioctl, [0, TIOCSTI | (1 << 32)], EPERM),
            (libc::SYS_ioctl, [0, FICLONE], EPERM),
        ] {
            assert_eq!(answer(&filter, machine, call, arguments), expected, "{call} {arguments:x?}");
        }
    }

    #[test]
    fn calls_of_other_machines_are_refused() {
        let filter = filter().unwrap();
        let i386 = 0x4000_0003;
        assert_eq!(answer(&filter, i386, libc::SYS_read, [0; 2]), EPERM);
        assert_eq!(answer(&filter, MACHINE.unwrap(), libc::SYS_read | i64::from(X32), [0; 2]), EPERM);
    }
}
