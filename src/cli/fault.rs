//! What went wrong becomes a line, perhaps a hint, and an exit code. With what is beneath the only file that writes to stderr.

mod exit;
mod hint;
pub(super) mod watch;

use std::fmt::Display;
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::look::{self, Ink};
use super::place::LookFault;
use super::{config, loader, print};
use crate::sys::caps::Need;
use crate::sys::interrupt::Ending;
use crate::sys::{chain, counted};
use crate::{archive, mount, store};

use exit::{Exit, of_archive, of_config, of_layer, of_store};
use hint::{
    of_archive as archive_hint, of_config as config_hint, of_container as container_hint,
    of_kind as kind_hint, of_store as store_hint,
};

/// The exit codes, as `--help` tells them.
pub(super) const EXIT_CODES: &str = "\
Exit codes: 0 done, 1 failed, 2 wrong usage, 3 no such image, container or mount, 4 in use,
            5 this kernel or filesystem cannot, 6 damaged or hostile data";

/// A verb that failed: what it was to do, to what, and why it could not.
#[derive(Debug)]
pub(super) struct Fault {
    verb: &'static str,
    object: String,
    pub(super) cause: Cause,
    others: Vec<Fault>,
}

/// Why.
#[derive(Debug)]
pub(super) enum Cause {
    /// What was typed makes no sense.
    Usage(String),
    /// What was typed may mean two things.
    Unclear(String),
    /// This process lacks capabilities.
    NotPermitted(Vec<Need>),
    /// This process has the capabilities, but in a user namespace only.
    UserNamespace,
    /// Nothing is mounted there, and nothing has that name.
    NotMounted,
    /// There is nothing of that name in this store.
    NoPlace(String),
    /// What was looked for in an image or a container.
    Look(LookFault),
    /// What is in this archive is known only when it is loaded.
    NotLoaded(PathBuf),
    /// A check found so many things wrong, and has told them.
    Unsound(usize),
    /// This kernel or filesystem cannot, and why.
    Lacking(String),
    /// It ended so, and somebody else says why: what this process became, or who asked it.
    Ended(u8),
    /// A signal asked for the end, and what was half done is undone.
    Interrupted(Ending),
    /// What was to be told could not be written.
    Output(io::Error),
    /// The configuration file is none.
    Config(config::Error),
    /// The process that reads archives gave no answer.
    Loader(loader::Error),
    /// It says why it could not.
    Told(Told),
    /// The archive could not be read.
    Archive(archive::Error),
    /// The store could not do it.
    Store(store::Error),
    /// It could not be mounted or unmounted.
    Mount(mount::Error),
    /// It could not be mounted or unmounted with the store's help.
    Container(mount::container::Error),
}

/// A cause as another process tells it.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Told {
    reason: String,
    hint: Option<String>,
    says_all: bool,
    exit: u8,
}

impl From<archive::Error> for Cause {
    fn from(error: archive::Error) -> Self {
        Self::Archive(error)
    }
}

impl From<config::Error> for Cause {
    fn from(error: config::Error) -> Self {
        Self::Config(error)
    }
}

impl From<store::Error> for Cause {
    fn from(error: store::Error) -> Self {
        Self::Store(error)
    }
}

impl From<mount::Error> for Cause {
    fn from(error: mount::Error) -> Self {
        Self::Mount(error)
    }
}

impl From<mount::container::Error> for Cause {
    fn from(error: mount::container::Error) -> Self {
        use mount::container::Error;
        match error {
            Error::Store(error) => Self::Store(error),
            Error::Mount(error) => Self::Mount(error),
            error @ (Error::Mounted(_)
            | Error::MountedElsewhere
            | Error::Covered(_)
            | Error::InStore(_)
            | Error::ImageGone(_)
            | Error::Written(_)
            | Error::Thaw(_)
            | Error::Watcher(_)
            | Error::Directory { .. }
            | Error::NotOurs(_)
            | Error::InMemory
            | Error::Index(_)
            | Error::Full { .. }
            | Error::Option(_)
            | Error::Table(_)) => Self::Container(error),
        }
    }
}

