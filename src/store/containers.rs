//! Containers: writable layers with names.

use std::path::PathBuf;

use super::boot::State;
use super::error::{A_SNAPSHOT, AN_IMAGE, Error, is_there};
use super::layers::{gone, read_record, read_records};
use super::layout::{CONTAINER, DIFF, MERGED, WORK};
use super::record::{self, ContainerRecord, ImageRecord, StoredPath, Upper};
use super::{Change, Own, Store, nearest, now};
use crate::digest::hex;
use crate::layer;
use crate::sys::dir::{Dir, cannot_hold};
use crate::sys::lock::Holder;
use crate::sys::{filesystem, trace};

/// The longest name: it is a file's name, and stands in tables.
const LONGEST_NAME: usize = 128;

/// What a container is to be called.
#[derive(Debug, Clone, Copy)]
pub enum Naming<'a> {
    /// So, or not at all.
    Exactly(&'a str),
    /// After this image or id, with a number where that is taken.
    After(&'a str),
}

/// What makes a container, besides its name.
#[derive(Debug, Clone)]
pub struct NewContainer<'a> {
    /// The image it stands on.
    pub image: &'a ImageRecord,
    /// The uppermost of its layers that the container stands on, which is that of `image`, where it is not the last.
    pub at_layer: Option<usize>,
    /// The name by which the image was asked for.
    pub image_name: Option<String>,
    /// Where its changes go.
    pub upper: Upper,
    /// The `-o` options it is mounted with.
    pub options: Vec<String>,
    /// Where it is mounted.
    pub target: Option<StoredPath>,
    /// Whether it goes away when it is unmounted.
    pub remove: bool,
    /// The id of the snapshot that it stands on, where it is not the image itself.
    pub base: Option<String>,
}

impl Store {
    /// Returns all containers, in the order of their names.
    pub fn containers(&self) -> Result<Vec<ContainerRecord>, Error> {
        let records = match self.state {
            State::Marked => self.readable_containers()?,
            State::Nothing | State::Sound | State::Suspect(_) | State::WithoutMarks => {
                read_records::<ContainerRecord>(&self.layout().containers())?
            }
        };
        let mut containers = Vec::new();
        for container in records {
            containers.extend(self.if_there(container)?);
        }
        containers.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(containers)
    }

    /// Finds a container by its name or its id.
    pub fn container(&self, text: &str) -> Result<Option<ContainerRecord>, Error> {
        if is_name(text) {
            if let Some(record) = read_record(&self.layout().container(text))? {
                return self.if_there(record);
            }
        }
        if text.len() < 12 || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Ok(None);
        }
        Ok(self.containers()?.into_iter().find(|container| container.id.starts_with(text)))
    }

    /// Says that there is no such container, and what else is called so, or which name is near.
    pub fn no_container(&self, text: &str) -> Error {
        let not = |what| Error::NotAContainer { name: text.to_owned(), what };
        if let Ok(Some(_)) = self.snapshot(text) {
            return not(A_SNAPSHOT);
        }
        if self.image(text).is_ok() {
            return not(AN_IMAGE);
        }
        let near = self.near_container(text);
        Error::NoContainer { name: text.to_owned(), root: self.layout().root().to_owned(), near }
    }

    /// Returns the container's name that `text` may have been meant for.
    pub(super) fn near_container(&self, text: &str) -> Option<String> {
        let names: Vec<String> =
            self.containers().unwrap_or_default().into_iter().map(|container| container.name).collect();
        nearest(text, names.iter())
    }

    /// Returns the upper and work directories of a container that keeps them on disk.
    #[must_use]
    pub fn upper_and_work(&self, container: &ContainerRecord) -> Option<(PathBuf, PathBuf)> {
        let dir = self.layout().overlay(&container.dir());
        match &container.upper {
            Upper::Store => Some((dir.join(DIFF), dir.join(WORK))),
            Upper::At { upper, work } => Some((upper.path(), work.path())),
            Upper::Tmpfs { .. } => None,
        }
    }

    /// Returns where a container is mounted when no target was given.
    #[must_use]
    pub fn merged(&self, container: &ContainerRecord) -> PathBuf {
        self.layout().overlay(&container.dir()).join(MERGED)
    }

    fn if_there(&self, container: ContainerRecord) -> Result<Option<ContainerRecord>, Error> {
        Ok(is_there(self.layout().overlay(&container.dir()))?.then_some(container))
    }
}

