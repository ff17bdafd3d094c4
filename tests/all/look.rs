//! How output looks: colours, sizes, times.

use std::process::Command;

use serde_json::json;

use crate::support::screen::on_screen;
use crate::support::{Scene, image, layer};

/// A terminal that has colours.
const COLOURS: (&str, &str) = ("TERM", "xterm");

fn scene() -> Scene {
    Scene::with("web.tar", &image("web:1.4").layer(&layer().file("a", "1")))
}

/// What these words show on a terminal, with these variables besides.
fn shown(scene: &Scene, words: &str, variables: &[(&str, &str)]) -> String {
    on_screen(&mut command(scene, words, variables), 100).1
}

fn command(scene: &Scene, words: &str, variables: &[(&str, &str)]) -> Command {
    let mut command = scene.command(&words.split_whitespace().collect::<Vec<_>>());
    command.envs(variables.iter().copied());
    command
}

/// A table, a complaint, a complaint about the line, help.
const OUTPUTS: [&str; 4] = ["images", "inspect wep:1.4", "images --frobnicate", "images --help"];

#[test]
fn colours_are_on_a_terminal_that_has_them_and_wants_them() {
    let scene = scene();
    for words in OUTPUTS {
        let has = |words: &str, variables: &[(&str, &str)]| shown(&scene, words, variables).contains('\x1b');
        let never = format!("--color=never {words}");
        assert!(has(words, &[COLOURS]), "{words}");
        assert!(has(words, &[COLOURS, ("NO_COLOR", "")]), "{words}: an empty NO_COLOR is none");
        assert!(!has(words, &[COLOURS, ("NO_COLOR", "1")]), "{words}: NO_COLOR");
        assert!(!has(words, &[("TERM", "dumb")]), "{words}: a dumb terminal");
        assert!(!has(words, &[]), "{words}: nobody knows what terminal");
        assert!(!has(&never, &[COLOURS]), "{never}");
        assert!(has(&format!("--color always {words}"), &[COLOURS, ("NO_COLOR", "1")]), "{words}: typed");
    }
}

#[test]
fn colours_are_not_elsewhere_unless_typed() {
    let scene = scene();
    for words in OUTPUTS {
        let said = |words: &str| {
            let outcome = scene.outcome(&mut command(&scene, words, &[COLOURS]));
            format!("{}{}", outcome.stdout(), outcome.stderr())
        };
        let plain = said(words);
        assert!(!plain.contains('\x1b'), "{plain}");
        let painted = said(&format!("{words} --color=always"));
        assert!(painted.contains('\x1b'), "{painted}");
        assert_eq!(without_colours(&painted), plain, "they say nothing that is not written");
    }
}

#[test]
fn what_is_painted_is_headings_and_what_lines_begin_with() {
    let scene = scene();
    let said = |words: &str| scene.run(&format!("--color=always {words}")).said();
    let headings = said("config").stdout;
    assert!(headings.starts_with("\x1b[1mKEY "), "{headings:?}");
    assert_eq!(headings.matches("\x1b[1m").count(), 1, "{headings:?}");
    assert_eq!(said("images --no-headings").stdout.matches('\x1b').count(), 0);
    assert_eq!(said("images --json").stdout.matches('\x1b').count(), 0);
    assert_eq!(
        said("inspect wep:1.4").stderr,
        "\x1b[1m\x1b[31movlctl:\x1b[0m no image or container 'wep:1.4' in [STORE]\n\x1b[1m\x1b[36mhint:\x1b[0m did you mean 'web:1.4'?\n"
    );
}

#[test]
fn colours_are_configured_below_the_environment_below_what_is_typed() {
    let scene = scene();
    scene.write("ovlctl.toml", b"[output]\ncolor = 'always'\n");
    let row = |words: &str, variables: &[(&str, &str)]| {
        let words = format!("--config ovlctl.toml {words} config --json");
        let rows = scene.outcome(&mut command(&scene, &words, variables)).succeeds().json();
        let rows = rows.as_array().expect("an array").clone();
        let row = rows.into_iter().find(|row| row["key"] == "output.color").expect("it is a setting");
        ["value", "origin", "place"].map(|field| row[field].clone())
    };
    assert_eq!(row("", &[]), [json!("always"), json!("file"), json!("ovlctl.toml:2")]);
    assert_eq!(row("", &[("NO_COLOR", "1")]), [json!("never"), json!("environment"), json!("NO_COLOR")]);
    assert_eq!(
        row("--color auto", &[("NO_COLOR", "1")]),
        [json!("auto"), json!("argument"), json!("--color")]
    );
    let said = scene.run("--config ovlctl.toml images").succeeds().stdout;
    assert!(said.starts_with("\x1b[1mNAME"), "{said:?}");
}

