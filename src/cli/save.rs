//! `save`: images of the store become an archive.

use std::collections::HashSet;
use std::io;
use std::path::PathBuf;
use std::time::Instant;

use clap::{Args, ValueEnum};

use super::act::{Act, Around};
use super::config::Config;
use super::fault::watch::{Talk, took};
use super::fault::{self, Cause, Fault};
use super::output::{self, Output};
use super::sync::Syncing;
use super::{Context, permit, print, waiting};
use crate::archive::name;
use crate::archive::write::{Form, Packing};
use crate::digest::Digest;
use crate::progress::Progress;
use crate::store::images::Image;
use crate::store::save::Saving;
use crate::store::{Change, Store};
use crate::sys::caps::TO_READ;
use crate::sys::counted;
use crate::sys::lock::Share;

/// Write images to an archive
///
/// What `docker load`, `podman load`, skopeo and ovlctl read: an OCI layout with a manifest.json, in a tar. Each layer is, byte
/// for byte, the one that was loaded, which is proved while it is written. An image has the names by which it is asked for
/// here; one that is asked for by its id has none.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  ovlctl save web:1.4 -o web.tar
  ovlctl save web:1.4 db:1 --compress zstd -o both.tar
  ovlctl save web:1.4 | docker load")]
pub(super) struct Save {
    /// Their names or ids
    #[arg(required = true, value_name = "IMAGE")]
    images: Vec<String>,
    /// The file: it appears, or replaces another, once it is whole; standard output by default
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Compress the layers; as `save.compress` of the configuration says by default, or not at all
    #[arg(long, value_name = "HOW")]
    compress: Option<Compress>,
    /// What the archive is
    #[arg(long, value_name = "FORM", default_value = "docker")]
    format: Format,
    #[command(flatten)]
    sync: Syncing,
    #[command(flatten)]
    talk: Talk,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Compress {
    /// Smaller and much faster than gzip; Docker reads it since version 23
    Zstd,
    /// Read by all
    Gzip,
    /// As they are
    None,
}

impl Compress {
    /// Reads what `--compress` takes.
    pub(super) fn named(name: &str) -> Option<Self> {
        Self::from_str(name, false).ok()
    }

    /// Returns what `--compress` calls it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Zstd => "zstd",
            Self::Gzip => "gzip",
            Self::None => "none",
        }
    }
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Format {
    /// As `docker save` writes it
    Docker,
    /// An OCI layout without Docker's manifest.json
    Oci,
}

impl Act for Save {
    fn configure(&mut self, config: &Config) {
        self.compress = self.compress.or(config.compress()).filter(|how| *how != Compress::None);
    }

    fn around(&self) -> Around {
        Around::READING
    }

    fn run(&self, context: &Context) -> Result<(), Fault> {
        self.output.as_deref().map_or(Ok(()), |path| output::named_as_it_is(path, "save"))?;
        permit("save", TO_READ)?;
        let store = context.store()?;
        let images = self.find(&store)?;
        let all = || self.images.iter().map(|name| format!("'{name}'")).collect::<Vec<_>>().join(", ");
        let failed = |cause: Cause| {
            Fault::new("save", format!("{} to {}", all(), output::shown(self.output.as_ref())), cause)
        };
        let output = Output::begin(self.output.as_deref(), "an archive").map_err(failed)?;
        let change = self.compress.map(|_| store.change(Share::Shared, &mut waiting())).transpose();
        let change = change.map_err(|e| failed(e.into()))?;
        let held = store.hold(&mut waiting()).map_err(|e| failed(e.into()))?;
        let since = Instant::now();
        let write = |progress: &Progress| {
            let written = self.write(&store, &images, change.as_ref(), &output, progress);
            // Nobody need wait for the disk that the file is on.
            drop((held, change));
            if let Ok(Ok(())) = written {
                output.keep(self.sync.is_wanted(), progress)?;
            }
            Ok(written)
        };
        self.talk.during(write).map_err(failed)??.map_err(|e| failed(Cause::Output(e)))?;
        if self.talk.is_shown() {
            let layers = layers(&store, &images);
            let (count, size) = (layers.len(), layers.iter().map(|(_, size, _)| size).sum());
            let count = counted(count, "layer");
            self.talk.say(&format!("{count}, {} in {}", print::size(size), took(since.elapsed())));
        }
        Ok(())
    }
}

impl Save {
    /// Finds the images, each once, with the names by which it was asked for.
    fn find(&self, store: &Store) -> Result<Vec<Image>, Fault> {
        let mut images: Vec<Image> = Vec::new();
        for text in &self.images {
            let mut image = store.image(text).map_err(|e| Fault::new("save", format!("'{text}'"), e))?;
            let asked = name::normal(text).ok();
            image.names.retain(|name| Some(name) == asked.as_ref());
            match images.iter_mut().find(|other| other.record.id == image.record.id) {
                Some(other) => other.names.extend(
                    image.names.into_iter().filter(|name| !other.names.contains(name)).collect::<Vec<_>>(),
                ),
                None => images.push(image),
            }
        }
        let names = images.iter().flat_map(|image| &image.names);
        for name in names.filter(|name| matches!(self.format, Format::Docker) && !name::is_docker_tag(name)) {
            fault::warn(&format!("'{name}' is no name to Docker, which will load that image without it"));
        }
        Ok(images)
    }

    fn write(
        &self,
        store: &Store,
        images: &[Image],
        change: Option<&Change<'_>>,
        output: &Output,
        progress: &Progress,
    ) -> Result<io::Result<()>, Fault> {
        if self.talk.is_shown() {
            progress.layers(&layers(store, images));
        }
        let packing = match self.compress {
            None | Some(Compress::None) => Packing::Plain,
            Some(Compress::Gzip) => Packing::Gzip,
            Some(Compress::Zstd) => Packing::Zstd,
        };
        let form = match self.format {
            Format::Docker => Form::Docker,
            Format::Oci => Form::Oci,
        };
        let spool = change.map_or(store.layout().root(), |change| change.spool());
        let mut saving = Saving::new(store, (form, packing), spool, progress, output.writer());
        for image in images {
            let name = image.names.first().cloned().unwrap_or_else(|| image.record.id.short());
            let written = saving.image(image).map_err(|e| Fault::new("save", format!("'{name}'"), e))?;
            if written.is_err() {
                return Ok(written);
            }
        }
        Ok(saving.finish().map(drop))
    }
}

/// Returns the layers of images, each once, by its diff id, with the size of its tar.
fn layers(store: &Store, images: &[Image]) -> Vec<(Digest, u64, bool)> {
    let mut seen = HashSet::new();
    let all = images.iter().flat_map(|image| &image.record.layers).filter(|layer| seen.insert(layer.diff_id));
    all.map(|layer| (layer.diff_id, store.tar_size(&layer.chain_id), false)).collect()
}
