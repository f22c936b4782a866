//! The log as it is written: by one thread, for all shards, in one order.
//!
//! Whoever appends gets the position after its records at once, and is told of it by the listener once
//! the log is on disk up to there. The thread takes all that has gathered, writes it in one go and syncs
//! it (group commit), so that what a sync costs is shared by all who wait for it.
//!
//! The next file is made, with all its room, while the one before is written: so a full disk shows before
//! a record has no place, and [`Log::append`] says so while there is still room for what waits.

use super::frame::{self, FrameHead, Seal};
use super::segment::{self, SegmentHead};
use super::{Files, Position, Written};
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// When what was written is put on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sync {
    /// Before it is told of.
    Always,
    /// So long after it was told of, at the most.
    Within(Duration),
}

/// How a log is set up.
#[derive(Clone, Debug)]
pub struct LogOptions {
    /// Where its files are.
    pub directory: PathBuf,
    /// The store's id.
    pub store: [u8; 16],
    /// Which start of a process this is.
    pub start: u64,
    /// The position of the first record.
    pub first: Position,
    /// How large a file is, in bytes.
    pub file_bytes: u64,
    /// The bound on what waits to be written, in bytes; half of a file at the most.
    pub waiting_bytes_max: usize,
    /// When what was written is put on disk.
    pub sync: Sync,
}

/// The records of a turn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Append {
    /// Whose they are.
    pub shard: u32,
    /// How many.
    pub records: u32,
    /// Their bytes.
    pub content: Vec<u8>,
}

/// What became of an append.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Appended {
    /// It is written next, and ends at this position.
    At(Position),
    /// So much waits already that it does not. Try again once some of it was written.
    Busy,
}

/// Why a log goes on no more.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// A file could not be begun.
    #[error("no file of the log can be begun in {0}: {1}")]
    Begin(PathBuf, io::Error),
    /// What was to be written may be on disk or not.
    #[error("the log in {0} could not be written: {1}")]
    Write(PathBuf, io::Error),
    /// The system gives no thread.
    #[error("there is no thread for the log: {0}")]
    Thread(io::Error),
}

/// Who is told how far the log is, on its thread.
pub trait Listener: Send + 'static {
    /// All up to a position is as safe as it was to be, for those of the shards that had records in it.
    fn reached(&mut self, position: Position, shards: &[u32]);

    /// The log goes on no more, and nobody knows what of the last records is on disk. The process must
    /// end: what is in memory may be more than what a restart finds.
    fn failed(&mut self, error: LogError);
}

/// The log, for those who append. It ends with the last handle, when all that waits was written.
#[derive(Debug)]
pub struct Log {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    queue: Mutex<Queue>,
    /// Something waits, or the log is to end.
    woken: Condvar,
    /// Up to where the log is on disk.
    synced: AtomicU64,
    /// Whether there is no room for another file.
    is_full: AtomicBool,
    waiting_bytes_max: usize,
}

#[derive(Debug)]
struct Queue {
    appended: Vec<Append>,
    bytes: usize,
    /// The position after what waits.
    end: Position,
    is_ending: bool,
}

impl Log {
    /// Begins a file and the thread that writes.
    ///
    /// # Errors
    /// Where there is no room for two files, or no thread.
    pub fn begin(
        files: Arc<dyn Files>,
        options: LogOptions,
        listener: impl Listener,
    ) -> Result<Self, LogError> {
        let shared = Arc::new(Shared {
            queue: Mutex::new(Queue {
                appended: Vec::new(),
                bytes: 0,
                end: options.first,
                is_ending: false,
            }),
            woken: Condvar::new(),
            synced: AtomicU64::new(options.first.0),
            is_full: AtomicBool::new(false),
            waiting_bytes_max: options.waiting_bytes_max,
        });
        let writer = Writer::begin(files, options, shared.clone())?;
        let thread = thread::Builder::new()
            .name("kvstore-log".into())
            .spawn(move || writer.run(listener))
            .map_err(LogError::Thread)?;
        Ok(Self {
            shared,
            thread: Some(thread),
        })
    }

