//! What is exported is the mounted tree, to the last attribute, whatever holds it then.

use std::fs;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::process::{Command, Stdio};

use rustix::fs::{XattrFlags, lsetxattr};

use crate::support::tree::same;
use crate::support::{Scene, image, layer, needs};

/// cap_net_raw=ep (linux/capability.h).
const CAPABILITY: [u8; 20] = [1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

/// `u::rw-,u:3:r--,g::r--,m::r--,o::r--` (linux/posix_acl_xattr.h).
const ACL: [u8; 44] = [
    2, 0, 0, 0, 1, 0, 6, 0, 255, 255, 255, 255, 2, 0, 4, 0, 3, 0, 0, 0, 4, 0, 4, 0, 255, 255, 255, 255, 16,
    0, 4, 0, 255, 255, 255, 255, 32, 0, 4, 0, 255, 255, 255, 255,
];

/// A container that is mounted on `root`, over an image of two layers, with something of each kind from each of the three.
fn scene() -> Scene {
    let scene = Scene::new();
    let base = layer()
        .dir("./")
        .mode(0o1751)
        .owner(5, 6)
        .mtime(1000)
        .dir("app")
        .mode(0o2770)
        .owner(3, 70_000)
        .mtime(1001)
        .file("app/run", "run")
        .mode(0o4755)
        .owner(1, 2)
        .mtime(1002)
        .xattr("user.k", b"v")
        .hardlink("app/again", "app/run")
        .file("ping", "x")
        .xattr("security.capability", &CAPABILITY)
        .xattr("trusted.t", b"\0\xff")
        .symlink("link", "app/run")
        .mtime(1003)
        .char_device("null", 1, 3)
        .owner(7, 8)
        .block_device("disk", 8, 1)
        .fifo("pipe")
        .file("empty", "")
        .file("gone", "x")
        .file(&format!("{}/{}", "d".repeat(200), "f".repeat(200)), "deep")
        .file("with space and \u{e9}", "x");
    let top =
        layer().whiteout("gone").file("sbin/init", "#!/bin/sh").mode(0o755).hardlink("third", "app/run");
    scene.save("image.tar", &image("web:1").layer(&base).layer(&top));
    scene.mkdir("root");
    scene.run("mount --name box image.tar root").succeeds();
    let root = scene.path("root");
    fs::write(root.join("mine"), "mine").expect("it can be done");
    fs::remove_file(root.join("null")).expect("it can be done");
    lsetxattr(root.join("mine"), "system.posix_acl_access", &ACL, XattrFlags::empty())
        .expect("it can be done");
    let sparse = fs::File::create(root.join("sparse")).expect("it can be done");
    sparse.write_all_at(b"middle", 6 << 20).expect("it can be done");
    sparse.set_len(9 << 20).expect("it can be done");
    scene
}

/// Lists a tree with its times.
fn list(path: &Path) -> String {
    crate::support::tree::list(path, crate::support::tree::Times::Shown)
}

/// Runs another program in the scene, which must succeed.
#[track_caller]
fn tool(scene: &Scene, words: &str) {
    let mut command = Command::new("sh");
    let _ = scene.outcome(command.args(["-c", words]).current_dir(scene.path(""))).succeeds();
}

/// The listing without what a form cannot hold.
fn without(listing: &str, what: &[&str]) -> String {
    let lines = listing.lines().map(|line| {
        let mut line = line.to_owned();
        for what in what {
            line = line.replace(&format!(", {what}"), "").replace(&format!("{what}, "), "");
            line = line.replace(&format!("  {{{what}}}"), "");
        }
        line
    });
    lines.collect::<Vec<_>>().join("\n")
}

fn acl(listing: &str) -> String {
    let line = listing.lines().find(|line| line.contains(" mine")).expect("a file");
    line.split_once('{').expect("an attribute").1.trim_end_matches('}').to_owned()
}

#[test]
fn tar_is_the_tree() {
    let scene = scene();
    let mounted = list(&scene.path("root"));
    for (words, name) in [("export box -o box.tar", "box.tar"), ("export box", "piped.tar")] {
        let piped = scene.run_bytes(words);
        if name == "piped.tar" {
            scene.write(name, &piped);
        }
        scene.mkdir("x");
        tool(&scene, &format!("tar --xattrs --xattrs-include='*' --numeric-owner -pxf {name} -C x"));
        same(name, &list(&scene.path("x")), &mounted);
        fs::remove_dir_all(scene.path("x")).unwrap();
    }
    assert!(
        fs::read(scene.path("box.tar")).unwrap() == fs::read(scene.path("piped.tar")).unwrap(),
        "always the same"
    );
    assert_eq!(fs::metadata(scene.path("box.tar")).unwrap().mode() & 0o7777, 0o600);
    scene.run("umount root").succeeds();
    assert!(scene.run_bytes("export box") == fs::read(scene.path("box.tar")).unwrap(), "mounted or not");
    scene.run("export web:1 -o web.tar").succeeds();
    scene.mkdir("x");
    tool(&scene, "tar --xattrs --xattrs-include='*' --numeric-owner -pxf web.tar -C x");
    scene.run("mount --read-only web:1 root").succeeds();
    same("web:1", &list(&scene.path("x")), &list(&scene.path("root")));
}

#[test]
fn what_no_tar_holds_is_named_by_its_path() {
    let scene = scene();
    let _socket =
        std::os::unix::net::UnixListener::bind(scene.path("root/app/socket")).expect("it can be made");
    let said = scene.run("export box -o box.tar").succeeds();
    let _ = said.stderr_is("warning: /app/socket left out: it is a socket");
}

#[test]
fn exported_tar_is_a_layer() {
    let scene = scene();
    let tar = scene.run_bytes("export box --format tar");
    scene.save("whole.tar", &image("whole:1").layer_of_bytes(tar));
    scene.mkdir("other");
    scene.run("mount --read-only whole.tar other").succeeds();
    same("one layer", &list(&scene.path("other")), &list(&scene.path("root")));
}

#[test]
fn directory_is_the_tree() {
    let scene = scene();
    let mounted = list(&scene.path("root"));
    scene.mkdir("empty");
    for target in ["new/", "empty", "named"] {
        scene.run(&format!("export box -o {target} --format dir")).succeeds().stdout_is("").stderr_is("");
        same(target, &list(&scene.path(target)), &mounted);
        let sparse = fs::metadata(scene.path(target).join("sparse")).unwrap();
        assert!(sparse.blocks() < 1024, "{} blocks", sparse.blocks());
    }
    for (target, reason) in [
        ("named", "there is a directory that is not empty"),
        ("image.tar", "there is no directory, but something else"),
        ("none/new", "open(\"none\", O_RDONLY|O_DIRECTORY): No such file or directory"),
    ] {
        let said = scene.run(&format!("export box --format dir -o {target}")).fails(1);
        let _ = said.stderr_is(&format!("ovlctl: cannot export 'box' to {target}: {reason}"));
    }
    same("named", &list(&scene.path("named")), &mounted);
}

#[test]
fn what_cannot_be_finished_leaves_no_directory() {
    let scene = scene();
    scene.write("root/large", &vec![b'x'; 2 << 20]);
    let small = scene.tmpfs("small", "1m");
    scene.mkdir("small/empty");
    for target in ["small/new", "small/empty"] {
        scene
            .run(&format!("export box --format dir -o {target}"))
            .fails(1)
            .stderr_has("No space left on device");
        let left: Vec<_> = fs::read_dir(&small).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left, ["empty"]);
        assert_eq!(fs::read_dir(small.join("empty")).unwrap().count(), 0);
    }
    for (format, path) in [("tar", "./large"), ("cpio", "large")] {
        scene.run(&format!("export box --format {format} -o small/x")).fails(1).stderr_is(&format!(
            "ovlctl: cannot export 'box' to small/x: entry '{path}': write: No space left on device"
        ));
        assert_eq!(fs::read_dir(&small).unwrap().count(), 1);
    }
}

