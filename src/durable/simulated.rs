//! Files in memory, which know what was synced: a crash at any operation loses what was not, in part or
//! whole, and any operation can fail.

use super::{Files, Written};
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

/// The sizes in which unsynced bytes reach the disk or do not.
const SECTOR: usize = 64;

#[derive(Clone, Debug, Default)]
pub struct SimulatedFiles(Arc<Mutex<Disk>>);

#[derive(Debug, Default)]
struct Disk {
    /// By name, as the process sees it.
    names: BTreeMap<PathBuf, usize>,
    /// By name, as it was when its directory was synced.
    synced_names: BTreeMap<PathBuf, usize>,
    files: Vec<Content>,
    /// How many operations there were.
    operations: usize,
    /// The operation that is not done, nor any after it.
    crash_at: Option<usize>,
    /// The operation that fails, and how.
    fail_at: Option<(usize, io::ErrorKind)>,
    /// How many bytes files may take.
    bytes_max: Option<u64>,
    /// What is said to be done and is not: a defect of whoever asks for less than is needed.
    skipped: Option<Skipped>,
}

/// Operations that are not done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Skipped {
    pub operation: Operation,
    /// What the path ends with.
    pub path: &'static str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    Sync,
    SyncDirectory,
    Cut,
}

#[derive(Clone, Debug, Default)]
struct Content {
    bytes: Vec<u8>,
    synced: Vec<u8>,
    /// Whether a sync failed: what was not synced before is lost then.
    is_lost: bool,
}

#[derive(Debug)]
struct SimulatedFile {
    disk: Arc<Mutex<Disk>>,
    number: usize,
}

/// How much of what was not synced is there after a crash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// Nothing is lost yet: the process ended, not the system, and what was not synced still is not.
    None,
    /// All is.
    All,
    /// Each sector and name by itself, as a seed has it.
    Some(u64),
}

impl SimulatedFiles {
    /// Has the operation of this number, from 0 on, and all after it not be done.
    pub fn crash_at(&self, operation: usize) {
        self.0.lock().unwrap().crash_at = Some(operation);
    }

    /// Has one operation fail.
    pub fn fail_at(&self, operation: usize, kind: io::ErrorKind) {
        self.0.lock().unwrap().fail_at = Some((operation, kind));
    }

    /// Has some operations not be done.
    pub fn skip(&self, skipped: Option<Skipped>) {
        self.0.lock().unwrap().skipped = skipped;
    }

    pub fn bytes_max(&self, bytes: Option<u64>) {
        self.0.lock().unwrap().bytes_max = bytes;
    }

    /// Whether the operation was asked for at which, and after which, none is done.
    pub fn has_crashed(&self) -> bool {
        let disk = self.0.lock().unwrap();
        disk.crash_at.is_some_and(|at| disk.operations > at)
    }

    pub fn operations(&self) -> usize {
        self.0.lock().unwrap().operations
    }

    /// What the next process finds.
    pub fn after_crash(&self, loss: Loss) -> Self {
        let disk = self.0.lock().unwrap();
        if loss == Loss::None {
            return Self(Arc::new(Mutex::new(Disk {
                names: disk.names.clone(),
                synced_names: disk.synced_names.clone(),
                files: disk.files.clone(),
                skipped: disk.skipped,
                ..Disk::default()
            })));
        }
        let mut random = match loss {
            Loss::Some(seed) => seed | 1,
            Loss::None | Loss::All => 1,
        };
        let mut is_kept = || {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            match loss {
                Loss::None | Loss::All => false,
                Loss::Some(_) => random & 1 == 1,
            }
        };
        let mut names = disk.synced_names.clone();
        let touched: Vec<&PathBuf> = disk.names.keys().chain(disk.synced_names.keys()).collect();
        for path in touched {
            if disk.names.get(path) != disk.synced_names.get(path) && is_kept() {
                match disk.names.get(path) {
                    Some(number) => names.insert(path.clone(), *number),
                    None => names.remove(path),
                };
            }
        }
        let files = disk.files.iter().map(|file| {
            let mut bytes = file.synced.clone();
            let written = match file.is_lost {
                true => &file.synced,
                false => &file.bytes,
            };
            // The length is metadata, which a sync of the data takes along, or not.
            if written.len() != bytes.len() && is_kept() {
                bytes.resize(written.len(), 0);
            }
            let end = bytes.len().min(written.len());
            for begin in (0..end).step_by(SECTOR) {
                let sector = begin..(begin + SECTOR).min(end);
                if bytes[sector.clone()] != written[sector.clone()] && is_kept() {
                    bytes[sector.clone()].copy_from_slice(&written[sector]);
                }
            }
            Content {
                synced: bytes.clone(),
                bytes,
                is_lost: false,
            }
        });
        Self(Arc::new(Mutex::new(Disk {
            synced_names: names.clone(),
            files: files.collect(),
            names,
            skipped: disk.skipped,
            ..Disk::default()
        })))
    }

    /// Changes a byte that is on disk.
    pub fn damage(&self, path: &Path, at: usize) {
        let mut disk = self.0.lock().unwrap();
        let number = disk.names[path];
        disk.files[number].bytes[at] ^= 0x10;
        disk.files[number].synced[at] ^= 0x10;
    }

    fn operate<T>(&self, run: impl FnOnce(&mut Disk) -> io::Result<T>) -> io::Result<T> {
        operate(&self.0, run)
    }
}

impl Disk {
    fn is_skipped(&self, operation: Operation, path: Option<&Path>) -> bool {
        let path = path.unwrap_or(Path::new("")).to_string_lossy();
        self.skipped
            .is_some_and(|skipped| skipped.operation == operation && path.ends_with(skipped.path))
    }

