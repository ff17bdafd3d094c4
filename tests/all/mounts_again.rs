//! Containers that are mounted again, shown twice or removed while somebody may still use them: no change is lost.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::ffi::OsStrExt;
use std::process::{Child, Command, Stdio};

use rustix::mount::{UnmountFlags, mount_bind, unmount};

use crate::support::{Scene, image, layer, needs};

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

/// Runs `ovlctl` in a mount namespace of its own, and keeps that alive.
fn elsewhere(scene: &Scene, words: &str) -> Child {
    let mut command = Command::new("unshare");
    let script = "\"$0\" --root store \"$@\" && exec sleep 600";
    command.args(["-m", "sh", "-c", script, env!("CARGO_BIN_EXE_ovlctl")]).args(words.split(' '));
    command.current_dir(scene.path("")).stdout(Stdio::piped());
    let mut child = command.spawn().expect("unshare(1) starts");
    let mut said = String::new();
    BufReader::new(child.stdout.as_mut().expect("it was asked for")).read_line(&mut said).expect("a line");
    assert!(said.ends_with("/root\n"), "it says '{said}'");
    child
}

fn end(mut child: Child) {
    child.kill().expect("it is ours");
    child.wait().expect("it is ours");
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
fn work_directory_that_another_container_took_away_is_made_again() {
    let scene = loaded();
    scene.mkdir("changes");
    for name in ["one", "two"] {
        scene.run(&format!("mount --name {name} --upper changes web:1 root")).succeeds();
        scene.run("umount root").succeeds();
    }
    scene.run("rm two").succeeds();
    scene.run("mount one root").succeeds();
    fs::write(scene.path("root/f"), "changed").unwrap();
}

#[test]
fn options_that_changes_were_made_with_are_kept_when_others_are_given() {
    let scene = loaded();
    scene.run("mount --name box -o redirect_dir=on web:1 root").succeeds();
    fs::rename(scene.path("root/d"), scene.path("root/renamed")).unwrap();
    scene.run("umount box").succeeds();
    for options in ["-o nodev", "", "-o ro", "--read-only", "-o noatime,index=on"] {
        scene.run(&format!("mount {options} box root")).succeeds();
        scene.shows_at("root", "f 0644 f  2\nd 0755 renamed\nf 0644 renamed/new  3");
        scene.run("umount box").succeeds();
    }
}

#[test]
fn flags_are_those_of_one_mount() {
    let scene = loaded();
    scene.run("mount --name box web:1 root").succeeds();
    scene.run("umount box").succeeds();
    scene.run("mount -o ro box root").succeeds();
    fs::write(scene.path("root/f"), "changed").unwrap_err();
    scene.run("umount box").succeeds();
    scene.run("mount box root").succeeds();
    fs::write(scene.path("root/f"), "changed").unwrap();
}

#[test]
fn plan_of_a_container_has_its_own_options() {
    let scene = loaded();
    scene.run("mount --name box -o redirect_dir=on web:1 root").succeeds();
    scene.run("umount box").succeeds();
    let calls = scene.run("plan box root").succeeds().stdout;
    assert!(calls.contains(r#""redirect_dir", "on""#), "{calls}");
}

#[test]
fn option_that_would_show_what_layers_remove_is_refused() {
    let scene = loaded();
    for words in ["mount -o userxattr web:1 root", "mount --read-only -o userxattr web:1 root"] {
        scene.run(words).fails(2).stderr_has("option 'userxattr' makes overlayfs overlook what");
    }
    assert_eq!(scene.mounts(), Vec::<std::path::PathBuf>::new());
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
fn container_that_another_mount_shows_read_only_outlives_its_unmount() {
    let scene = loaded();
    scene.run("mount --name box web:1 root").succeeds();
    fs::write(scene.path("root/f"), "changed").unwrap();
    scene.run("umount box").succeeds();
    scene.run("mount --read-only box root").succeeds();
    mount_bind(scene.path("root"), scene.path("other")).unwrap();
    scene.run("umount --rm root").succeeds().stderr_has("changes kept in 'box'");
    assert_eq!(fs::read_to_string(scene.path("other/f")).unwrap(), "changed");
    scene.run("umount --rm other").succeeds().stderr_is("removed 'box' and its changes");
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

#[test]
fn read_only_mount_that_was_unmounted_lazily_shows_what_is_open_and_no_more() {
    let scene = loaded();
    scene.run("mount --read-only web:1 root").succeeds();
    let mut open = fs::File::open(scene.path("root/f")).unwrap();
    let root = fs::File::open(scene.path("root")).unwrap();
    scene.run("umount --lazy root").succeeds();
    // Nothing tells of it: it is in nobody's mountinfo, and no layer is marked as in use.
    scene.run("rm web:1").succeeds();
    let mut text = String::new();
    open.read_to_string(&mut text).unwrap();
    assert_eq!(text, "2");
    let gone = rustix::fs::statat(&root, "d/new", rustix::fs::AtFlags::empty()).unwrap_err();
    assert_eq!(gone, rustix::io::Errno::NOENT);
    scene.run("load web.tar").succeeds();
    scene.run("check --deep").succeeds();
}

#[test]
fn container_mounted_in_another_namespace_is_not_mounted_here() {
    for (there, here) in
        [("mount box root", "mount --read-only box root"), ("mount --read-only box root", "mount box root")]
    {
        let scene = loaded();
        scene.run("mount --name box web:1 root").succeeds();
        scene.run("umount box").succeeds();
        let child = elsewhere(&scene, there);
        let said = scene.run(here).fails(4);
        end(child);
        said.stderr_is("ovlctl: cannot mount 'box' on root: mounted in another mount namespace");
    }
}

#[test]
fn container_of_an_image_without_a_name_is_not_called_like_the_image() {
    let scene = Scene::new();
    let unnamed = image("").layer(&layer().file("a", "1"));
    scene.save("x.tar", &unnamed);
    scene.mkdir("root");
    let id = unnamed.id().short();
    scene.run("mount x.tar root").succeeds().stderr_is(&format!("container 'image-{id}'"));
    fs::write(scene.path("root/a"), "precious").unwrap();
    scene.run("umount root").succeeds();
    scene.run(&format!("rm {id}")).fails(4).stderr_has("in use by container");
}

#[test]
fn nothing_of_the_store_is_a_target_or_an_upper_directory() {
    let scene = loaded();
    let layer = scene.kept_layers().remove(0);
    for words in [
        "mount web:1 store".to_owned(),
        format!("mount --read-only web:1 store/overlay2/{layer}/diff"),
        "mount --upper store/containers web:1 root".to_owned(),
    ] {
        scene.run(&words).fails(1).stderr_has(" lies in the store");
    }
    assert_eq!(scene.mounts(), Vec::<std::path::PathBuf>::new());
    assert!(!scene.store().join("containers.work").exists());
}

#[test]
fn target_that_is_no_text_can_be_unmounted() {
    let scene = loaded();
    let target = scene.path("").join(std::ffi::OsStr::from_bytes(b"\xff"));
    fs::create_dir(&target).unwrap();
    let words = |verb: &[&str]| -> Vec<std::ffi::OsString> {
        verb.iter().map(Into::into).chain([target.clone().into()]).collect()
    };
    scene.run_args(&words(&["mount", "--rm", "web:1"])).succeeds();
    let ended = scene.run_args(&words(&["umount"])).code;
    let _ = unmount(&target, UnmountFlags::DETACH);
    assert_eq!(ended, Some(0));
}

#[test]
fn what_a_killed_command_left_goes_with_the_next_mount() {
    let scene = loaded();
    scene.run("mount --name half web:1 root").succeeds();
    scene.run("umount root").succeeds();
    // As a command leaves it that is killed before it has mounted.
    let record = scene.path("store/containers/half.json");
    let text = fs::read_to_string(&record).unwrap();
    fs::write(&record, text.replace("\"unfinished\": false", "\"unfinished\": true")).unwrap();
    scene.run("mounts -q").succeeds().stdout_is("");
    scene.run("mount --name whole web:1 root").succeeds();
    assert!(!record.exists());
    scene.run("mounts -q").succeeds().stdout_is("whole\n");
}

#[test]
fn container_of_rm_that_was_unmounted_by_hand_goes_with_the_next_mount() {
    let scene = loaded();
    scene.run("mount --rm --name brief web:1 root").succeeds();
    unmount(scene.path("root"), UnmountFlags::empty()).unwrap();
    scene.run("mount --name other web:1 root").succeeds();
    assert!(!scene.path("store/containers/brief.json").exists());
}

#[test]
fn name_of_a_container_and_an_image_is_not_removed_by_guess() {
    let scene = loaded();
    scene.run("tag web:1 box").succeeds();
    scene.run("mount --name box web:1 root").succeeds();
    scene.run("umount root").succeeds();
    scene.run("rm box").fails(2).stderr_has("cannot remove 'box': it is a container and an image: say ");
    scene.run("rm box:latest").succeeds().stdout_is("untagged box:latest\n");
    scene.run("rm box").succeeds().stdout_is("removed container box\n");
}

#[test]
fn container_is_shown_read_only_by_every_method() {
    let scene = loaded();
    scene.run("mount --name box web:1 root").succeeds();
    fs::write(scene.path("root/f"), "changed").unwrap();
    scene.run("umount root").succeeds();
    for method in needs::methods(["fd", "path", "procfd", "links"]) {
        scene.run(&format!("mount -r --method {method} box root")).succeeds();
        scene.shows_at("root", "d 0755 d\nf 0644 d/new  3\nf 0644 f  changed");
        scene.run("umount root").succeeds();
    }
}

#[test]
fn plan_of_an_archive_is_that_of_its_image_once_it_is_loaded() {
    let scene = loaded();
    scene.mkdir("other");
    let of_image = scene.run("plan -r web:1 root").succeeds().lines().join("\n");
    scene.run("plan -r ./web.tar root").succeeds().stdout_is(&(of_image + "\n"));
    scene.save("new.tar", &image("new:1").layer(&layer().file("a", "1")));
    scene.run("plan ./new.tar root").fails(1).stderr_has("hint: ovlctl load ./new.tar");
}
