//! How output looks: colours.

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
        "\x1b[1m\x1b[31movlctl:\x1b[0m no image 'wep:1.4' in [STORE]\n\x1b[1m\x1b[36mhint:\x1b[0m did you mean 'web:1.4'?\n"
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
fn who_reads_archives_for_mount_has_the_same_colours() {
    let scene = scene();
    scene.mkdir("root");
    scene.write("bad.tar", b"x");
    let said = scene.run("--color=always mount bad.tar root").fails(6).stderr;
    assert!(said.starts_with("\x1b[1m\x1b[31movlctl:\x1b[0m cannot mount"), "{said:?}");
    assert!(!scene.run("mount bad.tar root").fails(6).stderr.contains('\x1b'));
}

/// Leaves out what makes colours: ESC, `[`, numbers, `m`.
fn without_colours(text: &str) -> String {
    let mut parts = text.split("\x1b[");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| text + part.split_once('m').expect("an ending").1)
}
