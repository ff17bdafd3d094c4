//! What a user reads when something is wrong, word for word, and the exit code.

use std::fs;
use std::os::unix::process::CommandExt;
use std::process::Command;

use rustix::mount::{MountFlags, mount, mount_remount};

use crate::support::{NOBODY, Scene, image, layer};

/// A scene with the image `web:1.4` loaded, and a target `root`.
fn loaded() -> Scene {
    let scene = Scene::with("web.tar", &image("web:1.4").layer(&layer().file("a", "1")));
    scene.mkdir("root");
    scene
}

#[test]
fn image_that_is_not_there_offers_the_nearest_name() {
    loaded().run("mount wep:1.4 root").fails(3).stderr_is(
        "
        ovlctl: no image 'wep:1.4' in [STORE]
        hint: did you mean 'web:1.4'?
        ",
    );
}

#[test]
fn a_tag_that_is_missing_or_another_offers_what_there_is() {
    let scene = loaded();
    for name in ["wep", "web:2.0-rc1"] {
        scene.run(&format!("mount {name} root")).fails(3).stderr_is(&format!(
            "
            ovlctl: no image '{name}' in [STORE]
            hint: did you mean 'web:1.4'?
            ",
        ));
    }
}

#[test]
fn container_s_name_that_is_mistyped_is_not_unmounted() {
    let scene = loaded();
    scene.run("mount --name box web:1.4 root").succeeds();
    scene.run("umount bxo").fails(3).stderr_is(
        "
        ovlctl: no container 'bxo' in [STORE]
        hint: did you mean 'box'?
        ",
    );
    scene.run("umount box").succeeds();
    scene.run("umount box").fails(3).stderr_is(
        "
        ovlctl: cannot unmount 'box': nothing of ovlctl's is mounted there
        hint: `ovlctl mounts` lists what is
        ",
    );
}

#[test]
fn file_is_not_called_what_it_would_not_be() {
    let scene = loaded();
    let uncompressed = "the file would not be compressed, as";
    for (verb, name, reason) in [
        (
            "export",
            "x.tar.gz",
            &*format!("{uncompressed} '.gz' says: pipe it, `ovlctl export … | gzip >FILE`"),
        ),
        ("export", "x.img", "'.img' may be any disk: give --format ext4, erofs or squashfs"),
        ("save", "x.tgz", &format!("{uncompressed} '.tgz' says: pipe it, `ovlctl save … | gzip >FILE`")),
        ("save", "x.tar.zst", &format!("{uncompressed} '.zst' says: pipe it, `ovlctl save … | zstd >FILE`")),
    ] {
        let words = format!("{verb} web:1.4 -o {name}");
        scene.run(&words).fails(2).stderr_is(&format!("ovlctl: {reason}\nhint: ovlctl help {verb}"));
        assert!(!scene.path(name).exists(), "{words}");
    }
    for name in ["x.tar.gz", "x.img"] {
        scene.run(&format!("export web:1.4 --format tar -o {name}")).succeeds();
    }
}

#[test]
fn image_that_is_nothing_like_any_other_offers_the_list() {
    loaded().run("mount postgres:16 root").fails(3).stderr_is(
        "
        ovlctl: no image 'postgres:16' in [STORE]
        hint: `ovlctl images` lists what there is
        ",
    );
}

#[test]
fn target_that_is_missing() {
    let scene = loaded();
    let target = scene.path("web");
    scene.run_args(&["mount", "web:1.4", target.to_str().unwrap()]).fails(1).stderr_is(
        "
        ovlctl: cannot mount 'web:1.4' on [DIR]/web: no such directory
        hint: mkdir -p [DIR]/web
        ",
    );
}

#[test]
fn target_that_is_a_file() {
    let scene = loaded();
    scene.write("file", b"");
    let target = scene.path("file");
    scene
        .run_args(&["mount", "web:1.4", target.to_str().unwrap()])
        .fails(1)
        .stderr_is("ovlctl: cannot mount 'web:1.4' on [DIR]/file: not a directory");
}

#[test]
fn failed_mount_leaves_no_container() {
    let scene = loaded();
    let before = scene.tree("store");
    scene.run("mount --name box web:1.4 nowhere").fails(1);
    scene.run("mount --name box -o bogus web:1.4 root").fails(5);
    crate::support::tree::same("the store", &scene.tree("store"), &before);
}

#[test]
fn archive_that_is_missing_is_no_image_either() {
    let said = loaded().run("mount ./nowhere.tar root").fails(1);
    assert!(
        said.stderr.starts_with(
            "ovlctl: cannot mount ./nowhere.tar on root: the archive cannot be read: No such file"
        ),
        "{}",
        said.stderr
    );
}

