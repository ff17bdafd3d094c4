//! `manuals`: pages for man(1), from the same source as `--help`.

use std::fs;
use std::io;
use std::path::PathBuf;

use clap::{Args, Command, CommandFactory};
use clap_mangen::Man;
use roff::{Roff, bold, roman};

use super::act::{Act, Around};
use super::fault::{Cause, EXIT_CODES, Fault};
use super::{Cli, Context};
use crate::limits::Limit;

/// The page on the store's format.
const STORE: &str = include_str!("../../docs/ovlctl-store.5");

/// The page on what mount(8) calls; the other name that it has leads to it.
const HELPER: &str = include_str!("../../docs/mount.ovlctl.8");
const OTHER_HELPER: &str = ".so man8/mount.ovlctl.8\n";

/// The same source makes the same page: a date that says nothing. An empty one roff would leave out, and take the version for it.
const NO_DATE: &str = " ";

/// How the section of examples begins in the help of a verb.
const EXAMPLES: &str = "Examples:";

/// Write the manual pages into a directory
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  ovlctl manuals /usr/local/share/man/man1")]
pub(super) struct Manuals {
    /// Where to: each page becomes a file there
    #[arg(value_name = "DIR")]
    dir: PathBuf,
}

/// A manual page: what its file is called, and its source.
struct Page {
    name: String,
    text: Vec<u8>,
}

impl Act for Manuals {
    fn around(&self) -> Around {
        Around::NOTHING
    }

    fn run(&self, _: &Context) -> Result<(), Fault> {
        let failed = |e: io::Error| {
            Fault::new("write", format!("the manual pages into {}", self.dir.display()), Cause::Output(e))
        };
        for page in pages().map_err(failed)? {
            fs::write(self.dir.join(page.name), page.text).map_err(failed)?;
        }
        Ok(())
    }
}

/// Makes all pages.
fn pages() -> io::Result<Vec<Page>> {
    let mut ovlctl = Cli::command();
    ovlctl.build();
    let verbs: Vec<&Command> = verbs(&ovlctl).collect();
    let mut pages = vec![overview(&ovlctl, &verbs)?];
    for verb in verbs {
        pages.push(of_verb(verb)?);
    }
    pages.push(settings());
    for (name, text) in
        [("ovlctl-store.5", STORE), ("mount.ovlctl.8", HELPER), ("umount.ovlctl.8", OTHER_HELPER)]
    {
        pages.push(Page { name: name.to_owned(), text: text.as_bytes().to_owned() });
    }
    Ok(pages)
}

/// Returns the verbs that users call.
fn verbs(ovlctl: &Command) -> impl Iterator<Item = &Command> {
    ovlctl.get_subcommands().filter(|verb| !verb.is_hide_set() && verb.get_name() != "help")
}

/// The page on the program: its verbs, one line each.
fn overview(ovlctl: &Command, verbs: &[&Command]) -> io::Result<Page> {
    let man = man(ovlctl);
    let mut text = Vec::new();
    man.render_title(&mut text)?;
    man.render_name_section(&mut text)?;
    man.render_synopsis_section(&mut text)?;
    man.render_description_section(&mut text)?;
    let mut rest = Roff::new();
    rest.control("SH", ["VERBS"]);
    for verb in verbs {
        let about = verb.get_about().map(ToString::to_string).unwrap_or_default();
        rest.control("TP", []);
        rest.text([bold(format!("ovlctl-{}(1)", verb.get_name()))]);
        rest.text([roman(about)]);
    }
    text.extend(rest.render().into_bytes());
    man.render_options_section(&mut text)?;
    let mut rest = Roff::new();
    section(&mut rest, "EXIT STATUS", EXIT_CODES);
    rest.control("SH", ["FILES"]);
    for (file, what) in [
        ("/var/lib/ovlctl", "The store; see ovlctl-store(5)."),
        ("/etc/ovlctl.toml", "Settings; see ovlctl.toml(5)."),
    ] {
        rest.control("TP", []);
        rest.text([bold(file)]);
        rest.text([roman(what)]);
    }
    see(&mut rest, "ovlctl-store(5), ovlctl.toml(5), mount.ovlctl(8)");
    text.extend(rest.render().into_bytes());
    Ok(Page { name: "ovlctl.1".to_owned(), text })
}

