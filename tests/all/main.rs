//! `ovlctl` from end to end: each test runs the command, as root, in a mount namespace and a store of its own.
//!
//! Input and outcome stand side by side as literals; `support` has the words for both.

// The words: layers and images as values, a place to mount them, trees as text.
mod support;

// What comes in.
mod archives; // every form that real tools write
mod archives_choice; // several images and platforms in one archive
mod archives_damaged; // what does not match its digests, or is no archive
mod archives_pipe; // what is unpacked while it comes in

// What the rules of layers make of tars, in the mounted tree.
mod confinement; // what the process may do that reads it
mod hostile; // what means harm: names, links, sizes, bombs, documents
mod rules_limits; // attributes and numbers that no layer may have
mod rules_metadata; // owner, mode, times, attributes, devices, names
mod rules_opaque; // directories that start anew
mod rules_structure; // order, parents, hard links, links in the way
mod rules_whiteouts; // what `.wh.` files remove

// What is kept.
mod checks; // what is wrong with it is named, and put right
mod df; // what takes how much, and what pruning frees
mod df_disk; // the same to the block, and what each folder is for
mod power_cuts; // what the disk lacks is named and gone, what it has stays
mod power_cuts_containers; // containers stay, with what was synced in them
mod power_cuts_snapshots; // and so do snapshots
mod save; // what is saved is what was loaded, to the byte
mod prune; // what goes, what stays, and who is named
mod removal; // what is removed is gone at once, and soon deleted
mod stores; // several stores, and whose a mount is
mod snapshots; // frozen, gone back to, and gone on from
mod snapshots_given; // what is committed, saved and exported of them
mod snapshots_marks; // what overlayfs marked means the same below
mod snapshots_random; // in any order, against a model
mod snapshots_said; // how they are called, and what is refused
mod store; // the overlay2 tree, layers that are shared, names
mod store_races; // killed commands, commands at once

// What is made of it.
mod commit; // a container's changes become a layer
#[cfg(all(target_arch = "x86_64", target_env = "gnu"))]
mod commit_frozen; // nobody writes meanwhile
mod commit_shared; // contents that are not written again
mod squash; // several layers become one

// What is mounted.
mod mounts; // containers and targets
mod mounts_again; // containers that come back, and who still uses them
mod helper; // mount(8), fstab(5), and containers that come back where they were
mod mounts_options; // upper directories, options, methods, numbers of layers
mod lives; // hundreds of operations in no order: each keeps the store whole, the last leaves it empty
mod stress; // two hundred rounds, eight at a time

// What befalls it.
#[cfg(all(target_arch = "x86_64", target_env = "gnu"))]
mod faults; // signals, limits, stores that go away, clocks
#[cfg(all(target_arch = "x86_64", target_env = "gnu"))]
mod faults_calls; // system calls that fail
mod full; // filesystems without room
#[cfg(all(target_arch = "x86_64", target_env = "gnu"))]
mod kills; // killed at every system call
#[cfg(all(target_arch = "x86_64", target_env = "gnu"))]
mod targets_swapped; // for a link, at every moment

// What is looked at.
mod at_layer; // fewer of an image's layers
mod run; // what a command finds in a container, and what it cannot reach
mod run_around; // what is around it: mount options, names, networks, many layers
mod bisect; // the first layer at which a command fails
mod blame; // which layer a path comes from
mod cp; // files in and out of containers
mod diff_images; // what differs between images
mod export; // the tree, for booting and for other tools
mod export_holes; // of files, through a tar
#[cfg(all(target_arch = "x86_64", target_env = "gnu"))]
mod export_same; // of whichever store
mod export_killed; // and what of it is left when it is killed
mod history; // how an image was made
mod inside; // what is in images and containers
mod tree; // layers as bars
mod diff; // what a container has changed, to the last attribute
mod diff_random; // and whatever that was

// What is said.
mod completion; // what shells offer, and manual pages
mod config; // where settings come from, and who may write them
mod errors; // messages word for word, and exit codes
mod errors_kinds; // of what has the name
mod look; // colours, sizes, times
mod json; // what docs/json.md says, field by field
mod verbose; // what is done, and by which calls
mod inspect; // the JSON that scripts written for docker read
mod privileges; // what each verb needs, and says where it lacks it
mod progress; // bars, lines, and Ctrl-C
mod probe; // what this kernel and a filesystem can do

// What is promised.
mod guide; // docs/, as it is typed
mod security; // SECURITY.md names tests that there are

/// A file that is not named above would not be compiled, and its tests would pass unseen.
#[test]
fn every_file_of_this_directory_is_listed() {
    let dir = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/all");
    for (root, list) in [
        ("", include_str!("main.rs")),
        ("support", include_str!("support.rs")),
        ("hostile", include_str!("hostile.rs")),
    ] {
        for entry in std::fs::read_dir(dir.join(root)).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            let Some(module) = name.strip_suffix(".rs").filter(|module| *module != "main") else { continue };
            let listed = list.lines().any(|line| line.contains(&format!("mod {module};")));
            assert!(listed, "{root}/{name} is not listed");
        }
    }
}
