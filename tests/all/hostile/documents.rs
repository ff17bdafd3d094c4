//! JSON that lies: digests, sizes, types, numbers, indexes without end.

use serde_json::{Value, json};

use super::case::Lab;
use crate::support::image::{Files, Image, Packing, descriptor, docker_legacy, image, index, oci};
use crate::support::layer;

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";

fn bad() -> Image {
    image("bad:1").layer(&layer().file("a", "1")).layer(&layer().file("b", "2"))
}

/// The layout with this text for a manifest, under its right digest.
fn with_manifest(text: &str) -> Files {
    let line = descriptor(MANIFEST, text.as_bytes());
    oci(&[bad()], Packing::Plain).blob(text.as_bytes()).with("index.json", &index(&[line]))
}

fn edited(change: impl FnOnce(&mut Value)) -> Files {
    let mut manifest: Value =
        serde_json::from_slice(&bad().oci_manifest(Packing::Plain)).expect("it is JSON");
    change(&mut manifest);
    with_manifest(&manifest.to_string())
}

/// The layout with an index of which this was changed.
fn with_index(change: impl FnOnce(&mut Value)) -> Files {
    oci(&[bad()], Packing::Plain).edit("index.json", change)
}

#[test]
fn digests_that_are_none_are_refused() {
    // CVE-2024-3727: a digest that became a path.
    let lab = Lab::new();
    let hex = "a".repeat(64);
    for digest in [
        json!("sha256:../../../../../../etc/passwd"),
        json!("../../../../etc/passwd"),
        json!(format!("sha256:{}", "A".repeat(64))),
        json!(format!("sha256:{}", &hex[1..])),
        json!(format!("sha256:{hex}a")),
        json!(format!("sha256:{}\u{0}", &hex[1..])),
        json!(format!("sha512:{}", hex.repeat(2))),
        json!(format!("md5:{}", &hex[..32])),
        json!(format!("SHA256:{hex}")),
        json!(hex),
        json!("sha256:"),
        json!(""),
    ] {
        let words = "is no";
        lab.files_refused(&with_index(|index| index["manifests"][0]["digest"] = digest.clone()), words);
        lab.archive_refused(&edited(|m| m["config"]["digest"] = digest.clone()).tar(), "", words);
        lab.archive_refused(&edited(|m| m["layers"][1]["digest"] = digest.clone()).tar(), "", words);
        let files = docker_legacy(&[bad().config("rootfs", json!({"diff_ids": [digest]}))]);
        lab.archive_refused(&files.tar(), "", words);
    }
    for (digest, words) in [(json!(7), "'digest' is no string"), (Value::Null, "no 'digest'")] {
        lab.files_refused(&with_index(|index| index["manifests"][0]["digest"] = digest.clone()), words);
        lab.archive_refused(&edited(|m| m["layers"][1]["digest"] = digest).tar(), "", words);
    }
}

#[test]
fn sizes_that_are_none_or_others_are_refused() {
    let lab = Lab::new();
    for (size, words) in [
        (json!(-1), "'size' is -1, not a whole number from 0"),
        (json!(1.5), "'size' is 1.5, not a whole number from 0"),
        (json!("12"), "not a whole number from 0"),
        (json!(18_446_744_073_709_551_615_u64), "bytes long, the image says 18446744073709551615"),
        (json!(0), "bytes long, the image says 0"),
        (json!(1), "bytes long, the image says 1"),
    ] {
        lab.files_refused(&with_index(|index| index["manifests"][0]["size"] = size.clone()), words);
        lab.archive_refused(&edited(|m| m["config"]["size"] = size.clone()).tar(), "", words);
        lab.archive_refused(&edited(|m| m["layers"][0]["size"] = size.clone()).tar(), "", words);
    }
}

#[test]
fn config_and_manifest_that_disagree_are_refused() {
    let lab = Lab::new();
    for (files, words) in [
        (edited(|m| m["layers"] = json!([])), "the config names 2 layers, the manifest 0"),
        (edited(|m| m["layers"] = Value::Null), "the config names 2 layers, the manifest 0"),
        (edited(|m| m["layers"] = json!({})), "'layers' is no list"),
        (edited(|m| m["layers"] = json!([1, 2])), "'layers' 0: not a JSON object"),
        (edited(|m| m["layers"][0] = m["layers"][1].clone()), "contents are sha256:"),
        (edited(|m| m["config"] = m["layers"][0].clone()), ""),
        (edited(|m| m["config"] = json!("x")), "'config': not a JSON object"),
    ] {
        lab.archive_refused(&files.tar(), "", words);
    }
    let swapped = docker_legacy(&[bad()])
        .edit("manifest.json", |manifest| manifest[0]["Layers"].as_array_mut().expect("a list").reverse());
    lab.archive_refused(&swapped.tar(), "", "contents are sha256:");
    for (rootfs, words) in [
        (json!({"diff_ids": "x"}), "'diff_ids' is no list"),
        (json!({"diff_ids": [1, 2]}), "'diff_ids' has an item that is no string"),
        (json!([]), "'rootfs' is no JSON object"),
        (Value::Null, "the config names 0 layers, the manifest 2"),
    ] {
        lab.archive_refused(&docker_legacy(&[bad().config("rootfs", rootfs)]).tar(), "", words);
    }
}

