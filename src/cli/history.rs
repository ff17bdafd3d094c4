//! `history`: how an image was made.

use clap::Args;
use jiff::Timestamp;
use serde::Serialize;

use super::Context;
use super::act::{Act, Around};
use super::fault::Fault;
use super::print::{self, Column, Listing};
use crate::digest::Digest;
use crate::store::history::Step;

/// Tell how an image was made, the last step first
///
/// Steps that changed only the config have no layer. Instructions are what the image says of itself: nobody has checked
/// them. The JSON has the fields of the Docker Engine's API, and more.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  ovlctl history web:1.4
  ovlctl history --no-trunc web:1.4")]
pub(super) struct History {
    /// Its name or id
    #[arg(value_name = "IMAGE")]
    image: String,
    /// Print instructions and ids in full
    #[arg(long)]
    no_trunc: bool,
    #[command(flatten)]
    listing: Listing,
}

/// A row of `history`, as the Engine's API has it (`GET /images/{name}/history`).
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct StepRow {
    /// The image, for the last step; `<missing>` for the others, as Docker says since layers are no images.
    id: String,
    /// Seconds since the epoch; 0 where nobody knows.
    created: i64,
    created_by: String,
    tags: Option<Vec<String>>,
    size: u64,
    comment: String,
    /// Its layer's number; 1 is the base.
    layer: Option<usize>,
    diff_id: Option<Digest>,
    chain_id: Option<Digest>,
    created_at: Option<String>,
    #[serde(skip)]
    shown: Shown,
}

/// What the table shows of a step.
#[derive(Debug, Default)]
struct Shown {
    id: String,
    instruction: String,
    age: String,
}

const STEPS: &[Column<StepRow>] = &[
    Column("LAYER", |row| row.layer.map_or_else(|| "-".to_owned(), |nr| nr.to_string())),
    Column("DIFF ID", |row| row.shown.id.clone()),
    Column("CREATED", |row| row.shown.age.clone()),
    Column("SIZE", |row| print::size(row.size)),
    Column("CREATED BY", |row| row.shown.instruction.clone()),
];

impl Act for History {
    fn around(&self) -> Around {
        Around::READING
    }

    fn run(&self, context: &Context) -> Result<(), Fault> {
        let store = context.store()?;
        let failed = |e| Fault::new("tell the history of", format!("'{}'", self.image), e);
        let image = store.image(&self.image).map_err(failed)?;
        let steps = store.history(&image.record).map_err(failed)?;
        let now = Timestamp::now();
        let mut rows: Vec<StepRow> = steps.iter().rev().map(|step| self.row(step, now)).collect();
        if let Some(last) = rows.first_mut() {
            last.id = image.record.id.to_string();
            last.tags = Some(image.names);
        }
        if self.listing.quiet {
            rows.retain(|row| row.layer.is_some());
        }
        print::rows(self.listing, STEPS, |row| row.shown.id.clone(), &rows)
    }
}

impl History {
    fn row(&self, step: &Step, now: Timestamp) -> StepRow {
        let layer = step.layer.as_ref().map(|(_, layer)| layer);
        let created = step.created.as_ref().and_then(|time| time.parse::<Timestamp>().ok());
        let instruction = step.created_by.clone().unwrap_or_default();
        let id = |digest: Digest| if self.no_trunc { digest.to_string() } else { digest.short() };
        StepRow {
            id: "<missing>".to_owned(),
            created: created.map_or(0, Timestamp::as_second),
            tags: None,
            size: layer.map_or(0, |layer| layer.size),
            comment: step.comment.clone().unwrap_or_default(),
            layer: step.layer.as_ref().map(|(nr, _)| *nr),
            diff_id: layer.map(|layer| layer.diff_id),
            chain_id: layer.map(|layer| layer.chain_id),
            created_at: step.created.clone(),
            shown: Shown {
                id: layer.map_or_else(|| "-".to_owned(), |layer| id(layer.diff_id)),
                age: created.map_or_else(|| "-".to_owned(), |time| age(now.as_second() - time.as_second())),
                instruction: if self.no_trunc { print::text(&instruction) } else { brief(&instruction) },
            },
            created_by: instruction,
        }
    }
}

/// How long an instruction may be in a table: as `docker history` cuts it.
const BRIEF: usize = 45;

/// Returns the beginning of an instruction, in one line.
pub(super) fn brief(instruction: &str) -> String {
    let text = print::text(instruction);
    if text.chars().count() <= BRIEF {
        return text;
    }
    text.chars().take(BRIEF - 1).chain(['…']).collect()
}

/// Says how long ago something was, in the words of `docker history` (units.HumanDuration).
fn age(seconds: i64) -> String {
    let hours = (seconds + 1800) / 3600;
    let (count, unit) = match seconds {
        ..1 => return "less than a second ago".to_owned(),
        1..60 => (seconds, "second"),
        60..120 => return "about a minute ago".to_owned(),
        120..3600 => (seconds / 60, "minute"),
        _ if hours == 1 => return "about an hour ago".to_owned(),
        _ if hours < 48 => (hours, "hour"),
        _ if hours < 24 * 14 => (hours / 24, "day"),
        _ if hours < 24 * 60 => (hours / 24 / 7, "week"),
        _ if hours < 24 * 365 * 2 => (hours / 24 / 30, "month"),
        _ => (seconds / 3600 / 24 / 365, "year"),
    };
    format!("{count} {unit}{} ago", if count == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_told_as_docker_does() {
        const HOUR: i64 = 3600;
        for (seconds, text) in [
            (0, "less than a second ago"),
            (1, "1 second ago"),
            (59, "59 seconds ago"),
            (60, "about a minute ago"),
            (179, "2 minutes ago"),
            (3599, "59 minutes ago"),
            (HOUR, "about an hour ago"),
            (47 * HOUR, "47 hours ago"),
            (48 * HOUR, "2 days ago"),
            (14 * 24 * HOUR, "2 weeks ago"),
            (60 * 24 * HOUR, "2 months ago"),
            (365 * 24 * HOUR, "12 months ago"),
            (2 * 365 * 24 * HOUR, "2 years ago"),
        ] {
            assert_eq!(age(seconds), text, "{seconds}");
        }
    }

    #[test]
    fn instructions_are_cut_to_one_short_line() {
        assert_eq!(brief("RUN a\tb\nc"), "RUN a b c");
        let long = brief(&"é".repeat(46));
        assert_eq!((long.chars().count(), long.ends_with("é…")), (45, true));
        assert_eq!(brief(&"é".repeat(45)), "é".repeat(45));
    }
}
