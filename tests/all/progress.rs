//! What is seen of long work: bars at a terminal, lines elsewhere, and nothing of either afterwards.

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use rustix::process::{Pid, Signal, kill_process};

use crate::support::image::{Packing, docker};
use crate::support::terminal::Terminal;
use crate::support::{Image, Layer, Scene, image, layer, needs};

const CTRL_C: u8 = 3;

/// A layer that takes some seconds' tenths, wherever it is loaded.
fn long() -> Layer {
    files(20_000)
}

/// A layer that is far from done when its bar is seen.
fn longer() -> Layer {
    files(80_000)
}

fn files(count: usize) -> Layer {
    (0..count).fold(layer(), |layer, nr| layer.file(&format!("f{nr}"), "some contents"))
}

fn small() -> Image {
    image("small:1").layer(&layer().file("a", "1"))
}

fn large() -> Image {
    over_small(&long())
}

fn over_small(layer_on_top: &Layer) -> Image {
    image("large:1").layer(&layer().file("a", "1")).layer(layer_on_top)
}

/// A scene with the archives `small.tar` and `large.tar`, of which the second has a layer more.
fn scene() -> Scene {
    let scene = Scene::in_memory();
    scene.save("small.tar", &small());
    scene.save("large.tar", &large());
    scene.mkdir("root");
    scene
}

fn has_bar(screen: &str) -> bool {
    screen.lines().any(|line| line.starts_with("  2 ") && line.contains("[=") && line.ends_with("iB/s"))
}

fn pid(terminal: &Terminal) -> Pid {
    Pid::from_child(&terminal.child)
}

/// What a screen has besides the keys that were pressed.
fn text(screen: &str) -> String {
    screen.replace("^C", "").trim().to_owned()
}

#[test]
fn a_load_shows_a_line_for_each_layer_and_then_the_totals() {
    let scene = scene();
    scene.run("load small.tar").succeeds();
    let mut terminal = Terminal::run(&scene, "load large.tar");
    let shown = terminal.until(has_bar);
    let lines: Vec<&str> = shown.lines().collect();
    assert_eq!(lines.len(), 2, "{shown}");
    assert!(lines[0].ends_with("  there already"), "{shown}");
    let short = &large().diff_ids()[1].short();
    assert!(lines[1].starts_with(&format!("  2 {short}  [=")) && lines[1].contains("iB of "), "{shown}");
    let (status, shown) = terminal.end();
    assert!(status.success(), "{shown}");
    let lines: Vec<&str> = shown.lines().collect();
    assert!(lines[0].starts_with("large:1  sha256:"), "{shown}");
    assert!(lines.last().unwrap().starts_with("2 layers, 1 new, 253.9 KiB in "), "{shown}");
    assert_eq!(lines.len(), 2, "bars are left:\n{shown}");

    let mut terminal = Terminal::run(&scene, "check --deep");
    terminal.until(|shown| shown.contains("[="));
    let (status, shown) = terminal.end();
    assert!(status.success(), "{shown}");
    assert!(
        text(&shown).ends_with("lose them\n2 layers, 2 proved, 2 images, 0 containers: all is well"),
        "{shown}"
    );
    assert_eq!(text(&shown).lines().count(), 2, "bars are left:\n{shown}");
}

#[test]
fn ctrl_c_in_the_middle_of_a_load_leaves_a_clean_screen_and_a_clean_store() {
    let scene = scene();
    scene.save("large.tar", &over_small(&longer()));
    let mut terminal = Terminal::run(&scene, "load large.tar");
    terminal.until(has_bar);
    terminal.press(CTRL_C);
    let (status, shown) = terminal.end();
    assert_eq!(status.signal(), Some(2), "{shown}");
    assert_eq!(text(&shown), "");
    // At once, and not only with the next command.
    assert_eq!(scene.staged(), Vec::<PathBuf>::new());
    assert_eq!(scene.kept_layers(), Vec::<String>::new());
    scene.run("images").succeeds().stdout_is("NAME  ID  PLATFORM  LAYERS  SIZE  CREATED");
    scene.run("load small.tar").succeeds();
}

#[test]
fn a_mount_shows_what_the_process_tells_that_reads_the_archive() {
    let scene = scene();
    let mut terminal = Terminal::run(&scene, "mount large.tar root");
    terminal.until(has_bar);
    let (status, shown) = terminal.end();
    assert!(status.success(), "{shown}");
    assert!(text(&shown).starts_with("2 layers, 2 new, 253.9 KiB in "), "{shown}");
    assert!(text(&shown).ends_with("container 'large-1'"), "{shown}");
}