fn of_verb(verb: &Command) -> io::Result<Page> {
    let man = man(verb);
    let mut text = Vec::new();
    man.render_title(&mut text)?;
    man.render_name_section(&mut text)?;
    man.render_synopsis_section(&mut text)?;
    man.render_description_section(&mut text)?;
    man.render_options_section(&mut text)?;
    let mut rest = Roff::new();
    section(&mut rest, "EXAMPLES", &examples(verb).join("\n"));
    section(&mut rest, "EXIT STATUS", EXIT_CODES);
    see(&mut rest, "ovlctl(1), ovlctl-store(5), ovlctl.toml(5)");
    text.extend(rest.render().into_bytes());
    Ok(Page { name: format!("ovlctl-{}.1", verb.get_name()), text })
}

fn man(command: &Command) -> Man {
    let version = format!("ovlctl {}", env!("CARGO_PKG_VERSION"));
    let command = command.clone().mut_args(|arg| match arg.get_id().as_str() {
        "moved" => arg.long_help(
            "Move a limit that no usual image meets. ovlctl.toml(5) has their names, and what each bounds",
        ),
        _ => arg,
    });
    Man::new(command).date(NO_DATE).source(version).manual("ovlctl")
}

/// Returns the lines of a verb's examples.
fn examples(verb: &Command) -> Vec<String> {
    let help = verb.get_after_long_help().map(ToString::to_string).unwrap_or_default();
    let (_, examples) = help.split_once(EXAMPLES).unwrap_or_default();
    let lines = examples.lines().map(str::trim).filter(|line| !line.is_empty());
    lines.map(str::to_owned).collect()
}

/// Adds a section whose lines stay as they are.
fn section(page: &mut Roff, name: &str, lines: &str) {
    page.control("SH", [name]);
    page.control("nf", []);
    for line in lines.lines() {
        page.text([roman(line.trim_start())]);
    }
    page.control("fi", []);
}

fn see(page: &mut Roff, pages: &str) {
    page.control("SH", ["SEE ALSO"]);
    page.text([roman(pages)]);
}

/// What may be set besides the store and limits, and what it means.
const KEYS: [(&str, &str); 5] = [
    (
        "mount.options",
        "Options of overlayfs or of the mount for what is mounted anew, as `ovlctl mount -o` takes them: a text, or a list \
         of them. A container that is mounted again keeps those that it began with.",
    ),
    ("save.compress", "zstd, gzip or none: how `ovlctl save` compresses layers. By default none."),
    (
        "output.color",
        "auto, always or never: when there are colours. By default auto: on a terminal that has them. Where NO_COLOR is set \
         to anything there are none, unless --color is typed.",
    ),
    (
        "output.bytes",
        "true: sizes are printed in bytes. By default false: as people read them, 1 KiB being 1024 bytes.",
    ),
    (
        "output.time",
        "relative or rfc3339: how tables have times. By default relative; `ovlctl ls -l` has the minute, as ls(1), unless \
         one is set. JSON has always the same.",
    ),
];

