//! What a container has changed becomes a layer, and an image with it.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};

use rustix::fs::{XattrFlags, lsetxattr};
use serde_json::{Value, json};

use crate::support::{Layer, Scene, image, layer};

fn base() -> Layer {
    layer()
        .dir("etc")
        .file("etc/hosts", "localhost")
        .file("etc/motd", "hello")
        .file("etc/passwd", "root")
        .dir("srv")
        .file("srv/index", "<html>")
}

/// A container named `box` over that and a second layer, mounted on `root`.
fn mounted(options: &str) -> Scene {
    let scene = Scene::new();
    scene.mkdir("root");
    scene.mkdir("again");
    let web = image("web:1")
        .layer(&base())
        .layer(&layer().file("etc/issue", "v1"))
        .config("config", json!({"Cmd": ["/bin/sh", "-c", "serve all"], "Env": ["PATH=/bin"]}))
        .config(
            "history",
            json!([{"created_by": "ADD"}, {"created_by": "RUN"}, {"created_by": "CMD", "empty_layer": true}]),
        );
    scene.save("image.tar", &web);
    scene.run(&format!("mount --name box {options} image.tar root")).succeeds();
    scene
}

/// Changes something of each kind.
fn change(scene: &Scene) {
    let root = |name: &str| scene.path("root").join(name);
    fs::write(root("new"), "new").expect("it works");
    fs::write(root("etc/hosts"), "changed").expect("it works");
    fs::remove_file(root("etc/motd")).expect("it works");
    fs::hard_link(root("etc/passwd"), root("etc/shadow")).expect("it works");
    fs::remove_dir_all(root("srv")).expect("it works");
    fs::create_dir(root("srv")).expect("it works");
    fs::set_permissions(root("srv"), Permissions::from_mode(0o2750)).expect("it works");
    fs::write(root("srv/page"), "x".repeat(100_000)).expect("it works");
    symlink("page", root("srv/link")).expect("it works");
    chown(root("srv/page"), Some(3_000_000), Some(7)).expect("it works");
    lsetxattr(root("srv/page"), "user.k", b"a\nb\0c", XattrFlags::empty()).expect("it works");
    fs::write(root("su"), "su").expect("it works");
    fs::set_permissions(root("su"), Permissions::from_mode(0o4755)).expect("it works");
}

fn config(scene: &Scene, id: &str) -> Value {
    let path = scene.store().join("images").join(id.trim_start_matches("sha256:")).join("config.json");
    serde_json::from_slice(&fs::read(path).expect("it works")).expect("it works")
}

fn last_diff_id(scene: &Scene, image: &str) -> String {
    let inspected = scene.run(&format!("inspect {image}")).succeeds().json();
    inspected[0]["RootFS"]["Layers"]
        .as_array()
        .expect("it works")
        .last()
        .expect("it works")
        .as_str()
        .expect("it works")
        .to_owned()
}

#[test]
fn image_of_a_container_shows_its_tree() {
    let scene = mounted("");
    change(&scene);
    let said =
        scene.run("commit box web:2").succeeds().stderr_is("web:2: 3 layers, 1 new, 97.7 KiB in [TIME]");
    assert_eq!(said.stdout.trim_end(), scene.run("inspect web:2").succeeds().json()[0]["Id"]);
    let tree = "
        d 0755 etc
        f 0644 etc/hosts  changed
        f 0644 etc/issue  v1
        f 0644 etc/passwd  root
        f 0644 etc/shadow  root  = etc/passwd
        f 0644 new  new
        d 2750 srv
        l 0777 srv/link  -> page
        f 0644 3000000:7 srv/page  100000 bytes d69e68988157  {user.k=a\\nb\\x00c}
        f 4755 su  su
        ";
    scene.run("mount --read-only web:2 again").succeeds();
    assert_eq!(scene.tree("again"), scene.tree("root"));
    scene.run("diff web:2 box").succeeds().stdout_is("");
    scene.shows_at("again", tree);
    let root = |dir: &str| fs::metadata(scene.path(dir)).unwrap();
    assert_eq!(root("again").modified().unwrap(), root("root").modified().unwrap());
    scene.run("history --no-headings web:2").succeeds();
    scene.run("check --deep").succeeds();
}

