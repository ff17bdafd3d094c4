//! More helpers than this machine may have processors for.

use super::*;
use crate::layer::crew::with_helpers;

const HELPERS: usize = 6;

/// A layer of names that come again, as another kind too, while a helper may have the file that was there before.
fn of_names_that_come_again() -> String {
    let first = (0..61).map(|n| format!("f a{n} first\n"));
    let again = (0..2000).map(|nr| {
        let (a, b) = (nr * 7919 % 61, nr * 104_729 % 53);
        match nr % 8 {
            0..=2 => format!("f a{a} {}\n", format!("{nr} ").repeat(nr % 97)),
            3 => format!("h b{b} a{a}\n"),
            4 => format!("l b{b} {nr}\n"),
            5 => format!("f c{b}/{a} {nr}\n"),
            6 => format!("d 0700 @{nr} d{b}/{a}/{nr}\n"),
            _ => format!("f c{b} {nr}\n"),
        }
    });
    first.chain(again).collect()
}

#[test]
fn whoever_writes_the_files_the_order_of_the_tar_counts() {
    let text = of_names_that_come_again();
    let scene = Scene::new().layer(&text);
    let tar = tar(&text);
    assert!(!pipeline::is_small(&blob(&tar)), "{} bytes", tar.len());
    for _ in 0..3 {
        with_helpers(HELPERS, |crew| scene.compare_with(&tar, blob(&tar), &mut Buffers::alone(crew), true));
    }
}

#[test]
fn with_many_helpers_a_layer_that_is_refused_ends() {
    let text = of_names_that_come_again() + "f ../x\n";
    let scene = Scene { layers: 1, ..Scene::new() };
    for _ in 0..3 {
        let tar = tar(&text);
        with_helpers(HELPERS, |crew| scene.compare_with(&tar, blob(&tar), &mut Buffers::alone(crew), false));
    }
}
