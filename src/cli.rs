//! What was typed becomes what it means: one file a verb, whose doc comment is its help.
//!
//! Data goes to stdout (`print`), talk to stderr (`fault`). Nothing here decides what a layer, a store or a mount is.

mod act;
mod bisect;
mod blame;
mod check;
mod complete;
mod commit;
mod config;
mod cp;
mod df;
mod diff;
mod enter;
mod explain;
mod export;
mod fault;
mod helper;
mod history;
mod images;
mod init;
mod inode;
mod inspect;
mod limit;
mod load;
mod loader;
mod look;
mod ls;
mod manuals;
mod mount;
mod mounts;
mod output;
mod place;
mod print;
mod probe;
mod prune;
mod remove;
mod run;
mod save;
mod snapshots;
mod squash;
mod sweep;
mod sync;
mod task;
mod thaw;
mod tree;
mod umount;

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::builder::Resettable;
use clap::error::ErrorKind;
use clap::{ArgMatches, Args, Command, CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::mount::container::container_on;
use crate::store::{self, Store};
use crate::sys::caps::{self, Need, TO_READ};
use crate::sys::lock::Holder;
use act::{Act, Around};
use config::Config;
use fault::{Cause, Fault};
use helper::Helper;
use look::{Looks, When};

/// Mounts image archives as writable root filesystems on overlayfs.
#[derive(Debug, Parser)]
#[command(name = NAME, version = VERSION, max_term_width = 100, after_help = fault::EXIT_CODES)]
struct Cli {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    verb: Verb,
}

const NAME: &str = "ovlctl";
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Above these options in help: else each verb's own would stand between them.
const EVERYWHERE: &str = "Store and settings";

/// What all verbs take.
#[derive(Debug, Args)]
struct Common {
    /// The store; /var/lib/ovlctl by default
    #[arg(long, global = true, env = "OVLCTL_ROOT", value_name = "DIR", help_heading = EVERYWHERE)]
    root: Option<PathBuf>,
    /// Where settings are read; /etc/ovlctl.toml by default
    #[arg(long, global = true, env = "OVLCTL_CONFIG", value_name = "FILE", help_heading = EVERYWHERE)]
    config: Option<OsString>,
    #[command(flatten)]
    looks: Looks,
}

/// Makes an enum of verbs, each with its name and what is typed for it.
macro_rules! verbs {
    ($($(#[$shown:meta])* $name:literal $verb:ident($arguments:ty),)*) => {
        #[derive(Debug, Subcommand)]
        enum Verb {
            $($(#[$shown])* #[command(name = $name)] $verb($arguments),)*
        }

        impl Verb {
            fn act(&mut self) -> &mut dyn Act {
                match self {
                    $(Self::$verb(verb) => verb,)*
                }
            }

            /// Makes the command of the verb of this name.
            fn command(name: &str) -> Option<Command> {
                match name {
                    $($name => Some(<$arguments>::augment_args(Command::new($name))),)*
                    _ => None,
                }
            }
        }
    };
}

// In the order of help: to mount and run, in and out, to look, to change, to give back; what is about this machine.
verbs! {
    "mount" Mount(mount::Mount),
    "umount" Umount(umount::Umount),
    "run" Run(run::Run),
    "load" Load(load::Load),
    "save" Save(save::Save),
    "export" Export(export::Export),
    "images" Images(images::Images),
    "layers" Layers(images::Layers),
    "mounts" Mounts(mounts::Mounts),
    "ls" Ls(ls::Ls),
    "cat" Cat(ls::Cat),
    "inspect" Inspect(inspect::Inspect),
    "diff" Diff(diff::Diff),
    "history" History(history::History),
    "tree" Tree(tree::Tree),
    "blame" Blame(blame::Blame),
    "bisect" Bisect(bisect::Bisect),
    "cp" Cp(cp::Cp),
    "snapshot" Snapshot(snapshots::Snapshot),
    "snapshots" Snapshots(snapshots::Snapshots),
    "reset" Reset(snapshots::Reset),
    "branch" Branch(snapshots::Branch),
    "commit" Commit(commit::Commit),
    "squash" Squash(squash::Squash),
    "tag" Tag(remove::Tag),
    "rm" Rm(remove::Rm),
    "prune" Prune(prune::Prune),
    "df" Df(df::Df),
    "check" Check(check::Check),
    "probe" Probe(probe::Probe),
    "plan" Plan(mount::plan::Plan),
    "config" Config(config::Show),
    "completions" Completions(complete::Completions),
    #[command(hide = true)]
    "complete" Complete(complete::Complete),
    #[command(hide = true)]
    "manuals" Manuals(manuals::Manuals),
    #[command(hide = true)]
    "sweep" Sweep(sweep::Sweep),
    #[command(hide = true)]
    "sync" Sync(sync::Sync),
    #[command(hide = true)]
    "thaw" Thaw(thaw::Thaw),
    #[command(hide = true)]
    "loader" Loader(loader::Loader),
    #[command(hide = true)]
    "enter" Enter(enter::Enter),
    #[command(hide = true)]
    "init" Init(init::Init),
}

/// Runs the command line of this process.
#[must_use]
pub fn main() -> ExitCode {
    let mut words = std::env::args_os();
    let Some(helper) = words.next().and_then(|program| Helper::called(&program)) else {
        return ExitCode::from(run(&std::env::args_os().collect::<Vec<_>>()));
    };
    match helper.translated(&words.collect::<Vec<_>>()) {
        Ok(None) => ExitCode::SUCCESS,
        Ok(Some(line)) => ExitCode::from(Helper::exit(run(&line))),
        Err(wrong) => ExitCode::from(Helper::exit(Fault::usage(wrong).report(None))),
    }
}

/// Runs a command line, and returns its exit code.
fn run(line: &[OsString]) -> u8 {
    When::typed(line).iter().for_each(|when| when.hold());
    let (cli, matches) = match parsed(line) {
        Ok(read) => read,
        Err(error) => {
            Config::color_around(line).iter().for_each(|when| when.hold());
            let _ = error.print();
            return u8::try_from(error.exit_code()).unwrap_or(1);
        }
    };
    let config = Config::of(&cli, &matches);
    match config.and_then(|config| cli.run(config)) {
        Ok(()) => 0,
        Err(fault) => fault.report(matches.subcommand_name()),
    }
}

/// Understands a command line.
///
/// Most are understood by the verb that they name alone, and to tell clap of all others takes longer than many a verb does. What is
/// wrong with a line, and what help there is, only the whole command knows.
fn parsed(line: &[OsString]) -> Result<(Cli, ArgMatches), clap::Error> {
    match parsed_by(named_alone(line), line) {
        Err(error) if error.kind() != ErrorKind::DisplayVersion => parsed_by(Cli::command(), line),
        done => done,
    }
    .map_err(|error| if error.kind() == ErrorKind::MissingSubcommand { no_verb() } else { error })
}

/// What is told who names no verb: the help. Of itself clap lists all verbs then, also hidden ones, as soon as there is an option or a
/// setting in the environment.
fn no_verb() -> clap::Error {
    let command = Cli::command().mut_args(|arg| arg.env(Resettable::Reset));
    parsed_by(command, &[NAME.into()]).expect_err("a verb is wanted")
}

fn parsed_by(command: Command, line: &[OsString]) -> Result<(Cli, ArgMatches), clap::Error> {
    let matches = command.try_get_matches_from(line)?;
    Ok((Cli::from_arg_matches(&matches)?, matches))
}

/// Makes a command with no verb but the first that a line may mean.
fn named_alone(line: &[OsString]) -> Command {
    let common = Common::augment_args(Command::new(NAME).version(VERSION));
    common.subcommands(line.iter().skip(1).filter_map(|word| word.to_str()).find_map(Verb::command))
}

impl Cli {
    fn run(mut self, config: Config) -> Result<(), Fault> {
        let files = crate::sys::raise_file_limit();
        crate::sys::outlive_size_limit();
        look::tell(self.common.looks.verbose);
        config.color().hold();
        config.units().hold();
        let act = self.verb.act();
        act.configure(&config);
        let context = Context { root: config.root().to_owned(), config, files };
        let Around { before, after: sweeping } = act.around();
        before.run(&context)?;
        act.names().into_iter().for_each(|name| context.name_what_is_on(name));
        sweeping.iter().for_each(|sweeping| sweeping.prepare(&context));
        let done = act.run(&context);
        // Whatever became of it: a load that failed leaves most to delete.
        let sweeping = sweeping.map(|sweeping| if done.is_ok() { sweeping } else { sweeping.unsaid() });
        let swept = sweeping.map_or(Ok(()), |sweeping| sweeping.run(&context));
        done.and(swept)
    }
}

impl Verb {
    /// Whether only this program itself starts it; what it goes by it is told.
    fn is_ours(&self) -> bool {
        matches!(
            self,
            Self::Sweep(_) | Self::Sync(_) | Self::Thaw(_) | Self::Loader(_) | Self::Enter(_) | Self::Init(_)
        )
    }
}

/// What every verb works with.
struct Context {
    root: PathBuf,
    config: Config,
    /// How many files those may hold open that this process was started by; `None` where there is no limit.
    files: Option<u64>,
}

impl Context {
    fn open_store(&self) -> Result<Store, store::Error> {
        // A relative root would mean another place to a thread that changes its directory to mount.
        let root = std::path::absolute(&self.root).unwrap_or_else(|_| self.root.clone());
        Store::open(&root)
    }

    fn store(&self) -> Result<Store, Fault> {
        self.readable_store().map_err(|cause| Fault::new("open", self.root.display(), cause))
    }

    /// Puts the name of the container that is mounted on `place` in its stead, unless it is a name itself.
    fn name_what_is_on(&self, place: &mut String) {
        // What cannot be opened the verb tells of.
        let Ok(store) = self.open_store() else { return };
        let is_name = matches!(store.container(place), Ok(Some(_))) || store.image(place).is_ok();
        if let (false, Ok(Some(container))) = (is_name, container_on(&store, Path::new(place))) {
            *place = container.name;
        }
    }

    /// Opens the store, and names the capability by which others than its owner may.
    fn readable_store(&self) -> Result<Store, Cause> {
        self.open_store().map_err(|error| match (&error, caps::missing(TO_READ)) {
            (store::Error::File { source, .. }, missing)
                if source.kind() == io::ErrorKind::PermissionDenied && !missing.is_empty() =>
            {
                Cause::NotPermitted(missing)
            }
            _ => error.into(),
        })
    }
}

/// What to do while another command has to be waited for: say for whom.
fn waiting() -> impl FnMut(&[Holder]) {
    |holders: &[Holder]| {
        let who: Vec<String> = holders.iter().map(|holder| holder.to_string()).collect();
        let who = if who.is_empty() { "another command".to_owned() } else { who.join(", ") };
        fault::say(&format!("waiting for {who}"));
    }
}

/// Says no before anything is opened where this process lacks a capability.
fn permit(verb: &'static str, needed: &[Need]) -> Result<(), Fault> {
    let missing = caps::missing(needed);
    if !missing.is_empty() {
        return Err(Fault::new(verb, "", Cause::NotPermitted(missing)));
    }
    // Whose files are anybody's; plain overlays can be mounted in a user namespace too.
    if needed.contains(&Need::Fowner) && !caps::are_real() {
        return Err(Fault::new(verb, "", Cause::UserNamespace));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_means_by_its_verb_alone_what_it_means_to_the_whole_command() {
        let said = |parsed: Result<(Cli, ArgMatches), clap::Error>| match parsed {
            Ok((cli, _)) => format!("{cli:?}"),
            Err(error) => format!("{:?}: {error}", error.kind()),
        };
        for (line, alone) in [
            ("ovlctl images", true),
            ("ovlctl mount --root images web /mnt", true),
            ("ovlctl run web -- images -h", true),
            ("ovlctl --root /srv --color=never sweep", true),
            // A verb's name, and no verb.
            ("ovlctl --root mount images", false),
            ("ovlctl images mounts", false),
            ("ovlctl --version", false),
            ("ovlctl mount --version", false),
            ("ovlctl mount --help", false),
            ("ovlctl help mount", false),
            ("ovlctl images --nonsense", false),
            ("ovlctl imges", false),
            ("ovlctl", false),
        ] {
            let words: Vec<OsString> = line.split(' ').map(OsString::from).collect();
            assert_eq!(parsed_by(named_alone(&words), &words).is_ok(), alone, "{line}");
            assert_eq!(said(parsed(&words)), said(parsed_by(Cli::command(), &words)), "{line}");
        }
    }
}
