//! Checkpoints against a naive model: copied while the map goes on changing, cut short at every operation,
//! and damaged at every byte.

mod crashes;
mod damage;
mod world;

use super::*;
use crate::durable::SystemFiles;
use crate::durable::simulated::SimulatedFiles;
use crate::model::ContentTypes;
use proptest::prelude::*;
use world::World;

#[derive(Clone, Debug)]
enum Step {
    Set(String, usize),
    Delete(String),
    DeleteHalf,
    Clear,
    Freeze,
    Start,
    Run(usize),
    Finish(usize),
    Compact,
    Begin,
    Copy,
    Commit,
    Abandon,
    Restart,
}

fn name() -> impl Strategy<Value = String> {
    prop_oneof![
        6 => (0_u32..300).prop_map(|number| format!("a:{number}:x")),
        2 => (0_u32..90).prop_map(|number| format!("b:{number}")),
        1 => prop::collection::vec(prop::sample::select(vec!["é", "\u{0}", "\u{10ffff}", ":x"]), 1..4)
            .prop_map(|parts| parts.concat()),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        40 => (name(), 0_usize..24).prop_map(|(name, kind)| Step::Set(name, kind)),
        14 => name().prop_map(Step::Delete),
        1 => Just(Step::DeleteHalf),
        1 => Just(Step::Clear),
        2 => Just(Step::Freeze),
        4 => Just(Step::Start),
        4 => (0_usize..9).prop_map(Step::Run),
        4 => (0_usize..9).prop_map(Step::Finish),
        2 => Just(Step::Compact),
        5 => Just(Step::Begin),
        12 => Just(Step::Copy),
        3 => Just(Step::Commit),
        1 => Just(Step::Abandon),
        1 => Just(Step::Restart),
    ]
}

