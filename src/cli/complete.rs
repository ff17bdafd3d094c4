//! `completions`, `complete`: what may come next on a command line, the names in the store too.
//!
//! A shell's script is a few lines, which ask this program; what it answers is found out by the same definitions by which
//! command lines are read. What an argument's value is called says what may be offered: IMAGE, CONTAINER, TARGET.

use std::env;
use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

use clap::builder::StyledStr;
use clap::{Arg, Args, CommandFactory, ValueEnum};
use clap_complete::engine::{self, ArgValueCompleter, CompletionCandidate, PathCompleter, ValueCompleter};

use super::act::{Act, Around};
use super::fault::Fault;
use super::{Cli, Context, print};
use crate::mount::container;
use crate::store::Store;

/// Print what makes a shell complete ovlctl's command lines
///
/// Where shells look for it: /usr/share/bash-completion/completions/ovlctl, /usr/share/zsh/vendor-completions/_ovlctl,
/// /usr/share/fish/vendor_completions.d/ovlctl.fish. Names of images and containers are offered to those who can read the
/// store.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  source <(ovlctl completions bash)
  ovlctl completions fish > ~/.config/fish/completions/ovlctl.fish")]
pub(super) struct Completions {
    shell: Shell,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Shell {
    Bash,
    Zsh,
    Fish,
}

/// Tell what may come next: shells start this
#[derive(Debug, Args)]
pub(super) struct Complete {
    /// Which word is to be completed; 0 is the program
    #[arg(long)]
    at: usize,
    #[arg(last = true)]
    words: Vec<OsString>,
}

impl Act for Completions {
    fn around(&self) -> Around {
        Around::NOTHING
    }

    fn run(&self, _: &Context) -> Result<(), Fault> {
        print::line(match self.shell {
            Shell::Bash => include_str!("shell/ovlctl.bash").trim_end(),
            Shell::Zsh => include_str!("shell/ovlctl.zsh").trim_end(),
            Shell::Fish => include_str!("shell/ovlctl.fish").trim_end(),
        })
    }
}

impl Act for Complete {
    fn around(&self) -> Around {
        Around::NOTHING
    }

    /// Prints a word a line, and behind a tab what it means. Whatever goes wrong, a shell is in the middle of a line: nothing
    /// is offered then.
    fn run(&self, context: &Context) -> Result<(), Fault> {
        let root = typed_root(&self.words).unwrap_or_else(|| context.root.clone());
        let known = Known::of(&root);
        let mut ovlctl = Cli::command().mut_subcommands(|verb| verb.mut_args(|arg| known.offered(arg)));
        let here = env::current_dir().ok();
        let found = engine::complete(&mut ovlctl, self.words.clone(), self.at, here.as_deref());
        let found = found.unwrap_or_default();
        let lines: Vec<String> = found.iter().filter(is_anybodys).filter_map(line).collect();
        lines.iter().try_for_each(|line| print::line(line))
    }
}

/// Whether it is for users: the engine offers what is hidden where nothing else would do.
fn is_anybodys(candidate: &&CompletionCandidate) -> bool {
    !candidate.is_hide_set()
}

fn line(candidate: &CompletionCandidate) -> Option<String> {
    let value = candidate.get_value().to_str().filter(|value| !value.contains(char::is_control))?;
    let help = candidate.get_help().map(StyledStr::to_string).unwrap_or_default();
    Some(format!("{value}\t{}", print::text(help.lines().next().unwrap_or_default())))
}

/// Returns the store that a command line names.
fn typed_root(words: &[OsString]) -> Option<PathBuf> {
    let mut words = words.iter();
    while let Some(word) = words.next() {
        if word == "--root" {
            return words.next().map(PathBuf::from);
        }
        if let Some(root) = word.to_str().and_then(|word| word.strip_prefix("--root=")) {
            return Some(root.into());
        }
    }
    None
}

/// Names there are, and what they name; none of a store that this user may not read.
#[derive(Debug, Clone, Default)]
struct Known {
    images: Vec<(String, String)>,
    containers: Vec<(String, String)>,
    targets: Vec<(String, String)>,
}

impl Known {
    fn of(root: &std::path::Path) -> Self {
        let root = std::path::absolute(root).unwrap_or_else(|_| root.to_owned());
        let Ok(store) = Store::open(&root) else { return Self::default() };
        let images = store.images().unwrap_or_default();
        let image = |name: String, size: u64| (name, format!("image, {}", print::size(size)));
        let containers = store.containers().unwrap_or_default().into_iter();
        Self {
            images: images
                .into_iter()
                .flat_map(|known| {
                    let size = known.record.size();
                    known.names.into_iter().map(move |name| image(name, size))
                })
                .collect(),
            containers: containers
                .filter(|container| container.stays())
                .map(|container| {
                    let of = container.image_name.unwrap_or_else(|| container.image.short());
                    (container.name, format!("container of {of}"))
                })
                .collect(),
            targets: container::all_mounts(&store)
                .unwrap_or_default()
                .iter()
                .filter_map(|mount| Some((mount.target.to_str()?.to_owned(), "mounted".to_owned())))
                .collect(),
        }
    }

