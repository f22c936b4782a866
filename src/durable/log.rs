//! The log as it is written: by one thread, for all shards, in one order.
//!
//! Whoever appends gets the position after its records at once, and is told of it by the listener once
//! the log is on disk up to there. The thread takes all that has gathered, writes it in one go and syncs
//! it (group commit), so that what a sync costs is shared by all who wait for it.
//!
//! The next file is made, with all its room, while the one before is written: so a full disk shows before
//! a record has no place, and [`Log::room`] says so while there is still room for what waits. Where all the
//! same no file can be had for what waits, it waits until one can; nothing is lost, and nobody is told.

use super::frame::{self, FrameHead, Seal};
use super::index::LogIndex;
use super::kept::KeptFiles;
use super::segment::{self, SegmentHead};
use super::{Files, LogFiles, Position, Written};
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// Whose the mark of a clean stop is.
const NO_SHARD: u32 = u32::MAX;

/// After so many records were written together it is waited for as long as their sync took, and this at the
/// most, so that more come together: those whose askers have just been answered. It saves syncs and wakes, of
/// which each takes as much of a processor as some changes. Fewer records than that never wait.
const GATHERED_MIN: u64 = 8;
const GATHERING_MAX: Duration = Duration::from_micros(500);

/// So much ahead of small writes the file is filled with zeros, in bytes: the first write to a block that
/// is only set aside costs the file system an entry in its journal, and so each sync as much again.
const ZEROED: u64 = 256 * 1024;

/// Writes of so many bytes cost more than that entry.
const LARGE_WRITE: u64 = 64 * 1024;

/// How often room is looked for while there is none.
const ROOM_POLL: Duration = Duration::from_millis(100);

/// How often it is looked for whether there still is some.
const ROOM_LOOK: Duration = Duration::from_secs(1);

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
    /// All before this position checkpoints have.
    pub needed: Position,
    /// How long the files may be together that only hold what is before that, in bytes.
    pub kept_bytes_max: u64,
    /// How large a file is, in bytes.
    pub file_bytes: u64,
    /// From so many bytes on that wait to be written the log is busy; a quarter of a file at the most.
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

/// Whether more should be appended. Whoever appends all the same is not refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum LogRoom {
    /// Whatever there is.
    Open,
    /// Not before some of what waits was written.
    Busy,
    /// Only what gives room back: what is free on the disk is needed for checkpoints.
    Reserved,
    /// Nothing: no file can be made after the one that is written.
    Full,
}

/// What a log has done since it was begun.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogCounts {
    /// Bytes that were written.
    pub bytes: u64,
    /// Records that were appended.
    pub records: u64,
    /// Records that were appended and not told of yet.
    pub waiting: u64,
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

    /// What was told of, in order: all up to a position, and all since this was called last.
    fn passed(&mut self, end: Position, appended: Vec<Append>);

    /// A sync took so long.
    fn synced(&mut self, took: Duration);

    /// The disk has room for another file again, or has none any more.
    fn room(&mut self, room: LogRoom);

    /// The log goes on no more, and nobody knows what of the last records is on disk. The process must
    /// end: what is in memory may be more than what a restart finds.
    fn failed(&mut self, error: LogError);
}

/// The log, for those who append. It ends with the last handle, when all that waits was written.
#[derive(Debug)]
pub struct Log {
    shared: Arc<Shared>,
    files: LogFiles,
    kept: Arc<KeptFiles>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Debug)]
struct Shared {
    queue: Mutex<Queue>,
    /// Something waits, or the log is to end.
    woken: Condvar,
    /// Up to where the log is on disk.
    synced: AtomicU64,
    /// Up to where it was told of.
    reached: AtomicU64,
    /// The position after what waits, and its bytes: as in the queue, without its lock.
    end: AtomicU64,
    waiting_bytes: AtomicUsize,
    /// What the disk has room for, as a [`LogRoom`].
    room: AtomicU8,
    /// What is to be left free on the disk, in bytes, besides two files.
    reserved_bytes: AtomicU64,
    written_bytes: AtomicU64,
    first: Position,
    waiting_bytes_max: usize,
}

