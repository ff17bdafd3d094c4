//! An image's layers as bars, and what is wasted.

use serde_json::json;

use crate::support::{Image, Scene, image, layer};

fn web() -> Image {
    let bytes = |count: usize| "x".repeat(count);
    image("web:1")
        .config(
            "history",
            json!([{"created_by": "ADD rootfs"}, {"created_by": "RUN rm"}, {"created_by": "RUN a\tb"}]),
        )
        .layer(
            &layer().file("a", &bytes(6000)).file("d/b", &bytes(2000)).file("d/again", "").hardlink("c", "a"),
        )
        .layer(&layer().whiteout("d"))
        .layer(&layer().file("a", &bytes(4000)).file("e", ""))
}

fn loaded() -> Scene {
    Scene::with("image.tar", &web())
}

#[test]
fn layers_are_bars_with_what_each_adds_hides_and_wastes() {
    let ids: Vec<String> = web().diff_ids().iter().map(|id| id.short()).collect();
    let said = loaded().run("tree web:1").succeeds().stderr_is("").stdout;
    // Of /a the smaller version counts, and the removed directory in both sums: 4000 + 2 * 2000 of 10000 + 2 * 2000.
    let expected = [
        "LAYER  DIFF ID       ADDS                               HIDES    WASTES   CREATED BY",
        &format!("1      {}  7.8 KiB  ░░░░░░░░░░░░░░░░░░░░░░░░  -        7.8 KiB  ADD rootfs", ids[0]),
        &format!("2      {}  0 B                                2.0 KiB  -        RUN rm", ids[1]),
        &format!("3      {}  3.9 KiB  ████████████              5.9 KiB  -        RUN a b", ids[2]),
        "efficiency 57.1 %, 7.8 KiB of 11.7 KiB wasted",
        "",
        "VERSIONS  SIZE     PATH",
        "2         9.8 KiB  /a",
    ];
    assert_eq!(said.lines().collect::<Vec<_>>(), expected, "{said}");
}

#[test]
fn json_has_numbers() {
    let scene = loaded();
    let report = scene.run("tree --json --top 1 web:1").succeeds().json();
    assert_eq!(report["id"], json!(web().id()));
    assert_eq!([&report["size"], &report["wasted"]], [12000, 8000]);
    assert_eq!(
        report["layers"][2],
        json!({
            "layer": 3, "diff_id": web().diff_ids()[2], "chain_id": web().chain_ids()[2],
            "adds": 4000, "hides": 6000, "wastes": 0, "created_by": "RUN a\tb",
        })
    );
    assert_eq!(report["wasteful"], json!([{"path": "/a", "size": 10000, "count": 2}]));
    scene.run("tree -q web:1").succeeds().stdout_is("57.1");
}

#[test]
fn tree_may_be_as_deep_as_a_path_is_long() {
    let scene = Scene::new();
    let file = "x/".repeat(1800) + "f";
    scene.save("image.tar", &image("deep:1").layer(&layer().file(&file, "1")).layer(&layer().whiteout("x")));
    scene.run("load --limit depth=2000 image.tar").succeeds();
    scene.run("tree -q deep:1").succeeds().stdout_is("100.0");
}

#[test]
fn image_without_waste_is_wholly_efficient() {
    let scene = Scene::with("image.tar", &image("one:1").layer(&layer().file("a", "1")));
    let said = scene.run("tree --no-headings one:1").succeeds().stdout;
    assert!(said.ends_with("efficiency 100.0 %, 0 B of 1 B wasted\n"), "{said}");
    scene.run("tree two:1").fails(3).stderr_has("no image 'two:1'");
}

#[test]
fn layers_of_one_image_are_listed_from_the_base_up() {
    let scene = loaded();
    scene.save("other.tar", &image("other:1").layer(&layer().file("z", "")));
    scene.run("load other.tar").succeeds();
    let ids: Vec<String> = web().chain_ids().iter().map(|id| id.short()).collect();
    scene.run("layers -q web:1").succeeds().stdout_is(&ids.join("\n"));
    let rows = scene.run("layers --json web:1").succeeds().json();
    assert_eq!(rows[0]["images"], json!(["web:1"]));
    scene
        .run("layers wep:1")
        .fails(3)
        .stderr_is("ovlctl: no image 'wep:1' in [STORE]\nhint: did you mean 'web:1'?");
}