    /// Adds records to the end. They are written in the order of these calls.
    pub fn append(&self, append: Append) -> Appended {
        let mut queue = self.shared.lock();
        let bytes = frame::HEAD_BYTES + append.content.len();
        // One that is larger than all may wait alone.
        if queue.bytes > 0 && queue.bytes + bytes > self.shared.waiting_bytes_max {
            return Appended::Busy;
        }
        queue.end.0 += u64::from(append.records);
        queue.bytes += bytes;
        queue.appended.push(append);
        self.shared.woken.notify_one();
        Appended::At(queue.end)
    }

    /// Up to where the log is on disk.
    pub fn synced(&self) -> Position {
        Position(self.shared.synced.load(Ordering::Acquire))
    }

    /// Whether there is no room on the disk for another file: what waits is written, and nothing that
    /// takes room should follow.
    pub fn is_full(&self) -> bool {
        self.shared.is_full.load(Ordering::Acquire)
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        self.shared.lock().is_ending = true;
        self.shared.woken.notify_one();
        if let Some(thread) = self.thread.take() {
            // A panic there was told of by its hook.
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn lock(&self) -> std::sync::MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until something is to be written, the log is to end (`None`), or a moment has come (nothing).
    fn take(&self, until: Option<Instant>) -> Option<Vec<Append>> {
        let mut queue = self.lock();
        loop {
            if !queue.appended.is_empty() {
                queue.bytes = 0;
                return Some(std::mem::take(&mut queue.appended));
            }
            if queue.is_ending {
                return None;
            }
            queue = match until {
                None => {
                    let woken = self.woken.wait(queue);
                    woken.unwrap_or_else(PoisonError::into_inner)
                }
                Some(until) => {
                    let Some(left) = until.checked_duration_since(Instant::now()) else {
                        return Some(Vec::new());
                    };
                    let woken = self.woken.wait_timeout(queue, left);
                    woken.unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
    }
}

/// The thread's own.
struct Writer {
    files: Arc<dyn Files>,
    options: LogOptions,
    shared: Arc<Shared>,
    file: Box<dyn Written>,
    /// The next file, where there was room for it.
    spare: Option<Box<dyn Written>>,
    /// Where the next frame goes.
    at: u64,
    /// What frames are put together in.
    buffer: Vec<u8>,
    position: Position,
    synced: Position,
    /// When the oldest of what is written and not synced was.
    unsynced_since: Option<Instant>,
}

impl Writer {
    fn begin(
        files: Arc<dyn Files>,
        options: LogOptions,
        shared: Arc<Shared>,
    ) -> Result<Self, LogError> {
        let begun = make_spare(&*files, &options).and_then(|file| {
            let file = begin_file(&*files, &options, file, options.first)?;
            Ok((file, make_spare(&*files, &options)?))
        });
        let (file, spare) =
            begun.map_err(|error| LogError::Begin(options.directory.clone(), error))?;
        Ok(Self {
            position: options.first,
            synced: options.first,
            files,
            options,
            shared,
            file,
            spare: Some(spare),
            at: segment::HEAD_BYTES as u64,
            buffer: Vec::new(),
            unsynced_since: None,
        })
    }

    fn run(mut self, mut listener: impl Listener) {
        while let Some(appended) = self.shared.take(self.due()) {
            let done = self.write(&appended).and_then(|()| self.sync_if_due());
            if let Err(error) = done {
                return listener.failed(LogError::Write(self.options.directory, error));
            }
            if !appended.is_empty() {
                let mut shards: Vec<u32> = appended.iter().map(|append| append.shard).collect();
                shards.sort_unstable();
                shards.dedup();
                listener.reached(self.position, &shards);
            }
            self.make_room();
        }
        if let Err(error) = self.sync() {
            listener.failed(LogError::Write(self.options.directory, error));
        }
    }

    /// Writes what was appended, in as few goes as files have room for.
    fn write(&mut self, appended: &[Append]) -> io::Result<()> {
        let seal = Seal {
            store: self.options.store,
            start: self.options.start,
        };
        for append in appended {
            let bytes = (frame::HEAD_BYTES + append.content.len()) as u64;
            let end = self.at + self.buffer.len() as u64 + bytes;
            let is_first = self.at + self.buffer.len() as u64 == segment::HEAD_BYTES as u64;
            // One that is larger than a file has one for itself.
            if end > self.options.file_bytes && !is_first {
                self.write_buffer()?;
                self.next_file()?;
            }
            let head = FrameHead {
                position: self.position,
                records: append.records,
                synced: self.synced,
                shard: append.shard,
            };
            let at = self.at + self.buffer.len() as u64;
            frame::write(&head, &append.content, &seal, at, &mut self.buffer);
            self.position = head.end();
        }
        self.write_buffer()
    }

    fn write_buffer(&mut self) -> io::Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        self.file.write_at(&self.buffer, self.at)?;
        self.at += self.buffer.len() as u64;
        self.buffer.clear();
        self.unsynced_since.get_or_insert_with(Instant::now);
        Ok(())
    }

    /// Ends the file that is written, and goes on in the next.
    fn next_file(&mut self) -> io::Result<()> {
        // A later file proves that all of this one was synced.
        self.sync()?;
        let spare = match self.spare.take() {
            Some(spare) => spare,
            None => make_spare(&*self.files, &self.options)?,
        };
        self.file = begin_file(&*self.files, &self.options, spare, self.position)?;
        self.at = segment::HEAD_BYTES as u64;
        Ok(())
    }

    /// Makes the next file where it is not there yet, and says whether there was room.
    fn make_room(&mut self) {
        if self.spare.is_none() {
            self.spare = make_spare(&*self.files, &self.options).ok();
        }
        let is_full = self.spare.is_none();
        self.shared.is_full.store(is_full, Ordering::Release);
    }

    /// When what was written is to be synced.
    fn due(&self) -> Option<Instant> {
        match self.options.sync {
            Sync::Always => None,
            Sync::Within(interval) => self.unsynced_since.map(|since| since + interval),
        }
    }

    fn sync_if_due(&mut self) -> io::Result<()> {
        let is_due = self.due().is_none_or(|due| Instant::now() >= due);
        match self.unsynced_since {
            Some(_) if is_due => self.sync(),
            _ => Ok(()),
        }
    }

    fn sync(&mut self) -> io::Result<()> {
        if self.unsynced_since.take().is_some() {
            self.file.sync()?;
            self.synced = self.position;
            self.shared.synced.store(self.synced.0, Ordering::Release);
        }
        Ok(())
    }
}

fn spare_path(options: &LogOptions) -> PathBuf {
    options.directory.join("next")
}

/// Makes a file with all its room.
fn make_spare(files: &dyn Files, options: &LogOptions) -> io::Result<Box<dyn Written>> {
    let path = spare_path(options);
    match files.create(&path, options.file_bytes) {
        // What a process has left that ended is made anew: its room may be another.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            files.remove(&path)?;
            files.create(&path, options.file_bytes)
        }
        made => made,
    }
}

/// Gives the spare file its head and its name.
fn begin_file(
    files: &dyn Files,
    options: &LogOptions,
    mut file: Box<dyn Written>,
    first: Position,
) -> io::Result<Box<dyn Written>> {
    let start = options.start;
    let head = SegmentHead { start, first };
    file.write_at(&head.write(&options.store), 0)?;
    file.sync()?;
    let path = segment::path(&options.directory, first);
    files.rename(&spare_path(options), &path)?;
    files.sync_directory(&options.directory)?;
    Ok(file)
}
