//! `mount::table`: mountinfo, by bytes and by lines as the kernel writes them.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use ovlctl::mount::OverlayMount;
use ovlctl::mount::table::{self, parse};

use crate::choices::Choices;

/// Takes how the text comes about, and what it is made of.
pub fn run(data: &[u8]) {
    let mut choices = Choices::new(data);
    if choices.below(2) == 0 {
        let text = choices.rest();
        let mounts = parse(text);
        assert!(mounts.len() <= text.iter().filter(|byte| **byte == b'\n').count() + 1);
        for mount in &mounts {
            let _ = OverlayMount::of(mount);
            let top = table::top_at(&mounts, &mount.target).expect("there is this one");
            assert_eq!(top.target, mount.target);
        }
    } else {
        as_the_kernel_writes_it(&mut choices);
    }
}

/// What an overlay is made of is read from its line as it was.
fn as_the_kernel_writes_it(choices: &mut Choices<'_>) {
    let one_by_one = choices.once_in(2);
    let (target, source) = (path(choices), path(choices));
    let lowers: Vec<_> = (0..=choices.below(4)).map(|_| path(choices)).collect();
    let (upper, work) = (path(choices), path(choices));
    let propagation = *choices.pick(&["", "shared:1 ", "shared:1 master:2 propagate_from:3 ", "unbindable "]);

    let mut line =
        format!("71 46 0:40 / {} rw,relatime {propagation}- overlay ", mangled(&target, b" \t\n\\"));
    line += &format!("{} rw", mangled(&source, b" \t\n\\"));
    if one_by_one {
        for lower in &lowers {
            line += &format!(",lowerdir+={}", mangled(lower, b", \t\n\\"));
        }
    } else {
        let colons: Vec<Vec<u8>> = lowers.iter().map(|lower| escaped(lower)).collect();
        line += &format!(",lowerdir={}", mangled(&colons.join(&b':'), b", \t\n\\"));
    }
    line += &format!(",upperdir={}", mangled(&upper, b", \t\n\\"));
    line += &format!(",workdir={},xino=off\n", mangled(&work, b", \t\n\\"));

    let bytes: Vec<u8> = line.chars().map(|c| c as u8).collect();
    let mounts = parse(&bytes);
    let overlay = OverlayMount::of(&mounts[0]).expect("it is one");
    let as_path = |bytes: &[u8]| Path::new(OsStr::from_bytes(bytes)).to_owned();
    assert_eq!(overlay.target, as_path(&target));
    assert_eq!(overlay.source.as_bytes(), source);
    assert_eq!(overlay.lowers, lowers.iter().map(|lower| as_path(lower)).collect::<Vec<_>>());
    assert_eq!((overlay.upper, overlay.work), (Some(as_path(&upper)), Some(as_path(&work))));
    assert_eq!(overlay.options, ["xino=off"]);
    assert_eq!(mounts[0].propagates, propagation.starts_with("shared"));
}

/// Any bytes but NUL, behind a slash.
fn path(choices: &mut Choices<'_>) -> Vec<u8> {
    let mut path = b"/".to_vec();
    path.extend(choices.bytes(12).iter().filter(|byte| **byte != 0));
    path
}

/// As mangle_path and seq_escape_mem do it (fs/seq_file.c), a byte a character.
fn mangled(bytes: &[u8], those: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut out, byte| {
        if those.contains(byte) {
            out.push_str(&format!("\\{byte:03o}"));
        } else {
            out.push(char::from(*byte));
        }
        out
    })
}

/// As overlayfs wants colons and backslashes of `lowerdir=` given, and shows them again.
fn escaped(path: &[u8]) -> Vec<u8> {
    path.iter()
        .flat_map(|&byte| if matches!(byte, b':' | b'\\') { vec![b'\\', byte] } else { vec![byte] })
        .collect()
}
