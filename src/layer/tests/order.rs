//! Entries that meet at one path, and links on the way to it.

use super::*;

#[test]
fn the_last_entry_of_a_name_wins() {
    Scene::new().layer("f a one\nf a two\nl a three").holds("d ./\nl a three");
    Scene::new().layer("l a b\np a\nf a last").holds("d ./\nf a last");
}

#[test]
fn a_file_replaces_a_full_directory() {
    Scene::new().layer("f d/e/f one\nf d/g\nl d/h x\nf d two\nf z").holds("d ./\nf d two\nf z");
}

#[test]
fn a_directory_replaces_a_file_or_a_link() {
    Scene::new().layer("f a one\nd 0700 a\nf a/b").holds("d ./\nd 0700 a\nf a/b");
    Scene::new().layer("d x\nl a x\nd 0700 a\nf a/b").holds("d ./\nd 0700 a\nf a/b\nd x");
}

#[test]
fn a_directory_entry_over_a_directory_keeps_what_is_in_it() {
    Scene::new().layer("d 0700 d\nf d/a\nd 0711 @5 d/").holds("d ./\nd 0711 @5 d\nf d/a");
}

#[test]
fn what_a_removed_directory_whited_out_is_forgotten() {
    Scene::new().layer("f d/a").layer("f d/.wh.a\nf d/.wh..wh..opq\nf d\nd 0700 d").holds("d ./\nd 0700 d");
}

#[test]
fn a_file_in_the_way_of_a_path_becomes_a_directory() {
    Scene::new().layer("f a one\nf a/b/c two").holds("d ./\nd a\nd a/b\nf a/b/c two");
}

#[test]
fn entries_beneath_a_link_of_the_layer_stay_in_it() {
    for target in ["run", "/run", "../../run", "/../run", "./var/../run", "x/../run"] {
        let layer = format!("d run\nd var\nl v {target}\nf v/pid 1");
        Scene::new().layer(&layer).holds(&format!("d ./\nd run\nf run/pid 1\nl v {target}\nd var"));
    }
}

#[test]
fn a_link_to_nothing_leads_to_implied_directories() {
    Scene::new().layer("l a b/c\nf a/d").holds("d ./\nl a b/c\nd b\nd b/c\nf b/c/d");
}

#[test]
fn dotdot_in_a_link_is_the_parent_of_where_it_leads() {
    Scene::new()
        .layer("d x/y\nl s x/y\nl up s/..\nf up/f")
        .holds("d ./\nl s x/y\nl up s/..\nd x\nf x/f\nd x/y");
}

#[test]
fn a_link_replaced_by_a_directory_is_followed_no_more() {
    Scene::new().layer("d x\nl a x\nf a/1\nd a\nf a/2").holds("d ./\nd a\nf a/2\nd x\nf x/1");
}

#[test]
fn a_directory_replaced_by_a_link_is_entered_no_more() {
    Scene::new().layer("f a/1\nl a x\nf a/2").holds("d ./\nl a x\nd x\nf x/2");
}

#[test]
fn hard_links_are_one_inode_and_bring_no_metadata() {
    Scene::new()
        .layer("f 4755 {user.a=b} a text\nh 0600 9:9 {user.c=d} b/c ./a\nh d /b/../b/c")
        .holds("d ./\nf 4755 {user.a=b} a text\nd b\nh b/c a\nh d a");
}

#[test]
fn a_hard_link_to_a_link_is_the_link() {
    Scene::new().layer("l @4 a /etc/passwd\nh b a").holds("d ./\nl @4 a /etc/passwd\nh b a");
}

#[test]
fn a_hard_link_replaces_what_was_there() {
    Scene::new().layer("f a one\nf b two\nh b a").holds("d ./\nf a one\nh b a");
    Scene::new().layer("f d/a one\nf d/b\nh d d/a").holds("d ./\nf d one");
    Scene::new().layer("f a one\nh a a").holds("d ./\nf a one");
}

#[test]
fn a_hard_link_keeps_what_its_target_was() {
    Scene::new().layer("f a one\nh b a\nf a two").holds("d ./\nf a two\nf b one");
}

#[test]
fn a_name_may_have_any_byte_but_two() {
    Scene::new()
        .layer("f a\\x0ab\\xff one\nf \\x20 two\nl l \\xfe")
        .holds("d ./\nf \\x20 two\nf a\\x0ab\\xff one\nl l \\xfe");
}

#[test]
fn a_thousand_levels_are_no_trouble() {
    let deep = "d/".repeat(1000);
    let scene = Scene::new().layer(&format!("f {deep}f text\nf d/.wh..wh..opq\nf {deep}g"));
    let mut dir = scene.top();
    for _ in 0..1000 {
        dir = dir.open_dir(b"d").unwrap();
    }
    assert_eq!(dir.names().unwrap().len(), 2);
    scene.layer(&format!("f {deep}.wh.f\nf d")).holds("d ./\nf d");
}

#[test]
fn a_thousand_directories_need_no_thousand_handles() {
    let layer: String = (0..1200).map(|n| format!("f {n}/f\n")).collect();
    let again: String = (0..1200).map(|n| format!("f {n}/g\n")).collect();
    let scene = Scene::new().layer(&(layer + &again));
    assert_eq!(scene.summary.entries, 2400);
    assert_eq!(scene.top().names().unwrap().len(), 1200);
}
