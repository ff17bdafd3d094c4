//! What the configuration file says: text becomes settings, each with its line, or the reason why it cannot.

use std::borrow::Cow;
use std::io;
use std::path::PathBuf;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::cli::look::{Times, When};
use crate::cli::save::Compress;
use crate::limits::{Limit, Moved};
use crate::mount::options::Options;

/// All that a file sets.
#[derive(Debug, Default, PartialEq, Eq)]
pub(in crate::cli) struct Settings {
    /// The store.
    pub(in crate::cli) root: Option<Set<PathBuf>>,
    /// Limits, in the order of the file.
    pub(in crate::cli) limits: Vec<Set<Moved>>,
    /// What each new mount has, as `-o` takes it.
    pub(in crate::cli) options: Option<Set<Vec<String>>>,
    /// How `save` compresses layers.
    pub(in crate::cli) compress: Option<Set<Compress>>,
    /// When there are colours.
    pub(in crate::cli) color: Option<Set<When>>,
    /// Whether sizes are in bytes.
    pub(in crate::cli) bytes: Option<Set<bool>>,
    /// How tables have times.
    pub(in crate::cli) time: Option<Set<Times>>,
}

/// A value, and the line that sets it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::cli) struct Set<T> {
    pub(in crate::cli) value: T,
    pub(in crate::cli) line: usize,
}

/// Why a file configures nothing.
#[derive(Debug, thiserror::Error)]
pub(in crate::cli) enum Error {
    /// It is not there, or cannot be read.
    #[error("it cannot be read")]
    Read(#[source] io::Error),
    /// Others than root can change it, or put another in its place.
    #[error("{} could be changed by others than root", .0.display())]
    Untrusted(PathBuf),
    /// It is no TOML.
    #[error("line {line}: {reason}")]
    Syntax {
        /// Counted from 1.
        line: usize,
        /// In the parser's words.
        reason: String,
    },
    /// Nothing is called so.
    #[error("line {line}: there is no key '{key}'")]
    Key {
        /// Counted from 1.
        line: usize,
        /// With its table's name.
        key: String,
        /// The nearest key there is.
        near: Option<String>,
    },
    /// No such value.
    #[error("line {line}: '{key}' is to be {allowed}")]
    Value {
        /// Counted from 1.
        line: usize,
        /// With its table's name.
        key: String,
        /// What may stand there.
        allowed: String,
    },
}

/// What a value of `root` may be.
const A_ROOT: &str = "an absolute path in quotes";

/// What a limit may be.
const AN_AMOUNT: &str = "a number, or one with K, M, G or T in quotes, or \"none\"";

/// What mount options may be.
const OPTIONS: &str = "options as `mount -o` takes them: a text, or a list of them";

/// What layers may be compressed by.
const A_WAY: &str = "\"zstd\", \"gzip\" or \"none\"";

/// When there may be colours.
const A_TIME: &str = "\"auto\", \"always\" or \"never\"";

/// How there may be times.
const A_FORM: &str = "\"relative\" or \"rfc3339\"";

/// All keys there are.
pub(super) fn keys() -> impl Iterator<Item = String> {
    let limits = Limit::ALL.iter().map(|limit| limit_key(*limit));
    ["root".to_owned()].into_iter().chain(limits).chain(
        ["mount.options", "save.compress", "output.color", "output.bytes", "output.time"].map(str::to_owned),
    )
}

/// Returns the key of a limit.
pub(super) fn limit_key(limit: Limit) -> String {
    format!("limits.{}", limit.name())
}

/// Reads the text of a configuration file.
pub(super) fn parse(text: &str) -> Result<Settings, Error> {
    let line = |at: usize| text[..at.min(text.len())].matches('\n').count() + 1;
    let syntax = |e: toml::de::Error| Error::Syntax {
        line: line(e.span().map_or(0, |span| span.start)),
        reason: e.message().trim_end_matches('.').replace('`', "'"),
    };
    let table = DeTable::parse(text).map_err(syntax)?;
    let mut settings = Settings::default();
    for (at, key, value) in in_order(&entries(table.get_ref())) {
        set(&mut settings, line(*at), key, value)?;
    }
    Ok(settings)
}

/// A key with where it stands in the text, and its value.
type Entry<'a> = (usize, String, &'a DeValue<'a>);

/// Returns what stands in a file: `key`, `table.key`. A table of what is no table is shown whole.
fn entries<'a>(table: &'a DeTable<'a>) -> Vec<Entry<'a>> {
    let mut all: Vec<Entry<'a>> = Vec::new();
    for (key, value) in table {
        let is_known = matches!(&**key.get_ref(), "limits" | "mount" | "save" | "output");
        if let Some(inner) = value.get_ref().as_table().filter(|_| is_known) {
            let name = |inner: &Spanned<Cow<'_, str>>| format!("{}.{}", key.get_ref(), inner.get_ref());
            all.extend(inner.iter().map(|(at, value)| (at.span().start, name(at), value.get_ref())));
        } else {
            all.push((key.span().start, key.get_ref().to_string(), value.get_ref()));
        }
    }
    all
}

/// Whoever mends a file begins at its top.
fn in_order<'a, 'b>(entries: &'b [Entry<'a>]) -> impl Iterator<Item = &'b Entry<'a>> {
    let mut sorted: Vec<&Entry<'a>> = entries.iter().collect();
    sorted.sort_by_key(|(at, ..)| *at);
    sorted.into_iter()
}