/// It cannot be replaced by another directory.
#[test]
fn mount_point_takes_an_export() {
    let scene = Scene::with(
        "image.tar",
        &image("web:1").layer(&layer().dir("./").mode(0o711).dir("d").file("d/f", "x")),
    );
    scene.tmpfs("to", "8m");
    scene.run("export web:1 --format dir -o to").succeeds();
    scene.shows_at("to", "d 0711 .\nd 0755 d\nf 0644 d/f  x");
}

#[test]
fn cpio_is_the_tree_without_its_attributes() {
    if !needs::tool("cpio") {
        return;
    }
    let scene = scene();
    let mounted = list(&scene.path("root"));
    let said = scene.run("export box -o box.cpio").succeeds();
    let _ = said.stderr_is(
        "
        warning: 5 extended attributes left out, first 'user.k' of 'app/again': cpio has none
        hint: there is no /init: as an initramfs it needs `rdinit=/sbin/init` on the kernel's command line
        ",
    );
    assert!(fs::read(scene.path("box.cpio")).unwrap() == scene.run_bytes("export box --format cpio"));
    scene.mkdir("x");
    tool(&scene, "cd x && cpio --quiet -idm --no-absolute-filenames <../box.cpio");
    let attributes = ["user.k=v", "trusted.t=\\x00\\xff", &capability(&mounted), &acl(&mounted)];
    // GNU cpio leaves the root as it is, and gives neither links nor directories their times: the kernel does.
    let hidden = |name: &str| {
        let listing = scene.tree(name);
        listing.lines().filter(|line| !line.ends_with(" .")).collect::<Vec<_>>().join("\n")
    };
    same("cpio", &hidden("x"), &without(&hidden("root"), &attributes));
    assert!(list(&scene.path("x")).contains("@1002 app/run"), "files have their times");
    fs::write(scene.path("root/init"), "#!/bin/sh").unwrap();
    scene
        .run("export box -o box.cpio")
        .succeeds()
        .stderr_is("warning: 5 extended attributes left out, first 'user.k' of 'app/again': cpio has none");
}

