//! fsopen(2) and what follows, call by call.

use ovlctl::sys::CallFailed;
use ovlctl::sys::mount::Attributes;
use ovlctl::sys::script::{Call, How, Slot, Slots, Text, Value};

const CONTEXT: Slot = Slot(0);
const FILE: Slot = Slot(1);
const TREE: Slot = Slot(2);
const TARGET: Slot = Slot(3);

/// A filesystem that is being put together.
pub(crate) struct Context {
    slots: Slots,
}

type Made = Result<(), CallFailed>;

impl Context {
    pub(crate) fn open(filesystem: &'static str) -> Result<Self, CallFailed> {
        let mut slots = Slots::new();
        Call::FsOpen { filesystem, into: CONTEXT }.make(&mut slots)?;
        Ok(Self { slots })
    }

    /// Opens one with these options: `index=on,userxattr`.
    pub(crate) fn with(filesystem: &'static str, options: &str) -> Result<Self, CallFailed> {
        let mut context = Self::open(filesystem)?;
        for option in options.split(',').filter(|option| !option.is_empty()) {
            match option.split_once('=') {
                Some((key, value)) => context.set(key, value)?,
                None => context.flag(option)?,
            }
        }
        Ok(context)
    }

    pub(crate) fn set(&mut self, key: &str, value: &str) -> Made {
        self.configure(key, Value::String(value.into()))
    }

    pub(crate) fn flag(&mut self, key: &str) -> Made {
        self.configure(key, Value::Flag)
    }

    /// Sets an option to a directory that is opened for it.
    pub(crate) fn handle(&mut self, key: &str, path: &str, how: How) -> Made {
        Call::Open { path: Text::from(path), how, into: FILE }.make(&mut self.slots)?;
        self.configure(key, Value::Fd(FILE))?;
        Call::Close { fd: FILE }.make(&mut self.slots)
    }

    fn configure(&mut self, key: &str, value: Value) -> Made {
        Call::Configure { context: CONTEXT, key: key.to_owned(), value }.make(&mut self.slots)
    }

    /// Makes the filesystem, mounted nowhere.
    pub(crate) fn create(&mut self) -> Made {
        Call::Create { context: CONTEXT }.make(&mut self.slots)
    }

    /// Makes the filesystem and mounts it at `target`.
    pub(crate) fn mount(&mut self, target: &str, attributes: Attributes) -> Made {
        self.create()?;
        Call::FsMount { context: CONTEXT, attributes, into: TREE }.make(&mut self.slots)?;
        Call::Open { path: target.into(), how: How::Path, into: TARGET }.make(&mut self.slots)?;
        Call::MoveMount { tree: TREE, onto: TARGET }.make(&mut self.slots)
    }
}