    fn free_bytes(&self) -> u64 {
        let taken = self.names.values().map(|at| self.files[*at].bytes.len());
        let max = self.bytes_max.unwrap_or(u64::MAX);
        max.saturating_sub(taken.sum::<usize>() as u64)
    }
}

fn operate<T>(disk: &Mutex<Disk>, run: impl FnOnce(&mut Disk) -> io::Result<T>) -> io::Result<T> {
    let mut disk = disk.lock().unwrap();
    let number = disk.operations;
    disk.operations += 1;
    if disk.crash_at.is_some_and(|at| number >= at) {
        return Err(io::Error::other("the process has ended"));
    }
    if let Some((at, kind)) = disk.fail_at
        && at == number
    {
        return Err(kind.into());
    }
    run(&mut disk)
}

fn not_there() -> io::Error {
    io::ErrorKind::NotFound.into()
}

impl Files for SimulatedFiles {
    fn create(&self, path: &Path, bytes: u64) -> io::Result<Box<dyn Written>> {
        let number = self.operate(|disk| {
            if disk.names.contains_key(path) {
                return Err(io::ErrorKind::AlreadyExists.into());
            }
            if disk.free_bytes() < bytes {
                return Err(io::ErrorKind::StorageFull.into());
            }
            let content = Content {
                bytes: vec![0; bytes as usize],
                ..Content::default()
            };
            disk.files.push(content);
            let number = disk.files.len() - 1;
            disk.names.insert(path.to_owned(), number);
            Ok(number)
        })?;
        Ok(Box::new(SimulatedFile {
            disk: self.0.clone(),
            number,
        }))
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        self.operate(|disk| {
            let number = disk.names.get(path).ok_or_else(not_there)?;
            Ok(disk.files[*number].bytes.clone())
        })
    }

    fn len(&self, path: &Path) -> io::Result<u64> {
        self.operate(|disk| {
            let number = disk.names.get(path).ok_or_else(not_there)?;
            Ok(disk.files[*number].bytes.len() as u64)
        })
    }

    fn read_into(&self, path: &Path, at: u64, bytes: &mut [u8]) -> io::Result<()> {
        self.operate(|disk| {
            let number = disk.names.get(path).ok_or_else(not_there)?;
            let file = &disk.files[*number].bytes;
            let found = file.get(at as usize..at as usize + bytes.len());
            bytes.copy_from_slice(found.ok_or(io::ErrorKind::UnexpectedEof)?);
            Ok(())
        })
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<String>> {
        self.operate(|disk| {
            let names = disk
                .names
                .keys()
                .filter(|path| path.parent() == Some(directory));
            Ok(names
                .filter_map(|path| Some(path.file_name()?.to_str()?.to_owned()))
                .collect())
        })
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.operate(|disk| {
            let number = disk.names.remove(from).ok_or_else(not_there)?;
            disk.names.insert(to.to_owned(), number);
            Ok(())
        })
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.operate(|disk| disk.names.remove(path).map(|_| ()).ok_or_else(not_there))
    }

    fn cut(&self, path: &Path, bytes: u64) -> io::Result<()> {
        self.operate(|disk| {
            let number = *disk.names.get(path).ok_or_else(not_there)?;
            if disk.is_skipped(Operation::Cut, Some(path)) {
                return Ok(());
            }
            let file = &mut disk.files[number];
            file.bytes.truncate(bytes as usize);
            file.synced = file.bytes.clone();
            Ok(())
        })
    }

    fn make_directory(&self, _: &Path) -> io::Result<()> {
        self.operate(|_| Ok(()))
    }

    fn sync_directory(&self, path: &Path) -> io::Result<()> {
        self.operate(|disk| {
            if disk.is_skipped(Operation::SyncDirectory, Some(path)) {
                return Ok(());
            }
            let is_here = |name: &Path| name.parent() == Some(path);
            disk.synced_names.retain(|name, _| !is_here(name));
            let here = disk.names.iter().filter(|(name, _)| is_here(name));
            let here: Vec<_> = here.map(|(name, number)| (name.clone(), *number)).collect();
            disk.synced_names.extend(here);
            Ok(())
        })
    }

    fn free_bytes(&self, _: &Path) -> io::Result<u64> {
        self.operate(|disk| Ok(disk.free_bytes()))
    }
}

impl Written for SimulatedFile {
    fn write_at(&mut self, bytes: &[u8], at: u64) -> io::Result<()> {
        let (number, begin) = (self.number, at as usize);
        operate(&self.disk, |disk| {
            let file = &mut disk.files[number].bytes;
            file.resize(file.len().max(begin + bytes.len()), 0);
            file[begin..begin + bytes.len()].copy_from_slice(bytes);
            Ok(())
        })
    }

    fn sync(&mut self) -> io::Result<()> {
        let number = self.number;
        let synced = operate(&self.disk, |disk| {
            let path = disk.names.iter().find(|(_, at)| **at == number);
            if disk.is_skipped(Operation::Sync, path.map(|(path, _)| &**path)) {
                return Ok(());
            }
            let file = &mut disk.files[number];
            file.synced = file.bytes.clone();
            Ok(())
        });
        let mut disk = self.disk.lock().unwrap();
        // A crash is no failure: what was written may be there all the same.
        let has_crashed = disk.crash_at.is_some_and(|at| disk.operations > at);
        if synced.is_err() && !has_crashed {
            disk.files[number].is_lost = true;
        }
        synced
    }
}
