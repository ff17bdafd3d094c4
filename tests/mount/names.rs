//! Directories by any name.

use crate::*;

const ODD: &[&[u8]] = &[
    b"a:b",
    b"a,b",
    b"a\\b",
    b"end\\",
    b"a b",
    b"a\nb",
    b"a\tb",
    b"a\"b",
    b"a#b",
    b"a=b",
    b"\xc3\xa9",
    b"\xff\xfe",
    b"lowerdir+",
    b" ",
    b"a\\:b",
    b"a\\040b",
    b"'",
];

/// Every odd name as lower, upper, work and target; its halves exist too, so that a wrong split would be seen.
fn takes_odd_names(method: Method) {
    if !has(method) {
        return;
    }
    let scene = Scene::new();
    for decoy in ["a", "b", "end", "a\\"] {
        scene.mkdir(decoy);
    }
    for name in ODD.iter().map(|name| OsStr::from_bytes(name)) {
        let inside = |folder: &str| scene.mkdir(Path::new(folder).join(name));
        let (lower, upper, target) = (inside("lowers"), inside("uppers"), inside("targets"));
        let work = inside("works");
        fs::write(lower.join("seen"), "").unwrap();
        let lowers = vec![lower.into(), scene.mkdir("other").into()];
        let plan = by(method, &Plan::new(lowers, Access::Writable { upper: upper.clone(), work }));
        plan.check().unwrap();
        let mounted = mount::perform(&plan, &Target::open(&target).unwrap())
            .unwrap_or_else(|e| panic!("{}: {e}", name.to_string_lossy()));
        assert_eq!(mounted.target, target);
        assert!(target.join("seen").exists(), "{}", name.to_string_lossy());
        fs::write(target.join("written"), "").unwrap();
        assert!(upper.join("written").exists(), "{}", name.to_string_lossy());
        assert_eq!(find(&target).lowers.len(), 2);
        mount::unmount(&target, false).unwrap();
    }
}

#[test]
fn are_odd_in_handles() {
    takes_odd_names(Method::Fd);
}

#[test]
fn are_odd_in_strings() {
    takes_odd_names(Method::Path);
}

#[test]
fn are_odd_in_numbers() {
    takes_odd_names(Method::ProcFd);
}

#[test]
fn are_odd_around_a_store() {
    let scene = Scene::new();
    for name in ODD.iter().map(|name| OsStr::from_bytes(name)) {
        let root = scene.mkdir(Path::new("roots").join(name));
        let diff = root.join("overlay2/x/diff");
        fs::create_dir_all(&diff).unwrap();
        fs::create_dir_all(root.join("overlay2/l")).unwrap();
        symlink("../x/diff", root.join("overlay2/l/X")).unwrap();
        let (upper, work) = (root.join("upper,1"), root.join("work,1"));
        fs::create_dir(&upper).unwrap();
        fs::create_dir(&work).unwrap();
        let lowers = vec![Lower { path: diff, link: Some("X".to_owned()) }];
        let mut plan = by(Method::Links, &Plan::new(lowers, Access::Writable { upper: upper.clone(), work }));
        plan.overlay2 = Some(root.join("overlay2"));
        scene.mount(&plan).unwrap_or_else(|e| panic!("{}: {e}", name.to_string_lossy()));
        fs::write(scene.target().join("written"), "").unwrap();
        assert!(upper.join("written").exists(), "{}", name.to_string_lossy());
        mount::unmount(&scene.target(), false).unwrap();
    }
}

#[test]
fn may_be_as_long_as_paths_get() {
    let scene = Scene::new();
    let long = (0..14).map(|nr| format!("{nr:0>250}")).collect::<Vec<_>>().join("/");
    let [lower, upper, work] = ["l", "u", "w"].map(|name| scene.mkdir(format!("{long}/{name}")));
    for method in methods() {
        let access = Access::Writable { upper: upper.clone(), work: work.clone() };
        scene.mount(&by(method, &Plan::new(vec![lower.clone().into()], access))).unwrap();
        assert!(is_writable(&scene.target()));
        mount::unmount(&scene.target(), false).unwrap();
    }
}

#[test]
fn may_be_relative() {
    let scene = Scene::new();
    scene.layers(&["a"]);
    std::env::set_current_dir(scene.dir.path()).unwrap();
    for method in methods() {
        let access = Access::Writable { upper: "upper".into(), work: "work".into() };
        let plan = by(method, &Plan::new(vec![PathBuf::from("a").into()], access));
        let mounted = mount::perform(&plan, &Target::open(Path::new("target")).unwrap()).unwrap();
        assert_eq!(mounted.target, scene.target());
        assert!(Path::new("target/a").exists());
        mount::unmount(Path::new("target"), false).unwrap();
    }
}
