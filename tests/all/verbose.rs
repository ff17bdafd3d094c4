//! What is done is said by -v, and each system call that does it by -vv, as strace(1) would print it.

use std::fs;

use crate::support::{Image, Scene, image, layer, needs};

fn web() -> Image {
    let base = layer().dir("etc").file("etc/hosts", "localhost").symlink("bin", "usr/bin");
    image("web:1").layer(&base).layer(&layer().file("more", "1").whiteout("etc/hosts"))
}

/// An archive of it, and a target.
fn scene() -> Scene {
    let scene = Scene::new();
    scene.save("web.tar", &web());
    scene.mkdir("root");
    scene
}

/// The lines that say `of`, in their order.
fn lines<'a>(said: &'a str, of: &str) -> Vec<&'a str> {
    said.lines().filter(|line| line.contains(of)).collect()
}

/// The calls among the lines, without what they are about.
fn calls(said: &str) -> Vec<&str> {
    let is_name =
        |name: &str| !name.is_empty() && name.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'_'));
    said.lines()
        .filter_map(|line| {
            let (before, _) = line.split_once('(').filter(|_| line.contains(" = "))?;
            let name = before.rsplit(' ').next()?;
            // `layer 1 of 2 (…): mkdirat(…)`: the first bracket is that of the layer's id.
            if is_name(name) {
                return Some(&line[before.len() - name.len()..]);
            }
            let rest = line.split_once("): ")?.1;
            rest.split_once('(').filter(|(name, _)| is_name(name)).map(|_| rest)
        })
        .collect()
}

#[test]
fn each_thing_that_is_done_is_said() {
    let scene = scene();
    let [base, top] = ids(&web());
    let id = web().id().short();
    scene.run("load -v web.tar").succeeds().stderr_is(&format!(
        "
        layer 1 of 2 ({base}): unpacked, 3 entries, 16 B
        layer 2 of 2 ({top}): unpacked, 2 entries, 1 B
        image {id}: called web:1
        2 layers, 2 new, 17 B in [TIME]
        "
    ));
    scene.run("load --verbose web.tar").succeeds().stderr_is(&format!(
        "
        layer 1 of 2 ({base}): is there already
        layer 2 of 2 ({top}): is there already
        image {id}: called web:1
        2 layers, 0 new, 17 B in [TIME]
        "
    ));
    let said = scene.run("save -v -o saved.tar web:1").succeeds().stderr;
    let saved = [format!("layer 1 of 2 ({base}): written, "), format!("layer 2 of 2 ({top}): written, ")];
    assert!(saved.iter().all(|line| said.contains(line)), "{said}");
    let said = scene.run("check -v --deep").succeeds().stderr;
    let proved =
        [format!("layer {base}: being proved, 3 entries"), format!("layer {top}: being proved, 2 entries")];
    assert_eq!(lines(&said, ": being proved"), proved);
    let said = scene.run("mount -v --name box --method path web:1 root").succeeds().stderr;
    assert_eq!(
        lines(&said, ": "),
        [
            &format!("container 'box': made, over image {id}"),
            "[DIR]/root: layers are handed over as a string each (--method path): as was asked for",
            "[DIR]/root: mounted, 2 layers",
        ]
    );
    let said = scene.run("umount -v root").succeeds().stderr;
    assert_eq!(lines(&said, "[DIR]/root: "), ["[DIR]/root: unmounted"]);
    let said = scene.run("-v snapshot box one").succeeds().stderr;
    assert_eq!(lines(&said, "box"), ["container 'box': its changes go to a new, empty directory"]);
    let said = scene.run("-v rm box").succeeds().stderr;
    assert_eq!(lines(&said, "container 'box'"), ["container 'box': removed"]);
    assert_eq!(lines(&said, "snapshot ").len(), 1, "{said}");
    let said = scene.run("-v rm web:1").succeeds().stderr;
    let gone =
        [format!("image {id}: removed"), format!("layer {top}: removed"), format!("layer {base}: removed")];
    assert_eq!(lines(&said, ": removed"), gone);
}

#[test]
fn nothing_of_it_is_said_unless_asked_for() {
    let scene = scene();
    scene.run("load web.tar").succeeds().stderr_is("2 layers, 2 new, 17 B in [TIME]");
    let said = scene.run("mount --name box web:1 root").succeeds().stderr_is("container 'box'");
    assert_eq!(said.lines(), ["[DIR]/root"]);
    // And what goes to standard output is the same.
    let plain = scene.run("images --json").succeeds().stdout;
    let _ = scene.run("-vv images --json").succeeds().stdout_is(plain.trim_end());
}

