//! errno and the kernel's own words become the sentence that the user needs.
//!
//! What a plan can be told beforehand, `check` has told; this is for the rest, and for what changed in between.

use super::error::{Class, Error};
use crate::sys::{CallFailed, Errno};

/// Explains a call that failed, with what overlayfs wrote to the kernel's log meanwhile.
pub(super) fn explain(error: Error, log: &[String]) -> Error {
    if let Error::Frozen { work, .. } = error {
        return Error::Frozen { work, said: log.to_vec() };
    }
    let Error::Kernel(failed) = error else { return error };
    explain_call(failed, log)
}

fn explain_call(failed: CallFailed, log: &[String]) -> Error {
    // Only these calls bring overlayfs to speak.
    let call = failed.call.split('(').next().unwrap_or_default();
    let log = if matches!(call, "fsconfig" | "mount") { log } else { &[] };
    let words = std::iter::once(&failed.said).chain(log);
    if let Some(why) = words.filter_map(|said| by_words(said, failed.errno)).next() {
        return why.of(failed);
    }
    match by_errno(call, failed.errno) {
        Some(why) => why.of(failed),
        // One sentence of the log is better than none; it may be another mount's, so it is only quoted.
        None => Error::Kernel(match log.first() {
            Some(said) if failed.said.is_empty() => failed.saying(said.as_str()),
            _ => failed,
        }),
    }
}

#[derive(Debug, PartialEq, Eq)]
struct Why {
    reason: String,
    hint: Option<&'static str>,
    class: Class,
}

impl Why {
    fn of(self, failed: CallFailed) -> Error {
        Error::Explained {
            reason: self.reason,
            hint: self.hint.map(str::to_owned),
            class: self.class,
            failed,
        }
    }
}

/// What overlayfs says (fs/overlayfs/super.c, params.c), with which errno, what it means, what helps. The log is
/// everyone's: a sentence that does not go with the errno is another mount's.
struct Saying {
    said: &'static str,
    errno: Errno,
    reason: &'static str,
    hint: Option<&'static str>,
    class: Class,
}

const fn saying(said: &'static str, errno: Errno, reason: &'static str, class: Class) -> Saying {
    Saying { said, errno, reason, hint: None, class }
}

impl Saying {
    const fn hint(mut self, hint: &'static str) -> Self {
        self.hint = Some(hint);
        self
    }
}

const SAYINGS: &[Saying] = &[
    saying(
        "maximum fs stacking depth exceeded",
        Errno::INVAL,
        "a directory lies on an overlay over an overlay: the kernel stacks two at most",
        Class::Unsupported,
    ),
    saying(
        "failed to verify upper root origin",
        Errno::STALE,
        "the upper directory belongs to other lower directories, as its index says",
        Class::Failed,
    )
    .hint("mount it over the same ones, or with -o index=off"),
    saying(
        "failed to verify index dir",
        Errno::STALE,
        "the work directory belongs to another upper directory, as its index says",
        Class::Failed,
    )
    .hint("give an empty --work directory, or -o index=off"),
    saying(
        "is in-use as upperdir/workdir of another mount, mount with",
        Errno::BUSY,
        "a directory is the upper or work directory of another overlay",
        Class::InUse,
    ),
    saying(
        "with incompat feature",
        Errno::INVAL,
        "the work directory was left by a mount with a feature that this kernel does not know",
        Class::Unsupported,
    )
    .hint("ls the folder work/incompat in the work directory"),
    saying(
        "overlapping lowerdir path",
        Errno::LOOP,
        "one of the directories lies inside another",
        Class::Failed,
    ),
    saying("conflicting lowerdir path", Errno::LOOP, "two of the directories are the same", Class::Failed),
    saying(
        "must reside under the same mount",
        Errno::INVAL,
        "the work directory does not lie in the same mount as the upper directory",
        Class::Failed,
    ),
    saying("upper fs is r/o", Errno::INVAL, "the upper directory is read-only", Class::Failed),
    saying(
        "not supported as upperdir",
        Errno::INVAL,
        "the upper directory's filesystem cannot hold one",
        Class::Unsupported,
    )
    .hint("give --upper a directory on ext4, xfs or btrfs"),
    saying(
        "failed to clone lowerpath",
        Errno::INVAL,
        "this kernel does not take such a mount as a layer",
        Class::Unsupported,
    )
    .hint("try --method path"),
];

fn by_words(said: &str, errno: Errno) -> Option<Why> {
    let known = SAYINGS.iter().find(|saying| saying.errno == errno && said.contains(saying.said));
    if let Some(saying) = known {
        return Some(Why { reason: saying.reason.to_owned(), hint: saying.hint, class: saying.class });
    }
    if errno != Errno::INVAL {
        return None;
    }
    let (reason, class) = if let Some(option) = after(said, "Unknown parameter ") {
        (format!("this kernel's overlayfs does not take option {option}"), Class::Unsupported)
    } else if let Some(option) = after(said, "unrecognized mount option \"") {
        // Up to Linux 6.4: `unrecognized mount option "x" or missing value`.
        let option = option.split('"').next().unwrap_or_default();
        (format!("this kernel's overlayfs does not take option '{option}'"), Class::Unsupported)
    } else if let Some(option) = after(said, "bad mount option \"") {
        // Up to Linux 6.4, of redirect_dir only: `bad mount option "redirect_dir=x"`.
        let option = option.split(['=', '"']).next().unwrap_or_default();
        (format!("bad value for option '{option}'"), Class::Failed)
    } else if let Some(option) = after(said, "Bad value for ") {
        (format!("bad value for option {option}"), Class::Failed)
    } else {
        (format!("conflicting options: {}", after(said, "conflicting options: ")?), Class::Failed)
    };
    Some(Why { reason, hint: None, class })
}