fn set(settings: &mut Settings, line: usize, key: &str, value: &DeValue<'_>) -> Result<(), Error> {
    let wrong = |allowed: &str| Error::Value { line, key: key.to_owned(), allowed: allowed.to_owned() };
    if let Some(limit) = Limit::ALL.into_iter().find(|limit| limit_key(*limit) == key) {
        let moved = amount(limit, value).ok_or_else(|| wrong(AN_AMOUNT))?;
        settings.limits.push(Set { value: moved, line });
        return Ok(());
    }
    match key {
        "root" => {
            let root = value.as_str().map(PathBuf::from).filter(|root| root.is_absolute());
            settings.root = Some(Set { value: root.ok_or_else(|| wrong(A_ROOT))?, line });
        }
        "mount.options" => {
            let options = texts(value).ok_or_else(|| wrong(OPTIONS))?;
            let mut taken = Options::default();
            for text in &options {
                taken.add(text).map_err(|reason| wrong(&format!("{OPTIONS}: {reason}")))?;
            }
            settings.options = Some(Set { value: options, line });
        }
        "save.compress" => {
            let how = value.as_str().and_then(Compress::named);
            settings.compress = Some(Set { value: how.ok_or_else(|| wrong(A_WAY))?, line });
        }
        "output.color" => {
            let when = value.as_str().and_then(When::named);
            settings.color = Some(Set { value: when.ok_or_else(|| wrong(A_TIME))?, line });
        }
        "output.bytes" => {
            let bytes = value.as_bool().ok_or_else(|| wrong("true or false"))?;
            settings.bytes = Some(Set { value: bytes, line });
        }
        "output.time" => {
            let form = value.as_str().and_then(Times::named);
            settings.time = Some(Set { value: form.ok_or_else(|| wrong(A_FORM))?, line });
        }
        _ => return Err(Error::Key { line, key: key.to_owned(), near: near(key) }),
    }
    Ok(())
}

fn amount(limit: Limit, value: &DeValue<'_>) -> Option<Moved> {
    let text = value.as_str().map(str::to_owned);
    let text = text.or_else(|| value.as_integer().map(|number| number.as_str().replace('_', "")))?;
    format!("{}={text}", limit.name()).parse().ok()
}

fn texts(value: &DeValue<'_>) -> Option<Vec<String>> {
    if let Some(text) = value.as_str() {
        return Some(vec![text.to_owned()]);
    }
    let texts = value.as_array()?.iter().map(|value| value.get_ref().as_str().map(str::to_owned));
    texts.collect()
}

