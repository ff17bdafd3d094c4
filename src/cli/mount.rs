//! `mount`, `plan`: an archive, an image, a container or any directories become a root filesystem.

pub(super) mod plan;
mod source;

use std::fs;
use std::path::{Path, PathBuf};

use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};

pub(super) use source::{Source, load};

use super::act::{Act, Around, Before};
use super::config::Config;
use super::fault::watch::Talk;
use super::fault::{self, Cause, Fault};
use super::load::{self, Pick};
use super::{Context, permit, print, waiting};
use crate::archive::name;
use crate::digest::Digest;
use crate::mount::container::{self, Done, How, UpperWish, Wishes};
use crate::mount::options::Options;
use crate::mount::{self, Access, Lower, Method, Target};
use crate::store::Store;
use crate::store::images::Image;
use crate::sys::caps::{TO_EXTRACT, TO_MOUNT};
use crate::sys::filesystem::read_size;
use crate::sys::lock::Share;

/// Mount an image archive, an image, a container, or any directories
///
/// SOURCE is a container's name, CONTAINER@SNAPSHOT (read-only), an image's name or id, an archive (of `docker save` and its like), an OCI layout, or -
/// for an archive on standard input; a path that could be a name is written ./so. An image gets a new container, a
/// writable layer whose changes stay when it is unmounted; a container is mounted again, with its changes.
///
/// With --lower, SOURCE is left out: the directories given are mounted as they are, and no store is involved.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  ovlctl mount node.tar /mnt/root
  docker save web | ovlctl mount - /mnt/root
  ovlctl mount --rm node:20-slim /mnt/b                # gone when unmounted
  ovlctl mount --lower /srv/a --lower /srv/b /mnt/both   # any directories
  ovlctl mount -o volatile --upper tmpfs:1G web /mnt/web")]
pub(super) struct Mount {
    #[command(flatten)]
    arguments: Arguments,
}

#[derive(Debug, Args)]
struct Arguments {
    /// What to mount, and where; without TARGET, in the container's own `merged` directory
    #[arg(value_name = "SOURCE] [TARGET", num_args = 0..=2)]
    places: Vec<PathBuf>,
    /// A lower directory, the uppermost first
    #[arg(long, value_name = "DIR", conflicts_with_all = ["name", "rm", "image", "platform"])]
    lower: Vec<PathBuf>,
    /// Where changes go: a directory, or memory
    #[arg(long, value_name = "DIR|tmpfs[:SIZE]")]
    upper: Option<PathBuf>,
    /// Overlayfs' scratch directory, on the filesystem of --upper; DIR.work beside it by default
    #[arg(long, value_name = "DIR", requires = "upper")]
    work: Option<PathBuf>,
    /// Let nothing be changed, and make no container
    #[arg(short, long, conflicts_with_all = ["upper", "name"])]
    read_only: bool,
    /// Mount only the image's layers up to this one; 1 is the base
    #[arg(long, value_name = "N", conflicts_with = "lower")]
    at_layer: Option<usize>,
    /// The new container's name
    #[arg(long)]
    name: Option<String>,
    /// Remove the container and its changes when it is unmounted
    #[arg(long)]
    rm: bool,
    /// Mount a container where it was mounted last
    #[arg(long, conflicts_with_all = ["lower", "name", "rm", "image", "platform"])]
    same_place: bool,
    /// What mount(8) wants of its helpers: a container of that name is mounted again, and nothing is printed
    #[arg(long, hide = true)]
    as_helper: bool,
    /// Make TARGET where it is missing
    #[arg(long)]
    mkdir: bool,
    /// Options of overlayfs or of the mount, as mount(8) takes them; those of `mount.options` in the configuration come
    /// before them
    #[arg(short, value_name = "OPTION[,OPTION…]")]
    options: Vec<String>,
    /// Those that are configured, and these: for what is mounted anew
    #[arg(skip)]
    anew: Vec<String>,
    /// How the layers are handed to the kernel; the best that it takes by default
    #[arg(long, value_parser = methods())]
    method: Option<Method>,
    #[command(flatten)]
    pick: Pick,
    #[command(flatten)]
    talk: Talk,
}

fn methods() -> impl TypedValueParser<Value = Method> {
    let named = |text: String| Method::ALL.into_iter().find(|method| method.name() == text);
    PossibleValuesParser::new(Method::ALL.map(Method::name))
        .try_map(move |text| named(text).ok_or("no method"))
}

impl Act for Mount {
    fn configure(&mut self, config: &Config) {
        self.arguments.configure(config);
    }

    fn around(&self) -> Around {
        if self.needs_store() {
            Around::CHANGING
        } else {
            Around { before: Before::Nothing, ..Around::CHANGING }
        }
    }

