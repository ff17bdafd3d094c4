//! A kernel's modules: which are needed, in what order, unpacked (5.10 and 6.1 load no compressed ones).

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// What a guest has besides the filesystem under test; a kernel that has one built in brings no file, and that is fine.
const WANTED: [&str; 9] = [
    "virtio_pci",
    "virtio_blk",
    "crc32c_generic", // ext4, xfs and btrfs ask for it by its algorithm's name, which no file tells
    "crc32c_cryptoapi", // what Linux 6.16 and later call it
    "sha256_generic", // fs-verity does
    "overlay",
    "loop",
    "erofs",
    "squashfs",
];

/// The modules that lie below a folder, by name.
pub(super) struct Modules(BTreeMap<String, PathBuf>);

/// A module that is ready to be loaded.
pub(super) struct Module {
    pub(super) name: String,
    pub(super) contents: Vec<u8>,
}

impl Modules {
    /// Looks for modules in `folder`, as `make modules_install` or a package leaves them; none without a folder.
    pub(super) fn below(folder: Option<&Path>) -> io::Result<Self> {
        let mut found = BTreeMap::new();
        let mut folders: Vec<PathBuf> = folder.iter().map(|folder| folder.to_path_buf()).collect();
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(&folder)? {
                let (path, kind) = entry.and_then(|entry| Ok((entry.path(), entry.file_type()?)))?;
                if kind.is_dir() {
                    folders.push(path);
                } else if let Some(name) = name_of(&path) {
                    found.insert(name, path);
                }
            }
        }
        Ok(Self(found))
    }

    /// Returns what a guest with this filesystem needs, each module after those it needs itself; `withheld` ones are left out.
    pub(super) fn needed(&self, filesystem: &str, withheld: &[String]) -> io::Result<Vec<Module>> {
        let mut needed = Vec::new();
        for name in WANTED.into_iter().chain([filesystem]) {
            if !withheld.iter().any(|withheld| withheld == name) {
                self.add(name, &mut needed)?;
            }
        }
        Ok(needed)
    }

    fn add(&self, name: &str, needed: &mut Vec<Module>) -> io::Result<()> {
        let Some(path) = self.0.get(name).filter(|_| needed.iter().all(|module| module.name != name)) else {
            return Ok(());
        };
        let contents = unpacked(path)?;
        for dependency in dependencies(&contents) {
            self.add(&dependency, needed)?;
        }
        needed.push(Module { name: name.to_owned(), contents });
        Ok(())
    }
}

/// The name of a module as the kernel spells it: `virtio-pci.ko.xz` is `virtio_pci`.
fn name_of(path: &Path) -> Option<String> {
    let (name, packing) = path.file_name()?.to_str()?.split_once(".ko")?;
    matches!(packing, "" | ".xz" | ".zst" | ".gz").then(|| name.replace('-', "_"))
}

fn unpacked(path: &Path) -> io::Result<Vec<u8>> {
    let file = fs::File::open(path)?;
    let mut reader: Box<dyn Read> = match path.extension().and_then(|extension| extension.to_str()) {
        Some("xz") => Box::new(liblzma::read::XzDecoder::new_multi_decoder(file)),
        Some("zst") => Box::new(zstd::Decoder::new(file)?),
        Some("gz") => Box::new(flate2::read::MultiGzDecoder::new(file)),
        Some(_) | None => Box::new(file),
    };
    let mut contents = Vec::new();
    reader.read_to_end(&mut contents)?;
    Ok(contents)
}

/// What a module says it needs: its section .modinfo has `depends=a,b` and `softdep=pre: c d`, each closed by a NUL.
///
/// Read here, since no package brings modules.dep.
pub(super) fn dependencies(module: &[u8]) -> Vec<String> {
    let fields = module.split(|byte| *byte == 0).filter_map(|field| std::str::from_utf8(field).ok());
    let names = fields.flat_map(|field| {
        let before =
            field.strip_prefix("softdep=pre: ").map(|names| names.split(" post: ").next().unwrap_or(names));
        let names = field.strip_prefix("depends=").or(before).unwrap_or_default();
        names.split([',', ' ']).filter(|name| !name.is_empty()).map(|name| name.replace('-', "_"))
    });
    names.collect()
}