/// Returns the key that is most like `key`; without its table where that was forgotten.
fn near(key: &str) -> Option<String> {
    let last = |key: &str| key.rsplit('.').next().unwrap_or_default().to_owned();
    if let Some(other) = keys().find(|known| last(known) == last(key)) {
        return Some(other);
    }
    let distance = |known: &String| strsim::damerau_levenshtein(key, known);
    keys().min_by_key(distance).filter(|known| distance(known) <= key.len().div_ceil(3))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_key_is_taken_with_its_line() {
        let text = "root = '/srv/store' # here\n\n[limits]\nentries = 4_000_000\nratio = \"none\"\nmemory='1G'\n\
                    [mount]\noptions = ['volatile', \"xino=on,nodev\"]\n\
                    [save]\ncompress = 'gzip'\n[output]\ncolor = 'never'\nbytes = true\ntime = 'rfc3339'\n";
        let limit = |limit, most, line| Set { value: Moved(limit, most), line };
        assert_eq!(
            parse(text).unwrap(),
            Settings {
                root: Some(Set { value: "/srv/store".into(), line: 1 }),
                limits: vec![
                    limit(Limit::Entries, 4_000_000, 4),
                    limit(Limit::Ratio, u64::MAX, 5),
                    limit(Limit::Memory, 1 << 30, 6)
                ],
                options: Some(Set { value: vec!["volatile".into(), "xino=on,nodev".into()], line: 8 }),
                compress: Some(Set { value: Compress::Gzip, line: 10 }),
                color: Some(Set { value: When::Never, line: 12 }),
                bytes: Some(Set { value: true, line: 13 }),
                time: Some(Set { value: Times::Rfc3339, line: 14 }),
            }
        );
        assert_eq!(parse("mount.options = 'ro'").unwrap().options.unwrap().value, ["ro"]);
        assert_eq!(parse("# nothing\n").unwrap(), Settings::default());
    }

    #[test]
    fn what_is_wrong_is_named_with_its_line() {
        for (text, reason) in [
            ("rot = '/srv'", "line 1: there is no key 'rot'"),
            ("\n[limit]\nentries = 1", "line 2: there is no key 'limit'"),
            ("[limits]\nentires = 1", "line 2: there is no key 'limits.entires'"),
            ("limits = 4", "line 1: there is no key 'limits'"),
            ("root = 'srv'", "line 1: 'root' is to be an absolute path in quotes"),
            ("root = 1", "line 1: 'root' is to be an absolute path in quotes"),
            (
                "[limits]\n\nentries = 'many'",
                "line 3: 'limits.entries' is to be a number, or one with K, M, G or T in quotes, or \"none\"",
            ),
            (
                "[limits]\nentries = -1",
                "line 2: 'limits.entries' is to be a number, or one with K, M, G or T in quotes, or \"none\"",
            ),
            (
                "[mount]\noptions = [1]",
                "line 2: 'mount.options' is to be options as `mount -o` takes them: a text, or a list of them",
            ),
            ("save.compress = 'xz'", "line 1: 'save.compress' is to be \"zstd\", \"gzip\" or \"none\""),
            ("output.color = true", "line 1: 'output.color' is to be \"auto\", \"always\" or \"never\""),
            ("output.bytes = 1", "line 1: 'output.bytes' is to be true or false"),
            ("output.time = 'iso'", "line 1: 'output.time' is to be \"relative\" or \"rfc3339\""),
            ("root = '/a'\nroot = '/b'", "line 2: duplicate key"),
            ("root = /srv", "line 1: string values must be quoted, expected literal string"),
        ] {
            assert_eq!(parse(text).unwrap_err().to_string(), reason, "{text}");
        }
        let upper = parse("mount.options = 'upperdir=/x'").unwrap_err().to_string();
        assert!(upper.ends_with("option 'upperdir' is not taken with -o: --upper says it"), "{upper}");
    }

    #[test]
    fn the_nearest_key_is_known() {
        for (key, nearest) in [
            ("rot", Some("root")),
            ("entries", Some("limits.entries")),
            ("limits.entires", Some("limits.entries")),
            ("limit.entries", Some("limits.entries")),
            ("mount.option", Some("mount.options")),
            ("colour", None),
        ] {
            assert_eq!(near(key).as_deref(), nearest, "{key}");
        }
    }
}
