//! Tables: cells become lines, with columns below each other. Where that is a terminal, lines are as wide as it is.

use jiff::Timestamp;
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use super::super::look::{self, Ink};
use super::shown;
use super::time::age;
use crate::sys::filesystem;

/// A column of a table: its heading, and what of a row stands there.
#[derive(Debug)]
pub(in crate::cli) enum Column<R> {
    /// A name, a number, a word.
    Text(&'static str, fn(&R) -> String),
    /// What may be cut where a terminal is too narrow; one column of a table at most.
    Free(&'static str, fn(&R) -> String),
    /// A sentence, which goes on below itself there; a table's last column.
    Prose(&'static str, fn(&R) -> String),
    /// Bytes; `None` where nobody knows how many.
    Size(&'static str, fn(&R) -> Option<u64>),
    /// A moment; `None` where nobody knows which.
    Time(&'static str, fn(&R) -> Option<Timestamp>),
}

/// What stands for what is not known.
const UNKNOWN: &str = "-";

impl<R> Column<R> {
    /// Returns the same columns, none of which is cut if `whole`.
    pub(in crate::cli) fn all(columns: &[Self], whole: bool) -> Vec<Self> {
        let one = |column: &Self| match *column {
            Self::Free(heading, cell) if whole => Self::Text(heading, cell),
            Self::Free(heading, cell) => Self::Free(heading, cell),
            Self::Text(heading, cell) => Self::Text(heading, cell),
            Self::Prose(heading, cell) => Self::Prose(heading, cell),
            Self::Size(heading, bytes) => Self::Size(heading, bytes),
            Self::Time(heading, time) => Self::Time(heading, time),
        };
        columns.iter().map(one).collect()
    }

    fn heading(&self) -> &'static str {
        match self {
            Self::Text(heading, _)
            | Self::Free(heading, _)
            | Self::Prose(heading, _)
            | Self::Size(heading, _)
            | Self::Time(heading, _) => heading,
        }
    }

    fn cell(&self, row: &R) -> String {
        match self {
            Self::Text(_, cell) | Self::Free(_, cell) | Self::Prose(_, cell) => shown(&cell(row)),
            Self::Size(_, bytes) => bytes(row).map_or_else(|| UNKNOWN.to_owned(), amount),
            Self::Time(_, time) => time(row)
                .map_or_else(|| UNKNOWN.to_owned(), |time| moment(time, look::time().unwrap_or_default())),
        }
    }
}

/// Returns a size as a cell has it: for people, or for programs that count.
pub(in crate::cli) fn amount(bytes: u64) -> String {
    if look::bytes() { bytes.to_string() } else { filesystem::size(bytes) }
}

/// Returns a moment as a cell has it.
pub(in crate::cli) fn moment(time: Timestamp, how: look::Times) -> String {
    match how {
        look::Times::Relative => age(Timestamp::now().as_second() - time.as_second()),
        look::Times::Rfc3339 => time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
    }
}

/// Makes lines of rows; the first has the headings, where they are wanted.
pub(super) fn lines<R>(columns: &[Column<R>], headings: bool, rows: &[R]) -> Vec<String> {
    let mut table: Vec<Vec<String>> = Vec::new();
    if headings {
        table.push(columns.iter().map(|column| column.heading().to_owned()).collect());
    }
    table.extend(rows.iter().map(|row| columns.iter().map(|column| column.cell(row)).collect()));
    let narrowed = |(i, column): (usize, &Column<R>)| match column {
        Column::Free(..) => Some(Narrow::Cut(i)),
        Column::Prose(..) => Some(Narrow::Folded(i)),
        Column::Text(..) | Column::Size(..) | Column::Time(..) => None,
    };
    let narrow = columns.iter().enumerate().find_map(narrowed);
    let mut lines: Vec<String> = align(&table, narrow, look::columns()).into_iter().flatten().collect();
    if let Some(line) = lines.first_mut().filter(|_| headings) {
        *line = look::on_stdout(Ink::Heading, line);
    }
    lines
}

/// What stands between columns.
const GAP: &str = "  ";

/// A column is never cut to less: so much tells what it is about, and what is wider than the terminal goes on in its next line.
const LEAST: usize = 16;

/// The column that becomes as narrow as a terminal asks for, and how.
#[derive(Debug, Clone, Copy)]
pub(super) enum Narrow {
    /// Its texts are cut.
    Cut(usize),
    /// It is the last, and its texts go on below themselves.
    Folded(usize),
}

/// Pads cells so that columns stand below each other, and returns the lines of each row; nothing trails the last column. One is
/// made so narrow that lines have `most` columns of a terminal.
pub(super) fn align(table: &[Vec<String>], narrow: Option<Narrow>, most: Option<usize>) -> Vec<Vec<String>> {
    let columns = table.iter().map(Vec::len).max().unwrap_or(0);
    let width = |i: usize| table.iter().filter_map(|row| row.get(i)).map(|cell| cell.width()).max();
    let mut widths: Vec<usize> = (0..columns).map(|i| width(i).unwrap_or(0)).collect();
    if let (Some(Narrow::Cut(i) | Narrow::Folded(i)), Some(most)) = (narrow, most) {
        let others: usize = widths.iter().sum::<usize>() - widths[i] + GAP.len() * (columns - 1);
        widths[i] = widths[i].min(most.saturating_sub(others).max(LEAST));
    }
    let line = |cells: Vec<String>| {
        let pad = |(cell, width): (String, &usize)| {
            let padding = " ".repeat(width.saturating_sub(cell.width()));
            cell + &padding
        };
        cells.into_iter().zip(&widths).map(pad).collect::<Vec<_>>().join(GAP).trim_end().to_owned()
    };
    table.iter().map(|row| narrowed(row, narrow, &widths).into_iter().map(line).collect()).collect()
}

/// Returns the cells of each line that a row takes.
fn narrowed(row: &[String], narrow: Option<Narrow>, widths: &[usize]) -> Vec<Vec<String>> {
    let mut row = row.to_vec();
    match narrow {
        Some(Narrow::Cut(i)) if i < row.len() => row[i] = cut(&row[i], widths[i]),
        Some(Narrow::Folded(i)) if i < row.len() => {
            let parts = folded(&row[i], widths[i]).into_iter().enumerate();
            let line = |(nr, part)| {
                let before = if nr == 0 { row[..i].to_vec() } else { vec![String::new(); i] };
                before.into_iter().chain([part]).collect()
            };
            return parts.map(line).collect();
        }
        Some(Narrow::Cut(_) | Narrow::Folded(_)) | None => {}
    }
    vec![row]
}

/// Splits a text between words into parts that fit; a word that does not is a part of its own.
fn folded(text: &str, width: usize) -> Vec<String> {
    let mut parts = vec![String::new()];
    for word in text.split(' ') {
        let part = parts.last_mut().expect("it begins with one");
        if part.is_empty() {
            part.push_str(word);
        } else if part.width() + 1 + word.width() <= width {
            part.push(' ');
            part.push_str(word);
        } else {
            parts.push(word.to_owned());
        }
    }
    parts
}

/// Returns as much of a text as fits, and `…` where that is not all.
fn cut(text: &str, width: usize) -> String {
    if text.width() <= width {
        return text.to_owned();
    }
    let mut room = width.saturating_sub(1);
    let fits = |c: &char| {
        let wide = c.width().unwrap_or(0);
        let fits = wide <= room;
        room = room.saturating_sub(wide);
        fits
    };
    text.chars().take_while(fits).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table<const N: usize>(rows: &[[&str; N]]) -> Vec<Vec<String>> {
        rows.iter().map(|row| row.map(str::to_owned).to_vec()).collect()
    }

    fn lined(rows: &[Vec<String>], narrow: Option<Narrow>, most: Option<usize>) -> Vec<String> {
        align(rows, narrow, most).into_iter().flatten().collect()
    }

    #[test]
    fn columns_stand_below_each_other() {
        let rows = table(&[["NAME", "SIZE"], ["node:20-slim", "1 B"], ["é", ""]]);
        assert_eq!(lined(&rows, None, None), ["NAME          SIZE", "node:20-slim  1 B", "é"]);
        // Wide characters take two columns, what is put over others none.
        let rows = table(&[["NAME", "SIZE"], ["漢字", "1"], ["e\u{301}", "2"]]);
        assert_eq!(lined(&rows, None, None), ["NAME  SIZE", "漢字  1", "e\u{301}     2"]);
    }

    #[test]
    fn only_what_is_free_is_cut_to_a_terminal() {
        let rows = table(&[["NAME", "CREATED BY", "AT"], ["web", "RUN apt-get install everything", "1"]]);
        let free = Some(Narrow::Cut(1));
        assert_eq!(
            lined(&rows, free, Some(30)),
            ["NAME  CREATED BY            AT", "web   RUN apt-get install…  1"]
        );
        for most in [None, Some(40), Some(1000)] {
            assert_eq!(lined(&rows, free, most)[1], "web   RUN apt-get install everything  1", "{most:?}");
        }
        assert_eq!(lined(&rows, None, Some(10)), lined(&rows, None, None));
        // So narrow that nothing could be read.
        assert_eq!(lined(&rows, free, Some(3))[1], "web   RUN apt-get ins…  1");
    }

    #[test]
    fn sentences_go_on_below_themselves_on_a_terminal() {
        let rows = table(&[
            ["index", "no", "why it cannot, and /a/path/that/is/too/long here"],
            ["xino", "yes", ""],
        ]);
        let folded = Some(Narrow::Folded(2));
        assert_eq!(
            lined(&rows, folded, Some(28)),
            [
                "index  no   why it cannot,",
                "            and",
                "            /a/path/that/is/too/long",
                "            here",
                "xino   yes"
            ]
        );
        for most in [None, Some(100)] {
            assert_eq!(lined(&rows, folded, most), lined(&rows, None, None));
        }
    }

    #[test]
    fn texts_are_cut_between_characters() {
        for (text, width, all) in [
            ("abc", 3, "abc"),
            ("abcd", 3, "ab…"),
            ("漢字", 4, "漢字"),
            ("漢字漢", 4, "漢…"),
            ("漢字漢", 5, "漢字…"),
            ("e\u{301}e\u{301}e\u{301}", 2, "e\u{301}…"),
        ] {
            assert_eq!(cut(text, width), all, "{text} {width}");
        }
    }
}
