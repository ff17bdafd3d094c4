//! The running kernel as a machine: natively, or from a privileged container.

use std::fs;
use std::io::{self, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use ovlctl::sys::mount::own_mount_namespace;

use super::disk;
use super::machine::{MACHINE_LOG, scratch};
use super::session::Patience;
use crate::record::Orders;

/// Who makes the container.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Container {
    Podman,
    /// systemd-nspawn
    Nspawn,
    /// unshare(1), of util-linux
    Unshare,
}

/// The scratch disk's size; the file is sparse.
const DISK: u64 = 2 << 30;

impl Container {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Podman => "podman",
            Self::Nspawn => "nspawn",
            Self::Unshare => "unshare",
        }
    }

    /// Returns what runs the program at `root`/lab, with `root`/scratch being the place.
    fn command(self, root: &Path) -> Command {
        let at = |name: &str| root.join(name).display().to_string();
        let words = match self {
            // No network of its own, so that it runs where none can be had.
            Self::Podman => vec![
                "podman".to_owned(),
                "--cgroup-manager=cgroupfs".into(),
                format!("--runtime={}", runtime()),
                "run".into(),
                "--rm".into(),
                "--interactive".into(),
                "--privileged".into(),
                "--network=none".into(),
                "--ulimit=nofile=1024:1024".into(), // the defaults are more than a container inside another may ask for
                "--ulimit=nproc=1024:1024".into(),
                "--volume".into(),
                format!("{}:/scratch", at("scratch")),
                "--rootfs".into(),
                at(""),
            ],
            Self::Nspawn => vec![
                "systemd-nspawn".to_owned(),
                "--quiet".into(),
                "--register=no".into(),
                "--keep-unit".into(),
                "--console=pipe".into(),
                "--capability=all".into(),
                format!("--bind={}:/scratch", at("scratch")),
                format!("--directory={}", at("")),
            ],
            Self::Unshare => vec![
                "unshare".to_owned(),
                "--mount".into(),
                "--pid".into(),
                "--fork".into(),
                "--kill-child".into(),
                format!("--root={}", at("")),
                "--mount-proc".into(),
            ],
        };
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).args(["/lab", "facts", "/scratch"]);
        command
    }
}

/// crun, podman's own choice, is at home in version 2 of cgroups only.
fn runtime() -> &'static str {
    if Path::new("/sys/fs/cgroup/cgroup.controllers").exists() { "crun" } else { "runc" }
}

/// Starts the facts on this system, or in a container. The mounts are this process's and its children's, and go with them.
pub(super) fn start(
    container: Option<Container>,
    program: &Path,
    orders: &Orders,
    folder: &Path,
) -> io::Result<Child> {
    // A mount namespace belongs to a thread, and is inherited by what the thread starts.
    let thread = || match container {
        None => native(program, orders, folder),
        Some(container) => contained(container, program, orders, folder),
    };
    thread::scope(|scope| scope.spawn(thread).join().expect("it returns its error"))
}

fn native(program: &Path, orders: &Orders, folder: &Path) -> io::Result<Child> {
    let place = scratch(folder);
    own_mount_namespace()?;
    mount_scratch(&place, orders, folder)?;
    let mut command = Command::new(program);
    command.arg("facts").arg(place);
    give(command, orders, folder)
}

/// A container holds nothing but this program.
fn contained(container: Container, program: &Path, orders: &Orders, folder: &Path) -> io::Result<Child> {
    let root = folder.join("root");
    for name in ["proc", "sys", "dev", "tmp", "run", "etc", "usr", "var/tmp", "scratch"] {
        fs::create_dir_all(root.join(name))?;
    }
    fs::copy(program, root.join("lab"))?;
    fs::write(root.join("etc/os-release"), "ID=ovlctl-lab\n")?; // systemd-nspawn wants to see a system
    // The root of a container has to be a mount: facts make all mounts private, from the root on.
    own_mount_namespace()?;
    run(Command::new("mount").arg("--bind").arg(&root).arg(&root))?;
    mount_scratch(&root.join("scratch"), orders, folder)?;
    if container == Container::Unshare {
        for name in ["dev", "sys"] {
            run(Command::new("mount").args(["--rbind", &format!("/{name}")]).arg(root.join(name)))?;
        }
    }
    give(container.command(&root), orders, folder)
}

/// How patient to be with the running kernel.
pub(super) fn patience(limit: Duration) -> Patience {
    Patience {
        boot: Duration::from_secs(30),
        silence: limit + Duration::from_secs(30),
        whole: Duration::from_secs(600),
    }
}

fn mount_scratch(place: &Path, orders: &Orders, folder: &Path) -> io::Result<()> {
    fs::create_dir_all(place)?;
    let filesystem = &orders.filesystem;
    let mut command = Command::new("mount");
    command.args(["-t", filesystem]);
    if filesystem == "tmpfs" {
        command.arg("tmpfs");
    } else {
        let image = folder.join("disk");
        disk::make(&image, DISK, filesystem)?;
        command.args(["-o", "loop"]).arg(image);
    }
    run(command.arg(place))
}

fn run(command: &mut Command) -> io::Result<()> {
    let output = command.output().map_err(|e| io::Error::new(e.kind(), format!("{command:?}: {e}")))?;
    if output.status.success() {
        return Ok(());
    }
    Err(io::Error::other(format!("{command:?}: {}", String::from_utf8_lossy(&output.stderr).trim())))
}

/// Starts a command that reads orders and says events.
fn give(mut command: Command, orders: &Orders, folder: &Path) -> io::Result<Child> {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(fs::File::create(folder.join(MACHINE_LOG))?);
    let name = command.get_program().to_string_lossy().into_owned();
    let mut child = command.spawn().map_err(|e| io::Error::new(e.kind(), format!("{name}: {e}")))?;
    let mut pipe = child.stdin.take().expect("it is a pipe");
    // EPIPE: it has ended already, and its log says why.
    let _ = pipe.write_all(&serde_json::to_vec(orders)?);
    Ok(child)
}
