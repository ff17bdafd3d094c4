//! How an image was made, as `docker history` tells it.

use serde_json::json;

use crate::support::screen::on_screen;
use crate::support::{Image, Scene, image, layer};

/// Three steps, of which one left no layer, and a layer of which the config does not tell.
fn web() -> Image {
    let nop = "/bin/sh -c #(nop)  CMD [\"bash\"]";
    let history = json!([
        {"created": "2020-02-03T04:05:06.7Z", "created_by": "ADD rootfs.tar /", "comment": "base"},
        {"created": "2020-02-03T04:05:07Z", "created_by": nop, "empty_layer": true},
        {"created": "not a time", "created_by": "RUN \x1b[31mapt-get install everything that there is in the world"},
    ]);
    image("web:1")
        .config("history", history)
        .layer(&layer().file("a", &"a".repeat(2000)))
        .layer(&layer().file("b", "b"))
        .layer(&layer().file("c", "cc"))
}

fn loaded() -> Scene {
    Scene::with("image.tar", &web())
}

#[test]
fn steps_are_listed_with_their_layers_the_last_one_first() {
    let years = (jiff::Timestamp::now().as_second() - 1_580_702_706) / 3600 / 24 / 365;
    let ids: Vec<String> = web().diff_ids().iter().map(|id| id.short()).collect();
    let said = loaded().run("history web:1").succeeds().stderr_is("").stdout;
    let rows: Vec<Vec<&str>> = said.lines().map(|line| line.split("  ").map(str::trim).collect()).collect();
    let rows: Vec<Vec<&str>> =
        rows.into_iter().map(|row| row.into_iter().filter(|cell| !cell.is_empty()).collect()).collect();
    let age = format!("{years} years ago");
    let expected: [&[&str]; 5] = [
        &["LAYER", "DIFF ID", "CREATED", "SIZE", "CREATED BY"],
        &["3", &ids[2], "-", "2 B"],
        &["2", &ids[1], "-", "1 B", r"RUN \u{1b}[31mapt-get install everything that there is in the world"],
        &["-", "-", &age, "0 B", "/bin/sh -c #(nop)", "CMD [\"bash\"]"],
        &["1", &ids[0], &age, "2.0 KiB", "ADD rootfs.tar /"],
    ];
    assert_eq!(rows, expected);
}

#[test]
fn instructions_are_cut_on_a_terminal_that_is_too_narrow() {
    let scene = loaded();
    let shown = |words: &str, columns: u16| {
        let mut command = scene.command(&words.split_whitespace().collect::<Vec<_>>());
        let (code, text) = on_screen(command.env_remove("COLUMNS"), columns);
        assert_eq!(code, Some(0), "{text}");
        text
    };
    let widest = |text: &str| text.lines().map(|line| line.chars().count()).max();
    let said = shown("history web:1", 70);
    assert!(said.contains("apt-get inst…\n") && widest(&said) == Some(70), "{said}");
    let said = shown("history web:1", 1000);
    assert!(said.contains("everything that there is in the world\n"), "{said}");
    // A terminal that does not say how wide it is.
    assert_eq!(shown("history web:1", 0), said);
    assert_eq!(shown("history --no-trunc web:1", 70), shown("history --no-trunc web:1", 1000));
    let mut command = scene.command(&["history", "web:1"]);
    let (_, narrow) = on_screen(command.env("COLUMNS", "70"), 1000);
    assert_eq!(narrow, shown("history web:1", 70), "who says COLUMNS knows better");
}

#[test]
fn ids_are_in_full_where_that_is_asked_for() {
    let scene = loaded();
    let said = scene.run("history --no-trunc --no-headings web:1").succeeds().stdout;
    assert!(said.contains("everything that there is in the world"), "{said}");
    assert!(said.contains(&web().diff_ids()[0].to_string()), "{said}");
    let ids: Vec<String> = web().diff_ids().iter().rev().map(|id| id.short()).collect();
    scene.run("history -q web:1").succeeds().stdout_is(&ids.join("\n"));
}

#[test]
fn json_has_the_fields_of_the_engine() {
    let image = web();
    let rows = loaded().run("history --json web:1").succeeds().json();
    assert_eq!(
        rows[0],
        json!({"Id": image.id(), "Created": 0, "CreatedBy": "", "Tags": ["web:1"], "Size": 2, "Comment": "",
               "Layer": 3, "DiffId": image.diff_ids()[2], "ChainId": image.chain_ids()[2], "CreatedAt": null})
    );
    assert_eq!(
        rows[2],
        json!({"Id": "<missing>", "Created": 1_580_702_707, "CreatedBy": "/bin/sh -c #(nop)  CMD [\"bash\"]",
               "Tags": null, "Size": 0, "Comment": "", "Layer": null, "DiffId": null, "ChainId": null,
               "CreatedAt": "2020-02-03T04:05:07Z"})
    );
    assert_eq!([&rows[3]["Created"], &rows[3]["Comment"]], [&json!(1_580_702_706), &json!("base")]);
}

#[test]
fn image_that_is_not_there_is_named() {
    loaded()
        .run("history wep:1")
        .fails(3)
        .stderr_is("ovlctl: no image 'wep:1' in [STORE]\nhint: did you mean 'web:1'?");
}
