//! What is left in work directories.

use crate::*;

#[test]
fn that_the_kernel_cannot_clean_is_no_silent_read_only_mount() {
    for method in methods() {
        let scene = Scene::new();
        scene.mkdir("work/work/1/2/3/4");
        let plan = by(method, &scene.plan(&["a"]));
        let error = scene.mount(&plan).unwrap_err();
        assert!(error.to_string().starts_with("overlayfs can only mount it read-only"), "{error}");
        assert_eq!(overlays_in(&scene.target()), 0);
        assert_eq!(mount::tidy_work(&scene.path("upper"), &scene.path("work")).unwrap(), 1);
        scene.mount(&plan).unwrap();
        assert!(is_writable(&scene.target()));
    }
}

#[test]
fn of_a_live_overlay_is_not_tidied() {
    let scene = Scene::new();
    scene.mount(&scene.plan(&["a"])).unwrap();
    scene.mkdir("work/work/x");
    assert_eq!(mount::tidy_work(&scene.path("upper"), &scene.path("work")).unwrap(), 0);
    assert!(scene.path("work/work/x").exists());
}

#[test]
fn of_a_volatile_mount_is_refused_afterwards() {
    let scene = Scene::new();
    let mut plan = scene.plan(&["a"]);
    plan.options.add("volatile").unwrap();
    scene.mount(&plan).unwrap();
    assert!(find(&scene.target()).volatile);
    mount::unmount(&scene.target(), false).unwrap();
    let plan = scene.plan(&["a"]);
    let sentence = "upper was last mounted with 'volatile': its changes may be incomplete";
    scene.refuses(&plan, Class::Failed, sentence);
    assert_eq!(mount::tidy_work(&scene.path("upper"), &scene.path("work")).unwrap(), 0);
    scene.refuses(&plan, Class::Failed, sentence);
    let hint = plan.check().unwrap_err().hint().unwrap();
    sh(hint.split_once(": ").unwrap().1);
    scene.mount(&plan).unwrap();
}
