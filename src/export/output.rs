//! Where an export goes: beside the file, which it replaces once it is whole, or straight to what
//! is no file; compressed where the name says so.

use crate::archive::{Compression, Encoder};
use std::fs::{self, File, OpenOptions, Permissions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// How many links from one to another are followed.
const LINKS_MAX: usize = 40;

/// An output that is open.
pub enum Output {
    /// A file that takes the place of another at the end.
    Beside(SharedPart),
    /// Standard output, a pipe, a device.
    Straight(Encoder<Box<dyn Write + Send>>),
}

/// A file under way, which a signal has to end too.
#[derive(Clone)]
pub struct SharedPart(Arc<Mutex<Part>>);

/// A file under way.
pub struct Part {
    encoder: Encoder<File>,
    /// Where it is.
    pub path: PathBuf,
    /// Where it goes, links followed.
    pub target: PathBuf,
    /// Whether it is there.
    pub is_in_place: bool,
}

/// Whether a path names standard output.
pub fn is_standard(path: &Path) -> bool {
    path.as_os_str() == "-" || path == Path::new("/dev/stdout")
}

impl Output {
    /// Opens what the path names; what is there stays as it is until [`finish`](Self::finish).
    ///
    /// # Errors
    /// Where it cannot be written, and which path.
    pub fn open(path: &Path) -> Result<Self, (PathBuf, io::Error)> {
        if is_standard(path) {
            return Ok(Self::Straight(Encoder::Plain(Box::new(io::stdout()))));
        }
        let compression = Compression::of(path);
        let given = |error| (path.to_owned(), error);
        let is_descriptor = ["/dev/fd", "/proc"].iter().any(|at| path.starts_with(at));
        let known = match fs::metadata(path) {
            Ok(known) => Some(known),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(given(error)),
        };
        if is_descriptor || known.as_ref().is_some_and(|known| !known.is_file()) {
            let file = OpenOptions::new().write(true).open(path).map_err(given)?;
            let output: Box<dyn Write + Send> = Box::new(file);
            let encoder = Encoder::new(output, compression).map_err(given)?;
            return Ok(Self::Straight(encoder));
        }
        if known.is_some() {
            // Who may not write to the file should not replace it either.
            OpenOptions::new().write(true).open(path).map_err(given)?;
        }
        let target = followed(path).map_err(given)?;
        let part = Part::create(target, known.as_ref(), compression)?;
        Ok(Self::Beside(SharedPart(Arc::new(Mutex::new(part)))))
    }

    /// Writes all of the bytes.
    ///
    /// # Errors
    /// As writing has them.
    pub fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Beside(part) => part.lock().encoder.write_all(bytes),
            Self::Straight(output) => output.write_all(bytes),
        }
    }

    /// Makes all that was written last, and puts it in its place.
    ///
    /// # Errors
    /// As the file system has them, and for which path.
    pub fn finish(&mut self) -> Result<(), (PathBuf, io::Error)> {
        match self {
            Self::Straight(output) => output.finish().map_err(|error| ("-".into(), error)),
            Self::Beside(part) => part.lock().replace_target(),
        }
    }
}

impl SharedPart {
    /// The part, once nobody else has it.
    pub fn lock(&self) -> MutexGuard<'_, Part> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Part {
    /// Ends it where it is, so that what was written can be read.
    ///
    /// # Errors
    /// As writing has them.
    pub fn end(&mut self) -> io::Result<()> {
        self.encoder.finish()
    }

    /// Removes it, unless something else is there now.
    pub fn remove(&self) {
        if self.check_place().is_ok() {
            let _ = fs::remove_file(&self.path);
        }
    }

    /// Ends it, and puts it in the place of the target.
    fn replace_target(&mut self) -> Result<(), (PathBuf, io::Error)> {
        let at = |path: &Path| {
            let path = path.to_owned();
            move |error| (path, error)
        };
        self.end().map_err(at(&self.path))?;
        let file = self.encoder.output();
        file.sync_all().map_err(at(&self.path))?;
        self.check_place().map_err(at(&self.path))?;
        // One that cannot be opened is told of while all is as it was.
        let folder = folder_of(&self.target);
        let folder_file = File::open(folder).map_err(at(folder))?;
        fs::rename(&self.path, &self.target).map_err(at(&self.target))?;
        self.is_in_place = true;
        folder_file.sync_all().map_err(at(folder))
    }

    /// Makes the file beside the target, with the permissions of what it will replace. One that an
    /// export has left is replaced.
    fn create(
        target: PathBuf,
        known: Option<&fs::Metadata>,
        compression: Compression,
    ) -> Result<Self, (PathBuf, io::Error)> {
        let mut path = target.clone().into_os_string();
        path.push(".part");
        let path = PathBuf::from(path);
        let encoder = Self::create_file(&path, known)
            .and_then(|file| Encoder::new(file, compression))
            .map_err(|error| (path.clone(), error))?;
        Ok(Self {
            encoder,
            path,
            target,
            is_in_place: false,
        })
    }

    /// What is to be renamed must be what was written, also where somebody removed it and another
    /// export began anew.
    fn check_place(&self) -> io::Result<()> {
        let (ours, there) = (
            self.encoder.output().metadata()?,
            fs::symlink_metadata(&self.path)?,
        );
        match (ours.dev(), ours.ino()) == (there.dev(), there.ino()) {
            true => Ok(()),
            false => Err(io::Error::other("something else is there now")),
        }
    }

    fn create_file(path: &Path, known: Option<&fs::Metadata>) -> io::Result<File> {
        match fs::symlink_metadata(path) {
            Ok(left) => {
                if left.is_file() {
                    let left = File::open(path)?;
                    if let Err(TryLockError::WouldBlock) = left.try_lock() {
                        let busy = "another export is writing it";
                        return Err(io::Error::new(io::ErrorKind::ResourceBusy, busy));
                    }
                }
                fs::remove_file(path)?;
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        let mode = known.map_or(0o666, |known| known.mode() & 0o777);
        let mut options = OpenOptions::new();
        let file = options.write(true).create_new(true).mode(mode).open(path)?;
        // Some file systems have no locks. Then nobody is kept off.
        let _ = file.try_lock();
        if let Some(known) = known {
            // Only root may give a file to somebody else; else it is ours, as any new one.
            let _ = fchown(&file, Some(known.uid()), Some(known.gid()));
            file.set_permissions(Permissions::from_mode(mode))?;
        }
        Ok(file)
    }
}

/// Where links lead to, though nothing may be there yet.
fn followed(path: &Path) -> io::Result<PathBuf> {
    let mut path = path.to_owned();
    for _ in 0..LINKS_MAX {
        match fs::read_link(&path) {
            Ok(next) => path = folder_of(&path).join(next),
            // Not a link, or nothing.
            Err(_) => return Ok(path),
        }
    }
    Err(io::Error::other("too many links lead from one to another"))
}

fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}
