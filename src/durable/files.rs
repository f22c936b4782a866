//! The few operations on files that everything durable goes through.
//!
//! One trait, so that tests can crash at any of them, lose what was not synced, and fail any. What is
//! written is on disk once it was synced, a name once its directory was, and no sooner.
//!
//! What writes waits where the process, or the machine, has no descriptor left for it: that passes, and a log that
//! gave up would end the process.

use rustix::fs::{FallocateFlags, fallocate};
use rustix::io::Errno;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

/// How long a file that is written waits for a descriptor, and how often it looks for one.
const DESCRIPTOR_PATIENCE: Duration = Duration::from_secs(60);
const DESCRIPTOR_POLL: Duration = Duration::from_millis(10);

/// A directory's files.
pub trait Files: Send + Sync + std::fmt::Debug {
    /// Makes a file that is not there, readable by its owner only, with room for so many bytes, which
    /// read as zeros.
    ///
    /// # Errors
    /// As the system has them; `StorageFull` where there is no room, and the file is not there then.
    fn create(&self, path: &Path, bytes: u64) -> io::Result<Box<dyn Written>>;

    /// All of a file.
    ///
    /// # Errors
    /// As the system has them.
    fn read(&self, path: &Path) -> io::Result<Vec<u8>>;

    /// How long a file is, in bytes.
    ///
    /// # Errors
    /// As the system has them.
    fn len(&self, path: &Path) -> io::Result<u64>;

    /// Reads as many bytes of a file as there is room for, from a place on.
    ///
    /// # Errors
    /// As the system has them; `UnexpectedEof` where there are fewer.
    fn read_into(&self, path: &Path, at: u64, bytes: &mut [u8]) -> io::Result<()>;

    /// The names in a directory, in no order; none where it is not there.
    ///
    /// # Errors
    /// As the system has them.
    fn list(&self, directory: &Path) -> io::Result<Vec<String>>;

    /// Gives a file another name, which may be another's, who loses it. On disk once the directory was
    /// synced: before, either name may be.
    ///
    /// # Errors
    /// As the system has them.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file.
    ///
    /// # Errors
    /// As the system has them.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Cuts a file off, and syncs it.
    ///
    /// # Errors
    /// As the system has them.
    fn cut(&self, path: &Path, bytes: u64) -> io::Result<()>;

    /// Makes a directory, and those above it, where they are not there.
    ///
    /// # Errors
    /// As the system has them.
    fn make_directory(&self, path: &Path) -> io::Result<()>;

    /// Puts on disk which names a directory has.
    ///
    /// # Errors
    /// As the system has them.
    fn sync_directory(&self, path: &Path) -> io::Result<()>;

    /// How many bytes there is room for where a path is.
    ///
    /// # Errors
    /// As the system has them.
    fn free_bytes(&self, path: &Path) -> io::Result<u64>;
}

/// A file that is being written.
pub trait Written: Send + std::fmt::Debug {
    /// Writes bytes at a place.
    ///
    /// # Errors
    /// As the system has them; some of the bytes may be written then.
    fn write_at(&mut self, bytes: &[u8], at: u64) -> io::Result<()>;

    /// Puts on disk what was written.
    ///
    /// # Errors
    /// As the system has them. What was written since the sync before may be lost then, whatever a
    /// later one says.
    fn sync(&mut self) -> io::Result<()>;
}

/// The system's files.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemFiles;

/// A directory that no other process has, until this is dropped or the process ends.
#[derive(Debug)]
pub struct Lock(#[expect(dead_code, reason = "the system holds the lock by it")] File);

/// Why a directory is not had.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another process has it.
    #[error("another process uses {0}; stop it, or choose another data_dir")]
    Taken(PathBuf),
    /// The lock's file is of no use.
    #[error("{0} cannot be locked: {1}")]
    Io(PathBuf, io::Error),
}

impl Lock {
    /// Takes the lock of a directory.
    ///
    /// # Errors
    /// Where another process has it, or the system knows no locks there.
    pub fn take(directory: &Path) -> Result<Self, LockError> {
        let path = directory.join("lock");
        let mut options = OpenOptions::new();
        options.create(true).truncate(false).write(true).mode(0o600);
        let file = options
            .open(&path)
            .map_err(|error| LockError::Io(path.clone(), error))?;
        match file.try_lock() {
            Ok(()) => Ok(Self(file)),
            Err(TryLockError::WouldBlock) => Err(LockError::Taken(directory.to_owned())),
            Err(TryLockError::Error(error)) => Err(LockError::Io(path, error)),
        }
    }
}

impl Files for SystemFiles {
    fn create(&self, path: &Path, bytes: u64) -> io::Result<Box<dyn Written>> {
        let mut options = OpenOptions::new();
        options.write(true).create_new(true).mode(0o600);
        let file = patiently(|| options.open(path))?;
        if bytes > 0
            && let Err(error) = fallocate(&file, FallocateFlags::empty(), 0, bytes)
        {
            // File systems without it allocate as they go.
            if error != Errno::OPNOTSUPP {
                fs::remove_file(path)?;
                return Err(error.into());
            }
            file.set_len(bytes)?;
        }
        Ok(Box::new(file))
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        fs::read(path)
    }

    fn len(&self, path: &Path) -> io::Result<u64> {
        Ok(fs::metadata(path)?.len())
    }

    fn read_into(&self, path: &Path, at: u64, bytes: &mut [u8]) -> io::Result<()> {
        File::open(path)?.read_exact_at(bytes, at)
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<String>> {
        let entries = match fs::read_dir(directory) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries?,
        };
        let name = |entry: io::Result<fs::DirEntry>| {
            let name = entry?.file_name().into_string();
            name.map_err(|name| io::Error::other(format!("{name:?} is no name of ours")))
        };
        entries.map(name).collect()
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn cut(&self, path: &Path, bytes: u64) -> io::Result<()> {
        let file = OpenOptions::new().write(true).open(path)?;
        file.set_len(bytes)?;
        file.sync_all()
    }

    fn make_directory(&self, path: &Path) -> io::Result<()> {
        fs::create_dir_all(path)
    }

    fn sync_directory(&self, path: &Path) -> io::Result<()> {
        patiently(|| File::open(path))?.sync_all()
    }

    fn free_bytes(&self, path: &Path) -> io::Result<u64> {
        let system = rustix::fs::statvfs(path)?;
        Ok(system.f_bavail * system.f_frsize)
    }
}

/// Opens a file, once there is a descriptor for it.
fn patiently(mut open: impl FnMut() -> io::Result<File>) -> io::Result<File> {
    let deadline = Instant::now() + DESCRIPTOR_PATIENCE;
    loop {
        match open() {
            Err(error) if lacks_descriptor(&error) && Instant::now() < deadline => {
                thread::sleep(DESCRIPTOR_POLL);
            }
            opened => return opened,
        }
    }
}

/// Whether the process or the machine has as many files open as may be.
fn lacks_descriptor(error: &io::Error) -> bool {
    let lacks = [Errno::MFILE, Errno::NFILE];
    lacks
        .iter()
        .any(|lack| error.raw_os_error() == Some(lack.raw_os_error()))
}

impl Written for File {
    fn write_at(&mut self, bytes: &[u8], at: u64) -> io::Result<()> {
        self.write_all_at(bytes, at)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.sync_data()
    }
}
