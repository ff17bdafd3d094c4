//! Tests of the harness: each way in which things go wrong is told as what it is.
//!
//! Most need no machine. The others boot the first kernel of a run, with facts that break something.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::time::Duration;

use libtest_mimic::{Failed, Trial};

use super::boot::emulator;
use super::machine::{Host, Machine, Shared};
use super::modules::dependencies;
use super::powercut::tests as cut;
use super::report::{ignored, never_tested};
use super::session::{End, Patience, follow};
use super::store::{About, Part, Run, VARIABLE};
use super::vm::Kernel;
use crate::record::{Finding, Verdict, trouble};

/// A test that boots a kernel with this program as its init.
type Boots = fn(&Kernel, &Path);

/// All of them; those that boot are listed as skipped without a run that has a kernel.
pub(super) fn trials(run: Option<&Run>) -> Vec<Trial> {
    let quick: [(&str, fn()); 11] = [
        ("a_machine_that_falls_silent_is_ended", a_machine_that_falls_silent_is_ended),
        ("a_machine_that_never_speaks_is_ended", a_machine_that_never_speaks_is_ended),
        ("a_machine_that_ends_in_the_middle_has_died", a_machine_that_ends_in_the_middle_has_died),
        ("trouble_is_found_in_a_log", trouble_is_found_in_a_log),
        ("a_module_says_what_it_needs", a_module_says_what_it_needs),
        ("a_fact_that_every_kernel_skips_fails", a_fact_that_every_kernel_skips_fails),
        (
            "a_cut_keeps_what_was_flushed_and_some_of_the_rest",
            cut::a_cut_keeps_what_was_flushed_and_some_of_the_rest,
        ),
        ("a_mark_tells_which_steps_had_returned", cut::a_mark_tells_which_steps_had_returned),
        ("what_was_promised_is_known_of_every_step", cut::what_was_promised_is_known_of_every_step),
        ("what_snapshots_promise_is_known_of_every_step", cut::what_snapshots_promise_is_known_of_every_step),
        ("a_second_cut_takes_nothing_back", cut::a_second_cut_takes_nothing_back),
    ];
    let slow: [(&str, Boots); 3] = [
        ("a_hang_is_told_with_where_it_hangs", a_hang_is_told_with_where_it_hangs),
        ("every_way_to_fail_is_told_apart", every_way_to_fail_is_told_apart),
        ("a_kernel_without_overlayfs_gives_no_result", a_kernel_without_overlayfs_gives_no_result),
    ];
    let mut trials: Vec<Trial> = quick.map(|(name, test)| trial(name, test)).into();
    for (name, test) in slow {
        trials.push(match run.filter(|run| run.harness).and_then(|run| Some((run.kernels.first()?, run))) {
            Some((kernel, run)) => {
                let (kernel, program) = (kernel.clone(), run.program.clone());
                trial(name, move || test(&kernel, &program))
            }
            None => ignored(format!("harness::{name}"), &format!("needs {VARIABLE} of a run with --harness")),
        });
    }
    trials
}

fn trial(name: &str, test: impl FnOnce() + Send + 'static) -> Trial {
    Trial::test(format!("harness::{name}"), move || {
        test();
        Ok::<(), Failed>(())
    })
}

// ---- with a kernel

fn every_way_to_fail_is_told_apart(kernel: &Kernel, program: &Path) {
    // The panic ends the machine, so another has to be started for what is left.
    let saw = run(
        kernel,
        program,
        Duration::from_secs(120),
        &[
            "broken::is_well",
            "broken::is_expected_otherwise",
            "broken::crashes",
            "broken::warns",
            "broken::eats_all_memory",
            "broken::panics_the_kernel",
            "broken::ends_the_machine",
            "broken::is_well_too",
        ],
    );
    let expected = [
        ("broken::is_well", "pass: an answer"),
        ("broken::is_expected_otherwise", "fail: an answer"),
        ("broken::crashes", "fail: a crash: killed by signal 6"),
        (
            "broken::warns",
            "fail: WARNING: CPU: 0 PID: 1 at fs/overlayfs/super.c:1 made_up+0x0/0x10 (in the kernel's log)",
        ),
        ("broken::eats_all_memory", "fail: Out of memory: Killed process"),
        (
            "broken::panics_the_kernel",
            "fail: the machine switched itself off: Kernel panic - not syncing: sysrq triggered crash",
        ),
        ("broken::ends_the_machine", "fail: the machine switched itself off"),
        ("broken::is_well_too", "pass: an answer"),
    ];
    assert_eq!(saw.len(), expected.len(), "{saw:#?}");
    for ((fact, expected), finding) in expected.iter().zip(&saw) {
        assert_eq!(finding.fact, *fact, "{saw:#?}");
        assert!(told(finding).starts_with(expected), "{fact}: {}\nexpected: {expected}", told(finding));
    }
    let log = &saw[5].log;
    assert!(
        log.iter().any(|line| line.contains("sysrq_handle_crash")),
        "no kernel log with the panic: {log:#?}"
    );
}

fn a_hang_is_told_with_where_it_hangs(kernel: &Kernel, program: &Path) {
    let saw = run(kernel, program, Duration::from_secs(10), &["broken::hangs", "broken::is_well"]);
    let [hang, next] = saw.as_slice() else { panic!("{saw:#?}") };
    assert!(told(hang).starts_with("fail: a hang: no end after 10 s\n"), "{hang:?}");
    assert!(told(hang).contains("nanosleep"), "{hang:?}");
    assert_eq!(told(next), "pass: an answer");
}

