//! `run`: a command in a container of its own.

mod attend;

use std::env;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus};

use clap::{ArgAction, Args, ValueEnum};

use super::act::{Act, Around};
use super::config::Config;
use super::fault::watch::Talk;
use super::fault::{self, Cause, Fault};
use super::load::Pick;
use super::mount::{Source, load};
use super::task::{Asked, Bytes, NOT_TRIED, RESOLV, Task, Volume, text_of};
use super::{Context, permit, waiting};
use crate::archive::name;
use crate::mount::container::{self, Held, UpperWish, Wishes, image_of};
use crate::mount::room::Room;
use crate::store::Store;
use crate::store::images::Image;
use crate::sys::caps::{self, Need, TO_EXTRACT};
use crate::sys::lock::Share;
use crate::sys::namespace;
use crate::sys::terminal;
use attend::Attendant;

/// Run a command in a container, for an experiment
///
/// SOURCE is what `mount` takes: a container, an image or an archive; an image gets a new container, whose changes stay
/// unless --rm is given. The command sees the container's files as its root, /proc, /sys and a /dev of its own, no other
/// process, and by default this machine's network; what it is, and its environment, directory and user, the image says
/// where nothing else is said. Nothing is mounted where others could see it, and all ends with the command.
///
/// The exit code is the command's: 126 where it is no program, 127 where there is none, 128 and the signal's number where
/// one ended it, and 125 where ovlctl itself could not.
///
/// This is no container runtime: there is no system call filter, no limit of memory or processes, and root in it is root.
/// It has what Docker leaves to root in a container, so a strange image's programs can do harm: see SECURITY.md.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  ovlctl run --rm debian.tar -- bash
  ovlctl run --name try -v /srv/src:/src:ro -w /src build:1 -- make test
  ovlctl diff try")]
pub(super) struct Run {
    /// A container, an image, or an archive
    #[arg(value_name = "SOURCE")]
    source: PathBuf,
    /// The command and its arguments; those of the image's entrypoint, where it has one
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<OsString>,
    /// The new container's name
    #[arg(long)]
    name: Option<String>,
    /// Remove the new container and its changes afterwards
    #[arg(long)]
    rm: bool,
    /// Show a file or a directory of this machine in it; what is missing of DST is made in the container
    #[arg(short, long, value_name = "SRC:DST[:ro]")]
    volume: Vec<OsString>,
    /// Say what is done, as for other verbs; `ovlctl -v run` is short for it, for here -v is --volume, as Docker has it
    #[arg(id = "verbose", long = "verbose", action = ArgAction::Count, help_heading = "Output")]
    _verbose: u8,
    /// A variable of its environment, with the value given or this one's
    #[arg(short, long, value_name = "NAME[=VALUE]")]
    env: Vec<OsString>,
    /// Who it is, by name or number
    #[arg(short, long, value_name = "USER[:GROUP]")]
    user: Option<String>,
    /// Where it starts
    #[arg(short, long, value_name = "DIR")]
    workdir: Option<PathBuf>,
    /// What is run instead of the image's entrypoint and command; "" for none
    #[arg(long, value_name = "PROGRAM")]
    entrypoint: Option<String>,
    /// The network that it sees
    #[arg(long, value_name = "NETWORK", default_value = "host")]
    net: Network,
    /// Let root in it keep all capabilities of this process
    #[arg(long)]
    keep_caps: bool,
    #[command(flatten)]
    pick: Pick,
    #[command(flatten)]
    talk: Talk,
    /// Those that are configured: for a new container
    #[arg(skip)]
    options: Vec<String>,
}

/// Which network it sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Network {
    /// This machine's
    Host,
    /// None but a loopback device of its own
    None,
}

impl Act for Run {
    fn configure(&mut self, config: &Config) {
        self.pick.moved.configure(config);
        self.options = config.options().to_vec();
    }

    fn around(&self) -> Around {
        Around::CHANGING
    }