fn capability(listing: &str) -> String {
    let line = listing.lines().find(|line| line.contains(" ping")).expect("a file");
    let from = line.find("security.capability=").expect("an attribute");
    line[from..].split(", ").next().expect("a part").trim_end_matches('}').to_owned()
}

#[test]
fn file_that_cpio_cannot_hold_is_named() {
    let scene = scene();
    let large = fs::File::create(scene.path("root/large")).unwrap();
    large.set_len(4 << 30).unwrap();
    scene.run("export box -o box.cpio").fails(1).stderr_is(
        "ovlctl: cannot export 'box' to box.cpio: entry 'large': its size, of 4 GiB or more, is too large for cpio",
    );
    assert!(!scene.path("box.cpio").exists());
}

/// Makes a filesystem, mounts it, and compares it with the mounted container.
fn filesystem(kind: &str, program: &str, warning: &str, lost: &[&str]) {
    if !needs::tool(program) || !needs::filesystem(kind) {
        return;
    }
    let scene = scene();
    // What was mounted inside is another's.
    scene.mkdir("root/inside");
    scene.tmpfs("root/inside", "64k");
    fs::write(scene.path("root/inside/other"), "").expect("it can be done");
    scene.run(&format!("export box -o box.{kind}")).succeeds().stdout_is("").stderr_is(warning);
    rustix::mount::unmount(scene.path("root/inside"), rustix::mount::UnmountFlags::empty())
        .expect("it can be done");
    let mounted = list(&scene.path("root"));
    scene.mkdir("x");
    tool(&scene, &format!("mount -t {kind} -o loop,ro box.{kind} x"));
    let found = list(&scene.path("x"));
    let found: Vec<&str> = found.lines().filter(|line| !line.contains("lost+found")).collect();
    let acl = acl(&mounted);
    let lost: Vec<&str> = lost.iter().map(|what| if *what == "acl" { acl.as_str() } else { what }).collect();
    same(kind, &found.join("\n"), &without(&mounted, &lost));
    tool(&scene, "umount x");
    // Not mounted, and an image.
    scene.run("umount root").succeeds();
    scene.run(&format!("export web:1 -o web.{kind}")).succeeds();
    scene.run("mount --read-only web:1 root").succeeds();
    tool(&scene, &format!("mount -t {kind} -o loop,ro web.{kind} x"));
    let found = list(&scene.path("x"));
    let found: Vec<&str> = found.lines().filter(|line| !line.contains("lost+found")).collect();
    same(kind, &found.join("\n"), &list(&scene.path("root")));
    tool(&scene, "umount x");
}

#[test]
fn ext4_is_the_tree() {
    filesystem("ext4", "mkfs.ext4", "", &[]);
}

#[test]
fn erofs_is_the_tree() {
    filesystem("erofs", "mkfs.erofs", "", &[]);
}

