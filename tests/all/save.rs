//! What is saved is what was loaded: the same image, names and layers, to the byte, for ovlctl and for others.

use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::support::image::{Packing, docker, oci};
use crate::support::outcome::Outcome;
use crate::support::{Scene, image, layer};

/// Two images over one base, with what trees do not hold: odd headers, an order of their own, whiteouts of nothing.
fn scene() -> Scene {
    let scene = Scene::new();
    let base = layer()
        .dir("app")
        .owner(3, 4)
        .file("app/run", "run")
        .mode(0o4755)
        .xattr("user.k", b"v")
        .hardlink("app/again", "app/run")
        .char_device("null", 1, 3)
        .whiteout("never")
        .file("app/run", "run, replaced")
        .file("long".repeat(40).as_str(), "x");
    let top = layer().whiteout("null").opaque("app").file("app/new", "new");
    let web = image("web:1").named("web:2").named("Odd:1").layer(&base).layer(&top);
    let other = image("localhost:5000/other:1").layer(&base).layer(&layer().file("other", "1"));
    let nameless = image("").config("author", "nobody".into()).layer(&base);
    scene.write("images.tar", &docker(&[web, other, nameless]).tar());
    scene.run("load images.tar").succeeds();
    scene
}

/// What of a store is to be the same: images with their names, and layers.
fn told(outcomes: [Outcome; 2]) -> Value {
    let [images, layers] = outcomes.map(|outcome| outcome.succeeds().json());
    let rows = images.as_array().expect("rows").iter();
    let images: Vec<Value> = rows
        .map(|row| json!([row["name"], row["id"], row["platform"], row["layers"], row["size"]]))
        .collect();
    let rows = layers.as_array().expect("rows").iter();
    let layers: Vec<Value> =
        rows.map(|row| json!([row["chain_id"], row["diff_id"], row["size"], row["entries"]])).collect();
    json!([images, layers])
}

fn id_of(scene: &Scene, name: &str) -> String {
    let rows = scene.run("images --json").succeeds().json();
    let row =
        rows.as_array().expect("rows").iter().find(|row| row["name"].as_str().unwrap_or_default() == name);
    row.expect("an image")["id"].as_str().expect("an id").to_owned()
}

#[test]
fn what_was_saved_is_loaded_as_the_same_images() {
    let scene = scene();
    let nameless = id_of(&scene, "");
    let all = format!("web:1 web:2 Odd:1 localhost:5000/other:1 {nameless}");
    let wanted = told([scene.run("images --json"), scene.run("layers --json")]);
    for options in
        ["", " --format oci", " --compress zstd", " --compress gzip", " --compress zstd --format oci"]
    {
        scene.run(&format!("save {all} -o saved.tar{options}")).succeeds().stdout_is("");
        scene.elsewhere("load saved.tar").succeeds();
        let found = told([scene.elsewhere("images --json"), scene.elsewhere("layers --json")]);
        assert_eq!(found, wanted, "save{options}");
        scene.elsewhere("check --deep").succeeds();
        for name in ["web:1", "localhost:5000/other:1", nameless.as_str()] {
            scene.elsewhere(&format!("cp {name}:/ there")).succeeds();
            scene.run(&format!("cp {name}:/ here")).succeeds();
            scene.shows_at("there", &scene.tree("here"));
            assert!(scene.tree("here").contains("app"), "{}", scene.tree("here"));
            for dir in ["here", "there"] {
                fs::remove_dir_all(scene.path(dir)).unwrap();
            }
        }
        fs::remove_dir_all(scene.path("other")).unwrap();
    }
}

#[test]
fn same_image_is_the_same_archive() {
    let scene = scene();
    let saved = ["", " --compress zstd", " --compress gzip"]
        .map(|options| scene.run_bytes(&format!("save web:1{options}")));
    scene.elsewhere("load images.tar").succeeds();
    scene.elsewhere("save web:1 -o plain.tar").succeeds();
    scene.elsewhere("save web:1 --compress gzip -o gzip.tar").succeeds();
    scene.elsewhere("save web:1 --compress zstd -o zstd.tar").succeeds();
    for (name, saved) in ["plain.tar", "zstd.tar", "gzip.tar"].iter().zip(saved) {
        assert!(fs::read(scene.path(name)).unwrap() == saved, "{name}");
    }
}