impl Fault {
    /// `verb` could not be done to `object`.
    pub(super) fn new(verb: &'static str, object: impl Display, cause: impl Into<Cause>) -> Self {
        Self { verb, object: object.to_string(), cause: cause.into(), others: Vec::new() }
    }

    /// What was typed makes no sense.
    pub(super) fn usage(reason: impl Into<String>) -> Self {
        Self::new("", "", Cause::Usage(reason.into()))
    }

    /// Goes through all of `objects`, whatever becomes of each: all that went wrong is told, the first decides the exit
    /// code.
    pub(super) fn each<T>(
        objects: impl IntoIterator<Item = T>,
        mut act: impl FnMut(T) -> Result<(), Self>,
    ) -> Result<(), Self> {
        let mut faults = objects.into_iter().filter_map(|object| act(object).err());
        let Some(mut first) = faults.next() else { return Ok(()) };
        first.others.extend(faults);
        Err(first)
    }

    /// Tells the user what came of `verb`, and returns the exit code.
    pub(super) fn report(&self, verb: Option<&str>) -> u8 {
        if let Cause::Ended(code) = self.cause {
            return code;
        }
        if let Cause::Interrupted(ending) = self.cause {
            ending.end_by();
            return ending.exit_code();
        }
        [self].into_iter().chain(&self.others).for_each(|fault| fault.tell(verb));
        self.cause.exit() as u8
    }

    fn tell(&self, verb: Option<&str>) {
        labelled(Ink::Error, "ovlctl:", &self.line());
        let hint = match (&self.cause, verb) {
            (Cause::Usage(_), Some(verb)) => Some(format!("ovlctl help {verb}")),
            (Cause::Store(error), Some(verb)) => kind_hint(error, verb).or_else(|| self.cause.hint()),
            (cause, _) => cause.hint(),
        };
        if let Some(hint) = hint {
            labelled(Ink::Hint, "hint:", &hint);
        }
    }

    fn line(&self) -> String {
        let reason = self.cause.reason();
        if self.verb.is_empty() || self.cause.says_all() {
            return reason;
        }
        let object = if self.object.is_empty() { String::new() } else { format!(" {}", self.object) };
        format!("cannot {}{object}: {reason}", self.verb)
    }
}

impl From<Cause> for Fault {
    fn from(cause: Cause) -> Self {
        Self::new("", "", cause)
    }
}

impl Cause {
    /// Makes it something to tell another process.
    pub(super) fn told(&self) -> Told {
        let says_all = self.says_all();
        Told { reason: self.reason(), hint: self.hint(), says_all, exit: self.exit() as u8 }
    }

    /// The reason and what caused it, in one line: each error says its own part.
    fn reason(&self) -> String {
        match self {
            Self::Usage(reason) | Self::Unclear(reason) | Self::Lacking(reason) => reason.clone(),
            Self::NotPermitted(needs) => {
                let names: Vec<String> = needs.iter().map(|need| need.name()).collect();
                format!("not permitted: {} missing", names.join(", "))
            }
            Self::UserNamespace => {
                "not permitted: a user namespace's root may make no devices and no trusted.* \
                                    attributes"
                    .to_owned()
            }
            Self::NotMounted => "nothing of ovlctl's is mounted there".to_owned(),
            Self::NoPlace(root) => format!("nothing in {root} is called so"),
            Self::Look(fault) => chain(fault),
            Self::NotLoaded(_) => "its image is not in the store yet".to_owned(),
            Self::Unsound(count) => format!("{}, listed above", counted(*count, "problem")),
            Self::Ended(code) => format!("exit code {code}"),
            Self::Interrupted(_) => "interrupted".to_owned(),
            Self::Output(error) => chain(error),
            Self::Config(error) => chain(error),
            Self::Loader(error) => chain(error),
            Self::Told(told) => told.reason.clone(),
            Self::Archive(error) => chain(error),
            Self::Store(error) => chain(error),
            Self::Mount(error) => chain(error),
            Self::Container(error) => chain(error),
        }
    }

