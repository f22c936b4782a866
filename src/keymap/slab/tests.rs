//! A slab against a list of values, and what it takes.

mod deletes;

use super::*;
use crate::effort::effort;
use crate::keymap::KeyMap;
use crate::model::{ContentType, ContentTypes, Key};
use proptest::prelude::*;
use std::collections::BTreeMap;

fn value() -> impl Strategy<Value = Value> {
    let len = prop_oneof![
        Just(0_usize),
        Just(7),
        Just(8),
        Just(247),
        Just(255),
        Just(256),
        0_usize..300
    ];
    let content_type = prop_oneof![
        Just("application/json".to_string()),
        (0..300).prop_map(|number| format!("x/{number}"))
    ];
    let revision = prop_oneof![any::<u64>(), 0_u64..1000, (u64::MAX - 1000)..=u64::MAX];
    let expires_at = prop::option::of((0_u64..1 << 47).prop_map(Deadline::from_millis));
    (len, any::<u8>(), content_type, revision, expires_at).prop_map(
        |(len, byte, text, revision, expires_at)| Value {
            content_type: ContentTypes::default().parse(&text).unwrap(),
            body: vec![byte; len].into(),
            revision: Revision(revision),
            expires_at,
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(effort(64, 1024)))]
    #[test]
    fn a_slot_holds_what_was_put_there(
        steps in prop::collection::vec((value(), any::<prop::sample::Index>(), 0_u8..6), 1..600),
    ) {
        let mut slab = Slab::default();
        let mut model: Vec<(u32, Value)> = Vec::new();
        for (value, at, kind) in steps {
            match kind {
                0 if !model.is_empty() => {
                    let (slot, _) = model.swap_remove(at.index(model.len()));
                    slab.remove(slot);
                }
                1 if !model.is_empty() => {
                    let at = at.index(model.len());
                    slab.replace(model[at].0, value.clone());
                    model[at].1 = value;
                }
                2 => {
                    slab.compact(Need::Room);
                }
                _ => model.push((slab.insert(value.clone()), value)),
            }
        }
        for (slot, value) in &model {
            prop_assert_eq!(&slab.get(*slot), value);
        }
        model.iter().for_each(|(slot, _)| slab.remove(*slot));
        prop_assert_eq!(slab.heap_bytes(), 0);
    }
}

#[test]
fn values_that_shrink_give_their_memory_back() {
    let mut slab = Slab::default();
    let value = |len| Value {
        content_type: ContentType::JSON,
        body: vec![b'x'; len].into(),
        revision: Revision(1),
        expires_at: None,
    };
    let slots: Vec<u32> = (0..20_000).map(|_| slab.insert(value(200))).collect();
    let large = slab.heap_bytes();
    slots.iter().for_each(|slot| slab.replace(*slot, value(8)));
    assert!(
        slab.heap_bytes() < large / 4,
        "{} of {large}",
        slab.heap_bytes()
    );
    slots
        .iter()
        .for_each(|slot| slab.replace(*slot, value(1000)));
    slots.iter().for_each(|slot| slab.replace(*slot, value(8)));
    assert!(
        slab.heap_bytes() < large / 4,
        "{} of {large}",
        slab.heap_bytes()
    );
}

#[test]
fn content_types_that_no_other_value_has_are_counted() {
    const TEXT_BYTES: usize = 200;
    let types = ContentTypes::default();
    let mut slab = Slab::default();
    let values = (0..2_000).map(|number| Value {
        content_type: types.parse(&format!("x/{number:0198}")).unwrap(),
        ..plain(0)
    });
    let slots: Vec<u32> = values.map(|value| slab.insert(value)).collect();
    assert!(slab.heap_bytes() > 1_700 * TEXT_BYTES);
    for slot in slots.into_iter().rev() {
        slab.remove(slot);
    }
    assert_eq!(slab.heap_bytes(), 0);
}

fn plain(len: usize) -> Value {
    Value {
        content_type: ContentType::JSON,
        body: vec![b'x'; len].into(),
        revision: Revision(1),
        expires_at: None,
    }
}

/// What a new slab takes that holds the values of another.
fn fresh_bytes(values: impl Iterator<Item = Value>) -> usize {
    let mut slab = Slab::default();
    for value in values {
        slab.insert(value);
    }
    slab.heap_bytes()
}

fn compact(slab: &mut Slab, need: Need) -> usize {
    let mut steps = 1;
    while slab.compact(need) {
        steps += 1;
        assert!(steps < 100_000, "compaction ends");
    }
    steps
}

/// A few kilobytes of random numbers are enough for all that follows.
fn random(state: &mut u64) -> usize {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    (*state >> 16) as usize
}