#[test]
fn documents_of_another_type_are_refused() {
    let lab = Lab::new();
    let both = |m: &mut Value| m["manifests"] = json!([bad().oci_descriptor(Packing::Plain)]);
    // CVE-2021-41190: one document, two images.
    lab.files_refused(&edited(both), "both a manifest and an index");
    for media_type in [INDEX, "application/vnd.docker.distribution.manifest.list.v2+json"] {
        lab.archive_refused(&edited(|m| m["mediaType"] = json!(media_type)).tar(), "", "which it is not");
        let files = with_index(|index| index["manifests"][0]["mediaType"] = json!(media_type));
        lab.archive_refused(&files.tar(), "", "which it is not");
    }
    let words = "neither manifest.json nor index.json names an image";
    for text in ["[]", "7", "\"x\"", "{}"] {
        lab.archive_refused(&with_manifest(text).tar(), "", words);
    }
    let schema1 = r#"{"schemaVersion": 1, "fsLayers": []}"#;
    lab.archive_refused(&with_manifest(schema1).tar(), "", "a manifest of schema version 1");
    for (text, words) in [
        ("{}", words),
        ("[]", "not a JSON object"),
        ("", "not JSON"),
        ("{\"manifests\": [", "not JSON"),
        ("\u{feff}{}", "not JSON"),
    ] {
        lab.files_refused(&oci(&[bad()], Packing::Plain).with("index.json", text.as_bytes()), words);
    }
    lab.archive_refused(
        &docker_legacy(&[bad()]).with("manifest.json", b"{\"a\": \xff}").tar(),
        "",
        "not JSON",
    );
    lab.archive_refused(
        &docker_legacy(&[bad()]).with("manifest.json", b"[{}]").tar(),
        "",
        "an image without 'Config'",
    );
}

#[test]
fn keys_that_are_given_twice_are_refused() {
    let lab = Lab::new();
    let legacy = docker_legacy(&[bad()]);
    let text = |files: &Files, name: &str| String::from_utf8(files.get(name).to_vec()).expect("JSON is text");
    for key in ["Config", "config", "CONFIG"] {
        let twice =
            text(&legacy, "manifest.json").replacen("[{", &format!("[{{\"{key}\": \"other.json\","), 1);
        lab.archive_refused(
            &legacy.clone().with("manifest.json", twice.as_bytes()).tar(),
            "",
            "is given twice",
        );
    }
    let layout = oci(&[bad()], Packing::Plain);
    let twice = text(&layout, "index.json").replacen('{', "{\"Manifests\": [],", 1);
    lab.files_refused(&layout.clone().with("index.json", twice.as_bytes()), "'manifests' is given twice");
    let manifest = String::from_utf8(bad().oci_manifest(Packing::Plain)).expect("JSON is text");
    let twice = manifest.replacen('{', "{\"layers\": [],", 1);
    lab.files_refused(&with_manifest(&twice), "'layers' is given twice");
    let twice = manifest.replace("\"digest\"", "\"digest\": \"x\", \"digest\"");
    lab.files_refused(&with_manifest(&twice), "'digest' is given twice");
    let config = String::from_utf8(bad().config_bytes()).expect("JSON is text");
    let twice = config.replacen("\"diff_ids\"", "\"diff_ids\": [], \"DIFF_IDS\"", 1);
    let files = docker_legacy(&[bad()]).with(&format!("{}.json", bad().id().hex()), twice.as_bytes());
    lab.archive_refused(&files.tar(), "", "'diff_ids' is given twice");
}

#[test]
fn indexes_without_end_are_refused_at_once() {
    let lab = Lab::new();
    // Ten indexes of ten names each, twelve deep: 10^12 images, in 20 KiB.
    let mut files = oci(&[bad()], Packing::Plain);
    let mut line = bad().oci_descriptor(Packing::Plain);
    for _ in 0..12 {
        let text = index(&vec![line; 10]);
        line = descriptor(INDEX, &text);
        files = files.blob(&text);
    }
    lab.files_refused(&files.with("index.json", &index(&[line])), "indexes are nested more than 8 deep");

    let mut files = oci(&[bad()], Packing::Plain);
    let mut line = bad().oci_descriptor(Packing::Plain);
    for _ in 0..8 {
        let text = index(&vec![line; 10]);
        line = descriptor(INDEX, &text);
        files = files.blob(&text);
    }
    lab.files_refused(&files.with("index.json", &index(&[line])), "leads to more than 20000 blobs");

    let missing = json!({"mediaType": INDEX, "digest": format!("sha256:{}", "0".repeat(64)), "size": 7});
    let files = oci(&[bad()], Packing::Plain).with("index.json", &index(&[missing]));
    lab.files_refused(&files, "which is not in the archive");
}

#[test]
fn names_that_no_image_can_have_are_refused() {
    let lab = Lab::new();
    for (name, words) in [
        ("../../etc", "is no image's name"),
        ("a/../b", "is no image's name"),
        ("a b", "is no image's name"),
        ("-rf", "is no image's name"),
        ("@0", "is no image's name"),
        ("a\u{1b}[2Jb", "is no image's name"),
        ("a\u{202e}b", "is no image's name"),
        ("ä", "is no image's name"),
        (&"n".repeat(400), "an image's name of 400 bytes is too long"),
    ] {
        let files = docker_legacy(&[bad()]).edit("manifest.json", |m| m[0]["RepoTags"] = json!([name]));
        lab.archive_refused(&files.tar(), "", words);
        let annotations = json!({"org.opencontainers.image.ref.name": name});
        lab.files_refused(&with_index(|index| index["manifests"][0]["annotations"] = annotations), words);
    }
}
