//! What a container has changed: by contents and all metadata, whatever overlayfs made of it in the upper directory.

use std::fs::{self, Permissions};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, chown, symlink};

use rustix::fs::{XattrFlags, lsetxattr};
use serde_json::json;

use crate::support::{Layer, Scene, image, layer, needs};

fn base() -> Layer {
    layer()
        .dir("etc")
        .file("etc/hosts", "localhost")
        .file("etc/motd", "hello")
        .file("etc/passwd", "root")
        .dir("srv")
        .dir("srv/www")
        .file("srv/www/index", "<html>")
        .file("srv/www/style", "body")
        .symlink("etc/link", "motd")
}

/// A container named `box` over that, mounted on `root`.
fn mounted(options: &str) -> Scene {
    let scene = Scene::new();
    scene.mkdir("root");
    scene.save("image.tar", &image("web:1").layer(&base()).layer(&layer().file("etc/issue", "v1")));
    scene.run(&format!("mount --name box {options} image.tar root")).succeeds();
    scene
}

#[test]
fn what_was_done_is_told_as_docker_does() {
    let scene = mounted("");
    scene.run("diff box").succeeds().stdout_is("").stderr_is("");
    fs::write(scene.path("root/etc/new"), "x").unwrap();
    fs::write(scene.path("root/etc/hosts"), "localhosT").unwrap();
    fs::remove_file(scene.path("root/etc/motd")).unwrap();
    fs::remove_dir_all(scene.path("root/srv")).unwrap();
    fs::create_dir_all(scene.path("root/opt/app")).unwrap();
    fs::write(scene.path("root/opt/app/run"), "").unwrap();
    let expected = "
        C /etc
        C /etc/hosts
        D /etc/motd
        A /etc/new
        A /opt
        A /opt/app
        A /opt/app/run
        D /srv
        ";
    scene.run("diff box").succeeds().stdout_is(expected);
    scene.run("umount root").succeeds();
    scene.run("diff box").succeeds().stdout_is(expected);
    scene.run("diff -q box").succeeds().stdout_is(
        "
        /etc
        /etc/hosts
        /etc/motd
        /etc/new
        /opt
        /opt/app
        /opt/app/run
        /srv
        ",
    );
}

#[test]
fn copying_up_alone_changes_nothing() {
    let scene = mounted("");
    let file = scene.path("root/srv/www/index");
    fs::set_permissions(&file, Permissions::from_mode(0o600)).unwrap();
    scene.run("diff box").succeeds().stdout_is("C /srv\nC /srv/www\nC /srv/www/index");
    fs::set_permissions(&file, Permissions::from_mode(0o644)).unwrap();
    scene.run("diff box").succeeds().stdout_is("");
}

#[test]
fn each_bit_of_metadata_counts() {
    let scene = mounted("");
    let root = |name: &str| scene.path("root").join(name);
    let xattr = |name: &str, key: &str| {
        lsetxattr(root(name), key, b"v", XattrFlags::empty()).unwrap();
    };
    chown(root("etc/hosts"), Some(1), None).unwrap();
    xattr("etc/issue", "user.k");
    fs::remove_file(root("etc/link")).unwrap();
    symlink("hosts", root("etc/link")).unwrap();
    xattr("srv", "trusted.k");
    fs::set_permissions(scene.path("root"), Permissions::from_mode(0o700)).unwrap();
    let file = fs::File::open(root("etc/passwd")).unwrap();
    file.set_modified(std::time::UNIX_EPOCH).unwrap();
    let file = fs::File::open(root("srv/www/style")).unwrap();
    file.set_modified(std::time::UNIX_EPOCH + std::time::Duration::new(0, 1)).unwrap();
    fs::remove_file(root("etc/motd")).unwrap();
    fs::create_dir(root("etc/motd")).unwrap();
    let rows = scene.run("diff --json box").succeeds().json();
    let changed = |path: &str, kind: &str, size: Option<u64>, what: &[&str]| json!({"kind": "changed", "path": path, "type": kind, "size": size, "what": what});
    let expected = json!([
        changed("/", "directory", None, &["mode"]),
        changed("/etc", "directory", None, &["time"]),
        changed("/etc/hosts", "file", Some(9), &["owner"]),
        changed("/etc/issue", "file", Some(2), &["xattrs"]),
        changed("/etc/link", "symlink", None, &["target", "time"]),
        changed("/etc/motd", "directory", None, &["type"]),
        changed("/srv", "directory", None, &["xattrs"]),
        changed("/srv/www", "directory", None, &[]),
        changed("/srv/www/style", "file", Some(4), &["time"]),
    ]);
    assert_eq!(rows, expected);
}

#[test]
fn directory_made_anew_is_compared_with_the_old_one() {
    let scene = mounted("");
    fs::remove_dir_all(scene.path("root/srv/www")).unwrap();
    fs::create_dir(scene.path("root/srv/www")).unwrap();
    fs::write(scene.path("root/srv/www/index"), "<HTML>").unwrap();
    scene.run("umount root").succeeds();
    let words = "
        C /srv
        C /srv/www
        C /srv/www/index
        D /srv/www/style
        ";
    scene.run("diff box").succeeds().stdout_is(words);
}

