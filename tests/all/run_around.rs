//! `run`: what is around a command: options of its mount, a network of its own, names that are resolved, many layers.

use std::fs;

use serde_json::json;

use super::run::{scene, shell};
use crate::support::Scene;

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

#[test]
fn without_a_network_a_program_can_talk_to_itself() {
    let Some(scene) = scene(json!({})) else { return };
    let script = "busybox ls /sys/class/net; busybox cat /sys/class/net/lo/flags
        busybox ping -c 1 -W 60 127.0.0.1 > /dev/null && echo answered";
    let said = shell(&scene, "--rm --net none web:1", script).succeeds();
    let _ = said.stderr_is("").stdout_is("lo\n0x9\nanswered");
}

#[test]
fn loopback_stays_down_without_the_right_to_raise_it() {
    let Some(scene) = scene(json!({})) else { return };
    let mut command = std::process::Command::new("setpriv");
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
