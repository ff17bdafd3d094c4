//! What directories in `overlay2` say of themselves, and what they are: a power cut may have taken any of the records.

use std::collections::{BTreeMap, BTreeSet};

use crate::store::record::{ContainerRecord, SnapshotRecord};

/// What is known of a directory that is no layer.
#[derive(Debug)]
pub(super) struct Claim {
    /// Its name.
    pub(super) dir: String,
    /// The container that it is of, or was.
    pub(super) container: Option<ContainerRecord>,
    /// Whether that is in the container's record, and not only on the directory.
    pub(super) recorded: bool,
    /// The snapshot that it is.
    pub(super) snapshot: Option<SnapshotRecord>,
    /// Whether anything was changed in it.
    pub(super) changed: bool,
}

/// What becomes of a directory.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// It is a container's own.
    Own(ContainerRecord),
    /// It may have been a container's before, and nothing says that it was given up.
    Another(ContainerRecord),
    /// It is a snapshot.
    Snapshot(SnapshotRecord),
    /// Nothing tells what it is but what lies below it.
    Unknown,
    /// It was to be a container's own, or was, and nothing is in it that the container needs.
    Needless,
}

/// Decides of each directory. A container has one of its own, and may have left others behind: the one of its last generation is
/// its own, unless that was never used and its record names another. What a container stands on is a snapshot, whatever it says.
pub(super) fn decide(claims: &[Claim]) -> Vec<(&Claim, Fate)> {
    let own = own(claims);
    let below = below(claims, &own);
    let fate = |claim: &Claim| {
        let Some(container) = &claim.container else {
            return claim.snapshot.clone().map_or(Fate::Unknown, Fate::Snapshot);
        };
        let is_own = own.get(container.id.as_str()).is_some_and(|own| own.dir == claim.dir);
        if below.contains(claim.dir.as_str()) || (!is_own && claim.snapshot.is_some()) {
            return Fate::Snapshot(claim.snapshot.clone().unwrap_or_else(|| nameless(claim, container)));
        }
        if is_own {
            return Fate::Own(container.clone());
        }
        // Its record is of a later generation: then it was reset.
        let given_up = own
            .get(container.id.as_str())
            .is_some_and(|own| own.recorded && generation(own) > container.generation);
        if claim.changed && !given_up { Fate::Another(container.clone()) } else { Fate::Needless }
    };
    claims.iter().map(|claim| (claim, fate(claim))).collect()
}

/// Returns each container's own directory, by the container's id.
fn own(claims: &[Claim]) -> BTreeMap<&str, &Claim> {
    let rank = |claim: &Claim| (claim.recorded || claim.changed, generation(claim));
    let mut own: BTreeMap<&str, &Claim> = BTreeMap::new();
    for claim in claims {
        let Some(container) = &claim.container else { continue };
        let best = own.entry(container.id.as_str()).or_insert(claim);
        if rank(claim) > rank(best) {
            *best = claim;
        }
    }
    own
}

fn generation(claim: &Claim) -> u64 {
    claim.container.as_ref().map_or(0, |container| container.generation)
}

/// Returns what containers and snapshots stand on.
fn below<'a>(claims: &'a [Claim], own: &BTreeMap<&str, &'a Claim>) -> BTreeSet<&'a str> {
    let by_dir: BTreeMap<&str, &Claim> = claims.iter().map(|claim| (claim.dir.as_str(), claim)).collect();
    let base = |claim: &'a Claim| claim.container.as_ref().and_then(|container| container.base.as_deref());
    let parent = |claim: &'a Claim| claim.snapshot.as_ref().and_then(|snapshot| snapshot.parent.as_deref());
    let is_own = |claim: &Claim| own.values().any(|own| own.dir == claim.dir);
    let snapshots = claims.iter().filter(|claim| claim.snapshot.is_some() && !is_own(claim));
    let mut todo: Vec<&str> = own.values().filter_map(|claim| base(claim)).collect();
    todo.extend(snapshots.filter_map(parent));
    let mut below = BTreeSet::new();
    while let Some(dir) = todo.pop() {
        if below.insert(dir) {
            let claim = by_dir.get(dir).copied();
            todo.extend(claim.and_then(|claim| parent(claim).or_else(|| base(claim))));
        }
    }
    below
}

