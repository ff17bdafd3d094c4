//! QEMU, and how it runs on this machine: by KVM where that truly works, else in software.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::process::Command;

/// The program.
const QEMU: &str = "qemu-system-x86_64";

/// How guests are run here.
#[derive(Debug, Clone)]
pub(super) struct Emulator {
    /// The version that QEMU says: `7.2.22`.
    pub(super) version: String,
    pub(super) accelerator: Accelerator,
}

/// Who runs the guest's instructions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Accelerator {
    Kvm,
    Software,
}

impl Emulator {
    /// Asks QEMU for its version.
    pub(super) fn of_this_machine(accelerator: Accelerator) -> io::Result<Self> {
        let output = Command::new(QEMU).arg("--version").output().map_err(|e| {
            io::Error::new(e.kind(), format!("{QEMU}: {e}; Debian's package is qemu-system-x86"))
        })?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let version = text.split_whitespace().nth(3).unwrap_or("0");
        Ok(Self { version: version.to_owned(), accelerator })
    }

    /// Returns what to run, before the guest's own arguments. It dies with its parent: a guest that hangs is never left behind.
    pub(super) fn command(&self) -> Command {
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", QEMU, "-M", "q35", "-cpu", self.cpu()]);
        command.args(["-accel", self.accelerator.argument(), "-smp", "1", "-m", "1024"]);
        command.args(["-nodefaults", "-no-user-config", "-no-reboot", "-display", "none"]);
        command
    }

    /// QEMU before version 8 emulates cmpxchg16b so that guests crash at random.
    fn cpu(&self) -> &'static str {
        let major = self.version.split('.').next().and_then(|major| major.parse::<u32>().ok());
        match self.accelerator {
            Accelerator::Kvm => "host",
            Accelerator::Software if major.is_none_or(|major| major < 8) => "max,-cx16",
            Accelerator::Software => "max",
        }
    }

    /// A line for reports: what a result may depend on.
    pub(super) fn described(&self) -> String {
        let how = match self.accelerator {
            Accelerator::Kvm => "KVM",
            Accelerator::Software => "in software",
        };
        format!("QEMU {} {how}, -cpu {}", self.version, self.cpu())
    }
}

impl Accelerator {
    fn argument(self) -> &'static str {
        match self {
            Self::Kvm => "kvm",
            Self::Software => "tcg,thread=multi",
        }
    }

    /// What an earlier try on this machine, since it was started, has shown; `/dev/kvm` proves nothing.
    pub(super) fn remembered(version: &str) -> Option<Self> {
        if fs::File::options().read(true).write(true).open("/dev/kvm").is_err() {
            return Some(Self::Software);
        }
        match fs::read_to_string(memory(version)?).ok()?.trim() {
            "works" => Some(Self::Kvm),
            _ => Some(Self::Software),
        }
    }

    /// Keeps what a try has shown, in the place of earlier answers. Where it cannot be kept, the next run tries again.
    pub(super) fn remember(self, version: &str) {
        let Some(path) = memory(version) else { return };
        let Some(folder) = path.parent() else { return };
        let said = if self == Self::Kvm { "works\n" } else { "does not work\n" };
        let _ = fs::remove_dir_all(folder);
        let _ = fs::create_dir_all(folder).and_then(|()| fs::write(&path, said));
    }
}

/// Where the answer is kept: it holds for one start of the machine, and one QEMU.
fn memory(version: &str) -> Option<PathBuf> {
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    Some(super::store::cache()?.join("kvm").join(format!("{}-qemu-{version}", boot.trim())))
}
