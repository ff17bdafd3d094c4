//! The first layer at which a command fails, and what that command may do.

use serde_json::json;

use crate::run_around::devices;
use crate::support::{Image, Scene, image, layer, needs};

/// An image with a program: this machine's busybox, which needs no library.
fn with_program() -> Option<Image> {
    let busybox = needs::busybox()?;
    let history = json!([
        {"created_by": "FROM scratch"}, {"created_by": "ADD busybox"}, {"created_by": "ENV", "empty_layer": true},
        {"created_by": "COPY good"}, {"created_by": "RUN rm good"}, {"created_by": "COPY more"},
    ]);
    let program = layer().file_of_bytes(b"bin/busybox", &busybox).mode(0o755).symlink("bin/sh", "busybox");
    Some(
        image("web:1")
            .config("history", history)
            .config("config", json!({"Env": ["KIND=test"]}))
            .layer(&layer().file("etc/hosts", ""))
            .layer(&program)
            .layer(&layer().file("good", ""))
            .layer(&layer().whiteout("good"))
            .layer(&layer().file("more", "")),
    )
}

fn bisecting() -> Option<Scene> {
    let image = with_program()?;
    let scene = Scene::with("image.tar", &image);
    Some(scene)
}

#[test]
fn first_layer_at_which_a_command_fails_is_found() {
    let Some(scene) = bisecting() else { return };
    let id = with_program().unwrap().diff_ids()[3].short();
    let said = scene.run("bisect web:1 -- /bin/busybox test -e /good").succeeds();
    let said = said.stderr_is("layer 5 of 5: exit code 1\nlayer 4 of 5: exit code 1\nlayer 2 of 5: exit code 1\nlayer 3 of 5: exit code 0");
    let _ = said.stdout_is(&format!(
        "
        LAYER  DIFF ID       FAILS WITH   CREATED BY
        4      {id}  exit code 1  RUN rm good
        "
    ));
    let row = scene.run("bisect --json web:1 -- busybox test -e /good").succeeds().json();
    assert_eq!([&row[0]["layer"], &row[0]["outcome"]], [&json!(4), &json!("exit code 1")]);
    let expected = "ovlctl: cannot bisect 'web:1': the command succeeds with all of its layers";
    scene.run("bisect web:1 -- busybox true").fails(1).stderr_has(expected);
    let expected = "ovlctl: cannot bisect 'web:1': the command fails with any of its layers";
    let said = scene.run("bisect web:1 -- /no/such/program").fails(1).stderr_has(expected);
    let _ = said.stderr_has("layer 5 of 5: exit code 127");
    assert_eq!(scene.mounts(), Vec::<std::path::PathBuf>::new());
}

#[test]
fn command_sees_nothing_of_this_machine() {
    let Some(scene) = bisecting() else { return };
    // Fails with the whole image, so that what it prints is shown.
    let script = "echo kind $KIND; echo pid $$; busybox grep -vc ' /proc/' /proc/mounts; echo dev $(busybox ls /dev);
        busybox grep -c : /proc/net/dev; busybox grep CapBnd /proc/self/status; busybox grep NoNewPrivs /proc/self/status;
        echo x > /proc/sys/kernel/core_pattern || echo read-only; busybox mknod /disk b 8 0; busybox head -c 1 /disk;
        echo written > /file && busybox cat /file; busybox mount -t tmpfs x /proc || echo no mount;
        busybox test -e /good";
    let said = scene.run_args(&["bisect", "-v", "web:1", "--", "/bin/sh", "-c", script]).succeeds().stderr;
    let first = said.split("layer 5 of 5").next().unwrap();
    for line in [
        "kind test",
        "pid 1",
        "8",
        "dev fd full null random shm stderr stdin stdout urandom zero",
        &devices().len().to_string(),
        "CapBnd:\t00000000a80425fb",
        "NoNewPrivs:\t1",
        "read-only",
        "written",
        "no mount",
    ] {
        assert!(first.lines().any(|said| said == line), "{line}\n{first}");
    }
    assert!(first.contains("/disk"), "a device node must not be one: {first}");
    scene.run("ls web:1").succeeds().stdout_is("bin\netc\nmore");
}
