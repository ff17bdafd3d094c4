//! Upper directories, options, methods, numbers of layers, and overlays of plain directories.

use std::fs;
use std::path::Path;

use crate::mounts::{TREE, loaded};
use crate::support::{Scene, image, layer, needs};

/// The options that mountinfo shows of the mount at `target`: those of the mount, then those of the filesystem.
fn options(target: &Path) -> String {
    let table = fs::read_to_string("/proc/thread-self/mountinfo").expect("mountinfo");
    let line = table.lines().rfind(|line| line.split(' ').nth(4) == target.to_str()).expect("it is mounted");
    let (mount, filesystem) = line.split_once(" - ").expect("both halves");
    format!("{} {}", mount.split(' ').nth(5).unwrap_or(""), filesystem.split(' ').nth(2).unwrap_or(""))
}

#[test]
fn upper_directory_of_one_s_own() {
    let scene = loaded();
    scene.mkdir("changes");
    scene.run("mount --upper changes web:1 root").succeeds();
    fs::write(scene.path("root/new"), "n").unwrap();
    assert_eq!(fs::read_to_string(scene.path("changes/new")).unwrap(), "n");
    scene.run("umount root").succeeds();
    scene.run("mount --upper changes web:1 other").succeeds();
    scene.shows_at("other", "f 0644 a  1\nf 0644 b  2\nf 0644 new  n");
}

#[test]
fn upper_in_memory_is_gone_after_umount() {
    for upper in ["tmpfs", "tmpfs:8m"] {
        let scene = loaded();
        scene.run(&format!("mount --upper {upper} web:1 root")).succeeds();
        fs::write(scene.path("root/new"), "n").unwrap();
        scene.shows_at("root", "f 0644 a  1\nf 0644 b  2\nf 0644 new  n");
        scene.run("umount root").succeeds();
        assert_eq!(scene.mounts(), Vec::<std::path::PathBuf>::new());
        scene.run("mount web:1 root").succeeds();
        scene.shows_at("root", TREE);
    }
}

#[test]
fn upper_in_memory_has_the_size_that_was_asked_for() {
    let scene = loaded();
    scene.run("mount --upper tmpfs:1m web:1 root").succeeds();
    let fault = fs::write(scene.path("root/big"), vec![1; 2 << 20]).unwrap_err();
    assert_eq!(fault.kind(), std::io::ErrorKind::StorageFull);
}

#[test]
fn root_of_a_container_has_the_mode_of_its_image() {
    for upper in ["", "--upper tmpfs"] {
        let scene = Scene::new();
        let root = layer().dir("./").mode(0o1711).owner(5, 6).xattr("trusted.x", b"").file("a", "1");
        scene.save("x.tar", &image("x").layer(&root));
        scene.mkdir("root");
        scene.run(&format!("mount {upper} x.tar root")).succeeds();
        scene.shows_at("root", "d 1711 5:6 .\nf 0644 a  1");
    }
}

#[test]
fn upper_directory_that_is_in_use_is_refused() {
    let scene = loaded();
    let (upper, root, other) = (scene.mkdir("changes"), scene.path("root"), scene.path("other"));
    let mount = |target: &Path| {
        scene.run_args(&["mount", "--upper", upper.to_str().unwrap(), "web:1", target.to_str().unwrap()])
    };
    mount(&root).succeeds();
    mount(&other).fails(4).stderr_is(
        "
        ovlctl: cannot mount 'web:1' on [DIR]/other: [DIR]/changes is already the upper directory of [DIR]/root
        hint: ovlctl umount [DIR]/root
        ",
    );
    assert_eq!(scene.mounts(), [root]);
}

#[test]
fn upper_directory_in_use_is_known_whatever_its_name() {
    let scene = plain();
    for dir in ["other", "u,p\\d", "work", "unused"] {
        scene.mkdir(dir);
    }
    let mount = |work, target| {
        let said = ["--lower", "a", "--upper", "u,p\\d", "--work", work, target];
        let by = |method| [&["mount", "--method", method], &said[..]].concat();
        needs::methods(["fd", "path", "procfd"]).into_iter().map(by).collect::<Vec<_>>()
    };
    for (first, second) in mount("work", "root").iter().zip(mount("unused", "other")) {
        scene.run_args(first).succeeds();
        scene.run_args(&second).fails(4).stderr_has("is already the upper directory of [DIR]/root");
        scene.run("umount root").succeeds();
    }
}