#[test]
fn same_changes_are_the_same_image_in_every_store() {
    let ids = [(), ()].map(|()| {
        let scene = mounted("");
        change(&scene);
        scene.at_a_time("commit box web:2").stdout
    });
    assert_eq!(ids[0], ids[1]);
}

#[test]
fn same_changes_are_the_same_layer_at_any_time() {
    let scene = mounted("");
    change(&scene);
    let ids = ["a", "b"].map(|name| scene.run(&format!("commit box {name}")).succeeds().stdout);
    assert_ne!(ids[0], ids[1], "they were made at two times");
    assert_eq!(last_diff_id(&scene, "a"), last_diff_id(&scene, "b"));
    scene.run("umount root").succeeds();
    let unmounted = scene.run("commit box c").succeeds();
    unmounted.stderr_is("c:latest: 3 layers, 0 new, 97.7 KiB in [TIME]");
    assert_eq!(last_diff_id(&scene, "a"), last_diff_id(&scene, "c"));
}

#[test]
fn later_times_become_the_one_of_the_image() {
    let scene = mounted("");
    let early = std::time::UNIX_EPOCH + std::time::Duration::new(5, 6);
    File::create(scene.path("root/early")).unwrap().set_modified(early).unwrap();
    fs::write(scene.path("root/late"), "").unwrap();
    scene.at_a_time("commit box web:2");
    scene.run("mount --read-only web:2 again").succeeds();
    let time = |name: &str| {
        let meta = fs::metadata(scene.path("again").join(name)).unwrap();
        (meta.mtime(), meta.mtime_nsec())
    };
    assert_eq!([time("early"), time("late"), time(".")], [(5, 6), (86400, 0), (86400, 0)]);
    let id = scene.run("inspect web:2").succeeds().json()[0]["Id"].as_str().unwrap().to_owned();
    assert_eq!(config(&scene, &id)["created"], "1970-01-02T00:00:00Z");
}

