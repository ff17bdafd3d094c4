//! `check`: what is wrong in a store is named, and what can be is put right. (Every scene ends with `check --deep`, too.)

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;

use crate::support::{Image, Scene, image, layer};

fn web() -> Image {
    let base = layer()
        .dir("etc")
        .file("etc/passwd", "root:x:0:0")
        .file("etc/hosts", "localhost")
        .symlink("bin", "usr/bin");
    image("web:1").layer(&base).layer(&layer().dir("tmp").file("tmp/note", "2").file("gone", "3"))
}

fn loaded() -> Scene {
    Scene::with("web.tar", &web())
}

fn dir(scene: &Scene, nr: usize) -> PathBuf {
    scene.store().join("overlay2").join(web().chain_ids()[nr].hex())
}

fn diff(scene: &Scene, nr: usize) -> PathBuf {
    dir(scene, nr).join("diff")
}

/// What `check` prints, without the layer's id and the spaces between columns.
fn found(scene: &Scene, words: &str) -> Vec<String> {
    let said = scene.run(words).fails(6).stdout;
    let rows = said.lines().skip(1).map(|row| {
        let row = row.split_whitespace().collect::<Vec<_>>().join(" ");
        web()
            .chain_ids()
            .iter()
            .enumerate()
            .fold(row, |row, (nr, id)| row.replace(&id.short(), &nr.to_string()))
    });
    rows.collect()
}

/// Heals the store, which else could not end as every scene's does.
fn healed(scene: &Scene) {
    scene.run("check --deep --repair --from web.tar").succeeds();
    scene.run("check --deep").succeeds().stdout_is("");
}

#[test]
fn a_sound_store_has_nothing_to_tell() {
    let scene = loaded();
    scene.run_synced("load web.tar").succeeds();
    let said = scene.run("check --deep").succeeds().stdout_is("");
    said.stderr_is("2 layers, 2 proved, 1 image, 0 containers: all is well");
    assert_eq!(scene.run("check --json").succeeds().json(), serde_json::json!([]));
}

#[test]
fn a_store_that_is_not_there_is_no_trouble() {
    let scene = Scene::new();
    scene.run("check").succeeds().stderr_is("0 layers, 0 images, 0 containers: all is well");
    assert!(!scene.store().exists(), "looking makes no store");
}

#[test]
fn every_difference_of_a_layer_is_named_and_healed_from_the_archive() {
    let scene = loaded();
    let (base, top) = (diff(&scene, 0), diff(&scene, 1));
    fs::write(base.join("etc/passwd"), "root::0:0:").expect("write");
    fs::set_permissions(base.join("etc/hosts"), fs::Permissions::from_mode(0o666)).expect("chmod");
    fs::remove_file(base.join("bin")).expect("rm");
    symlink("elsewhere", base.join("bin")).expect("ln");
    fs::write(base.join("more"), "").expect("write");
    std::os::unix::fs::chown(top.join("tmp"), Some(7), Some(8)).expect("chown");
    fs::remove_file(top.join("gone")).expect("rm");

    scene.run("check").succeeds();
    let found = found(&scene, "check --deep");
    for wanted in [
        "layer 0 etc/passwd has other contents",
        "layer 0 etc/hosts has mode 0666, and had 0644",
        "layer 0 bin has target 'elsewhere', and had 'usr/bin'",
        "layer 0 more is not in the layer",
        "layer 1 tmp has owner 7:8, and had 0:0",
        "layer 1 gone is missing",
    ] {
        assert!(found.iter().any(|line| line == wanted), "'{wanted}' is not in {found:#?}");
    }
    let times = |line: &&String| line.contains(" has time ");
    assert!(found.iter().filter(times).count() >= 3, "{found:#?}");
    scene.run("check --deep --repair").fails(6);
    healed(&scene);
    scene.mkdir("root");
    scene.run("mount web:1 root").succeeds();
    assert_eq!(fs::read_to_string(scene.path("root/etc/passwd")).expect("read"), "root:x:0:0");
}

