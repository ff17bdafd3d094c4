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
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

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
#[command(name = "ovlctl", version, max_term_width = 100, after_help = fault::EXIT_CODES)]
struct Cli {
    /// The store; /var/lib/ovlctl by default
    #[arg(long, global = true, env = "OVLCTL_ROOT", value_name = "DIR")]
    root: Option<PathBuf>,
    /// Where settings are read; /etc/ovlctl.toml by default
    #[arg(long, global = true, env = "OVLCTL_CONFIG", value_name = "FILE")]
    config: Option<OsString>,
    #[command(flatten)]
    looks: Looks,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Mount(mount::Mount),
    Umount(umount::Umount),
    Load(load::Load),
    Save(save::Save),
    Export(export::Export),
    Images(images::Images),
    Layers(images::Layers),
    Mounts(mounts::Mounts),
    Inspect(inspect::Inspect),
    History(history::History),
    Tree(tree::Tree),
    Blame(blame::Blame),
    Run(run::Run),
    Bisect(bisect::Bisect),
    Ls(ls::Ls),
    Cat(ls::Cat),
    Cp(cp::Cp),
    Commit(commit::Commit),
    Squash(squash::Squash),
    Snapshot(snapshots::Snapshot),
    Snapshots(snapshots::Snapshots),
    Reset(snapshots::Reset),
    Branch(snapshots::Branch),
    Tag(remove::Tag),
    Rm(remove::Rm),
    Prune(prune::Prune),
    Check(check::Check),
    Df(df::Df),
    Diff(diff::Diff),
    Plan(mount::plan::Plan),
    Probe(probe::Probe),
    Config(config::Show),
    Completions(complete::Completions),
    #[command(hide = true)]
    Complete(complete::Complete),
    #[command(hide = true)]
    Manuals(manuals::Manuals),
    #[command(hide = true)]
    Sweep(sweep::Sweep),
    #[command(hide = true)]
    Sync(sync::Sync),
    #[command(hide = true)]
    Thaw(thaw::Thaw),
    #[command(hide = true)]
    Loader(loader::Loader),
    #[command(hide = true)]
    Enter(enter::Enter),
    #[command(hide = true)]
    Init(init::Init),
}

/// Runs the command line of this process.
#[must_use]
pub fn main() -> ExitCode {
    let mut words = std::env::args_os();
    let Some(helper) = words.next().and_then(|program| Helper::called(&program)) else {
        return ExitCode::from(run(std::env::args_os().collect()));
    };
    match helper.translated(&words.collect::<Vec<_>>()) {
        Ok(None) => ExitCode::SUCCESS,
        Ok(Some(line)) => ExitCode::from(Helper::exit(run(line))),
        Err(wrong) => ExitCode::from(Helper::exit(Fault::usage(wrong).report())),
    }
}

/// Runs a command line, and returns its exit code.
fn run(line: Vec<OsString>) -> u8 {
    When::typed(&line).iter().for_each(|when| when.hold());
    let matches = Cli::command().try_get_matches_from(line);
    let read = matches.and_then(|matches| Ok((Cli::from_arg_matches(&matches)?, matches)));
    let (cli, matches) = match read {
        Ok(read) => read,
        Err(error) => {
            let _ = error.print();
            return u8::try_from(error.exit_code()).unwrap_or(1);
        }
    };
    let config = Config::of(&cli, &matches);
    match config.and_then(|config| cli.run(config)) {
        Ok(()) => 0,
        Err(fault) => fault.report(),
    }
}

impl Cli {
    fn run(mut self, config: Config) -> Result<(), Fault> {
        let files = crate::sys::raise_file_limit();
        crate::sys::outlive_size_limit();
        look::tell(self.looks.verbose);
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

    fn act(&mut self) -> &mut dyn Act {
        match self {
            Self::Mount(verb) => verb,
            Self::Umount(verb) => verb,
            Self::Load(verb) => verb,
            Self::Save(verb) => verb,
            Self::Export(verb) => verb,
            Self::Images(verb) => verb,
            Self::Layers(verb) => verb,
            Self::Mounts(verb) => verb,
            Self::Inspect(verb) => verb,
            Self::History(verb) => verb,
            Self::Tree(verb) => verb,
            Self::Blame(verb) => verb,
            Self::Run(verb) => verb,
            Self::Bisect(verb) => verb,
            Self::Ls(verb) => verb,
            Self::Cat(verb) => verb,
            Self::Cp(verb) => verb,
            Self::Commit(verb) => verb,
            Self::Squash(verb) => verb,
            Self::Snapshot(verb) => verb,
            Self::Snapshots(verb) => verb,
            Self::Reset(verb) => verb,
            Self::Branch(verb) => verb,
            Self::Tag(verb) => verb,
            Self::Rm(verb) => verb,
            Self::Prune(verb) => verb,
            Self::Check(verb) => verb,
            Self::Df(verb) => verb,
            Self::Diff(verb) => verb,
            Self::Plan(verb) => verb,
            Self::Probe(verb) => verb,
            Self::Config(verb) => verb,
            Self::Completions(verb) => verb,
            Self::Complete(verb) => verb,
            Self::Manuals(verb) => verb,
            Self::Sweep(verb) => verb,
            Self::Sync(verb) => verb,
            Self::Thaw(verb) => verb,
            Self::Loader(verb) => verb,
            Self::Enter(verb) => verb,
            Self::Init(verb) => verb,
        }
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
                if source.kind() == ErrorKind::PermissionDenied && !missing.is_empty() =>
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