/// Lists an archive by another's tar.
fn members(scene: &Scene, archive: &str) -> Vec<String> {
    let mut command = Command::new("tar");
    command.args(["-tvf", archive, "--numeric-owner", "--utc"]).current_dir(scene.path(""));
    let said = scene.outcome(&mut command).succeeds().stderr_is("");
    said.lines().iter().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
}

#[test]
fn documents_are_those_that_docker_writes() {
    let scene = scene();
    let id = id_of(&scene, "web:1");
    scene.run("save web:2 web:1 localhost:5000/other:1 -o saved.tar").succeeds().stderr_is("");
    let listing = members(&scene, "saved.tar");
    // Three layers, one of them of both; two configs, two manifests.
    assert_eq!(listing.iter().filter(|line| line.contains(" blobs/sha256/")).count(), 7, "{listing:#?}");
    assert!(
        listing.iter().all(|line| line.starts_with("-rw-r--r-- 0/0 ") && line.contains("1970-01-01 00:00")),
        "{listing:#?}"
    );
    let names: Vec<&str> = listing[7..].iter().filter_map(|line| line.split(' ').next_back()).collect();
    assert_eq!(names, ["index.json", "manifest.json", "oci-layout"]);

    let read = |name: &str| -> Value {
        let mut tar = Command::new("tar");
        let output = tar.args(["-xOf", "saved.tar", name]).current_dir(scene.path("")).output().unwrap();
        serde_json::from_slice(&output.stdout).unwrap()
    };
    let manifest = read("manifest.json");
    assert_eq!(manifest[0]["Config"], json!(format!("blobs/sha256/{}", &id["sha256:".len()..])));
    assert_eq!(manifest[0]["RepoTags"], json!(["web:2", "web:1"]));
    assert_eq!(manifest[1]["RepoTags"], json!(["localhost:5000/other:1"]));
    let index = read("index.json");
    let lines = index["manifests"].as_array().unwrap();
    let annotations: Vec<&Value> = lines.iter().map(|line| &line["annotations"]).collect();
    let named = |name: &str, tag: &str| json!({"io.containerd.image.name": name, "org.opencontainers.image.ref.name": tag});
    assert_eq!(
        annotations,
        [
            &named("docker.io/library/web:2", "2"),
            &named("docker.io/library/web:1", "1"),
            &named("localhost:5000/other:1", "1")
        ]
    );
    let blob = format!("blobs/sha256/{}", &lines[0]["digest"].as_str().unwrap()["sha256:".len()..]);
    let layers = &read(&blob)["layers"];
    assert_eq!(layers[0]["mediaType"], "application/vnd.oci.image.layer.v1.tar");
    let path =
        |layer: &Value| format!("blobs/sha256/{}", &layer["digest"].as_str().unwrap()["sha256:".len()..]);
    assert_eq!(manifest[0]["Layers"], json!([path(&layers[0]), path(&layers[1])]));
    assert_eq!(read(manifest[0]["Config"].as_str().unwrap())["rootfs"]["diff_ids"][0], layers[0]["digest"]);
}

