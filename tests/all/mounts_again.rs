//! Containers that are mounted again, shown twice or removed while somebody may still use them: no change is lost.

use std::fs;

use rustix::mount::mount_bind;

use crate::support::{Scene, image, layer};

/// A scene with the image `web:1` loaded, and targets `root` and `other`.
fn loaded() -> Scene {
    let scene = Scene::new();
    let base = layer().dir("d").file("d/old", "1").file("f", "2");
    scene.save("web.tar", &image("web:1").layer(&base).layer(&layer().opaque("d").file("d/new", "3")));
    scene.run("load web.tar").succeeds();
    scene.mkdir("root");
    scene.mkdir("other");
    scene
}

#[test]
fn refused_upper_directory_goes_on_working_where_it_is_mounted() {
    let scene = loaded();
    scene.mkdir("changes");
    scene.run("mount --upper changes web:1 root").succeeds();
    scene.run("mount --upper changes web:1 other").fails(4);
    fs::write(scene.path("root/f"), "changed").unwrap();
    fs::remove_file(scene.path("root/d/new")).unwrap();
    scene.shows_at("root", "d 0755 d\nf 0644 f  changed");
}

#[test]
fn container_that_another_mount_shows_outlives_its_unmount() {
    let scene = loaded();
    scene.run("mount --rm --name box web:1 root").succeeds();
    mount_bind(scene.path("root"), scene.path("other")).unwrap();
    scene.run("umount root").succeeds();
    fs::write(scene.path("other/f"), "changed").unwrap();
    scene.run("umount other").succeeds().stderr_is("removed 'box' and its changes");
}

#[test]
fn container_that_was_unmounted_lazily_is_not_removed_under_its_users() {
    let scene = loaded();
    scene.run("mount --name box web:1 root").succeeds();
    let open = fs::File::create(scene.path("root/open")).unwrap();
    scene.run("umount --lazy root").succeeds();
    scene.run("rm box").fails(4).stderr_has("cannot remove 'box': ");
    drop(open);
    scene.run("rm box").succeeds();
}