#[test]
fn a_mount_that_is_interrupted_leaves_nothing() {
    let scene = scene();
    scene.save("large.tar", &over_small(&longer()));
    for signal in [None, Some(Signal::TERM)] {
        let mut terminal = Terminal::run(&scene, "mount large.tar root");
        terminal.until(has_bar);
        match signal {
            None => terminal.press(CTRL_C),
            // Only the one process: it has to end the other.
            Some(signal) => kill_process(pid(&terminal), signal).unwrap(),
        }
        let (status, shown) = terminal.end();
        assert_eq!(status.signal(), Some(signal.map_or(2, Signal::as_raw)), "{shown}");
        assert_eq!(text(&shown), "");
        scene.swept();
        assert_eq!(scene.kept_layers(), Vec::<String>::new());
        scene.run("mounts -q").succeeds().stdout_is("");
    }
}

/// Whether files of a layer have been unpacked.
fn is_unpacking(dir: &Path) -> bool {
    let Ok(entries) = fs::read_dir(dir) else { return false };
    entries.flatten().any(|entry| {
        let path = entry.path();
        if path.ends_with("diff") { path.join("f7").exists() } else { path.is_dir() && is_unpacking(&path) }
    })
}

#[test]
fn what_is_asked_to_end_undoes_its_work_without_a_terminal_too() {
    let scene = scene();
    scene.save("large.tar", &over_small(&longer()));
    for words in ["load large.tar", "load --quiet large.tar", "mount large.tar root"] {
        let mut command = scene.command(&words.split(' ').collect::<Vec<_>>());
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        while !is_unpacking(&scene.store().join("staging")) {
            assert_eq!(child.try_wait().unwrap(), None, "{words}: it ended before");
        }
        // Of a mount only the one process: it has to end the other.
        kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
        let ended = child.wait_with_output().unwrap();
        assert_eq!(ended.status.signal(), Some(Signal::TERM.as_raw()), "{words}: {ended:?}");
        assert_eq!(String::from_utf8_lossy(&ended.stderr), "", "{words}");
        if words.starts_with("mount") {
            scene.swept();
        }
        assert_eq!(scene.staged(), Vec::<PathBuf>::new(), "{words}");
        assert_eq!(scene.kept_layers(), Vec::<String>::new(), "{words}");
    }
}

#[test]
fn a_quiet_check_of_a_store_that_is_whole_says_nothing() {
    let scene = Scene::new();
    scene.save("web.tar", &image("web:1").layer(&layer().file("a", "1")));
    scene.outcome(scene.command(&["load", "web.tar"]).env_remove("OVLCTL_NO_SYNC")).succeeds();
    for words in ["check -q", "check --deep --quiet"] {
        scene.run(words).succeeds().stdout_is("").stderr_is("");
    }
}

#[test]
fn a_quiet_mount_says_nothing() {
    let scene = scene();
    for words in ["mount -q --name box small.tar root", "mount --quiet box root"] {
        let (status, shown) = Terminal::run(&scene, words).end();
        assert!(status.success(), "{words}: {shown}");
        assert_eq!(text(&shown), scene.path("root").to_str().unwrap(), "{words}");
        scene.run("umount root").succeeds();
    }
    scene.run("mount -q --progress plain box root").succeeds().stdout_is("[DIR]/root").stderr_is("");
    scene.run("umount root").succeeds();
    scene.run("mount -q nobody root").fails(3).stderr_has("ovlctl: no image 'nobody'");
}

#[test]
fn each_thread_of_a_load_that_draws_is_confined() {
    let scene = scene();
    let mut terminal = Terminal::run(&scene, "load large.tar");
    terminal.until(has_bar);
    let pid = pid(&terminal);
    kill_process(pid, Signal::STOP).unwrap();
    let tasks = fs::read_dir(format!("/proc/{}/task", pid.as_raw_nonzero())).unwrap();
    let mut names = Vec::new();
    for task in tasks {
        let status = fs::read_to_string(task.unwrap().path().join("status")).unwrap();
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            line.unwrap_or_default().trim().to_owned()
        };
        // 2: a filter (proc_pid_status(5)).
        assert_eq!(field("Seccomp:"), "2", "{status}");
        assert_eq!(field("NoNewPrivs:"), "1", "{status}");
        names.push(field("Name:"));
    }
    assert!(names.contains(&"progress".to_owned()), "{names:?}");
    kill_process(pid, Signal::CONT).unwrap();
    assert!(terminal.end().0.success());
}

#[test]
fn plain_progress_is_a_line_for_each_layer() {
    let scene = scene();
    scene.run("load small.tar").succeeds();
    let [first, second] = [0, 1].map(|nr| large().diff_ids()[nr].short());
    let lines = format!("layer 1 of 2: {first}  there already\nlayer 2 of 2: {second}  19.5 MiB");
    let said = scene.run("load --progress plain large.tar").succeeds();
    said.stderr_is(&format!("{lines}\n2 layers, 1 new, 253.9 KiB in [TIME]"));
    scene.run("rm --wait large:1").succeeds();
    let said = scene.run("mount --progress plain --name x large.tar root").succeeds();
    said.stderr_is(&format!("{lines}\n2 layers, 1 new, 253.9 KiB in [TIME]\ncontainer 'x'"));
}

