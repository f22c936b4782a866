//! The input of an import: a file or standard input, decompressed where the file's name says that it is compressed.

use super::Cause;
use super::diagnosis::signature;
use crate::archive::{Compression, SIGNATURE_BYTES};
use std::fs::File;
use std::io::{self, BufRead, BufReader, Cursor, Read};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// An input that is open.
pub struct Input {
    /// Its text.
    pub text: Box<dyn BufRead>,
    /// How the file is compressed.
    pub compression: Compression,
    /// How many bytes the file has, where that is known.
    pub bytes: Option<u64>,
    /// How many of them were read.
    pub read: Arc<AtomicU64>,
}

/// A file of which is known how far it was read.
struct Counted {
    file: File,
    read: Arc<AtomicU64>,
}

impl Read for Counted {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let some = self.file.read(bytes)?;
        self.read.fetch_add(some as u64, Ordering::Relaxed);
        Ok(some)
    }
}

impl Input {
    /// Opens what the path names.
    ///
    /// # Errors
    /// Where it cannot be read, or is not what its name says.
    pub fn open(path: &Path) -> Result<Self, Cause> {
        let read = Arc::new(AtomicU64::new(0));
        if path.as_os_str() == "-" {
            return Ok(Self {
                text: Box::new(io::stdin().lock()),
                compression: Compression::None,
                bytes: None,
                read,
            });
        }
        let unreadable = |error| Cause::Input(path.to_owned(), error);
        let file = File::open(path).map_err(unreadable)?;
        let known = file.metadata().map_err(unreadable)?;
        let counted = Counted {
            file,
            read: read.clone(),
        };
        let mut text: Box<dyn BufRead> = Box::new(BufReader::new(counted));
        let compression = Compression::of(path);
        if compression != Compression::None {
            let (beginning, whole) = begun(text).map_err(unreadable)?;
            if !compression.may_begin(&beginning) {
                return Err(Cause::Kind {
                    path: path.to_owned(),
                    found: found(&beginning),
                    expected: compression.label(),
                });
            }
            text = compression.decoder(whole).map_err(unreadable)?;
        }
        Ok(Self {
            text,
            compression,
            bytes: known.is_file().then_some(known.len()),
            read,
        })
    }
}

/// The first bytes of an input, and the whole of it.
///
/// # Errors
/// As reading has them.
pub fn begun(mut input: Box<dyn BufRead>) -> io::Result<(Vec<u8>, Box<dyn BufRead>)> {
    let mut beginning = Vec::with_capacity(SIGNATURE_BYTES);
    let mut bounded = Read::by_ref(&mut input).take(SIGNATURE_BYTES as u64);
    bounded.read_to_end(&mut beginning)?;
    let whole = Cursor::new(beginning.clone()).chain(input);
    Ok((beginning, Box::new(whole)))
}

fn found(beginning: &[u8]) -> &'static str {
    match (beginning, signature(beginning)) {
        ([], _) => "nothing",
        (_, Some((what, _))) => what,
        (_, None) => "something else",
    }
}
