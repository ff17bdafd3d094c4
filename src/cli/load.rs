//! `load`: images of archives come into the store.

use std::ffi::OsString;
use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};

use super::act::{Act, Around};
use super::config::Config;
use super::fault::watch::{self, Showing};
use super::fault::{self, Cause, Fault};
use super::limit::Moves;
use super::sweep::Sweeping;
use super::sync::Syncing;
use super::{Context, permit, print, waiting};
use crate::archive::{Archive, Choice, ImageRef, Platform, Source};
use crate::layer::{Options, XattrPolicy};
use crate::limits::Limits;
use crate::progress::Progress;
use crate::store::load::Loaded;
use crate::store::{Change, Store};
use crate::sys::caps::TO_EXTRACT;
use crate::sys::confine::{self, Confined, Reach};
use crate::sys::counted;
use crate::sys::lock::Share;
use crate::{archive, store};

/// Load images from archives into the store
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  ovlctl load node.tar web.tar.zst
  docker save web db | ovlctl load
  ovlctl load --image web:1.4 --platform linux/arm64 images.tar")]
pub(super) struct Load {
    #[command(flatten)]
    pick: Pick,
    /// Archives of `docker save` and its like, OCI layouts, or - for standard input, which is read where none is named
    #[arg(value_name = "ARCHIVE")]
    archives: Vec<PathBuf>,
    /// The same as ARCHIVE, as `docker load` takes it
    #[arg(short, long, value_name = "FILE")]
    input: Option<PathBuf>,
    /// Print only the ids of the images
    #[arg(short, long)]
    quiet: bool,
    #[command(flatten)]
    showing: Showing,
}

/// Which images of an archive, and how they are taken.
#[derive(Debug, Clone, Args)]
pub(super) struct Pick {
    /// The image, where an archive has several: its name, its place (@0, @1 …) or its digest
    #[arg(long, value_name = "NAME|@N|DIGEST")]
    image: Option<ImageRef>,
    /// The platform, where an image has several; this machine's by default
    #[arg(long, value_name = "OS/ARCH[/VARIANT]")]
    platform: Option<Platform>,
    /// What to do with attributes that the store's filesystem cannot hold
    #[arg(long, value_name = "WHAT", default_value = "keep")]
    xattrs: Xattrs,
    #[command(flatten)]
    pub(super) sync: Syncing,
    #[command(flatten)]
    pub(super) moved: Moves,
}

/// What to do with extended attributes that the store's filesystem cannot hold.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Xattrs {
    /// Refuse the layer
    Keep,
    /// Leave them out and say so
    Warn,
    /// Leave them out
    Skip,
}

impl Pick {
    /// Whether the user chose an image or a platform.
    pub(super) fn chooses(&self) -> bool {
        self.image.is_some() || self.platform.is_some()
    }

    /// What was chosen.
    pub(super) fn choice(&self) -> Choice {
        Choice { image: self.image.clone(), platform: self.platform.clone() }
    }

    /// The same as arguments of another process.
    pub(super) fn arguments(&self) -> Vec<OsString> {
        let Self { image, platform, xattrs, sync: _, moved } = self;
        let mut arguments = Vec::new();
        if let Some(image) = image {
            arguments.push(format!("--image={image}").into());
        }
        if let Some(platform) = platform {
            arguments.push(format!("--platform={platform}").into());
        }
        let xattrs = xattrs.to_possible_value().expect("none is skipped");
        arguments.push(format!("--xattrs={}", xattrs.get_name()).into());
        arguments.extend(moved.arguments());
        arguments
    }

    fn options(&self) -> Options {
        let xattrs = match self.xattrs {
            Xattrs::Keep => XattrPolicy::Keep,
            Xattrs::Warn => XattrPolicy::Warn,
            Xattrs::Skip => XattrPolicy::Skip,
        };
        Options { xattrs, limits: self.moved.limits(), ..Options::default() }
    }
}

impl Act for Load {
    fn configure(&mut self, config: &Config) {
        self.archives.extend(self.input.take());
        if self.archives.is_empty() {
            self.archives.push("-".into());
        }
        self.pick.moved.configure(config);
    }

    fn around(&self) -> Around {
        Around { after: Some(Sweeping::Confined), ..Around::CHANGING }
    }

