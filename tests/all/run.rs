//! `run`: what a command finds in its container, what it leaves, and what it cannot reach.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::PathBuf;
use std::process::{Child, Stdio};

use serde_json::{Value, json};

use crate::run_around::devices;
use crate::support::screen::{self, side};
use crate::support::{Image, Layer, Scene, image, layer, needs};

/// A base layer with a shell and its commands.
pub(super) fn base() -> Option<Layer> {
    let base = layer().file_of_bytes(b"bin/busybox", &needs::busybox()?).mode(0o755);
    let base = base.file("etc/passwd", "root:x:0:0::/root:/bin/sh\nwww:x:33:34::/var/www:/bin/sh\n");
    Some(base.file("etc/group", "tty:x:5:www\n").symlink("bin/sh", "busybox"))
}

fn web(config: Value) -> Option<Image> {
    Some(image("web:1").config("config", config).layer(&base()?))
}

/// A scene with an image of this config.
pub(super) fn scene(config: Value) -> Option<Scene> {
    scene_of(&web(config)?)
}

pub(super) fn scene_of(image: &Image) -> Option<Scene> {
    let scene = Scene::new();
    scene.save("image.tar", image);
    scene.run("load -q image.tar").succeeds();
    Some(scene)
}

pub(super) fn shell(scene: &Scene, options: &str, script: &str) -> crate::support::outcome::Outcome {
    let options: Vec<&str> = options.split_whitespace().collect();
    scene.run_args(&[&["run"], &options[..], &["--", "/bin/sh", "-c", script]].concat())
}

#[test]
fn exit_code_is_the_command_s() {
    let Some(scene) = scene(json!({})) else { return };
    scene.run("run --name box web:1 -- /bin/busybox true").succeeds().stdout_is("").stderr_is("");
    for (command, code, said) in [
        ("/bin/busybox sh -c exit$IFS'7'", 7, ""),
        ("/bin/busybox sh -c kill$IFS-9$IFS$$", 137, ""),
        ("/bin/busybox sh -c kill$IFS$$", 143, ""),
        ("nothing", 127, "ovlctl: cannot run 'nothing': there is no such program"),
        ("/etc/passwd", 126, "ovlctl: cannot run '/etc/passwd': Permission denied"),
        ("/etc", 126, "ovlctl: cannot run '/etc': Permission denied"),
    ] {
        scene.run(&format!("run box -- {command}")).fails(code).stderr_is(said);
    }
    let said = scene.run("run --rm web:1").fails(125);
    let _ = said.stderr_is("ovlctl: the image names no command: give one after --\nhint: ovlctl help run");
    let said = scene.run("run box -u nobody -- /bin/sh").fails(125);
    let _ = said.stderr_is("ovlctl: cannot run the command: there is no user 'nobody' in its /etc/passwd");
    scene.run("run no -- true").fails(125).stderr_has("ovlctl: no image 'no' in [STORE]");
    assert_eq!(scene.mounts(), Vec::<PathBuf>::new());
}

#[test]
fn image_says_how_it_is_run_unless_the_command_line_does() {
    let config = json!({"Env": ["KIND=image", "MORE=a=b"], "User": "www", "WorkingDir": "/srv/new",
        "Entrypoint": ["/bin/sh", "-c"], "Cmd": ["echo $KIND $MORE $HOME; id; pwd; umask"]});
    let Some(scene) = scene(config) else { return };
    let said = scene.run("run --rm image.tar").succeeds();
    let _ = said.stdout_is("image a=b /var/www\nuid=33(www) gid=34 groups=5(tty)\n/srv/new\n0022");
    let script = "echo $KIND $HERE $HOME; id; pwd";
    let mut command = scene.command(&[
        "run",
        "--rm",
        "-e",
        "KIND=typed",
        "-e",
        "HERE",
        "-e",
        "GONE",
        "-u",
        "7:tty",
        "-w",
        "/etc",
        "web:1",
        "--",
        script,
    ]);
    let said = scene.outcome(command.env("HERE", "this")).succeeds();
    let _ = said.stdout_is("typed this /\nuid=7 gid=5(tty)\n/etc");
    let said = scene.run("run --rm --entrypoint /bin/busybox web:1 -- echo instead").succeeds();
    let _ = said.stdout_is("instead");
}

