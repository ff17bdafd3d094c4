//! `--filter`: which images and containers pruning may take, in Docker's words.

use std::collections::BTreeMap;

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

/// What has to be so of whatever pruning takes: all of it.
#[derive(Debug, Clone, Default)]
pub struct Filters {
    until: Option<Timestamp>,
    labels: Vec<Label>,
}

/// A label that there must be, or must not be.
#[derive(Debug, Clone)]
struct Label {
    key: String,
    value: Option<String>,
    wanted: bool,
}

/// A filter that is none.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadFilter {
    /// Of another kind.
    #[error("'{0}' is no filter: until=TIME, label=KEY[=VALUE] and label!=KEY[=VALUE] are")]
    Kind(String),
    /// No time.
    #[error("'{0}' is no time: 24h, 2026-01-31, 2026-01-31T12:00:00Z and seconds since 1970 are")]
    Time(String),
    /// There can be one only.
    #[error("there are two filters until=")]
    Twice,
}

impl Filters {
    /// Reads filters as they were typed, seen from `now`.
    pub fn read(texts: &[String], now: Timestamp) -> Result<Self, BadFilter> {
        let mut filters = Self::default();
        for text in texts {
            filters.add(text, now)?;
        }
        Ok(filters)
    }

    fn add(&mut self, text: &str, now: Timestamp) -> Result<(), BadFilter> {
        let (kind, value) = text.split_once('=').ok_or_else(|| BadFilter::Kind(text.to_owned()))?;
        match kind {
            "until" if self.until.is_some() => return Err(BadFilter::Twice),
            "until" => {
                self.until = Some(time(value, now).ok_or_else(|| BadFilter::Time(value.to_owned()))?);
            }
            "label" | "label!" if !value.is_empty() => {
                let (key, value) = value.split_once('=').map_or((value, None), |(key, v)| (key, Some(v)));
                let value = value.map(str::to_owned);
                self.labels.push(Label { key: key.to_owned(), value, wanted: kind == "label" });
            }
            _ => return Err(BadFilter::Kind(text.to_owned())),
        }
        Ok(())
    }

    /// Whether labels are asked for: whoever has none then stays.
    #[must_use]
    pub fn ask_for_labels(&self) -> bool {
        !self.labels.is_empty()
    }

    /// Whether they take what was made then. What does not say when is older than anything.
    #[must_use]
    pub fn take_made(&self, made: Option<&str>) -> bool {
        let made = made.and_then(|made| made.parse::<Timestamp>().ok()).unwrap_or(Timestamp::MIN);
        self.until.is_none_or(|until| made < until)
    }

    /// Whether they take what has these labels.
    #[must_use]
    pub fn take_labels(&self, labels: &BTreeMap<String, String>) -> bool {
        self.labels.iter().all(|label| {
            let has = labels.get(&label.key);
            let is_so = has.is_some_and(|has| label.value.as_ref().is_none_or(|value| value == has));
            is_so == label.wanted
        })
    }
}

/// Reads a time as Docker does (`GetTimestamp` in moby's api/types/time): how long ago (`1h30m`), a date, a date with a time, in
/// UTC where it does not say where, or seconds since 1970.
fn time(text: &str, now: Timestamp) -> Option<Timestamp> {
    if let Some(seconds) = ago(text) {
        return now.checked_sub(SignedDuration::from_secs(seconds)).ok();
    }
    if let Some(time) = text.parse::<Timestamp>().ok().or_else(|| {
        let civil = text.parse::<DateTime>().ok()?;
        civil.to_zoned(TimeZone::UTC).ok().map(|zoned| zoned.timestamp())
    }) {
        return Some(time);
    }
    let (seconds, nanos) = text.split_once('.').unwrap_or((text, ""));
    let is_number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if !is_number(seconds) || !is_number(nanos) || nanos.len() > 9 {
        return None;
    }
    Timestamp::new(seconds.parse().ok()?, format!("{nanos:0<9}").parse().ok()?).ok()
}

