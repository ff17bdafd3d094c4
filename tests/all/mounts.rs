//! Containers: mounted, unmounted, mounted again; who may have which target and which upper directory.

use std::fs;
use std::process::{Child, Command};

use crate::support::{Scene, image, layer, needs};

pub(crate) const TREE: &str = "
    f 0644 a  1
    f 0644 b  2
    ";

/// A scene with the image `web:1` loaded, and targets `root` and `other`.
pub(crate) fn loaded() -> Scene {
    let scene =
        Scene::with("web.tar", &image("web:1").layer(&layer().file("a", "1")).layer(&layer().file("b", "2")));
    scene.mkdir("root");
    scene.mkdir("other");
    scene
}

#[test]
fn mount_says_where_on_stdout_and_under_which_name_on_stderr() {
    let scene = loaded();
    scene.run("mount web:1 root").succeeds().stdout_is("[DIR]/root").stderr_is("container 'web-1'");
}

#[test]
fn archive_is_mounted_in_one_command_and_kept() {
    let scene = Scene::new();
    scene.save("web.tar", &image("web:1").layer(&layer().file("a", "1")));
    scene.mkdir("root");
    scene.run("mount web.tar root").succeeds();
    fs::remove_file(scene.path("web.tar")).unwrap();
    scene.mkdir("other");
    scene.run("mount web:1 other").succeeds();
    scene.shows_at("other", "f 0644 a  1");
}

#[test]
fn changes_are_kept_over_umount_and_mount() {
    let scene = loaded();
    scene.run("mount --name box web:1 root").succeeds();
    fs::write(scene.path("root/new"), "n").unwrap();
    fs::remove_file(scene.path("root/a")).unwrap();
    scene.run("umount root").succeeds().stderr_has("box");
    scene.shows_at("root", "");
    scene.run("mount box other").succeeds();
    scene.shows_at(
        "other",
        "
        f 0644 b  2
        f 0644 new  n
        ",
    );
}

#[test]
fn containers_over_one_image_do_not_see_each_other() {
    let scene = loaded();
    scene.run("mount web:1 root").succeeds();
    scene.run("mount web:1 other").succeeds().stderr_is("container 'web-1-2'");
    fs::write(scene.path("root/a"), "changed").unwrap();
    scene.shows_at("root", "f 0644 a  changed\nf 0644 b  2");
    scene.shows_at("other", TREE);
}

#[test]
fn image_without_a_tag_is_mounted_as_often_as_one_likes() {
    let scene = loaded();
    scene.run("tag web:1 web").succeeds();
    scene.run("mount web root").succeeds();
    scene.run("mount web other").succeeds();
    scene.shows_at("other", TREE);
}

#[test]
fn read_only_mount_cannot_be_written() {
    let scene = loaded();
    scene.run("mount -r web:1 root").succeeds();
    scene.shows_at("root", TREE);
    let fault = fs::write(scene.path("root/new"), "n").unwrap_err();
    assert_eq!(fault.kind(), std::io::ErrorKind::ReadOnlyFilesystem);
}

#[test]
fn one_layer_alone_can_be_mounted_read_only() {
    let scene = Scene::new();
    scene.save("x.tar", &image("x").layer(&layer().dir("./").mode(0o711).file("a", "1")));
    scene.mkdir("root");
    scene.run("mount --read-only x.tar root").succeeds();
    scene.shows_at("root", "d 0711 .\nf 0644 a  1");
}

#[test]
fn rm_drops_the_changes_at_umount() {
    let scene = loaded();
    let before = scene.tree("store");
    scene.run("mount --rm web:1 root").succeeds();
    fs::write(scene.path("root/new"), "n").unwrap();
    scene.run("umount root").succeeds();
    scene.run("mount --name box web:1 root").succeeds();
    scene.run("umount --rm root").succeeds();
    scene.run("mount box root").fails(3);
    crate::support::tree::same("the store", &scene.tree("store"), &before);
}

#[test]
fn umount_by_name() {
    let scene = loaded();
    scene.run("mount --name box web:1 root").succeeds();
    scene.run("umount box").succeeds();
    scene.shows_at("root", "");
}

#[test]
fn umount_of_several_goes_on_after_an_error() {
    let scene = loaded();
    scene.run("mount --name one web:1 root").succeeds();
    scene.run("mount --name two web:1 other").succeeds();
    scene.run("umount one nothing two").fails(3).stderr_has("nothing");
    assert_eq!(scene.mounts(), Vec::<std::path::PathBuf>::new());
}

#[test]
fn umount_of_all() {
    let scene = loaded();
    scene.run("mount web:1 root").succeeds();
    scene.run("mount --read-only web:1 other").succeeds();
    scene.run("umount --all").succeeds();
    assert_eq!(scene.mounts(), Vec::<std::path::PathBuf>::new());
}

#[test]
fn container_that_is_mounted_is_not_mounted_again() {
    let scene = loaded();
    scene.run("mount --name box web:1 root").succeeds();
    let other = scene.path("other");
    let other = other.to_str().unwrap();
    scene
        .run(&format!("mount box {other}"))
        .fails(4)
        .stderr_has("cannot mount 'box' on [DIR]/other: ")
        .stderr_has("[DIR]/root");
}

#[test]
fn name_that_is_taken_is_refused() {
    let scene = loaded();
    scene.run("mount --name box web:1 root").succeeds();
    scene.run("mount --name box web:1 other").fails(4).stderr_has("'box'");
}

#[test]
fn target_that_is_mounted_already_is_refused() {
    let scene = loaded();
    scene.run("mount web:1 root").succeeds();
    scene.run("mount web:1 root").fails(4).stderr_has("root");
    assert_eq!(scene.mounts().len(), 1);
}

