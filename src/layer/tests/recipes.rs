//! What the recipe makes again, and what it says when the tree is another. (Every other test here makes its layers' tars
//! again too.)

use super::*;
use crate::layer::recipe::{Fault, RECIPE, rebuild};

/// Unpacks a layer and spoils it.
fn spoilt(layer: &str, spoil: impl FnOnce(&Path)) -> (Vec<u8>, Vec<String>, Vec<u8>) {
    let home = tempfile::tempdir_in("/var/tmp").unwrap();
    let path = home.path().join("diff");
    std::fs::create_dir(&path).unwrap();
    let (beside, diff) = (Dir::open(home.path()).unwrap(), Dir::open(&path).unwrap());
    let tar = tar(layer);
    unpack(blob(&tar), &Digest::of(&tar), &diff, &beside, &Options::default(), &mut Buffers::default())
        .and_then(|unpacked| unpacked.settle(&diff, &Below::new(Vec::new())))
        .unwrap();
    spoil(home.path());

    let (mut again, mut wrong) = (Vec::new(), Vec::new());
    let mut go_on = |fault: Fault| {
        wrong.push(told(&fault));
        Ok(())
    };
    let displaced = beside.open_dir(recipe::DISPLACED.as_bytes()).ok();
    let recipe = beside.open_file(RECIPE.as_bytes()).unwrap();
    if let Err(fault) = rebuild(&recipe, displaced.as_ref(), &diff, &mut again, &mut go_on) {
        wrong.push(told(&fault));
    }
    (tar, wrong, again)
}

#[test]
fn every_file_that_is_not_what_it_was_is_named() {
    let (tar, wrong, again) = spoilt("f a 1234\nd d\nf d/b 1234\nf d/c 1234\nf d/e 1234\nf f 1234", |home| {
        let diff = home.join("diff");
        std::fs::write(diff.join("a"), "12x4").unwrap();
        std::fs::write(diff.join("d/b"), "12").unwrap();
        std::fs::remove_file(diff.join("d/c")).unwrap();
        std::fs::remove_file(diff.join("d/e")).unwrap();
        std::os::unix::fs::symlink("/etc/passwd", diff.join("d/e")).unwrap();
    });
    assert_eq!(wrong.len(), 4, "{wrong:#?}");
    assert_eq!(wrong[0], "the contents of 'a' are not those of the layer");
    assert_eq!(wrong[1], "the contents of 'd/b' are not those of the layer");
    assert!(
        wrong[2].starts_with("'d/c' cannot be read: ") && wrong[2].ends_with("No such file or directory")
    );
    assert!(wrong[3].starts_with("'d/e' cannot be read: "), "{}", wrong[3]);
    assert_eq!(again.len(), tar.len(), "zeros stand for what is missing");
    assert!(again != tar);
}

#[test]
fn a_directory_that_became_a_link_leads_nowhere() {
    let (_, wrong, _) = spoilt("d d\nf d/a 1234", |home| {
        std::fs::rename(home.join("diff/d"), home.join("elsewhere")).unwrap();
        std::os::unix::fs::symlink("../elsewhere", home.join("diff/d")).unwrap();
    });
    assert!(wrong[0].starts_with("'d/a' cannot be read: "), "{wrong:?}");
}

#[test]
fn a_damaged_or_shortened_recipe_says_so() {
    let layer: String = (0..200).map(|n| format!("f file-{n} {n}\n")).collect();
    for spoil in [
        |bytes: &mut Vec<u8>| bytes.truncate(bytes.len() / 2),
        |bytes: &mut Vec<u8>| bytes[0] ^= 1,
        |bytes: &mut Vec<u8>| *bytes.last_mut().unwrap() ^= 1,
        Vec::clear,
    ] {
        let (_, wrong, _) = spoilt(&layer, |home| {
            let mut bytes = std::fs::read(home.join(RECIPE)).unwrap();
            spoil(&mut bytes);
            std::fs::write(home.join(RECIPE), bytes).unwrap();
        });
        assert!(wrong.last().unwrap().starts_with("its recipe is damaged: "), "{wrong:?}");
    }
}

