//! One overlay mount to be.

use std::fs;

use ovlctl::sys::CallFailed;
use ovlctl::sys::mount::Attributes;
use ovlctl::sys::script::{Call, How, Slots};

use super::{Context, MERGED, Tree};

/// How the layers are handed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum By {
    /// One string of mount(2).
    Page,
    /// fsconfig(2), a string a layer.
    Strings,
    /// fsconfig(2), an open directory a layer.
    Handles(How),
}

/// Layers, options, and where to mount them.
#[derive(Debug, Clone)]
#[must_use]
pub(crate) struct Overlay {
    lowers: Vec<String>,
    data: Vec<String>,
    upper: Option<(String, String)>,
    options: String,
    flags: Attributes,
    target: String,
    by: By,
}

impl Overlay {
    pub(super) fn new(lowers: Vec<String>, options: &str) -> Self {
        Self {
            lowers,
            data: Vec::new(),
            upper: Some(("upper".to_owned(), "work".to_owned())),
            options: options.to_owned(),
            flags: Attributes::empty(),
            target: MERGED.to_owned(),
            by: By::Page,
        }
    }

    /// Takes these lowers, uppermost first, as they are spelled here.
    pub(crate) fn lowers(mut self, names: &[&str]) -> Self {
        self.lowers = names.iter().map(|&name| name.to_owned()).collect();
        self
    }

    /// Adds data-only layers below.
    pub(crate) fn data(mut self, names: &[&str]) -> Self {
        self.data = names.iter().map(|&name| name.to_owned()).collect();
        self
    }

    /// Takes another upper and work directory, made where they are missing.
    pub(crate) fn upper(mut self, upper: &str, work: &str) -> Self {
        for name in [upper, work] {
            // Where it cannot be made, the mount says so.
            let _ = fs::create_dir_all(name);
        }
        self.upper = Some((upper.to_owned(), work.to_owned()));
        self
    }

    /// Takes another upper and work directory, as they are spelled here.
    pub(crate) fn upper_as(mut self, upper: &str, work: &str) -> Self {
        self.upper = Some((upper.to_owned(), work.to_owned()));
        self
    }

    /// Has no upper directory.
    pub(crate) fn read_only(mut self) -> Self {
        self.upper = None;
        self
    }

    /// Mounts with these flags of the mount.
    pub(crate) fn flags(mut self, flags: Attributes) -> Self {
        self.flags = flags;
        self
    }

    /// Mounts at `target`, made where it is missing.
    pub(crate) fn at(mut self, target: &str) -> Self {
        let _ = fs::create_dir_all(target);
        self.target = target.to_owned();
        self
    }

    pub(crate) fn by(mut self, by: By) -> Self {
        self.by = by;
        self
    }

    /// Mounts it; the kernel may refuse.
    pub(crate) fn mount(&self) -> Result<Tree, CallFailed> {
        match self.by {
            By::Page => self.by_page()?,
            By::Strings | By::Handles(_) => self.by_context()?,
        }
        Ok(Tree::at(&self.target))
    }

    /// Mounts it, which must work for the fact to make sense.
    #[track_caller]
    pub(crate) fn mounted(&self) -> Tree {
        self.mount().unwrap_or_else(|e| panic!("{e}"))
    }

    /// The string that mount(2) takes.
    pub(crate) fn page(&self) -> String {
        let mut all = Vec::new();
        if !self.options.is_empty() {
            all.push(self.options.clone());
        }
        if let Some((upper, work)) = &self.upper {
            all.push(format!("upperdir={upper},workdir={work}"));
        }
        if !self.lowers.is_empty() {
            let data: String = self.data.iter().map(|data| format!("::{data}")).collect();
            all.push(format!("lowerdir={}{data}", self.lowers.join(":")));
        }
        all.join(",")
    }

    fn by_page(&self) -> Result<(), CallFailed> {
        let (source, target) = ("overlay".into(), self.target.as_str().into());
        let data = self.page().into();
        Call::Mount { source, target, attributes: self.flags, data }.make(&mut Slots::new())
    }

    fn by_context(&self) -> Result<(), CallFailed> {
        let mut context = Context::with("overlay", &self.options)?;
        let upper = self.upper.iter().flat_map(|(upper, work)| [("upperdir", upper), ("workdir", work)]);
        let lowers = self.lowers.iter().map(|lower| ("lowerdir+", lower));
        let data = self.data.iter().map(|data| ("datadir+", data));
        for (key, path) in lowers.chain(data).chain(upper) {
            match self.by {
                By::Handles(how) => context.handle(key, path, how)?,
                By::Page | By::Strings => context.set(key, path)?,
            }
        }
        context.mount(&self.target, self.flags)
    }
}