impl Change<'_> {
    /// Makes a container. Its lock comes with it: nobody else mounts or removes it meanwhile.
    pub fn create_container(
        &self,
        naming: Naming<'_>,
        new: &NewContainer<'_>,
    ) -> Result<(ContainerRecord, Own), Error> {
        let (name, own) = self.free_name(naming)?;
        let container = ContainerRecord {
            name,
            id: hex(&filesystem::random::<32>()?),
            image: new.image.id,
            at_layer: new.at_layer,
            image_name: new.image_name.clone(),
            created: now(),
            upper: new.upper.clone(),
            options: new.options.clone(),
            target: new.target.clone(),
            remove: new.remove,
            unfinished: true,
            generation: 0,
            base: new.base.clone(),
        };
        let below = self.store.below(new.base.as_deref(), new.image)?;
        let (staged, link) = self.stage_container(&container, &below)?;
        self.record_container(&container)?;
        self.put_overlay(&staged, &link, &container.dir())?;
        trace::done(|| format!("container '{}': made, over image {}", container.name, new.image.id.short()));
        Ok((container, own))
    }

    /// Makes the directory of a container over these short names, its upper directory and what belongs beside it, in the stage;
    /// and its own short name.
    pub(super) fn stage_container(
        &self,
        container: &ContainerRecord,
        below: &[String],
    ) -> Result<(PathBuf, String), Error> {
        let staged = self.stage.fresh();
        super::private_dir(&staged)?;
        super::private_dir(&staged.join(DIFF))?;
        super::private_dir(&staged.join(MERGED))?;
        self.describe_root(&Dir::open(&staged.join(DIFF))?, below.first())?;
        let link = self.furnish(&staged, below)?;
        if below.is_empty() {
            super::private_dir(&staged.join(WORK))?;
        }
        inscribe_container(&Dir::open(&staged)?, container)?;
        Ok((staged, link))
    }

    /// Takes the lock of a container, and reads it again: another command may have removed it meanwhile.
    pub fn hold_container(
        &self,
        name: &str,
        waiting: &mut dyn FnMut(&[Holder]),
    ) -> Result<(ContainerRecord, Own), Error> {
        let find = || self.store.container(name)?.ok_or_else(|| self.store.no_container(name));
        // Its lock has its name, also where it is called by its id.
        let own = self.own(&lock_name(&find()?.name), waiting)?;
        Ok((find()?, own))
    }

    /// The same without waiting; `None` where another command has it, or it is gone.
    pub fn try_hold_container(&self, name: &str) -> Result<Option<(ContainerRecord, Own)>, Error> {
        let Some(own) = self.try_own(&lock_name(name))? else { return Ok(None) };
        Ok(self.store.container(name)?.map(|container| (container, own)))
    }

    /// Notes that a container is about to be frozen: whoever sweeps what this process leaves thaws it, if it is killed.
    pub fn note_frozen(&self, container: &ContainerRecord) -> Result<(), Error> {
        self.stage.note_frozen(&container.id)
    }

    /// Writes down what is known of a container.
    pub fn record_container(&self, container: &ContainerRecord) -> Result<(), Error> {
        if let Ok(dir) = Dir::open(&self.layout().overlay(&container.dir())) {
            inscribe_container(&dir, container)?;
        }
        self.stage.write(&self.layout().container(&container.name), &record::write_container(container))
    }

    /// Removes a container, which must not be mounted, with its changes, but not an upper directory of the user's.
    pub fn remove_container(&self, container: &ContainerRecord, _own: &Own) -> Result<(), Error> {
        self.remove_overlay(&container.dir())?;
        gone(&self.layout().container(&container.name))?;
        trace::done(|| format!("container '{}': removed", container.name));
        Ok(())
    }

    /// The merged root shows the upper directory's metadata: makes them those of the uppermost layer, which has
    /// inherited them from the one that describes the root.
    pub fn describe_root(&self, upper: &Dir, top: Option<&String>) -> Result<(), Error> {
        layer::fresh_root(upper)?;
        let top = top.map_or_else(|| self.layout().empty(), |top| self.store.diff_of(top));
        let path = || upper.path().to_owned();
        layer::copy_root(&Dir::open(&top)?, upper).map_err(|source| Error::Root { path: path(), source })
    }

    /// Says no where a container has this name, or none can have it. Who holds another container's lock asks first: two that
    /// each wait for the other's would wait forever.
    pub fn free_for(&self, name: &str) -> Result<(), Error> {
        match self.store.container(name)? {
            Some(_) => Err(Error::ContainerExists(name.to_owned())),
            None if is_name(name) => Ok(()),
            None => Err(Error::NotAContainerName(name.to_owned())),
        }
    }

    fn free_name(&self, naming: Naming<'_>) -> Result<(String, Own), Error> {
        let wanted = match naming {
            Naming::Exactly(name) if is_name(name) => name.to_owned(),
            Naming::Exactly(name) => return Err(Error::NotAContainerName(name.to_owned())),
            Naming::After(image) => name_after(image),
        };
        for number in 1_u32.. {
            let name = if number == 1 { wanted.clone() } else { format!("{wanted}-{number}") };
            // Without its lock first: the hundredth container over an image would take a hundred.
            if matches!(naming, Naming::After(_)) && self.store.container(&name)?.is_some() {
                continue;
            }
            let own = self.own(&lock_name(&name), &mut |_| {})?;
            if self.store.container(&name)?.is_none() {
                return Ok((name, own));
            }
            if matches!(naming, Naming::Exactly(_)) {
                return Err(Error::ContainerExists(name));
            }
        }
        unreachable!("there are fewer than 2^32 containers")
    }
}

