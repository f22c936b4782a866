//! The room that the log has on the disk: the file that comes next, and what else is to be left free.

use super::listener::{Listener, LogRoom};
use super::options::LogOptions;
use super::queue::Shared;
use crate::durable::kept::KeptFiles;
use crate::durable::segment::{self, SegmentHead};
use crate::durable::{Files, LogFiles, Position, Written};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// How often room is looked for while there is none.
const ROOM_POLL: Duration = Duration::from_millis(100);

/// How often it is looked for whether there still is some.
const ROOM_LOOK: Duration = Duration::from_secs(1);

/// What there is of the disk besides the file that is written.
pub(super) struct DiskRoom {
    files: Arc<dyn Files>,
    options: LogOptions,
    shared: Arc<Shared>,
    /// The next file, where there was room for it.
    spare: Option<Box<dyn Written>>,
    /// When room was looked for last.
    looked: Instant,
    /// What goes before there is no room.
    kept: Arc<KeptFiles>,
}

impl DiskRoom {
    /// Begins the first file, and makes the next.
    ///
    /// # Errors
    /// Where there is no room for both.
    pub(super) fn begin(
        options: &LogOptions,
        shared: Arc<Shared>,
        (read, kept): (&LogFiles, Arc<KeptFiles>),
    ) -> io::Result<(Self, Box<dyn Written>)> {
        let files = read.files.clone();
        let file = make_spare(&*files, options, &kept)?;
        let file = begin_file(&*files, options, file, options.first)?;
        let spare = make_spare(&*files, options, &kept)?;
        let room = Self {
            files,
            options: options.clone(),
            shared,
            spare: Some(spare),
            looked: Instant::now(),
            kept,
        };
        Ok((room, file))
    }

    /// Begins the next file. Waits for room where there is none.
    ///
    /// # Errors
    /// As the system has them.
    pub(super) fn next_file(
        &mut self,
        first: Position,
        listener: &mut impl Listener,
    ) -> io::Result<Box<dyn Written>> {
        let spare = match self.spare.take() {
            Some(spare) => spare,
            None => self.wait_for_file(listener)?,
        };
        begin_file(&*self.files, &self.options, spare, first)
    }

    /// Makes the next file where it is not there yet, and looks whether there is room for what else the
    /// disk is needed for. The file is written up to `at`.
    pub(super) fn make(&mut self, at: u64, listener: &mut impl Listener) {
        self.looked = Instant::now();
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
        let room = match self.spare {
            Some(_) if !is_reserved => LogRoom::Open,
            Some(_) => LogRoom::Reserved,
            // What is on its way from those who have not seen it yet has room.
            None if at < self.options.file_bytes / 2 => LogRoom::Reserved,
            None => LogRoom::Full,
        };
        self.set(room, listener);
    }

    /// Looks again, where it is time to.
    pub(super) fn look(&mut self, at: u64, listener: &mut impl Listener) {
        let age = match self.shared.room() {
            LogRoom::Open | LogRoom::Busy => ROOM_LOOK,
            LogRoom::Reserved | LogRoom::Full => ROOM_POLL,
        };
        if self.spare.is_none() || self.looked.elapsed() >= age {
            self.make(at, listener);
        }
    }

    /// When to look again though nothing was appended.
    pub(super) fn look_at(&self) -> Option<Instant> {
        match self.shared.room() {
            LogRoom::Open | LogRoom::Busy => None,
            LogRoom::Reserved | LogRoom::Full => Some(self.looked + ROOM_POLL),
        }
    }

    fn wait_for_file(&self, listener: &mut impl Listener) -> io::Result<Box<dyn Written>> {
        loop {
            match make_spare(&*self.files, &self.options, &self.kept) {
                Err(error) if is_full(&error) && self.shared.pause(ROOM_POLL) => {
                    self.set(LogRoom::Full, listener);
                }
                made => return made,
            }
        }
    }

    fn set(&self, room: LogRoom, listener: &mut impl Listener) {
        if self.shared.room() != room {
            self.shared.set_room(room);
            listener.room(room);
        }
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
