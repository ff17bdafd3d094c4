//! `probe`: what this kernel and the store's filesystem can do.

use std::collections::BTreeMap;
use std::io::ErrorKind;

use clap::Args;
use clap::builder::PossibleValuesParser;
use serde::{Serialize, Serializer};

use super::act::{Act, Around, Before};
use super::fault::{Cause, Fault};
use super::{Context, permit, print};
use crate::mount;
use crate::mount::probe::{self, Answer, FEATURES, Feature, Group, Outlook, Parameter};
use crate::store::{self, Scratch};
use crate::sys::caps::TO_EXTRACT;
use crate::sys::dir::Dir;
use crate::sys::filesystem::Filesystem;

/// Tell what this kernel and the store's filesystem can do
///
/// Everything is tried, in a scratch directory of the store's that is gone afterwards; no mount is seen outside. Where
/// there is no store yet, none is made: the nearest directory above is tried.
///
/// JSON has "kernel", "directory", "store", "filesystem"; "features", each by its name with "group", "has" (null where it
/// could not be tried), "count" (of layers), "what", "why" and "since"; "parameters" of the overlay module; and "will" with
/// "method", "layers" and "says": what a mount does because of it.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  ovlctl probe
  ovlctl probe --for metacopy --for erofs-file && echo both
  ovlctl probe --json | jq .features.links.count")]
pub(super) struct Probe {
    /// Print JSON: one object; fields are only ever added
    #[arg(long)]
    json: bool,
    /// Only exit: with 0 if it can, with 5 (and why) if it cannot; given more than once, all of them
    #[arg(long = "for", value_name = "FEATURE", conflicts_with = "json", value_parser = names())]
    wanted: Vec<String>,
}

fn names() -> PossibleValuesParser {
    FEATURES.iter().map(|feature| feature.name).collect::<Vec<_>>().into()
}

/// What `--json` prints.
#[derive(Debug, Serialize)]
struct Facts<'a> {
    /// The kernel's release.
    kernel: String,
    /// What was tried: the store, or the nearest directory above that is there.
    directory: String,
    /// Whether that is a store.
    store: bool,
    /// The filesystem that it lies on.
    filesystem: String,
    /// Each feature by its name.
    #[serde(serialize_with = "by_name")]
    features: Vec<(&'static str, Fact<'a>)>,
    /// The overlay module's parameters: true and false, or numbers.
    parameters: BTreeMap<String, Value>,
    /// What a mount will do.
    will: Will<'a>,
}

/// What is known of one feature.
#[derive(Debug, Serialize)]
struct Fact<'a> {
    /// `layers`, `options`, `marks`, `upper` or `loading`.
    group: &'static str,
    /// Null where it could not be tried.
    has: Option<bool>,
    /// How many: layers, for `fd`, `path`, `procfd` and `links`.
    count: Option<usize>,
    /// What it means.
    what: &'static str,
    /// Why not, or what is odd about it.
    why: Option<&'a str>,
    /// The first Linux that has it, as far as it is the kernel's.
    since: Option<&'static str>,
    /// What the table says of it.
    #[serde(skip)]
    meaning: String,
}

#[derive(Debug, Serialize)]
struct Will<'a> {
    /// The method that a mount takes.
    method: &'static str,
    /// How many layers an image may have; 0 where there can be no store.
    layers: usize,
    /// The same as a sentence.
    says: &'a str,
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Value {
    Flag(bool),
    Number(u64),
    Text(String),
}

impl Act for Probe {
    fn around(&self) -> Around {
        Around { before: Before::Nothing, ..Around::CHANGING }
    }

    fn run(&self, context: &Context) -> Result<(), Fault> {
        permit("probe", TO_EXTRACT)?;
        let store = context.store()?;
        let failed = |cause: Cause| Fault::new("probe", context.root.display(), cause);
        let scratch = store.scratch().map_err(|e| failed(e.into()))?;
        let wanted: Vec<&'static Feature> = match &self.wanted[..] {
            [] => FEATURES.iter().collect(),
            names => names.iter().filter_map(|name| probe::feature_named(name)).collect(),
        };
        let answers = probe::answers(scratch.path(), &wanted).map_err(|e| failed(no_space(e, &scratch)))?;
        if !self.wanted.is_empty() {
            return Fault::each(wanted.into_iter().zip(&answers), |(feature, answer)| {
                require(feature, answer)
            });
        }
        let outlook = probe::outlook(scratch.path(), &answers).map_err(|e| failed(e.into()))?;
        let facts = facts(&scratch, &answers, &outlook).map_err(failed)?;
        if self.json { print::json(&facts) } else { tell(&facts) }
    }
}