    fn run(&self, context: &Context) -> Result<(), Fault> {
        let arguments = &self.arguments;
        if !arguments.lower.is_empty() {
            permit("mount", TO_MOUNT)?;
            let target = arguments.plain_target()?;
            let failed = |cause: Cause| Fault::new("mount", arguments.object("overlay", Some(target)), cause);
            let mounted = arguments.mount_plain(target).map_err(failed)?;
            mounted.warnings.iter().for_each(|warning| fault::warn(warning));
            return print::path(&mounted.target);
        }
        permit("mount", TO_EXTRACT)?;
        let (source, target) = arguments.source_and_target()?;
        let object = arguments.object(source, target);
        let (done, image) =
            arguments.mount(context, source, target).map_err(|cause| Fault::new("mount", object, cause))?;
        done.warnings.iter().for_each(|warning| fault::warn(warning));
        if arguments.as_helper {
            arguments.pick.sync.start(context, &image);
            return Ok(());
        }
        print::path(&done.target)?;
        if let Some(name) = &done.container {
            arguments.talk.say(&format!("container '{name}'"));
        }
        arguments.pick.sync.start(context, &image);
        Ok(())
    }
}

impl Mount {
    /// Whether something of the store's is mounted.
    fn needs_store(&self) -> bool {
        self.arguments.lower.is_empty()
    }
}

impl Arguments {
    fn configure(&mut self, config: &Config) {
        self.pick.moved.configure(config);
        self.anew = [config.options(), &self.options].concat();
    }

    /// How directories, or a container with options of its own, are mounted.
    fn how<'a>(&'a self, target: Option<&'a Target>) -> Result<How<'a>, Cause> {
        self.how_with(&self.options, target)
    }

    /// How an image is mounted: with what is configured, too.
    fn how_anew<'a>(&'a self, target: Option<&'a Target>) -> Result<How<'a>, Cause> {
        self.how_with(&self.anew, target)
    }

    fn how_with<'a>(&self, texts: &'a [String], target: Option<&'a Target>) -> Result<How<'a>, Cause> {
        let mut options = Options::default();
        for text in texts {
            options.add(text).map_err(|e| Cause::Usage(e.to_string()))?;
        }
        let read_only = self.read_only || options.read_only();
        Ok(How { target, read_only, options, typed: texts, method: self.method })
    }

    fn source_and_target(&self) -> Result<(&Path, Option<&Path>), Fault> {
        match &self.places[..] {
            [] => Err(Fault::usage("nothing to mount: SOURCE or --lower is missing")),
            [source] => Ok((source, None)),
            [source, target, ..] => Ok((source, Some(target))),
        }
    }

    fn plain_target(&self) -> Result<&Path, Fault> {
        match &self.places[..] {
            [target] => Ok(target),
            [] => Err(Fault::usage("TARGET is missing")),
            [..] => Err(Fault::usage("with --lower there is no SOURCE, only TARGET")),
        }
    }

    /// Returns how the mount is called in a message: `'web:1.4' on /mnt/web`.
    fn object(&self, source: impl AsRef<Path>, target: Option<&Path>) -> String {
        let source = source.as_ref();
        let source = if source.as_os_str() == "-" { load::display(source) } else { fault::named(source) };
        target.map_or(source.clone(), |target| format!("{source} on {}", target.display()))
    }

    /// Pins the target before anything else is done, and makes it where that was asked for.
    fn pin(&self, target: &Path) -> Result<Target, Cause> {
        if self.mkdir {
            fs::create_dir_all(target)
                .map_err(|source| container::Error::Directory { path: target.to_owned(), source })?;
        }
        Ok(Target::open(target)?)
    }

    fn mount_plain(&self, target: &Path) -> Result<mount::Mounted, Cause> {
        let target = self.pin(target)?;
        let plan = self.plain_plan(&self.how(None)?)?;
        plan.check()?;
        Ok(mount::perform(&plan, &target)?)
    }

    /// The plan of directories that belong to no store.
    fn plain_plan(&self, how: &How<'_>) -> Result<mount::Plan, Cause> {
        let access = match self.upper_wish()? {
            UpperWish::Store => Access::ReadOnly,
            UpperWish::At { work: None, .. } => {
                return Err(Cause::Usage("--lower with --upper needs --work".to_owned()));
            }
            UpperWish::At { upper, work: Some(work) } => {
                Access::Writable { upper: upper.to_owned(), work: work.to_owned() }
            }
            UpperWish::Tmpfs { size } => Access::Tmpfs { size, root: self.lower[0].clone() },
        };
        let lowers = self.lower.iter().cloned().map(Lower::from).collect();
        let mut plan = mount::Plan::new(lowers, access);
        plan.options = how.options.clone();
        plan.method = how.method;
        Ok(plan)
    }