    /// Says what may be offered for an argument, by the words that its value is called.
    fn offered(&self, arg: Arg) -> Arg {
        let names = arg.get_value_names().unwrap_or_default().join(" ");
        let is = |word: &str| names.split(|c: char| !c.is_ascii_uppercase()).any(|name| name == word);
        // A new name is anybody's.
        if arg.get_num_args().is_some_and(|count| !count.takes_values()) || names == "NAME" {
            return arg;
        }
        let mut known = Vec::new();
        if is("SOURCE") || is("IMAGE") {
            known.extend_from_slice(&self.images);
        }
        if is("SOURCE") || is("CONTAINER") || names == "TARGET|NAME" {
            known.extend_from_slice(&self.containers);
        }
        if names == "TARGET|NAME" {
            known.extend_from_slice(&self.targets);
        }
        let with_paths = ["SOURCE", "SRC", "DEST", "ARCHIVE", "DIR", "FILE", "PATH"].into_iter().any(is);
        if known.is_empty() && !with_paths {
            return arg;
        }
        arg.add(ArgValueCompleter::new(move |typed: &OsStr| offers(&known, with_paths, typed)))
    }
}

fn offers(known: &[(String, String)], with_paths: bool, typed: &OsStr) -> Vec<CompletionCandidate> {
    let begins = |(name, _): &&(String, String)| typed.to_str().is_some_and(|typed| name.starts_with(typed));
    let offer = |(name, what): &(String, String)| {
        CompletionCandidate::new(name).help(Some(what.clone().into())).display_order(Some(0))
    };
    let names = known.iter().filter(begins).map(offer);
    let paths = if with_paths { PathCompleter::any().complete(typed) } else { Vec::new() };
    names.chain(paths).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(words: &str) -> Vec<String> {
        let some = |names: &[&str]| names.iter().map(|name| ((*name).to_owned(), String::new())).collect();
        let known = Known {
            images: some(&["web:1.4", "web:2", "db:1"]),
            containers: some(&["web-1.4"]),
            targets: some(&["/mnt/web"]),
        };
        let words: Vec<OsString> = words.split(' ').map(OsString::from).collect();
        let at = words.len() - 1;
        let mut ovlctl = Cli::command().mut_subcommands(|verb| verb.mut_args(|arg| known.offered(arg)));
        let nowhere = std::path::Path::new("/proc/self/attr/nowhere");
        let found = engine::complete(&mut ovlctl, words, at, Some(nowhere)).unwrap();
        found
            .iter()
            .filter(is_anybodys)
            .filter_map(|found| found.get_value().to_str().map(str::to_owned))
            .collect()
    }

    #[test]
    fn names_are_offered_where_their_kind_is_meant() {
        for (words, offers) in [
            ("ovlctl mount we", &["web-1.4", "web:1.4", "web:2"][..]),
            ("ovlctl history web:", &["web:1.4", "web:2"]),
            ("ovlctl inspect w", &["web-1.4", "web:1.4", "web:2"]),
            ("ovlctl umount ", &["/mnt/web", "web-1.4"]),
            ("ovlctl rm db:1 d", &["db:1"]),
            ("ovlctl tag w", &["web:1.4", "web:2"]),
            ("ovlctl tag web:2 w", &[]),
            ("ovlctl --root /srv bisect web", &["web:1.4", "web:2"]),
            ("ovlctl mount --method pro", &["procfd"]),
            ("ovlctl mount --xattrs=w", &["--xattrs=warn"]),
            ("ovlctl imag", &["images"]),
            ("ovlctl swe", &[]),
        ] {
            let mut found = found(words);
            found.retain(|found| !found.starts_with('-') || words.contains("--x"));
            found.sort();
            assert_eq!(found, offers, "{words}");
        }
    }

    #[test]
    fn the_store_is_the_one_that_was_typed() {
        let root = |words: &str| typed_root(&words.split(' ').map(OsString::from).collect::<Vec<_>>());
        assert_eq!(root("ovlctl --root /a mount x"), Some("/a".into()));
        assert_eq!(root("ovlctl mount --root=/b x"), Some("/b".into()));
        assert_eq!(root("ovlctl mount x"), None);
    }
}
