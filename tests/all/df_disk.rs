//! What the store takes on the disk, to the block as `du` has it, and what each of its folders is for.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::support::{Image, Scene, image, layer, needs};

/// Layers of some 10,000, 5,000 and 4 bytes; the largest is shared.
fn web() -> Image {
    image("web:1").layer(&base()).layer(&layer().file("b", &"b".repeat(5000)))
}

fn api() -> Image {
    let history = serde_json::json!([{"created_by": "COPY a /"}, {"created_by": "RUN make\tit"}]);
    image("api:1").layer(&base()).layer(&layer().file("c", "cccc")).config("history", history)
}

fn base() -> crate::support::Layer {
    layer().file("a", &"a".repeat(10_000))
}

fn load(scene: &Scene) {
    for image in [web(), api()] {
        scene.save("image.tar", &image);
        scene.run("load image.tar").succeeds();
    }
    scene.mkdir("root");
}

/// A scene in memory, where a file takes whole pages: of the size that the tables below count in.
fn in_memory() -> Option<Scene> {
    let scene = Scene::in_memory();
    let page = rustix::fs::statvfs(scene.path("")).expect("it is mounted").f_bsize;
    if page != 4096 {
        needs::skipped(&format!("a page has {page} bytes here"));
    }
    (page == 4096).then_some(scene)
}

/// What the store takes as `du` has it, which does not look into mounts either.
fn du(scene: &Scene) -> u64 {
    let du = Command::new("du").args(["-sx", "--block-size=1"]).arg(scene.store()).output().expect("du");
    let text = String::from_utf8(du.stdout).expect("a number");
    text.split_whitespace().next().and_then(|bytes| bytes.parse().ok()).expect("a number")
}

/// What `df --disk` says of all, which `du` says too.
#[track_caller]
pub(crate) fn total(scene: &Scene) -> Value {
    // A filesystem may find room for what was written a moment ago while both look.
    for _ in 0..20 {
        let before = du(scene);
        let report = scene.run("df --disk --json").succeeds().json();
        if before == du(scene) {
            assert_eq!(report["total"]["size"], before, "{report:#}");
            assert_eq!(report["measured"], "disk");
            return report["total"].clone();
        }
    }
    panic!("the store never stood still");
}

#[test]
fn disk_is_what_du_says_as_files_come_and_go() {
    let scene = Scene::new();
    load(&scene);
    total(&scene);
    scene.run("mount --name box web:1 root").succeeds();
    scene.run("mount --name two web:1").succeeds();
    fs::write(scene.path("root/new"), "n".repeat(100_000)).unwrap();
    fs::hard_link(scene.path("root/new"), scene.path("root/again")).unwrap();
    symlink("nowhere", scene.path("root/link")).unwrap();
    fs::create_dir_all(scene.path("root/d/e/f")).unwrap();
    fs::File::create(scene.path("root/holes")).unwrap().set_len(1 << 30).unwrap();
    fs::remove_file(scene.path("root/a")).unwrap();
    total(&scene);
    scene.run("umount box").succeeds();
    scene.run("rm box").succeeds();
    scene.swept();
    total(&scene);
}

#[test]
fn prune_frees_as_much_of_the_disk_as_was_said() {
    let scene = Scene::new();
    load(&scene);
    scene.save("newer.tar", &image("api:1").layer(&layer().file("d", "d")));
    scene.run("load newer.tar").succeeds();
    // A layer of no image, as a killed removal leaves it, and a record of no container.
    let gone = image("").layer(&layer().file("z", "zz"));
    scene.save("gone.tar", &gone);
    scene.run("load gone.tar").succeeds();
    fs::remove_dir_all(scene.store().join("images").join(gone.id().hex())).unwrap();
    scene.run("mount --name box api:1 root").succeeds();
    let record = fs::read_to_string(scene.store().join("containers/box.json")).unwrap();
    let other =
        record.replace("\"box\"", "\"lost\"").replace("\"id\": \"", "\"id\": \"f").replacen("f", "", 0);
    fs::write(scene.store().join("containers/lost.json"), other).unwrap();
    let before = total(&scene);
    assert!(before["leftover"].as_u64() > Some(0), "{before}");
    scene.run("prune --wait").succeeds();
    let after = total(&scene);
    let number = |total: &Value, key: &str| total[key].as_u64().expect("a number");
    assert_eq!(number(&before, "size") - number(&after, "size"), number(&before, "prunable"));
    assert_eq!(number(&after, "prunable"), 0);
}

#[test]
fn layers_images_and_containers_take_their_files_folders_records_and_recipes() {
    let Some(scene) = in_memory() else { return };
    load(&scene);
    scene.run("mount --name box web:1 root").succeeds();
    fs::write(scene.path("root/new"), "n".repeat(10_000)).unwrap();
    scene.run("df --disk").succeeds().stderr_is("").stdout_is(
        "
        KIND       NAME                             SIZE       SHARED    UNIQUE    PRUNABLE
        image      api:1                            52.0 KiB   24.0 KiB  28.0 KiB  0 B
        image      web:1                            56.0 KiB   24.0 KiB  32.0 KiB  0 B
        container  box                              24.0 KiB   -         24.0 KiB  0 B
        store      folders, names, locks, reserve   524.0 KiB  -         -         0 B
        total      2 images, 3 layers, 1 container  632.0 KiB  24.0 KiB  84.0 KiB  0 B
        ",
    );
    total(&scene);
}

