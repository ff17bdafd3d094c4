//! What a mount looks like once it is there.

use crate::*;

#[test]
fn have_the_flags_and_options_that_were_asked_for() {
    for method in methods() {
        let scene = Scene::new();
        let mut plan = by(method, &scene.plan(&["a"]));
        plan.options.add("ro,nodev,noexec,noatime,redirect_dir=on").unwrap();
        plan.source = "ovlctl:0123".to_owned();
        scene.mount(&plan).unwrap();
        let line =
            table::mounts().unwrap().into_iter().rfind(|mount| mount.target == scene.target()).unwrap();
        assert_eq!(line.flags, "ro,nodev,noexec,noatime");
        let overlay = find(&scene.target());
        assert_eq!(overlay.source, "ovlctl:0123");
        assert!(overlay.options.contains(&"redirect_dir=on".to_owned()), "{:?}", overlay.options);
        assert!(overlay.read_only && !is_writable(&scene.target()));
        assert_eq!(overlay.upper, Some(scene.path("upper")));
    }
}

#[test]
fn in_memory_take_the_metadata_of_the_root_and_end_with_their_size() {
    let scene = Scene::new();
    let lowers = scene.layers(&["a"]);
    fs::set_permissions(&lowers[0].path, fs::Permissions::from_mode(0o1751)).unwrap();
    std::os::unix::fs::chown(&lowers[0].path, Some(7), Some(8)).unwrap();
    for method in methods() {
        let plan = by(method, &Plan::new(lowers.clone(), scene.in_memory(&lowers[0])));
        let before = table::mounts().unwrap().len();
        scene.mount(&plan).unwrap();
        let root = fs::metadata(scene.target()).unwrap();
        assert_eq!((root.mode() & 0o7777, root.uid(), root.gid()), (0o1751, 7, 8));
        assert_eq!(root.mtime(), fs::metadata(&lowers[0].path).unwrap().mtime());
        let full = fs::write(scene.path("target/big"), vec![1; 2 << 20]).unwrap_err();
        assert_eq!(full.kind(), std::io::ErrorKind::StorageFull);
        assert_eq!(table::mounts().unwrap().len(), before + 1, "the tmpfs is nowhere to be seen");
        mount::unmount(&scene.target(), false).unwrap();
    }
}

#[test]
fn are_told_as_they_are_made() {
    let scene = Scene::new();
    let folder = scene.dir.path().display().to_string();
    let calls = scene.plan(&["a"]).calls(Method::Path, &scene.target()).unwrap();
    let calls: Vec<String> = calls.iter().map(|call| call.replace(&folder, "")).collect();
    assert_eq!(
        calls,
        [
            r#"open("/target", O_PATH|O_DIRECTORY|O_CLOEXEC) = 3"#,
            r#"fsopen("overlay", FSOPEN_CLOEXEC) = 4"#,
            r#"fsconfig(4, FSCONFIG_SET_STRING, "source", "overlay", 0) = 0"#,
            r#"fsconfig(4, FSCONFIG_SET_STRING, "index", "off", 0) = 0"#,
            r#"fsconfig(4, FSCONFIG_SET_STRING, "metacopy", "off", 0) = 0"#,
            r#"fsconfig(4, FSCONFIG_SET_STRING, "redirect_dir", "nofollow", 0) = 0"#,
            r#"fsconfig(4, FSCONFIG_SET_STRING, "lowerdir+", "/a", 0) = 0"#,
            r#"fsconfig(4, FSCONFIG_SET_STRING, "upperdir", "/upper", 0) = 0"#,
            r#"fsconfig(4, FSCONFIG_SET_STRING, "workdir", "/work", 0) = 0"#,
            r#"fsconfig(4, FSCONFIG_CMD_CREATE, NULL, NULL, 0) = 0"#,
            r#"fsmount(4, FSMOUNT_CLOEXEC, 0) = 5"#,
            r#"close(4) = 0"#,
            r#"move_mount(5, "", 3, "", MOVE_MOUNT_F_EMPTY_PATH|MOVE_MOUNT_T_EMPTY_PATH) = 0"#,
        ]
    );
}

/// Where the root is shared, as systemd makes it, mounts reach all peers: the new one must, its scaffolding must not.
#[test]
fn reach_peers_and_nothing_else_does() {
    let scene = Scene::new();
    sh("mount --make-rshared /");
    let (shared, peer) = (scene.mkdir("shared"), scene.mkdir("peer"));
    bind(&shared, &shared);
    bind(&shared, &peer);
    fs::create_dir(shared.join("target")).unwrap();
    let lowers = scene.store(2);
    for method in methods().into_iter().chain([Method::Links]) {
        for access in [Access::ReadOnly, scene.writable(), scene.in_memory(&lowers[0])] {
            let mut plan = by(method, &Plan::new(lowers.clone(), access));
            plan.overlay2 = Some(scene.path("overlay2"));
            let before = table::mounts().unwrap().len();
            mount::perform(&plan, &Target::open(&shared.join("target")).unwrap()).unwrap();
            assert!(peer.join("target/f0").exists());
            // Each of the two targets is also seen at the shared bind mounts below.
            let overlays = scene.overlays();
            assert_eq!(table::mounts().unwrap().len() - before, overlays, "{method:?}");
            mount::unmount(&shared.join("target"), false).unwrap();
            assert_eq!(table::mounts().unwrap().len(), before);
        }
    }
}

/// While one is being made in a mount namespace of its own, that namespace has copies of all others for a moment.
#[test]
fn come_and_go_at_once_without_being_in_each_others_way() {
    let scene = Scene::new();
    let lowers = scene.store(3);
    std::thread::scope(|scope| {
        for nr in 0..8 {
            let (scene, lowers) = (&scene, &lowers);
            scope.spawn(move || {
                let [upper, work, target] = ["u", "w", "t"].map(|name| scene.mkdir(format!("{name}{nr}")));
                for round in 0..12 {
                    let access = match round % 3 {
                        0 => Access::Writable { upper: upper.clone(), work: work.clone() },
                        1 => scene.in_memory(&lowers[0]),
                        _ => Access::ReadOnly,
                    };
                    let mut plan =
                        by(methods()[(round + nr) % methods().len()], &Plan::new(lowers.clone(), access));
                    plan.overlay2 = Some(scene.path("overlay2"));
                    mount::perform(&plan, &Target::open(&target).unwrap()).unwrap();
                    assert!(target.join("f2").exists());
                    mount::unmount(&target, false).unwrap();
                }
            });
        }
    });
    assert_eq!(scene.overlays(), 0);
}

#[test]
fn of_many_at_one_target_one_is_there() {
    let scene = Scene::new();
    let lowers = scene.store(2);
    let made = std::thread::scope(|scope| {
        let one = |nr: usize| {
            let plan = by(methods()[nr % methods().len()], &Plan::new(lowers.clone(), Access::ReadOnly));
            mount::perform(&plan, &Target::open(&scene.target())?)
        };
        let threads: Vec<_> = (0..8).map(|nr| scope.spawn(move || one(nr))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
    });
    assert_eq!(made.iter().filter(|made| made.is_ok()).count(), 1);
    assert!(made.iter().all(|made| made.as_ref().map_or_else(|e| e.class() == Class::InUse, |_| true)));
    assert_eq!(scene.overlays(), 1);
}