#[test]
fn upper_directory_inside_a_lower_one_is_refused() {
    let scene = Scene::new();
    for dir in ["low/up", "low/work", "root"] {
        scene.mkdir(dir);
    }
    let said = scene.run("mount --lower low --upper low/up --work low/work root").fails(1);
    assert!(said.stderr.contains("low/up") && said.stderr.contains("inside"), "{}", said.stderr);
    assert_eq!(scene.mounts(), Vec::<std::path::PathBuf>::new());
}

#[test]
fn upper_directory_on_overlayfs_is_refused() {
    let scene = loaded();
    scene.run("mount web:1 root").succeeds();
    scene.mkdir("root/changes");
    let (upper, other) = (scene.path("root/changes"), scene.path("other"));
    scene
        .run_args(&["mount", "--upper", upper.to_str().unwrap(), "web:1", other.to_str().unwrap()])
        .fails(5)
        .stderr_is(
            "
            ovlctl: cannot mount 'web:1' on [DIR]/other: [DIR]/root/changes lies on overlayfs, which cannot hold an upper directory
            hint: give --upper a directory on ext4, xfs or btrfs
            ",
        );
}

#[test]
fn every_method_shows_the_same() {
    for method in needs::methods(["fd", "path", "procfd", "links"]) {
        let scene = loaded();
        scene.run(&format!("mount --method {method} web:1 root")).succeeds();
        fs::write(scene.path("root/new"), "n").unwrap();
        scene.shows_at("root", "f 0644 a  1\nf 0644 b  2\nf 0644 new  n");
        scene.run(&format!("mount --read-only --method {method} web:1 other")).succeeds();
        scene.shows_at("other", TREE);
    }
}

#[test]
fn options_that_guard_against_crafted_layers_are_explicit() {
    for method in needs::methods(["fd", "path", "procfd", "links"]) {
        let scene = loaded();
        scene.run(&format!("mount --method {method} web:1 root")).succeeds();
        let options = options(&scene.path("root"));
        assert!(options.contains("redirect_dir=nofollow"), "{options}");
        assert!(!options.contains("metacopy=on") && !options.contains("index=on"), "{options}");
    }
}

#[test]
fn options_reach_the_mount() {
    let scene = loaded();
    scene.run("mount -o nodev,nosuid -o noexec,index=on web:1 root").succeeds();
    let options = options(&scene.path("root"));
    for option in ["nodev", "nosuid", "noexec", "index=on"] {
        assert!(options.split([' ', ',']).any(|known| known == option), "{option} is not in {options}");
    }
}

#[test]
fn option_that_overlayfs_does_not_know_is_refused_by_name() {
    let scene = loaded();
    let said = scene.run("mount -o frobnicate=1 web:1 root");
    assert!(!matches!(said.code, Some(0) | None));
    said.fails(5).stderr_has("frobnicate");
    assert_eq!(scene.mounts(), Vec::<std::path::PathBuf>::new());
}

/// A scene with one image of `count` layers, `deep`.
fn deep(count: usize) -> Scene {
    let scene = Scene::with("deep.tar", &image("deep").layers(count));
    scene.mkdir("root");
    scene
}

/// Checks that images of these many layers show all of them, read-only and writable.
fn shows_all_of(counts: &[usize], method: &str) {
    if needs::has_method(method) {
        counts.iter().for_each(|&count| shows_all_by(method, count));
    }
}

fn shows_all_by(method: &str, count: usize) {
    let scene = deep(count);
    for access in ["--read-only", "--rm"] {
        scene.run(&format!("mount --method {method} {access} deep root")).succeeds();
        let mut lines: Vec<String> = (0..count).map(|nr| format!("f 0644 f{nr}  {nr}")).collect();
        lines.sort();
        scene.shows_at("root", &lines.join("\n"));
        scene.run("umount root").succeeds();
    }
}

