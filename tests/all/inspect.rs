//! `inspect` prints the JSON that docker prints, for the fields that both know; listings are tables and JSON of one source.

use serde_json::json;

use crate::support::{Image, Scene, image, layer, needs};

fn web() -> Image {
    image("web:1")
        .layer(&layer().file("a", "1"))
        .layer(&layer().file("b", "2"))
        .config("created", json!("2024-02-29T12:34:56.789Z"))
        .config("history", json!([{"created_by": "COPY"}, {"created_by": "RUN", "comment": "by hand"}]))
        .config("config", json!({"Env": ["PATH=/bin"], "Cmd": ["/bin/sh"], "Labels": {"k": "v"}}))
}

/// A scene with `web:1` loaded, and a target `root`.
fn loaded() -> Scene {
    let scene = Scene::with("web.tar", &web());
    scene.mkdir("root");
    scene
}

#[test]
fn image_has_docker_s_fields() {
    let scene = loaded();
    let shown = scene.run("inspect web:1").succeeds().json();
    let [image] = shown.as_array().unwrap().as_slice() else { panic!("not one image: {shown}") };
    let diff_ids: Vec<String> = web().diff_ids().iter().map(ToString::to_string).collect();
    for (field, expected) in [
        ("Id", json!(web().id())),
        ("RepoTags", json!(["web:1"])),
        ("Created", json!("2024-02-29T12:34:56.789Z")),
        ("Architecture", json!(crate::support::image::machine().trim_start_matches("linux/"))),
        ("Os", json!("linux")),
        ("Comment", json!("by hand")),
        ("Parent", json!("")),
        ("DockerVersion", json!("")),
        ("VirtualSize", json!(2)),
        ("RootFS", json!({"Type": "layers", "Layers": diff_ids})),
    ] {
        assert_eq!(image[field], expected, "{field}");
    }
    assert_eq!(image["Config"]["Env"], json!(["PATH=/bin"]));
    assert_eq!(image["Config"]["Cmd"], json!(["/bin/sh"]));
    assert_eq!(image["Config"]["Labels"], json!({"k": "v"}));
    // What it leaves out Docker shows empty, and scripts look for.
    assert_eq!(image["Config"]["User"], json!(""));
    assert_eq!(image["Config"].get("Entrypoint"), Some(&json!(null)));
    assert_eq!(image["ContainerConfig"]["Tty"], json!(false));
    assert_eq!(image["Size"], json!(2));
    assert!(image["RepoDigests"].is_array(), "{image}");
}

#[test]
fn image_has_the_graph_driver_s_directories() {
    let scene = loaded();
    let shown = scene.run("inspect web:1").succeeds().json();
    let [base, top] = web().chain_ids().try_into().unwrap();
    let dir = |id: ovlctl::digest::Digest, name: &str| format!("[STORE]/overlay2/{}/{name}", id.hex());
    assert_eq!(
        shown[0]["GraphDriver"],
        json!({
            "Name": "overlay2",
            "Data": {
                "LowerDir": dir(base, "diff"),
                "UpperDir": dir(top, "diff"),
                "WorkDir": dir(top, "work"),
                "MergedDir": dir(top, "merged"),
            },
        })
    );
}

#[test]
fn base_layer_alone_has_no_lower_directory() {
    let scene = Scene::with("x.tar", &image("x").layer(&layer().file("a", "1")));
    let shown = scene.run("inspect x").succeeds().json();
    assert_eq!(shown[0]["GraphDriver"]["Data"]["LowerDir"], json!(null));
}

#[test]
fn digest_of_the_manifest_is_kept() {
    use crate::support::image::{Packing, oci};
    let scene = Scene::new();
    scene.write("web.tar", &oci(&[web()], Packing::Gzip).tar());
    scene.run("load web.tar").succeeds();
    let manifest = ovlctl::digest::Digest::of(&web().oci_manifest(Packing::Gzip));
    let shown = scene.run("inspect web:1").succeeds().json();
    assert_eq!(shown[0]["RepoDigests"], json!([format!("web@{manifest}")]));
}

#[test]
fn container_has_docker_s_fields() {
    let scene = loaded();
    scene.run("mount --name box web:1 root").succeeds();
    let shown = scene.run("inspect box").succeeds().json();
    let container = &shown[0];
    let id = container["Id"].as_str().unwrap();
    assert!(id.len() == 64 && id.bytes().all(|c| c.is_ascii_hexdigit()), "{id}");
    assert_eq!(container["Name"].as_str().unwrap().trim_start_matches('/'), "box");
    assert_eq!(container["Image"], json!(web().id()));
    let [base, top] = <[_; 2]>::try_from(web().chain_ids()).unwrap().map(|id| id.hex());
    assert_eq!(
        container["GraphDriver"]["Data"],
        json!({
            "LowerDir": format!("[STORE]/overlay2/{top}/diff:[STORE]/overlay2/{base}/diff"),
            "UpperDir": format!("[STORE]/overlay2/{id}/diff"),
            "WorkDir": format!("[STORE]/overlay2/{id}/work"),
            "MergedDir": "[DIR]/root",
        })
    );
}

#[test]
fn several_are_one_list() {
    let scene = loaded();
    scene.run("mount --name box web:1 root").succeeds();
    let shown = scene.run("inspect box web:1").succeeds().json();
    assert_eq!(shown.as_array().unwrap().len(), 2);
}

#[test]
fn what_is_not_there_is_named() {
    loaded().run("inspect nothing").fails(3).stderr_has("'nothing'");
}

#[test]
fn listings_without_headings_have_a_line_for_each() {
    let scene = loaded();
    scene.run("mount --name box web:1 root").succeeds();
    for (listing, rows) in [("images", 1), ("layers", 2), ("mounts", 1)] {
        assert_eq!(
            scene.run(&format!("{listing} --no-headings")).succeeds().lines().len(),
            rows,
            "{listing}"
        );
        assert_eq!(scene.run(listing).succeeds().lines().len(), rows + 1, "{listing}");
        assert_eq!(scene.run(&format!("{listing} -q")).succeeds().lines().len(), rows, "{listing}");
        let json = scene.run(&format!("{listing} --json")).succeeds().json();
        assert_eq!(json.as_array().map(Vec::len), Some(rows), "{listing}: {json}");
    }
}

#[test]
fn listings_of_nothing_are_empty() {
    let scene = Scene::new();
    for listing in ["images", "layers", "mounts"] {
        assert_eq!(scene.run(&format!("{listing} -q")).succeeds().stdout, "");
        assert_eq!(scene.run(&format!("{listing} --json")).succeeds().json(), json!([]));
    }
    assert!(!scene.store().exists(), "a listing made a store");
}

#[test]
fn plan_prints_the_calls_and_makes_none() {
    let scene = loaded();
    let before = scene.tree("store");
    for method in needs::methods(["fd", "path", "procfd", "links"]) {
        let call = if matches!(method, "fd" | "path") { "fsconfig(" } else { "mount(" };
        let said = scene.run(&format!("plan --method {method} web:1 root")).succeeds();
        assert!(said.stdout.contains(call), "{method}: {}", said.stdout);
    }
    assert_eq!(scene.mounts(), Vec::<std::path::PathBuf>::new());
    assert!(scene.tree("store") == before, "`plan` changed the store");
}