#[derive(Debug)]
struct Queue {
    appended: Vec<Append>,
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
                end: options.first,
                is_ending: false,
            }),
            woken: Condvar::new(),
            synced: AtomicU64::new(options.first.0),
            reached: AtomicU64::new(options.first.0),
            end: AtomicU64::new(options.first.0),
            waiting_bytes: AtomicUsize::new(0),
            room: AtomicU8::new(LogRoom::Open as u8),
            reserved_bytes: AtomicU64::new(0),
            written_bytes: AtomicU64::new(0),
            first: options.first,
            waiting_bytes_max: options.waiting_bytes_max,
        });
        let LogOptions {
            directory,
            store,
            needed,
            kept_bytes_max,
            ..
        } = options.clone();
        let read = LogFiles::new(files.clone(), directory.clone(), store);
        let kept = KeptFiles::new(files, directory, kept_bytes_max, needed);
        let kept = Arc::new(kept);
        let writer = Writer::begin(options, shared.clone(), (&read, kept.clone()), listener)?;
        let thread = thread::Builder::new()
            .name("kvstore-log".into())
            .spawn(move || writer.run())
            .map_err(LogError::Thread)?;
        Ok(Self {
            shared,
            files: read,
            kept,
            thread: Mutex::new(Some(thread)),
        })
    }

    /// Its files, to be read while they are written.
    pub fn files(&self) -> &LogFiles {
        &self.files
    }

    /// Removes files all of whose records are before a position, which checkpoints have: the oldest, until the others
    /// are no longer than was set.
    ///
    /// # Errors
    /// As the system has them. What was removed until then is of no use to anybody.
    pub fn trim(&self, needed: Position) -> io::Result<()> {
        self.kept.trim(needed)
    }

    /// Removes the oldest of the files that are kept though no checkpoint needs them, until so many bytes are free.
    ///
    /// # Errors
    /// As the system has them.
    pub fn give_way(&self, free_bytes: u64) -> io::Result<()> {
        self.kept.give_way(free_bytes)
    }

    /// How long the files are together that are kept though no checkpoint needs them, in bytes.
    pub fn kept_bytes(&self) -> u64 {
        self.kept.bytes()
    }

    /// Adds records to the end, and returns the position after them. They are written in the order of
    /// these calls.
    pub fn append(&self, append: Append) -> Position {
        let bytes = frame::HEAD_BYTES + append.content.len();
        let mut queue = self.shared.lock();
        queue.end.0 += u64::from(append.records);
        queue.appended.push(append);
        self.shared.end.store(queue.end.0, Ordering::Release);
        self.shared
            .waiting_bytes
            .fetch_add(bytes, Ordering::Relaxed);
        self.shared.woken.notify_one();
        queue.end
    }

    /// The position after the last record that was appended.
    pub fn end(&self) -> Position {
        Position(self.shared.end.load(Ordering::Acquire))
    }

    /// Up to where the log is on disk.
    pub fn synced(&self) -> Position {
        Position(self.shared.synced.load(Ordering::Acquire))
    }

    /// Whether more should be appended.
    pub fn room(&self) -> LogRoom {
        let waiting = self.shared.waiting_bytes.load(Ordering::Relaxed);
        match self.shared.room() {
            LogRoom::Open | LogRoom::Busy if waiting > self.shared.waiting_bytes_max => {
                LogRoom::Busy
            }
            room => room,
        }
    }

    /// Has so many bytes be left free on the disk, besides two files.
    pub fn reserve(&self, bytes: u64) {
        self.shared.reserved_bytes.store(bytes, Ordering::Relaxed);
    }

    /// What was done since the log was begun.
    pub fn counts(&self) -> LogCounts {
        let end = self.end().0;
        LogCounts {
            bytes: self.shared.written_bytes.load(Ordering::Relaxed),
            records: end - self.shared.first.0,
            waiting: end.saturating_sub(self.shared.reached.load(Ordering::Relaxed)),
        }
    }

    /// Ends the log: what waits is written and synced, and then the mark of a clean stop. What is appended
    /// later is not written.
    pub fn close(&self) {
        self.shared.lock().is_ending = true;
        self.shared.woken.notify_one();
        let mut thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(thread) = thread.take() {
            // A panic there was told of by its hook.
            let _ = thread.join();
        }
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        self.close();
    }
}

