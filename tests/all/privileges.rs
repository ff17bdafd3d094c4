//! What each verb needs is looked at before anything is done, and named where it is missing.

use std::fs;
use std::os::unix::process::CommandExt;
use std::process::Command;

use crate::support::{NOBODY, Scene, image, layer, needs};

const ALL: &str =
    "CAP_SYS_ADMIN, CAP_CHOWN, CAP_DAC_OVERRIDE, CAP_FOWNER, CAP_FSETID, CAP_MKNOD, CAP_SETFCAP";
const LOOK: &str = "CAP_SYS_ADMIN, CAP_DAC_OVERRIDE";
const REMOVE: &str = "CAP_SYS_ADMIN, CAP_DAC_OVERRIDE, CAP_FOWNER";

/// Words, what they are called in a message, and what they need.
const NEEDS: &[(&str, &str, &str)] = &[
    ("load web.tar", "load", ALL),
    ("mount web root", "mount", ALL),
    ("mount web.tar root", "mount", ALL),
    ("mount box root", "mount", ALL),
    ("mount --lower a --lower b root", "mount", "CAP_SYS_ADMIN"),
    ("check --deep", "check", ALL),
    ("check --repair", "check", ALL),
    ("probe", "probe", ALL),
    ("umount box", "unmount", REMOVE),
    ("umount --all", "unmount", REMOVE),
    ("rm box", "remove", REMOVE),
    ("rm web", "remove", REMOVE),
    ("prune", "prune", REMOVE),
    ("plan web root", "plan", "CAP_SYS_ADMIN"),
    ("diff box", "compare", LOOK),
    ("blame a web", "trace", LOOK),
    ("tree web", "weigh", LOOK),
    ("ls web", "list", LOOK),
    ("cat web:/a", "print", LOOK),
    ("bisect web -- true", "bisect", LOOK),
    ("cp web:/a here", "copy", ALL),
    ("save web -o here", "save", "CAP_DAC_OVERRIDE"),
    ("export web -o here", "export", LOOK),
    ("export web -o here --format dir", "export", ALL),
    ("commit box new", "commit", ALL),
    ("squash web new", "squash", ALL),
    ("df --containers", "count what containers have changed", "CAP_DAC_OVERRIDE"),
];

/// Verbs that only read records: the store's owner needs no capability for them.
const READERS: &[&str] = &[
    "images",
    "layers",
    "mounts",
    "inspect web",
    "history web",
    "df",
    "check",
    "prune --dry-run",
    "tag web other",
];

fn scene() -> Scene {
    let scene = Scene::new();
    scene.save("web.tar", &image("web").layer(&layer().file("a", "1")));
    for dir in ["root", "a", "b"] {
        scene.mkdir(dir);
    }
    scene.run("mount --name box web.tar root").succeeds();
    scene.run("umount root").succeeds();
    // Where everybody can reach it.
    fs::copy(env!("CARGO_BIN_EXE_ovlctl"), scene.path("ovlctl")).expect("a copy");
    scene
}

/// Runs it by `program`, which takes privileges away.
fn run_by(scene: &Scene, program: &[&str], words: &str) -> crate::support::outcome::Outcome {
    let mut command = Command::new(program[0]);
    command.args(&program[1..]).arg(scene.path("ovlctl")).arg("--root").arg(scene.store());
    command.args(words.split_whitespace()).env_clear().env("PATH", "/usr/bin:/bin:/usr/sbin:/sbin");
    scene.outcome(command.current_dir(scene.path("")))
}

const WITHOUT_ANY: &[&str] = &["setpriv", "--bounding-set=-all", "--inh-caps=-all"];

#[test]
fn what_a_verb_needs_is_named_to_a_user() {
    let scene = scene();
    let store = scene.tree("store");
    for (words, verb, missing) in NEEDS {
        let mut command = Command::new(scene.path("ovlctl"));
        command.arg("--root").arg(scene.store()).args(words.split_whitespace()).env_clear();
        command.current_dir(scene.path("")).uid(NOBODY).gid(NOBODY);
        scene.outcome(&mut command).fails(1).stdout_is("").stderr_is(&format!(
            "
            ovlctl: cannot {verb}: not permitted: {missing} missing
            hint: run it as root: sudo ovlctl …
            "
        ));
    }
    for words in READERS {
        let mut command = Command::new(scene.path("ovlctl"));
        command.arg("--root").arg(scene.store()).args(words.split_whitespace()).env_clear();
        command.current_dir(scene.path("")).uid(NOBODY).gid(NOBODY);
        scene.outcome(&mut command).fails(1).stdout_is("").stderr_is(
            "
            ovlctl: cannot open [STORE]: not permitted: CAP_DAC_OVERRIDE missing
            hint: run it as root: sudo ovlctl …
            ",
        );
    }
    crate::support::tree::same("the store", &scene.tree("store"), &store);
}

