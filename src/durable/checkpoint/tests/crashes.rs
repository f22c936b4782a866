//! A crash at every operation, whatever it loses, leaves one checkpoint or the other.

use super::world::World;
use crate::durable::simulated::{Loss, SimulatedFiles};
use std::io;

/// Checkpoints one after the other, with changes before, between and while values are copied.
fn history(world: &mut World, rounds: std::ops::Range<usize>) -> io::Result<()> {
    for round in rounds {
        for number in 0..90 {
            world.set(&format!("a:{}:x", round * 40 + number), number + round);
        }
        world.delete_all(|at| at % 7 == round);
        world.finish_jobs();
        world.begin()?;
        while world.copy()? {
            world.set(&format!("a:{}:x", round * 31), round);
            let first = world.model.keys().next().cloned();
            first.iter().for_each(|name| world.delete(name));
            world.set(&format!("b:{}", world.log.len()), round);
        }
        world.commit()?;
    }
    Ok(())
}

fn check(world: &World, disk: &SimulatedFiles, what: &str) -> World {
    let next = world
        .recovered(disk)
        .unwrap_or_else(|error| panic!("{what}: {error}"));
    let found = next.committed;
    assert!(
        found == world.committed || found == world.committing,
        "{what}: {found:?}, {:?} or {:?}",
        world.committed,
        world.committing
    );
    next.check(what);
    next
}

#[test]
fn a_crash_at_any_operation_leaves_a_checkpoint_and_all_that_it_names() {
    let mut whole = World::new(SimulatedFiles::default());
    history(&mut whole, 0..3).unwrap();
    let operations = whole.disk.operations();
    assert!(operations > 60);
    for crash in 0..=operations {
        let mut world = World::new(SimulatedFiles::default());
        world.disk.crash_at(crash);
        let ended = history(&mut world, 0..3);
        assert!(
            ended.is_err() || crash + 20 > operations,
            "it did not crash at {crash}"
        );
        for seed in 0..4_u64 {
            let loss = match seed {
                0 => Loss::None,
                1 => Loss::All,
                _ => {
                    Loss::Some((crash as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ seed << 40)
                }
            };
            let what = format!("crash at {crash}, {loss:?}");
            let disk = world.disk.after_crash(loss);
            let mut next = check(&world, &disk, &what);
            // The next process goes on beside what was left behind.
            next.previous.remove_others(&next.place).unwrap();
            history(&mut next, 3..4).unwrap();
            check(
                &next,
                &next.disk.after_crash(Loss::All),
                &format!("{what}, next"),
            );
        }
    }
}

#[test]
fn a_checkpoint_that_fails_is_followed_by_one_that_does_not() {
    let mut whole = World::new(SimulatedFiles::default());
    history(&mut whole, 0..2).unwrap();
    for at in 0..whole.disk.operations() {
        let mut world = World::new(SimulatedFiles::default());
        world.disk.fail_at(at, io::ErrorKind::StorageFull);
        if history(&mut world, 0..2).is_err() {
            let what = format!("operation {at} fails");
            world.writing = None;
            check(&world, &world.disk.after_crash(Loss::All), &what);
            history(&mut world, 2..3).unwrap();
            check(
                &world,
                &world.disk.after_crash(Loss::All),
                &format!("{what}, next"),
            );
        }
    }
}
