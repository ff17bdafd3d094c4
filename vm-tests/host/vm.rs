//! A virtual machine: a kernel, its devices, and the command that starts it.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::disk;
use super::emulator::{Accelerator, Emulator};
use super::initramfs::Initramfs;
use super::machine::MACHINE_LOG;
use super::modules::Modules;
use super::session::Patience;
use crate::guest::SCRATCH_SERIAL;
use crate::record::Orders;

/// A kernel to boot.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Kernel {
    /// What it is called in reports: `6.1`.
    pub(crate) name: String,
    /// The file that QEMU boots.
    pub(crate) image: PathBuf,
    /// Where its modules are; without, all has to be built in.
    pub(crate) modules: Option<PathBuf>,
    /// Modules that are kept from it, for the harness' own tests.
    #[serde(default)]
    pub(crate) withheld: Vec<String>,
    /// What it is told besides what the lab needs.
    #[serde(default)]
    pub(crate) arguments: String,
    /// The package and its version, or the file.
    pub(crate) source: String,
}

impl Kernel {
    /// A kernel that scripts/kernel put in `folder`.
    pub(super) fn cached(name: &str, folder: &Path) -> io::Result<Self> {
        Ok(Self {
            name: name.to_owned(),
            image: folder.join("vmlinuz"),
            modules: Some(folder.join("modules")),
            withheld: Vec::new(),
            arguments: String::new(),
            source: fs::read_to_string(folder.join("source"))?.trim().to_owned(),
        })
    }

    /// A kernel that somebody built.
    pub(super) fn built(image: &Path, modules: Option<&Path>) -> io::Result<Self> {
        Ok(Self {
            name: "built".to_owned(),
            image: image.canonicalize()?,
            modules: modules.map(Path::canonicalize).transpose()?,
            withheld: Vec::new(),
            arguments: String::new(),
            source: image.display().to_string(),
        })
    }
}

/// The scratch disk's size; the file is sparse.
const DISK: u64 = 2 << 30;

/// What a kernel on a disk with a log writes to its console.
pub(super) const CONSOLE_LOG: &str = "console.log";

/// The kernel's own arguments: trouble ends the machine, which then tells what died of it, and warnings are shown; the timer of
/// a guest that waits for a busy host is not checked, and crypto does not test itself.
const ARGUMENTS: &str = "rdinit=/init panic=-1 oops=panic loglevel=5 printk.devkmsg=on random.trust_cpu=on no_timer_check cryptomgr.notests rcupdate.rcu_expedited=1";

/// Something that is plugged in: what QEMU is told of it, and what the kernel is.
struct Device {
    qemu: Vec<String>,
    kernel: String,
}

/// The kernel's console, kept in a file.
fn console(path: &Path) -> Device {
    Device {
        qemu: vec!["-serial".into(), format!("file:{}", path.display())],
        kernel: "console=ttyS0".into(),
    }
}

/// The port that events come out of: QEMU's standard output.
fn events() -> Device {
    Device { qemu: vec!["-serial".into(), "stdio".into()], kernel: String::new() }
}

/// A disk that guests know by its serial: names like vda depend on the order in which drivers find them.
fn scratch(path: &Path) -> Device {
    let drive = format!("file={},if=none,id=scratch,format=raw,cache=unsafe", path.display());
    let device = format!("virtio-blk-pci,drive=scratch,serial={SCRATCH_SERIAL}");
    Device { qemu: ["-drive", &drive, "-device", &device].map(str::to_owned).into(), kernel: String::new() }
}

/// The same, with every write and every flush kept in `log`: after a flush all that was written before it is on the disk, and
/// nothing else has to be. Flushes do not reach this machine's own disk.
fn logged(path: &Path, log: &Path) -> Device {
    let file = |name: &str, path: &Path| {
        format!("driver=file,node-name={name},filename={},cache.no-flush=on", path.display())
    };
    let qemu = [
        "-blockdev",
        &file("written", path),
        "-blockdev",
        &file("log", log),
        "-blockdev",
        "driver=blklogwrites,node-name=logged,file=written,log=log,log-sector-size=512",
        "-device",
        &format!("virtio-blk-pci,drive=logged,serial={SCRATCH_SERIAL},write-cache=on"),
    ];
    Device { qemu: qemu.map(str::to_owned).into(), kernel: String::new() }
}

