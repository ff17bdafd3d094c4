//! Which layer a path comes from, and what was there before.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use serde_json::json;

use crate::support::{Image, Scene, image, layer, needs};

fn web() -> Image {
    let history = json!([
        {"created_by": "ADD rootfs"},
        {"created_by": "ENV x", "empty_layer": true},
        {"created_by": "RUN chmod"},
        {"created_by": "RUN rm"},
        {"created_by": "COPY app"},
    ]);
    image("web:1")
        .config("history", history)
        .layer(
            &layer().file("usr/bin/app", "v1").file("usr/lib/a", "a").symlink("bin", "usr/bin").file("x", ""),
        )
        .layer(&layer().file("usr/bin/app", "v1").mode(0o755).owner(1, 2))
        .layer(&layer().whiteout("usr/bin/app").opaque("usr/lib").whiteout("x"))
        .layer(&layer().file("usr/bin/app", "version 2").file("x/y", ""))
}

fn loaded() -> Scene {
    Scene::with("image.tar", &web())
}

/// Replaces what only a digest can know.
fn without_ids(said: &str) -> String {
    let ids = web().diff_ids();
    ids.iter().enumerate().fold(said.trim_end().to_owned(), |said, (nr, id)| {
        said.replace(&id.short(), &format!("<layer {}>   ", nr + 1))
    })
}

#[track_caller]
fn says(scene: &Scene, words: &str, expected: &[&str]) {
    let said = without_ids(&scene.run(words).succeeds().stdout);
    assert_eq!(said.lines().collect::<Vec<_>>(), expected, "{said}");
}

#[test]
fn each_version_and_removal_is_told() {
    let scene = loaded();
    says(
        &scene,
        "blame /usr/bin/app web:1",
        &[
            "LAYER  DIFF ID       ACTION   WHAT                              CREATED BY",
            "4      <layer 4>     added    -rw-r--r-- 0:0 9 B                COPY app",
            "3      <layer 3>     removed  -                                 RUN rm",
            "2      <layer 2>     changed  -rwxr-xr-x 1:2 2 B (owner, mode)  RUN chmod",
            "1      <layer 1>     added    -rw-r--r-- 0:0 2 B                ADD rootfs",
        ],
    );
}

#[test]
fn what_hides_from_above_is_named() {
    let scene = loaded();
    let rows = "--no-headings";
    says(
        &scene,
        &format!("blame {rows} usr/lib/a web:1"),
        &[
            "3  <layer 3>     hidden  /usr/lib starts anew  RUN rm",
            "1  <layer 1>     added   -rw-r--r-- 0:0 1 B    ADD rootfs",
        ],
    );
    says(
        &scene,
        &format!("blame {rows} x/y web:1"),
        &[
            "4  <layer 4>     added     -rw-r--r-- 0:0 0 B  COPY app",
            "3  <layer 3>     removed   with /x             RUN rm",
            "1  <layer 1>     replaced  by a file at /x     ADD rootfs",
        ],
    );
}

#[test]
fn links_on_the_way_are_followed() {
    let scene = loaded();
    let said = scene.run("blame --no-headings /bin/../bin/app web:1").succeeds();
    assert_eq!(said.stdout.lines().count(), 4);
    let _ = said.stderr_is("by a symbolic link this is /usr/bin/app");
    says(
        &scene,
        "blame --no-headings bin web:1",
        &["1  <layer 1>     added  lrwxrwxrwx 0:0 -> usr/bin  ADD rootfs"],
    );
}

#[test]
fn json_has_each_layer_in_full() {
    let scene = loaded();
    let rows = scene.run("blame --json /usr/bin/app web:1").succeeds().json();
    assert_eq!(
        rows[2],
        json!({"layer": 2, "diff_id": web().diff_ids()[1], "chain_id": web().chain_ids()[1], "action": "changed",
               "path": "/usr/bin/app", "type": "file", "mode": 0o755, "uid": 1, "gid": 2, "size": 2, "target": null,
               "snapshot": null, "what": ["owner", "mode"], "created_by": "RUN chmod"})
    );
    assert_eq!([&rows[1]["action"], &rows[1]["mode"]], [&json!("removed"), &json!(null)]);
    let ids: Vec<String> = web().diff_ids().iter().rev().map(|id| id.short()).collect();
    scene.run("blame -q /usr/bin/app web:1").succeeds().stdout_is(&ids.join("\n"));
}

