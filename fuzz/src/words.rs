//! What is typed, and what archives say in a word: names of images, platforms, digests and mount options.

use ovlctl::archive::platform::Platform;
use ovlctl::archive::{ImageRef, name};
use ovlctl::digest::Digest;
use ovlctl::mount::Options;

/// Takes a text, which is read as everything; for options, its lines are one `-o` each.
pub fn run(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    match name::normal(&text) {
        Ok(name) => {
            assert_eq!(name::normal(&name).as_ref(), Ok(&name), "normal twice");
            is_plain(&name);
            assert!(name.split('/').all(|part| !matches!(part, "" | "." | "..")), "{name}");
        }
        Err(error) => is_plain(&error.to_string()),
    }
    match text.parse::<ImageRef>() {
        Ok(image) => {
            is_plain(&image.to_string());
            assert_eq!(image.to_string().parse().as_ref(), Ok(&image), "shown, it is another");
        }
        Err(error) => is_plain(&error.to_string()),
    }
    match text.parse::<Platform>() {
        Ok(platform) => {
            is_plain(&platform.to_string());
            assert_eq!(platform.to_string().parse().as_ref(), Ok(&platform), "shown, it is another");
            assert!(platform.takes(&platform));
        }
        Err(error) => is_plain(&error.to_string()),
    }
    match text.parse::<Digest>() {
        Ok(digest) => assert_eq!(digest.to_string(), text),
        Err(error) => is_plain(&error.to_string()),
    }
    options(&text);
}

/// Options that were taken are the same when they are given as they are shown.
fn options(text: &str) {
    let mut options = Options::default();
    for given in text.lines() {
        let before = options.clone();
        if let Err(error) = options.add(given) {
            is_plain(&error.to_string());
            options = before;
        }
    }
    let mut again = Options::default();
    for shown in options.overlay() {
        again.add(&shown).unwrap_or_else(|e| panic!("'{shown}': {e}"));
    }
    assert_eq!(again.overlay().collect::<Vec<_>>(), options.overlay().collect::<Vec<_>>());
    assert_eq!(again.resolved(), options.resolved());
    assert_eq!(
        options.read_only(),
        options.flags().contains(ovlctl::sys::mount::Attributes::MOUNT_ATTR_RDONLY)
    );
}

#[track_caller]
fn is_plain(text: &str) {
    assert!(!text.chars().any(char::is_control), "it would reach a terminal: {text:?}");
}