#[test]
fn a_single_bit_is_found() {
    let scene = Scene::new();
    let text: String = (0..400_000).map(|n| format!("{n:07}\n")).collect();
    let image = image("big:1").layer(&layer().file("small", "x").file("large", &text));
    scene.save("web.tar", &image);
    scene.run("load web.tar").succeeds();
    let path = scene.store().join("overlay2").join(image.chain_ids()[0].hex()).join("diff/large");
    let (times, mut spoilt) =
        (fs::metadata(&path).expect("stat").modified().expect("time"), text.into_bytes());
    spoilt[2_345_678] ^= 1;
    fs::write(&path, spoilt).expect("write");
    fs::File::options().write(true).open(&path).expect("open").set_modified(times).expect("utimes");
    let said = scene.run("check --deep --no-headings").fails(6).stdout;
    assert!(said.contains("large  has other contents"), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
    healed(&scene);
}

#[test]
fn only_the_damaged_layer_is_unpacked_again() {
    let scene = loaded();
    fs::write(diff(&scene, 1).join("gone"), "other").expect("write");
    let inode = |nr| std::os::unix::fs::MetadataExt::ino(&fs::metadata(diff(&scene, nr)).expect("stat"));
    let before = [inode(0), inode(1)];
    healed(&scene);
    assert_eq!(before[0], inode(0));
    assert_ne!(before[1], inode(1));
}

#[test]
fn what_is_mounted_is_not_healed_beneath_the_mount() {
    let scene = loaded();
    scene.mkdir("root");
    scene.run("mount --name box web:1 root").succeeds();
    fs::write(diff(&scene, 1).join("gone"), "other").expect("write");
    let said = scene.run("check --deep --repair --from web.tar").fails(4);
    said.stderr_has("cannot repair web.tar: in use by mounted container 'box'");
    scene.run("umount root").succeeds();
    healed(&scene);
}

#[test]
fn links_and_lower_files_come_from_records() {
    let scene = loaded();
    scene.mkdir("root");
    scene.run("mount --name box web:1 root").succeeds();
    fs::write(scene.path("root/mine"), "mine").expect("write");
    scene.run("umount root").succeeds();

    let links = scene.store().join("overlay2/l");
    for link in fs::read_dir(&links).expect("readdir") {
        fs::remove_file(link.expect("readdir").path()).expect("rm");
    }
    symlink("../nowhere/diff", links.join("A".repeat(26))).expect("ln");
    fs::write(dir(&scene, 1).join("lower"), "l/WRONG").expect("write");
    fs::remove_dir(dir(&scene, 1).join("work")).expect("rmdir");
    let found = found(&scene, "check");
    assert_eq!(found.iter().filter(|line| line.contains("does not lead to it")).count(), 3, "{found:#?}");
    for wanted in
        ["'lower' does not list the layers that it stands on", "'work' is missing", "leads to nothing"]
    {
        assert!(found.iter().any(|line| line.contains(wanted)), "'{wanted}' is not in {found:#?}");
    }
    scene.run("check --repair").succeeds();
    scene.run("check").succeeds().stdout_is("");
    scene.run("mount box root").succeeds();
    assert_eq!(fs::read_to_string(scene.path("root/mine")).expect("read"), "mine");
    assert_eq!(fs::read_to_string(scene.path("root/etc/hosts")).expect("read"), "localhost");
}

#[test]
fn a_missing_layer_is_named_and_comes_back_from_the_archive() {
    let scene = loaded();
    fs::remove_dir_all(dir(&scene, 1)).expect("rm -r");
    let found = found(&scene, "check");
    assert!(found.iter().any(|line| line.contains("layer 2 of 2 is missing")), "{found:#?}");
    healed(&scene);
    scene.mkdir("root");
    scene.run("mount web:1 root").succeeds();
}

#[test]
fn damaged_records_are_named() {
    let scene = loaded();
    let record = scene.store().join("layers").join(web().chain_ids()[0].hex() + ".json");
    let sound = fs::read(&record).expect("read");
    fs::write(&record, "{").expect("write");
    let said = found(&scene, "check").join("\n");
    assert!(said.contains("layer 0 - its record cannot be read"), "{said}");
    let other = scene.store().join("layers").join(web().chain_ids()[1].hex() + ".json");
    fs::copy(other, &record).expect("copy");
    let said = found(&scene, "check").join("\n");
    assert!(said.contains("layer 0 - its record cannot be read") && said.contains("the record of"), "{said}");
    fs::write(&record, sound).expect("write");
}

#[test]
fn changes_of_a_container_without_a_record_are_told_and_kept() {
    let scene = loaded();
    scene.mkdir("root");
    scene.run("mount --name box web:1 root").succeeds();
    scene.run("umount root").succeeds();
    let record = scene.store().join("containers/box.json");
    let sound = fs::read(&record).expect("read");
    fs::remove_file(&record).expect("rm");
    let before = scene.kept_layers();
    let said = scene.run("check --repair").fails(6);
    assert!(said.stdout.contains("belongs to no layer and no container"), "{}", said.stdout);
    assert_eq!(scene.kept_layers(), before);
    fs::write(&record, sound).expect("write");
}