/// Reads `1h30m` as seconds.
fn ago(text: &str) -> Option<i64> {
    let mut seconds = 0_i64;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let (number, after) = rest.split_at(digits);
        let unit = match after.chars().next()? {
            'h' => 3600,
            'm' => 60,
            's' => 1,
            _ => return None,
        };
        seconds = seconds.checked_add(number.parse::<i64>().ok()?.checked_mul(unit)?)?;
        rest = &after[1..];
    }
    (!text.is_empty()).then_some(seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> Timestamp {
        "2026-03-01T12:00:00Z".parse().unwrap()
    }

    #[test]
    fn a_time_is_what_docker_takes_for_one() {
        for (text, means) in [
            ("24h", Some("2026-02-28T12:00:00Z")),
            ("1h30m", Some("2026-03-01T10:30:00Z")),
            ("90s", Some("2026-03-01T11:58:30Z")),
            ("2026-01-31", Some("2026-01-31T00:00:00Z")),
            ("2026-01-31T10:20:30", Some("2026-01-31T10:20:30Z")),
            ("2026-01-31T10:20:30.5+02:00", Some("2026-01-31T08:20:30.5Z")),
            ("1136073845", Some("2006-01-01T00:04:05Z")),
            ("1136073845.5", Some("2006-01-01T00:04:05.5Z")),
            ("", None),
            ("h", None),
            ("24d", None),
            ("99999999999999999999h", None),
            ("9223372036854775807s", None),
            ("yesterday", None),
            ("1.2.3", None),
        ] {
            assert_eq!(time(text, now()).map(|time| time.to_string()).as_deref(), means, "{text}");
        }
    }

    #[test]
    fn what_is_taken_is_older_and_has_the_labels() {
        let labels = [("a", "1"), ("b", "")].map(|(key, value)| (key.to_owned(), value.to_owned()));
        let labels = BTreeMap::from(labels);
        let table = [
            (vec!["label=a"], true),
            (vec!["label=a=1"], true),
            (vec!["label=a=2"], false),
            (vec!["label=c"], false),
            (vec!["label=a", "label=b="], true),
            (vec!["label=a", "label=c"], false),
            (vec!["label!=c"], true),
            (vec!["label!=a"], false),
            (vec!["label!=a=2"], true),
            (vec!["until=24h"], true),
        ];
        for (texts, takes) in table {
            let texts: Vec<String> = texts.into_iter().map(str::to_owned).collect();
            assert_eq!(Filters::read(&texts, now()).unwrap().take_labels(&labels), takes, "{texts:?}");
        }
        let day = Filters::read(&["until=24h".to_owned()], now()).unwrap();
        for (made, takes) in [
            (Some("2026-02-28T11:59:59Z"), true),
            (Some("2026-02-28T12:00:00Z"), false),
            (Some("not a time"), true),
            (None, true),
        ] {
            assert_eq!(day.take_made(made), takes, "{made:?}");
        }
    }

    #[test]
    fn what_is_no_filter_is_told() {
        for (texts, fault) in [
            (vec!["old"], "'old' is no filter: until=TIME, label=KEY[=VALUE] and label!=KEY[=VALUE] are"),
            (
                vec!["dangling=true"],
                "'dangling=true' is no filter: until=TIME, label=KEY[=VALUE] and label!=KEY[=VALUE] are",
            ),
            (
                vec!["label="],
                "'label=' is no filter: until=TIME, label=KEY[=VALUE] and label!=KEY[=VALUE] are",
            ),
            (
                vec!["until=x"],
                "'x' is no time: 24h, 2026-01-31, 2026-01-31T12:00:00Z and seconds since 1970 are",
            ),
            (vec!["until=1h", "until=2h"], "there are two filters until="),
        ] {
            let texts: Vec<String> = texts.into_iter().map(str::to_owned).collect();
            assert_eq!(Filters::read(&texts, now()).unwrap_err().to_string(), fault);
        }
    }
}