#[test]
fn command_has_what_a_container_has_and_no_more() {
    let Some(scene) = scene(json!({})) else { return };
    let script = "echo me $$ $(busybox cat /proc/1/comm) on $(busybox hostname)
        busybox grep -E '^(CapPrm|CapEff|CapBnd|CapAmb|NoNewPrivs)' /proc/self/status
        busybox ls /dev; busybox cat /etc/resolv.conf; busybox cat /etc/hosts
        echo x > /proc/sys/kernel/core_pattern || echo proc is read-only
        echo x > /sys/kernel/uevent_helper || echo sys is read-only
        echo x > /etc/resolv.conf || echo resolv.conf is read-only
        busybox readlink /proc/1/exe || echo the first process is not to be seen
        busybox readlink /proc/1/root || echo nor its root
        busybox mknod /disk b 8 0 && busybox head -c 1 /disk || echo no disk
        busybox rm /disk
        busybox mount -t tmpfs x /bin || echo no mount; busybox test -s /proc/kcore || echo no memory";
    let said = shell(&scene, "--name box web:1", script).succeeds().stdout;
    let resolv = fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
    let expected = format!(
        "me 2 ovlctl on box\nCapPrm:\t00000000a80425fb\nCapEff:\t00000000a80425fb\n\
         CapBnd:\t00000000a80425fb\nCapAmb:\t0000000000000000\nNoNewPrivs:\t0\n\
         fd\nfull\nnull\nptmx\npts\nrandom\nshm\nstderr\nstdin\nstdout\ntty\nurandom\nzero\n{resolv}\
         127.0.0.1\tlocalhost\n::1\tlocalhost\nproc is read-only\nsys is read-only\n\
         resolv.conf is read-only\nthe first process is not to be seen\nnor its root\nno disk\nno mount\nno memory\n"
    );
    assert_eq!(said, expected);
    scene.run("diff box").succeeds().stdout_is("");
    let status =
        "busybox grep -E '^(CapPrm|CapBnd)' /proc/self/status; busybox ls /sys/class/net | busybox wc -l";
    let said = shell(&scene, "--net none --user www box", status).succeeds().stdout;
    assert!(said.starts_with("CapPrm:\t0000000000000000\nCapBnd:\t00000000a80425fb\n"), "{said}");
    let said = shell(
        &scene,
        "--net none box",
        "busybox grep -c : /proc/net/dev; echo; busybox cat /etc/resolv.conf",
    );
    let _ = said.succeeds().stdout_is(&devices().len().to_string());
    let said = shell(&scene, "--keep-caps box", "busybox grep CapEff /proc/self/status").succeeds().stdout;
    let own = fs::read_to_string("/proc/thread-self/status").unwrap();
    let own = own.lines().find(|line| line.starts_with("CapEff")).unwrap();
    assert_eq!(said.trim_end(), own);
}

#[test]
fn changes_stay_in_the_container_unless_it_goes() {
    let Some(scene) = scene(json!({})) else { return };
    shell(&scene, "--name box web:1", "echo one > /new").succeeds();
    scene.run("diff box").succeeds().stdout_is("A /new");
    shell(&scene, "box", "busybox cat /new").succeeds().stdout_is("one");
    scene.mkdir("root");
    scene.run("mount box root").succeeds();
    let said = shell(&scene, "box", "true").fails(125).stderr;
    assert!(said.starts_with("ovlctl: cannot run 'box': mounted on [DIR]/root"), "{said}");
    scene.run("umount box").succeeds();
    shell(&scene, "--rm web:1", "echo two > /new").succeeds();
    shell(&scene, "--rm --name short web:1", "exit 3").fails(3);
    scene.run("run --rm box -- /bin/sh").fails(125).stderr_has("--rm is for a new container");
    scene.run("mounts -q").succeeds().stdout_is("box");
    assert_eq!(scene.mounts(), Vec::<PathBuf>::new());
}