fn after<'a>(said: &'a str, start: &str) -> Option<&'a str> {
    said.find(start).map(|at| &said[at + start.len()..])
}

fn by_errno(call: &str, errno: Errno) -> Option<Why> {
    let (reason, hint, class) = match (call, errno) {
        (_, Errno::MFILE | Errno::NFILE) => ("too many open files", Some("ulimit -n 4096"), Class::Failed),
        (_, Errno::NOMEM) => ("out of memory", None, Class::Failed),
        ("fsopen", Errno::PERM) | ("unshare" | "fsmount" | "move_mount", Errno::PERM) => (
            "not permitted to mount",
            Some("CAP_SYS_ADMIN is needed, and no sandbox that forbids it"),
            Class::Failed,
        ),
        ("setxattr", Errno::OPNOTSUPP) => (
            // `user.` ones of a tmpfs: since Linux 6.6.
            "memory cannot hold an extended attribute of the root directory on this kernel",
            Some("give --upper a directory on ext4, xfs or btrfs"),
            Class::Unsupported,
        ),
        ("move_mount" | "mount", Errno::NOSPC) => {
            ("too many mounts in this namespace", Some("sysctl fs.mount-max"), Class::Failed)
        }
        ("unshare", Errno::NOSPC) => {
            ("too many mount namespaces", Some("sysctl user.max_mnt_namespaces"), Class::Failed)
        }
        ("fsconfig" | "mount", Errno::LOOP) => {
            ("one of the directories is, or lies inside, another", None, Class::Failed)
        }
        ("fsconfig" | "mount", Errno::STALE) => {
            let hint = "mount it over the same ones, or with -o index=off";
            ("the upper directory belongs to other lower directories", Some(hint), Class::Failed)
        }
        ("fsconfig" | "mount", Errno::BUSY) => {
            ("a directory is the upper or work directory of another overlay", None, Class::InUse)
        }
        ("mount", Errno::TOOBIG) => {
            let hint = "use another --method: all others take 500 layers";
            ("the layers' names are longer than what mount(2) takes", Some(hint), Class::Unsupported)
        }
        _ => return None,
    };
    Some(Why { reason: reason.to_owned(), hint, class })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn explained(call: &str, errno: Errno, said: &str, log: &[&str]) -> (String, Class) {
        let log: Vec<String> = log.iter().map(|&line| line.to_owned()).collect();
        let error = explain(Error::Kernel(CallFailed::new(call, errno).saying(said)), &log);
        (error.to_string(), error.class())
    }

    #[test]
    fn what_the_kernel_answers_becomes_a_sentence() {
        let create = "fsconfig(3, FSCONFIG_CMD_CREATE, NULL, NULL, 0)";
        type Case = (&'static str, Errno, &'static str, &'static [&'static str], &'static str, Class);
        let table: &[Case] = &[
            (
                create,
                Errno::INVAL,
                "",
                &["maximum fs stacking depth exceeded"],
                "a directory lies on an overlay over an overlay: the kernel stacks two at most",
                Class::Unsupported,
            ),
            (
                create,
                Errno::LOOP,
                "",
                &["maximum fs stacking depth exceeded"],
                "one of the directories is, or lies inside, another",
                Class::Failed,
            ),
            (
                create,
                Errno::STALE,
                "",
                &[],
                "the upper directory belongs to other lower directories",
                Class::Failed,
            ),
            (
                create,
                Errno::LOOP,
                "",
                &["overlapping lowerdir path"],
                "one of the directories lies inside another",
                Class::Failed,
            ),
            (
                "fsconfig(3, FSCONFIG_SET_STRING, \"x\", \"y\", 0)",
                Errno::INVAL,
                "Unknown parameter 'x'",
                &[],
                "this kernel's overlayfs does not take option 'x'",
                Class::Unsupported,
            ),
            (
                create,
                Errno::INVAL,
                "Bad value for 'index'",
                &[],
                "bad value for option 'index'",
                Class::Failed,
            ),
            (
                "mount(\"overlay\", \"/x\", \"overlay\", 0, \"redirect_dir=x\")",
                Errno::INVAL,
                "",
                &["bad mount option \"redirect_dir=x\""],
                "bad value for option 'redirect_dir'",
                Class::Failed,
            ),
            (
                "mount(\"overlay\", \"/x\", \"overlay\", 0, \"frob=1\")",
                Errno::INVAL,
                "",
                &["unrecognized mount option \"frob=1\" or missing value"],
                "this kernel's overlayfs does not take option 'frob=1'",
                Class::Unsupported,
            ),
            (
                create,
                Errno::INVAL,
                "",
                &["conflicting options: userxattr,metacopy=on"],
                "conflicting options: userxattr,metacopy=on",
                Class::Failed,
            ),
            (
                create,
                Errno::INVAL,
                "",
                &["something new"],
                "fsconfig(3, FSCONFIG_CMD_CREATE, NULL, NULL, 0): Invalid argument (something new)",
                Class::Failed,
            ),
            ("open(\"/x\", O_RDONLY)", Errno::MFILE, "", &[], "too many open files", Class::Failed),
            (
                "setxattr(\"/x\", \"user.a\", \"b\", 1, 0)",
                Errno::OPNOTSUPP,
                "",
                &[],
                "memory cannot hold an extended attribute of the root directory on this kernel",
                Class::Unsupported,
            ),
        ];
        for &(call, errno, said, log, sentence, class) in table {
            assert_eq!(explained(call, errno, said, log), (sentence.to_owned(), class));
        }
    }
}