#[test]
fn calls_are_said_as_strace_prints_them() {
    let scene = scene();
    let said = scene.run("-vv load web.tar").succeeds().stderr;
    for call in calls(&said) {
        let (_, outcome) = call.rsplit_once(" = ").expect("an outcome");
        let failed = outcome.strip_prefix("-1 E").is_some_and(|why| why.contains(" (") && why.ends_with(')'));
        assert!(failed || outcome.parse::<u32>().is_ok(), "{call}");
    }
    let [base, _] = ids(&web());
    let of_base = format!("layer 1 of 2 ({base}): ");
    let has = |start: &str, parts: &[&str]| {
        let is_it = |line: &&str| line.starts_with(start) && parts.iter().all(|part| line.contains(part));
        assert!(said.lines().any(|line| is_it(&line)), "{start}{parts:?} is not in:\n{said}");
    };
    // Each with the layer and the entry that it speaks of.
    has(&of_base, &["mkdirat(", "/diff>, \"etc\", 0", ") = 0"]);
    has(&of_base, &["openat(", "/diff/etc>, \"hosts\", O_WRONLY|O_CREAT|O_EXCL|O_NOFOLLOW|O_CLOEXEC, 0"]);
    has(&of_base, &["symlinkat(\"usr/bin\", ", "/diff>, \"bin\") = 0"]);
    has(&of_base, &["rename(\"[STORE]/staging/", &format!("\"[STORE]/overlay2/{base}"), ") = 0"]);
    has("", &["rename(", "[STORE]/names.json\") = 0"]);
    // What -v says is said, too.
    has(&of_base, &["unpacked, 3 entries"]);
}

#[test]
fn mount_makes_the_calls_that_plan_shows() {
    let scene = scene();
    scene.run("load web.tar").succeeds();
    let said = scene.run("plan --read-only web:1 root").succeeds().stdout;
    let planned: Vec<String> = calls(&said).into_iter().map(numberless).collect();
    // The target was opened before it was known what is to be mounted there.
    let planned = &planned[1..];
    assert!(planned.last().is_some_and(|call| call.contains("mount(")), "{planned:?}");
    let said = scene.run("-vv mount --read-only web:1 root").succeeds().stderr;
    let made: Vec<String> = calls(&said).into_iter().map(numberless).collect();
    assert!(made.windows(planned.len()).any(|made| made == planned), "{planned:?} is not in {made:?}");
}

/// Leaves out the numbers of open files: who makes the calls has others open than who only prints them.
fn numberless(call: &str) -> String {
    let word = |word: &str| {
        let from = word.find('(').map_or(0, |at| at + 1);
        let digits = word[from..].trim_end_matches([',', ')']);
        if digits.parse::<u32>().is_ok() { word.replacen(digits, "N", 1) } else { word.to_owned() }
    };
    call.split(' ').map(word).collect::<Vec<_>>().join(" ")
}

#[test]
fn calls_that_fail_say_why() {
    let scene = scene();
    scene.run("mount --name box web.tar root").succeeds();
    let held = fs::File::open(scene.path("root/more")).unwrap();
    let said = scene.run("-vv umount root").fails(4).stderr;
    let failed = "umount2(\"[DIR]/root\", UMOUNT_NOFOLLOW) = -1 EBUSY (Device or resource busy)";
    assert!(said.lines().any(|line| line == failed), "{said}");
    drop(held);
    let said = scene.run("-vv umount root").succeeds().stderr;
    assert!(said.lines().any(|line| line == "umount2(\"[DIR]/root\", UMOUNT_NOFOLLOW) = 0"), "{said}");
}

#[test]
fn who_reads_archives_for_mount_says_it_too() {
    let scene = scene();
    let [base, _] = ids(&web());
    let said = scene.run("mount -vv --name box web.tar root").succeeds().stderr;
    let of_base = format!("layer 1 of 2 ({base}): ");
    assert!(lines(&said, &of_base).iter().any(|line| line.contains("\"etc\", 0")), "{said}");
    assert!(said.contains("[DIR]/root: mounted, 2 layers\n"), "{said}");
    let piped = scene.run_piped("load -vv -", &fs::read(scene.path("web.tar")).unwrap()).succeeds().stderr;
    assert!(piped.contains(&format!("layer 1 of 2 ({base}): is there already\n")), "{piped}");
}

#[test]
fn where_v_means_volume_it_has_its_long_name() {
    let Some(busybox) = needs::busybox() else { return };
    let scene = Scene::with(
        "web.tar",
        &image("web:1").layer(&layer().file_of_bytes(b"busybox", &busybox).mode(0o755)),
    );
    for words in ["-v run --rm", "run --rm --verbose"] {
        let said = scene.run(&format!("{words} -v {}:/mnt web:1 -- /busybox true", scene.path("").display()));
        assert!(said.succeeds().stderr.contains(": made, over image "), "{words}");
    }
}

/// The ids of its layers as they are said.
fn ids<const N: usize>(image: &Image) -> [String; N] {
    let short: Vec<String> = image.chain_ids().iter().map(|id| id.short()).collect();
    short.try_into().expect("so many layers")
}
