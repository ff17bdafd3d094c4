//! The guide does what it says: each page, from top to bottom, as its reader types it.

use std::env;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::mount::{UnmountFlags, mount_bind, unmount};

use crate::support::page::{Expects, Step, steps};
use crate::support::{Scene, needs};

/// Where `scripts/kernel` keeps kernels, where there is a QEMU to boot them, too.
const KERNELS: &str = "OVLCTL_GUIDE_KERNELS";

/// Is set where a page may build the kernel lab in this checkout, too.
const LAB: &str = "OVLCTL_GUIDE_LAB";

/// What cargo looks at.
const CARGO: [&str; 4] = ["CARGO_HOME", "RUSTUP_HOME", "CARGO_TARGET_DIR", "CARGO_PROFILE_DEV_DEBUG"];

/// Runs each command in one shell, and tells the exit code and where its output ends. Nobody types anything in.
const SHELL: &str = r#"exec 2>&1 </dev/null
for step; do . "$step"; printf '\036%s\036' $?; done"#;

fn checkout() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Runs a page of the guide in a home directory of its own, with a store and a /mnt of its own.
fn holds(name: &str) {
    let page = fs::read_to_string(checkout().join("docs").join(name)).expect("a page of the guide");
    let mut asked = steps(&page);
    assert!(!asked.is_empty(), "nothing is typed in {name}");
    asked.retain(|step| step.needs.as_deref().is_none_or(is_here));
    let scene = Scene::new();
    mount_bind(scene.mkdir("mnt"), "/mnt").expect("a /mnt of its own");
    symlink(checkout(), scene.path("ovlctl")).expect("a link");
    let output = typed(&scene, &asked).output().expect("bash starts");
    // Whatever it has left there, nothing else would find it below /mnt.
    let left = scene.run("umount --all").said();
    unmount("/mnt", UnmountFlags::DETACH).expect("it was mounted");
    let said =
        String::from_utf8_lossy(&output.stdout).replace(&*scene.store().to_string_lossy(), "/var/lib/ovlctl");
    let mut told = said.split('\x1e');
    let mut faults = Vec::new();
    for step in &asked {
        let (printed, code) = (told.next().unwrap_or(""), told.next().unwrap_or("the shell"));
        if let Some(fault) = step.fault(code, printed) {
            faults.push(format!("docs/{name}:{}: $ {}\n{fault}", step.line, step.command));
        }
    }
    assert!(faults.is_empty(), "the page and what is done differ:\n\n{}", faults.join("\n\n"));
    assert_eq!(left.stderr, "", "what the page leaves mounted");
}

/// The shell that a page is typed into.
fn typed(scene: &Scene, steps: &[Step]) -> Command {
    let dir = scene.mkdir("steps");
    let files: Vec<PathBuf> = (0..steps.len()).map(|nr| dir.join(nr.to_string())).collect();
    for (step, file) in steps.iter().zip(&files) {
        fs::write(file, step.command.replace("/var/lib/ovlctl", &scene.store().to_string_lossy()))
            .expect("a file");
    }
    let bin = scene.mkdir("bin");
    symlink(env!("CARGO_BIN_EXE_ovlctl"), bin.join("ovlctl")).expect("a link");
    // The tests are root's already, and sudo would take the store's place from the environment.
    scene.write("bin/sudo", b"#!/bin/sh\nexec \"$@\"\n");
    fs::set_permissions(bin.join("sudo"), fs::Permissions::from_mode(0o755)).expect("chmod");
    // Where cargo is, only this test's own environment knows.
    let path = env::var("PATH").expect("a path");
    let mut shell = Command::new("bash");
    shell.args(["-c", SHELL, "bash"]).args(files).current_dir(scene.mkdir("try")).stdin(Stdio::null());
    shell.env_clear().env("PATH", format!("{}:{path}", bin.display())).env("HOME", scene.path(""));
    shell
        .env("OVLCTL_ROOT", scene.store())
        .env("OVLCTL_NO_SYNC", "1")
        .env("COLUMNS", "100")
        .env("LC_ALL", "C.UTF-8");
    if let Some(kernels) = env::var_os(KERNELS) {
        shell.env("XDG_CACHE_HOME", kernels);
    }
    if env::var_os(LAB).is_some() {
        shell.envs(env::vars_os().filter(|(name, _)| CARGO.iter().any(|cargo| name == cargo)));
    }
    shell
}

fn is_here(need: &str) -> bool {
    let variable = match need {
        "kernel" => KERNELS,
        "lab" => LAB,
        tool => return needs::tool(tool),
    };
    let is_here = env::var_os(variable).is_some();
    if !is_here {
        needs::skipped(&format!("what takes a {need}: scripts/test has it, and sets {variable}"));
    }
    is_here
}

/// A page that no test named would be wrong unseen.
#[test]
fn every_page_of_the_guide_is_typed() {
    let readme = fs::read_to_string(checkout().join("README.md")).expect("a README");
    let (_, guide) = readme.split_once("## Guide").expect("the README lists its pages");
    let (guide, _) = guide.split_once("\n## ").expect("and goes on");
    let pages: Vec<&str> = guide.split("](docs/").skip(1).filter_map(|link| link.split(')').next()).collect();
    assert!(!pages.is_empty(), "no page is linked");
    for page in pages {
        assert!(
            include_str!("guide.rs").contains(&format!("holds(\"{page}\")")),
            "no test types docs/{page}"
        );
    }
}

#[test]
fn first_mount() {
    holds("first-mount.md");
}

#[test]
fn building() {
    holds("building.md");
}

#[test]
fn coming_from_docker() {
    holds("coming-from-docker.md");
}

#[test]
fn kernel_rootfs() {
    holds("kernel-rootfs.md");
}

#[test]
fn comparing_kernels() {
    holds("comparing-kernels.md");
}

#[test]
fn troubleshooting() {
    let page = fs::read_to_string(checkout().join("docs/troubleshooting.md")).expect("a page of the guide");
    let told = page.lines().filter(|line| line.starts_with("### ")).count();
    let provoked = steps(&page).iter().filter(|step| matches!(step.expects, Expects::Error(_))).count();
    assert_eq!(told, provoked, "an error is told that nothing brings about");
    holds("troubleshooting.md");
}