/// A snapshot of which only what stands on it tells.
fn nameless(claim: &Claim, container: &ContainerRecord) -> SnapshotRecord {
    SnapshotRecord {
        id: claim.dir.clone(),
        container: container.id.clone(),
        name: None,
        parent: container.base.clone(),
        image: container.image,
        at_layer: container.at_layer,
        image_name: container.image_name.clone(),
        created: container.created.clone(),
        options: container.options.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::record;

    /// `web2` is the directory of the container `web` in its second generation.
    fn dir(text: &str) -> String {
        container(text, None).dir()
    }

    fn container(text: &str, base: Option<&str>) -> ContainerRecord {
        let (name, generation) = text.split_at(text.len() - 1);
        let json = format!(
            r#"{{"format":1,"name":"{name}","id":"{name}","image":"sha256:{}","image_name":null,"created":"","upper":"store",
                "options":[],"target":null,"remove":false}}"#,
            "0".repeat(64)
        );
        let record: ContainerRecord = record::read(json.as_bytes()).unwrap();
        ContainerRecord { generation: generation.parse().unwrap(), base: base.map(dir), ..record }
    }

    /// Reads `web2 over web1 recorded changed frozen`.
    fn claim(text: &str) -> Claim {
        let words: Vec<&str> = text.split(' ').collect();
        let base = words.iter().position(|word| *word == "over").map(|at| words[at + 1]);
        let has = |word| words.contains(&word);
        let container = container(words[0], base);
        let snapshot = SnapshotRecord { name: Some("s".to_owned()), ..nameless_of(&container) };
        Claim {
            dir: container.dir(),
            recorded: has("recorded"),
            changed: has("changed"),
            snapshot: has("frozen").then_some(snapshot),
            container: (!has("only")).then_some(container),
        }
    }

    fn nameless_of(container: &ContainerRecord) -> SnapshotRecord {
        let claim =
            Claim { dir: container.dir(), container: None, recorded: false, snapshot: None, changed: false };
        nameless(&claim, container)
    }

    #[track_caller]
    fn decides(claims: &[(&str, &str)]) {
        let all: Vec<Claim> = claims.iter().map(|(text, _)| claim(text)).collect();
        let decided = decide(&all);
        let found: Vec<&str> = decided
            .iter()
            .map(|(_, fate)| match fate {
                Fate::Own(_) => "own",
                Fate::Another(_) => "another",
                Fate::Snapshot(SnapshotRecord { name: Some(_), .. }) => "snapshot",
                Fate::Snapshot(SnapshotRecord { name: None, .. }) => "nameless",
                Fate::Unknown => "unknown",
                Fate::Needless => "needless",
            })
            .collect();
        let expected: Vec<&str> = claims.iter().map(|(_, fate)| *fate).collect();
        assert_eq!(found, expected, "{claims:?}");
    }

    #[test]
    fn what_records_say_holds() {
        decides(&[("web0 recorded changed", "own")]);
        decides(&[("web0 frozen only", "snapshot"), ("web1 over web0 recorded", "own")]);
        decides(&[("web0 frozen only", "snapshot")]);
        decides(&[("web0 only", "unknown")]);
    }

    #[test]
    fn a_snapshot_that_was_being_made_is_made_or_not() {
        // Noted, and not frozen yet.
        decides(&[("web0 frozen recorded changed", "own")]);
        // The new directory is there, and the record does not name it yet.
        decides(&[("web0 frozen recorded changed", "own"), ("web1 over web0", "needless")]);
        // It does.
        decides(&[("web0 frozen changed", "snapshot"), ("web1 over web0 recorded", "own")]);
        // The record was lost.
        decides(&[("web0 frozen changed", "own"), ("web1 over web0", "needless")]);
        decides(&[("web0 frozen changed", "snapshot"), ("web1 over web0 changed", "own")]);
        // So was what was noted.
        decides(&[("web0 changed", "nameless"), ("web1 over web0 changed", "own")]);
    }

    #[test]
    fn what_was_given_up_is_needless_only_where_the_record_says_so() {
        decides(&[
            ("web1 over web0 changed", "needless"),
            ("web2 over web0 recorded", "own"),
            ("web0 frozen only", "snapshot"),
        ]);
        decides(&[("web1 recorded changed", "own"), ("web2", "needless")]);
        decides(&[("web1 changed", "own"), ("web2", "needless")]);
        decides(&[("web1 changed", "another"), ("web2 changed", "own")]);
    }

    #[test]
    fn what_others_stand_on_is_a_snapshot_though_its_container_is_gone() {
        decides(&[("web0 frozen changed", "snapshot"), ("new0 over web0 recorded", "own")]);
        decides(&[("web0 changed", "nameless"), ("new0 over web0 recorded", "own")]);
        decides(&[
            ("web0 changed", "nameless"),
            ("web1 over web0 frozen only", "snapshot"),
            ("new0 over web1 recorded", "own"),
        ]);
    }
}
