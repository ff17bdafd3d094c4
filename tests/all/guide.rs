//! The guide does what it says: each page, from top to bottom, as its reader types it.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::mount::{UnmountFlags, mount_bind, unmount};

use crate::support::page::{Step, steps};
use crate::support::{Scene, needs};

/// Says that there are kernels to boot (`scripts/kernel`), and a QEMU to do it.
const HAS_KERNELS: &str = "OVLCTL_GUIDE_KERNELS";

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
    let path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    let mut shell = Command::new("bash");
    shell.args(["-c", SHELL, "bash"]).args(files).current_dir(scene.mkdir("try")).stdin(Stdio::null());
    shell.env_clear().env("PATH", format!("{}:{path}", bin.display())).env("HOME", scene.path(""));
    shell
        .env("OVLCTL_ROOT", scene.store())
        .env("OVLCTL_NO_SYNC", "1")
        .env("COLUMNS", "100")
        .env("LC_ALL", "C.UTF-8");
    if let Some(kernels) = std::env::var_os(HAS_KERNELS) {
        shell.env("XDG_CACHE_HOME", kernels);
    }
    shell
}

fn is_here(need: &str) -> bool {
    if need != "kernel" {
        return needs::tool(need);
    }
    let is_here = std::env::var_os(HAS_KERNELS).is_some();
    if !is_here {
        needs::skipped(&format!("what takes a kernel: scripts/test has one, and sets {HAS_KERNELS}"));
    }
    is_here
}

/// A page that no test named would be wrong unseen.
#[test]
fn every_page_is_linked_and_run() {
    let readme = fs::read_to_string(checkout().join("README.md")).expect("a README");
    for entry in fs::read_dir(checkout().join("docs")).expect("docs") {
        let name = entry.expect("readdir").file_name().into_string().expect("a name");
        let page = fs::read_to_string(checkout().join("docs").join(&name)).expect("text");
        if name.ends_with(".md") && !steps(&page).is_empty() {
            assert!(readme.contains(&format!("(docs/{name})")), "README.md does not name docs/{name}");
            assert!(
                include_str!("guide.rs").contains(&format!("holds(\"{name}\")")),
                "no test runs docs/{name}"
            );
        }
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
