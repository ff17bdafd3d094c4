//! What is in images and containers, mounted or not: `ls` and `cat`.

use std::fs;
use std::os::unix::fs::symlink;

use serde_json::json;

use crate::support::{Scene, image, layer};

/// An image of two layers, and a container over it that is not mounted and has changed something.
fn scene() -> Scene {
    let scene = Scene::new();
    let base = layer()
        .dir("etc")
        .file("etc/hosts", "localhost\n")
        .file("etc/gone", "")
        .file("usr/bin/su", "su\n")
        .mode(0o4755)
        .owner(1, 2)
        .mtime(1_000_000_000)
        .xattr("user.k", b"v")
        .symlink("bin", "/usr/bin")
        .symlink("out", "../../../../../etc/hosts")
        .symlink("round", "round")
        .symlink("usr/astray", "nowhere")
        .fifo("pipe")
        .char_device("null", 1, 3);
    scene.save("image.tar", &image("web:1").layer(&base).layer(&layer().whiteout("etc/gone")));
    scene.mkdir("root");
    scene.run("mount --name box image.tar root").succeeds();
    fs::write(scene.path("root/etc/new"), "new\n").expect("it is mounted");
    scene.run("umount root").succeeds();
    scene
}

#[test]
fn directories_are_listed_without_a_mount() {
    let scene = scene();
    let root = "bin\netc\nnull\nout\npipe\nround\nusr";
    scene.run("ls web:1").succeeds().stdout_is(root).stderr_is("");
    scene.run("ls web:1:/").succeeds().stdout_is(root);
    scene.run("ls web:1:etc").succeeds().stdout_is("hosts");
    scene.run("ls box:etc").succeeds().stdout_is("hosts\nnew");
    scene.run("ls web:1:/bin").succeeds().stdout_is("su");
    scene.run("ls -q web:1:/usr/bin/su").succeeds().stdout_is("su");
    assert_eq!(scene.mounts(), Vec::<std::path::PathBuf>::new());
}

#[test]
fn container_that_is_mounted_is_seen_through_its_mount() {
    let scene = scene();
    scene.run("mount box root").succeeds();
    scene.tmpfs("root/usr", "64k");
    fs::write(scene.path("root/usr/here"), "").unwrap();
    scene.run("ls box:/usr").succeeds().stdout_is("here");
    fs::write(scene.path("root/etc/newer"), "x").unwrap();
    scene.run("cat box:/etc/newer").succeeds().stdout_is("x");
    rustix::mount::unmount(scene.path("root/usr"), rustix::mount::UnmountFlags::empty()).unwrap();
}

#[test]
fn container_that_is_mounted_elsewhere_is_found() {
    let scene = scene();
    let mut holder = scene.command(&["mount", "box", "root"]);
    // The mount is made in a mount namespace of its own, in which a process stays.
    let script = format!("{} && echo ready && exec cat", shell(&holder));
    holder = std::process::Command::new("unshare");
    holder.args(["--mount", "sh", "-c", &script]).current_dir(scene.path(""));
    holder.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped());
    let mut child = holder.spawn().unwrap();
    let mut said = String::new();
    let mut out = std::io::BufReader::new(child.stdout.take().unwrap());
    while !said.contains("ready") {
        assert_ne!(std::io::BufRead::read_line(&mut out, &mut said).unwrap(), 0, "{said}");
    }
    scene.run("ls box:etc").succeeds().stdout_is("hosts\nnew");
    scene.write("file", b"x");
    scene.run("cp file box:/etc/copied").succeeds();
    scene.run("cat box:/etc/copied").succeeds().stdout_is("x");
    drop(child.stdin.take());
    child.wait().unwrap();
    scene.run("ls box:etc").succeeds().stdout_is("copied\nhosts\nnew");
}

fn shell(command: &std::process::Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| format!("'{}'", word.to_str().expect("text"))).collect::<Vec<_>>().join(" ")
}

#[test]
fn all_of_an_inode_is_told() {
    let scene = scene();
    scene.run("ls -l web:1:/usr/bin/su").succeeds().stdout_is(
        "
        MODE        OWNER  SIZE  MODIFIED          NAME
        -rwsr-xr-x  1:2    3 B   2001-09-09 01:46  su
        ",
    );
    let said = scene.run("ls -l --no-headings web:1").succeeds().stdout;
    for line in [
        "crw-r--r--  0:0  1:3  1970-01-01 00:00  null",
        "lrwxrwxrwx  0:0  -    1970-01-01 00:00  bin -> /usr/bin",
    ] {
        assert!(said.lines().any(|said| said == line), "{line}\n{said}");
    }
    let rows = scene.run("ls --json web:1:/usr/bin").succeeds().json();
    let su = json!([{"name": "su", "type": "file", "mode": 0o4755, "uid": 1, "gid": 2, "size": 3,
        "mtime": "2001-09-09T01:46:40.000000000Z", "target": null, "device": null, "links": 1,
        "xattrs": {"user.k": "v"}}]);
    assert_eq!(rows, su);
}

#[test]
fn files_are_printed_byte_for_byte_and_links_stay_inside() {
    let scene = scene();
    let said = scene.run("cat web:1:/etc/hosts web:1:bin/su web:1:/out").succeeds();
    assert_eq!(said.stdout, "localhost\nsu\nlocalhost\n");
}

#[test]
fn what_is_no_file_is_not_opened() {
    let scene = scene();
    symlink("/", scene.path("here")).unwrap();
    for (path, reason) in [
        ("/etc", "it is a directory\nhint: `ovlctl ls` lists it"),
        ("/pipe", "it is no regular file"),
        ("/null", "it is no regular file"),
        ("/round", "its symbolic links lead in a circle, or into /proc"),
        ("/etc/host", "there is no /etc/host\nhint: did you mean /etc/hosts?"),
        ("/etc/gone", "there is no /etc/gone"),
        ("/usr/astray", "its symbolic link leads to nothing"),
    ] {
        let said = scene.run(&format!("cat web:1:{path}")).fails(1);
        let _ = said.stderr_is(&format!("ovlctl: cannot print web:1:{path}: {reason}"));
    }
    scene
        .run("ls wep:1:/etc")
        .fails(3)
        .stderr_is("ovlctl: no image or container 'wep:1' in [STORE]\nhint: did you mean 'web:1'?");
}