    /// Whether the reason is a whole sentence already.
    fn says_all(&self) -> bool {
        matches!(
            self,
            Self::Store(
                store::Error::NoImage { .. }
                    | store::Error::NoContainer { .. }
                    | store::Error::NoSubject { .. }
                    | store::Error::NotAnImage { .. }
                    | store::Error::NotAContainer { .. }
            ) | Self::Usage(_)
                | Self::Told(Told { says_all: true, .. })
        )
    }

    fn exit(&self) -> Exit {
        match self {
            Self::Usage(_) | Self::Unclear(_) => Exit::Usage,
            Self::NotMounted | Self::NoPlace(_) => Exit::NotFound,
            Self::Unsound(_) => Exit::Damaged,
            Self::Config(error) => of_config(error),
            Self::Lacking(_) => Exit::Cannot,
            Self::Look(LookFault::Unpack(error)) => of_layer(error),
            Self::NotPermitted(_)
            | Self::UserNamespace
            | Self::Look(_)
            | Self::Ended(_)
            | Self::NotLoaded(_)
            | Self::Interrupted(_)
            | Self::Output(_)
            | Self::Loader(_) => Exit::Failed,
            Self::Told(told) => Exit::of(told.exit),
            Self::Archive(error) => of_archive(error),
            Self::Store(error) => of_store(error),
            Self::Mount(error) => match error.class() {
                mount::Class::Failed => Exit::Failed,
                mount::Class::NotFound => Exit::NotFound,
                mount::Class::InUse => Exit::InUse,
                mount::Class::Unsupported => Exit::Cannot,
            },
            Self::Container(
                mount::container::Error::Mounted(_)
                | mount::container::Error::Written(_)
                | mount::container::Error::MountedElsewhere
                | mount::container::Error::Covered(_),
            ) => Exit::InUse,
            Self::Container(mount::container::Error::Option(_)) => Exit::Usage,
            Self::Container(mount::container::Error::Index(_) | mount::container::Error::Full { .. }) => {
                Exit::Cannot
            }
            Self::Container(_) => Exit::Failed,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::NotPermitted(_) => Some("run it as root: sudo ovlctl …".to_owned()),
            Self::UserNamespace => Some("run it outside of the user namespace, as root".to_owned()),
            Self::NotMounted => Some("`ovlctl mounts` lists what is".to_owned()),
            Self::NoPlace(_) => Some("`ovlctl df --explain` lists its folders".to_owned()),
            Self::Look(fault) => fault.hint(),
            Self::NotLoaded(path) => Some(format!("ovlctl load {}", path.display())),
            Self::Usage(_) => Some("ovlctl --help".to_owned()),
            Self::Told(told) => told.hint.clone(),
            Self::Output(_)
            | Self::Interrupted(_)
            | Self::Ended(_)
            | Self::Unclear(_)
            | Self::Unsound(_)
            | Self::Lacking(_)
            | Self::Loader(_) => None,
            Self::Config(error) => config_hint(error),
            Self::Archive(error) => archive_hint(error),
            Self::Store(error) => store_hint(error),
            Self::Mount(error) => error.hint(),
            Self::Container(error) => container_hint(error),
        }
    }
}

/// Returns how something that was typed is called in a message: a path as it is, a name in quotes.
pub(super) fn named(typed: &Path) -> String {
    if is_name(typed) { format!("'{}'", typed.display()) } else { typed.display().to_string() }
}

/// Whether something that was typed can only be meant as a name.
pub(super) fn is_name(typed: &Path) -> bool {
    !(typed.exists() || typed.components().count() > 1 || typed.starts_with("."))
}

/// Whether somebody reads along.
pub(super) fn is_terminal() -> bool {
    io::stderr().is_terminal()
}

/// Warns of what was not done as asked.
pub(super) fn warn(text: &str) {
    labelled(Ink::Warning, "warning:", text);
}

/// Writes a line to stderr. Names from strangers may hold what a terminal obeys, and be very long.
pub(super) fn say(text: &str) {
    write(&clean(text));
}

fn labelled(ink: Ink, label: &str, text: &str) {
    write(&format!("{} {}", look::on_stderr(ink, label), clean(text)));
}

fn clean(text: &str) -> String {
    print::shortened(print::shown(text))
}

fn write(line: &str) {
    let _ = writeln!(io::stderr().lock(), "{line}");
}