#[test]
fn squashfs_is_the_tree_without_access_control_lists() {
    let warning = "warning: 1 access control list left out, first of '/mine': squashfs has none";
    filesystem("squashfs", "mksquashfs", warning, &["acl"]);
}

#[test]
fn ext4_has_the_size_that_is_asked_for() {
    if !needs::tool("mkfs.ext4") {
        return;
    }
    let scene = scene();
    scene.run("export box -o box.ext4 --size 96M").succeeds();
    assert_eq!(fs::metadata(scene.path("box.ext4")).unwrap().len(), 96 << 20);
    tool(&scene, "e2fsck -fn box.ext4");
    scene.write("root/large", &vec![b'x'; 8 << 20]);
    scene
        .run("export box -o small.ext4 --size 8M")
        .fails(1)
        .stderr_is("ovlctl: cannot export 'box' to small.ext4: 8.0 MiB are not enough for it: 43.0 MiB are");
    assert!(!scene.path("small.ext4").exists());
    scene
        .run("export box -o small.ext4 --size 1")
        .fails(1)
        .stderr_is("ovlctl: cannot export 'box' to small.ext4: 1 B are not enough for it: 43.0 MiB are");
    scene.run("export box -o right.ext4").succeeds();
    tool(&scene, "e2fsck -fn right.ext4");
}

#[test]
fn a_program_that_is_missing_is_named_with_its_package() {
    let scene = scene();
    // What this machine has nobody finds here.
    let nothing = scene.mkdir("nothing");
    for place in ["/usr/sbin", "/usr/bin", "/sbin", "/bin"] {
        rustix::mount::mount_bind(&nothing, place).unwrap();
    }
    for (kind, program, package) in [
        ("ext4", "mkfs.ext4", "e2fsprogs"),
        ("erofs", "mkfs.erofs", "erofs-utils"),
        ("squashfs", "mksquashfs", "squashfs-tools"),
    ] {
        scene.run(&format!("export box -o x.{kind}")).fails(5).stderr_has(&format!(
            "ovlctl: cannot export 'box' to x.{kind}: there is no {program} here: Debian has it in {package}"
        ));
    }
    for place in ["/bin", "/sbin", "/usr/bin", "/usr/sbin"] {
        rustix::mount::unmount(place, rustix::mount::UnmountFlags::DETACH).unwrap();
    }
}

#[test]
fn what_makes_no_sense_is_refused() {
    let scene = scene();
    for (words, reason) in [
        (
            "export box -o x.cpio --no-holes",
            "--no-holes is for a tar: a cpio has none, and the others keep them",
        ),
        ("export box -o x.tar --size 1G", "--size is for ext4: the others are as large as they must be"),
        ("export box --format ext4", "only a tar and a cpio can go to standard output: give -o FILE"),
        ("export box --format dir -o -", "only a tar and a cpio can go to standard output: give -o FILE"),
    ] {
        scene.run(words).fails(2).stderr_has(reason);
    }
    scene.run("export box -o /dev/null").fails(1).stderr_has("it is no regular file");
    scene.run("export nobody -o x.tar").fails(3).stderr_has("no image or container 'nobody'");
}

#[test]
fn container_in_another_mount_namespace_is_exported_by_its_own_mount() {
    if !needs::tool("mkfs.erofs") || !needs::filesystem("erofs") {
        return;
    }
    let scene = scene();
    let mounted = list(&scene.path("root"));
    scene.run("umount root").succeeds();
    let script = format!(
        "'{}' --root store mount box root >/dev/null 2>&1 && echo there && read -r wait",
        env!("CARGO_BIN_EXE_ovlctl")
    );
    let mut child = Command::new("unshare")
        .args(["-m", "sh", "-c", &script])
        .current_dir(scene.path(""))
        .env("OVLCTL_NO_SYNC", "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(child.stdout.take().unwrap()), &mut line)
        .unwrap();
    assert_eq!(line, "there\n");
    let exported = scene.run("export box -o box.erofs").succeeds();
    drop(child.stdin.take());
    let _ = child.wait();
    let _ = exported.stderr_is("");
    scene.mkdir("x");
    tool(&scene, "mount -t erofs -o loop,ro box.erofs x");
    same("elsewhere", &list(&scene.path("x")), &mounted);
    tool(&scene, "umount x");
}
