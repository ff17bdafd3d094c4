//! `config`: what is set, and where that comes from; and how a file comes below environment and arguments.

mod file;
mod trust;

use std::env;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::path::{Path, PathBuf};

use clap::parser::ValueSource;
use clap::{ArgMatches, Args};
use serde::Serialize;
use serde_json::{Value, json};

use super::act::{Act, Around};
use super::fault::Fault;
use super::look::{self, Times, Units, When};
use super::print::{self, Column};
use super::save::Compress;
use super::{Cli, Context, Verb};
use crate::limits::{Limit, Limits, Moved};

pub(super) use file::Error;
use file::{Set, Settings};

/// The file that is read where nobody names another.
const USUAL: &str = "/etc/ovlctl.toml";

/// Names another.
const VARIABLE: &str = "OVLCTL_CONFIG";

/// The store where nobody names another.
const ROOT: &str = "/var/lib/ovlctl";

/// Set to anything, it asks for no colours (no-color.org).
const NO_COLOR: &str = "NO_COLOR";

/// Longer than any such file.
const LONGEST: u64 = 1 << 20;

/// Show each setting, and where it comes from
///
/// Settings are taken from /etc/ovlctl.toml (or the file that --config or OVLCTL_CONFIG names; an empty name means none).
/// What the environment says comes before the file, and what was typed before both.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  ovlctl config
  ovlctl --config ./ovlctl.toml config --json")]
pub(super) struct Show {
    /// Print JSON: one array; fields are only ever added
    #[arg(long)]
    json: bool,
    /// Leave out the line of headings
    #[arg(long, conflicts_with = "json")]
    no_headings: bool,
}

/// What is set by a file, by the environment or by arguments that all verbs have.
#[derive(Debug)]
pub(super) struct Config {
    path: Valued<Option<PathBuf>>,
    root: Valued<PathBuf>,
    color: Valued<When>,
    bytes: Valued<bool>,
    time: Valued<Times>,
    settings: Settings,
}

/// A value with its origin.
#[derive(Debug)]
struct Valued<T>(T, Origin);

/// Where a value comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Origin {
    Default,
    File(PathBuf, usize),
    Environment(&'static str),
    Argument(&'static str),
}

/// The file that was read, where one was, and what it says.
type Taken = (Option<PathBuf>, Settings);

impl Config {
    /// Reads the file, unless none is to be read, and puts what was typed over it.
    pub(super) fn of(cli: &Cli, matches: &ArgMatches) -> Result<Self, Fault> {
        let origin = |id, variable, argument| match matches.value_source(id) {
            Some(ValueSource::CommandLine) => Origin::Argument(argument),
            Some(ValueSource::EnvVariable) => Origin::Environment(variable),
            Some(_) | None => Origin::Default,
        };
        let common = &cli.common;
        let from = origin("config", VARIABLE, "--config");
        let (path, settings) = match &common.config {
            _ if cli.verb.is_ours() => (None, Settings::default()),
            Some(none) if none.is_empty() => (None, Settings::default()),
            Some(named) => lenient(&cli.verb, read(Path::new(named), &from))?,
            None => lenient(&cli.verb, read(Path::new(USUAL), &from))?,
        };
        let file = path.as_deref();
        let root = common.root.clone().map(|root| Valued(root, origin("root", "OVLCTL_ROOT", "--root")));
        let unwanted = When::is_unwanted(env::var_os(NO_COLOR).as_deref())
            .then_some(Valued(When::Never, Origin::Environment(NO_COLOR)));
        let color = common.looks.color.map(|when| Valued(when, Origin::Argument("--color"))).or(unwanted);
        let bytes = common.looks.bytes.then_some(Valued(true, Origin::Argument("--bytes")));
        let time = common.looks.time.map(|form| Valued(form, Origin::Argument("--time")));
        Ok(Self {
            root: Valued::over(root, settings.root.as_ref(), file, ROOT.into()),
            color: Valued::over(color, settings.color.as_ref(), file, When::Auto),
            bytes: Valued::over(bytes, settings.bytes.as_ref(), file, false),
            time: Valued::over(time, settings.time.as_ref(), file, Times::default()),
            path: Valued(path, from),
            settings,
        })
    }

    /// Returns when there are colours in what is said of a line that is no command: help, or a complaint. A file that cannot be
    /// used is no reason to say neither.
    pub(super) fn color_around(line: &[OsString]) -> Option<When> {
        if When::typed(line).is_some() || When::is_unwanted(env::var_os(NO_COLOR).as_deref()) {
            return None;
        }
        let typed = look::typed(line, "--config").last().map(OsStr::to_owned);
        let (_, settings) = match typed.or_else(|| env::var_os(VARIABLE)) {
            Some(none) if none.is_empty() => return None,
            Some(named) => read(Path::new(&named), &Origin::Environment(VARIABLE)).ok()?,
            None => read(Path::new(USUAL), &Origin::Default).ok()?,
        };
        settings.color.map(|set| set.value)
    }

    /// Returns the store.
    pub(super) fn root(&self) -> &Path {
        &self.root.0
    }

    /// Returns when there are colours.
    pub(super) fn color(&self) -> When {
        self.color.0
    }

    /// Returns how sizes and times are printed.
    pub(super) fn units(&self) -> Units {
        let Valued(time, from) = &self.time;
        Units { bytes: self.bytes.0, time: (*from != Origin::Default).then_some(*time) }
    }

    /// Returns the limits that the file moves.
    pub(super) fn moved(&self) -> impl Iterator<Item = Moved> + '_ {
        self.settings.limits.iter().map(|set| set.value)
    }

    /// Returns what each new mount has, as `-o` takes it.
    pub(super) fn options(&self) -> &[String] {
        self.settings.options.as_ref().map_or(&[], |set| &set.value)
    }

    /// Returns how `save` compresses layers.
    pub(super) fn compress(&self) -> Option<Compress> {
        self.settings.compress.as_ref().map(|set| set.value)
    }

    fn rows(&self) -> Vec<Row> {
        let Valued(path, from) = &self.path;
        let mut rows = vec![
            Row::new("config".to_owned(), json!(path.as_ref().map(|path| path.display().to_string())), from),
            Row::new("root".to_owned(), json!(self.root().display().to_string()), &self.root.1),
        ];
        let limits =
            self.moved().fold(Limits::DEFAULT, |limits, Moved(limit, most)| limits.with(limit, most));
        for limit in Limit::ALL {
            let set = self.settings.limits.iter().rfind(|set| set.value.0 == limit);
            let from = self.from(set);
            let amount = limits.get(limit);
            let amount = if amount == u64::MAX { "none".to_owned() } else { limit.shown(amount) };
            rows.push(Row::new(file::limit_key(limit), json!(amount), &from));
        }
        let from = self.from(self.settings.options.as_ref());
        rows.push(Row::new("mount.options".to_owned(), json!(self.options()), &from));
        let from = self.from(self.settings.compress.as_ref());
        let how = self.compress().unwrap_or(Compress::None).name();
        rows.push(Row::new("save.compress".to_owned(), json!(how), &from));
        rows.push(Row::new("output.color".to_owned(), json!(self.color().name()), &self.color.1));
        rows.push(Row::new("output.bytes".to_owned(), json!(self.bytes.0), &self.bytes.1));
        rows.push(Row::new("output.time".to_owned(), json!(self.time.0.name()), &self.time.1));
        rows
    }

    /// Returns where a value comes from that only a file sets.
    fn from<T>(&self, set: Option<&Set<T>>) -> Origin {
        set.map_or(Origin::Default, |set| in_file(self.path.0.as_deref(), set.line))
    }
}

