//! Layers as tars, entry by entry.
//!
//! Everything has a default (root, 0644 or 0755, the epoch), so that a test names only what matters; what follows an
//! entry changes that entry: `layer().file("bin/su", "x").mode(0o4755).owner(0, 5)`.

use tar::{Builder, EntryType, Header};

/// The longest name that a ustar header holds without its prefix field.
const NAME_LEN: usize = 100;

/// One layer's tar, in the order in which its entries were named.
#[must_use]
#[derive(Clone, Default)]
pub(crate) struct Layer {
    parts: Vec<Part>,
    after_the_end: Vec<u8>,
}

#[derive(Clone)]
enum Part {
    Entry(Entry),
    Raw(Vec<u8>),
}

#[derive(Clone)]
struct Entry {
    path: Vec<u8>,
    kind: EntryType,
    mode: u32,
    owner: (u64, u64),
    mtime: u64,
    target: Vec<u8>,
    device: (u32, u32),
    body: Vec<u8>,
    pax: Vec<(String, Vec<u8>)>,
}

/// An empty layer.
pub(crate) fn layer() -> Layer {
    Layer::default()
}

impl Layer {
    /// Adds a file.
    pub(crate) fn file(self, path: &str, body: &str) -> Self {
        self.file_of_bytes(path.as_bytes(), body.as_bytes())
    }

    /// Adds a file whose name or contents are no text.
    pub(crate) fn file_of_bytes(self, path: &[u8], body: &[u8]) -> Self {
        let mut layer = self.entry(EntryType::Regular, path, 0o644);
        layer.last().body = body.to_vec();
        layer
    }

    /// Adds a directory of mode 0755.
    pub(crate) fn dir(self, path: &str) -> Self {
        self.entry(EntryType::Directory, path.as_bytes(), 0o755)
    }

    /// Adds a symbolic link.
    pub(crate) fn symlink(self, path: &str, target: &str) -> Self {
        let mut layer = self.entry(EntryType::Symlink, path.as_bytes(), 0o777);
        layer.last().target = target.into();
        layer
    }

    /// Adds a second name for `target`.
    pub(crate) fn hardlink(self, path: &str, target: &str) -> Self {
        let mut layer = self.entry(EntryType::Link, path.as_bytes(), 0o644);
        layer.last().target = target.into();
        layer
    }

    /// Adds a character device.
    pub(crate) fn char_device(self, path: &str, major: u32, minor: u32) -> Self {
        let mut layer = self.entry(EntryType::Char, path.as_bytes(), 0o644);
        layer.last().device = (major, minor);
        layer
    }

    /// Adds a block device.
    pub(crate) fn block_device(self, path: &str, major: u32, minor: u32) -> Self {
        let mut layer = self.entry(EntryType::Block, path.as_bytes(), 0o644);
        layer.last().device = (major, minor);
        layer
    }

    /// Adds a named pipe.
    pub(crate) fn fifo(self, path: &str) -> Self {
        self.entry(EntryType::Fifo, path.as_bytes(), 0o644)
    }

    /// Adds the `.wh.` file that removes `path` of the layers below.
    pub(crate) fn whiteout(self, path: &str) -> Self {
        let (parent, name) = match path.rsplit_once('/') {
            Some((parent, name)) => (format!("{parent}/"), name),
            None => (String::new(), path),
        };
        self.file(&format!("{parent}.wh.{name}"), "")
    }

    /// Adds the mark that hides all that the layers below have in directory `path` (`""` is the root).
    pub(crate) fn opaque(self, path: &str) -> Self {
        let parent = if path.is_empty() { String::new() } else { format!("{path}/") };
        self.file(&format!("{parent}.wh..wh..opq"), "")
    }

    /// Gives the last entry this mode.
    pub(crate) fn mode(mut self, mode: u32) -> Self {
        self.last().mode = mode;
        self
    }

    /// Gives the last entry this owner.
    pub(crate) fn owner(mut self, uid: u64, gid: u64) -> Self {
        self.last().owner = (uid, gid);
        self
    }

    /// Gives the last entry this time, in seconds since the epoch.
    pub(crate) fn mtime(mut self, seconds: u64) -> Self {
        self.last().mtime = seconds;
        self
    }

    /// Gives the last entry an extended attribute.
    pub(crate) fn xattr(self, name: &str, value: &[u8]) -> Self {
        self.pax(&format!("SCHILY.xattr.{name}"), value)
    }

    /// Puts a PAX record before the last entry.
    pub(crate) fn pax(mut self, key: &str, value: &[u8]) -> Self {
        self.last().pax.push((key.to_owned(), value.to_vec()));
        self
    }

    /// Adds bytes to the tar as they are.
    pub(crate) fn raw(mut self, bytes: &[u8]) -> Self {
        self.parts.push(Part::Raw(bytes.to_vec()));
        self
    }

    /// Puts bytes behind the tar's end marker.
    pub(crate) fn after_the_end(mut self, bytes: &[u8]) -> Self {
        self.after_the_end = bytes.to_vec();
        self
    }

    /// Returns the tar.
    pub(crate) fn tar(&self) -> Vec<u8> {
        let mut out = Builder::new(Vec::new());
        for part in &self.parts {
            match part {
                Part::Entry(entry) => entry.write(&mut out),
                Part::Raw(bytes) => out.get_mut().extend(bytes),
            }
        }
        let mut tar = out.into_inner().expect("a Vec takes all");
        tar.extend(&self.after_the_end);
        tar
    }

    fn entry(mut self, kind: EntryType, path: &[u8], mode: u32) -> Self {
        self.parts.push(Part::Entry(Entry {
            path: path.to_vec(),
            kind,
            mode,
            owner: (0, 0),
            mtime: 0,
            target: Vec::new(),
            device: (0, 0),
            body: Vec::new(),
            pax: Vec::new(),
        }));
        self
    }

    fn last(&mut self) -> &mut Entry {
        match self.parts.last_mut() {
            Some(Part::Entry(entry)) => entry,
            Some(Part::Raw(_)) | None => panic!("there is no entry to change yet"),
        }
    }
}

impl Entry {
    fn write(&self, out: &mut Builder<Vec<u8>>) {
        let mut pax = self.pax.clone();
        for (key, value) in [("path", &self.path), ("linkpath", &self.target)] {
            if value.len() > NAME_LEN {
                pax.push((key.to_owned(), value.clone()));
            }
        }
        out.append_pax_extensions(pax.iter().map(|(key, value)| (key.as_str(), value.as_slice())))
            .expect("a Vec takes all");
        out.append(&self.header(), self.body.as_slice()).expect("a Vec takes all");
    }

    /// Writes the names as bytes: the crate's own setters refuse those that a hostile tar has.
    fn header(&self) -> Header {
        let mut header = Header::new_ustar();
        let fields = header.as_ustar_mut().expect("it is a ustar header");
        put(&mut fields.name, &self.path);
        put(&mut fields.linkname, &self.target);
        header.set_entry_type(self.kind);
        header.set_mode(self.mode);
        header.set_uid(self.owner.0);
        header.set_gid(self.owner.1);
        header.set_mtime(self.mtime);
        header.set_size(self.body.len() as u64);
        header.set_device_major(self.device.0).expect("ustar has devices");
        header.set_device_minor(self.device.1).expect("ustar has devices");
        header.set_cksum();
        header
    }
}

fn put(field: &mut [u8], value: &[u8]) {
    let len = value.len().min(field.len());
    field[..len].copy_from_slice(&value[..len]);
}
