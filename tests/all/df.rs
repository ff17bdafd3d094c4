//! What takes how much room: told by records, and as `prune` has it.

use std::fs;

use serde_json::{Value, json};

use crate::support::{Image, Scene, image, layer};

/// Layers of 2,000, 300 and 40 bytes; the largest is shared, and one image is to lose its name.
fn web() -> Image {
    image("web:1").layer(&base()).layer(&layer().file("b", &"b".repeat(300)))
}

fn api() -> Image {
    image("api:1").layer(&base()).layer(&layer().file("c", &"c".repeat(40)))
}

fn base() -> crate::support::Layer {
    layer().file("a", &"a".repeat(2000))
}

fn loaded() -> Scene {
    let scene = Scene::new();
    for image in [web(), api()] {
        scene.save("image.tar", &image);
        scene.run("load image.tar").succeeds();
    }
    scene
}

/// The same, and an image and a layer that nothing needs.
fn with_garbage() -> Scene {
    let scene = loaded();
    scene.save("newer.tar", &image("api:1").layer(&layer().file("d", "d")));
    scene.run("load newer.tar").succeeds();
    let gone = image("").layer(&layer().file("z", "zz"));
    scene.save("gone.tar", &gone);
    scene.run("load gone.tar").succeeds();
    // As a removal leaves it that is killed when the image is gone, but not yet its layer.
    fs::remove_dir_all(scene.store().join("images").join(gone.id().hex())).expect("it is there");
    scene
}

#[test]
fn what_is_shared_counts_once_in_the_total() {
    loaded().run("df").succeeds().stderr_is("").stdout_is(
        "
        KIND   NAME                              SIZE     SHARED   UNIQUE  PRUNABLE
        image  api:1                             2.0 KiB  2.0 KiB  40 B    0 B
        image  web:1                             2.2 KiB  2.0 KiB  300 B   0 B
        total  2 images, 3 layers, 0 containers  2.3 KiB  2.0 KiB  340 B   0 B
        ",
    );
}

#[test]
fn what_pruning_frees_is_what_prune_says_and_does() {
    let scene = with_garbage();
    let (old, gone) = (api().id().short(), image("").layer(&layer().file("z", "zz")).chain_ids()[0].short());
    scene.run("df").succeeds().stdout_is(&format!(
        "
        KIND   NAME                              SIZE     SHARED   UNIQUE  PRUNABLE
        image  api:1                             1 B      0 B      1 B     0 B
        image  web:1                             2.2 KiB  2.0 KiB  300 B   0 B
        image  {old}                      2.0 KiB  2.0 KiB  40 B    40 B
        layer  {gone}                      2 B      0 B      0 B     2 B
        total  3 images, 5 layers, 0 containers  2.3 KiB  2.0 KiB  341 B   42 B
        "
    ));
    scene.run("prune -n").succeeds().stderr_is("2 layers, 42 B");
    scene.run("prune").succeeds().stderr_is("2 layers, 42 B");
    assert_eq!(scene.run("df --json").succeeds().json()["total"]["prunable"], 0);
}

/// The cells of the row of `name` in a table.
fn row(table: &str, name: &str) -> Vec<String> {
    let mut rows = table.lines().map(|line| line.split("  ").map(str::trim).filter(|cell| !cell.is_empty()));
    let row = rows.find(|row| row.clone().nth(1) == Some(name));
    row.unwrap_or_else(|| panic!("no {name} in:\n{table}")).map(str::to_owned).collect()
}

#[test]
fn layers_are_listed_when_asked_for() {
    let table = loaded().run("df --layers").succeeds().stdout;
    for (image, nr, cells) in [
        (web(), 0, ["2.0 KiB", "2.0 KiB", "0 B", "0 B"]),
        (web(), 1, ["300 B", "0 B", "300 B", "0 B"]),
        (api(), 1, ["40 B", "0 B", "40 B", "0 B"]),
    ] {
        let id = image.chain_ids()[nr].short();
        assert_eq!(row(&table, &id), [["layer", id.as_str()].as_slice(), &cells].concat());
    }
}

#[test]
fn container_is_counted_only_when_asked_for() {
    let scene = loaded();
    scene.mkdir("root");
    scene.run("mount --name box api:1 root").succeeds();
    fs::write(scene.path("root/new"), "x".repeat(100)).unwrap();
    fs::hard_link(scene.path("root/new"), scene.path("root/again")).unwrap();
    let uncounted = scene.run("df").succeeds();
    assert_eq!(row(&uncounted.stdout, "box"), ["container", "box", "-", "-", "-", "-"]);
    let _ = uncounted.stderr_is("changes of containers are not counted: `ovlctl df --containers` does");
    let counted = scene.run("df --containers").succeeds();
    assert_eq!(row(&counted.stdout, "box"), ["container", "box", "100 B", "-", "100 B", "0 B"]);
    let _ = counted.stderr_is("");
    let total = scene.run("df --json --containers").succeeds().json()["total"].clone();
    assert_eq!([&total["size"], &total["unique"]], [2440, 440]);
}

#[test]
fn json_has_numbers_and_all_that_there_is() {
    let scene = loaded();
    scene.mkdir("root");
    scene.run("mount --name box --upper tmpfs api:1 root").succeeds();
    let mut report = scene.run("df --json").succeeds().json();
    let container = report["containers"][0].as_object_mut().unwrap();
    assert_eq!(container.remove("id").and_then(|id| Some(id.as_str()?.len())), Some(64));
    let image = |image: &Image, name: &str, unique: u64| {
        json!({"names": [name], "id": image.id(), "layers": 2, "size": 2000 + unique, "shared": 2000,
               "unique": unique, "prunable": 0})
    };
    let layer = |image: &Image, nr: usize, size: u64, images: u64| {
        json!({"chain_id": image.chain_ids()[nr], "diff_id": image.diff_ids()[nr], "size": size,
               "images": images, "prunable": false})
    };
    let mut layers = vec![layer(&web(), 0, 2000, 2), layer(&web(), 1, 300, 1), layer(&api(), 1, 40, 1)];
    layers.sort_by_key(|layer| layer["chain_id"].to_string());
    let expected: Value = json!({
        "measured": "contents",
        "images": [image(&api(), "api:1", 40), image(&web(), "web:1", 300)],
        "layers": layers,
        "snapshots": [],
        "containers": [{"name": "box", "image_id": api().id(), "upper": "tmpfs", "size": null}],
        "total": {"size": 2340, "shared": 2000, "unique": 340, "prunable": 0, "deleting": false, "store": null,
                  "staged": null, "leftover": null, "unknown": null},
    });
    assert_eq!(report, expected);
}

#[test]
fn store_that_is_not_there_takes_nothing_and_is_not_made() {
    let scene = Scene::new();
    scene
        .run("df --no-headings")
        .succeeds()
        .stdout_is("total  0 images, 0 layers, 0 containers  0 B  0 B  0 B  0 B");
    assert!(!scene.store().exists());
}
