//! The layout: what belongs to a data directory and not to the process that serves it.
//!
//! ```text
//! layout
//! offset  bytes
//!      0      8  "kvdir 1\n"
//!      8     16  the store's id, random
//!     24      4  shards
//!     28     16  the key of the hash that divides the keys among shards
//!     44      8  the seed of the hash by which keys are looked up
//!     52      8  checksum: XXH3 of what is before it
//! ```
//!
//! It is written once, beside, synced and renamed. The file is its owner's only: who knows its hash keys can
//! make keys that all fall on one shard.

use super::{Files, Lock, LockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use xxhash_rust::xxh3::xxh3_64;

const MAGIC: &[u8; 8] = b"kvdir 1\n";
const BYTES: usize = 60;

/// The most shards that a directory has.
const SHARDS_MAX: u32 = 1024;

/// What belongs to a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Which store it is: its files are no other's.
    pub store: [u8; 16],
    /// How many shards the keys are divided into.
    pub shards: u32,
    /// The key of the hash that divides them.
    pub hash_key: [u64; 2],
    /// The seed of the hash by which keys are looked up.
    pub seed: u64,
}

/// A data directory that this process has.
#[derive(Debug)]
pub struct Directory {
    pub(super) files: Arc<dyn Files>,
    pub(super) path: PathBuf,
    layout: Layout,
    _lock: Option<Lock>,
}

/// Why a directory is not used.
#[derive(Debug, thiserror::Error)]
pub enum DirectoryError {
    /// Another process has it, or nobody can.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// It cannot be read or written.
    #[error("{0} cannot be used: {1}; check that it is a directory that this user may write to")]
    Io(PathBuf, io::Error),
    /// The layout is not one.
    #[error(
        "{0} is damaged, or of no store of ours; nothing was changed, restore a backup of the directory"
    )]
    Damaged(PathBuf),
    /// The layout is another version's.
    #[error("{0} was written by a newer version of kvstore; use that one")]
    Newer(PathBuf),
    /// There are other files of a store, but no layout.
    #[error(
        "{0} is missing, though other files of a store are there; nothing was changed, restore a backup of the directory"
    )]
    Missing(PathBuf),
    /// There is no store in it.
    #[error("{0} holds no store: there is no file `layout` in it")]
    None(PathBuf),
    /// It has another number of shards.
    #[error(
        "{path} has {shards} shards, and the setting shards says {wanted}: leave the setting out, or take \
         the keys to a new directory by export and import"
    )]
    Shards {
        /// The directory.
        path: PathBuf,
        /// How many it has.
        shards: u32,
        /// How many were asked for.
        wanted: u32,
    },
}

/// What a directory is opened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// To serve; where it is empty it is made one of so many shards. Where these are `asked` for, it must
    /// have as many.
    Serve {
        /// How many shards a new one has.
        shards: u32,
        /// Whether another number is refused.
        asked: bool,
    },
    /// To read what is in it.
    Check,
}

impl Directory {
    /// Takes a directory, which no other process has then.
    ///
    /// # Errors
    /// Where it cannot be had or is not what it is opened for.
    pub fn open(
        files: Arc<dyn Files>,
        path: &Path,
        purpose: Purpose,
    ) -> Result<Self, DirectoryError> {
        let io = |error| DirectoryError::Io(path.to_owned(), error);
        let at = path.join("layout");
        let names = files.list(path).map_err(io)?;
        let is_there = names.iter().any(|name| name == "layout");
        if purpose == Purpose::Check && !is_there {
            return Err(DirectoryError::None(path.to_owned()));
        }
        files.make_directory(path).map_err(io)?;
        let lock = Lock::take(path)?;
        let layout = match (is_there, purpose) {
            (true, _) | (false, Purpose::Check) => read(&*files, &at)?,
            (false, Purpose::Serve { shards, .. }) => {
                if !files.list(&path.join("log")).map_err(io)?.is_empty() {
                    return Err(DirectoryError::Missing(at));
                }
                make(&*files, path, shards).map_err(io)?
            }
        };
        if let Purpose::Serve {
            shards: wanted,
            asked: true,
        } = purpose
            && wanted != layout.shards
        {
            let (path, shards) = (path.to_owned(), layout.shards);
            return Err(DirectoryError::Shards {
                path,
                shards,
                wanted,
            });
        }
        Ok(Self {
            files,
            path: path.to_owned(),
            layout,
            _lock: Some(lock),
        })
    }

    /// A directory of simulated files, which no other process can have.
    #[cfg(test)]
    pub(super) fn simulated(
        files: &super::simulated::SimulatedFiles,
        path: &Path,
        layout: Layout,
    ) -> Self {
        Self {
            files: Arc::new(files.clone()),
            path: path.to_owned(),
            layout,
            _lock: None,
        }
    }

    /// What belongs to it.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// What all operations on its files go through.
    pub fn files(&self) -> Arc<dyn Files> {
        self.files.clone()
    }

    /// How long all its files are together, in bytes.
    ///
    /// # Errors
    /// As the system has them.
    pub fn bytes(&self) -> io::Result<u64> {
        let shards = (0..self.layout.shards).map(|shard| self.path.join(format!("shard-{shard}")));
        let mut bytes = 0;
        for directory in shards.chain([self.path.join("log")]) {
            for name in self.files.list(&directory)? {
                // One may go meanwhile.
                bytes += self.files.len(&directory.join(name)).unwrap_or(0);
            }
        }
        Ok(bytes)
    }

