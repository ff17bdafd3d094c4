//! How many layers each method takes.

use crate::*;

fn takes(method: Method, counts: &[usize]) {
    if !has(method) {
        return;
    }
    let scene = Scene::new();
    let layers = scene.store(500);
    for &count in counts {
        for access in [Access::ReadOnly, scene.writable(), scene.in_memory(&layers[0])] {
            let mut plan = by(method, &Plan::new(layers[..count].to_vec(), access.clone()));
            plan.overlay2 = Some(scene.path("overlay2"));
            let mounted = scene.mount(&plan).unwrap_or_else(|e| panic!("{count} {access:?}: {e}"));
            assert_eq!(mounted.method, method);
            let target = scene.target();
            assert!(target.join(format!("f{}", count - 1)).exists(), "{count} {access:?}");
            assert!(target.join("f0").exists());
            assert!(!target.join(format!("f{count}")).exists());
            assert_eq!(is_writable(&target), access != Access::ReadOnly, "{count} {access:?}");
            assert_eq!(mount::unmount(&target, false).unwrap().mount_id, mounted.mount_id);
        }
    }
}

#[test]
fn handles_take_500_layers() {
    takes(Method::Fd, &[1, 2, 127, 128, 129, 255, 256, 500]);
}

#[test]
fn strings_take_500_layers() {
    takes(Method::Path, &[1, 2, 127, 128, 129, 255, 256, 500]);
}

#[test]
fn numbers_take_500_layers() {
    takes(Method::ProcFd, &[1, 2, 127, 128, 129, 255, 256, 500]);
}

#[test]
fn links_take_128_layers_and_some_more() {
    takes(Method::Links, &[1, 2, 127, 128, 129]);
}

#[test]
fn links_end_with_the_option_page() {
    let scene = Scene::new();
    let mut plan = by(Method::Links, &Plan::new(scene.store(200), scene.writable()));
    plan.overlay2 = Some(scene.path("overlay2"));
    let error = scene.mount(&plan).unwrap_err();
    assert!(
        error.to_string().starts_with("200 layers are too many for this method: their names take 5"),
        "{error}"
    );
    assert_eq!(error.class(), Class::Unsupported);
}

#[test]
fn more_than_500_are_refused() {
    let scene = Scene::new();
    let plan = Plan::new(vec![Lower::from(scene.path("a")); 501], scene.writable());
    let sentence = "501 layers are too many: overlayfs takes at most 500";
    scene.refuses(&plan, Class::Unsupported, sentence);
}

#[test]
fn links_are_for_stores() {
    let scene = Scene::new();
    scene.refuses(
        &by(Method::Links, &scene.plan(&["a"])),
        Class::Failed,
        "method 'links' is for layers of a store only",
    );
}