#[test]
fn input_and_output_are_passed_byte_for_byte() {
    let Some(scene) = scene(json!({})) else { return };
    let all: Vec<u8> = (0..=255).cycle().take(300_000).collect();
    let mut command = scene.command(&["run", "--rm", "web:1", "--", "/bin/busybox", "cat"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let (mut input, sent) = (child.stdin.take().unwrap(), all.clone());
    let writer = std::thread::spawn(move || input.write_all(&sent).unwrap());
    let mut got = Vec::new();
    child.stdout.take().unwrap().read_to_end(&mut got).unwrap();
    writer.join().unwrap();
    assert!(child.wait().unwrap().success() && got == all, "{} bytes of {}", got.len(), all.len());
}

#[test]
fn volumes_are_shown_inside_and_nowhere_else() {
    let Some(scene) = scene(json!({})) else { return };
    scene.mkdir("share/sub");
    scene.write("share/file", b"outside\n");
    scene.write("single", b"single\n");
    let here = scene.path("").display().to_string();
    let here = here.trim_end_matches('/');
    let volumes = format!(
        "-v {here}/share:/mnt/data -v {here}/single:/etc/single:ro -v {here}/share/sub:/mnt/data/sub:ro"
    );
    let script = "busybox cat /mnt/data/file /etc/single; echo in > /mnt/data/new; echo x > /mnt/data/sub/x || echo ro
        echo x > /etc/single || echo ro; busybox mknod /mnt/data/disk b 8 0; busybox head -c 1 /mnt/data/disk || echo no disk";
    let said = shell(&scene, &format!("{volumes} --name box web:1"), script).succeeds();
    let _ = said.stdout_is("outside\nsingle\nro\nro\nno disk");
    assert_eq!(fs::read_to_string(scene.path("share/new")).unwrap(), "in\n");
    // What was missing was made.
    scene.run("diff box").succeeds().stdout_is("C /etc\nA /etc/single\nA /mnt\nA /mnt/data");
    let said = shell(&scene, "-v /no/such:/x box", "true").fails(125).stderr;
    assert!(said.starts_with("ovlctl: cannot run 'box': /no/such: No such file or directory"), "{said}");
    assert_eq!(scene.mounts(), Vec::<PathBuf>::new());
}

#[test]
fn links_of_an_image_lead_nowhere_but_into_it() {
    let Some(base) = base() else { return };
    let up = "../../../../../../../../..";
    let outside = tempfile::tempdir_in("/var/tmp").unwrap();
    let canary = outside.path().display().to_string();
    let links = layer()
        .symlink("proc", &canary)
        .symlink("dev", &format!("{up}{canary}"))
        .symlink("sys", "/nowhere")
        .symlink("data", &format!("{up}{canary}"))
        .symlink("up", up)
        .symlink("round", "round")
        .symlink("etc/resolv.conf", &format!("{canary}/resolv.conf"));
    let Some(scene) = scene_of(&image("web:1").layer(&base).layer(&links)) else { return };
    scene.write("file", b"mine");
    let here = scene.path("file").display().to_string();
    fs::write(outside.path().join("resolv.conf"), "untouched").unwrap();
    for place in ["/data/x", "/up/made/x", "/proc/x"] {
        let said = shell(&scene, &format!("--rm -v {here}:{place} web:1"), "echo ran; busybox cat /made/x");
        let said = said.said();
        assert!(
            said.stdout.starts_with("ran") || said.stderr.contains("cannot run"),
            "{place}: {}",
            said.stderr
        );
    }
    shell(&scene, &format!("--rm -v {here}:/round/x web:1"), "true").fails(125);
    for place in ["/..", "/a/../../x", "x", "/"] {
        let said = shell(&scene, &format!("--rm -v {here}:{place} web:1"), "true").fails(125).stderr;
        assert!(said.contains("DST is no absolute path below /"), "{said}");
    }
    for workdir in ["/up", "/up/../..", "/data"] {
        let script = "busybox ls -d /bin/busybox; busybox pwd";
        let said = shell(&scene, &format!("--rm -w {workdir} web:1"), script).said();
        assert!(
            said.stdout.starts_with("/bin/busybox\n/") || said.stderr.contains("cannot run"),
            "{}",
            said.stdout
        );
    }
    let left: Vec<_> =
        fs::read_dir(outside.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["resolv.conf"]);
    assert_eq!(fs::read_to_string(outside.path().join("resolv.conf")).unwrap(), "untouched");
}

#[test]
fn what_a_shell_had_open_is_no_way_out() {
    let Some(scene) = scene(json!({"WorkingDir": "/proc/self/fd/9"})) else { return };
    let run = format!("{} --root {} run --rm", env!("CARGO_BIN_EXE_ovlctl"), scene.store().display());
    let ls = "web:1 -- /bin/busybox ls /proc/self/fd";
    let mut shell = std::process::Command::new("/bin/sh");
    shell.args(["-c", &format!("exec 9</; {run} -w / {ls}; {run} {ls}")]).stdin(Stdio::null());
    let said = scene.outcome(&mut shell).said();
    assert!(!said.stdout.lines().any(|line| line == "9"), "{}", said.stdout);
    assert!(said.stderr.contains("cannot run the command"), "{}{}", said.stdout, said.stderr);
}

/// Starts a command that says `ready`, and then does nothing for long.
fn waiting(scene: &Scene, script: &str) -> Child {
    let script = format!("{script} echo ready; while :; do busybox sleep 0.1; done");
    let mut command = scene.command(&["run", "--name", "box", "web:1", "--", "/bin/sh", "-c", &script]);
    let mut child = command.stdout(Stdio::piped()).spawn().expect("ovlctl starts");
    let mut said = String::new();
    let out = child.stdout.take().expect("it was asked for");
    BufReader::new(out).read_line(&mut said).expect("it says something");
    assert_eq!(said, "ready\n");
    child
}

#[test]
fn signals_reach_the_command() {
    let Some(scene) = scene(json!({})) else { return };
    let mut child = waiting(&scene, "trap 'exit 9' TERM;");
    scene.run("ls box").succeeds().stdout_is("bin\ndev\netc\nproc\nsys");
    scene.run("rm box").fails(4);
    let pid = rustix::process::Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(9));
    scene.run("rm box").succeeds();
}

#[test]
fn nothing_outlives_a_command_that_is_killed() {
    let Some(scene) = scene(json!({})) else { return };
    let mut child = waiting(&scene, "busybox sleep 1000 & echo kept > /new;");
    let threads = fs::read_dir(format!("/proc/{}/task", child.id())).unwrap();
    let children = threads.map(|thread| fs::read_to_string(thread.unwrap().path().join("children")).unwrap());
    let children: String = children.collect();
    assert!(!children.trim().is_empty(), "the room's first process");
    let init = PathBuf::from("/proc").join(children.trim());
    assert!(init.exists());
    child.kill().unwrap();
    child.wait().unwrap();
    // Killed with it, and gone when its last process is.
    while init.exists() {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    assert_eq!(scene.mounts(), Vec::<PathBuf>::new());
    shell(&scene, "box", "busybox cat /new; busybox ps | busybox grep -c '[s]leep'")
        .fails(1)
        .stdout_is("kept\n0");
}

#[test]
fn program_that_runs_it_cannot_be_changed() {
    let Some(base) = base() else { return };
    let again = layer().file("again", "#!/proc/self/exe\n").mode(0o755);
    let Some(scene) = scene_of(&image("web:1").layer(&base).layer(&again)) else { return };
    let before = fs::metadata(env!("CARGO_BIN_EXE_ovlctl")).unwrap();
    let said = shell(&scene, "--rm web:1", "/again; : > /proc/1/exe; echo no > /proc/$$/exe; true").said();
    let after = fs::metadata(env!("CARGO_BIN_EXE_ovlctl")).unwrap();
    let all = |found: &fs::Metadata| (found.len(), found.modified().unwrap());
    assert_eq!(all(&before), all(&after), "{}", said.stderr);
    // It is another file than this machine's: what is run there is a copy.
    let script = "busybox stat -L -c %i /proc/1/exe || echo hidden";
    shell(&scene, "--rm web:1", script).succeeds().stdout_is("hidden");
    let said =
        shell(&scene, "--rm --keep-caps web:1", "busybox stat -L -c %i:%s /proc/1/exe").succeeds().stdout;
    let own = std::os::unix::fs::MetadataExt::ino(&before);
    assert_eq!(said.trim_end().split(':').nth(1), Some(before.len().to_string().as_str()));
    assert_ne!(said.split(':').next(), Some(own.to_string().as_str()));
}

/// A terminal with a shell of this machine's, which leads a session there.
struct Terminal {
    keys: fs::File,
    shell: Child,
    said: String,
}

impl Terminal {
    fn open(scene: &Scene) -> Self {
        let (keys, name) = screen::open(24, 80);
        let mut shell = std::process::Command::new("setsid");
        shell.args(["--ctty", "sh", "-i"]).env_clear().current_dir(scene.path(""));
        shell.env("PS1", "outer> ").env("PATH", "/usr/bin:/bin").env("OVLCTL_NO_SYNC", "1");
        shell.env("RUN", format!("{} --root {} run", env!("CARGO_BIN_EXE_ovlctl"), scene.store().display()));
        let shell =
            shell.stdin(side(&name)).stdout(side(&name)).stderr(side(&name)).spawn().expect("a shell");
        Self { keys, shell, said: String::new() }
    }

    /// Presses keys.
    fn types(&mut self, keys: &str) -> &mut Self {
        self.keys.write_all(keys.as_bytes()).expect("it takes keys");
        self
    }

    /// Waits until the terminal shows this, after what was waited for before.
    fn shows(&mut self, text: &str) -> &mut Self {
        let mut bytes = [0; 4096];
        loop {
            if let Some(at) = self.said.find(text) {
                self.said.drain(..at + text.len());
                return self;
            }
            let count = self.keys.read(&mut bytes).unwrap_or_default();
            assert_ne!(count, 0, "'{text}' is not shown: {}", self.said);
            self.said.push_str(&String::from_utf8_lossy(&bytes[..count]));
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // The shell itself has become setsid's place, or ends with its terminal.
        let _ = self.shell.kill();
        let _ = self.shell.wait();
    }
}

#[test]
fn terminal_behaves_as_for_any_program() {
    let Some(scene) = scene(json!({})) else { return };
    scene.run("run --name box web:1 -- /bin/busybox true").succeeds();
    let mut terminal = Terminal::open(&scene);
    // What is typed is shown too: so what is waited for is not what was typed.
    terminal.shows("outer> ").types("$RUN -e PS1='in''ner> ' box -- /bin/sh\n").shows("inner> ");
    terminal.types("busybox tty\n").shows("/dev/console");
    screen::resize(&terminal.keys, 33, 77);
    terminal.types("busybox stty size\n").shows("33 77").shows("inner> ");
    // A job that says when it is stopped by a key, and that it goes on.
    let job = "\"trap 'echo wo''ken; exit 3' CONT; echo sl''eeps; while :; do busybox sleep 0.1; done\"";
    let inner = format!("busybox sh -c {job}");
    terminal.types(&format!("{inner}\n")).shows("sleeps").types("\x03").shows("inner> ");
    terminal.types(&format!("{inner}\n")).shows("sleeps").types("\x1a").shows("Stopped").shows("inner> ");
    terminal.types("fg\n").shows("woken").shows("inner> ");
    terminal.types("kill -STOP $$\n").shows("Stopped").shows("outer> ");
    terminal.types("fg\n").shows("inner> ").types("echo ba''ck; exit 5\n").shows("back").shows("outer> ");
    terminal.types("echo co''de $?\n").shows("code 5").shows("outer> ");
    let outer = format!("$RUN box -- /bin/sh -c {job}");
    terminal.types(&format!("{outer}; echo co''de $?\n")).shows("sleeps").types("\x03").shows("code 130");
    terminal.types(&format!("{outer}\n")).shows("sleeps").types("\x1a").shows("Stopped").shows("outer> ");
    terminal.types("fg; echo co''de $?\n").shows("woken").shows("code 3").shows("outer> ");
    // In a pipeline the keys reach all of it.
    terminal.types(&format!("{outer} | cat\n")).shows("sleeps").types("\x1a").shows("Stopped");
    terminal.types("fg; echo do''ne\n").shows("woken").shows("done");
    terminal.types("exit\n");
}