    fn run(&self, context: &Context) -> Result<(), Fault> {
        permit("load", TO_EXTRACT)?;
        self.archives.iter().try_for_each(|path| source(path).map(drop))?;
        let store = context.store()?;
        store.make().map_err(|e| Fault::new("load", display(&self.archives[0]), e))?;
        let _confined = confine(&store, &self.archives);
        for path in &self.archives {
            let failed = |cause: Cause| Fault::new("load", display(path), cause);
            let change = store.change(Share::Shared, &mut waiting()).map_err(|e| failed(e.into()))?;
            let mut loaded = Vec::new();
            let load = |progress: &Progress| self.load(&change, path, progress, &mut loaded);
            let done = self.showing.during(self.quiet, load);
            // Also those that came before one that could not be loaded.
            loaded.iter().try_for_each(|one| self.tell(one))?;
            done.map_err(failed)?;
        }
        self.pick.sync.run(context)
    }
}

impl Load {
    /// Loads the images of an archive, as long as that goes well.
    fn load(
        &self,
        change: &Change<'_>,
        path: &Path,
        progress: &Progress,
        all: &mut Vec<One>,
    ) -> Result<(), Cause> {
        let mut since = Instant::now();
        let archive = open(change, path, &self.pick, progress)?;
        for image in archive.choose_all(&self.pick.choice())? {
            let loaded = take(change, &archive, image, &self.pick, progress)?;
            let name = image.names.first().cloned().unwrap_or_else(|| image.id.short());
            all.push(One { name, loaded, time: since.elapsed() });
            since = Instant::now();
        }
        Ok(())
    }

    fn tell(&self, One { name, loaded, time }: &One) -> Result<(), Fault> {
        loaded.warnings.iter().for_each(|warning| fault::warn(warning));
        if self.quiet {
            return print::line(&loaded.image.id.to_string());
        }
        print::line(&format!("{name}  {}", loaded.image.id))?;
        fault::say(&totals(loaded.image.layers.len(), loaded.new_layers, loaded.image.size(), *time));
        Ok(())
    }
}

/// An image that was loaded.
struct One {
    name: String,
    loaded: Loaded,
    time: Duration,
}

/// Sums up a load: `5 layers, 2 new, 343.0 MiB in 0.4 s`.
pub(super) fn totals(layers: usize, new: usize, size: u64, time: Duration) -> String {
    format!("{}, {new} new, {} in {}", counted(layers, "layer"), print::size(size), watch::took(time))
}

/// Leaves this process nothing that reading these archives into the store does not need.
pub(super) fn confine(store: &Store, archives: &[PathBuf]) -> Confined {
    let archives: Vec<&Path> = archives.iter().map(PathBuf::as_path).collect();
    confine::confine(TO_EXTRACT, &Reach { writes: &[store.layout().root()], reads: &archives })
}

/// Opens an archive to take of it what `pick` says. What cannot be read in place is unpacked as it comes in; where only some
/// of it is wanted, it is kept in the change's stage first.
pub(super) fn open(
    change: &Change<'_>,
    path: &Path,
    pick: &Pick,
    progress: &Progress,
) -> Result<Archive, Cause> {
    if pick.chooses() {
        return open_kept(change, path, &pick.moved.limits(), progress);
    }
    Ok(change.receive(&source(path)?, &pick.options(), progress)?)
}

/// Opens an archive; what cannot be read in place is kept in the change's stage meanwhile.
pub(super) fn open_kept(
    change: &Change<'_>,
    path: &Path,
    limits: &Limits,
    progress: &Progress,
) -> Result<Archive, Cause> {
    Ok(Archive::open(&source(path)?, change.spool(), limits, progress)?)
}

fn source(path: &Path) -> Result<Source, Cause> {
    let source = if path.as_os_str() == "-" { Source::Stdin } else { Source::Path(path.to_owned()) };
    if matches!(source, Source::Stdin) && io::stdin().is_terminal() {
        let reason = "standard input is a terminal, and no archive: name one, or redirect standard input";
        return Err(Cause::Usage(reason.to_owned()));
    }
    Ok(source)
}

/// Loads one image.
pub(super) fn take(
    change: &Change<'_>,
    archive: &Archive,
    image: &archive::Image,
    pick: &Pick,
    progress: &Progress,
) -> Result<Loaded, store::Error> {
    change.load(archive, image, &pick.options(), progress, &mut waiting())
}

/// Returns how an archive is called in a message.
pub(super) fn display(path: &Path) -> String {
    if path.as_os_str() == "-" { "standard input".to_owned() } else { path.display().to_string() }
}