#[test]
fn unmount_by_hand_is_seen() {
    let scene = loaded();
    scene.run("mount --name box web:1 root").succeeds();
    rustix::mount::unmount(scene.path("root"), rustix::mount::UnmountFlags::empty()).unwrap();
    scene.run("mount box other").succeeds();
    scene.shows_at("other", TREE);
}

/// Starts a process that stands in `dir`, so that it cannot be unmounted.
fn holder(dir: &std::path::Path) -> Child {
    Command::new("sleep").arg("600").current_dir(dir).spawn().expect("sleep starts")
}

#[test]
fn busy_target_names_who_holds_it() {
    let scene = loaded();
    scene.run("mount web:1 root").succeeds();
    let mut sleeper = holder(&scene.path("root"));
    let said = scene.run("umount root").fails(4);
    sleeper.kill().unwrap();
    sleeper.wait().unwrap();
    let pid = sleeper.id();
    said.stderr_has(&format!(
        "ovlctl: cannot unmount [DIR]/root: in use by pid {pid} (sleep, its working directory)"
    ));
    scene.shows_at("root", TREE);
}

#[test]
fn shell_that_stands_in_the_target_is_named_and_not_what_it_has_started() {
    let scene = loaded();
    scene.run("mount web:1 root").succeeds();
    let mut shell = Command::new("sh");
    // Not the shell's last command, or it would become that.
    shell.args(["-c", r#""$0" --root "$1" umount "$PWD"; exit $?"#, env!("CARGO_BIN_EXE_ovlctl")]);
    let said = scene.outcome(shell.arg(scene.store()).current_dir(scene.path("root"))).fails(4);
    let line = said.stderr.lines().next().expect("an error");
    assert!(line.starts_with("ovlctl: cannot unmount [DIR]/root: in use by pid "), "{line}");
    assert!(line.ends_with(" (sh, its working directory)") && !line.contains("ovlctl, "), "{line}");
}

#[test]
fn lazy_umount_takes_a_busy_target_away() {
    let scene = loaded();
    scene.run("mount --name box web:1 root").succeeds();
    let mut sleeper = holder(&scene.path("root"));
    scene.run("umount --lazy root").succeeds();
    scene.shows_at("root", "");
    sleeper.kill().unwrap();
    sleeper.wait().unwrap();
}

#[test]
fn umount_of_what_is_not_mounted() {
    let scene = loaded();
    scene.run("umount root").fails(3).stderr_has("ovlctl: cannot unmount root: ");
    scene.run("umount no-such-name").fails(3).stderr_has("no-such-name");
}

#[test]
fn umount_leaves_what_is_not_ours() {
    let scene = loaded();
    scene.tmpfs("foreign", "64k");
    scene.run("umount foreign").fails(3);
    assert_eq!(scene.mounts(), [scene.path("foreign")]);
}

#[test]
fn target_is_made_on_request_only() {
    let scene = loaded();
    scene.run("mount web:1 new/deep/root").fails(1);
    assert!(!scene.path("new").exists());
    scene.run("mount --mkdir web:1 new/deep/root").succeeds();
    scene.shows_at("new/deep/root", TREE);
}

#[test]
fn targets_of_any_bytes() {
    let scene = loaded();
    for name in ["a space", "com,ma", "co:lon", "back\\slash", "new\nline", "tab\there", "quote\"s'", "-dash"]
    {
        scene.mkdir(name);
        let target = scene.path(name);
        scene.run_args(&["mount", "--rm", "web:1", target.to_str().unwrap()]).succeeds();
        scene.shows_at(name, TREE);
        scene.run_args(&["umount", target.to_str().unwrap()]).succeeds();
        assert_eq!(scene.tree(name), "", "{name:?} is still mounted");
    }
}

#[test]
fn store_at_a_path_of_any_bytes() {
    for name in ["a space", "com,ma", "co:lon", "back\\slash", "new\nline"] {
        let scene = loaded();
        let store = scene.path(name);
        for method in needs::methods(["fd", "path", "procfd", "links"]) {
            let run = |args: &[&str]| {
                let mut command = Command::new(env!("CARGO_BIN_EXE_ovlctl"));
                command.arg("--root").arg(&store).args(args).env_clear().current_dir(scene.path(""));
                scene.outcome(&mut command)
            };
            run(&["mount", "--method", method, "--rm", "web.tar", "root"]).succeeds();
            scene.shows_at("root", TREE);
            fs::write(scene.path("root/w"), "w").unwrap();
            run(&["umount", "root"]).succeeds();
        }
    }
}

#[test]
fn mount_point_stands_for_the_name_of_its_container() {
    let scene = loaded();
    scene.run("mount --name box web:1 root").succeeds();
    scene.run("mount --read-only web:1 other").succeeds();
    fs::write(scene.path("root/new"), "n").unwrap();
    for root in ["root", "./root", "root/"] {
        scene.run(&format!("diff {root}")).succeeds().stdout_is("A /new");
    }
    assert_eq!(scene.run("inspect root").succeeds().json()[0]["Name"], "/box");
    scene.run("commit root web:2").succeeds().stderr_has("web:2: 3 layers, 1 new");
    scene.run("rm root").fails(4).stderr_has("cannot remove 'box': mounted on");
    // An image is mounted there, and nothing at all.
    scene.run("diff other").fails(3).stderr_has("no container 'other'");
    scene.run("diff .").fails(3).stderr_has("no container '.'");
    // A name is one, whatever is mounted in a directory that is called the same.
    scene.mkdir("web:1");
    scene.run("umount root").succeeds();
    scene.run("mount box web:1").succeeds();
    assert_eq!(scene.run("inspect web:1").succeeds().json()[0]["RepoTags"][0], "web:1");
}