    fn run(&self, context: &Context) -> Result<(), Fault> {
        let ran = permit("run", TO_EXTRACT).and_then(|()| {
            let object = fault::named(&self.source);
            self.ran(context).map_err(|cause| Fault::new("run", object, cause))
        });
        match ran {
            Ok(code) => Err(Cause::Ended(code).into()),
            Err(fault) => {
                let _ = fault.report(Some("run"));
                Err(Cause::Ended(NOT_TRIED).into())
            }
        }
    }
}

impl Run {
    fn ran(&self, context: &Context) -> Result<u8, Cause> {
        let store = context.open_store()?;
        let change = store.change(Share::Shared, &mut waiting())?;
        container::forget_ephemeral(&change)?;
        let new = self.name.is_some() || self.rm;
        let held = match Source::find(&store, &self.source, &self.pick, new)? {
            Source::Container(_) if new => {
                let option = if self.rm { "--rm" } else { "--name" };
                return Err(Cause::Usage(format!("{option} is for a new container, and this one is there")));
            }
            Source::Snapshot(_) => {
                return Err(Cause::Usage(
                    "nothing runs in a snapshot: `ovlctl branch` makes a container of it".to_owned(),
                ));
            }
            Source::Container(container) => Held::again(change, &container.name, &mut waiting())?,
            Source::Image(image) => self.over(change, &image)?,
            Source::Archive(path) => {
                let image = load(&store, &path, &self.pick, self.talk)?;
                self.over(change, &image)?
            }
        };
        let task = self.task(context, &store, &held);
        let (name, image) = (held.record.name.clone(), held.record.image);
        let ran = task.and_then(|task| self.in_room(&task, held));
        self.pick.sync.start(context, &image);
        if self.rm {
            let change = store.change_that_frees(Share::Shared, &mut waiting())?;
            let removed = match store.container(&name)? {
                Some(_) => container::remove(&change, &name, &mut waiting()),
                None => Ok(()),
            };
            if let Err(error) = removed {
                fault::warn(&format!("'{name}' stays: {}", crate::sys::chain(&error)));
            }
        }
        ran
    }

    fn over<'a>(&self, change: crate::store::Change<'a>, image: &Image) -> Result<Held<'a>, Cause> {
        let asked = self.source.to_str().and_then(|source| name::normal(source).ok());
        let asked = image.names.iter().find(|name| Some(*name) == asked.as_ref());
        let wishes = Wishes {
            name: self.name.as_deref(),
            at_layer: None,
            image_name: asked.or(image.names.first()).map(String::as_str),
            upper: UpperWish::Store,
            remove: self.rm,
        };
        Ok(Held::new(change, image, wishes, &self.options)?)
    }

    fn in_room(&self, task: &Task, held: Held<'_>) -> Result<u8, Cause> {
        let network = match self.net {
            Network::Host => namespace::Network::Host,
            Network::None => namespace::Network::None,
        };
        if self.net == Network::None && !caps::missing(&[Need::NetAdmin]).is_empty() {
            fault::warn("its loopback device stays down: to raise it CAP_NET_ADMIN is needed");
        }
        let attendant = Attendant::new(task.foreground).map_err(super::place::failed)?;
        let status = held.run(
            network,
            |room: &Room| -> io::Result<Child> {
                task.write(room)?;
                if self.net == Network::Host {
                    // A machine without one resolves no names.
                    fs::write(room.file(RESOLV), fs::read("/etc/resolv.conf").unwrap_or_default())?;
                }
                attendant.start(room)
            },
            |child| attendant.attend(child),
        )?;
        Ok(code(status))
    }

    fn task(&self, context: &Context, store: &Store, held: &Held<'_>) -> Result<Task, Cause> {
        let asked = Asked::of(store, &image_of(store, &held.record)?)?;
        let command = asked.command(self.entrypoint.as_deref(), &self.command);
        if command.is_empty() {
            return Err(Cause::Usage("the image names no command: give one after --".to_owned()));
        }
        let workdir = self.workdir.clone().unwrap_or_else(|| asked.workdir().into());
        if !workdir.as_os_str().is_empty() && !workdir.is_absolute() {
            return Err(Cause::Usage(format!("{} is no absolute path", workdir.display())));
        }
        Ok(Task {
            command,
            environment: self.environment(&asked, &held.record.name)?,
            user: self.user.clone().unwrap_or_else(|| asked.user()),
            workdir: Some(workdir.as_path().into()),
            hostname: Some(held.record.name.clone()),
            volumes: self.volumes()?,
            files: context.files,
            keep_caps: self.keep_caps,
            foreground: terminal::is_ours(),
            ..Task::default()
        })
    }

    fn environment(&self, asked: &Asked, hostname: &str) -> Result<Vec<(Bytes, Bytes)>, Cause> {
        let mut all = asked.environment();
        all.push((text_of("HOSTNAME"), text_of(hostname)));
        if terminal::is_ours() {
            let term = env::var_os("TERM").unwrap_or_else(|| "xterm".into());
            all.push((text_of("TERM"), bytes(term.as_bytes())));
        }
        for typed in &self.env {
            let typed = typed.as_bytes();
            let equals = typed.iter().position(|&byte| byte == b'=');
            let name = &typed[..equals.unwrap_or(typed.len())];
            if name.is_empty() {
                return Err(Cause::Usage("--env wants NAME or NAME=VALUE".to_owned()));
            }
            match (equals, env::var_os(OsStr::from_bytes(name))) {
                (Some(equals), _) => all.push((bytes(name), bytes(&typed[equals + 1..]))),
                (None, Some(value)) => all.push((bytes(name), bytes(value.as_bytes()))),
                (None, None) => {}
            }
        }
        Ok(all)
    }

    fn volumes(&self) -> Result<Vec<Volume>, Cause> {
        self.volume.iter().map(|typed| volume(typed.as_bytes())).collect()
    }
}

