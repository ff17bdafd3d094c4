//! The fuzz targets, with the inputs that are kept: seeds, and what was found by fuzzing and is mended.
#![expect(unreachable_pub, reason = "the modules are the fuzzer's, to which they are public")]
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "it is a test")]

#[path = "../../fuzz/src/archive.rs"]
mod archive;
#[path = "../../fuzz/src/choices.rs"]
mod choices;
#[path = "../../fuzz/src/decode.rs"]
mod decode;
#[path = "../../fuzz/src/jail.rs"]
mod jail;
#[path = "../../fuzz/src/layer.rs"]
mod layer;
#[path = "../../fuzz/src/make.rs"]
mod make;
#[path = "../../fuzz/src/mountinfo.rs"]
mod mountinfo;
#[path = "../../fuzz/src/recipe.rs"]
mod recipe;
#[path = "../../fuzz/src/record.rs"]
mod record;
#[path = "../../fuzz/src/tar.rs"]
mod tar;
#[path = "../../fuzz/src/words.rs"]
mod words;

use std::fs;
use std::path::PathBuf;

/// Gives every input of a target to it. A panic names the input on the line before.
fn replay(target: &str, run: fn(&[u8])) {
    let folders = ["seeds", "findings"].map(|folder| PathBuf::from("fuzz").join(folder).join(target));
    let mut inputs: Vec<PathBuf> = Vec::new();
    for folder in &folders {
        inputs.extend(fs::read_dir(folder).into_iter().flatten().map(|entry| entry.unwrap().path()));
    }
    assert!(!inputs.is_empty(), "no inputs in {folders:?}");
    inputs.sort();
    for input in inputs {
        println!("{}", input.display());
        run(&fs::read(input).unwrap());
    }
}

#[test]
fn tars_are_read() {
    replay("tar", tar::run);
}

#[test]
fn layers_are_unpacked_and_made_again() {
    replay("layer", layer::run);
}

#[test]
fn recipes_are_followed_or_refused() {
    replay("recipe", recipe::run);
}

#[test]
fn archives_are_opened() {
    replay("archive", archive::run);
}

#[test]
fn streams_are_decoded() {
    replay("decode", decode::run);
}

#[test]
fn mountinfo_is_read() {
    replay("mountinfo", mountinfo::run);
}

#[test]
fn records_are_believed_or_refused() {
    replay("record", record::run);
}

#[test]
fn words_are_understood() {
    replay("words", words::run);
}
