//! `enter`: what is started in a room, in namespaces of its own, to become the command that the room's task names.

use std::env;
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use clap::Args;

use super::Context;
use super::act::{Act, Around};
use super::fault::{self, Cause, Fault};
use super::place::{LookFault, failed};
use super::task::{NOT_FOUND, NOT_RUNNABLE, NOT_TRIED, RESOLV, Task, raw, word};
use crate::mount::accounts::{self, Account};
use crate::mount::room::Room;
use crate::sys::dir::in_root::{Found, Last};
use crate::sys::dir::{Dir, FileType, kind};
use crate::sys::furnish::{self, Furniture, furnish};
use crate::sys::{self, CallFailed, background, caps, namespace, signal};

/// Becomes the command of a room
#[derive(Debug, Args)]
pub(super) struct Enter {
    dir: PathBuf,
}

impl Act for Enter {
    fn around(&self) -> Around {
        Around::NOTHING
    }

    fn run(&self, _: &Context) -> Result<(), Fault> {
        // What a shell had open is not the command's; a directory among it would be a way out (CVE-2024-21626).
        background::close_others();
        let room = Room::at(&self.dir);
        match prepare(&room) {
            Ok((task, account)) => Err(become_command(&task, &account)),
            Err(cause) => {
                let _ = Fault::new("run", "the command", cause).report(None);
                Err(Cause::Ended(NOT_TRIED).into())
            }
        }
    }
}

/// Does all that is done before the command.
fn prepare(room: &Room) -> Result<(Task, Account), Cause> {
    namespace::end_with_parent().map_err(failed)?;
    let task = Task::read(room).map_err(|e| failed(CallFailed::of_io("read", &e)))?;
    move_in(room, &task)?;
    let account = account(&task.user)?;
    let workdir = task.workdir.as_ref().map(raw).unwrap_or_default();
    let workdir = if workdir.is_empty() { b"/".to_vec() } else { workdir };
    make(&Dir::open("/".as_ref()).map_err(failed)?, &workdir, FileType::Directory)?;
    enter_workdir(&workdir)?;
    sys::set_umask(0o022);
    if task.files.is_some() {
        sys::set_file_limit(task.files);
    }
    if task.shut_in {
        namespace::leave_terminal();
    }
    if !task.keep_caps {
        caps::keep_those_of_containers().map_err(failed)?;
    }
    caps::become_user(account.user, account.group, &account.groups).map_err(failed)?;
    if task.shut_in {
        namespace::no_new_privileges().map_err(failed)?;
    }
    Ok((task, account))
}

/// Makes the room's mount this process' root, with all that is mounted in it.
fn move_in(room: &Room, task: &Task) -> Result<(), Cause> {
    let root = Dir::open(&room.root()).map_err(failed)?;
    let mut volumes = task.volumes.clone();
    // One that lies in another comes after it.
    volumes.sort_by_key(|volume| raw(&volume.place).iter().filter(|&&byte| byte == b'/').count());
    for volume in &volumes {
        let source = volume.source.path();
        let is_dir = source.metadata().is_ok_and(|found| found.is_dir());
        let kind = if is_dir { FileType::Directory } else { FileType::RegularFile };
        let place = make(&root, &raw(&volume.place), kind)?;
        furnish::bind(&source, &place, volume.read_only).map_err(failed)?;
    }
    let furniture = if task.shut_in { Furniture::Bare } else { Furniture::Full };
    furnish(&root, furniture).map_err(failed)?;
    let resolv = room.file(RESOLV);
    if resolv.exists() {
        resolve_names(&root, &resolv)?;
    }
    if let Some(name) = &task.hostname {
        namespace::set_hostname(name.as_bytes()).map_err(failed)?;
    }
    namespace::enter(&room.root()).map_err(failed)
}

/// Shows this machine's resolv.conf in the place of the root's. Where that is a link, as to what systemd-resolved would
/// make there, the link itself is covered: what it leads to may be missing, and to make it would be a change.
fn resolve_names(root: &Dir, resolv: &Path) -> Result<(), Cause> {
    match root.find(b"etc/resolv.conf", Last::Kept).map_err(failed)? {
        Some(place)
            if matches!(kind(&place.stat().map_err(failed)?), FileType::RegularFile | FileType::Symlink) =>
        {
            furnish::bind(resolv, &place, true).map_err(failed)
        }
        Some(_) => unresolved("is no file"),
        None => unresolved("is missing"),
    }
}

