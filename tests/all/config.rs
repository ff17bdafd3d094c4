//! Settings: a file below the environment below what is typed; which of them holds, and who may have written it.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::process::Command;

use rustix::mount::{MountFlags, mount};
use serde_json::{Value, json};

use crate::support::outcome::Outcome;
use crate::support::{NOBODY, Scene, image, layer};

/// A scene with the archive `web.tar`, a target `root`, and this as `ovlctl.toml`.
fn scene(settings: &str) -> Scene {
    let scene = Scene::new();
    scene.save("web.tar", &image("web:1.4").layer(&layer().file("a", "1").file("b", "2")));
    scene.mkdir("root");
    scene.write("ovlctl.toml", settings.as_bytes());
    scene
}

fn configured(scene: &Scene, words: &str) -> Outcome {
    scene.run(&format!("--config ovlctl.toml {words}"))
}

/// A row of `config --json`: value, origin, place.
fn row(scene: &Scene, words: &str, key: &str) -> [Value; 3] {
    let rows = configured(scene, words).succeeds().json();
    let rows = rows.as_array().expect("an array");
    let row = rows.iter().find(|row| row["key"] == key).unwrap_or_else(|| panic!("no {key} in {rows:?}"));
    ["value", "origin", "place"].map(|field| row[field].clone())
}

#[test]
fn each_setting_tells_where_it_comes_from() {
    let scene = scene(
        "root = '/srv/store'\n\n[limits]\nentries = 4_000_000\n[mount]\noptions = ['volatile', 'nodev']\n",
    );
    let mut command = Command::new(env!("CARGO_BIN_EXE_ovlctl"));
    command.args(["--config", "ovlctl.toml", "config"]).env_clear().current_dir(scene.path(""));
    scene.outcome(&mut command).succeeds().stderr_is("").stdout_is(
        "
        KEY                   VALUE           FROM
        config                ovlctl.toml     --config
        root                  /srv/store      ovlctl.toml:1
        limits.archive-bytes  1T              default
        limits.members        250000          default
        limits.json           4M              default
        limits.documents      16M             default
        limits.image-bytes    2T              default
        limits.layer-bytes    1T              default
        limits.ratio          1000            default
        limits.ratio-from     4G              default
        limits.entries        4000000         ovlctl.toml:4
        limits.depth          1024            default
        limits.memory         64M             default
        mount.options         volatile,nodev  ovlctl.toml:6
        save.compress         none            default
        output.color          auto            default
        output.bytes          false           default
        output.time           relative        default
        ",
    );
    assert_eq!(
        row(&scene, "config --json", "mount.options"),
        [json!(["volatile", "nodev"]), json!("file"), json!("ovlctl.toml:6")]
    );
    assert_eq!(row(&scene, "config --json", "limits.json"), [json!("4M"), json!("default"), json!(null)]);
}

#[test]
fn arguments_come_before_the_environment_and_that_before_the_file() {
    let scene = scene("root = '/of/the/file'\n");
    let run = |variable: Option<&str>, argument: Option<&str>| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ovlctl"));
        command.env_clear().env("OVLCTL_CONFIG", "ovlctl.toml").current_dir(scene.path(""));
        command.envs(variable.map(|value| ("OVLCTL_ROOT", value)));
        command.args(argument.map(|value| format!("--root={value}")));
        let rows = scene.outcome(command.args(["config", "--json"])).succeeds().json();
        assert_eq!(
            rows[0],
            json!({"key": "config", "value": "ovlctl.toml", "origin": "environment", "place": "OVLCTL_CONFIG"})
        );
        ["value", "origin", "place"].map(|field| rows[1][field].as_str().unwrap_or("-").to_owned())
    };
    assert_eq!(run(None, None), ["/of/the/file", "file", "ovlctl.toml:1"]);
    assert_eq!(run(Some("/of/a/variable"), None), ["/of/a/variable", "environment", "OVLCTL_ROOT"]);
    assert_eq!(run(Some("/of/a/variable"), Some("/typed")), ["/typed", "argument", "--root"]);
}

#[test]
fn the_usual_file_need_not_be_there_and_is_read_where_it_is() {
    let scene = scene("");
    // An /etc of the scene's own.
    mount("tmpfs", "/etc", "tmpfs", MountFlags::empty(), Some(c"mode=0755")).unwrap();
    let config = |variable: Option<&str>| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ovlctl"));
        command.env_clear().envs(variable.map(|value| ("OVLCTL_CONFIG", value)));
        scene.outcome(command.args(["config", "--json"])).succeeds().json()
    };
    let root = |value: &str, origin: &str, place: Value| json!({"key": "root", "value": value, "origin": origin, "place": place});
    assert_eq!(config(None)[1], root("/var/lib/ovlctl", "default", json!(null)));
    fs::write("/etc/ovlctl.toml", "# the store\nroot = '/srv/ovlctl'").unwrap();
    assert_eq!(config(None)[1], root("/srv/ovlctl", "file", json!("/etc/ovlctl.toml:2")));
    assert_eq!(
        config(Some(""))[1],
        root("/var/lib/ovlctl", "default", json!(null)),
        "an empty name means none"
    );
}

#[test]
fn a_file_that_somebody_names_must_be_there() {
    scene("")
        .run("--config nowhere.toml images")
        .fails(1)
        .stderr_is("ovlctl: cannot use nowhere.toml: it cannot be read: No such file or directory");
}