/// Starts `kernel` with these orders; the machine's files lie in `folder`.
pub(super) fn start(
    kernel: &Kernel,
    program: &Path,
    orders: &Orders,
    emulator: &Emulator,
    folder: &Path,
    console_log: &Path,
) -> io::Result<Child> {
    let mut devices = Vec::new();
    if orders.filesystem != "tmpfs" {
        let disk = folder.join("disk");
        disk::make(&disk, DISK, &orders.filesystem)?;
        devices.push(scratch(&disk));
    }
    let image = image(kernel, program, orders)?.finish();
    launch(kernel, &image, devices, emulator, folder, console_log)
}

/// Starts `kernel` on a disk with a log, and with these files besides; the disk is there already.
pub(super) fn start_logged(
    kernel: &Kernel,
    program: &Path,
    orders: &Orders,
    files: &[(String, Vec<u8>)],
    (disk, log): (&Path, &Path),
    emulator: &Emulator,
    folder: &Path,
) -> io::Result<Child> {
    let mut image = image(kernel, program, orders)?;
    for above in ["archives", "m"] {
        image.directory(above);
    }
    for (name, contents) in files {
        image.file(name, 0o755, contents);
    }
    File::create(log)?;
    let devices = vec![logged(disk, log)];
    launch(kernel, &image.finish(), devices, emulator, folder, &folder.join(CONSOLE_LOG))
}

fn launch(
    kernel: &Kernel,
    initramfs: &[u8],
    mut devices: Vec<Device>,
    emulator: &Emulator,
    folder: &Path,
    console_log: &Path,
) -> io::Result<Child> {
    let file = folder.join("initramfs");
    fs::write(&file, initramfs)?;
    let initramfs = file;
    devices.extend([console(console_log), events()]);
    fs::write(console_log, "")?;
    let mut command: Command = emulator.command();
    command.arg("-kernel").arg(&kernel.image).arg("-initrd").arg(&initramfs);
    let mut arguments = ARGUMENTS.to_owned();
    for device in devices {
        command.args(device.qemu);
        arguments = format!("{arguments} {}", device.kernel);
    }
    command.args(["-append", format!("{arguments} {}", kernel.arguments).trim()]);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(File::create(folder.join(MACHINE_LOG))?);
    command.spawn()
}

/// Removes what only a running machine needs.
pub(super) fn clear(folder: &Path) {
    for name in ["initramfs", "disk"] {
        // tmpfs has no disk.
        let _ = fs::remove_file(folder.join(name));
    }
    // A container's; what was mounted there was so in a namespace that has gone.
    let _ = fs::remove_dir_all(folder.join("root"));
}

fn image(kernel: &Kernel, program: &Path, orders: &Orders) -> io::Result<Initramfs> {
    let mut image = Initramfs::new();
    image.file("init", 0o755, &fs::read(program)?);
    image.file("orders", 0o644, &serde_json::to_vec(orders)?);
    image.directory("modules");
    let modules = Modules::below(kernel.modules.as_deref())?.needed(&orders.filesystem, &kernel.withheld)?;
    for (nr, module) in modules.iter().enumerate() {
        image.file(&format!("modules/{nr:03}-{}.ko", module.name), 0o644, &module.contents);
    }
    for name in ["proc", "sys", "tmp", "run", "scratch", "var", "var/tmp"] {
        image.directory(name);
    }
    Ok(image)
}

/// How patient to be with a virtual machine: enough for software emulation on a busy host, and no more than the rest of the run is worth.
pub(super) fn patience(accelerator: Accelerator, limit: Duration) -> Patience {
    let boot = match accelerator {
        Accelerator::Kvm => Duration::from_secs(20),
        Accelerator::Software => Duration::from_secs(240),
    };
    Patience { boot, silence: limit + Duration::from_secs(60), whole: Duration::from_secs(1800) }
}

/// How long a kernel may take to prove that KVM works: where it does not, it hangs.
pub(super) const KVM_TRIAL: Patience = Patience {
    boot: Duration::from_secs(10),
    silence: Duration::from_secs(10),
    whole: Duration::from_secs(20),
};