fn unresolved(why: &str) -> Result<(), Cause> {
    fault::warn(&format!("no names are resolved: its /etc/resolv.conf {why}"));
    Ok(())
}

/// Finds a path inside the root, wherever its links lead there; what is missing is made.
fn make(root: &Dir, path: &[u8], last: FileType) -> Result<Found, Cause> {
    let names: Vec<&[u8]> = path.split(|&b| b == b'/').filter(|name| !name.is_empty()).collect();
    let mut done = Vec::new();
    let mut above = root.again().map_err(failed)?;
    for (nr, name) in names.iter().enumerate() {
        done.extend_from_slice(b"/");
        done.extend_from_slice(name);
        let is_last = nr + 1 == names.len();
        let found = match root.find(&done, Last::Followed).map_err(failed)? {
            Some(found) => found,
            None if is_last && last == FileType::RegularFile => {
                drop(above.create(name, 0o644).map_err(failed)?);
                continue;
            }
            None => {
                above.mkdir(name, 0o755).map_err(failed)?;
                root.find(&done, Last::Followed).map_err(failed)?.ok_or(LookFault::Tangled)?
            }
        };
        if !is_last {
            above = found.open_dir().map_err(failed)?;
        }
    }
    let found = root.find(path, Last::Followed).map_err(failed)?;
    found.ok_or_else(|| LookFault::Missing(path.to_owned(), None).into())
}

/// Goes there, and looks whether that is inside: all that leads out is closed already.
fn enter_workdir(path: &[u8]) -> Result<(), Cause> {
    let path = Path::new(std::ffi::OsStr::from_bytes(path));
    let io = |e: std::io::Error| failed(CallFailed::of_io(format!("chdir({path:?})"), &e));
    env::set_current_dir(path).map_err(io)?;
    // Else getcwd(2) calls it `(unreachable)/…`.
    if env::current_dir().map_err(io)?.is_absolute() { Ok(()) } else { Err(LookFault::Tangled.into()) }
}

/// Finds out who is meant, in the root.
fn account(asked: &str) -> Result<Account, Cause> {
    let root = Dir::open("/".as_ref()).map_err(failed)?;
    let (passwd, group) = (text(&root, b"etc/passwd")?, text(&root, b"etc/group")?);
    accounts::find(asked, &passwd, &group).map_err(|e| Cause::Unclear(e.to_string()))
}

/// Reads a file of the image's; nothing where there is none, or something else.
fn text(root: &Dir, path: &[u8]) -> Result<Vec<u8>, Cause> {
    let Some(found) = root.find(path, Last::Followed).map_err(failed)? else { return Ok(Vec::new()) };
    if kind(&found.stat().map_err(failed)?) != FileType::RegularFile {
        return Ok(Vec::new());
    }
    let file: File = found.open_file().map_err(failed)?;
    let mut text = Vec::new();
    let read = file.take(accounts::LONGEST).read_to_end(&mut text);
    read.map_err(|e| failed(CallFailed::of_io(format!("read({:?})", path.escape_ascii().to_string()), &e)))?;
    Ok(text)
}

/// Becomes the command; returns why it cannot.
fn become_command(task: &Task, account: &Account) -> Fault {
    let Some(program) = task.command.first().map(word) else {
        return Cause::Ended(NOT_TRIED).into();
    };
    let mut command = Command::new(&program);
    command.args(task.command[1..].iter().map(word)).env_clear();
    command.env("HOME", std::ffi::OsStr::from_bytes(&account.home));
    command.envs(task.environment.iter().map(|(name, value)| (word(name), word(value))));
    if task.silent {
        command.stdout(Stdio::null()).stderr(Stdio::null());
    }
    signal::unblock_all();
    let error = command.exec();
    let code = if error.kind() == ErrorKind::NotFound { NOT_FOUND } else { NOT_RUNNABLE };
    if !task.silent {
        let is_there = program.as_bytes().contains(&b'/') && Path::new(&program).exists();
        let reason = match (error.kind() == ErrorKind::NotFound, is_there) {
            (true, true) => "the program that loads or interprets it is missing".to_owned(),
            (true, false) => "there is no such program".to_owned(),
            (false, _) => sys::chain(&error),
        };
        let shown = format!("'{}'", program.to_string_lossy());
        let _ = Fault::new("run", shown, Cause::Unclear(reason)).report(None);
    }
    Cause::Ended(code).into()
}
