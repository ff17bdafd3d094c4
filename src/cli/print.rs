//! Data on stdout: tables and JSON from the same rows. The only file that writes there.

mod table;
mod time;

use std::io::{self, BufWriter, ErrorKind, IsTerminal, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use clap::Args;
use serde::Serialize;

use super::fault::{Cause, Fault};
use super::look::{self, Ink};
use super::place::LookFault;
use crate::layer::pack;
use crate::sys::filesystem;

use table::Narrow;
pub(super) use table::{Column, amount, moment};

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

/// Writes a size as a sentence has it.
pub(super) fn size(bytes: u64) -> String {
    if look::bytes() { format!("{bytes} B") } else { filesystem::size(bytes) }
}

/// Prints rows as `listing` says. `name` is what names a row, for `--quiet`.
pub(super) fn rows<R: Serialize>(
    listing: Listing,
    columns: &[Column<R>],
    name: fn(&R) -> String,
    rows: &[R],
) -> Result<(), Fault> {
    if listing.json {
        return json(&rows);
    }
    if listing.quiet {
        return lines(&rows.iter().map(name).collect::<Vec<_>>());
    }
    table(columns, !listing.no_headings, rows)
}

/// Prints a table, with a line of headings or without.
pub(super) fn table<R>(columns: &[Column<R>], headings: bool, rows: &[R]) -> Result<(), Fault> {
    let lines = table::lines(columns, headings, rows);
    if lines.is_empty() { Ok(()) } else { line(&lines.join("\n")) }
}

/// Returns a name, or a path, from a layer as a terminal may show it: escaped where it is no text.
pub(super) fn name(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) if !text.contains(char::is_control) => text.to_owned(),
        Ok(_) | Err(_) => bytes.escape_ascii().to_string(),
    }
}

/// Returns a text from an archive in one line, as a terminal may show it.
pub(super) fn text(text: &str) -> String {
    let spaced = text.split(['\t', '\n', '\r']).collect::<Vec<_>>().join(" ");
    let clean = |c: char| if c.is_control() { c.escape_default().collect() } else { vec![c] };
    spaced.chars().flat_map(clean).collect()
}

/// Prints lines, with one write.
pub(super) fn lines(lines: &[String]) -> Result<(), Fault> {
    let lines: Vec<String> = lines.iter().map(|line| shown(line)).collect();
    if lines.is_empty() { Ok(()) } else { line(&lines.join("\n")) }
}

/// Prints tables below each other, each under its heading, with columns of one width, of which the last has sentences.
pub(super) fn sections(sections: &[(&str, Vec<Vec<String>>)]) -> Result<(), Fault> {
    let all: Vec<Vec<String>> = sections.iter().flat_map(|(_, rows)| rows.clone()).collect();
    let last = all.iter().map(Vec::len).max().unwrap_or(0).saturating_sub(1);
    let mut aligned = table::align(&all, Some(Narrow::Folded(last)), look::columns()).into_iter();
    for (heading, rows) in sections {
        line(&format!("\n{}", look::on_stdout(Ink::Heading, heading)))?;
        aligned.by_ref().take(rows.len()).flatten().try_for_each(|text| line(&text))?;
    }
    line("")
}

/// Prints a value as JSON.
pub(super) fn json<T: Serialize>(value: &T) -> Result<(), Fault> {
    let text = serde_json::to_string_pretty(value).expect("rows hold only what JSON can say");
    line(&shown_json(&text))
}

/// Tells the process that started this one, in one line.
pub(super) fn report<T: Serialize>(value: &T) -> Result<(), Fault> {
    line(&serde_json::to_string(value).expect("reports hold only what JSON can say"))
}

/// Returns a line with all escaped that a terminal obeys instead of showing it.
pub(super) fn shown(line: &str) -> String {
    let escape = |c: char| if is_obeyed(c) { c.escape_default().to_string() } else { c.to_string() };
    line.chars().map(escape).collect()
}

/// More than the longest path and all that an error says of it; a tar's own names can have a million characters.
const LONGEST_LINE: usize = 6000;