/// The page on the file of settings.
fn settings() -> Page {
    let mut page = Roff::new();
    let version = format!("ovlctl {}", env!("CARGO_PKG_VERSION"));
    page.control("TH", ["ovlctl.toml", "5", NO_DATE, &version, "ovlctl"]);
    page.control("SH", ["NAME"]);
    page.text([roman("ovlctl.toml - settings of ovlctl")]);
    page.control("SH", ["DESCRIPTION"]);
    page.text([roman(
        "ovlctl reads /etc/ovlctl.toml, or the file that --config or OVLCTL_CONFIG names; an empty name means none. What \
         the environment says comes before it, and what was typed before both. `ovlctl config` shows each setting, and \
         where it comes from.",
    )]);
    page.control("PP", []);
    page.text([roman(
        "Run by root, ovlctl goes by the file only if it and all directories above it are root's and nobody else can write \
         to them.",
    )]);
    page.control("SH", ["KEYS"]);
    let mut key = |name: String, what: &str| {
        page.control("TP", []);
        page.text([bold(name)]);
        page.text([roman(what)]);
    };
    key("root".to_owned(), "The store: an absolute path. By default /var/lib/ovlctl.");
    for limit in Limit::ALL {
        let usual = limit.shown(limit.default());
        let what = format!("The most that is taken: {}. By default {usual}.", limit.meaning());
        key(format!("limits.{}", limit.name()), &what);
    }
    KEYS.iter().for_each(|(name, what)| key((*name).to_owned(), what));
    section(
        &mut page,
        "EXAMPLES",
        "root = \"/srv/ovlctl\"\n\n[limits]\nentries = 4_000_000\nlayer-bytes = \"100G\"\n\n[mount]\noptions = [\"nodev\", \"xino=on\"]",
    );
    see(&mut page, "ovlctl(1), ovlctl-config(1)");
    Page { name: "ovlctl.toml.5".to_owned(), text: page.render().into_bytes() }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Splits a line as a shell does, as far as examples go, and ends it where another command begins.
    fn words(line: &str) -> Vec<String> {
        let mut words = vec![String::new()];
        let mut quote = None;
        for c in line.chars() {
            match (c, quote) {
                ('\'' | '"', None) => quote = Some(c),
                (c, Some(open)) if c == open => quote = None,
                (' ', None) => words.push(String::new()),
                ('|' | '>' | '<' | '#' | ')' | ';', None) => break,
                (c, _) => words.last_mut().unwrap().push(c),
            }
        }
        let ends = words.iter().position(|word| word == "&&").unwrap_or(words.len());
        words.truncate(ends);
        words.retain(|word| !word.is_empty());
        words
    }

    #[test]
    fn each_verb_has_examples_that_it_understands() {
        let ovlctl = Cli::command();
        for verb in verbs(&ovlctl) {
            let name = verb.get_name();
            let examples = examples(verb);
            assert!(
                examples.iter().any(|line| line.contains(&format!("ovlctl {name}"))),
                "'{name}' has no example: put #[command(after_long_help = \"Examples:\\n  ovlctl {name} …\")] above its \
                 struct, with one to five lines that people will type; behind # what they do"
            );
            for line in &examples {
                for command in line.split("ovlctl ").skip(1) {
                    let typed = words(&format!("ovlctl {command}"));
                    let parsed = Cli::command().try_get_matches_from(&typed);
                    assert!(parsed.is_ok(), "{line}\n{typed:?}: {}", parsed.unwrap_err());
                }
            }
        }
    }

    #[test]
    fn there_is_a_page_for_each_verb_and_two_formats() {
        let pages = pages().unwrap();
        let names: Vec<&str> = pages.iter().map(|page| page.name.as_str()).collect();
        for name in ["ovlctl.1", "ovlctl-mount.1", "ovlctl-config.1", "ovlctl.toml.5", "ovlctl-store.5"] {
            assert!(names.contains(&name), "{name} is not in {names:?}");
        }
        assert!(!names.iter().any(|name| name.contains("sweep") || name.contains("help")), "{names:?}");
        let mount = pages.iter().find(|page| page.name == "ovlctl-mount.1").unwrap();
        let text = String::from_utf8(mount.text.clone()).unwrap();
        let title = text.lines().find(|line| line.starts_with(".TH"));
        assert_eq!(
            title,
            Some(concat!(".TH ovlctl-mount 1 \" \" \"ovlctl ", env!("CARGO_PKG_VERSION"), "\" ovlctl"))
        );
        let headings: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix(".SH ")).collect();
        let usual = r#"NAME SYNOPSIS DESCRIPTION OPTIONS "STORE AND SETTINGS" OUTPUT EXAMPLES "EXIT STATUS" "SEE ALSO""#;
        assert_eq!(headings.join(" "), usual);
    }

    #[test]
    fn the_page_on_the_store_names_all_that_the_store_draws() {
        let drawing = include_str!("../store.rs").split("```").nth(1).unwrap();
        let page = STORE.replace("\\-", "-");
        for line in drawing.lines().filter_map(|line| line.strip_prefix("//! ")).skip(1) {
            for name in line.split("  ").map(str::trim).filter(|name| !name.is_empty()).take(1) {
                let name = name.split(" -> ").next().unwrap().trim_end_matches('/');
                assert!(page.contains(name), "ovlctl-store.5 says nothing of '{name}'");
            }
        }
    }
}