fn run(world: &mut World, step: &Step) {
    match step {
        Step::Set(name, kind) => world.set(name, *kind),
        Step::Delete(name) => world.delete(name),
        Step::DeleteHalf => world.delete_all(|at| at % 2 == 1),
        Step::Clear => world.delete_all(|_| true),
        Step::Freeze => world.map.freeze(),
        Step::Start => world.start_job(),
        Step::Run(at) => world.run_job(*at),
        Step::Finish(at) => world.finish_job(*at),
        Step::Compact => world.compact(),
        Step::Begin => world.begin().unwrap(),
        Step::Copy => {
            world.copy().unwrap();
        }
        Step::Commit => {
            let is_one = world.writing.is_some();
            world.commit().unwrap();
            if is_one {
                let loaded = world.recovered(&world.disk).unwrap();
                loaded.check("loaded");
            }
        }
        Step::Abandon => world.writing = None,
        Step::Restart => {
            *world = world.recovered(&world.disk).unwrap();
            world.check("restarted");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]
    #[test]
    fn a_checkpoint_and_the_records_after_it_are_the_store_whatever_comes_between(
        // Several ranges of slots, of which few change between checkpoints.
        many in prop::option::of(0_u32..400),
        steps in prop::collection::vec(step(), 1..400),
        more in prop::collection::vec(step(), 1..100),
    ) {
        let mut world = World::new(SimulatedFiles::default());
        for number in 0..many.unwrap_or(0) {
            world.set(&format!("c:{number}"), number as usize);
        }
        steps.iter().for_each(|step| run(&mut world, step));
        world.check("at the end");
        world.commit().unwrap();
        world.checkpoint().unwrap();
        let mut next = world.recovered(&world.disk).unwrap();
        next.check("loaded at the end");
        more.iter().for_each(|step| run(&mut next, step));
        next.finish_jobs();
        next.check("after more");
    }
}

#[test]
fn what_did_not_change_is_not_written_again_and_what_is_removed_goes() {
    let mut world = World::new(SimulatedFiles::default());
    for number in 0..1000 {
        world.set(&format!("a:{number}:x"), 2);
    }
    world.map.freeze();
    world.checkpoint().unwrap();
    let all = world.bytes_written;
    let named = world.previous.ranges.clone();
    assert!(named.len() > 10);
    world.checkpoint().unwrap();
    assert!(
        world.bytes_written < all / 50,
        "{} of {all}",
        world.bytes_written
    );
    // One range has another file.
    world.set("a:500:x", 2);
    world.checkpoint().unwrap();
    let is_other = |(old, new): &(&writer::RangeFile, &writer::RangeFile)| {
        old.named.file.number != new.named.file.number
    };
    let pairs = named.iter().zip(&world.previous.ranges);
    assert_eq!(pairs.filter(is_other).count(), 1);
    // What is removed takes no room any more, and neither does what no checkpoint names.
    let bytes = |world: &World| -> u64 {
        let directory = world.place.directory();
        let names = world.disk.list(&directory).unwrap();
        let paths = names.iter().map(|name| directory.join(name));
        paths.map(|path| world.disk.len(&path).unwrap()).sum()
    };
    let before = bytes(&world);
    world.delete_all(|at| at % 10 > 0);
    world.checkpoint().unwrap();
    assert!(bytes(&world) < before / 4, "{} of {before}", bytes(&world));
    world.recovered(&world.disk).unwrap().check("thinned");
}

#[test]
fn a_loaded_map_takes_no_more_room_than_the_one_that_was_stored() {
    let mut world = World::new(SimulatedFiles::default());
    for number in 0..3000 {
        world.set(&format!("a:{number}:x"), 2);
    }
    // The first slot has the newest revision.
    world.set("a:0:x", 2);
    world.checkpoint().unwrap();
    let loaded = world.recovered(&world.disk).unwrap();
    loaded.check("loaded");
    let (before, after) = (world.map.heap_bytes(), loaded.map.heap_bytes());
    assert!(after <= before + before / 10, "{after} of {before}");
}

#[test]
fn an_image_waits_for_a_job_where_there_is_no_room() {
    let mut world = World::new(SimulatedFiles::default());
    let image = |world: &mut World| world.map.image();
    for round in 0..3 {
        for number in 0..40 {
            world.set(&format!("a:{number}:{round}"), 1);
        }
        assert_eq!(
            image(&mut world).is_some(),
            round < 2,
            "two trees are frozen"
        );
    }
    world.finish_jobs();
    assert!(image(&mut world).is_some());
    world.delete_all(|at| at % 3 == 2);
    assert!(
        image(&mut world).is_none(),
        "too many keys of a frozen tree are dead"
    );
    world.finish_jobs();
    assert!(image(&mut world).is_some());
}

#[test]
fn the_systems_files_do_what_the_simulated_ones_do() {
    let directory = tempfile::tempdir().unwrap();
    let mut world = World::new(SimulatedFiles::default());
    world.place = ShardFiles {
        files: Arc::new(SystemFiles),
        directory: directory.path().to_owned(),
        ..world.place
    };
    let none = load(&world.place, &ContentTypes::default());
    assert!(none.unwrap().is_none());
    for round in 0..3 {
        for number in 0..200 {
            world.set(&format!("a:{number}:x"), number + round);
        }
        world.delete_all(|at| at % 11 == round);
        world.checkpoint().unwrap();
    }
    let survey = survey(&world.place, &ContentTypes::default());
    let survey = survey.unwrap().unwrap();
    assert_eq!(survey.keys as usize, world.model.len());
    let bytes: u64 = survey.files.iter().map(|file| file.bytes).sum();
    let names = SystemFiles.list(&world.place.directory()).unwrap();
    assert_eq!(names.len(), survey.files.len() + 1, "nothing else is left");
    assert!(bytes > 0 && survey.files.iter().all(|file| file.damage.is_none()));
    let loaded = load(&world.place, &ContentTypes::default());
    world.map = loaded.unwrap().unwrap().map;
    world.check("loaded");
}
