//! Files in and out of containers, as `docker cp` copies them, with all that they have.

use std::fs;
use std::os::unix::fs::{FileExt, MetadataExt, symlink};

use crate::support::outcome::Outcome;
use crate::support::{Scene, image, layer, needs};

fn scene() -> Scene {
    let scene = Scene::new();
    let base = layer()
        .dir("app")
        .mode(0o1770)
        .owner(3, 4)
        .file("app/run", "run")
        .mode(0o4755)
        .owner(1, 2)
        .xattr("user.k", b"v")
        .hardlink("app/again", "app/run")
        .symlink("app/link", "run")
        .fifo("app/pipe")
        .char_device("app/null", 1, 3)
        .dir("app/empty")
        .dir("etc")
        .file("etc/hosts", "localhost")
        .symlink("etc/alias", "hosts")
        .symlink("etc/out", "/../../etc/made")
        .symlink("var", "/app");
    scene.save("image.tar", &image("web:1").layer(&base));
    scene.mkdir("root");
    scene.run("mount --name box image.tar root").succeeds();
    scene.run("umount root").succeeds();
    scene
}

const APP: &str = "
    d 1770 3:4 .
    f 4755 1:2 again  run  {user.k=v}
    d 0755 empty
    l 0777 link  -> run
    c 0644 null  1:3
    p 0644 pipe
    f 4755 1:2 run  run  = again  {user.k=v}
    ";

#[test]
fn directory_is_copied_out_with_all_that_it_has() {
    let scene = scene();
    for from in ["web:1:/app", "box:app", "box:/var/"] {
        scene.run(&format!("cp {from} copy")).succeeds().stdout_is("").stderr_is("");
        scene.shows_at("copy", APP);
        fs::remove_dir_all(scene.path("copy")).unwrap();
    }
    scene.mkdir("into");
    scene.run("cp web:1:/app into").succeeds();
    scene.shows_at("into/app", APP);
    scene.run("cp web:1:/app/. into").succeeds();
    assert_eq!(fs::read_to_string(scene.path("into/run")).unwrap(), "run");
    scene.run("cp web:1:/app/link link").succeeds();
    assert_eq!(fs::read_link(scene.path("link")).unwrap().to_str(), Some("run"));
    scene.run("cp -L web:1:/app/link file").succeeds();
    assert_eq!(fs::read_to_string(scene.path("file")).unwrap(), "run");
}

#[test]
fn what_was_copied_in_is_what_was_copied_out() {
    let scene = scene();
    scene.run("cp web:1:/app copy").succeeds();
    scene.run("cp copy box:/etc").succeeds();
    scene.run("cp copy box:/new").succeeds();
    scene.run("mount box root").succeeds();
    scene.shows_at("root/etc/copy", APP);
    scene.shows_at("root/new", APP);
    // Into a mount.
    scene.run("cp copy/. box:/etc/copy/empty").succeeds();
    scene.shows_at("root/etc/copy/empty", &APP.replace("    d 1770 3:4 .\n", ""));
}

#[test]
fn links_in_the_container_lead_nowhere_outside() {
    let scene = scene();
    scene.write("file", b"new");
    symlink("/etc/made", scene.path("hostile")).unwrap();
    scene.run("cp file box:/etc/out").succeeds();
    scene.run("cat box:/etc/made").succeeds().stdout_is("new");
    assert!(!std::path::Path::new("/etc/made").exists());
    scene.run("cp file box:/etc/alias").succeeds();
    scene.run("cat box:/etc/hosts").succeeds().stdout_is("new");
    scene.run("cp file box:/var").succeeds();
    scene.run("cat box:/app/file").succeeds().stdout_is("new");
    scene.run("diff box").succeeds().stdout_is("C /app\nA /app/file\nC /etc\nC /etc/hosts\nA /etc/made");
}

#[test]
fn holes_stay_holes() {
    if !needs::has("upper") {
        return;
    }
    let scene = scene();
    let file = fs::File::create(scene.path("sparse")).unwrap();
    file.write_all_at(b"end", 64 << 20).unwrap();
    file.set_len(65 << 20).unwrap();
    scene.run("cp sparse box:/sparse").succeeds();
    scene.run("cp box:/sparse back").succeeds();
    let back = fs::metadata(scene.path("back")).unwrap();
    assert_eq!(back.len(), 65 << 20);
    assert!(back.blocks() < 1024, "{} blocks", back.blocks());
    let mut end = [0; 3];
    fs::File::open(scene.path("back")).unwrap().read_exact_at(&mut end, 64 << 20).unwrap();
    assert_eq!(&end, b"end");
}

