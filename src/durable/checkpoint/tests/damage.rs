//! Whatever is not as it was written is refused, by name.

use super::super::contents::Contents;
use super::super::load::Loaded;
use super::super::*;
use super::world::{World, key, place};
use crate::durable::simulated::{Loss, SimulatedFiles};
use crate::model::ContentTypes;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::path::Path;

fn world() -> World {
    let mut world = World::new(SimulatedFiles::default());
    for round in 0..2 {
        for number in 0..100 {
            world.set(&format!("a:{number}:{round}"), number % 24);
        }
        world.delete_all(|at| at % 9 == 1);
        world.map.freeze();
        world.finish_jobs();
    }
    (0..30).for_each(|number| world.set(&format!("c:{number}"), number));
    let names: Vec<String> = world.model.keys().step_by(20).take(3).cloned().collect();
    world.delete(&names[0]);
    world.begin().unwrap();
    // While values are copied one is set and one removed.
    world.set(&names[1], 7);
    world.delete(&names[2]);
    // Its slot is given to another key.
    (0..2).for_each(|number| world.set(&format!("d:{number}"), 2));
    world.commit().unwrap();
    world
}

fn paths(world: &World) -> Vec<PathBuf> {
    let directory = world.place.directory();
    let names = world.disk.list(&directory).unwrap();
    names.iter().map(|name| directory.join(name)).collect()
}

fn loaded(disk: &SimulatedFiles) -> Result<Option<Loaded>, RecoveryError> {
    load(&place(disk), &ContentTypes::default())
}

fn is_refused(disk: &SimulatedFiles, path: &Path, what: &str) {
    match loaded(disk) {
        Err(RecoveryError::Damaged { file, .. }) => assert_eq!(file, path, "{what}"),
        other => panic!("{what}: {other:?}"),
    }
}

#[test]
fn a_byte_that_differs_is_found_wherever_it_is() {
    let world = world();
    let disk = &world.disk;
    for path in paths(&world) {
        let len = disk.len(&path).unwrap() as usize;
        // All of heads and ends, and some of what is between.
        let step = (len / 300).max(7);
        let places = (0..len).filter(|at| *at < 120 || at % step == 0 || at + 10 > len);
        for at in places {
            disk.damage(&path, at);
            is_refused(disk, &path, &format!("{path:?} at {at} of {len}"));
            disk.damage(&path, at);
        }
        for cut in [0, 1, 23, 24, len / 2, len - 1] {
            let copy = disk.after_crash(Loss::None);
            copy.cut(&path, cut as u64).unwrap();
            is_refused(&copy, &path, &format!("{path:?} cut at {cut}"));
        }
    }
    world.recovered(disk).unwrap().check("whole again");
}

#[test]
fn a_file_that_is_missing_is_named() {
    let world = world();
    for path in paths(&world) {
        let copy = world.disk.after_crash(Loss::None);
        copy.remove(&path).unwrap();
        match loaded(&copy) {
            Ok(None) => assert!(path.ends_with(CHECKPOINT)),
            Err(RecoveryError::MissingFile(file)) => assert_eq!(file, path),
            other => panic!("{path:?}: {other:?}"),
        }
    }
}

#[test]
fn what_is_another_stores_or_shards_is_refused() {
    let world = world();
    let ours = &world.place;
    let others = [
        ShardFiles {
            store: [8; 16],
            ..ours.clone()
        },
        ShardFiles {
            seed: 1,
            ..ours.clone()
        },
    ];
    for other in others {
        let found = load(&other, &ContentTypes::default());
        assert!(
            matches!(found, Err(RecoveryError::Damaged { .. })),
            "{found:?}"
        );
    }
    // One segment or range in the place of another.
    let paths = paths(&world);
    for path in &paths {
        for other in paths.iter().filter(|other| *other != path) {
            let copy = world.disk.after_crash(Loss::None);
            let bytes = copy.read(other).unwrap();
            copy.remove(path).unwrap();
            let mut file = copy.create(path, bytes.len() as u64).unwrap();
            file.write_at(&bytes, 0).unwrap();
            is_refused(&copy, path, &format!("{other:?} as {path:?}"));
        }
    }
}

#[test]
fn what_is_whole_is_saved() {
    let world = world();
    let types = ContentTypes::default();
    let saved = |disk: &SimulatedFiles| {
        let mut saved = BTreeMap::new();
        let survey = salvage(&place(disk), &types, |key, value| {
            saved.insert(key.as_str().to_owned(), value);
        });
        (saved, survey.unwrap().unwrap())
    };
    let (all, survey) = saved(&world.disk);
    assert_eq!(
        survey.keys as usize,
        all.len() + 2,
        "one was set since, and one removed"
    );
    assert_eq!(
        survey.changed_since, 2,
        "and its slot holds another key's value"
    );
    assert!(survey.files.iter().all(|file| file.damage.is_none()));
    for (name, value) in &all {
        assert_eq!(world.map.get(&key(name)).as_ref(), Some(value));
    }
    for file in &survey.files {
        let damaged = world.disk.after_crash(Loss::None);
        damaged.damage(&file.path, file.bytes as usize / 2);
        let (some, survey) = saved(&damaged);
        assert!(
            !some.is_empty() && some.len() < all.len(),
            "{} of {}",
            some.len(),
            all.len()
        );
        assert!(some.iter().all(|(name, value)| all[name] == *value));
        let found = survey.files.iter().filter(|file| file.damage.is_some());
        assert!(found.map(|file| &file.path).eq([&file.path]));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]
    #[test]
    fn whatever_a_checkpoint_says_under_a_right_checksum_is_refused_or_answers(
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        cut in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let world = world();
        let place = &world.place;
        let path = place.checkpoint();
        let mut bytes = world.disk.read(&path).unwrap();
        let end = bytes.len() - 8;
        bytes.truncate(cut.map_or(end, |cut| cut.index(end)).max(1));
        for (at, byte) in edits {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        let sum = super::super::contents::sum(&bytes, place);
        bytes.extend_from_slice(&sum.to_le_bytes());
        let _ = Contents::read(&bytes, place);
        world.disk.remove(&path).unwrap();
        let mut file = world.disk.create(&path, bytes.len() as u64).unwrap();
        file.write_at(&bytes, 0).unwrap();
        if let Ok(Some(loaded)) = loaded(&world.disk) {
            let mut map = loaded.map;
            map.settle();
            let _ = map.page(&crate::model::Filter::default(), b"", 100);
        }
    }
}