impl Shared {
    fn lock(&self) -> std::sync::MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn room(&self) -> LogRoom {
        let room = self.room.load(Ordering::Relaxed);
        let rooms = [
            LogRoom::Open,
            LogRoom::Busy,
            LogRoom::Reserved,
            LogRoom::Full,
        ];
        let room = rooms.into_iter().find(|one| *one as u8 == room);
        room.expect("only rooms are stored")
    }

    /// Waits until something is to be written, the log is to end (`None`), or a moment has come (nothing).
    fn take(&self, until: Option<Instant>) -> Option<Vec<Append>> {
        let mut queue = self.lock();
        loop {
            if !queue.appended.is_empty() {
                self.waiting_bytes.store(0, Ordering::Relaxed);
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

    /// Waits for a while, and says whether the log is to go on.
    fn pause(&self) -> bool {
        let queue = self.lock();
        let woken = self
            .woken
            .wait_timeout_while(queue, ROOM_POLL, |queue| !queue.is_ending);
        !woken.unwrap_or_else(PoisonError::into_inner).0.is_ending
    }
}

/// The thread's own.
struct Writer<L> {
    files: Arc<dyn Files>,
    options: LogOptions,
    shared: Arc<Shared>,
    listener: L,
    file: Box<dyn Written>,
    /// The next file, where there was room for it.
    spare: Option<Box<dyn Written>>,
    /// Where the next frame goes.
    at: u64,
    /// What frames are put together in.
    buffer: Vec<u8>,
    position: Position,
    synced: Position,
    /// Whose records are written and were not told of.
    shards: Vec<u32>,
    /// These records, for who takes them behind the log.
    passing: Vec<Append>,
    /// When the oldest of what is written and not synced was.
    unsynced_since: Option<Instant>,
    looked_for_room: Instant,
    /// Up to where the file was written, be it with zeros.
    zeroed: u64,
    /// How long the last sync took.
    sync_took: Duration,
    /// What goes before there is no room.
    kept: Arc<KeptFiles>,
    /// Where who reads the file may begin; the file, by its first position, and up to where that was noted.
    index: Arc<LogIndex>,
    first: Position,
    noted: u64,
}

impl<L: Listener> Writer<L> {
    fn begin(
        options: LogOptions,
        shared: Arc<Shared>,
        (read, kept): (&LogFiles, Arc<KeptFiles>),
        listener: L,
    ) -> Result<Self, LogError> {
        let files = read.files.clone();
        let begun = make_spare(&*files, &options, &kept).and_then(|file| {
            let file = begin_file(&*files, &options, file, options.first)?;
            Ok((file, make_spare(&*files, &options, &kept)?))
        });
        let (file, spare) =
            begun.map_err(|error| LogError::Begin(options.directory.clone(), error))?;
        Ok(Self {
            position: options.first,
            synced: options.first,
            files,
            shared,
            listener,
            file,
            spare: Some(spare),
            at: segment::HEAD_BYTES as u64,
            buffer: Vec::new(),
            shards: Vec::new(),
            passing: Vec::new(),
            unsynced_since: None,
            looked_for_room: Instant::now(),
            zeroed: segment::HEAD_BYTES as u64,
            sync_took: Duration::ZERO,
            kept,
            index: read.index.clone(),
            first: options.first,
            noted: segment::HEAD_BYTES as u64,
            options,
        })
    }

    fn run(mut self) {
        while let Some(appended) = self.shared.take(self.wake_at()) {
            let begun = self.position;
            let done = self.write(appended).and_then(|()| self.sync_if_due());
            if let Err(error) = done {
                let error = LogError::Write(self.options.directory, error);
                return self.listener.failed(error);
            }
            // Before: who hears that a write is done knows what room is left.
            self.look_for_room();
            self.tell();
            if self.position.0 - begun.0 >= GATHERED_MIN {
                thread::sleep(self.sync_took.min(GATHERING_MAX));
            }
        }
        if let Err(error) = self.end() {
            let error = LogError::Write(self.options.directory, error);
            self.listener.failed(error);
        }
    }

    /// Tells of what was written, and synced where it was to be.
    fn tell(&mut self) {
        if self.shards.is_empty() {
            return;
        }
        // Before answers, so that who has one and looks finds the change.
        let passing = std::mem::take(&mut self.passing);
        self.listener.passed(self.position, passing);
        self.shared
            .reached
            .store(self.position.0, Ordering::Relaxed);
        self.shards.sort_unstable();
        self.shards.dedup();
        self.listener.reached(self.position, &self.shards);
        self.shards.clear();
    }

    /// Writes what was appended, in as few goes as files have room for.
    fn write(&mut self, appended: Vec<Append>) -> io::Result<()> {
        for append in appended {
            let bytes = (frame::HEAD_BYTES + append.content.len()) as u64;
            let end = self.at + self.buffer.len() as u64 + bytes;
            let is_first = self.at + self.buffer.len() as u64 == segment::HEAD_BYTES as u64;
            // One that is larger than a file has one for itself.
            if end > self.options.file_bytes && !is_first {
                self.write_buffer()?;
                self.next_file()?;
            }
            self.put(append.shard, append.records, &append.content);
            self.shards.push(append.shard);
            self.passing.push(append);
        }
        self.write_buffer()
    }

    /// Adds a frame to the buffer.
    fn put(&mut self, shard: u32, records: u32, content: &[u8]) {
        let seal = Seal {
            store: self.options.store,
            start: self.options.start,
        };
        let head = FrameHead {
            position: self.position,
            records,
            synced: self.synced,
            shard,
        };
        let at = self.at + self.buffer.len() as u64;
        let place = (self.position, at);
        self.index.note(self.first, place, &mut self.noted);
        frame::write(&head, content, &seal, at, &mut self.buffer);
        self.position = head.end();
    }

    fn write_buffer(&mut self) -> io::Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let bytes = self.buffer.len() as u64;
        let end = self.at + bytes;
        if bytes < LARGE_WRITE && end > self.zeroed {
            let zeroed = (end + ZEROED).min(self.options.file_bytes);
            let zeros = zeroed.saturating_sub(end) as usize;
            self.buffer.resize(self.buffer.len() + zeros, 0);
        }
        self.file.write_at(&self.buffer, self.at)?;
        self.zeroed = self.zeroed.max(self.at + self.buffer.len() as u64);
        self.at = end;
        self.shared
            .written_bytes
            .fetch_add(bytes, Ordering::Relaxed);
        self.buffer.clear();
        self.unsynced_since.get_or_insert_with(Instant::now);
        Ok(())
    }

    /// Ends the file that is written, and goes on in the next. Waits for room where there is none.
    fn next_file(&mut self) -> io::Result<()> {
        // A later file proves that all of this one was synced.
        self.sync()?;
        self.tell();
        let spare = match self.spare.take() {
            Some(spare) => spare,
            None => self.wait_for_file()?,
        };
        self.file = begin_file(&*self.files, &self.options, spare, self.position)?;
        self.first = self.position;
        self.at = segment::HEAD_BYTES as u64;
        self.zeroed = self.at;
        self.noted = self.at;
        self.make_room();
        Ok(())
    }

    fn wait_for_file(&mut self) -> io::Result<Box<dyn Written>> {
        loop {
            match make_spare(&*self.files, &self.options, &self.kept) {
                Err(error) if is_full(&error) && self.shared.pause() => {
                    self.set_room(LogRoom::Full);
                }
                made => return made,
            }
        }
    }

    /// Makes the next file where it is not there yet, and looks whether there is room for what else the
    /// disk is needed for.
    fn make_room(&mut self) {
        self.looked_for_room = Instant::now();
        if self.spare.is_none() {
            self.spare = make_spare(&*self.files, &self.options, &self.kept).ok();
        }
        let reserved = self.shared.reserved_bytes.load(Ordering::Relaxed);
        let needed = reserved + self.options.file_bytes;
        // What cannot be removed shows by what is free.
        let _ = self.kept.give_way(needed);
        // Where that cannot be known, it shows when the next file is made.
        let free = self.files.free_bytes(&self.options.directory);
        let is_reserved = free.is_ok_and(|free| free < needed);
        self.set_room(match self.spare {
            Some(_) if !is_reserved => LogRoom::Open,
            Some(_) => LogRoom::Reserved,
            // What is on its way from those who have not seen it yet has room.
            None if self.at < self.options.file_bytes / 2 => LogRoom::Reserved,
            None => LogRoom::Full,
        });
    }

    fn look_for_room(&mut self) {
        let age = match self.shared.room() {
            LogRoom::Open | LogRoom::Busy => ROOM_LOOK,
            LogRoom::Reserved | LogRoom::Full => ROOM_POLL,
        };
        if self.spare.is_none() || self.looked_for_room.elapsed() >= age {
            self.make_room();
        }
    }

    fn set_room(&mut self, room: LogRoom) {
        if self.shared.room() != room {
            self.shared.room.store(room as u8, Ordering::Relaxed);
            self.listener.room(room);
        }
    }

    /// When there is something to do though nothing was appended.
    fn wake_at(&self) -> Option<Instant> {
        let room = match self.shared.room() {
            LogRoom::Open | LogRoom::Busy => None,
            LogRoom::Reserved | LogRoom::Full => Some(self.looked_for_room + ROOM_POLL),
        };
        self.due().into_iter().chain(room).min()
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
            let begun = Instant::now();
            self.file.sync()?;
            self.sync_took = begun.elapsed();
            self.listener.synced(self.sync_took);
            self.synced = self.position;
            self.shared.synced.store(self.synced.0, Ordering::Release);
        }
        Ok(())
    }

    /// Syncs what was written, and marks that it was: a frame without records, which says that all before
    /// it was synced.
    fn end(&mut self) -> io::Result<()> {
        self.sync()?;
        self.tell();
        self.put(NO_SHARD, 0, &[]);
        self.write_buffer()?;
        self.sync()
    }
}

/// Whether there is no room on the disk, or not for us.
fn is_full(error: &io::Error) -> bool {
    use io::ErrorKind::{QuotaExceeded, StorageFull};
    matches!(error.kind(), StorageFull | QuotaExceeded)
}

fn spare_path(options: &LogOptions) -> PathBuf {
    options.directory.join("next")
}

/// Makes a file with all its room, if need be in the place of what is kept.
fn make_spare(
    files: &dyn Files,
    options: &LogOptions,
    kept: &KeptFiles,
) -> io::Result<Box<dyn Written>> {
    loop {
        match create_spare(files, options) {
            // What cannot be removed leaves the disk as full as it is.
            Err(error) if is_full(&error) && kept.remove_oldest().unwrap_or(false) => {}
            made => return made,
        }
    }
}

fn create_spare(files: &dyn Files, options: &LogOptions) -> io::Result<Box<dyn Written>> {
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
    match segment::note_newest(files, &options.directory, &head, &options.store) {
        // A file before it is the newest that is known of then, as after a crash here.
        Err(error) if !is_full(&error) => Err(error),
        Ok(()) | Err(_) => Ok(file),
    }
}