#[test]
fn names_mean_what_docker_means_by_them() {
    let scene = scene();
    scene.write("file", b"x");
    scene.mkdir("dir");
    let table = [
        ("cp file box:/etc/hosts/", "/etc/hosts is no directory"),
        ("cp file box:/none/", "/none is no directory"),
        ("cp file box:/none/file", "there is no /none"),
        ("cp dir box:/etc/hosts", "/etc/hosts is no directory"),
        ("cp file/ box:/etc", "/[FILE] is no directory"),
        ("cp web:1:/none .", "there is no /none"),
        ("cp box:/etc/host .", "there is no /etc/host\nhint: did you mean /etc/hosts?"),
    ];
    for (words, reason) in table {
        let args: Vec<&str> = words.split(' ').collect();
        let said = scene.run(words).fails(1);
        let file = scene.path("file").to_string_lossy().replace(&*scene.path("").to_string_lossy(), "[DIR]/");
        let reason = reason.replace("/[FILE]", &file);
        let _ = said.stderr_is(&format!("ovlctl: cannot copy {} to {}: {reason}", args[1], args[2]));
    }
    scene.mkdir("dir/hosts");
    scene
        .run("cp dir/. box:/etc")
        .fails(1)
        .stderr_is("ovlctl: cannot copy dir/. to box:/etc: a file is where a directory is to be");
    fs::remove_dir(scene.path("dir/hosts")).unwrap();
    fs::write(scene.path("dir/app"), "").unwrap();
    scene
        .run("cp dir/app box:/")
        .fails(1)
        .stderr_is("ovlctl: cannot copy dir/app to box:/: a directory is where a file is to be");
    scene.run("cp file dir").fails(2).stderr_has("one of SRC and DEST must be CONTAINER:PATH");
    scene.run("cp file web:1:/etc").fails(1).stderr_has("'web:1' is an image, and images do not change");
    scene.run("cp file nobody:/etc").fails(3).stderr_has("no image or container 'nobody'");
}

#[test]
fn tar_of_a_tree_is_what_gnu_tar_makes_of_it() {
    let scene = scene();
    let tar = scene.run_bytes("cp web:1:/app -");
    scene.write("app.tar", &tar);
    scene.mkdir("x");
    let mut command = std::process::Command::new("tar");
    command.args(["--xattrs", "--xattrs-include=*", "--numeric-owner", "-pxf", "app.tar", "-C", "x"]);
    scene.outcome(command.current_dir(scene.path(""))).succeeds().stderr_is("");
    scene.shows_at("x/app", APP);
    assert_eq!(tar, scene.run_bytes("cp box:app -"), "the same tree, the same tar");
    scene.run("cp file -").fails(2).stderr_has("SRC must be CONTAINER:PATH or IMAGE:PATH");
}

#[test]
fn read_only_mount_is_left_alone() {
    let scene = scene();
    scene.write("file", b"x");
    scene.run("mount --read-only box root").succeeds();
    scene.run("cp file box:/etc").fails(1).stderr_has("it is mounted read-only");
}

/// Runs `cp - DEST` with this on its standard input.
fn unpack(scene: &Scene, dest: &str, tar: &[u8]) -> Outcome {
    scene.write("stdin", tar);
    let mut command = scene.command(&["cp", "-", dest]);
    scene.outcome(command.stdin(fs::File::open(scene.path("stdin")).expect("it was just written")))
}

#[test]
fn tar_on_standard_input_is_unpacked() {
    let scene = scene();
    let tar = scene.run_bytes("cp web:1:/app -");
    unpack(&scene, "box:/etc", &tar).succeeds().stdout_is("").stderr_is("");
    scene.run("mount box root").succeeds();
    scene.shows_at("root/etc/app", APP);
    // What is there is merged with; what the tar says of its own root is not for the directory.
    let tar = layer()
        .dir("./")
        .mode(0o700)
        .dir("app/")
        .mode(0o700)
        .file("app/run", "other")
        .mode(0o600)
        .file("new/deep/file", "implied")
        .file("app/.wh.link", "no whiteout")
        .hardlink("app/empty/third", "app/run")
        .symlink("hosts", "elsewhere");
    unpack(&scene, "box:/var/../etc", &tar.tar()).succeeds().stderr_is("");
    scene.shows_at(
        "root/etc",
        "
        l 0777 alias  -> hosts
        d 0700 app
        f 0644 app/.wh.link  no whiteout
        f 4755 1:2 app/again  run  {user.k=v}
        d 0755 app/empty
        f 0600 app/empty/third  other
        l 0777 app/link  -> run
        c 0644 app/null  1:3
        p 0644 app/pipe
        f 0600 app/run  other  = app/empty/third
        l 0777 hosts  -> elsewhere
        d 0755 new
        d 0755 new/deep
        f 0644 new/deep/file  implied
        l 0777 out  -> /../../etc/made
        ",
    );
}

