//! Upper and work directories that belong to a live overlay.

use crate::*;

fn second(scene: &Scene) -> Result<Mounted, Error> {
    let plan = scene.plan(&["b"]);
    plan.check()?;
    mount::perform(&plan, &Target::open(&scene.mkdir("second"))?)
}

#[test]
fn an_upper_names_its_mount() {
    for method in methods() {
        let scene = Scene::new();
        scene.mount(&by(method, &scene.plan(&["a"]))).unwrap();
        let error = second(&scene).unwrap_err();
        let (upper, target) = (scene.path("upper"), scene.target());
        let sentence = format!("{} is already the upper directory of {}", upper.display(), target.display());
        assert_eq!((error.to_string(), error.class()), (sentence, Class::InUse));
        assert_eq!(error.hint().unwrap(), format!("ovlctl umount {}", target.display()));
    }
}

#[test]
fn a_work_directory_counts_too() {
    let scene = Scene::new();
    scene.mount(&scene.plan(&["a"])).unwrap();
    let access = Access::Writable { upper: scene.mkdir("fresh"), work: scene.path("work") };
    let plan = Plan::new(scene.layers(&["b"]), access);
    let error = mount::perform(&plan, &Target::open(&scene.mkdir("second")).unwrap()).unwrap_err();
    assert!(error.to_string().contains("/work is already the work directory of "), "{error}");
}

#[test]
fn an_unmounted_upper_is_free_once_its_files_are_closed() {
    let scene = Scene::new();
    scene.mount(&scene.plan(&["a"])).unwrap();
    let open = fs::File::open(scene.path("target/a")).unwrap();
    mount::unmount(&scene.target(), true).unwrap();
    let error = second(&scene).unwrap_err();
    assert!(error.to_string().ends_with("/upper is already the upper directory of another mount"), "{error}");
    drop(open);
    second(&scene).unwrap();
}

#[test]
fn an_upper_in_another_namespace_counts() {
    let scene = Scene::new();
    scene.mount(&scene.plan(&["a"])).unwrap();
    let mut child = std::process::Command::new("unshare").args(["--mount", "sleep", "60"]).spawn().unwrap();
    let own = fs::read_link("/proc/thread-self/ns/mnt").unwrap();
    let theirs = format!("/proc/{}/ns/mnt", child.id());
    while fs::read_link(&theirs).is_ok_and(|namespace| namespace == own)
        || fs::read_to_string(format!("/proc/{}/comm", child.id())).unwrap() != "sleep\n"
    {
        std::thread::yield_now();
    }
    mount::unmount(&scene.target(), false).unwrap();
    let error = second(&scene).unwrap_err();
    child.kill().unwrap();
    child.wait().unwrap();
    let sentence = format!("/upper is already the upper directory of {}", scene.target().display());
    assert!(error.to_string().ends_with(&sentence), "{error}");
    second(&scene).unwrap();
}

#[test]
fn lowers_may_be_shared() {
    let scene = Scene::new();
    scene.mount(&scene.plan(&["a"])).unwrap();
    let access = Access::Writable { upper: scene.mkdir("u2"), work: scene.mkdir("w2") };
    let plan = Plan::new(scene.layers(&["a"]), access);
    mount::perform(&plan, &Target::open(&scene.mkdir("second")).unwrap()).unwrap();
}

#[test]
fn one_of_many_at_once_gets_the_upper() {
    let scene = Scene::new();
    let plan = scene.plan(&["a"]);
    let targets: Vec<PathBuf> = (0..8).map(|nr| scene.mkdir(format!("t{nr}"))).collect();
    let mounted = std::thread::scope(|scope| {
        let one = |target: &PathBuf| mount::perform(&plan, &Target::open(target).unwrap()).is_ok();
        let threads: Vec<_> = targets.iter().map(|target| scope.spawn(move || one(target))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).filter(|ok| *ok).count()
    });
    assert_eq!(mounted, 1);
}
