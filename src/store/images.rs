//! Images and their names.

use std::collections::BTreeMap;
use std::fs;

use super::boot::State;
use super::error::{A_CONTAINER, A_SNAPSHOT, Error, file, filter, is_there};
use super::layers::{names_in, read_record, read_sound};
use super::layout::{IMAGE_CONFIG, IMAGE_RECORD};
use super::record::{self, ImageRecord, Names};
use super::{Change, Own, Store, nearest};
use crate::archive::name;
use crate::digest::Digest;
use crate::sys::{path, trace};

/// An image and all its names.
#[derive(Debug, Clone)]
pub struct Image {
    /// What is known of it.
    pub record: ImageRecord,
    /// Its names, sorted; there may be none.
    pub names: Vec<String>,
}

/// The shortest start of an id that means an image: shorter ones are more likely a slip.
pub(super) const SHORTEST_ID: usize = 4;

impl Store {
    /// Returns which name means which image.
    pub fn names(&self) -> Result<Names, Error> {
        if self.state == State::Marked {
            let names = read_sound(&self.layout().names())?;
            return Ok(names
                .map_or_else(|| read_sound(&self.layout().synced_names()), |names| Ok(Some(names)))?
                .unwrap_or_default());
        }
        Ok(read_record(&self.layout().names())?.unwrap_or_default())
    }

    /// Returns all images, in the order of their first names; those without a name last.
    pub fn images(&self) -> Result<Vec<Image>, Error> {
        let mut names: BTreeMap<Digest, Vec<String>> = BTreeMap::new();
        for (name, id) in self.names()?.names {
            names.entry(id).or_default().push(name);
        }
        let mut images = Vec::new();
        for id in self.image_ids()? {
            if let Some(record) = self.image_record(&id)? {
                images.push(Image { record, names: names.remove(&id).unwrap_or_default() });
            }
        }
        images.sort_by_key(|image| (image.names.is_empty(), image.names.first().cloned(), image.record.id));
        Ok(images)
    }

    /// Finds an image by name, by id, or by the start of an id.
    pub fn image(&self, text: &str) -> Result<Image, Error> {
        let names = self.names()?;
        let id = match name::normal(text).ok().and_then(|name| names.names.get(&name).copied()) {
            Some(id) => id,
            None => self.image_id(text)?.ok_or_else(|| self.no_image(text, &names))?,
        };
        let record = self.image_record(&id)?.ok_or_else(|| self.no_image(text, &names))?;
        let names = names.names.into_iter().filter(|(_, of)| *of == id).map(|(name, _)| name).collect();
        Ok(Image { record, names })
    }

    /// Returns the image of this id; `None` where there is none.
    pub fn image_record(&self, id: &Digest) -> Result<Option<ImageRecord>, Error> {
        let place = self.layout().image(id);
        if self.state.trusts(&place)? { read_record(&place.join(IMAGE_RECORD)) } else { Ok(None) }
    }

    /// Returns an image's config, byte for byte as its archive had it.
    pub fn image_config(&self, id: &Digest) -> Result<Vec<u8>, Error> {
        let path = self.layout().image(id).join(IMAGE_CONFIG);
        fs::read(&path).map_err(file(path))
    }

    pub(super) fn image_ids(&self) -> Result<Vec<Digest>, Error> {
        let names = names_in(&self.layout().images())?;
        let ids = names.iter().filter_map(|name| Digest::from_hex(name).ok());
        filter(ids, |id| self.state.trusts(&self.layout().image(id)))
    }