#[test]
fn tar_on_standard_input_reaches_nothing_outside_and_replaces_no_directory() {
    let scene = scene();
    let table = [
        (layer().file("../../x", "x"), 6, "entry '../../x': leads out of the layer"),
        (
            layer().char_device("dev", 0, 0),
            6,
            "entry 'dev': a character device 0:0, which overlayfs takes for a whiteout",
        ),
        (layer().file("app", "x"), 1, "entry 'app': rename(\"//app\"): Is a directory"),
        (layer().dir("etc/hosts"), 1, "entry 'etc/hosts': rename(\"//etc/hosts\"): Not a directory"),
        (
            layer().file("etc/hosts/x", "x"),
            1,
            "entry 'etc/hosts/x': openat(\"//etc/hosts\", \".\"): Not a directory",
        ),
    ];
    for (tar, code, reason) in table {
        let said = unpack(&scene, "box:/", &tar.tar()).fails(code);
        let _ = said.stdout_is("").stderr_has(&format!("ovlctl: cannot copy - to box:/: {reason}"));
    }
    let _ = unpack(&scene, "box:/", b"no tar").fails(6);
    scene.run("diff box").succeeds().stdout_is("");
    // A link of the tar's own leads to what it leads to in the container.
    let tar = layer().symlink("way", "/../../../etc").file("way/made-by-cp", "inside");
    unpack(&scene, "box:/app", &tar.tar()).succeeds();
    scene.run("cat box:/etc/made-by-cp").succeeds().stdout_is("inside");
    assert!(!std::path::Path::new("/etc/made-by-cp").exists());
    for (dest, code, reason) in [
        ("box:/none", 1, "there is no /none"),
        ("box:/etc/hosts", 1, "/etc/hosts is no directory"),
        ("web:1:/etc", 1, "'web:1' is an image, and images do not change"),
        ("here", 2, "DEST must be CONTAINER:PATH"),
        ("-", 2, "SRC must be CONTAINER:PATH"),
    ] {
        let _ = unpack(&scene, dest, &layer().file("x", "x").tar()).fails(code).stderr_has(reason);
    }
}

#[test]
fn members_of_a_tar_have_its_owners_also_where_a_directory_passes_on_its_group() {
    let scene = Scene::new();
    let base = layer().dir("shared").mode(0o2775).owner(0, 50);
    scene.save("image.tar", &image("web:1").layer(&base));
    scene.mkdir("root");
    scene.run("mount --name box image.tar root").succeeds();
    let tar = layer().file("file", "x").symlink("link", "file").fifo("pipe").dir("dir").file("dir/file", "x");
    unpack(&scene, "box:/shared", &tar.tar()).succeeds().stderr_is("");
    for name in ["file", "link", "pipe", "dir", "dir/file"] {
        let there = fs::symlink_metadata(scene.path("root/shared").join(name)).unwrap();
        assert_eq!((there.uid(), there.gid()), (0, 0), "{name}");
    }
}

#[test]
fn attributes_of_a_tar_are_kept_or_named_as_those_of_a_layer() {
    let scene = scene();
    let tar = layer()
        .file("kept", "x")
        .xattr("user.k", b"v")
        .file("empty", "x")
        .xattr("security.capability", b"")
        .file("overlay", "x")
        .xattr("trusted.overlay.opaque", b"y");
    let said = unpack(&scene, "box:/app/empty", &tar.tar()).succeeds();
    let _ = said.stderr_has("first 'security.capability' of 'empty'").stderr_has("1 attribute of trusted.*");
    scene.run("mount box root").succeeds();
    scene.shows_at("root/app/empty", "f 0644 empty  x\nf 0644 kept  x  {user.k=v}\nf 0644 overlay  x\n");
}

#[test]
fn tar_on_standard_input_keeps_its_holes() {
    let scene = scene();
    let make = "truncate -s 64M sparse && printf end | dd of=sparse conv=notrunc oflag=seek_bytes,append seek=67108864 2>&1 && \
                tar --sparse --format=pax -cf sparse.tar sparse";
    let mut command = std::process::Command::new("sh");
    let _ = scene.outcome(command.args(["-c", make]).current_dir(scene.path(""))).succeeds();
    let tar = fs::read(scene.path("sparse.tar")).unwrap();
    assert!(tar.len() < 1 << 20, "tar found no hole");
    unpack(&scene, "box:/", &tar).succeeds();
    scene.run("mount box root").succeeds();
    let there = fs::metadata(scene.path("root/sparse")).unwrap();
    assert_eq!(there.len(), (64 << 20) + 3);
    assert!(there.blocks() < 1024, "{} blocks", there.blocks());
    assert!(fs::read(scene.path("root/sparse")).unwrap().ends_with(b"\0end"));
}
