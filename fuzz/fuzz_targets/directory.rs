//! A data directory whose files are changed at will: it is refused, or holds all that was acknowledged; never
//! a panic.

#![no_main]

use arbitrary::Arbitrary;
use kvstore::durable::{
    Append, CheckpointWriter, Directory, Listener, Log, LogError, LogOptions, LogRoom, Moment,
    Position, Progress, Purpose, Sync, SystemFiles, write_set,
};
use kvstore::keymap::KeyMap;
use kvstore::model::{ContentType, ContentTypes, Deadline, Key, Revision, Value};
use libfuzzer_sys::fuzz_target;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

#[derive(Arbitrary, Debug)]
struct Change {
    file: u8,
    at: u16,
    kind: Kind,
}

#[derive(Arbitrary, Debug)]
enum Kind {
    Flip(u8),
    Cut,
    Insert(Vec<u8>),
    Remove,
}

const KEYS: u64 = 300;

struct Deaf;

impl Listener for Deaf {
    fn reached(&mut self, _: Position, _: &[u32]) {}
    fn passed(&mut self, _: Position, _: Vec<Append>) {}
    fn synced(&mut self, _: Duration) {}
    fn room(&mut self, _: LogRoom) {}
    fn failed(&mut self, error: LogError) {
        panic!("{error}");
    }
}

fn key(number: u64) -> Key {
    Key::parse(format!("key {number}").into(), 100).unwrap()
}

fn value(number: u64) -> Value {
    Value {
        content_type: ContentType::JSON,
        body: vec![b'1'; number as usize].into(),
        revision: Revision(number),
        expires_at: number
            .is_multiple_of(3)
            .then(|| Deadline::from_millis(number)),
    }
}

fn open(path: &Path) -> Option<Directory> {
    let serve = Purpose::Serve {
        shards: 1,
        asked: false,
    };
    Directory::open(Arc::new(SystemFiles), path, serve).ok()
}

/// Files and what was in them.
type Files = Vec<(PathBuf, Vec<u8>)>;

/// Makes a directory with a checkpoint of some keys, and others in a log that was ended.
fn make() -> (PathBuf, Files) {
    let path = std::env::temp_dir().join(format!("kvstore-fuzz-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&path);
    let directory = open(&path).unwrap();
    let types = ContentTypes::default();
    let loaded = directory.load(&types, &Progress::default()).unwrap();
    let log = Log::begin(
        directory.files(),
        LogOptions {
            directory: directory.log_path(),
            store: directory.layout().store,
            start: loaded.start,
            first: loaded.end,
            needed: loaded.end,
            kept_bytes_max: 0,
            file_bytes: 32 * 1024,
            waiting_bytes_max: 8 * 1024,
            sync: Sync::Always,
        },
        Deaf,
    );
    let log = log.unwrap();
    let mut map = KeyMap::with_seed(directory.layout().seed);
    for number in 0..KEYS {
        let mut content = Vec::new();
        write_set(&key(number), &value(number), &mut content);
        log.append(Append {
            shard: 0,
            records: 1,
            content,
        });
        if number < KEYS / 2 {
            map.set(&key(number), value(number));
        }
        if number + 1 == KEYS / 2 {
            let moment = Moment {
                position: log.end(),
                revision: Revision(number),
            };
            let image = map.image().unwrap();
            let place = directory.shard_files(0);
            let mut writer =
                CheckpointWriter::begin(&place, &Default::default(), image, moment).unwrap();
            let wanted: Vec<_> = writer.wanted().collect();
            for mut slots in wanted {
                while slots.start < slots.end {
                    let values = map.copy_values(slots.clone());
                    slots.start = values.slots().end;
                    writer.values(&values).unwrap();
                }
            }
            let prepared = writer.prepare().unwrap();
            while log.synced() < log.end() {
                std::thread::yield_now();
            }
            prepared.commit().unwrap();
        }
    }
    log.close();
    let mut files = Vec::new();
    for folder in [path.clone(), path.join("log"), path.join("shard-0")] {
        for entry in std::fs::read_dir(folder).unwrap() {
            let file = entry.unwrap().path();
            let name = file.file_name().unwrap();
            if file.is_file() && name != "lock" && name != "next" {
                files.push((file.clone(), std::fs::read(&file).unwrap()));
            }
        }
    }
    files.sort();
    (path, files)
}

static WHOLE: LazyLock<(PathBuf, Files)> = LazyLock::new(make);

fuzz_target!(|changes: Vec<Change>| {
    let (path, files) = &*WHOLE;
    for (file, bytes) in files {
        std::fs::write(file, bytes).unwrap();
    }
    let last_log = files
        .iter()
        .rev()
        .find(|(file, _)| file.extension().is_some_and(|kind| kind == "log"));
    let last_log = &last_log.unwrap().0;
    let mut is_last_touched = false;
    for Change { file, at, kind } in &changes {
        let (file, _) = &files[usize::from(*file) % files.len()];
        let Ok(mut bytes) = std::fs::read(file) else {
            continue;
        };
        is_last_touched |= file == last_log;
        let at = usize::from(*at) % bytes.len().max(1);
        match kind {
            Kind::Flip(bits) if at < bytes.len() => bytes[at] ^= bits,
            Kind::Flip(_) => {}
            Kind::Cut => bytes.truncate(at),
            Kind::Insert(more) => drop(bytes.splice(at..at, more.iter().copied())),
            Kind::Remove => {
                std::fs::remove_file(file).unwrap();
                continue;
            }
        }
        std::fs::write(file, bytes).unwrap();
    }
    let Some(directory) = open(path) else { return };
    let types = ContentTypes::default();
    // Read only: a check must bear whatever there is.
    let _ = directory.inspect(&types);
    let Ok(loaded) = directory.load(&types, &Progress::default()) else {
        return;
    };
    let map = &loaded.shards[0].map;
    // The end of the last file of the log is all that nothing behind it proves, once its mark is gone; and a
    // directory without any file is a new one.
    let is_new = files
        .iter()
        .all(|(file, _)| !file.exists() || file.ends_with("layout"));
    if !is_last_touched && !is_new {
        assert_eq!(map.len() as u64, KEYS);
    }
    for number in 0..KEYS {
        if let Some(found) = map.get(&key(number)) {
            assert_eq!(found, value(number));
        }
    }
});
