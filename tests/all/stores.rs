//! Several stores on one machine: the same image has the same id in each, and what one has mounted is nothing to another.

use std::fs;
use std::process::Command;

use crate::support::{Image, Scene, image, layer, needs};

fn web() -> Image {
    image("web:1").layer(&layer().file("a", "1")).layer(&layer().file("b", "2"))
}

const TREE: &str = "
    f 0644 a  1
    f 0644 b  2
    ";

/// A scene with `web:1` in its own store and in the one in `other`.
fn loaded() -> Scene {
    let scene = Scene::with("web.tar", &web());
    scene.elsewhere("load web.tar").succeeds();
    scene.mkdir("root");
    scene
}

#[test]
fn image_that_another_store_has_mounted_is_not_this_store_s_to_unmount_or_to_keep() {
    for method in needs::methods(["fd", "path", "procfd", "links"]) {
        let scene = loaded();
        scene.elsewhere(&format!("mount -r --method {method} web:1 root")).succeeds();
        scene.run("umount --all").succeeds().stdout_is("").stderr_is("");
        scene.run("mounts --no-headings").succeeds().stdout_is("");
        scene.elsewhere("mounts -q").succeeds().stdout_is("[DIR]/root");
        scene.elsewhere("rm web:1").fails(4).stderr_has("cannot remove 'web:1': mounted on [DIR]/root");
        scene.run("rm web:1").succeeds();
        assert_eq!(scene.kept_layers(), Vec::<String>::new(), "{method}");
        scene.shows_at("root", TREE);
        scene.elsewhere("umount --all").succeeds().stdout_is("[DIR]/root");
    }
}

#[test]
fn container_of_a_copied_store_is_another_container() {
    let scene = loaded();
    scene.run("mount --name box web:1 root").succeeds();
    fs::remove_dir_all(scene.path("other")).unwrap();
    let copied = Command::new("cp").arg("-a").args([scene.store(), scene.path("other")]).status();
    assert!(copied.unwrap().success());
    scene.elsewhere("mounts --no-headings").succeeds().stdout_is("box  web:1  2  -  -");
    scene.elsewhere("umount --all").succeeds().stdout_is("");
    scene.elsewhere("rm box").succeeds().stdout_is("removed container box");
    scene.shows_at("root", TREE);
}

#[test]
fn store_that_was_moved_still_knows_its_mounts() {
    let scene = loaded();
    scene.elsewhere("mount -r web:1 root").succeeds();
    fs::rename(scene.path("other"), scene.path("moved")).unwrap();
    fs::create_dir(scene.path("other")).unwrap();
    let mut umount = Command::new(env!("CARGO_BIN_EXE_ovlctl"));
    umount.arg("--root").arg(scene.path("moved")).args(["umount", "--all"]).env_clear();
    scene.outcome(&mut umount).succeeds().stdout_is("[DIR]/root");
}

/// Mounts `web:1` of a store as ovlctl did when a mount's source did not say whose it is.
fn mount_as_before(scene: &Scene, store: &str, lowerdir: &str) {
    let script = format!(
        "cd {}/overlay2 && mount -t overlay -o ro,lowerdir={lowerdir} ovlctl:{} ../../root",
        scene.path(store).display(),
        web().id().hex()
    );
    let mounted = Command::new("sh").args(["-c", &script]).output().expect("there is a shell");
    assert!(mounted.status.success(), "{}", String::from_utf8_lossy(&mounted.stderr));
}

#[test]
fn mount_made_before_sources_named_their_store_is_known_by_its_layers() {
    for named in [false, true] {
        let scene = loaded();
        let short = |store: &str, nr: usize| {
            let layer = scene.path(store).join("overlay2").join(web().chain_ids()[nr].hex());
            match named {
                true => format!("l/{}", fs::read_to_string(layer.join("link")).unwrap()),
                false => layer.join("diff").display().to_string(),
            }
        };
        mount_as_before(&scene, "other", &format!("{}:{}", short("other", 1), short("other", 0)));
        scene.run("umount --all").succeeds().stdout_is("");
        scene.run("rm web:1").succeeds();
        scene.elsewhere("rm web:1").fails(4).stderr_has("mounted on [DIR]/root");
        scene.elsewhere("umount --all").succeeds().stdout_is("[DIR]/root");
        scene.run("load web.tar").succeeds();
        mount_as_before(&scene, "store", &format!("{}:{}", short("store", 1), short("store", 0)));
        scene.run("umount --all").succeeds().stdout_is("[DIR]/root");
    }
}
