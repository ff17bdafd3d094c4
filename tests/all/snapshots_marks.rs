//! What overlayfs marks in an upper directory, and what of it holds when that lies below another one.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;

use rustix::fs::{XattrFlags, lsetxattr};

use crate::snapshots::{IMAGE, change, mounted, shows};
use crate::support::{Scene, image, layer, needs};

#[test]
fn renames_and_metadata_copies_are_what_they_were() {
    if !needs::has("metacopy") {
        return;
    }
    let scene = mounted("-o redirect_dir=on,metacopy=on");
    let root = |name: &str| scene.path("root").join(name);
    fs::rename(root("srv"), root("web")).unwrap();
    fs::set_permissions(root("etc/hosts"), Permissions::from_mode(0o600)).unwrap();
    fs::remove_file(root("etc/motd")).unwrap();
    fs::create_dir(root("etc/motd")).unwrap();
    let before = scene.tree("root");
    scene.run("umount root").succeeds();
    let diff = scene.run("diff box").succeeds().stdout;
    scene.run("snapshot box").succeeds();
    assert_eq!(scene.run("diff box").succeeds().stdout, diff);
    scene.run("mount box root").succeeds();
    scene.shows_at("root", &before);
    // Moved once more, and now with its contents.
    fs::rename(root("web"), root("etc/web")).unwrap();
    fs::write(root("etc/hosts"), "127.0.0.1").unwrap();
    let after = scene.tree("root");
    scene.run("umount root").succeeds();
    scene.run("snapshot box").succeeds();
    scene.run("branch box new").succeeds();
    shows(&scene, "new", &after);
    shows(&scene, "box@1", &before);
    scene.run("reset box 1").succeeds();
    shows(&scene, "box", &before);
}

/// With an index the kernel knows of a file that was changed under one of its names what its other names mean. Over another upper
/// directory it says nothing, and shows the old file under these.
#[test]
fn names_that_only_an_index_joins_keep_a_container_from_being_frozen() {
    let scene = Scene::new();
    for dir in ["root", "other"] {
        scene.mkdir(dir);
    }
    scene.save("web.tar", &image("web:1").layer(&layer().file("a", "old").hardlink("b", "a")));
    scene.run("mount --name box -o index=on web.tar root").succeeds();
    scene.write("root/new", b"");
    scene.run("umount root").succeeds();
    // Nothing of what was linked has changed.
    scene.run("snapshot box").succeeds();
    change(&scene, |scene| scene.write("root/a", b"new"));
    scene.run("snapshot box").fails(5).stderr_is(
        "ovlctl: cannot make a snapshot of 'box': it has files that were changed under one of their names, and only its index \
         tells of the others\nhint: `ovlctl mount box TARGET`, then `find TARGET -xdev -type f -links +1 -exec touch -ac {} +`: \
         all their names are brought up then",
    );
    change(&scene, |scene| {
        let mut find = std::process::Command::new("sh");
        find.args(["-c", "find root -xdev -type f -links +1 -exec touch -ac {} +"])
            .current_dir(scene.path(""));
        scene.outcome(&mut find).succeeds();
    });
    scene.run("snapshot box").succeeds();
    shows(&scene, "box", "f 0644 a  new\nf 0644 b  new  = a\nf 0644 new");
}

#[test]
fn what_a_volatile_mount_may_not_have_written_is_not_frozen() {
    if !needs::has("volatile") {
        return;
    }
    let scene = mounted("-o volatile");
    scene.run("umount root").succeeds();
    scene
        .run("snapshot box")
        .fails(1)
        .stderr_has("was last mounted with 'volatile': its changes may be incomplete");
}

#[test]
fn the_root_keeps_what_it_has() {
    let scene = mounted("");
    fs::set_permissions(scene.path("root"), Permissions::from_mode(0o711)).unwrap();
    lsetxattr(scene.path("root"), "trusted.mine", b"v", XattrFlags::empty()).unwrap();
    let before = scene.tree("root");
    assert!(before.starts_with("d 0711 .  {trusted.mine=v}"), "{before}");
    scene.run("umount root").succeeds();
    // Nothing but the root was changed: a branch still needs a snapshot of that.
    scene.run("branch box new").succeeds().stderr_is("both stand on snapshot 'box@1'");
    shows(&scene, "box", &before);
    shows(&scene, "new", &before);
    scene.run("reset box --image").succeeds();
    shows(&scene, "box", IMAGE);
}

#[test]
fn an_image_without_layers_has_snapshots_too() {
    let scene = Scene::new();
    for dir in ["root", "other"] {
        scene.mkdir(dir);
    }
    scene.save("empty.tar", &image("empty:1"));
    scene.run("mount --name box empty.tar root").succeeds();
    scene.write("root/x", b"1");
    scene.run("umount root").succeeds();
    scene.run("snapshot box").succeeds();
    change(&scene, |scene| fs::remove_file(scene.path("root/x")).unwrap());
    shows(&scene, "box", "");
    shows(&scene, "box@1", "f 0644 x  1");
    scene.run("reset box").succeeds();
    shows(&scene, "box", "f 0644 x  1");
    scene.run("reset box --image").succeeds();
    shows(&scene, "box", "");
    scene.run("check").succeeds().stdout_is("");
}

#[test]
fn as_many_as_overlayfs_takes() {
    let scene = Scene::in_memory();
    for dir in ["root", "other"] {
        scene.mkdir(dir);
    }
    scene.save("deep.tar", &image("deep:1").layers(498));
    scene.run("mount --name box deep.tar root").succeeds();
    scene.run("umount root").succeeds();
    for _ in 0..2 {
        change(&scene, |scene| scene.write("root/mine", b"x"));
        scene.run("snapshot box").succeeds();
    }
    change(&scene, |scene| assert_eq!(scene.tree("root").lines().count(), 499));
    let said = scene.run("snapshot box").fails(5);
    said.stderr_has(
        "ovlctl: cannot make a snapshot of 'box': 500 layers lie below it, and overlayfs takes no more",
    );
    scene.run("reset box 1").succeeds();
    scene.run("snapshot box").succeeds();
}