/// Checks what a slab holds, and that it takes little more than a new one.
fn check(slab: &mut Slab, model: &[(u32, Value)], what: &str) {
    compact(slab, Need::Thrift);
    let fresh = fresh_bytes(model.iter().map(|(_, value)| value.clone()));
    let held = slab.heap_bytes();
    let bound = fresh + fresh / 4 + 2 * 1024 * 1024;
    assert!(held <= bound, "{what}: {held} bytes, {fresh} in a new slab");
    for (slot, value) in model {
        assert_eq!(&slab.get(*slot), value, "{what}");
    }
}

#[test]
fn what_is_deleted_at_random_is_given_back_whatever_the_sizes() {
    for (sizes, count) in [
        (&[32, 32][..], 700_000),
        (&[100, 200], 300_000),
        (&[0, 255, 256, 300], 100_000),
        (&[300, 400], 100_000),
        (&[300, 5000, 70_000, 131_072], 2000),
    ] {
        let mut state = 7;
        let mut slab = Slab::default();
        let mut model: Vec<(u32, Value)> = (0..count)
            .map(|_| {
                let value = plain(sizes[random(&mut state) % sizes.len()]);
                (slab.insert(value.clone()), value)
            })
            .collect();
        for left in [count / 2, count / 10, count / 100, 1] {
            while model.len() > left {
                let (slot, _) = model.swap_remove(random(&mut state) % model.len());
                slab.remove(slot);
            }
            check(&mut slab, &model, &format!("{sizes:?}, {left} of {count}"));
        }
    }
}

#[test]
fn what_changes_its_size_is_given_back() {
    let mut state = 7;
    let mut slab = Slab::default();
    let mut model: Vec<(u32, Value)> = (0..effort(60_000, 200_000))
        .map(|_| (slab.insert(plain(8)), plain(8)))
        .collect();
    for sizes in [
        &[120][..],
        &[8, 250],
        &[300, 20, 64],
        &[16],
        &[200, 210, 220],
    ] {
        // Most of them, at random, so that some of each size stay everywhere.
        for _ in 0..model.len() * 3 {
            let at = random(&mut state) % model.len();
            let value = plain(sizes[random(&mut state) % sizes.len()]);
            slab.replace(model[at].0, value.clone());
            model[at].1 = value;
        }
        check(&mut slab, &model, &format!("{sizes:?}"));
    }
}

#[test]
fn a_slab_changes_between_the_steps_of_a_pass() {
    let mut state = 7;
    let mut slab = Slab::default();
    let mut model: Vec<(u32, Value)> = (0..300_000)
        .map(|_| (slab.insert(plain(100)), plain(100)))
        .collect();
    while model.len() > 30_000 {
        let (slot, _) = model.swap_remove(random(&mut state) % model.len());
        slab.remove(slot);
    }
    let full = slab.heap_bytes();
    let mut steps = 0;
    while slab.compact(Need::Thrift) {
        steps += 1;
        for _ in 0..100 {
            let at = random(&mut state) % model.len();
            let value = plain(random(&mut state) % 300);
            match random(&mut state) % 4 {
                0 => slab.remove(model.swap_remove(at).0),
                1 => model.push((slab.insert(value.clone()), value)),
                _ => {
                    slab.replace(model[at].0, value.clone());
                    model[at].1 = value;
                }
            }
        }
        assert!(steps < 10_000, "compaction ends");
    }
    assert!(steps > 10, "{steps} steps are enough");
    assert!(slab.heap_bytes() < full / 3);
    check(&mut slab, &model, "after changes during passes");
}

#[test]
fn little_waste_starts_a_pass_only_where_room_is_wanted() {
    let mut slab = Slab::default();
    let slots: Vec<u32> = (0..300_000).map(|_| slab.insert(plain(100))).collect();
    slots.iter().step_by(20).for_each(|slot| slab.remove(*slot));
    let before = slab.heap_bytes();
    assert!(!slab.wants_compaction(Need::Thrift) && slab.wants_compaction(Need::Room));
    assert!(slab.reclaimable_bytes() > 1 << 20);
    compact(&mut slab, Need::Room);
    let given = before - slab.heap_bytes();
    assert!(given > 1 << 20, "{given} bytes were given back");
    assert_eq!(slab.reclaimable_bytes(), 0);
}

#[test]
fn bodies_of_a_small_slab_make_room_for_others() {
    let mut slab = Slab::default();
    let slots: Vec<u32> = (0..200).map(|_| slab.insert(plain(10_000))).collect();
    slots.iter().step_by(4).for_each(|slot| slab.remove(*slot));
    assert!(!slab.wants_compaction(Need::Thrift), "that is little");
    assert!(slab.reclaimable_bytes() > 50 * 9000);
    compact(&mut slab, Need::Room);
    let held = slab.heap_bytes();
    assert!(held < 170 * 10_000, "{held} bytes for 150 bodies of 10 kB");
}