/// Whether what a container changes is in the store.
pub(super) fn is_on_disk(container: &ContainerRecord) -> bool {
    matches!(container.upper, Upper::Store)
}

/// Writes a container's record on its directory, too.
pub(super) fn inscribe_container(dir: &Dir, container: &ContainerRecord) -> Result<(), Error> {
    if inscribe(dir, CONTAINER, &record::write_container(container))? {
        return Ok(());
    }
    // Too long for ext4: paths and options are as long as their user likes. What it is and stands on is more needed.
    let short = ContainerRecord { target: None, options: Vec::new(), ..container.clone() };
    inscribe(dir, CONTAINER, &record::write_container(&short))?;
    Ok(())
}

/// Writes a record on the directory that it is of: who has a file there synced has all directories above it on the disk, with
/// their attributes, but no other file. Returns whether the filesystem can hold it.
pub(super) fn inscribe(dir: &Dir, attribute: &[u8], record: &[u8]) -> Result<bool, Error> {
    match dir.set_xattr_self(attribute, record) {
        Err(failed) if cannot_hold(&failed) => Ok(false),
        set => Ok(set.map(|()| true)?),
    }
}

fn lock_name(container: &str) -> String {
    format!("container-{container}")
}

/// Whether `text` may name a container: what Docker allows, and short enough for a file's name.
pub(super) fn is_name(text: &str) -> bool {
    let word = |c: char| c.is_ascii_alphanumeric();
    text.len() <= LONGEST_NAME
        && text.starts_with(word)
        && text.chars().all(|c| word(c) || matches!(c, '_' | '.' | '-'))
}

/// Makes a container's name of an image's: `node:20-slim` becomes `node-20-slim`. The tag always stays, so that `web` goes on
/// meaning the image `web:latest`.
fn name_after(image: &str) -> String {
    let last = image.rsplit('/').next().unwrap_or(image);
    let clean: String = last
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() || matches!(c, '_' | '.') { c } else { '-' })
        .collect();
    let clean = clean.trim_start_matches(|c: char| !c.is_ascii_alphanumeric());
    let short = &clean[..clean.len().min(LONGEST_NAME - 16)];
    if short.is_empty() { "container".to_owned() } else { short.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_container_is_named_after_its_image() {
        for (image, name) in [
            ("node:20-slim", "node-20-slim"),
            ("web:latest", "web-latest"),
            ("ghcr.io/org/app:v1.2", "app-v1.2"),
            ("3f2a1b4c5d6e", "3f2a1b4c5d6e"),
            ("localhost:5000/x@y", "x-y"),
            ("/", "container"),
        ] {
            assert_eq!(name_after(image), name);
            assert!(is_name(name));
        }
    }

    #[test]
    fn a_name_is_never_a_path() {
        for text in ["", ".", "..", "../x", "a/b", "-x", "a b", "é", &"x".repeat(129)] {
            assert!(!is_name(text), "{text}");
        }
    }
}