#[test]
fn renamed_directory_is_followed_to_what_it_was() {
    if !needs::has("redirect_dir") {
        return;
    }
    let scene = mounted("-o redirect_dir=on");
    fs::rename(scene.path("root/srv/www"), scene.path("root/etc/pages")).unwrap();
    fs::rename(scene.path("root/srv"), scene.path("root/service")).unwrap();
    fs::write(scene.path("root/etc/pages/new"), "x").unwrap();
    let words = "
        C /etc
        A /etc/pages
        A /etc/pages/index
        A /etc/pages/new
        A /etc/pages/style
        A /service
        D /srv
        ";
    scene.run("diff box").succeeds().stdout_is(words);
    fs::rename(scene.path("root/service"), scene.path("root/srv")).unwrap();
    fs::remove_file(scene.path("root/etc/pages/new")).unwrap();
    fs::rename(scene.path("root/etc/pages"), scene.path("root/srv/www")).unwrap();
    scene.run("diff box").succeeds().stdout_is("C /etc\nC /srv\nC /srv/www");
    let rows = scene.run("diff --json box").succeeds().json();
    assert_eq!(rows[2]["what"], json!(["time"]));
}

#[test]
fn file_of_which_only_the_metadata_were_copied_has_its_old_contents() {
    if !needs::has("metacopy") {
        return;
    }
    let scene = mounted("-o metacopy=on");
    fs::set_permissions(scene.path("root/etc/hosts"), Permissions::from_mode(0o600)).unwrap();
    fs::set_permissions(scene.path("root/etc/issue"), Permissions::from_mode(0o600)).unwrap();
    fs::rename(scene.path("root/etc/issue"), scene.path("root/srv/issue")).unwrap();
    let rows = scene.run("diff --json box").succeeds().json();
    let mode = json!({"kind": "changed", "path": "/etc/hosts", "type": "file", "size": 9, "what": ["mode"]});
    assert_eq!(rows[1], mode);
    scene.run("diff box").succeeds().stdout_is(
        "
        C /etc
        C /etc/hosts
        D /etc/issue
        C /srv
        A /srv/issue
        ",
    );
}

#[test]
fn changes_in_memory_are_found_in_the_mount() {
    let scene = mounted("--upper tmpfs");
    fs::write(scene.path("root/etc/hosts"), "x").unwrap();
    fs::remove_file(scene.path("root/etc/motd")).unwrap();
    scene.tmpfs("root/srv", "64k");
    fs::write(scene.path("root/srv/not-ours"), "x").unwrap();
    let said = scene.run("diff box").succeeds().stdout;
    for line in ["C /etc", "C /etc/hosts", "D /etc/motd"] {
        assert!(said.lines().any(|said| said == line), "{line}: {said}");
    }
    assert!(!said.contains("not-ours"), "{said}");
    rustix::mount::unmount(scene.path("root/srv"), rustix::mount::UnmountFlags::empty()).unwrap();
    scene.run("diff box").succeeds().stdout_is("C /etc\nC /etc/hosts\nD /etc/motd");
}

#[test]
fn sums_are_by_directory_of_the_root() {
    let scene = mounted("");
    fs::write(scene.path("root/etc/a"), "12345").unwrap();
    fs::write(scene.path("root/etc/hosts"), "123").unwrap();
    fs::remove_file(scene.path("root/srv/www/index")).unwrap();
    scene.run("diff --stat box").succeeds().stdout_is(
        "
        PATH   ADDED  CHANGED  DELETED  SIZE
        /etc   1      1        0        8 B
        /srv   0      0        1        0 B
        total  1      1        1        8 B
        ",
    );
    let sums = scene.run("diff --stat --json box").succeeds().json();
    assert_eq!(sums[2], json!({"path": null, "added": 1, "changed": 1, "deleted": 1, "size": 8}));
}

#[test]
fn names_that_are_no_text_are_kept_in_json_and_escaped_elsewhere() {
    let scene = mounted("");
    let name = std::ffi::OsStr::from_bytes(b"a\xff\nb");
    fs::write(scene.path("root").join(name), "").unwrap();
    scene.run("diff box").succeeds().stdout_is(r"A /a\xff\nb");
    let rows = scene.run("diff --json box").succeeds().json();
    assert_eq!(rows[0]["path"], json!(b"/a\xff\nb"));
}

#[test]
fn tree_may_be_as_deep_as_a_path_is_long() {
    let scene = mounted("");
    fs::create_dir_all(scene.path("root").join("x/".repeat(1800))).unwrap();
    assert_eq!(scene.run("diff box").succeeds().stdout.lines().count(), 1800);
    assert!(scene.run_bytes("diff --tar box").len() > 1800 * 512);
}

#[test]
fn container_that_is_not_there_is_named() {
    let scene = mounted("");
    scene
        .run("diff bax")
        .fails(3)
        .stderr_is("ovlctl: no container 'bax' in [STORE]\nhint: did you mean 'box'?");
}