#[test]
fn container_is_the_uppermost() {
    let scene = loaded();
    scene.mkdir("root");
    scene.run("mount --name box web:1 root").succeeds();
    fs::remove_file(scene.path("root/usr/bin/app")).unwrap();
    says(
        &scene,
        "blame --no-headings /usr/lib/b box",
        &["3  <layer 3>     hidden  /usr/lib starts anew  RUN rm"],
    );
    let rows = scene.run("blame --json /usr/bin/app box").succeeds().json();
    assert_eq!([&rows[0]["layer"], &rows[0]["action"]], [&json!(null), &json!("removed")]);
    assert_eq!(rows[1]["layer"], 4);
}

#[test]
fn container_in_memory_is_told_by_its_mount() {
    let changes = |scene: &Scene| {
        let root = |name: &str| scene.path("root").join(name);
        fs::write(root("usr/bin/app"), "version 3, longer").unwrap();
        fs::remove_file(root("x/y")).unwrap();
        fs::remove_dir(root("x")).unwrap();
        fs::write(root("x"), "").unwrap();
        fs::remove_dir_all(root("usr/lib")).unwrap();
        fs::create_dir_all(root("new/inner")).unwrap();
        fs::set_permissions(root("usr"), fs::Permissions::from_mode(0o700)).unwrap();
    };
    let paths = ["/usr/bin/app", "/bin/app", "/x", "/x/y", "/usr/lib", "/usr/lib/a", "/new/inner", "/usr"];
    // As its own directory has it where that can be seen.
    let [disk, memory] = ["", "--upper tmpfs"].map(|options| {
        let scene = loaded();
        scene.mkdir("root");
        scene.run(&format!("mount --name box {options} web:1 root")).succeeds();
        changes(&scene);
        let told = paths.map(|path| scene.run(&format!("blame {path} box")).succeeds().stdout);
        (scene, told)
    });
    for (path, (disk, memory)) in paths.iter().zip(disk.1.iter().zip(&memory.1)) {
        assert_eq!(disk, memory, "{path}");
    }
    let scene = memory.0;
    // What is as it was below its mount does not tell from what nobody has touched.
    let rows = scene.run("blame --json /usr/bin box").succeeds().json();
    assert_eq!([&rows[0]["layer"], &rows[0]["action"]], [&json!(4), &json!("unchanged")]);
    scene.run("blame /usr/bin/ap box").fails(1).stderr_has("hint: did you mean /usr/bin/app?");
}

#[test]
fn renamed_directory_is_followed_to_what_it_was() {
    if !needs::has("redirect_dir") {
        return;
    }
    let scene = loaded();
    scene.mkdir("root");
    scene.run("mount --name box -o redirect_dir=on web:1 root").succeeds();
    fs::rename(scene.path("root/usr"), scene.path("root/moved")).unwrap();
    let rows = scene.run("blame --json /moved/bin/app box").succeeds().json();
    assert_eq!([&rows[0]["layer"], &rows[0]["size"]], [4, 9]);
}

#[test]
fn layer_that_starts_anew_hides_all_below() {
    let scene = Scene::new();
    let old = layer().file("a", "1");
    scene.save("image.tar", &image("anew:1").layer(&old).layer(&layer().opaque("").file("b", "")));
    scene.run("load image.tar").succeeds();
    let rows = scene.run("blame --json a anew:1").succeeds().json();
    let told: Vec<_> = (0..2).map(|nr| (rows[nr]["layer"].clone(), rows[nr]["action"].clone())).collect();
    assert_eq!(told, [(json!(2), json!("hidden")), (json!(1), json!("added"))]);
}

#[test]
fn path_that_no_layer_has_is_named_with_its_neighbour() {
    loaded().run("blame /usr/bin/ap web:1").fails(1).stderr_is(
        "ovlctl: cannot trace /usr/bin/ap in 'web:1': there is no /usr/bin/ap\nhint: did you mean /usr/bin/app?",
    );
}