/// Reads `SRC:DST[:ro|:rw]`.
fn volume(typed: &[u8]) -> Result<Volume, Cause> {
    let shown = || typed.escape_ascii().to_string();
    let parts: Vec<&[u8]> = typed.split(|&byte| byte == b':').collect();
    let (source, place, read_only) = match parts[..] {
        [source, place] | [source, place, b"rw"] => (source, place, false),
        [source, place, b"ro"] => (source, place, true),
        _ => return Err(Cause::Usage(format!("--volume {}: SRC:DST or SRC:DST:ro is wanted", shown()))),
    };
    let names: Vec<&[u8]> = place.split(|&b| b == b'/').filter(|name| !name.is_empty()).collect();
    if place.first() != Some(&b'/') || names.is_empty() || names.contains(&&b".."[..]) {
        return Err(Cause::Usage(format!("--volume {}: DST is no absolute path below /", shown())));
    }
    let source = PathBuf::from(OsString::from_vec(source.to_owned()));
    let failed = |source_error| container::Error::Directory { path: source.clone(), source: source_error };
    let real = fs::canonicalize(&source).map_err(failed)?;
    Ok(Volume { source: real.as_path().into(), place: bytes(place), read_only })
}

fn bytes(bytes: &[u8]) -> Bytes {
    Bytes::from(Path::new(OsStr::from_bytes(bytes)))
}

/// Its exit code: that of the command, which the room's first process passes on.
fn code(status: ExitStatus) -> u8 {
    use std::os::unix::process::ExitStatusExt;
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal));
    code.and_then(|code| u8::try_from(code).ok()).unwrap_or(NOT_TRIED)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_volume_is_a_source_and_a_place() {
        for (typed, place, read_only) in
            [("/etc:/x", "/x", false), ("/etc:/x/y:ro", "/x/y", true), ("/etc/:/x:rw", "/x", false)]
        {
            let expected = Volume { source: text_of("/etc"), place: text_of(place), read_only };
            assert_eq!(volume(typed.as_bytes()).unwrap(), expected, "{typed}");
        }
        for typed in [
            "",
            "/etc",
            "/etc:",
            "/etc:x",
            "/etc:/",
            "/etc://",
            "/etc:/..",
            "/etc:/a/../b",
            "/etc:/x:z",
            "a:b:c:d",
        ] {
            assert!(matches!(volume(typed.as_bytes()), Err(Cause::Usage(_))), "{typed}");
        }
        assert!(matches!(volume(b"/no/such:/x"), Err(Cause::Container(_))));
    }
}
