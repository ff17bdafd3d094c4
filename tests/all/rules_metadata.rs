//! Owner, mode, times, extended attributes, devices, names: what an entry says is what the mount shows.

use std::fs;
use std::os::unix::fs::MetadataExt;

use crate::support::{Scene, layer};

/// `cap_net_raw+ep`, as the kernel stores it (linux/capability.h, vfs_cap_data, revision 2).
const CAP_NET_RAW: &[u8] = &[1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

/// `user::rw-,user:1000:r--,group::r--,mask::r--,other::r--` (linux/posix_acl_xattr.h).
const ACL: &[u8] =
    b"\x02\0\0\0\x01\0\x06\0\xff\xff\xff\xff\x02\0\x04\0\xe8\x03\0\0\x04\0\x04\0\xff\xff\xff\xff\
    \x10\0\x04\0\xff\xff\xff\xff\x20\0\x04\0\xff\xff\xff\xff";

// Rule 10: the entry of the root.

#[test]
fn root_is_what_its_entry_says() {
    let root = layer().dir("./").mode(0o1711).owner(8, 9).mtime(1234).xattr("user.k", b"v").file("a", "1");
    let scene = Scene::new().layer(root).mounted();
    scene.shows_times(
        "
        d 1711 8:9 @1234 .  {user.k=v}
        f 0644 @0 a  1
        ",
    );
}

#[test]
fn root_is_what_the_uppermost_layer_that_describes_it_says() {
    let scene = Scene::new()
        .layer(layer().dir("./").mode(0o700))
        .layer(layer().dir("./").mode(0o711).owner(1, 1))
        .layer(layer().file("a", "1"))
        .mounted();
    scene.shows(
        "
        d 0711 1:1 .
        f 0644 a  1
        ",
    );
}

#[test]
fn root_that_no_layer_describes_is_0755() {
    let scene = Scene::new().layer(layer().file("a", "1")).layer(layer()).mounted();
    scene.shows("f 0644 a  1");
}

#[test]
fn root_that_is_no_directory_is_refused() {
    Scene::new()
        .layer(layer().file(".", "x"))
        .refused("layer 1 of 1: entry '.': the layer's root is no directory");
    Scene::new()
        .layer(layer().symlink(".", "/"))
        .refused("layer 1 of 1: entry '.': the layer's root is no directory");
}

// Rule 11: metadata, exactly.

#[test]
fn setuid_bits_and_capabilities_survive_the_change_of_owner() {
    let scene = Scene::new()
        .layer(
            layer()
                .file("su", "x")
                .mode(0o4755)
                .owner(10, 20)
                .file("wall", "x")
                .mode(0o2755)
                .owner(0, 5)
                .file("ping", "x")
                .mode(0o755)
                .owner(10, 20)
                .xattr("security.capability", CAP_NET_RAW)
                .dir("mail")
                .mode(0o2775)
                .owner(0, 8)
                .file("mail/a", "x"),
        )
        .mounted();
    let zeros = "\\x00".repeat(11);
    scene.shows(&format!(
        "
        d 2775 0:8 mail
        f 0644 mail/a  x
        f 0755 10:20 ping  x  {{security.capability=\\x01\\x00\\x00\\x02\\x00 \\x00{zeros}\\x00\\x00}}
        f 4755 10:20 su  x
        f 2755 0:5 wall  x
        ",
    ));
}

#[test]
fn hard_link_to_a_file_with_capabilities_leaves_them() {
    let scene = Scene::new()
        .layer(
            layer()
                .file("ping", "x")
                .xattr("security.capability", CAP_NET_RAW)
                .hardlink("ping4", "ping")
                .owner(9, 9),
        )
        .mounted();
    let tree = scene.tree("ro");
    assert_eq!(tree.matches("security.capability").count(), 2, "{tree}");
    assert!(tree.contains("f 0644 ping4  x  = ping"), "{tree}");
}

#[test]
fn access_lists_and_user_attributes_are_kept() {
    let scene = Scene::new()
        .layer(
            layer()
                .file("acl", "")
                .xattr("system.posix_acl_access", ACL)
                .file("user", "")
                .xattr("user.a", b"1")
                .xattr("user.b", b"two words\n")
                .dir("dir")
                .xattr("user.c", b""),
        )
        .mounted();
    let tree = scene.tree("ro");
    assert!(tree.contains("d 0755 dir  {user.c=}\n"), "{tree}");
    assert!(tree.contains("f 0644 user  {user.a=1, user.b=two words\\n}"), "{tree}");
    let acl: String = ACL.escape_ascii().to_string();
    assert!(tree.contains(&format!("f 0644 acl  {{system.posix_acl_access={acl}}}")), "{tree}");
}

#[test]
fn times_are_kept_to_the_nanosecond_before_1970_and_after_2038() {
    let scene = Scene::new()
        .layer(
            layer()
                .file("epoch", "")
                .file("nanos", "")
                .pax("mtime", b"1234567890.123456789")
                .file("negative", "")
                .pax("mtime", b"-86400")
                .file("negative-fraction", "")
                .pax("mtime", b"-1.5")
                .file("late", "")
                .mtime(4_294_967_296)
                .symlink("link", "x")
                .mtime(77)
                .fifo("pipe")
                .mtime(78)
                .dir("dir")
                .mtime(79)
                .file("dir/child", ""),
        )
        .mounted();
    scene.shows_times(
        "
        d 0755 @79 dir
        f 0644 @0 dir/child
        f 0644 @0 epoch
        f 0644 @4294967296 late
        l 0777 @77 link  -> x
        f 0644 @1234567890.123456789 nanos
        f 0644 @-86400 negative
        f 0644 @-2.500000000 negative-fraction
        p 0644 @78 pipe
        ",
    );
}

#[test]
fn devices_and_pipes_are_made() {
    let scene = Scene::new()
        .layer(
            layer()
                .char_device("null", 1, 3)
                .mode(0o666)
                .char_device("tty", 5, 0)
                .mode(0o620)
                .owner(0, 5)
                .block_device("disk", 259, 70_000)
                .block_device("zero", 0, 0)
                .fifo("pipe")
                .mode(0o600),
        )
        .mounted();
    scene.shows(
        "
        b 0644 disk  259:70000
        c 0666 null  1:3
        p 0600 pipe
        c 0620 0:5 tty  5:0
        b 0644 zero  0:0
        ",
    );
}

#[test]
fn pax_sparse_file_has_its_holes() {
    let mut map = b"2\n0\n512\n1048576\n512\n".to_vec();
    map.resize(512, 0);
    map.extend([b'a'; 512]);
    map.extend([b'b'; 512]);
    let sparse = layer().file_of_bytes(b"GNUSparseFile.0/big", &map);
    let sparse = [("major", "1"), ("minor", "0"), ("name", "big"), ("realsize", "2097152")]
        .iter()
        .fold(sparse, |layer, (key, value)| layer.pax(&format!("GNU.sparse.{key}"), value.as_bytes()));
    let scene = Scene::new().layer(sparse).mounted();
    assert_sparse(&scene);
}

#[test]
fn gnu_sparse_file_has_its_holes() {
    let mut header = tar::Header::new_gnu();
    header.set_path("big").unwrap();
    header.set_entry_type(tar::EntryType::GNUSparse);
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_size(1024);
    let fields = header.as_gnu_mut().unwrap();
    for (nr, offset) in [0_u64, 1 << 20].into_iter().enumerate() {
        fields.sparse[nr].offset.copy_from_slice(format!("{offset:011o}\0").as_bytes());
        fields.sparse[nr].numbytes.copy_from_slice(b"00000001000\0");
    }
    fields.realsize.copy_from_slice(format!("{:011o}\0", 2 << 20).as_bytes());
    header.set_cksum();
    let scene =
        Scene::new().layer(layer().raw(header.as_bytes()).raw(&[b'a'; 512]).raw(&[b'b'; 512])).mounted();
    assert_sparse(&scene);
}

/// Checks the file `big`: 2 MiB, with 512 bytes at its start and at 1 MiB.
#[track_caller]
fn assert_sparse(scene: &Scene) {
    let mut expected = vec![0; 2 << 20];
    expected[..512].fill(b'a');
    expected[1 << 20..(1 << 20) + 512].fill(b'b');
    for root in ["root", "ro"] {
        let path = scene.path(root).join("big");
        assert!(fs::read(&path).expect("big can be read") == expected, "{root}/big has other contents");
        let stored = fs::metadata(&path).expect("big is there").blocks() * 512;
        assert!(stored < 64 << 10, "{root}/big takes {stored} bytes on disk");
    }
}

#[test]
fn names_of_any_bytes_are_kept() {
    let scene = Scene::new()
        .layer(
            layer()
                .file_of_bytes(b"latin-\xe9", b"1")
                .file("new\nline", "2")
                .file("back\\slash", "3")
                .file("a space, comma: colon", "4")
                .file("...", "5")
                .file("\u{1f427}", "6"),
        )
        .mounted();
    scene.shows(
        r"
        f 0644 ...  5
        f 0644 a space, comma: colon  4
        f 0644 back\slash  3
        f 0644 latin-\xe9  1
        f 0644 new\nline  2
        f 0644 🐧  6
        ",
    );
}

#[test]
fn names_of_255_bytes_and_deep_paths_are_kept() {
    let long = "n".repeat(255);
    let deep = vec!["d".repeat(200); 19].join("/"); // 3,818 bytes, under PATH_MAX
    let scene = Scene::new().layer(layer().file(&long, "1").dir(&deep)).mounted();
    assert!(fs::read_to_string(scene.path("ro").join(&long)).unwrap() == "1");
    assert!(scene.path("ro").join(&deep).is_dir());
}