#[test]
fn what_a_verb_needs_is_named_to_root_without_it() {
    let scene = scene();
    let store = scene.tree("store");
    for (words, verb, missing) in NEEDS {
        run_by(&scene, WITHOUT_ANY, words).fails(1).stdout_is("").stderr_is(&format!(
            "
            ovlctl: cannot {verb}: not permitted: {missing} missing
            hint: run it as root: sudo ovlctl …
            "
        ));
        for one in missing.split(", ") {
            let bounding = format!("--bounding-set=-{}", one.trim_start_matches("CAP_").to_lowercase());
            run_by(&scene, &["setpriv", &bounding], words)
                .fails(1)
                .stderr_has(&format!("ovlctl: cannot {verb}: not permitted: {one} missing\n"));
        }
    }
    crate::support::tree::same("the store", &scene.tree("store"), &store);
}

#[test]
fn owner_of_the_store_reads_it_without_any_capability() {
    let scene = scene();
    for words in READERS {
        run_by(&scene, WITHOUT_ANY, words).succeeds();
    }
}

#[test]
fn root_of_a_user_namespace_is_told_that_its_capabilities_are_none() {
    if !needs::user_namespaces() {
        return;
    }
    let scene = scene();
    let store = scene.tree("store");
    for (words, verb, _) in NEEDS.iter().filter(|(_, _, missing)| missing.contains("CAP_FOWNER")) {
        run_by(&scene, &["unshare", "--user", "--map-root-user"], words).fails(1).stdout_is("").stderr_is(
            &format!(
                "
                ovlctl: cannot {verb}: not permitted: a user namespace's root may make no devices and no trusted.* attributes
                hint: run it outside of the user namespace, as root
                "
            ),
        );
    }
    crate::support::tree::same("the store", &scene.tree("store"), &store);
}

#[test]
fn root_of_a_user_namespace_can_mount_plain_directories() {
    if !needs::user_namespaces() {
        return;
    }
    let scene = scene();
    let program = ["unshare", "--user", "--map-root-user", "--mount"];
    run_by(&scene, &program, "mount --lower a --lower b -o userxattr root")
        .succeeds()
        .stdout_is("[DIR]/root");
}

#[test]
fn those_capabilities_are_enough() {
    let scene = scene();
    let only = |needed: &str| {
        let names: Vec<String> = needed
            .split(", ")
            .map(|name| format!("+{}", name.trim_start_matches("CAP_").to_lowercase()))
            .collect();
        format!("--bounding-set=-all,{}", names.join(","))
    };
    for (words, needed) in [
        ("load web.tar", ALL),
        ("check --deep", ALL),
        ("plan web root", "CAP_SYS_ADMIN"),
        ("mount --name second web.tar root", ALL),
        ("commit second new", ALL),
        ("umount second", REMOVE),
        ("save web -o here", "CAP_DAC_OVERRIDE"),
        ("export box -o here.cpio", LOOK),
        // An image of one layer: the mount that shows it is made in a namespace of its own.
        ("ls web", LOOK),
        ("cat web:/a", LOOK),
        ("ls box", LOOK),
        ("diff box", LOOK),
        ("blame a web", LOOK),
        ("export box -o there/", ALL),
        ("df --containers", "CAP_DAC_OVERRIDE"),
        ("rm box", REMOVE),
        ("rm second", REMOVE),
        ("rm web new", REMOVE),
        ("prune", REMOVE),
    ] {
        run_by(&scene, &["setpriv", &only(needed)], words).succeeds();
    }
    assert_eq!(scene.kept_layers(), Vec::<String>::new());
}

#[test]
fn what_some_mounts_need_besides_is_named() {
    let scene = scene();
    let program = ["setpriv", "--bounding-set=-sys_chroot"];
    run_by(&scene, &program, "mount --read-only web root").fails(1).stdout_is("").stderr_is(
        "
        ovlctl: cannot mount 'web' on root: CAP_SYS_CHROOT missing
        hint: run it as root: sudo ovlctl
        ",
    );
    run_by(&scene, &program, "mount box root").succeeds();
}