#[test]
fn a_body_that_is_read_stays_counted_until_its_reader_lets_go() {
    for count in [1, 5000] {
        let mut slab = Slab::default();
        let slots: Vec<u32> = (0..count).map(|_| slab.insert(plain(1000))).collect();
        let readers: Vec<Value> = slots.iter().map(|slot| slab.get(*slot)).collect();
        slots.iter().for_each(|slot| slab.remove(*slot));
        compact(&mut slab, Need::Thrift);
        let held = slab.heap_bytes();
        assert!(held >= count * 1000, "{held} bytes of {count} bodies");
        assert!(readers.iter().all(|value| *value == plain(1000)));
        drop(readers);
        assert!(slab.wants_compaction(Need::Thrift), "there is room to have");
        compact(&mut slab, Need::Thrift);
        assert_eq!(slab.heap_bytes(), 0);
    }
}

#[test]
fn copying_bodies_takes_little_memory_of_its_own() {
    let mut state = 7;
    let mut slab = Slab::default();
    let mut slots: Vec<u32> = (0..60_000).map(|_| slab.insert(plain(1000))).collect();
    while slots.len() > 30_000 {
        let slot = slots.swap_remove(random(&mut state) % slots.len());
        slab.remove(slot);
    }
    let before = slab.heap_bytes();
    while slab.compact(Need::Room) {
        let held = slab.heap_bytes();
        assert!(held < before + before / 8, "{held} bytes of {before}");
    }
    assert!(slab.heap_bytes() < before / 8 * 5);
}

#[test]
fn content_types_that_no_record_names_leave_no_trace() {
    let types = ContentTypes::default();
    let typed = |number: usize| Value {
        content_type: types.parse(&format!("x/{number}")).unwrap(),
        ..plain(16)
    };
    let mut slab = Slab::default();
    slab.insert(plain(16));
    for number in 0..1000 {
        let slot = slab.insert(typed(number));
        assert_ne!(slab.places.get(slot) & LARGE, LARGE, "number {number}");
        if number % 2 == 0 {
            slab.replace(slot, typed(number + 1));
        }
        if number % 3 == 0 {
            slab.replace(slot, plain(300));
        }
        slab.remove(slot);
    }
    let slots: Vec<u32> = (1000..1300)
        .map(|number| slab.insert(typed(number)))
        .collect();
    let is_large = |slot: &&u32| slab.places.get(**slot) & LARGE != 0;
    assert_eq!(slots.iter().filter(is_large).count(), 300 - 249);
    for (number, slot) in slots.iter().enumerate() {
        assert_eq!(slab.get(*slot), typed(1000 + number));
    }
}

/// Something that happens to many keys.
#[derive(Clone, Debug)]
struct Phase {
    /// Of how many numbers the keys are drawn.
    keys: usize,
    /// How many of eight draws delete.
    deletes_in_8: usize,
    /// The bodies' sizes.
    sizes: (usize, usize),
}

fn phase() -> impl Strategy<Value = Phase> {
    let sizes = prop_oneof![
        Just((0, 40)),
        Just((100, 110)),
        Just((0, 600)),
        Just((300, 400))
    ];
    let deletes = prop_oneof![Just(0_usize), Just(4), Just(8)];
    (1000_usize..30_000, deletes, sizes).prop_map(|(keys, deletes_in_8, sizes)| Phase {
        keys,
        deletes_in_8,
        sizes,
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(effort(6, 60)))]
    #[test]
    fn a_key_map_takes_little_more_than_a_new_one_with_the_same_keys(
        phases in prop::collection::vec(phase(), 1..6),
        seed in 1_u64..u64::MAX,
    ) {
        let key = |number: usize| Key::parse(format!("key{number}").into(), 1024).unwrap();
        let mut state = seed;
        let mut map = KeyMap::default();
        let mut model = BTreeMap::new();
        for Phase { keys, deletes_in_8, sizes } in phases {
            for step in 0..keys * 2 {
                let number = random(&mut state) % keys;
                if random(&mut state) % 8 < deletes_in_8 {
                    prop_assert_eq!(map.delete(&key(number)), model.remove(&number).is_some());
                } else {
                    let value = plain(sizes.0 + random(&mut state) % (sizes.1 - sizes.0));
                    map.set(&key(number), value.clone());
                    model.insert(number, value);
                }
                if step % 512 == 0 {
                    map.settle();
                    map.compact(Need::Thrift);
                }
            }
        }
        map.settle();
        while map.compact(Need::Thrift) {}
        let mut fresh = KeyMap::default();
        for (number, value) in &model {
            fresh.set(&key(*number), value.clone());
            fresh.settle();
            prop_assert_eq!(map.get(&key(*number)), Some(value.clone()));
        }
        let (held, fresh) = (map.heap_bytes(), fresh.heap_bytes());
        prop_assert!(held <= fresh + fresh / 4 + 3 * 1024 * 1024, "{held} bytes, {fresh} in a new one");
    }
}
