//! What is refused, and in which words.

use crate::*;

#[test]
fn name_what_is_missing_or_no_directory() {
    let scene = Scene::new();
    fs::write(scene.path("file"), "").unwrap();
    let upper =
        |upper: &str, work: &str| Access::Writable { upper: scene.path(upper), work: scene.path(work) };
    let lower = |name: &str| vec![Lower::from(scene.path(name))];
    scene.layers(&["a"]);
    let table = [
        (lower("none"), upper("upper", "work"), "lower directory none: no such directory"),
        (lower("file"), upper("upper", "work"), "lower directory file is not a directory"),
        (lower("a"), upper("none", "work"), "upper directory none: no such directory"),
        (lower("a"), upper("file", "work"), "upper directory file is not a directory"),
        (lower("a"), upper("upper", "none"), "work directory none: no such directory"),
        (lower("a"), upper("upper", "file"), "work directory file is not a directory"),
        (Vec::new(), upper("upper", "work"), "no lower directory"),
    ];
    for (lowers, access, sentence) in table {
        scene.refuses(&Plan::new(lowers, access), Class::Failed, sentence);
    }
}

#[test]
fn name_directories_that_are_not_apart() {
    let scene = Scene::new();
    scene.mkdir("a/b/c");
    scene.mkdir("ab");
    symlink("a", scene.path("link")).unwrap();
    scene.mkdir("bind");
    bind(&scene.path("a/b"), &scene.path("bind"));
    let table: &[(&[&str], &str, &str, &str)] = &[
        (
            &["a", "ab", "a"],
            "upper",
            "work",
            "lower directory a and lower directory a are the same directory",
        ),
        (
            &["a", "link"],
            "upper",
            "work",
            "lower directory link and lower directory a are the same directory",
        ),
        (&["a", "a/b"], "upper", "work", "lower directory a/b lies inside lower directory a"),
        (&["a/b/c", "ab", "a"], "upper", "work", "lower directory a/b/c lies inside lower directory a"),
        (&["a", "bind"], "upper", "work", "lower directory bind lies inside lower directory a"),
        (&["a/b"], "a/b", "work", "upper directory a/b and lower directory a/b are the same directory"),
        (&["a/b"], "a", "work", "lower directory a/b lies inside upper directory a"),
        (&["a"], "a/b", "work", "upper directory a/b lies inside lower directory a"),
        (&["ab"], "a", "a", "work directory a and upper directory a are the same directory"),
        (&["ab"], "a", "a/b", "work directory a/b lies inside upper directory a"),
        (&["ab"], "a/b", "a", "upper directory a/b lies inside work directory a"),
        (&["ab"], "upper", "ab", "work directory ab and lower directory ab are the same directory"),
        (
            &["ab"],
            "upper",
            "bind",
            "work directory bind does not lie in the same mount as upper directory upper",
        ),
    ];
    for &(lowers, upper, work, sentence) in table {
        let lowers = lowers.iter().map(|name| scene.path(name).into()).collect();
        let access = Access::Writable { upper: scene.path(upper), work: scene.path(work) };
        scene.refuses(&Plan::new(lowers, access), Class::Failed, sentence);
    }
}

#[test]
fn name_an_upper_that_cannot_be_one() {
    let scene = Scene::new();
    scene.mount(&scene.plan(&["a"])).unwrap();
    fs::create_dir(scene.target().join("u")).unwrap();
    fs::create_dir(scene.target().join("w")).unwrap();
    scene.mkdir("other");
    let access = Access::Writable { upper: scene.path("target/u"), work: scene.path("target/w") };
    let plan = Plan::new(scene.layers(&["b"]), access);
    let error = plan.check().unwrap_err();
    assert!(error.to_string().ends_with("/target/u lies on overlayfs, which cannot hold an upper directory"));
    assert_eq!(error.class(), Class::Unsupported);
    assert_eq!(error.hint().unwrap(), "give --upper a directory on ext4, xfs or btrfs");
}

#[test]
fn name_an_upper_that_is_read_only() {
    let scene = Scene::new();
    scene.mkdir("ro/u");
    scene.mkdir("ro/w");
    bind(&scene.path("ro"), &scene.path("ro"));
    sh(&format!("mount -o remount,bind,ro {}", scene.path("ro").display()));
    let access = Access::Writable { upper: scene.path("ro/u"), work: scene.path("ro/w") };
    let plan = Plan::new(scene.layers(&["b"]), access);
    scene.refuses(&plan, Class::Failed, "upper directory ro/u is read-only");
}

#[test]
fn name_the_target() {
    let scene = Scene::new();
    fs::write(scene.path("file"), "").unwrap();
    let refusal = |name: &str| Target::open(&scene.path(name)).unwrap_err();
    assert_eq!(refusal("none").to_string(), "no such directory");
    assert_eq!(refusal("none").hint().unwrap(), format!("mkdir -p {}", scene.path("none").display()));
    assert_eq!(refusal("file").to_string(), "not a directory");
    scene.mount(&scene.plan(&["a"])).unwrap();
    let error = refusal("target");
    assert!(error.to_string().ends_with("/target is already the mount point of an overlay"), "{error}");
    assert_eq!(error.class(), Class::InUse);
    fs::create_dir(scene.path("target/below")).unwrap();
    Target::open(&scene.path("target/below")).expect("a directory in an overlay is none of its mount points");
}

#[test]
fn explain_options_that_the_kernel_refuses() {
    let scene = Scene::new();
    let table = [
        ("frobnicate", Class::Unsupported, "this kernel's overlayfs does not take option 'frobnicate'"),
        ("xino=maybe", Class::Failed, "bad value for option 'xino'"),
        ("userxattr,metacopy=on", Class::Failed, "conflicting options: userxattr,metacopy=on"),
    ];
    for (options, class, sentence) in table {
        let mut plan = scene.plan(&["a"]);
        plan.options.add(options).unwrap();
        scene.refuses(&plan, class, sentence);
    }
}

#[test]
fn explain_overlays_that_are_stacked_too_high() {
    let scene = Scene::new();
    let lower = |name: &str| vec![Lower::from(scene.path(name))];
    let level = |from: &str, to: &str| {
        scene.mkdir(to);
        let plan = Plan::new(lower(from), Access::ReadOnly);
        mount::perform(&plan, &Target::open(&scene.path(to)).unwrap())
    };
    scene.layers(&["a"]);
    level("a", "one").unwrap();
    level("one", "two").unwrap();
    let error = level("two", "three").unwrap_err();
    assert_eq!(
        error.to_string(),
        "a directory lies on an overlay over an overlay: the kernel stacks two at most"
    );
    assert_eq!(error.class(), Class::Unsupported);
}