#[test]
fn nothing_is_made_of_a_part_that_has_gone_bad() {
    let length = 200; // of the recipe of two files, about
    for at in 0..length {
        let (tar, wrong, again) = spoilt("f a 1234\nf b 1234", |home| {
            let mut bytes = std::fs::read(home.join(RECIPE)).unwrap();
            let at = at * bytes.len() / length;
            bytes[at] ^= 1 << (at % 8);
            std::fs::write(home.join(RECIPE), bytes).unwrap();
        });
        // Some bits mean nothing.
        let told = wrong.iter().all(|wrong| wrong.starts_with("its recipe is damaged: "));
        assert!(told && (!wrong.is_empty() || again == tar), "byte {at}: {wrong:?}");
        assert!(tar.starts_with(&again), "byte {at}: other bytes than the tar has");
    }
}

/// Writes a recipe as no layer has it, and reads it over an empty tree.
fn cooked(operations: &[u8]) -> String {
    let home = tempfile::tempdir_in("/var/tmp").unwrap();
    let text = [b"ovlctl recipe 1\n", operations].concat();
    std::fs::write(home.path().join(RECIPE), zstd::encode_all(&text[..], 1).unwrap()).unwrap();
    let beside = Dir::open(home.path()).unwrap();
    let recipe = beside.open_file(RECIPE.as_bytes()).unwrap();
    told(&rebuild(&recipe, Some(&beside), &beside, &mut Vec::new(), &mut |_| Ok(())).unwrap_err())
}

#[test]
fn a_recipe_that_tells_of_too_much_is_refused() {
    let file = |count: u32, runs: &[(u64, u64)]| {
        let numbers = runs.iter().flat_map(|(at, size)| [at.to_le_bytes(), size.to_le_bytes()]);
        [b"f\x01\0a\0\0\0\0", &count.to_le_bytes()[..], &numbers.flatten().collect::<Vec<_>>()].concat()
    };
    let gone = |number: u64| [b"d\x01\0", &[b'a' + number as u8][..], &number.to_le_bytes()].concat();
    for (operations, reason) in [
        (vec![0; 3 << 20], "it has a frame of more than 2 MiB"),
        (file(u32::MAX, &[(0, 1)]), "it has a file of too many pieces"),
        (file(1, &[(1 << 62, 1 << 62)]), "it has a file beyond all bounds"),
        (file(3, &[(0, i64::MAX as u64); 3]), "it is of a tar beyond all bounds"),
        ([&b"r\0\0\0\0e\x01"[..], &[0; 7]].concat(), "it is of a tar of another size"),
        ((0..3).flat_map(gone).collect(), "it tells of more displaced files than there are"),
    ] {
        assert_eq!(cooked(&operations), format!("its recipe is damaged: {reason}"));
    }
}

#[test]
fn files_that_later_entries_take_away_are_kept_for_it() {
    let scene = Scene::new().layer(
        "f f 1\nh g f\nf f 2\nl f /x\nf f 3\nd d\nf d/a 4\nh d/h d/a\nd d/e\nf d/e/a 5\nf d 6\nf x 7\nf d 8\nd d\nf d/a 9",
    );
    scene.holds("d ./\nd d\nf d/a 9\nf f 3\nf g 1\nf x 7");
}

#[test]
fn a_recipe_is_small() {
    let layer: String =
        (0..2000).map(|n| format!("f usr/share/doc/package-{n}/copyright {}\n", "x".repeat(n))).collect();
    let (tar, _, _) = spoilt(&layer, |home| {
        let size = std::fs::metadata(home.join(RECIPE)).unwrap().len();
        assert!(size < 40_000, "{size} bytes for 2000 files");
    });
    assert!(tar.len() > 3_000_000);
}