#[test]
fn names_that_are_no_names() {
    let scene = loaded();
    for name in ["../x", "", "a b", "-x", "a/../b", "x\x1b[31m"] {
        let outcome = scene.run_args(&["tag", "--", "web:1.4", name]);
        assert_eq!(outcome.code, Some(2), "{name:?}: {}", outcome.stderr());
    }
    for name in ["../x", "", "a/b", "."] {
        let outcome = scene.run_args(&["mount", &format!("--name={name}"), "web:1.4", "root"]);
        assert_eq!(outcome.code, Some(2), "{name:?}: {}", outcome.stderr());
    }
}

#[test]
fn usage_is_2() {
    let scene = Scene::new();
    scene.run("").fails(2).stderr_has("Usage");
    scene.run("frobnicate").fails(2).stderr_has("frobnicate");
    scene.run("mount").fails(2).stderr_has("SOURCE");
    scene.run("mount --method magic a b").fails(2).stderr_has("magic");
    scene.run("mount --lower a --image @1 root").fails(2);
    assert!(!scene.store().exists(), "a usage error made a store");
}

#[test]
fn help_names_verbs_and_exit_codes() {
    let help = Scene::new().run("--help").succeeds().stdout;
    let verbs: Vec<&str> =
        help.lines().filter_map(|line| line.strip_prefix("  ")?.split(' ').next()).collect();
    for verb in [
        "mount", "umount", "load", "images", "layers", "mounts", "inspect", "tag", "rm", "prune", "check",
        "df", "plan", "probe",
    ] {
        assert!(verbs.contains(&verb), "{verb} is not in:\n{help}");
    }
    for code in ["0 done", "1 failed", "2 wrong usage", "3 no such", "4 in use", "5 this kernel", "6 damaged"]
    {
        assert!(help.contains(code), "'{code}' is not in:\n{help}");
    }
}

#[test]
fn caller_who_is_not_root_is_told_what_is_missing() {
    let scene = loaded();
    // Where nobody can reach it.
    fs::copy(env!("CARGO_BIN_EXE_ovlctl"), scene.path("ovlctl")).unwrap();
    let mut command = Command::new(scene.path("ovlctl"));
    command.args(["--root", "nobodys", "mount", "web.tar", "root"]).env_clear().current_dir(scene.path(""));
    let said = scene.outcome(command.uid(NOBODY).gid(NOBODY)).fails(1);
    assert!(said.stderr.contains("CAP_SYS_ADMIN"), "{}", said.stderr);
    assert!(said.stderr.contains("hint: ") && said.stderr.contains("sudo"), "{}", said.stderr);
}

#[test]
fn root_without_a_capability_is_told_which() {
    let scene = loaded();
    for (capability, name) in [("sys_admin", "CAP_SYS_ADMIN"), ("mknod", "CAP_MKNOD"), ("chown", "CAP_CHOWN")]
    {
        let mut command = Command::new("setpriv");
        command.arg(format!("--bounding-set=-{capability}")).arg(env!("CARGO_BIN_EXE_ovlctl"));
        command
            .arg("--root")
            .arg(scene.store())
            .args(["mount", "web.tar", "root"])
            .current_dir(scene.path(""));
        scene.outcome(&mut command).fails(1).stderr_has(name);
    }
}

#[test]
fn store_that_is_full() {
    let scene = Scene::new();
    scene.tmpfs("store", "1m");
    scene.save(
        "big.tar",
        &image("big").layer(&layer().file("a", "1")).layer(&layer().file("big", &"x".repeat(4 << 20))),
    );
    let said = scene.run("load big.tar").fails(1).stderr;
    assert!(
        said.starts_with("ovlctl: cannot load big.tar: no space left on [STORE]: layer 2 of 2 needs "),
        "{said}"
    );
    assert!(said.trim_end().ends_with("hint: give --root a directory on a larger filesystem"), "{said}");
    assert_eq!(scene.kept_layers(), Vec::<String>::new());
}

#[test]
fn store_that_is_read_only() {
    let scene = Scene::new();
    let store = scene.tmpfs("store", "4m");
    scene.save("x.tar", &image("x").layer(&layer().file("a", "1")));
    scene.run("load x.tar").succeeds();
    mount_remount(&store, MountFlags::RDONLY, "").unwrap();
    scene.save("y.tar", &image("y").layer(&layer().file("b", "2")));
    scene.run("load y.tar").fails(1).stderr_has("[STORE]").stderr_has("read-only");
    scene.mkdir("root");
    scene.run("mount x root").fails(1).stderr_has("[STORE]").stderr_has("read-only");
    mount_remount(&store, MountFlags::empty(), "").unwrap();
}

