//! What a kernel may lack. A test that needs it asks here first, and says on stderr what it leaves out, and why.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::scene::DEFAULT_DIR;

/// Whether this kernel, and the filesystem that scenes are set on, have a feature of `ovlctl probe`.
#[must_use]
pub(crate) fn has(feature: &str) -> bool {
    let dir = std::env::var_os("OVLCTL_TEST_DIR").map_or_else(|| PathBuf::from(DEFAULT_DIR), PathBuf::from);
    let mut command = Command::new(env!("CARGO_BIN_EXE_ovlctl"));
    command
        .arg("--root")
        .arg(dir.join("no-store"))
        .args(["probe", "--for", feature])
        .env_clear()
        .env("OVLCTL_CONFIG", "");
    let output = command.output().expect("ovlctl starts");
    let said = String::from_utf8_lossy(&output.stderr);
    match output.status.code() {
        Some(0) => true,
        Some(5) => {
            skipped(&said);
            false
        }
        other => panic!("probe --for {feature} ended with {other:?}: {said}"),
    }
}

/// Returns those of these methods that this kernel has.
#[must_use]
pub(crate) fn methods<const N: usize>(asked: [&'static str; N]) -> Vec<&'static str> {
    asked.into_iter().filter(|method| has_method(method)).collect()
}

/// Whether this kernel has a method of `mount --method`.
#[must_use]
pub(crate) fn has_method(method: &str) -> bool {
    match method {
        "fd" => has("layer-handles"),
        "path" => has("lowerdir+"),
        _ => true,
    }
}

/// Whether this kernel knows a filesystem, as a module perhaps.
#[must_use]
pub(crate) fn filesystem(name: &str) -> bool {
    // What cannot be loaded is not there.
    let _ = Command::new("modprobe").args(["-q", name]).env("PATH", "/usr/sbin:/sbin:/usr/bin:/bin").status();
    let known = std::fs::read_to_string("/proc/filesystems").expect("/proc");
    let is_known = known.lines().any(|line| line.split_whitespace().next_back() == Some(name));
    if !is_known {
        skipped(&format!("this kernel has no {name}"));
    }
    is_known
}

/// Whether a filesystem can be made here, and mounted by a loop device.
#[must_use]
pub(crate) fn disk(filesystem: &str) -> bool {
    let has_loop = Path::new("/dev/loop-control").exists();
    if !has_loop {
        skipped("this machine has no loop devices");
    }
    has_loop && tool(&format!("mkfs.{filesystem}")) && self::filesystem(filesystem)
}

/// Whether root may make user namespaces.
#[must_use]
pub(crate) fn user_namespaces() -> bool {
    let tried = Command::new("unshare").args(["--user", "--map-root-user", "true"]).output();
    let can = tried.expect("unshare(1) starts").status.success();
    if !can {
        skipped("no user namespace can be made here");
    }
    can
}

/// Whether this system has a program.
#[must_use]
pub(crate) fn tool(name: &str) -> bool {
    let path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    let is_there = path.split(':').any(|dir| Path::new(dir).join(name).exists());
    if !is_there {
        skipped(&format!("{name} is not here"));
    }
    is_there
}

/// Returns a program that needs no library and is many: this machine's busybox.
#[must_use]
pub(crate) fn busybox() -> Option<Vec<u8>> {
    let found = std::fs::read("/bin/busybox").or_else(|_| std::fs::read("/usr/bin/busybox")).ok();
    if found.is_none() {
        skipped("this machine has no busybox");
    }
    found
}

#[expect(
    clippy::print_stderr,
    reason = "nextest shows it: a test can say in no other way that it left something out"
)]
pub(crate) fn skipped(why: &str) {
    eprintln!("skipped: {}", why.trim_end());
}
