//! `run`: what is around a command: options of its mount, a network of its own, names that are resolved, many layers.

use std::fs;
use std::process::Command;

use serde_json::json;

use super::run::{base, scene, scene_of, shell};
use crate::support::scene::host;
use crate::support::{Image, Scene, image, layer};

/// Runs a script by `/bin/sh` with the settings in `ovlctl.toml`.
fn configured(scene: &Scene, options: &str, script: &str) -> crate::support::outcome::Outcome {
    let options: Vec<&str> = options.split_whitespace().collect();
    let words =
        [&["--config", "ovlctl.toml", "run"], &options[..], &["--", "/bin/sh", "-c", script]].concat();
    scene.run_args(&words)
}

/// Prints flags and options of the root.
const OPTIONS: &str = "while read -r _ _ _ _ place flags rest; do
        [ $place = / ] && echo $flags ${rest##* }; done < /proc/self/mountinfo | busybox sed 's/ .*,index=on.*/ index=on/'";

#[test]
fn options_that_are_configured_are_those_of_a_new_container() {
    let Some(scene) = scene(json!({})) else { return };
    scene.write("ovlctl.toml", b"mount.options = ['nosuid,noatime', 'index=on']");
    let said = configured(&scene, "--name box web:1", OPTIONS).succeeds();
    let _ = said.stdout_is("rw,nosuid,nodev,noatime index=on");
    // It keeps them, whatever the file says later, or when it is mounted for others to see.
    scene.write("ovlctl.toml", b"mount.options = 'dev,noexec'");
    let said = configured(&scene, "box", OPTIONS).succeeds();
    let _ = said.stdout_is("rw,nosuid,nodev,noatime index=on");
    scene.mkdir("root");
    scene.run("mount box root").succeeds();
    scene.run("umount root").succeeds();
    configured(&scene, "--rm web:1", "true").fails(126).stderr_has("cannot run '/bin/sh': Permission denied");
    // No device of this machine's can be opened there, whoever says so.
    scene.write("ovlctl.toml", b"mount.options = 'dev,nosuid'");
    let said = configured(&scene, "--rm web:1", OPTIONS).succeeds().stdout;
    assert!(said.starts_with("rw,nosuid,nodev,relatime "), "{said}");
}

#[test]
fn root_is_read_only_where_that_is_configured() {
    let Some(scene) = scene(json!({})) else { return };
    scene.write("ovlctl.toml", b"mount.options = 'ro'");
    let script = "echo x > /new || echo no; echo x > /bin/sh || echo no; echo x > /dev/shm/x && echo memory";
    configured(&scene, "--name box web:1", script).succeeds().stdout_is("no\nno\nmemory");
    scene.run("diff box").succeeds().stdout_is("");
    let said = configured(&scene, "--rm -w /new web:1", "true").fails(125);
    let _ = said.stderr_has("Read-only file system");
    scene.run("mounts -q").succeeds().stdout_is("box");
}

#[test]
fn options_that_cannot_be_leave_no_container() {
    let Some(scene) = scene(json!({})) else { return };
    scene.write("ovlctl.toml", b"mount.options = 'userxattr'");
    configured(&scene, "--name box web:1", "true").fails(125).stderr_has("'userxattr'");
    scene.write("ovlctl.toml", b"mount.options = 'frobnicate'");
    configured(&scene, "--name box web:1", "true").fails(125).stderr_has("frobnicate");
    scene.run("mounts -q").succeeds().stdout_is("");
    assert_eq!(fs::read_dir(scene.store().join("containers")).map_or(0, Iterator::count), 0);
}

/// The devices of a network that is just made: besides `lo` those that modules of this machine's put into each
/// (net.core.fb_tunnels_only_for_init_net).
pub(super) fn devices() -> Vec<String> {
    let told = host(Command::new("unshare").args(["--net", "cat", "/proc/net/dev"]));
    let names = told.lines().filter_map(|line| line.split_once(':'));
    let mut names: Vec<String> = names.map(|(name, _)| name.trim().to_owned()).collect();
    names.sort();
    names
}

#[test]
fn without_a_network_a_program_can_talk_to_itself() {
    let Some(scene) = scene(json!({})) else { return };
    let script = "busybox ls /sys/class/net; busybox cat /sys/class/net/lo/flags
        busybox ping -c 1 -W 60 127.0.0.1 > /dev/null && echo answered";
    let said = shell(&scene, "--rm --net none web:1", script).succeeds();
    let _ = said.stderr_is("").stdout_is(&format!("{}\n0x9\nanswered", devices().join("\n")));
}

#[test]
fn loopback_stays_down_without_the_right_to_raise_it() {
    let Some(scene) = scene(json!({})) else { return };
    let mut command = Command::new("setpriv");
    command.args(["--bounding-set=-net_admin", env!("CARGO_BIN_EXE_ovlctl"), "--root"]).arg(scene.store());
    command.args([
        "run",
        "--rm",
        "--net",
        "none",
        "web:1",
        "--",
        "/bin/busybox",
        "cat",
        "/sys/class/net/lo/flags",
    ]);
    let command = command.env_clear().env("PATH", "/usr/bin:/bin").env("OVLCTL_NO_SYNC", "1");
    let said = scene.outcome(command.current_dir(scene.path(""))).succeeds().stdout_is("0x8");
    let _ = said.stderr_is("warning: its loopback device stays down: to raise it CAP_NET_ADMIN is needed");
}

#[test]
fn names_are_resolved_wherever_resolv_conf_leads() {
    let Some(base) = base() else { return };
    let resolv = fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
    for link in
        ["../run/systemd/resolve/stub-resolv.conf", "/etc/resolv.conf", "own", "/proc/1/root/etc/resolv.conf"]
    {
        let image = image("web:1")
            .layer(&base)
            .layer(&layer().symlink("etc/resolv.conf", link).file("etc/own", "own"));
        let Some(scene) = scene_of(&image) else { return };
        let script =
            "busybox cat /etc/resolv.conf; echo x > /etc/resolv.conf; busybox cat /etc/own; busybox ls /run";
        let said = shell(&scene, "--name box web:1", script).said();
        assert_eq!(said.stdout, format!("{resolv}own"), "{link}");
        scene.run("diff box").succeeds().stdout_is("");
    }
}

#[test]
fn no_names_are_resolved_where_resolv_conf_is_gone() {
    let Some(base) = base() else { return };
    let base = base.file("etc/resolv.conf", "own");
    let image = |layer| image("web:1").layer(&base).layer(&layer);
    for (image, said) in [
        (image(layer().whiteout("etc/resolv.conf")), "is missing"),
        (image(layer().dir("etc/resolv.conf")), "is no file"),
    ] {
        let Some(scene) = scene_of(&image) else { return };
        let said = format!("warning: no names are resolved: its /etc/resolv.conf {said}");
        shell(&scene, "--name box web:1", "echo ran").succeeds().stdout_is("ran").stderr_is(&said);
        shell(&scene, "--net none box", "echo ran").succeeds().stdout_is("ran").stderr_is("");
        scene.run("diff box").succeeds().stdout_is("");
    }
}

/// An image of so many layers, the lowest with a shell.
fn of_layers(count: usize) -> Option<Image> {
    let all = (1..count).map(|nr| layer().file(&format!("layers/{nr}"), ""));
    Some(all.fold(image("web:1").layer(&base()?), |image, layer| image.layer(&layer)))
}

#[test]
fn image_may_have_as_many_layers_as_overlayfs_takes() {
    for (count, said, changed) in [
        (499, "", ""),
        // One more would be too many: what is mounted on is made in the container.
        (500, "warning: no names are resolved: its /etc/resolv.conf is missing", "A /dev\nA /proc\nA /sys"),
    ] {
        let Some(scene) = of_layers(count).and_then(|image| scene_of(&image)) else { return };
        let script = "busybox ls /layers | busybox wc -l; busybox test -e /proc/1/status && echo all";
        let ran = shell(&scene, "--name box web:1", script).succeeds().stderr_is(said);
        let _ = ran.stdout_is(&format!("{}\nall", count - 1));
        scene.run("diff box").succeeds().stdout_is(changed);
    }
    let Some(image) = of_layers(501) else { return };
    let scene = Scene::new();
    scene.save("image.tar", &image);
    let said = scene.run("run --rm image.tar -- /bin/sh").fails(125);
    let _ = said.stderr_has("501 layers are too many: overlayfs takes at most 500");
}