impl<T: Clone> Valued<T> {
    /// Puts what was typed, or the environment says, over what the file sets, and that over the default.
    fn over(said: Option<Self>, set: Option<&Set<T>>, file: Option<&Path>, default: T) -> Self {
        let set = || set.map(|Set { value, line }| Self(value.clone(), in_file(file, *line)));
        said.or_else(set).unwrap_or(Self(default, Origin::Default))
    }
}

/// Who completes a line, or asks for completion and manuals, needs no settings.
fn lenient(verb: &Verb, read: Result<Taken, Fault>) -> Result<Taken, Fault> {
    let needless = matches!(verb, Verb::Complete(_) | Verb::Completions(_) | Verb::Manuals(_));
    if needless { Ok(read.unwrap_or_default()) } else { read }
}

fn in_file(path: Option<&Path>, line: usize) -> Origin {
    Origin::File(path.map_or_else(PathBuf::new, Path::to_owned), line)
}

/// Reads a file. Where nobody named it, it need not be there.
fn read(path: &Path, named: &Origin) -> Result<Taken, Fault> {
    let failed = |error: Error| Fault::new("use", path.display(), error);
    let file = match File::open(path) {
        Err(e) if *named == Origin::Default && e.kind() == ErrorKind::NotFound => {
            return Ok((None, Settings::default()));
        }
        opened => opened.map_err(Error::Read).map_err(failed)?,
    };
    let text = trusted(path, file).map_err(failed)?;
    Ok((Some(path.to_owned()), file::parse(&text).map_err(failed)?))
}

fn trusted(path: &Path, file: File) -> Result<String, Error> {
    if trust::matters() {
        if let Some(untrusted) = trust::untrusted(path, &file).map_err(Error::Read)? {
            return Err(Error::Untrusted(untrusted));
        }
    }
    let mut text = String::new();
    file.take(LONGEST + 1).read_to_string(&mut text).map_err(Error::Read)?;
    if text.len() as u64 > LONGEST {
        return Err(Error::Read(io::Error::from(ErrorKind::FileTooLarge)));
    }
    Ok(text)
}

/// A row of `config`.
#[derive(Debug, Serialize)]
struct Row {
    key: String,
    value: Value,
    /// `default`, `file`, `environment` or `argument`.
    origin: &'static str,
    /// The file and its line, the variable, or the argument.
    place: Option<String>,
}

const ROWS: &[Column<Row>] = &[
    Column::Text("KEY", |row| row.key.clone()),
    Column::Text("VALUE", |row| {
        let one = std::slice::from_ref(&row.value);
        let all = row.value.as_array().map_or(one, Vec::as_slice);
        let texts = all.iter().filter(|value| !value.is_null());
        let texts: Vec<String> =
            texts.map(|value| value.as_str().map_or_else(|| value.to_string(), str::to_owned)).collect();
        if texts.is_empty() { "-".to_owned() } else { texts.join(",") }
    }),
    Column::Text("FROM", |row| row.place.clone().unwrap_or_else(|| row.origin.to_owned())),
];

impl Row {
    fn new(key: String, value: Value, from: &Origin) -> Self {
        let (origin, place) = match from {
            Origin::Default => ("default", None),
            Origin::File(path, line) => ("file", Some(format!("{}:{line}", path.display()))),
            Origin::Environment(name) => ("environment", Some((*name).to_owned())),
            Origin::Argument(name) => ("argument", Some((*name).to_owned())),
        };
        Self { key, value, origin, place }
    }
}

impl Act for Show {
    fn around(&self) -> Around {
        Around::NOTHING
    }

    fn run(&self, context: &Context) -> Result<(), Fault> {
        let rows = context.config.rows();
        if self.json { print::json(&rows) } else { print::table(ROWS, !self.no_headings, &rows) }
    }
}
