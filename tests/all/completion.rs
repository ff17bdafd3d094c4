//! What a shell offers, and the manual pages, as their readers find them.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::process::Command;

use crate::support::{NOBODY, Scene, image, layer, needs};

/// A scene with two images and a container, mounted on `root`.
fn scene() -> Scene {
    let scene = Scene::new();
    for name in ["web:1.4", "web:2", "db:1"] {
        scene.save("image.tar", &image(name).layer(&layer().file("name", name)));
        scene.run("load image.tar").succeeds();
    }
    scene.mkdir("root");
    scene.mkdir("folder");
    scene.run("mount --name box web:1.4 root").succeeds();
    scene
}

/// What a real bash offers at the end of a line: its words as bash splits them, those behind the last `:` or `=` to be added.
fn offered(scene: &Scene, bash: &mut Command, line: &str) -> Vec<String> {
    let script = r#"
        source <("$OVLCTL" completions bash)
        complete -p ovlctl >/dev/null || exit 7
        COMP_LINE=$1 COMP_POINT=${#1}
        # As readline splits: at blanks, and each ':' and '=' is a word.
        spaced=$(sed 's/[:=]/ & /g' <<<"$COMP_LINE.")
        read -ra COMP_WORDS <<<"$spaced"
        last=$((${#COMP_WORDS[@]} - 1))
        COMP_WORDS[last]=${COMP_WORDS[last]%.}
        # Behind a ':' there is no empty word.
        [[ -n ${COMP_WORDS[last]} || ${COMP_WORDS[last-1]} != [:=] ]] || { unset "COMP_WORDS[last]"; last=$((last - 1)); }
        COMP_CWORD=$last COMP_WORDS[0]=$OVLCTL
        _ovlctl "$OVLCTL" "${COMP_WORDS[last]}" "${COMP_WORDS[last-1]}"
        printf '%s\n' "${COMPREPLY[@]}"
    "#;
    bash.args(["-c", script, "bash", line]).current_dir(scene.path(""));
    let said = scene.outcome(bash).succeeds().stderr_is("");
    said.stdout.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect()
}

fn bash(scene: &Scene) -> Command {
    let mut bash = Command::new("bash");
    bash.env("OVLCTL", env!("CARGO_BIN_EXE_ovlctl")).env("OVLCTL_ROOT", scene.store());
    bash
}

#[test]
fn bash_completes_verbs_options_and_names() {
    let scene = scene();
    for (line, offers) in [
        ("ovlctl umo", &["umount"][..]),
        ("ovlctl mount --at", &["--at-layer"]),
        ("ovlctl history we", &["web:1.4", "web:2"]),
        ("ovlctl history web:", &["1.4", "2"]),
        ("ovlctl history web:1", &["1.4"]),
        ("ovlctl mount b", &["box"]),
        ("ovlctl mount ./fol", &["./folder/"]),
        ("ovlctl umount b", &["box"]),
        ("ovlctl mount --method=p", &["path", "procfd"]),
        ("ovlctl rm db:1 web:2 b", &["box"]),
        ("ovlctl nothing we", &[]),
    ] {
        assert_eq!(offered(&scene, &mut bash(&scene), line), offers, "{line}");
    }
    let targets = offered(&scene, &mut bash(&scene), "ovlctl umount /");
    assert_eq!(targets, ["[DIR]/root"]);
}

#[test]
fn nothing_is_offered_to_those_who_may_not_read_the_store_and_nothing_is_said() {
    let scene = scene();
    // Where nobody can reach it.
    fs::copy(env!("CARGO_BIN_EXE_ovlctl"), scene.path("ovlctl")).unwrap();
    let mode = fs::metadata(scene.store()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
    for (line, offers) in [("ovlctl history we", &[][..]), ("ovlctl umo", &["umount"])] {
        let mut bash = bash(&scene);
        bash.env("OVLCTL", scene.path("ovlctl")).uid(NOBODY).gid(NOBODY);
        assert_eq!(offered(&scene, &mut bash, line), offers, "{line}");
    }
    // Settings that are none are nothing to say in the middle of a line.
    scene.write("ovlctl.toml", b"nonsense");
    let mut bash = bash(&scene);
    assert_eq!(
        offered(&scene, bash.env("OVLCTL_CONFIG", "ovlctl.toml"), "ovlctl history we"),
        ["web:1.4", "web:2"]
    );
}

#[test]
fn scripts_are_sound_for_their_shells() {
    let scene = Scene::new();
    for shell in ["bash", "zsh", "fish"] {
        let script = scene.run(&format!("completions {shell}")).succeeds().stdout;
        scene.write(shell, script.as_bytes());
        let mut check = Command::new(shell);
        check.arg("-n").arg(shell).current_dir(scene.path(""));
        match check.output() {
            Ok(done) => assert!(done.status.success(), "{shell}: {}", String::from_utf8_lossy(&done.stderr)),
            Err(_) => needs::skipped(&format!("{shell} is not here to read its script")),
        }
    }
}

#[test]
fn man_reads_each_page_without_a_warning() {
    if !needs::tool("groff") {
        return;
    }
    let scene = Scene::new();
    let dir = scene.mkdir("man");
    scene.run("manuals man").succeeds();
    let mut pages: Vec<_> = fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    pages.sort();
    assert!(pages.len() > 25, "{pages:?}");
    for page in pages {
        let mut groff = Command::new("groff");
        groff.args(["-man", "-Tutf8", "-P-cbou", "-ww", "-Kutf8", "-rCHECKSTYLE=2"]).arg(&page);
        // A page that is another's is named from above the folder of its section.
        let source = fs::read_to_string(&page).unwrap();
        if let Some(other) = source.strip_prefix(".so man8/") {
            assert!(dir.join(other.trim_end()).exists(), "{}", page.display());
            continue;
        }
        let done = groff.output().expect("groff is there");
        let said = String::from_utf8_lossy(&done.stderr);
        assert!(done.status.success() && said.is_empty(), "{}: {said}", page.display());
        let text = String::from_utf8_lossy(&done.stdout);
        assert!(text.contains("EXAMPLES") || !page.to_string_lossy().contains("ovlctl-mount"), "{text}");
    }
}
