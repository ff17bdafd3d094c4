//! What mount(8) and fstab(5) ask of `mount.ovlctl`, and a container that comes back where it was.

use std::fs;
use std::os::unix::fs::symlink;
use std::process::Command;

use rustix::mount::{MountFlags, mount};

use crate::support::outcome::Outcome;
use crate::support::{Scene, image, layer};

fn scene() -> Scene {
    let scene = Scene::new();
    scene.save("image.tar", &image("web:1").layer(&layer().file("etc/motd", "one\n")));
    scene.mkdir("root");
    scene.mkdir("sbin");
    for name in ["mount.ovlctl", "umount.ovlctl"] {
        symlink(env!("CARGO_BIN_EXE_ovlctl"), scene.path("sbin").join(name)).expect("a link");
    }
    scene
}

/// Runs a helper as mount(8) does.
fn helper(scene: &Scene, name: &str, words: &str) -> Outcome {
    let mut command = Command::new(scene.path("sbin").join(name));
    command.args(words.split_whitespace()).env_clear().current_dir(scene.path(""));
    scene.outcome(command.env("OVLCTL_ROOT", scene.store()).env("OVLCTL_NO_SYNC", "1"))
}

#[test]
fn container_of_a_line_in_fstab_comes_back() {
    let scene = scene();
    let line = "image.tar root -n -o rw,noauto,x-systemd.automount,nodev";
    let place = scene.path("root").display().to_string();
    helper(&scene, "mount.ovlctl", &line.replace("root", &place)).succeeds().stdout_is("").stderr_is("");
    fs::write(scene.path("root/new"), "kept").unwrap();
    helper(&scene, "umount.ovlctl", "root").succeeds();
    helper(&scene, "mount.ovlctl", &line.replace("root", &place)).succeeds().stdout_is("").stderr_is("");
    assert_eq!(fs::read_to_string(scene.path("root/new")).unwrap(), "kept");
    let name = place.trim_matches('/').replace('/', "-");
    scene.run("mounts -q").succeeds().stdout_is(&name);
    helper(&scene, "umount.ovlctl", "root").succeeds();
    helper(&scene, "mount.ovlctl", "image.tar root -o ro").succeeds().stdout_is("");
    assert!(!scene.path("root/new").exists() && fs::write(scene.path("root/x"), "").is_err());
    helper(&scene, "umount.ovlctl", "-l root").succeeds();
}

#[test]
fn mount_is_told_in_its_own_exit_codes() {
    let scene = scene();
    helper(&scene, "mount.ovlctl", "no.tar root -o rw").fails(32).stderr_has("ovlctl: cannot mount");
    helper(&scene, "mount.ovlctl", "image.tar").fails(1).stderr_has("usage: mount.ovlctl SOURCE DIR");
    helper(&scene, "mount.ovlctl", "image.tar root -o at-layer=x").fails(1).stderr_has("at-layer");
    helper(&scene, "mount.ovlctl", "image.tar root -f -o rw").succeeds().stdout_is("");
    helper(&scene, "umount.ovlctl", "root").fails(32).stderr_has("nothing of ovlctl's is mounted there");
    assert_eq!(scene.mounts(), Vec::<std::path::PathBuf>::new());
}

#[test]
fn mount_finds_its_helper() {
    let scene = scene();
    // Only this test sees it: /sbin has the helpers too.
    let sbin = fs::canonicalize("/sbin").unwrap();
    let lowers = format!("lowerdir={}:{}", scene.path("sbin").display(), sbin.display());
    let lowers = std::ffi::CString::new(lowers).unwrap();
    mount("overlay", &sbin, "overlay", MountFlags::RDONLY, Some(lowers.as_c_str())).unwrap();
    let options = format!("name=box,root={},noatime,_netdev,user", scene.store().display());
    let mut command = Command::new("mount");
    command.args(["-t", "ovlctl", "image.tar", "root", "-o", &options]).current_dir(scene.path(""));
    scene.outcome(command.env("OVLCTL_NO_SYNC", "1")).succeeds().stdout_is("");
    assert_eq!(fs::read_to_string(scene.path("root/etc/motd")).unwrap(), "one\n");
    scene.run("mounts -q").succeeds().stdout_is("box");
    // umount(8) sees an overlay, and asks nobody: the changes stay as they do when the machine goes down.
    fs::write(scene.path("root/new"), "kept").unwrap();
    let mut command = Command::new("umount");
    scene.outcome(command.arg("root").current_dir(scene.path(""))).succeeds();
    scene.run("cat box:/new").succeeds().stdout_is("kept");
    let _ = rustix::mount::unmount(&sbin, rustix::mount::UnmountFlags::DETACH);
}

#[test]
fn container_is_mounted_where_it_was_last() {
    let scene = scene();
    scene.run("mount --name box image.tar root").succeeds();
    scene.run("umount box").succeeds();
    scene.run("mount --same-place box").succeeds().stdout_is("[DIR]/root");
    scene.run("umount box").succeeds();
    scene.run("run --name never image.tar -- /no").fails(127);
    let said = scene.run("mount --same-place never").fails(2);
    let _ = said.stderr_is("ovlctl: 'never' was never mounted on a TARGET\nhint: ovlctl help mount");
    scene.run("mount --same-place no").fails(3);
}