#[test]
fn image_has_the_names_that_it_is_asked_for_by() {
    let scene = scene();
    let id = id_of(&scene, "web:1");
    let names = |scene: &Scene| {
        let images = scene.elsewhere("images --json").succeeds().json();
        let names: Vec<String> =
            images.as_array().unwrap().iter().map(|row| row["name"].to_string()).collect();
        fs::remove_dir_all(scene.path("other")).unwrap();
        names.join(" ")
    };
    for (words, expected) in [
        ("web:1".to_owned(), r#""web:1""#),
        (format!("{} web:2", &id[7..15]), r#""web:2""#),
        (id.clone(), "null"),
    ] {
        scene.run(&format!("save {words} -o saved.tar")).succeeds().stderr_is("");
        scene.elsewhere("load saved.tar").succeeds();
        assert_eq!(names(&scene), expected, "{words}");
    }
    let warning = "warning: 'Odd:1' is no name to Docker, which will load that image without it";
    scene.run("save Odd:1 -o saved.tar").succeeds().stderr_is(warning);
    scene.run("save Odd:1 --format oci -o saved.tar").succeeds().stderr_is("");
    scene
        .run("save web:9 -o saved.tar")
        .fails(3)
        .stderr_is("ovlctl: no image 'web:9' in [STORE]\nhint: did you mean 'web:1'?");
}

#[test]
fn a_file_is_replaced_once_all_is_written_and_nothing_else_is() {
    let scene = scene();
    scene.write("old.tar", b"old");
    symlink("old.tar", scene.path("link.tar")).unwrap();
    scene.run("save web:1 -o link.tar").succeeds();
    assert!(scene.path("link.tar").is_symlink());
    assert_eq!(fs::metadata(scene.path("old.tar")).unwrap().mode() & 0o7777, 0o600);
    assert!(fs::read(scene.path("old.tar")).unwrap() == scene.run_bytes("save web:1"));
    assert!(fs::read(scene.path("old.tar")).unwrap() == scene.run_bytes("save -o - web:1"));
    scene.mkdir("dir");
    for (to, exit, reason) in [
        ("dir", 1, "open(\"[DIR]/dir\", O_WRONLY|O_CREAT): Is a directory"),
        ("/dev/null", 1, "it is no regular file"),
        ("none/x.tar", 1, "open(\"none\", O_RDONLY|O_DIRECTORY): No such file or directory"),
    ] {
        let line = format!("ovlctl: cannot save 'web:1' to {to}: {reason}");
        let _ = scene.run(&format!("save web:1 -o {to}")).fails(exit).stderr_is(&line);
    }
}

#[test]
fn damaged_layer_is_no_archive() {
    let scene = scene();
    let chain_id = image("").layer(&layer().file("x", "right")).chain_ids()[0].hex();
    scene.save("x.tar", &image("x:1").layer(&layer().file("x", "right")));
    scene.run("load x.tar").succeeds();
    let file = scene.store().join("overlay2").join(chain_id).join("diff/x");
    fs::write(&file, "wrong").unwrap();
    scene.write("old.tar", b"old");
    for options in ["", " --compress gzip"] {
        scene.run(&format!("save web:1 x:1 -o old.tar{options}")).fails(6).stderr_is(
            "ovlctl: cannot save 'x:1': layer 1 of 1: the contents of 'x' are not those of the layer",
        );
        assert_eq!(fs::read(scene.path("old.tar")).unwrap(), b"old");
    }
    scene.run("save x:1").fails(6).stderr_has("are not those of the layer");
    assert_eq!(scene.staged(), Vec::<std::path::PathBuf>::new());
    scene.run("rm x:1").succeeds();
}

#[test]
fn config_of_another_image_is_no_archive() {
    let scene = scene();
    let id = id_of(&scene, "web:1");
    let config = scene.store().join("images").join(&id["sha256:".len()..]).join("config.json");
    let right = fs::read(&config).unwrap();
    fs::write(&config, b"{}").unwrap();
    scene.run("save web:1 -o x.tar").fails(6).stderr_has("it is the record of sha256:44136fa355b3");
    assert!(!scene.path("x.tar").exists());
    fs::write(&config, right).unwrap();
}

#[test]
fn full_filesystem_has_no_archive() {
    let scene = scene();
    let large: Vec<u8> =
        (0..1u32 << 20).flat_map(|nr| nr.wrapping_mul(2_654_435_761).to_be_bytes()).collect();
    scene.save("large.tar", &image("large:1").layer(&layer().file_of_bytes(b"large", &large)));
    scene.run("load large.tar").succeeds();
    scene.tmpfs("small", "1m");
    scene
        .run("save large:1 -o small/x.tar")
        .fails(1)
        .stderr_is("ovlctl: cannot save 'large:1' to small/x.tar: write: No space left on device");
    assert_eq!(fs::read_dir(scene.path("small")).unwrap().count(), 0);
    let mut command = scene.command(&["save", "large:1"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1), "whoever reads must know that it is not all");
    assert_eq!(
        String::from_utf8_lossy(&output.stderr),
        "ovlctl: cannot save 'large:1' to standard output: Broken pipe\n"
    );
}

#[test]
fn image_without_layers_and_layer_of_no_bytes_are_saved() {
    let scene = Scene::new();
    let images =
        [image("none:1"), image("empty:1").layer_of_bytes(Vec::new()).layer(&layer().file("a", "1"))];
    scene.write("images.tar", &oci(&images, Packing::Zstd).tar());
    scene.run("load images.tar").succeeds();
    scene.run("save none:1 empty:1 -o saved.tar").succeeds();
    scene.elsewhere("load saved.tar").succeeds();
    let wanted = told([scene.run("images --json"), scene.run("layers --json")]);
    assert_eq!(told([scene.elsewhere("images --json"), scene.elsewhere("layers --json")]), wanted);
    scene.elsewhere("check --deep").succeeds();
}