#[test]
fn help_and_complaints_have_the_colours_that_are_configured() {
    let scene = scene();
    scene.write("ovlctl.toml", b"[output]\ncolor = 'always'\n");
    scene.write("never.toml", b"[output]\ncolor = 'never'\n");
    scene.write("wrong.toml", b"[output]\ncolor = 'mauve'\n");
    for words in ["images --help", "help images", "--help", "images --frobnicate", "imges"] {
        let painted = |words: &str, variables: &[(&str, &str)]| {
            let outcome = scene.outcome(&mut command(&scene, words, variables));
            format!("{}{}", outcome.stdout(), outcome.stderr()).contains('\x1b')
        };
        let set = format!("--config ovlctl.toml {words}");
        assert!(painted(&set, &[]), "{words}");
        assert!(painted(words, &[("OVLCTL_CONFIG", "ovlctl.toml")]), "{words}: named by the environment");
        assert!(
            !painted(&format!("--config= {words}"), &[("OVLCTL_CONFIG", "ovlctl.toml")]),
            "{words}: none"
        );
        assert!(!painted(&set, &[("NO_COLOR", "1")]), "{words}: NO_COLOR");
        assert!(!painted(&format!("--color=never {set}"), &[]), "{words}: typed");
        assert!(!painted(&format!("--config wrong.toml {words}"), &[]), "{words}: of no use, and no harm");
        let never = format!("--config never.toml {words}");
        assert!(!shown(&scene, &never, &[COLOURS]).contains('\x1b'), "{words}: on a terminal");
    }
}

#[test]
fn who_reads_archives_for_mount_has_the_same_colours() {
    let scene = scene();
    scene.mkdir("root");
    scene.write("bad.tar", b"x");
    let said = scene.run("--color=always mount bad.tar root").fails(6).stderr;
    assert!(said.starts_with("\x1b[1m\x1b[31movlctl:\x1b[0m cannot mount"), "{said:?}");
    assert!(!scene.run("mount bad.tar root").fails(6).stderr.contains('\x1b'));
}

/// An image of 2000 bytes, made five hundred days ago, and one that tells no time.
fn dated() -> Scene {
    let scene = Scene::new();
    let made = jiff::Timestamp::now() - jiff::SignedDuration::from_hours(500 * 24);
    let made = made.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let file = layer().file("a", &"a".repeat(2000)).mtime(1_000_000_000);
    scene.save("web.tar", &image("web:1").layer(&file).config("created", json!(made)));
    scene.save("no.tar", &image("no:1").layer(&file).config("created", json!("\u{1b}[31m")));
    scene.run("load web.tar no.tar").succeeds();
    scene
}

/// What a column of a table has in its lines, headings left out.
fn column(scene: &Scene, words: &str, heading: &str) -> Vec<String> {
    let said = scene.run(words).succeeds().stdout;
    let (headings, rows) = said.split_once('\n').expect("a table");
    let from = headings.find(heading).unwrap_or_else(|| panic!("no {heading} in {said}"));
    let cell = |row: &str| row[from..].split("  ").next().unwrap_or_default().to_owned();
    rows.lines().map(cell).collect()
}

#[test]
fn sizes_are_for_people_or_in_bytes() {
    let scene = dated();
    for (words, heading, people, bytes) in [
        ("images", "SIZE", "2.0 KiB", "2000"),
        ("layers", "SIZE", "2.0 KiB", "2000"),
        ("history web:1", "SIZE", "2.0 KiB", "2000"),
        ("ls -l web:1", "SIZE", "2.0 KiB", "2000"),
        ("df --layers", "UNIQUE", "0 B", "0"),
        ("tree web:1", "ADDS", "2.0 KiB", "2000"),
    ] {
        assert_eq!(column(&scene, words, heading)[0], people, "{words}");
        assert_eq!(column(&scene, &format!("{words} --bytes"), heading)[0], bytes, "{words}");
    }
    scene.write("ovlctl.toml", b"output.bytes = true");
    assert_eq!(column(&scene, "--config ovlctl.toml images", "SIZE"), ["2000", "2000"]);
    // In a sentence a number has its unit.
    let said = scene.run("rm no:1 web:1 --bytes").succeeds();
    assert!(said.stderr.contains("2000 B") && !said.stderr.contains("KiB"), "{}", said.stderr);
}

#[test]
fn times_are_relative_or_rfc_3339() {
    let scene = dated();
    let made = scene.run("inspect web:1").succeeds().json()[0]["Created"].as_str().expect("text").to_owned();
    assert_eq!(column(&scene, "images", "CREATED"), ["-", "16 months ago"]);
    assert_eq!(column(&scene, "images --time rfc3339", "CREATED"), ["-", made.as_str()]);
    scene.write("ovlctl.toml", b"output.time = 'rfc3339'");
    let configured = |words: &str| column(&scene, &format!("--config ovlctl.toml {words}"), "CREATED");
    assert_eq!(configured("images"), ["-", made.as_str()]);
    assert_eq!(configured("images --time relative"), ["-", "16 months ago"]);
    // A file's time is one to compare with others, unless somebody says so.
    let modified = |words: &str| column(&scene, &format!("ls -l web:1 {words}"), "MODIFIED")[0].clone();
    assert_eq!(modified(""), "2001-09-09 01:46");
    assert_eq!(modified("--time rfc3339"), "2001-09-09T01:46:40Z");
    let years = (jiff::Timestamp::now().as_second() - 1_000_000_000) / 3600 / 24 / 365;
    assert_eq!(modified("--time relative"), format!("{years} years ago"));
}

#[test]
fn how_it_looks_changes_no_json() {
    let scene = dated();
    for words in ["images", "df", "history web:1", "ls -l web:1", "tree web:1"] {
        let plain = scene.run(&format!("{words} --json")).succeeds().stdout;
        let said = scene.run(&format!("{words} --json --bytes --time=rfc3339 --color=always")).succeeds();
        let _ = said.stdout_is(plain.trim_end());
    }
}

/// Leaves out what makes colours: ESC, `[`, numbers, `m`.
fn without_colours(text: &str) -> String {
    let mut parts = text.split("\x1b[");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| text + part.split_once('m').expect("an ending").1)
}
