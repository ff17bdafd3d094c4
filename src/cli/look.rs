//! How output looks: colours, units, times, and how wide it may be. Colours say nothing that is not written, too.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::sync::OnceLock;

use anstream::{AutoStream, ColorChoice};
use clap::builder::styling::{AnsiColor, Style};
use clap::{ArgAction, Args, ValueEnum};

use super::fault;
use crate::sys::terminal;
use crate::sys::trace::{self, Level};

/// What all verbs take.
#[derive(Debug, Args)]
#[command(next_help_heading = "Output")]
pub(super) struct Looks {
    /// Use colours; `auto`: on a terminal that has them, unless NO_COLOR is set
    #[arg(long, global = true, value_name = "WHEN")]
    pub(super) color: Option<When>,
    /// Print sizes in bytes
    #[arg(long, global = true)]
    pub(super) bytes: bool,
    /// How tables have times: `relative`, as in "2 hours ago", by default
    #[arg(long, global = true, value_name = "FORM")]
    pub(super) time: Option<Times>,
    /// Say what is done; twice: also each system call that mounts, or that makes, moves or removes something, as strace
    /// prints it
    #[arg(short, long, global = true, action = ArgAction::Count)]
    pub(super) verbose: u8,
}

/// How much is told of what is done.
pub(super) fn tell(verbose: u8) {
    let level = match verbose {
        0 => Level::Nothing,
        1 => Level::Things,
        2.. => Level::Calls,
    };
    trace::listen(level, fault::say);
}

/// Whether somebody wants to know what is done.
pub(super) fn is_verbose() -> bool {
    trace::tells(Level::Things)
}

/// How all output of this process looks, colours aside: those are clap's too, and held where that looks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Units {
    pub(super) bytes: bool,
    pub(super) time: Option<Times>,
}

/// Set once, before anything is printed: what prints a cell knows no command line.
static UNITS: OnceLock<Units> = OnceLock::new();

impl Units {
    /// Lets all output go by them.
    pub(super) fn hold(self) {
        UNITS.get_or_init(|| self);
    }

    fn held() -> Self {
        UNITS.get().copied().unwrap_or_default()
    }
}

/// Whether sizes are to be in bytes.
pub(super) fn bytes() -> bool {
    Units::held().bytes
}

/// Returns how times are to be, where somebody has said so.
pub(super) fn time() -> Option<Times> {
    Units::held().time
}

/// Returns how wide a line of standard output may be; `None` where that is no terminal, and what reads it wants all.
pub(super) fn columns() -> Option<usize> {
    let wide = terminal::size(&io::stdout())?.columns;
    let said = std::env::var("COLUMNS").ok().and_then(|text| text.parse().ok());
    said.or(Some(wide)).filter(|columns| *columns > 0)
}

/// How a table has times.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum Times {
    #[default]
    Relative,
    Rfc3339,
}

impl Times {
    /// Reads a name.
    pub(super) fn named(name: &str) -> Option<Self> {
        Self::from_str(name, false).ok()
    }

    /// Returns its name.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Relative => "relative",
            Self::Rfc3339 => "rfc3339",
        }
    }
}

/// When there are colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum When {
    Auto,
    Always,
    Never,
}

/// Returns the values that an option has in a line that has not been understood yet.
pub(super) fn typed<'a>(line: &'a [OsString], option: &'a str) -> impl Iterator<Item = &'a OsStr> {
    let words = || line.iter().take_while(|word| *word != "--");
    words().zip(words().skip(1).map(Some).chain([None])).filter_map(move |(word, next)| {
        match word.as_bytes().strip_prefix(option.as_bytes())? {
            b"" => next.map(OsString::as_os_str),
            rest => rest.strip_prefix(b"=").map(OsStr::from_bytes),
        }
    })
}

/// What a text is, to those who see colours.
#[derive(Debug, Clone, Copy)]
pub(super) enum Ink {
    Heading,
    Error,
    Warning,
    Hint,
}

impl When {
    /// Reads a name.
    pub(super) fn named(name: &str) -> Option<Self> {
        Self::from_str(name, false).ok()
    }

    /// Returns its name.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Always => "always",
            Self::Never => "never",
        }
    }

    /// Returns what was typed, or would have been, in a line that has not been understood yet: help and complaints about
    /// the line itself go by it.
    pub(super) fn typed(line: &[OsString]) -> Option<Self> {
        typed(line, "--color").filter_map(|word| Self::named(word.to_str()?)).last()
    }

    /// Whether the environment wants none (no-color.org).
    pub(super) fn is_unwanted(variable: Option<&OsStr>) -> bool {
        variable.is_some_and(|value| !value.is_empty())
    }

    /// Lets all output go by it, clap's too.
    pub(super) fn hold(self) {
        match self {
            Self::Auto => ColorChoice::Auto,
            Self::Always => ColorChoice::Always,
            Self::Never => ColorChoice::Never,
        }
        .write_global();
    }

    /// What holds.
    fn held() -> Self {
        match ColorChoice::global() {
            ColorChoice::Auto => Self::Auto,
            ColorChoice::Always | ColorChoice::AlwaysAnsi => Self::Always,
            ColorChoice::Never => Self::Never,
        }
    }
}

/// Returns what lets another process of this program's have the same looks.
pub(super) fn arguments() -> Vec<OsString> {
    let verbose = [Level::Things, Level::Calls].into_iter().filter(|level| trace::tells(*level));
    let color = format!("--color={}", When::held().name());
    [color.into()].into_iter().chain(verbose.map(|_| "--verbose".into())).collect()
}

/// Returns `text` as standard output is to have it.
pub(super) fn on_stdout(ink: Ink, text: &str) -> String {
    painted(ink, text, AutoStream::choice(&io::stdout()))
}

/// Returns `text` as standard error is to have it.
pub(super) fn on_stderr(ink: Ink, text: &str) -> String {
    painted(ink, text, AutoStream::choice(&io::stderr()))
}

fn painted(ink: Ink, text: &str, choice: ColorChoice) -> String {
    let style = match ink {
        Ink::Heading => Style::new().bold(),
        Ink::Error => Style::new().bold().fg_color(Some(AnsiColor::Red.into())),
        Ink::Warning => Style::new().bold().fg_color(Some(AnsiColor::Yellow.into())),
        Ink::Hint => Style::new().bold().fg_color(Some(AnsiColor::Cyan.into())),
    };
    match choice {
        ColorChoice::Always | ColorChoice::AlwaysAnsi if !text.is_empty() => {
            format!("{style}{text}{style:#}")
        }
        ColorChoice::Always | ColorChoice::AlwaysAnsi | ColorChoice::Auto | ColorChoice::Never => {
            text.to_owned()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_typed_is_known_before_the_line_is_understood() {
        for (line, when) in [
            ("ovlctl images", None),
            ("ovlctl --color=never --help", Some(When::Never)),
            ("ovlctl imges --color always", Some(When::Always)),
            ("ovlctl --color never --color=auto", Some(When::Auto)),
            ("ovlctl --color", None),
            ("ovlctl --color=mauve --colors=never", None),
            ("ovlctl run web -- ls --color=always", None),
        ] {
            let words: Vec<OsString> = line.split(' ').map(OsString::from).collect();
            assert_eq!(When::typed(&words), when, "{line}");
        }
    }
}
