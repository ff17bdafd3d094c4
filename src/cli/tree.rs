//! `tree`: an image's layers as bars.

use clap::Args;
use serde::Serialize;

use super::act::{Act, Around};
use super::fault::{Cause, Fault};
use super::print::{self, Column};
use super::{Context, permit};
use crate::digest::Digest;
use crate::layer::weigh::{Weighed, weigh};
use crate::store;
use crate::store::history::Step;
use crate::store::images::Image;
use crate::store::record::StoredPath;
use crate::sys::caps::TO_LOOK;

/// Show an image's layers as bars: what each adds, hides and wastes
///
/// A bar is as long as a layer's files are large: █ for what the image shows of them, ░ for what layers above remove or
/// replace. HIDES is what the layer itself removes or replaces of those below. EFFICIENCY is the figure of dive: the
/// smallest version of each path, by all its versions.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  ovlctl tree web:1.4
  ovlctl tree --json web:1.4")]
pub(super) struct Tree {
    /// Its name or id
    #[arg(value_name = "IMAGE")]
    image: String,
    /// List so many of the paths that several layers have
    #[arg(long, value_name = "COUNT", default_value_t = 5)]
    top: usize,
    /// Print JSON: one object; fields are only ever added
    #[arg(long)]
    json: bool,
    /// Leave out the lines of headings
    #[arg(long, conflicts_with = "json")]
    no_headings: bool,
    /// Print only the efficiency, in percent
    #[arg(short, long, conflicts_with = "json")]
    quiet: bool,
}

/// What `tree --json` prints.
#[derive(Debug, Serialize)]
struct Report {
    names: Vec<String>,
    id: Digest,
    /// What the files of all layers have.
    size: u64,
    /// What of it the image does not show.
    wasted: u64,
    /// Between 0 and 1.
    efficiency: f64,
    layers: Vec<LayerRow>,
    wasteful: Vec<WastefulRow>,
}

/// A layer and its bar.
#[derive(Debug, Serialize)]
struct LayerRow {
    layer: usize,
    diff_id: Digest,
    chain_id: Digest,
    adds: u64,
    hides: u64,
    wastes: u64,
    created_by: Option<String>,
    #[serde(skip)]
    bar: String,
}

/// A path that several layers have written or removed.
#[derive(Debug, Serialize)]
struct WastefulRow {
    path: StoredPath,
    /// How many bytes all its versions have.
    size: u64,
    /// How many layers have it, or remove it.
    count: usize,
}

const LAYERS: &[Column<LayerRow>] = &[
    Column::Text("LAYER", |row| row.layer.to_string()),
    Column::Text("DIFF ID", |row| row.diff_id.short()),
    Column::Size("ADDS", |row| Some(row.adds)),
    Column::Text("", |row| row.bar.clone()),
    Column::Size("HIDES", |row| some(row.hides)),
    Column::Size("WASTES", |row| some(row.wastes)),
    Column::Free("CREATED BY", |row| row.created_by.as_deref().map_or_else(|| "-".to_owned(), print::text)),
];

const WASTEFUL: &[Column<WastefulRow>] = &[
    Column::Text("VERSIONS", |row| row.count.to_string()),
    Column::Size("SIZE", |row| Some(row.size)),
    Column::Text("PATH", |row| print::name(row.path.path().as_os_str().as_encoded_bytes())),
];

fn some(bytes: u64) -> Option<u64> {
    (bytes > 0).then_some(bytes)
}

impl Act for Tree {
    fn around(&self) -> Around {
        Around::READING
    }

    fn run(&self, context: &Context) -> Result<(), Fault> {
        permit("weigh", TO_LOOK)?;
        let report = self.report(context).map_err(|e| Fault::new("weigh", format!("'{}'", self.image), e))?;
        if self.json {
            return print::json(&report);
        }
        let percent = format!("{:.1}", report.efficiency * 100.0);
        if self.quiet {
            return print::line(&percent);
        }
        print::table(LAYERS, !self.no_headings, &report.layers)?;
        let (wasted, all) = (print::size(report.wasted), print::size(report.size));
        print::line(&format!("efficiency {percent} %, {wasted} of {all} wasted"))?;
        if report.wasteful.is_empty() {
            return Ok(());
        }
        print::line("")?;
        print::table(WASTEFUL, !self.no_headings, &report.wasteful)
    }
}

impl Tree {
    fn report(&self, context: &Context) -> Result<Report, Cause> {
        let store = context.open_store()?;
        let image = store.image(&self.image)?;
        let weighed = weigh(&store.layer_dirs(&image.record)?).map_err(store::Error::from)?;
        let steps = store.history(&image.record)?;
        Ok(self.told(image, &weighed, &steps))
    }

    fn told(&self, Image { record, names }: Image, weighed: &Weighed, steps: &[Step]) -> Report {
        let largest = weighed.layers.iter().map(|weight| weight.adds).max().unwrap_or_default();
        let rows = record.layers.iter().zip(&weighed.layers).enumerate().map(|(nr, (layer, weight))| {
            let of_layer = |step: &&Step| step.layer.as_ref().is_some_and(|(of, _)| *of == nr + 1);
            LayerRow {
                layer: nr + 1,
                diff_id: layer.diff_id,
                chain_id: layer.chain_id,
                adds: weight.adds,
                hides: weight.hides,
                wastes: weight.wastes,
                created_by: steps.iter().find(of_layer).and_then(|step| step.created_by.clone()),
                bar: bar(weight.adds, weight.wastes, largest),
            }
        });
        let wasteful = weighed.wasteful.iter().filter(|path| path.size > 0).take(self.top);
        let row = |path: &crate::layer::weigh::Wasteful| {
            let absolute = [b"/", path.path.as_slice()].concat();
            WastefulRow { path: StoredPath::of(&absolute), size: path.size, count: path.count }
        };
        Report {
            names,
            id: record.id,
            size: weighed.layers.iter().map(|weight| weight.adds).sum(),
            wasted: weighed.layers.iter().map(|weight| weight.wastes).sum(),
            efficiency: weighed.efficiency,
            layers: rows.collect(),
            wasteful: wasteful.map(row).collect(),
        }
    }
}

/// How long the longest bar is.
const LONGEST: u64 = 24;

/// Draws a bar: what is seen of a layer, and what is not. What is not nothing has a mark.
fn bar(adds: u64, wastes: u64, largest: u64) -> String {
    let length = |bytes: u64| {
        let exact = u128::from(bytes) * u128::from(LONGEST) / u128::from(largest.max(1));
        usize::try_from(exact).unwrap_or_default().max(usize::from(bytes > 0))
    };
    let (all, dead) = (length(adds), length(wastes));
    let seen = if adds > wastes { all.saturating_sub(dead).max(1) } else { 0 };
    "█".repeat(seen) + &"░".repeat(dead)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_are_as_long_as_layers_are_large() {
        for (adds, wastes, largest, shown) in [
            (0, 0, 0, ""),
            (0, 0, 9, ""),
            (24, 0, 24, "████████████████████████"),
            (12, 6, 24, "██████░░░░░░"),
            (12, 12, 24, "░░░░░░░░░░░░"),
            (1, 0, 1 << 40, "█"),
            (2, 1, 1 << 40, "█░"),
            (u64::MAX, u64::MAX - 1, u64::MAX, "█░░░░░░░░░░░░░░░░░░░░░░░"),
        ] {
            assert_eq!(bar(adds, wastes, largest), shown, "{adds} {wastes} {largest}");
        }
    }
}