#[test]
fn any_number_of_layers_by_fd() {
    shows_all_of(&[1, 2, 127, 128, 129, 139, 140, 500], "fd");
}

#[test]
fn any_number_of_layers_by_path() {
    shows_all_of(&[1, 2, 127, 128, 129, 139, 140, 500], "path");
}

#[test]
fn any_number_of_layers_by_procfd() {
    shows_all_of(&[1, 2, 127, 128, 129, 139, 140, 500], "procfd");
}

#[test]
fn layers_by_links_as_far_as_the_page_goes() {
    shows_all_of(&[1, 2, 127, 128, 129], "links");
    // 28 bytes a layer: 139 fit without an upper directory.
    let scene = deep(139);
    scene.run("mount --method links --read-only deep root").succeeds();
    assert_eq!(scene.tree("root").lines().count(), 139);
}

#[test]
fn more_layers_than_the_page_holds_are_refused_by_links() {
    for count in [140, 500] {
        let scene = deep(count);
        let said = scene.run("mount --method links deep root").fails(5);
        assert!(said.stderr.contains("4095") || said.stderr.contains("4,095"), "{}", said.stderr);
        assert_eq!(scene.mounts(), Vec::<std::path::PathBuf>::new());
    }
}

#[test]
fn more_layers_than_overlayfs_takes_are_refused() {
    let scene = deep(501);
    for method in ["fd", "path", "procfd", "links"] {
        scene
            .run(&format!("mount --method {method} deep root"))
            .fails(5)
            .stderr_has("501 layers are too many: overlayfs takes at most 500");
    }
}

/// A scene with the directories `a` and `b`, each with a file of its name and one in common.
fn plain() -> Scene {
    let scene = Scene::new();
    for dir in ["a", "b"] {
        scene.mkdir(dir);
        scene.write(&format!("{dir}/own-{dir}"), b"");
        scene.write(&format!("{dir}/common"), dir.as_bytes());
    }
    scene.mkdir("root");
    scene
}

#[test]
fn plain_directories_read_only() {
    let scene = plain();
    scene.run("mount --lower a --lower b root").succeeds().stdout_is("[DIR]/root");
    scene.shows_at("root", "f 0644 common  a\nf 0644 own-a\nf 0644 own-b");
    assert!(!scene.store().exists(), "no store is involved");
    scene.run("umount root").succeeds();
}

#[test]
fn plain_directories_with_an_upper_one() {
    let scene = plain();
    scene.mkdir("up");
    scene.mkdir("work");
    for method in needs::methods(["fd", "path", "procfd"]) {
        scene.run(&format!("mount --method {method} --lower b --upper up --work work root")).succeeds();
        fs::write(scene.path("root/new"), method).unwrap();
        scene.shows_at("root", &format!("f 0644 common  b\nf 0644 new  {method}\nf 0644 own-b"));
        scene.run("umount root").succeeds();
        assert_eq!(fs::read_to_string(scene.path("up/new")).unwrap(), method);
    }
}

#[test]
fn one_plain_directory_read_only() {
    let scene = plain();
    scene.run("mount --read-only --lower a root").succeeds();
    scene.shows_at("root", "f 0644 common  a\nf 0644 own-a");
    scene.run("umount root").succeeds();
}

#[test]
fn plain_directories_of_any_name() {
    for method in needs::methods(["fd", "path", "procfd"]) {
        let scene = Scene::new();
        for name in ["a:b", "a", "com,ma", "back\\", "new\nline", "lowerdir+", "root", "u,p", "w:k"] {
            scene.mkdir(name);
        }
        scene.write("a:b/f", b"right");
        scene.write("a/f", b"wrong");
        let mut args = vec!["mount", "--method", method, "--upper", "u,p", "--work", "w:k"];
        for lower in ["com,ma", "back\\", "new\nline", "lowerdir+", "a:b"] {
            args.extend(["--lower", lower]);
        }
        args.push("root");
        scene.run_args(&args).succeeds();
        scene.shows_at("root", "f 0644 f  right");
        scene.run("umount root").succeeds();
    }
}