/// Cuts a line in its middle: it begins with what was to be done, and ends with why it cannot.
pub(super) fn shortened(line: String) -> String {
    const KEPT: usize = 1000;
    let count = line.chars().count();
    if count <= LONGEST_LINE {
        return line;
    }
    let head: String = line.chars().take(KEPT).collect();
    let tail: String = line.chars().skip(count - KEPT).collect();
    format!("{head}[… {} characters …]{tail}", count - 2 * KEPT)
}

/// The same as [`shown`] for JSON, where such characters are only in strings, and serde_json escapes those below a space.
fn shown_json(text: &str) -> String {
    let escape = |c: char| match c {
        c if c != '\n' && is_obeyed(c) => format!("\\u{:04x}", u32::from(c)),
        c => c.to_string(),
    };
    text.chars().map(escape).collect()
}

/// Whether a terminal takes a character for a command, or shows what follows in another order (UAX 9).
fn is_obeyed(c: char) -> bool {
    let turns =
        matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    c.is_control() || turns || matches!(c, '\u{2028}' | '\u{2029}')
}

/// Prints one line.
pub(super) fn line(text: &str) -> Result<(), Fault> {
    bytes(text.as_bytes())
}

/// Prints a path, byte for byte: it may be no text.
pub(super) fn path(path: &Path) -> Result<(), Fault> {
    bytes(path.as_os_str().as_bytes())
}

/// Prints all that `from` has, as it is.
pub(super) fn contents(from: &mut impl Read) -> Result<(), Fault> {
    match io::copy(from, &mut io::stdout().lock()) {
        Err(e) if e.kind() == ErrorKind::BrokenPipe => Ok(()),
        copied => copied.map(|_| ()).map_err(|e| Fault::new("write", "to standard output", Cause::Output(e))),
    }
}

/// Prints a tar, unless it would go to a terminal.
pub(super) fn tar<T>(write: impl FnOnce(&mut dyn Write) -> Result<T, pack::Error>) -> Result<T, Cause>
where
    T: Default,
{
    let out = io::stdout().lock();
    if out.is_terminal() {
        return Err(Cause::Usage("a tar is nothing for a terminal: redirect standard output".to_owned()));
    }
    match write(&mut BufWriter::with_capacity(256 << 10, out)) {
        // Whoever closed the pipe wants no more of it.
        Err(error) if error.is_unwanted() => Ok(T::default()),
        written => Ok(written.map_err(LookFault::from)?),
    }
}

fn bytes(text: &[u8]) -> Result<(), Fault> {
    let mut out = io::stdout().lock();
    match out.write_all(text).and_then(|()| out.write_all(b"\n")) {
        // Whoever closed the pipe (`ovlctl images | head -1`) wants no more of it.
        Err(e) if e.kind() == ErrorKind::BrokenPipe => Ok(()),
        written => written.map_err(|e| Fault::new("write", "to standard output", Cause::Output(e))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_is_too_long_keeps_its_beginning_and_its_end() {
        let long = format!("ovlctl: cannot load x: entry '{}': leads out", "n".repeat(1 << 20));
        let line = shortened(long);
        assert!(line.starts_with("ovlctl: cannot load x: entry 'nnn"), "{line}");
        assert!(line.ends_with("nnn': leads out") && line.contains("n[… 1046618 characters …]n"), "{line}");
        let path = "p".repeat(4095);
        assert_eq!(shortened(path.clone()), path);
    }

    #[test]
    fn what_a_terminal_obeys_is_escaped() {
        assert_eq!(shown("a\x1b[31m\u{9b}\u{202e}é\n"), "a\\u{1b}[31m\\u{9b}\\u{202e}é\\n");
        let json = shown_json("{\n\"a\": \"\u{9b}\u{2066}é\u{7f}\"\n}");
        assert_eq!(json, "{\n\"a\": \"\\u009b\\u2066é\\u007f\"\n}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&json).unwrap()["a"], "\u{9b}\u{2066}é\u{7f}");
    }
}
