//! Data on stdout: tables and JSON from the same rows. The only file that writes there.

use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use clap::Args;
use serde::Serialize;

/// How a listing is printed.
#[derive(Debug, Clone, Copy, Args)]
pub(super) struct Listing {
    /// Print JSON: one array; fields are only ever added
    #[arg(long)]
    pub(super) json: bool,
    /// Print only what names each row
    #[arg(short, long, conflicts_with = "json")]
    pub(super) quiet: bool,
    /// Leave out the line of headings
    #[arg(long, conflicts_with = "json")]
    pub(super) no_headings: bool,
}

/// A column of a table: its heading, and its cell in a row.
pub(super) struct Column<R>(pub(super) &'static str, pub(super) fn(&R) -> String);

/// Prints rows as `listing` says. `name` is what names a row, for `--quiet`.
pub(super) fn rows<R: Serialize>(
    listing: Listing,
    columns: &[Column<R>],
    name: fn(&R) -> String,
    rows: &[R],
) {
    if listing.json {
        return json(&rows);
    }
    if listing.quiet {
        return rows.iter().for_each(|row| line(&name(row)));
    }
    let mut table: Vec<Vec<String>> = Vec::new();
    if !listing.no_headings {
        table.push(columns.iter().map(|Column(heading, _)| (*heading).to_owned()).collect());
    }
    table.extend(rows.iter().map(|row| columns.iter().map(|Column(_, cell)| cell(row)).collect()));
    for text in align(&table) {
        line(&text);
    }
}

/// Prints a value as JSON.
pub(super) fn json<T: Serialize>(value: &T) {
    let text = serde_json::to_string_pretty(value).expect("rows hold only what JSON can say");
    line(&text);
}

/// Prints one line.
pub(super) fn line(text: &str) {
    bytes(text.as_bytes());
}

/// Prints a path, byte for byte: it may be no text.
pub(super) fn path(path: &Path) {
    bytes(path.as_os_str().as_bytes());
}

fn bytes(text: &[u8]) {
    let mut out = io::stdout().lock();
    // Whoever closed the pipe (`ovlctl images | head -1`) wants no more of it.
    let _ = out.write_all(text).and_then(|()| out.write_all(b"\n"));
}

/// Pads cells so that columns stand below each other, two spaces apart; nothing trails the last.
fn align(table: &[Vec<String>]) -> Vec<String> {
    let columns = table.iter().map(Vec::len).max().unwrap_or(0);
    let width = |i: usize| table.iter().filter_map(|row| row.get(i)).map(|cell| cell.chars().count()).max();
    let widths: Vec<usize> = (0..columns).map(|i| width(i).unwrap_or(0)).collect();
    let aligned = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    table.iter().map(aligned).collect()
}

/// Writes a number of bytes as people read it: `1.2 GiB`.
#[must_use]
pub(super) fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    #[expect(clippy::cast_precision_loss, reason = "one digit after the point is shown")]
    let mut value = bytes as f64 / 1024.0;
    let mut unit = 0;
    while value >= 1023.95 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_stand_below_each_other() {
        let table = [["NAME", "SIZE"], ["node:20-slim", "1 B"], ["é", ""]];
        let table: Vec<Vec<String>> = table.iter().map(|row| row.map(str::to_owned).to_vec()).collect();
        assert_eq!(align(&table), ["NAME          SIZE", "node:20-slim  1 B", "é"]);
    }

    #[test]
    fn sizes_are_rounded_to_a_tenth() {
        for (bytes, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (1_048_575, "1.0 MiB"),
            (246_415_360, "235.0 MiB"),
            (1_288_490_189, "1.2 GiB"),
        ] {
            assert_eq!(size(bytes), text);
        }
    }
}
