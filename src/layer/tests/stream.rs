//! The stream as a whole: digests, ends, sizes, failures half way.

use super::*;

fn unpack_as(tar: &[u8], diff_id: Digest) -> (Scene, Result<Summary, Error>) {
    let scene = Scene::new();
    std::fs::create_dir(scene.home.path().join("0")).unwrap();
    let diff = scene.open(0);
    let beside = Dir::open(scene.home.path()).unwrap();
    let outcome = helped(|crew| {
        let buffers = &mut Buffers::alone(crew);
        unpack(blob(tar), &diff_id, &diff, &beside, &Options::default(), buffers)
            .and_then(|unpacked| unpacked.settle(&diff, &Below::new(Vec::new())))
    });
    (scene, outcome)
}

fn refusal(tar: &[u8], diff_id: Digest) -> String {
    told(&unpack_as(tar, diff_id).1.unwrap_err())
}

#[test]
fn a_layer_of_no_bytes_is_empty() {
    unpack_as(b"", Digest::of(b"")).1.unwrap();
}

#[test]
fn what_follows_the_end_of_the_tar_belongs_to_the_layer() {
    let bare = tar("f a");
    let more = [&bare[..], &[7; 3_000_000]].concat();
    unpack_as(&more, Digest::of(&more)).1.unwrap();
    let reason = refusal(&more, Digest::of(&bare));
    let (found, wanted) = (Digest::of(&more).short(), Digest::of(&bare).short());
    assert_eq!(reason, format!("contents are sha256:{found}, the image says sha256:{wanted}"));
}

#[test]
fn damage_is_told_by_the_digest_rather_than_by_its_symptom() {
    let sound = tar("f a\nf b");
    let mut damaged = sound.clone();
    damaged[1024] = b'?';
    assert!(refusal(&damaged, Digest::of(&sound)).starts_with("contents are sha256:"));
    assert!(refusal(&damaged, Digest::of(&damaged)).contains("checksum"));
    assert!(refusal(&sound[..700], Digest::of(&sound)).starts_with("contents are sha256:"));
}

#[test]
fn a_compressed_layer_is_compared_uncompressed() {
    let sound = tar("f a text");
    let members = [&sound[..600], &sound[600..]].map(|part| gzip(part, Compression::fast())).concat();
    let (scene, outcome) = unpack_as(&members, Digest::of(&sound));
    assert_eq!(outcome.unwrap().bytes, 4);
    scene_holds(scene, "d ./\nf a text");
    assert!(refusal(&members[..members.len() - 9], Digest::of(&sound)).contains("damaged gzip"));
}

#[track_caller]
fn scene_holds(mut scene: Scene, tree: &str) {
    scene.layers = 1;
    scene.holds(tree);
}

#[test]
fn files_of_all_sizes_come_whole() {
    let mut scene = Scene::new();
    let sizes = [0, 1, 511, 512, 513, 524_287, 524_288, 600_000, 1 << 20, (1 << 20) + 1, 3_000_000];
    let mut tar = Vec::new();
    let content = |n: usize| (0..n).map(|i| (i * 31 + n) as u8).collect::<Vec<_>>();
    for round in 0..4 {
        for n in sizes {
            let mut header = tar::Header::new_gnu();
            header.set_path(format!("{round}/{n}")).unwrap();
            header.set_mode(0o644);
            append(&mut tar, header, &content(n));
        }
    }
    let summary = scene.add(&tar).unwrap();
    assert_eq!(summary.bytes, 4 * sizes.iter().sum::<usize>() as u64);
    for round in 0..4 {
        for n in sizes {
            let path = scene.top().path().join(format!("{round}/{n}"));
            assert!(std::fs::read(path).unwrap() == content(n), "{round}/{n}");
        }
    }
}

#[test]
fn many_small_files_among_large_ones_do_not_starve_the_reader() {
    let mut tar = Vec::new();
    for n in 0..60 {
        for (kind, size) in [("small", 10), ("large", 1_300_000)] {
            let mut header = tar::Header::new_gnu();
            header.set_path(format!("{kind}{n}")).unwrap();
            append(&mut tar, header, &vec![0; size]);
        }
    }
    assert_eq!(Scene::new().add(&tar).unwrap().entries, 120);
}

#[test]
fn a_failure_half_way_ends_all_threads() {
    let rest: String = (0..4000).map(|n| format!("f f{n} {}\n", "x".repeat(3000))).collect();
    let layer = tar(&format!("{rest}\nc w 0:0\n{rest}"));
    assert!(refusal(&layer, Digest::of(&layer)).contains("character device 0:0"));
}

#[test]
fn a_writer_that_fails_stops_the_layer() {
    let rest: String = (0..4000).map(|n| format!("f f{n} {}\n", "x".repeat(3000))).collect();
    let layer = tar(&format!("f {{nonsense=x}} bad\n{rest}"));
    assert!(refusal(&layer, Digest::of(&layer)).starts_with("entry 'bad': "));
}