    fn upper_wish(&self) -> Result<UpperWish<'_>, Cause> {
        let Some(upper) = &self.upper else { return Ok(UpperWish::Store) };
        let text = upper.to_str().unwrap_or_default();
        if text == "tmpfs" {
            return Ok(UpperWish::Tmpfs { size: None });
        }
        match text.strip_prefix("tmpfs:") {
            Some(size) => match read_size(size) {
                Some(size) => Ok(UpperWish::Tmpfs { size: Some(size) }),
                None => Err(Cause::Usage(format!("'{size}' is no size: a number, or one with K, M, G or T"))),
            },
            None => Ok(UpperWish::At { upper, work: self.work.as_deref() }),
        }
    }

    fn mount(
        &self,
        context: &Context,
        source: &Path,
        target: Option<&Path>,
    ) -> Result<(Done, Digest), Cause> {
        let store = context.open_store()?;
        let last = if self.same_place { Some(last_place(&store, source)?) } else { None };
        let target = target.or(last.as_deref()).map(|target| self.pin(target)).transpose()?;
        let (again, how) = (self.how(target.as_ref())?, self.how_anew(target.as_ref())?);
        let change = store.change(Share::Shared, &mut waiting())?;
        container::forget_ephemeral(&change)?;
        let image = match self.find(&store, source)? {
            Source::Container(container) => {
                if let Some(option) = self.wants_a_new_container().filter(|_| !self.as_helper) {
                    return Err(Cause::Usage(format!(
                        "{option} is for a new container, and this one is there"
                    )));
                }
                let done = container::mount_again(&change, &container.name, &again, &mut waiting())?;
                return Ok((done, container.image));
            }
            Source::Snapshot(snapshot) => {
                if let Some(option) = self.wants_a_new_container() {
                    return Err(Cause::Usage(format!(
                        "{option} is for a new container, and a snapshot is only looked at: `ovlctl branch` makes one of it"
                    )));
                }
                let target = how.target.ok_or_else(|| Cause::Usage("a snapshot needs TARGET".to_owned()))?;
                return Ok((container::mount_snapshot(&store, &snapshot, &how, target)?, snapshot.image));
            }
            Source::Image(image) => self.up_to_layer(image)?,
            Source::Archive(path) => self.up_to_layer(self.load(&store, &path)?)?,
        };
        if self.read_only {
            let target = how.target.ok_or_else(|| Cause::Usage("--read-only needs TARGET".to_owned()))?;
            let done = container::mount_image(&store, &image.record, &how, target)?;
            return Ok((done, image.record.id));
        }
        let asked = source.to_str().and_then(|source| name::normal(source).ok());
        let asked = image.names.iter().find(|name| Some(*name) == asked.as_ref());
        let wishes = Wishes {
            name: self.name.as_deref(),
            at_layer: self.at_layer,
            image_name: asked.or(image.names.first()).map(String::as_str),
            upper: self.upper_wish()?,
            remove: self.rm,
        };
        Ok((container::mount_new(&change, &image, wishes, &how)?, image.record.id))
    }

    /// Finds out what the source means.
    fn find(&self, store: &Store, source: &Path) -> Result<Source, Cause> {
        if let (true, Some(name)) = (self.as_helper, &self.name) {
            if let Some(container) = store.container(name)?.filter(|container| container.name == *name) {
                return Ok(Source::Container(container));
            }
        }
        Source::find(store, source, &self.pick, self.wants_a_new_container().is_some())
    }

    fn load(&self, store: &Store, path: &Path) -> Result<Image, Cause> {
        load(store, path, &self.pick, self.talk)
    }

    fn up_to_layer(&self, image: Image) -> Result<Image, Cause> {
        let count = image.record.layers.len();
        match self.at_layer {
            Some(nr) if nr == 0 || nr > count => {
                Err(Cause::Usage(format!("there is no layer {nr}: the image has {count}")))
            }
            at_layer => Ok(Image { record: image.record.up_to(at_layer), ..image }),
        }
    }

    /// Returns an option that only a new container can have.
    fn wants_a_new_container(&self) -> Option<&'static str> {
        let given = [
            ("--name", self.name.is_some()),
            ("--upper", self.upper.is_some()),
            ("--rm", self.rm),
            ("--at-layer", self.at_layer.is_some()),
        ];
        given.iter().find(|(_, given)| *given).map(|(option, _)| *option)
    }
}

/// Returns where a container was mounted last.
fn last_place(store: &Store, source: &Path) -> Result<PathBuf, Cause> {
    let name = source.to_str().unwrap_or_default();
    let container = store.container(name)?.ok_or_else(|| store.no_container(name))?;
    let place = container.target.map(|target| target.path());
    place.ok_or_else(|| Cause::Usage(format!("'{name}' was never mounted on a TARGET")))
}
