//! `run`: what is around a command: options of its mount, a network of its own, names that are resolved, many layers.

use std::fs;

use serde_json::json;

use super::run::scene;
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