/// Says of a full filesystem whose it is.
fn no_space(error: mount::Error, scratch: &Scratch) -> Cause {
    let full = matches!(&error, mount::Error::Kernel(failed) if failed.kind() == ErrorKind::StorageFull);
    if full { store::Error::NoSpace(scratch.directory.clone()).into() } else { error.into() }
}

/// Says no where a feature is not there, or could not be tried.
fn require(feature: &Feature, answer: &Answer) -> Result<(), Fault> {
    if answer.has == Some(true) {
        return Ok(());
    }
    Err(Fault::new("use", format!("'{}'", feature.name), Cause::Lacking(answer.lack(feature))))
}

fn facts<'a>(scratch: &Scratch, answers: &'a [Answer], outlook: &'a Outlook) -> Result<Facts<'a>, Cause> {
    let io = |e| Cause::from(mount::Error::from(e));
    let dir = Dir::open(scratch.path()).map_err(mount::Error::from)?;
    let filesystem = Filesystem::of(&dir).map_err(mount::Error::from)?;
    let fact = |(feature, answer): (&'static Feature, &'a Answer)| {
        let why = if answer.has == Some(false) { Some(answer.lack(feature)) } else { answer.why.clone() };
        let fact = Fact {
            meaning: why.map_or(feature.what.to_owned(), |why| format!("{}: {why}", feature.what)),
            group: group(feature.group),
            has: answer.has,
            count: answer.count,
            what: feature.what,
            why: answer.why.as_deref(),
            since: feature.since,
        };
        (feature.name, fact)
    };
    let parameters = probe::parameters().map_err(io)?;
    Ok(Facts {
        kernel: probe::kernel().map_err(io)?,
        directory: scratch.directory.display().to_string(),
        store: scratch.in_store,
        filesystem: filesystem.name(),
        features: FEATURES.iter().zip(answers).map(fact).collect(),
        parameters: parameters.into_iter().map(|(name, parameter)| (name, parameter.into())).collect(),
        will: Will { method: outlook.method.name(), layers: outlook.layers, says: &outlook.sentence },
    })
}

fn by_name<S: Serializer>(features: &[(&str, Fact<'_>)], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(features.iter().map(|(name, fact)| (name, fact)))
}

fn group(group: Group) -> &'static str {
    match group {
        Group::Layers => "layers",
        Group::Options => "options",
        Group::Marks => "marks",
        Group::Upper => "upper",
        Group::Loading => "loading",
    }
}

impl From<Parameter> for Value {
    fn from(parameter: Parameter) -> Self {
        match parameter {
            Parameter::Flag(flag) => Self::Flag(flag),
            Parameter::Number(number) => Self::Number(number),
            Parameter::Text(text) => Self::Text(text),
        }
    }
}

fn tell(facts: &Facts<'_>) -> Result<(), Fault> {
    let nearest = if facts.store { "" } else { ", the nearest directory to a store that is not there yet" };
    print::line(&format!("Linux {}, {} in {}{nearest}", facts.kernel, facts.filesystem, facts.directory))?;
    let rows = |group: &str| {
        let rows = facts.features.iter().filter(|(_, fact)| fact.group == group);
        rows.map(|(name, fact)| row(name, fact)).collect::<Vec<_>>()
    };
    let defaults = facts.parameters.iter().map(|(name, value)| vec![name.clone(), said(value)]).collect();
    print::sections(&[
        ("LAYERS", rows("layers")),
        ("OPTIONS", rows("options")),
        ("MARKS IN LAYERS", rows("marks")),
        ("UPPER DIRECTORY", rows("upper")),
        ("READING ARCHIVES", rows("loading")),
        ("THE MODULE'S DEFAULTS", defaults),
    ])?;
    print::line(facts.will.says)
}

/// A feature, whether it is there or how much of it, and what that means.
fn row(name: &str, fact: &Fact<'_>) -> Vec<String> {
    let has = match (fact.has, fact.count) {
        (Some(true), Some(count)) => count.to_string(),
        (Some(true), None) => "yes".to_owned(),
        (Some(false), _) => "no".to_owned(),
        (None, _) => "?".to_owned(),
    };
    vec![name.to_owned(), has, fact.meaning.clone()]
}

fn said(value: &Value) -> String {
    match value {
        Value::Flag(true) => "on".to_owned(),
        Value::Flag(false) => "off".to_owned(),
        Value::Number(number) => number.to_string(),
        Value::Text(text) => text.clone(),
    }
}