    /// How many bytes its disk has left.
    ///
    /// # Errors
    /// As the system has them.
    pub fn free_bytes(&self) -> io::Result<u64> {
        self.files.free_bytes(&self.path)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

fn read(files: &dyn Files, at: &Path) -> Result<Layout, DirectoryError> {
    let bytes = files.read(at);
    let bytes = bytes.map_err(|error| DirectoryError::Io(at.to_owned(), error))?;
    parse(&bytes).map_err(|unread| match unread {
        Unread::Newer => DirectoryError::Newer(at.to_owned()),
        Unread::Damaged => DirectoryError::Damaged(at.to_owned()),
    })
}

/// Why bytes are no layout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unread {
    Newer,
    Damaged,
}

fn parse(bytes: &[u8]) -> Result<Layout, Unread> {
    if let Some(version) = bytes.strip_prefix(b"kvdir ")
        && !bytes.starts_with(MAGIC)
        && version.first().is_some_and(u8::is_ascii_digit)
        && version.contains(&b'\n')
    {
        return Err(Unread::Newer);
    }
    let bytes: &[u8; BYTES] = bytes.try_into().map_err(|_| Unread::Damaged)?;
    let (content, sum) = bytes.split_at(BYTES - size_of::<u64>());
    let layout = Layout {
        store: field(content, 8),
        shards: u32::from_le_bytes(field(content, 24)),
        hash_key: [28, 36].map(|at| u64::from_le_bytes(field(content, at))),
        seed: u64::from_le_bytes(field(content, 44)),
    };
    let is_one = content.starts_with(MAGIC)
        && *sum == xxh3_64(content).to_le_bytes()
        && (1..=SHARDS_MAX).contains(&layout.shards);
    if is_one {
        Ok(layout)
    } else {
        Err(Unread::Damaged)
    }
}

fn field<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let field = bytes[at..].first_chunk();
    *field.expect("a layout has all its fields")
}

fn written(layout: &Layout) -> Vec<u8> {
    let mut bytes = MAGIC.to_vec();
    bytes.extend(layout.store);
    bytes.extend(layout.shards.to_le_bytes());
    let [first, second] = layout.hash_key;
    for number in [first, second, layout.seed] {
        bytes.extend(number.to_le_bytes());
    }
    bytes.extend(xxh3_64(&bytes).to_le_bytes());
    bytes
}

/// Makes an empty directory one of a new store.
fn make(files: &dyn Files, path: &Path, shards: u32) -> io::Result<Layout> {
    let mut store = [0; 16];
    getrandom::fill(&mut store).map_err(io::Error::other)?;
    let random = || getrandom::u64().map_err(io::Error::other);
    let layout = Layout {
        store,
        shards,
        hash_key: [random()?, random()?],
        seed: random()?,
    };
    let beside = path.join("layout.new");
    if files.list(path)?.iter().any(|name| name == "layout.new") {
        files.remove(&beside)?;
    }
    let mut file = files.create(&beside, 0)?;
    file.write_at(&written(&layout), 0)?;
    file.sync()?;
    files.rename(&beside, &path.join("layout"))?;
    files.sync_directory(path)?;
    // The directory's own name as well.
    if let Some(above) = path.parent().filter(|above| !above.as_os_str().is_empty()) {
        files.sync_directory(above)?;
    }
    Ok(layout)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::durable::SystemFiles;

    fn open(path: &Path, purpose: Purpose) -> Result<Directory, DirectoryError> {
        Directory::open(Arc::new(SystemFiles), path, purpose)
    }

    const SERVE: Purpose = Purpose::Serve {
        shards: 3,
        asked: false,
    };

    #[test]
    fn a_directory_keeps_what_belongs_to_it_and_no_other_is_taken_for_it() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("a/b");
        let layout = *open(&path, SERVE).unwrap().layout();
        assert_eq!(layout.shards, 3);
        let other = Purpose::Serve {
            shards: 5,
            asked: false,
        };
        assert_eq!(*open(&path, other).unwrap().layout(), layout);
        let asked = Purpose::Serve {
            shards: 5,
            asked: true,
        };
        let refused = open(&path, asked).unwrap_err().to_string();
        assert!(refused.contains("has 3 shards"), "{refused}");
        let taken = open(&path, SERVE).unwrap();
        let second = open(&path, SERVE).unwrap_err();
        assert!(matches!(second, DirectoryError::Lock(_)), "{second}");
        drop(taken);
        let at = path.join("layout");
        let bytes = std::fs::read(&at).unwrap();
        for byte in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[byte] ^= 0x40;
            std::fs::write(&at, &damaged).unwrap();
            let refused = open(&path, SERVE).unwrap_err().to_string();
            assert!(refused.contains(at.to_str().unwrap()), "{refused}");
        }
        std::fs::write(&at, b"kvdir 2\nand more").unwrap();
        let newer = open(&path, SERVE).unwrap_err();
        assert!(matches!(newer, DirectoryError::Newer(_)), "{newer}");
        std::fs::remove_file(&at).unwrap();
        std::fs::create_dir(path.join("log")).unwrap();
        std::fs::write(path.join("log/00000000000000000000.log"), b"").unwrap();
        let missing = open(&path, SERVE).unwrap_err();
        assert!(matches!(missing, DirectoryError::Missing(_)), "{missing}");
        let none = open(&path, Purpose::Check).unwrap_err();
        assert!(matches!(none, DirectoryError::None(_)), "{none}");
    }
}
