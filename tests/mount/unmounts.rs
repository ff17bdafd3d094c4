//! Taking mounts away.

use crate::*;

#[test]
fn only_overlays() {
    let scene = Scene::new();
    let error = mount::unmount(&scene.target(), false).unwrap_err();
    assert_eq!(error.class(), Class::NotFound);
    assert_eq!(mount::unmount(&scene.path("none"), false).unwrap_err().class(), Class::NotFound);
    sh(&format!("mount -t tmpfs x {}", scene.target().display()));
    let error = mount::unmount(&scene.target(), false).unwrap_err();
    assert!(error.to_string().ends_with("/target is a mount of tmpfs, not of overlayfs"), "{error}");
}

#[track_caller]
fn busy(scene: &Scene) -> String {
    let error = mount::unmount(&scene.target(), false).unwrap_err();
    assert_eq!(error.class(), Class::InUse);
    assert!(error.hint().unwrap().starts_with("ovlctl umount --lazy "), "{error}");
    error.to_string().replace(&format!("{}/", scene.dir.path().display()), "")
}

#[test]
fn name_who_holds_a_busy_one() {
    let scene = Scene::new();
    scene.mount(&scene.plan(&["a"])).unwrap();
    let me = std::process::id();
    let open = fs::File::open(scene.path("target/a")).unwrap();
    let comm = fs::read_to_string("/proc/self/comm").unwrap();
    assert_eq!(busy(&scene), format!("in use by pid {me} ({}, open file target/a)", comm.trim_end()));
    drop(open);
    let mut child =
        std::process::Command::new("sleep").arg("60").current_dir(scene.target()).spawn().unwrap();
    let sentence = busy(&scene);
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(sentence, format!("in use by pid {} (sleep, its working directory)", child.id()));
    fs::create_dir(scene.path("target/below")).unwrap();
    bind(&scene.mkdir("x"), &scene.path("target/below"));
    assert_eq!(busy(&scene), "in use by the mount on target/below");
    mount::unmount(&scene.target(), true).unwrap();
    assert_eq!(overlays_in(&scene.target()), 0);
}