fn a_kernel_without_overlayfs_gives_no_result(kernel: &Kernel, program: &Path) {
    let kernel = Kernel { withheld: vec!["overlay".to_owned()], ..kernel.clone() };
    let saw = run(&kernel, program, Duration::from_secs(3), &["broken::is_well"]);
    assert_eq!(saw.len(), 1, "{saw:?}");
    let expected = "no result: this kernel has no overlay, built in or as a module";
    assert!(told(&saw[0]).starts_with(expected), "{saw:?}");
}

fn run(kernel: &Kernel, program: &Path, limit: Duration, facts: &[&str]) -> Vec<Finding> {
    let dir = tempfile::tempdir().expect("a directory");
    let emulator = emulator(kernel, program, dir.path()).expect("the run had one");
    let heard = Mutex::new(Vec::new());
    let shared = Shared {
        program,
        run: dir.path(),
        emulator: Some(&emulator),
        limit,
        heard: &|_, finding| heard.lock().expect("nobody panics with it").push(finding.clone()),
    };
    let facts = facts.iter().map(|fact| (*fact).to_owned()).collect();
    let machine = Machine { host: Host::Vm(kernel.clone()), filesystem: "tmpfs".to_owned(), facts };
    machine.run(&shared).expect("the harness itself does not fail");
    heard.into_inner().expect("nobody panics with it")
}

fn told(finding: &Finding) -> String {
    match &finding.verdict {
        Verdict::Pass { saw } => format!("pass: {saw}"),
        Verdict::Fail { saw, .. } => format!("fail: {saw}"),
        Verdict::Skip { reason } => format!("skip: {reason}"),
        Verdict::NoResult { reason } => format!("no result: {reason}"),
    }
}

// ---- without

const HELLO: &str = r#"{"event":"hello","release":"6.1.0","version":"1"}"#;

fn a_machine_that_falls_silent_is_ended() {
    let end = followed(&format!("echo '{HELLO}'; sleep 600"), 60, 1);
    assert_eq!(end, End::Died("fell silent for 1 s".to_owned()));
}

fn a_machine_that_never_speaks_is_ended() {
    let end = followed("echo this is no event; sleep 600", 1, 60);
    assert_eq!(end, End::NoBoot("did not come up in 1 s".to_owned()));
}

fn a_machine_that_ends_in_the_middle_has_died() {
    let end = followed(&format!("echo '{HELLO}'; exit 7"), 60, 60);
    assert_eq!(end, End::Died("ended: exit status: 7".to_owned()));
}

/// Follows a shell script, with so many seconds for its first word and between two.
fn followed(script: &str, boot: u64, silence: u64) -> End {
    let dir = tempfile::tempdir().expect("a directory");
    // In place of the shell, so that ending it ends all.
    let script = script.replace("sleep", "exec sleep");
    let child: Child =
        Command::new("sh").args(["-c", &script]).stdout(Stdio::piped()).spawn().expect("sh starts");
    let seconds = Duration::from_secs;
    let patience = Patience { boot: seconds(boot), silence: seconds(silence), whole: seconds(120) };
    follow(child, &dir.path().join("console"), patience, |_| ())
}

fn trouble_is_found_in_a_log() {
    let log = |lines: &[&str]| lines.iter().map(|line| (*line).to_owned()).collect::<Vec<_>>();
    let usual =
        log(&["overlayfs: upperdir is in-use as upperdir/workdir of another mount", "loop0: detected"]);
    assert_eq!(trouble(&usual), None);
    let warning = "WARNING: CPU: 1 PID: 77 at fs/overlayfs/copy_up.c:1 ovl_copy_up+0x1/0x2 [overlay]";
    assert_eq!(trouble(&log(&["fine", "------------[ cut here ]------------", warning])), Some(warning));
    let panic = "Kernel panic - not syncing: Fatal exception";
    assert_eq!(trouble(&log(&["BUG: unable to handle page fault", "Oops: 0000 [#1]", panic])), Some(panic));
}

fn a_module_says_what_it_needs() {
    let module =
        b"\x7fELF\0alias=fs-ext4\0softdep=pre: crc32c post: other\0depends=mbcache,jbd2\0name=ext4\0";
    assert_eq!(dependencies(module), ["crc32c", "mbcache", "jbd2"]);
    assert_eq!(dependencies(b"\0depends=\0"), [""; 0]);
}

fn a_fact_that_every_kernel_skips_fails() {
    let part = |kernel: &str, skips: &[&str], passes: &[&str]| {
        let skipped = skips.iter().map(|fact| (*fact, Verdict::Skip { reason: "no".to_owned() }));
        let passed = passes.iter().map(|fact| (*fact, Verdict::Pass { saw: String::new() }));
        let finding = |(fact, verdict): (&str, Verdict)| Finding {
            fact: fact.to_owned(),
            milliseconds: 0,
            verdict,
            log: Vec::new(),
        };
        let about = About { kernel: kernel.to_owned(), ..About::default() };
        Part { about, findings: skipped.chain(passed).map(finding).collect(), folder: "".into() }
    };
    let names = |parts: &[Part]| never_tested(parts).into_iter().map(|(fact, _)| fact).collect::<Vec<_>>();
    let parts = [part("6.1", &["a", "b"], &["c"]), part("7.2", &["a", "c"], &["b"])];
    assert_eq!(names(&parts), ["a"]);
    // What a single kernel lacks is its own affair.
    assert_eq!(names(&parts[..1]), [""; 0]);
}