#[test]
fn every_folder_is_explained_and_together_they_are_all() {
    let Some(scene) = in_memory() else { return };
    load(&scene);
    scene.write("store/note", b"mine");
    scene.run("df --explain").succeeds().stderr_is("").stdout_is(
        "
        FOLDER      DISK       WHAT FOR
        .           0 B        the store: for root alone, for layers have setuid files
        store.json  4.0 KiB    that this is a store, and its format
        boot        4.0 KiB    in which boot of the machine it was made or recovered last
        overlay2    44.0 KiB   layers, containers and snapshots, a folder each, laid out as Docker does
        overlay2/l  0 B        short names of layers, so that many fit the options of a mount
        layers      12.0 KiB   a record of each layer
        recipes     12.0 KiB   how each layer's tar is made again, byte for byte: for `check --deep`
        images      16.0 KiB   a folder for each image: its record, and its config as it came
        names.json  4.0 KiB    which name means which image
        containers  0 B        a record of each container
        snapshots   0 B        a record of each snapshot
        empty       0 B        an empty folder: what an image without layers shows
        staging     0 B        what is being made, and what was removed and is being deleted
        locks       0 B        a file for whatever a command works on
        reserve     512.0 KiB  room that is given up where there is none left to remove anything
        note        4.0 KiB    nothing of this store's
        total       612.0 KiB
        ",
    );
    let folders = scene.run("df --explain --json").succeeds().json();
    let bytes = folders.as_array().unwrap().iter().map(|folder| folder["bytes"].as_u64().unwrap());
    assert_eq!(bytes.sum::<u64>(), du(&scene));
    fs::remove_file(scene.path("store/note")).unwrap();
}

#[test]
fn mount_points_of_what_was_run_are_the_store_s_own() {
    let scene = Scene::with("web.tar", &image("web:1.4").layer(&layer().file("a", "1")));
    scene.run("run --rm web:1.4 -- /none").fails(127);
    let said = scene.run("df --explain").succeeds().stdout;
    assert!(said.contains("\npoints ") && !said.contains("nothing of this store's"), "{said}");
}

/// What `df --explain` says of a place.
fn explained(scene: &Scene, place: &Path) -> String {
    let said = scene.run_args(&[Path::new("df"), Path::new("--explain"), place]).succeeds().stdout;
    // Both are random.
    let lines = said.lines().filter(|line| !line.starts_with("folder "));
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn folder_of_a_layer_is_told_whose_it_is_and_what_would_remove_it() {
    let Some(scene) = in_memory() else { return };
    load(&scene);
    let dir = |image: &Image, nr: usize| scene.store().join("overlay2").join(image.chain_ids()[nr].hex());
    let same = crate::support::tree::same;
    same(
        "a layer",
        &explained(&scene, &dir(&api(), 1)),
        "
        disk       12.0 KiB
        what       layer 2 of 2 of api:1: RUN make it
        needed by  image api:1
        goes by    `ovlctl rm api:1`
        ",
    );
    scene.run("mount --name box web:1 root").succeeds();
    scene.run("tag web:1 www").succeeds();
    let root = scene.path("root").display().to_string();
    let shared = explained(&scene, &dir(&web(), 0)).replace(&root, "ROOT").replace("[DIR]/root", "ROOT");
    same(
        "a layer in use",
        &shared,
        "
        disk       16.0 KiB
        what       layer 1 of 2 of api:1: COPY a /
        needed by  image api:1
        needed by  image web:1
        needed by  container 'box', mounted on ROOT
        goes by    `ovlctl umount ROOT`, then `ovlctl rm box api:1 web:1 www:latest`
        ",
    );
    scene.run("umount box").succeeds();
    let id = scene.run("inspect box").succeeds().json()[0]["Id"].as_str().unwrap().to_owned();
    let container = "
        disk     4.0 KiB
        what     the files of container 'box' over web:1
        goes by  `ovlctl rm box`
        ";
    let short = fs::read_to_string(scene.store().join("overlay2").join(&id).join("link")).unwrap();
    same(
        "by a short name",
        &explained(&scene, Path::new(&format!("overlay2/l/{short}"))),
        &container.replace("4.0 KiB", "0 B"),
    );
    let by_id = scene.run(&format!("df --explain --json {}", &id[..12])).succeeds().json();
    assert_eq!(by_id["path"], format!("overlay2/{id}"));
    assert_eq!(by_id["what"], "container 'box' over web:1");
    assert_eq!(
        (&by_id["why"], &by_id["goes"]),
        (&serde_json::json!([]), &serde_json::json!("`ovlctl rm box`"))
    );
    // What does what it says to a layer is a container, too.
    scene.run("rm box web:1 www").succeeds();
    scene.run(&format!("df --explain {}", dir(&web(), 1).display())).fails(3).stderr_is(&format!(
        "ovlctl: cannot explain [STORE]/overlay2/{}: nothing in [STORE] is called so\nhint: `ovlctl df --explain` lists its folders",
        web().chain_ids()[1].hex()
    ));
}

#[test]
fn what_is_made_and_what_is_left_is_told() {
    let scene = Scene::in_memory();
    load(&scene);
    fs::create_dir_all(scene.store().join("overlay2/mine/diff")).unwrap();
    for (place, what) in [
        ("staging", "what is being made, and what was removed and is being deleted"),
        ("overlay2/mine", "nothing of this store's"),
        ("overlay2/mine/diff", "the files of nothing of this store's"),
        ("names.json", "which name means which image"),
    ] {
        let said = explained(&scene, Path::new(place));
        assert!(
            said.lines().any(|line| line.strip_prefix("what").is_some_and(|w| w.trim() == what)),
            "{said}"
        );
    }
    fs::remove_dir_all(scene.store().join("overlay2/mine")).unwrap();
}