#[test]
fn what_is_wrong_names_its_line_and_the_nearest_key() {
    for (settings, said) in [
        (
            "\n[limits]\nentires = 4",
            "
            ovlctl: cannot use ovlctl.toml: line 3: there is no key 'limits.entires'
            hint: did you mean 'limits.entries'?
            ",
        ),
        (
            "colour = true",
            "
            ovlctl: cannot use ovlctl.toml: line 1: there is no key 'colour'
            hint: `ovlctl --config= config` lists all keys
            ",
        ),
        (
            "root = 'store'",
            "ovlctl: cannot use ovlctl.toml: line 1: 'root' is to be an absolute path in quotes",
        ),
        ("[mount", "ovlctl: cannot use ovlctl.toml: line 1: unclosed table, expected ']'"),
    ] {
        configured(&scene(settings), "images").fails(2).stdout_is("").stderr_is(said);
    }
}

#[test]
fn limits_of_the_file_hold_for_load_mount_and_plan_unless_typed() {
    let scene = scene("limits.entries = 1\n");
    for words in ["load web.tar", "mount web.tar root"] {
        configured(&scene, words).fails(6).stderr_has("layer 1 of 1: more than 1 entries");
    }
    configured(&scene, "load --limit entries=2 web.tar").succeeds();
    let scene = self::scene("limits.json = 10\n");
    for words in ["plan web.tar root", "mount web.tar root"] {
        configured(&scene, words).fails(6).stderr_has("more than 10 bytes in a JSON document");
    }
}

#[test]
fn options_of_the_file_are_for_what_is_mounted_anew() {
    let scene = scene("mount.options = ['nodev', 'noexec']\n");
    let flags = |target: &str| {
        let table = fs::read_to_string("/proc/thread-self/mountinfo").unwrap();
        let line = table.lines().find(|line| line.split(' ').nth(4) == scene.path(target).to_str());
        line.expect("it is mounted").split(' ').nth(5).unwrap().to_owned()
    };
    configured(&scene, "mount -o exec web.tar root").succeeds();
    assert_eq!(flags("root"), "rw,nodev,relatime", "what is typed comes last");
    // The container keeps what it began with, whatever the file says later.
    scene.run("umount root").succeeds();
    scene.write("ovlctl.toml", b"mount.options = 'nosuid'");
    configured(&scene, "mount web-1.4 root").succeeds();
    assert_eq!(flags("root"), "rw,nodev,relatime");
    scene.run("umount root").succeeds();
    // And directories that are no image's are mounted as they are.
    for dir in ["low", "other"] {
        scene.mkdir(dir);
    }
    configured(&scene, "mount --lower low --lower other root").succeeds();
    assert_eq!(flags("root"), "rw,relatime");
    scene.run("umount root").succeeds();
}

#[test]
fn root_goes_by_no_file_that_others_can_write() {
    let refused = |scene: &Scene, words: &str, what: &str| {
        let said = scene.run(words).fails(1);
        let line = format!("[DIR]/{what} could be changed by others than root\nhint: chown root: ");
        assert!(said.stderr.contains(&line), "{}", said.stderr);
    };
    let scene = scene("");
    let file = scene.path("ovlctl.toml");
    let named = format!("--config {} images", file.display());
    scene.run(&named).succeeds();
    for mode in [0o664, 0o646, 0o666] {
        fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
        refused(&scene, &named, "ovlctl.toml");
    }
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    chown(&file, Some(NOBODY), None).unwrap();
    refused(&scene, &named, "ovlctl.toml");
    chown(&file, Some(0), None).unwrap();
    scene.run(&named).succeeds();

    let open = scene.mkdir("open");
    fs::set_permissions(&open, fs::Permissions::from_mode(0o777)).unwrap();
    fs::write(open.join("ovlctl.toml"), "").unwrap();
    symlink(&file, open.join("link")).unwrap();
    symlink(open.join("ovlctl.toml"), scene.path("link")).unwrap();
    for name in ["open/ovlctl.toml", "open/link", "link"] {
        refused(&scene, &format!("--config {} images", scene.path(name).display()), "open");
    }
    // In a sticky directory nobody replaces what is root's.
    fs::set_permissions(&open, fs::Permissions::from_mode(0o1777)).unwrap();
    scene.run(&format!("--config {} images", scene.path("link").display())).succeeds();
}

#[test]
fn a_user_may_have_a_file_of_their_own() {
    use std::os::unix::process::CommandExt;
    let scene = scene("root = '/nowhere'");
    chown(scene.path("ovlctl.toml"), Some(NOBODY), None).unwrap();
    // Where nobody can reach it.
    fs::copy(env!("CARGO_BIN_EXE_ovlctl"), scene.path("ovlctl")).unwrap();
    let mut command = Command::new(scene.path("ovlctl"));
    command.args(["--config", "ovlctl.toml", "config", "--json"]).env_clear().current_dir(scene.path(""));
    let rows = scene.outcome(command.uid(NOBODY).gid(NOBODY)).succeeds().json();
    assert_eq!(rows[1]["place"], "ovlctl.toml:1");
}

#[test]
fn saved_layers_are_compressed_as_the_file_says_unless_typed() {
    let scene = scene("save.compress = 'gzip'");
    scene.run("load web.tar").succeeds();
    let is_gzip = |words: &str| {
        let tar = scene.run_bytes(words);
        tar.windows(3).any(|bytes| bytes == [0x1f, 0x8b, 8])
    };
    assert!(is_gzip("--config ovlctl.toml save web:1.4"));
    assert!(!is_gzip("--config ovlctl.toml save --compress none web:1.4"));
    assert!(!is_gzip("save web:1.4"));
}