#[test]
fn config_tells_what_was_done_and_keeps_the_rest() {
    let scene = mounted("");
    fs::write(scene.path("root/new"), "new").unwrap();
    let words: Vec<&str> = vec!["commit", "-m", "one more", "-a", "me", "-c", r#"CMD ["x"]"#, "--change"];
    let words = [words, vec!["ENV A=b PATH=/x:$PATH", "-c", "LABEL v=1", "box"]].concat();
    let mut command = scene.command(&words);
    let said = scene.outcome(command.env("SOURCE_DATE_EPOCH", "86400")).succeeds();
    let id = said.stdout.trim_end().to_owned();
    let short = &id["sha256:".len()..][..12];
    said.stderr_is(&format!("{short}: 3 layers, 1 new, 29 B in [TIME]"));
    let before = scene.run("inspect web:1").succeeds().json();
    let layers = scene.run(&format!("inspect {short}")).succeeds().json()[0]["RootFS"]["Layers"].clone();
    assert_eq!(layers.as_array().unwrap()[..2], before[0]["RootFS"]["Layers"].as_array().unwrap()[..]);
    let platform = config(&scene, before[0]["Id"].as_str().unwrap());
    assert_eq!(
        config(&scene, &id),
        json!({
            "architecture": platform["architecture"],
            "os": platform["os"],
            "author": "me",
            "created": "1970-01-02T00:00:00Z",
            "config": {"Cmd": ["x"], "Env": ["PATH=/x:/bin", "A=b"], "Labels": {"v": "1"}},
            "rootfs": {"type": "layers", "diff_ids": layers},
            "history": [
                {"created_by": "ADD"},
                {"created_by": "RUN"},
                {"created_by": "CMD", "empty_layer": true},
                {
                    "created": "1970-01-02T00:00:00Z",
                    "author": "me",
                    "created_by": "/bin/sh -c serve all",
                    "comment": "one more",
                },
            ],
        })
    );
}

#[test]
fn container_that_changed_nothing_gives_no_layer() {
    let scene = mounted("");
    let said = scene.at_a_time("commit box web:2").stderr_is("web:2: 2 layers, 0 new, 26 B in [TIME]");
    let config = config(&scene, said.stdout.trim_end());
    let step = json!({
        "created": "1970-01-02T00:00:00Z", "created_by": "/bin/sh -c serve all", "empty_layer": true,
    });
    assert_eq!(config["history"].as_array().unwrap().last(), Some(&step));
    assert_eq!(config["rootfs"]["diff_ids"].as_array().unwrap().len(), 2);
}

#[test]
fn name_moves_to_the_new_image_and_another_commit_goes_on_from_it() {
    let scene = mounted("");
    fs::write(scene.path("root/one"), "1").unwrap();
    scene.run("commit box web:1").succeeds();
    scene.run("mount --name second web:1 again").succeeds();
    fs::write(scene.path("again/two"), "2").unwrap();
    scene.run("commit second web:2").succeeds().stderr_is("web:2: 4 layers, 1 new, 28 B in [TIME]");
    assert_eq!(scene.run("images --no-headings").succeeds().lines().len(), 3, "the old web:1 has no name");
}

#[test]
fn fewer_layers_are_the_base_where_a_container_stands_on_them() {
    let scene = mounted("");
    scene.run("mount --at-layer 1 --name low web:1 again").succeeds();
    fs::write(scene.path("again/low"), "1").unwrap();
    let said = scene.at_a_time("commit low low:1").stderr_is("low:1: 2 layers, 1 new, 25 B in [TIME]");
    let steps = config(&scene, said.stdout.trim_end())["history"].clone();
    let steps: Vec<&str> =
        steps.as_array().unwrap().iter().filter_map(|s| s["created_by"].as_str()).collect();
    assert_eq!(steps, ["ADD", "/bin/sh -c serve all"]);
}

#[test]
fn redirects_and_metadata_copies_are_committed_by_what_they_show() {
    let scene = mounted("-o redirect_dir=on,metacopy=on");
    fs::rename(scene.path("root/srv"), scene.path("root/www")).unwrap();
    chown(scene.path("root/etc/hosts"), Some(5), Some(5)).unwrap();
    scene.run("commit box web:2").succeeds();
    scene.run("mount --read-only web:2 again").succeeds();
    scene.shows_at(
        "again",
        "
        d 0755 etc
        f 0644 5:5 etc/hosts  localhost
        f 0644 etc/issue  v1
        f 0644 etc/motd  hello
        f 0644 etc/passwd  root
        d 0755 www
        f 0644 www/index  <html>
        ",
    );
}

#[test]
fn changes_in_memory_are_committed_through_the_mount() {
    let scene = mounted("--upper tmpfs");
    fs::write(scene.path("root/new"), "new").unwrap();
    fs::remove_file(scene.path("root/etc/motd")).unwrap();
    scene.run("commit box web:2").succeeds().stderr_is("web:2: 3 layers, 1 new, 29 B in [TIME]");
    scene.run("diff web:1 web:2").succeeds().stdout_is("C /etc\nD /etc/motd\nA /new");
    fs::write(scene.path("root/later"), "and it can be written to again").unwrap();
}

#[test]
fn names_from_strangers_are_kept_or_told_of() {
    let scene = mounted("");
    let root = |name: &str| scene.path("root").join(name);
    // As a first name in a tar it would make that a compressed one.
    let gzip = std::ffi::OsString::from_encoded(b"\x1f\x8b\x08");
    for name in ["a\nb", "\u{1b}[31m", "-rf", &"n".repeat(255)] {
        fs::write(root(name), "x").unwrap();
    }
    fs::write(scene.path("root").join(&gzip), "x").unwrap();
    fs::write(root(".wh.etc"), "x").unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(root("\u{1b}socket")).unwrap();
    scene.run("commit box web:2").succeeds().stderr_is(
        "
        warning: /\\x1bsocket left out: it is a socket
        warning: /.wh.etc left out: its name would remove another
        web:2: 3 layers, 1 new, 31 B in [TIME]
        ",
    );
    scene.run("mount --read-only web:2 again").succeeds();
    for name in [".wh.etc", "\u{1b}socket"] {
        fs::remove_file(root(name)).unwrap();
    }
    assert_eq!(scene.tree("again"), scene.tree("root"));
}

trait FromEncoded {
    fn from_encoded(bytes: &[u8]) -> Self;
}

impl FromEncoded for std::ffi::OsString {
    fn from_encoded(bytes: &[u8]) -> Self {
        std::os::unix::ffi::OsStringExt::from_vec(bytes.to_vec())
    }
}

#[test]
fn what_cannot_be_committed_is_said() {
    let scene = mounted("");
    let store = scene.tree("store/images");
    for (words, code, stderr) in [
        (&["commit", "bax", "x"][..], 3, "ovlctl: no container 'bax' in [STORE]\nhint: did you mean 'box'?"),
        (
            &["commit", "web:1", "x"],
            3,
            "ovlctl: 'web:1' is an image, and no container\nhint: `ovlctl tag web:1 NAME` gives it another name",
        ),
        (
            &["commit", "box", "a b"],
            2,
            "ovlctl: 'a b' is no image's name: it has a ' '\nhint: ovlctl help commit",
        ),
        (
            &["commit", "box", "x", "-c", "EXPOSE $NONE"],
            2,
            "ovlctl: 'EXPOSE $NONE': '' is no port: 80, 80/udp, 8000-8010; with /tcp, /udp or /sctp\nhint: ovlctl help commit",
        ),
    ] {
        scene.run_args(words).fails(code).stdout_is("").stderr_is(stderr);
    }
    scene.run_args(&["commit", "box", "x", "-c", "RUN x"]).fails(2).stderr_has(
        "'RUN x' for '--change <INSTRUCTION>': no instruction that changes a config: CMD, ENTRYPOINT, ENV, \
         EXPOSE, LABEL, STOPSIGNAL, USER, VOLUME, WORKDIR",
    );
    crate::support::tree::same("images", &scene.tree("store/images"), &store);
}

#[test]
fn files_are_copied_where_their_contents_cannot_be_shared() {
    let scene = mounted("");
    fs::write(scene.path("root/large"), "x".repeat(1 << 20)).unwrap();
    scene.run("commit box web:2").succeeds();
    let dir_of = |name: &str| {
        let inspected = scene.run(&format!("inspect {name}")).succeeds().json();
        let upper = inspected[0]["GraphDriver"]["Data"]["UpperDir"].as_str().unwrap().to_owned();
        std::path::PathBuf::from(upper.replace("[STORE]", scene.store().to_str().unwrap()))
    };
    let [kept, own] = ["web:2", "box"].map(|name| fs::metadata(dir_of(name).join("large")).unwrap());
    assert_eq!((kept.nlink(), kept.len()), (1, own.len()));
    assert_ne!((kept.dev(), kept.ino()), (own.dev(), own.ino()));
    let beside = fs::read_dir(dir_of("web:2").parent().unwrap()).unwrap();
    let mut beside: Vec<String> =
        beside.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    beside.sort();
    assert_eq!(beside, ["diff", "link", "lower", "work"]);
}

#[test]
fn what_was_committed_is_the_same_when_it_is_saved_and_loaded_elsewhere() {
    let scene = mounted("");
    change(&scene);
    scene.run("commit box web:2").succeeds();
    scene.run("squash web:2 flat:1").succeeds();
    scene.run("save web:2 flat:1 -o saved.tar").succeeds();
    let elsewhere = |words: &str| scene.elsewhere(words).succeeds();
    elsewhere("load saved.tar --image web:2");
    elsewhere("load saved.tar --image flat:1");
    elsewhere("check --deep");
    for name in ["web:2", "flat:1"] {
        let [here, there] =
            [scene.run(&format!("inspect {name}")).succeeds(), elsewhere(&format!("inspect {name}"))];
        let ids = |said: crate::support::outcome::Said| {
            let image = said.json()[0].clone();
            (image["Id"].clone(), image["RootFS"]["Layers"].clone())
        };
        assert_eq!(ids(here), ids(there));
        elsewhere(&format!("mount --read-only {name} again"));
        assert_eq!(scene.tree("again"), scene.tree("root"), "{name}");
        elsewhere("umount again");
    }
}