    /// Returns the one image whose id starts so.
    fn image_id(&self, text: &str) -> Result<Option<Digest>, Error> {
        let prefix = text.strip_prefix("sha256:").unwrap_or(text);
        if prefix.len() < SHORTEST_ID || !prefix.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Ok(None);
        }
        let found: Vec<Digest> =
            self.image_ids()?.into_iter().filter(|id| id.hex().starts_with(prefix)).collect();
        match found[..] {
            [] => Ok(None),
            [id] => Ok(Some(id)),
            [..] => Err(Error::AmbiguousId {
                prefix: prefix.to_owned(),
                ids: found.iter().map(Digest::short).collect(),
            }),
        }
    }

    /// Finds an image where a container could have been named as well, and is not there.
    pub fn image_else(&self, text: &str) -> Result<Image, Error> {
        match self.image(text) {
            Err(Error::NoImage { name, root, near }) => {
                let near = near.or_else(|| self.near_container(text));
                Err(Error::NoSubject { name, root, near })
            }
            found => found,
        }
    }

    /// Says that there is no such image, and what else is called so, or which name is near.
    fn no_image(&self, text: &str, names: &Names) -> Error {
        let name = text.to_owned();
        let image = |id: &Digest, asked: Option<&String>| {
            let means_it = |name: &&String| names.names.get(*name) == Some(id) && name::is_docker_tag(name);
            asked.filter(means_it).cloned().unwrap_or_else(|| id.short())
        };
        if let Ok(Some(container)) = self.container(text) {
            let image = image(&container.image, container.image_name.as_ref());
            return Error::NotAnImage { name, what: A_CONTAINER, image };
        }
        if let Ok(Some((_, snapshot))) = self.snapshot(text) {
            let image = image(&snapshot.image, snapshot.image_name.as_ref());
            return Error::NotAnImage { name, what: A_SNAPSHOT, image };
        }
        Error::NoImage {
            name,
            root: self.layout().root().to_owned(),
            near: nearest(text, names.names.keys()),
        }
    }
}

impl Change<'_> {
    /// Puts an image into the store, whose layers are all there, and makes `names` mean it; if that fails, it is not there
    /// either. One that is there already stays as it is.
    pub(super) fn put_image(
        &self,
        image: &ImageRecord,
        config: &[u8],
        names: &[String],
    ) -> Result<(), Error> {
        // Under the lock of the names, so that nobody else gives this image a name before it is taken back.
        let own = self.own_names()?;
        let is_new = self.place_image(image, config)?;
        let named = self.edit_names_of(&own, |all| name_so(all, &image.id, names));
        if named.is_err() && is_new {
            let _ = self.stage.discard(&self.layout().image(&image.id));
        }
        trace::done(|| format!("image {}: called {}", image.id.short(), names.join(", ")));
        named
    }

    /// Returns whether it was not there before.
    fn place_image(&self, image: &ImageRecord, config: &[u8]) -> Result<bool, Error> {
        let place = self.layout().image(&image.id);
        if is_there(&place)? {
            return Ok(false);
        }
        self.stand_again(image)?;
        let staged = self.stage.fresh();
        super::private_dir(&staged)?;
        for (name, bytes) in [(IMAGE_CONFIG, config), (IMAGE_RECORD, &record::write(image))] {
            fs::write(staged.join(name), bytes).map_err(file(staged.join(name)))?;
        }
        path::rename(&staged, &place).map(|()| true).map_err(file(place))
    }

    /// Makes `names`, which are normal ones, mean the image `id`, whatever they meant before.
    pub fn name_image(&self, id: &Digest, names: &[String]) -> Result<(), Error> {
        self.edit_names(|all| name_so(all, id, names))
    }

    /// Reads, changes and writes the names, alone.
    pub(super) fn edit_names(&self, edit: impl FnOnce(&mut BTreeMap<String, Digest>)) -> Result<(), Error> {
        let own = self.own_names()?;
        self.edit_names_of(&own, edit)
    }

    fn own_names(&self) -> Result<Own, Error> {
        self.own("names", &mut |_| {})
    }

    fn edit_names_of(
        &self,
        _own: &Own,
        edit: impl FnOnce(&mut BTreeMap<String, Digest>),
    ) -> Result<(), Error> {
        let before = self.store.names()?;
        let mut after = before.clone();
        edit(&mut after.names);
        if after == before {
            return Ok(());
        }
        self.stage.write(&self.layout().names(), &record::write(&after))
    }
}

fn name_so(all: &mut BTreeMap<String, Digest>, id: &Digest, names: &[String]) {
    all.extend(names.iter().map(|name| (name.clone(), *id)));
}
