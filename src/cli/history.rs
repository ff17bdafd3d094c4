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
    /// Print ids in full, and instructions on a terminal that is too narrow for them, too
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
}

const STEPS: &[Column<StepRow>] = &[
    Column::Text("LAYER", |row| row.layer.map_or_else(|| "-".to_owned(), |nr| nr.to_string())),
    Column::Text("DIFF ID", |row| row.shown.id.clone()),
    Column::Time("CREATED", |row| row.created_at.as_ref()?.parse().ok()),
    Column::Size("SIZE", |row| Some(row.size)),
    Column::Free("CREATED BY", |row| row.shown.instruction.clone()),
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
        let mut rows: Vec<StepRow> = steps.iter().rev().map(|step| self.row(step)).collect();
        if let Some(last) = rows.first_mut() {
            last.id = image.record.id.to_string();
            last.tags = Some(image.names);
        }
        if self.listing.quiet {
            rows.retain(|row| row.layer.is_some());
        }
        let columns = Column::all(STEPS, self.no_trunc);
        print::rows(self.listing, &columns, |row| row.shown.id.clone(), &rows)
    }
}

impl History {
    fn row(&self, step: &Step) -> StepRow {
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
                instruction: print::text(&instruction),
            },
            created_by: instruction,
        }
    }
}