#[test]
fn an_archive_that_goes_by_once_is_told_of_first() {
    let scene = scene();
    let archive = docker(&[large()]).tar();
    let packed = Packing::Gzip.pack(&archive);
    scene.write("large.tar.gz", &packed);
    let line = |said: &str, nr: usize| said.lines().nth(nr).unwrap().to_owned();
    let said = scene.run("load --progress plain large.tar.gz").succeeds().stderr;
    assert!(
        line(&said, 0).starts_with("archive: ") && line(&said, 1).starts_with("layer 1 of 2: "),
        "{said}"
    );
    let said = scene.run_piped("load --progress plain -", &archive).succeeds().stderr;
    assert!(line(&said, 0).starts_with("archive: ") && line(&said, 0).ends_with(" MiB"), "{said}");
    assert!(line(&said, 2).ends_with("  there already"), "{said}");
}

#[test]
fn what_is_made_of_the_store_is_told_of_as_what_comes_into_it() {
    let scene = scene();
    scene.run("load large.tar").succeeds();
    let [first, second] = [0, 1].map(|nr| large().diff_ids()[nr].short());
    scene.run("save --progress plain large:1 -o saved.tar").succeeds().stderr_is(&format!(
        "layer 1 of 2: {first}  2.0 KiB\nlayer 2 of 2: {second}  19.5 MiB\n2 layers, 19.5 MiB in [TIME]"
    ));
    for (words, what) in [
        ("-o tree.tar", "tree"),
        ("-o tree.cpio", "tree"),
        ("-f dir -o tree", "tree"),
        ("-o tree.erofs", "filesystem"),
    ] {
        if words.ends_with("erofs") && !needs::tool("mkfs.erofs") {
            continue;
        }
        let said = scene.run(&format!("export --progress plain large:1 {words}")).succeeds().stderr;
        let lines: Vec<&str> = said.lines().filter(|line| !line.starts_with("hint: ")).collect();
        assert!(lines[0].starts_with(&format!("{what}: ")) && lines[0].ends_with("iB"), "{words}: {said}");
        assert!(lines[1].ends_with(" in [TIME]") && lines.len() == 2, "{words}: {said}");
    }
    scene.run("mount large:1 root").succeeds();
    scene.write("root/new", b"new");
    for (words, what, totals) in [
        ("commit --progress plain large-1 new:1", "new layer: ", "new:1: 3 layers, 1 new, 253.9 KiB in "),
        ("squash --progress plain new:1 flat:1", "new layer: 19.", "flat:1: 1 layer, 1 new, 253.9 KiB in "),
    ] {
        let said = scene.run(words).succeeds().stderr;
        let lines: Vec<&str> = said.lines().collect();
        assert!(lines.len() == 2 && lines[0].starts_with(what) && lines[1].starts_with(totals), "{said}");
    }
    let said = scene.run("rm --wait --progress plain flat:1").succeeds().stderr;
    let last = said.lines().last().unwrap();
    assert!(last.starts_with("deleted: ") && last.ends_with(" files"), "{said}");
    for words in ["save -q large:1 -o again.tar", "export -q large:1 -o other.tar", "commit -q large-1"] {
        scene.run(words).succeeds().stderr_is("");
    }
}

#[test]
fn ctrl_c_in_the_middle_of_a_save_and_of_an_export_leaves_no_file() {
    let scene = scene();
    scene.save("large.tar", &over_small(&longer()));
    scene.run("load large.tar").succeeds();
    for words in
        ["save large:1 -o out/file", "export large:1 -o out/file", "export -f dir large:1 -o out/file"]
    {
        scene.mkdir("out");
        let mut terminal = Terminal::run(&scene, words);
        terminal.until(|screen| screen.contains("[="));
        terminal.press(CTRL_C);
        let (status, shown) = terminal.end();
        assert_eq!(status.signal(), Some(2), "{words}: {status:?} {shown}");
        assert_eq!(text(&shown), "", "{words}");
        assert_eq!(fs::read_dir(scene.path("out")).unwrap().count(), 0, "{words}");
    }
}

#[test]
fn bars_follow_the_width_of_the_terminal() {
    let scene = scene();
    let mut terminal = Terminal::run(&scene, "load large.tar");
    terminal.until(has_bar);
    terminal.resize(50);
    let narrow = |line: &str| line.chars().count() <= 50 && line.contains("[=") && line.ends_with('%');
    terminal.until(|screen| screen.lines().any(narrow));
    assert!(terminal.end().0.success());
}

#[test]
fn nothing_is_drawn_where_nobody_wants_it() {
    let scene = scene();
    scene.run("load large.tar").succeeds().stderr_is("2 layers, 2 new, 253.9 KiB in [TIME]");
    scene.run("rm --wait large:1").succeeds();
    for words in ["load --quiet large.tar", "load --progress none large.tar", "check --deep --progress none"]
    {
        let mut terminal = Terminal::run(&scene, words);
        let mut seen = String::new();
        while !seen.contains("sha256:") && !seen.contains("all is well") {
            seen = terminal.until(|_| true);
            assert!(!seen.contains('['), "{words}: {seen}");
        }
        assert!(terminal.end().0.success());
    }
}