#[test]
fn store_on_overlayfs() {
    let scene = Scene::new();
    for dir in ["low", "up", "work", "over"] {
        scene.mkdir(dir);
    }
    scene.run("mount --lower low --upper up --work work over").succeeds();
    scene.save("x.tar", &image("x").layer(&layer().file("a", "1")));
    scene.mkdir("root");
    let mut command = Command::new(env!("CARGO_BIN_EXE_ovlctl"));
    command.args(["--root", "over/store", "mount", "x.tar", "root"]).env_clear().current_dir(scene.path(""));
    let said = scene.outcome(&mut command).fails(5);
    assert!(said.stderr.contains("over/store lies on overlayfs"), "{}", said.stderr);
    assert!(said.stderr.contains("--root"), "{}", said.stderr);
    scene.run("umount over").succeeds();
}

#[test]
fn store_on_a_filesystem_without_attributes() {
    let scene = Scene::new();
    let ramfs = scene.mkdir("store");
    mount("ramfs", &ramfs, "ramfs", MountFlags::empty(), None).unwrap();
    scene.save("x.tar", &image("x").layer(&layer().file("a", "1")));
    scene.run("load x.tar").fails(5).stderr_is(
        "
        ovlctl: cannot load x.tar: [STORE] lies on ramfs, which cannot hold overlayfs' extended attributes (trusted.*)
        hint: give --root a directory on ext4, xfs or btrfs",
    );
    assert_eq!(fs::read_dir(ramfs).unwrap().count(), 0);
}

#[test]
fn store_of_others_is_not_taken() {
    let scene = Scene::new();
    scene.mkdir("store");
    scene.write("store/somebodys", b"file");
    scene.save("x.tar", &image("x").layer(&layer().file("a", "1")));
    let said = scene.run("load x.tar").fails(1);
    said.stderr_is(
        "
        ovlctl: cannot load x.tar: [STORE] is not empty, and no store of ovlctl's
        hint: give --root a new directory, or one that is a store
        ",
    );
    assert!(scene.path("store/somebodys").exists());
}

#[test]
fn output_that_nobody_reads_is_no_crash() {
    let scene = loaded();
    let mut command = scene.command(&["inspect", "web:1.4"]);
    command.stdout(fs::OpenOptions::new().write(true).open("/dev/full").unwrap());
    scene.outcome(&mut command).fails(1).stderr_has("cannot write to standard output: No space left");
}

#[test]
fn terminal_is_no_archive_and_none_is_written_to_it() {
    let scene = loaded();
    let terminal = || fs::OpenOptions::new().read(true).write(true).open("/dev/ptmx").unwrap();
    for words in [&["load"][..], &["load", "-"]] {
        let mut command = scene.command(words);
        command.env("OVLCTL_ROOT", scene.path("none")).stdin(terminal());
        scene.outcome(&mut command).fails(2).stderr_is(
            "
            ovlctl: standard input is a terminal, and no archive: name one, or redirect standard input
            hint: ovlctl help load
            ",
        );
        assert!(!scene.path("none").exists());
    }
    for words in [&["save", "web:1.4"][..], &["export", "web:1.4"], &["save", "web:1.4", "-o", "-"]] {
        let mut command = scene.command(words);
        scene.outcome(command.stdout(terminal())).fails(2).stderr_is(&format!(
            "ovlctl: an archive is nothing for a terminal: give -o FILE, or redirect standard output\nhint: ovlctl help {}",
            words[0]
        ));
    }
}

#[test]
fn who_names_no_verb_gets_the_help_without_what_is_hidden() {
    let scene = Scene::new();
    for words in [&[][..], &["--bytes"]] {
        // A store in the environment is nothing that was typed.
        let mut command = Command::new(env!("CARGO_BIN_EXE_ovlctl"));
        command.args(words).env_clear().env("OVLCTL_ROOT", scene.store());
        let said = scene.outcome(&mut command).fails(2).stderr_has("Commands:\n  mount ");
        assert!(!said.stderr.contains("sweep"), "{}", said.stderr);
    }
}

#[test]
fn file_that_is_missing_is_no_image() {
    let scene = Scene::new();
    scene.mkdir("root");
    scene.run("mount nowhere.tar.gz root").fails(1).stderr_has("No such file or directory");
}

#[test]
fn upper_directory_that_is_missing() {
    let scene = loaded();
    scene.mkdir("root");
    scene.run("mount --upper nowhere web:1.4 root").fails(1).stderr_has("hint: mkdir -p nowhere");
}
