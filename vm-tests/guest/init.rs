//! PID 1 of a guest: makes a system of a bare kernel, runs the facts, and switches the machine off.

use std::ffi::CStr;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::mount::{MountFlags, mount};
use rustix::system::{RebootCommand, finit_module, reboot};

use super::kmsg::Kmsg;
use super::runner::{hello, run, say};
use super::story;
use crate::record::{Event, Orders};
use crate::story::Manner;

/// The serial port that events go to; the first one is the kernel's console.
const EVENTS: &str = "/dev/ttyS1";
/// How the scratch disk calls itself.
pub(crate) const SCRATCH_SERIAL: &str = "scratch";
const SCRATCH: &str = "/scratch";

/// Runs the orders that the initramfs brings, and never returns.
pub(crate) fn init() -> ExitCode {
    let said = system().and_then(|()| File::options().write(true).open(EVENTS));
    match said {
        Ok(mut events) => work(&mut events),
        // The console is all that is left to tell it to.
        Err(e) => drop(writeln!(io::stderr(), "lab: no guest: {e}")),
    }
    rustix::fs::sync();
    // What does not switch itself off is killed from the outside.
    let _ = reboot(RebootCommand::PowerOff);
    loop {
        thread::park();
    }
}

fn work(events: &mut File) {
    match prepare() {
        Ok((orders, told)) => {
            say(events, &hello());
            match told {
                Some((manner, disk)) => story::tell(manner, &disk, Path::new(SCRATCH), events),
                None => run(&orders, Path::new(SCRATCH), Kmsg::from_now(), events),
            }
            say(events, &Event::End);
        }
        Err(reason) => say(events, &Event::Unfit { reason: reason.to_string() }),
    }
}

fn system() -> io::Result<()> {
    for (kind, target) in
        [("proc", "/proc"), ("sysfs", "/sys"), ("devtmpfs", "/dev"), ("tmpfs", "/tmp"), ("tmpfs", "/run")]
    {
        fs::create_dir_all(target)?;
        mount_on(kind, kind, target)?;
    }
    Ok(())
}

/// Mounts the filesystem under test. Where a story is to be told, it is on a partition of the disk that is returned.
fn prepare() -> io::Result<(Orders, Option<(Manner, PathBuf)>)> {
    let orders: Orders = serde_json::from_str(&fs::read_to_string("/orders")?)?;
    let refused = load_modules()?;
    for needed in ["overlay", &orders.filesystem] {
        if !fs::read_to_string("/proc/filesystems")?
            .lines()
            .any(|line| line.ends_with(&format!("\t{needed}")))
        {
            let why = format!("this kernel has no {needed}, built in or as a module{refused}");
            return Err(io::Error::other(why));
        }
    }
    fs::create_dir_all(SCRATCH)?;
    if let Some(manner) = story::manner()? {
        story::hurry()?;
        let disk = scratch_disk()?;
        let device = story::partition(&disk, 1)?;
        mount_with(
            &device.to_string_lossy(),
            &orders.filesystem,
            SCRATCH,
            story::mount_options(&orders.filesystem),
        )?;
        return Ok((orders, Some((manner, disk))));
    }
    let device = if orders.filesystem == "tmpfs" { "tmpfs".into() } else { scratch_disk()? };
    mount_on(&device.to_string_lossy(), &orders.filesystem, SCRATCH)?;
    Ok((orders, None))
}

/// Loads `/modules/*` in the order of their names; returns which the kernel refused, as a sentence's end.
fn load_modules() -> io::Result<String> {
    let mut files: Vec<PathBuf> =
        fs::read_dir("/modules")?.map(|entry| Ok(entry?.path())).collect::<io::Result<_>>()?;
    files.sort();
    let mut refused = String::new();
    for path in files {
        match finit_module(File::open(&path)?, c"", 0) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(errno) => refused += &format!("; {}: {errno}", path.display()),
        }
    }
    Ok(refused)
}

/// Waits for the scratch disk: drivers find their devices some time after they were loaded.
fn scratch_disk() -> io::Result<PathBuf> {
    let since = Instant::now();
    while since.elapsed() < Duration::from_secs(20) {
        for entry in fs::read_dir("/sys/block")? {
            let entry = entry?;
            let serial = fs::read_to_string(entry.path().join("serial")).unwrap_or_default();
            if serial.trim() == SCRATCH_SERIAL {
                return Ok(Path::new("/dev").join(entry.file_name()));
            }
        }
        thread::sleep(Duration::from_millis(20));
    }
    Err(io::Error::other("no scratch disk: this kernel has no virtio_blk on PCI, built in or as a module"))
}

fn mount_on(source: &str, kind: &str, target: &str) -> io::Result<()> {
    mount_with(source, kind, target, None)
}

fn mount_with(source: &str, kind: &str, target: &str, options: Option<&CStr>) -> io::Result<()> {
    mount(source, target, kind, MountFlags::empty(), options)
        .map_err(|errno| io::Error::other(format!("mount -t {kind} {source} {target}: {errno}")))
}
