//! The key map against a `BTreeMap`, with jobs landing at arbitrary moments.

mod costs;
mod expiry;
mod groups;
mod histories;

use super::*;
use crate::effort::effort;
use crate::model::{ContentType, Revision};
use proptest::prelude::*;
use std::collections::BTreeMap;

fn key(text: &str) -> Key {
    Key::parse(text.into(), 2048).expect("test keys are valid")
}

/// A value whose body is of any size class, or too large for one.
fn value(number: u64) -> Value {
    Value {
        content_type: ContentType::JSON,
        body: number.to_string().repeat(number as usize % 120).into(),
        revision: Revision(number),
        expires_at: None,
    }
}

#[derive(Clone, Debug)]
enum Step {
    Set(String),
    Delete(String),
    DeleteMatches(Filter),
    DeleteHalf,
    Freeze,
    Start,
    Run(prop::sample::Index),
    Finish(prop::sample::Index),
    Search(Filter, String, usize),
}

/// Keys in which one is a prefix of another, bytes repeat, and code points take several bytes.
fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => prop::collection::vec(prop::sample::select(vec!["a", "b", "\u{0}", "é", "\u{10ffff}"]), 0..5)
            .prop_map(|parts| parts.concat()),
        2 => (0u32..300).prop_map(|number| format!("user:{number}:name")),
        1 => (1usize..30).prop_map(|n| "a".repeat(n)),
        1 => Just("x".repeat(1024)),
    ]
}

fn name() -> impl Strategy<Value = String> {
    text().prop_map(|text| {
        if text.is_empty() {
            "\u{0}".into()
        } else {
            text
        }
    })
}

fn step() -> impl Strategy<Value = Step> {
    let filter = || {
        (text(), text()).prop_map(|(prefix, suffix)| Filter {
            prefix: prefix.into(),
            suffix: suffix.into(),
        })
    };
    prop_oneof![
        12 => name().prop_map(Step::Set),
        5 => name().prop_map(Step::Delete),
        1 => filter().prop_map(Step::DeleteMatches),
        1 => Just(Step::DeleteHalf),
        2 => Just(Step::Freeze),
        3 => Just(Step::Start),
        3 => any::<prop::sample::Index>().prop_map(Step::Run),
        3 => any::<prop::sample::Index>().prop_map(Step::Finish),
        3 => (filter(), text(), 1usize..20).prop_map(|(f, after, limit)| Step::Search(f, after, limit)),
    ]
}

fn matches<'a>(
    model: &'a BTreeMap<String, u64>,
    filter: &'a Filter,
    after: &'a str,
) -> impl Iterator<Item = &'a [u8]> {
    model
        .keys()
        .map(String::as_bytes)
        .filter(|key| filter.matches(key) && (after.is_empty() || *key > after.as_bytes()))
}

/// All pages from `after` on, each of at most `limit` keys.
fn collect(map: &KeyMap, filter: &Filter, after: &[u8], limit: usize) -> Vec<Vec<u8>> {
    let mut keys = Vec::new();
    let mut after = after.to_vec();
    loop {
        let page = map.page(filter, &after, limit);
        assert!(page.keys.len() <= limit);
        keys.extend(page.keys.iter().map(<[u8]>::to_vec));
        match page.resume {
            Some(resume) => {
                assert!(
                    *resume > *after || after.is_empty(),
                    "each page makes progress"
                );
                after = resume.into();
            }
            None => return keys,
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(effort(200, 2000)))]
    #[test]
    fn a_key_map_is_an_ordered_map_whenever_its_jobs_land(steps in prop::collection::vec(step(), 1..250)) {
        let mut map = KeyMap::default();
        let mut model: BTreeMap<String, u64> = BTreeMap::new();
        let (mut jobs, mut outcomes) = (Vec::new(), Vec::new());
        for (number, step) in (0u64..).zip(steps) {
            match step {
                Step::Set(name) => {
                    let created = map.set(&key(&name), value(number));
                    prop_assert_eq!(created, model.insert(name, number).is_none());
                }
                Step::Delete(name) => {
                    let deleted = map.delete(&key(&name));
                    prop_assert_eq!(deleted, model.remove(&name).is_some());
                }
                Step::DeleteMatches(filter) => {
                    for name in model.keys().filter(|name| filter.matches(name.as_bytes())) {
                        prop_assert!(map.delete(&key(name)));
                    }
                    model.retain(|name, _| !filter.matches(name.as_bytes()));
                }
                Step::DeleteHalf => {
                    for (name, _) in model.iter().filter(|(_, number)| *number % 2 == 1) {
                        prop_assert!(map.delete(&key(name)));
                    }
                    model.retain(|_, number| *number % 2 == 0);
                }
                Step::Freeze => map.freeze(),
                Step::Start => {
                    let wants = map.wants_job(MergeRoom::UNBOUNDED);
                    let job = map.next_job();
                    prop_assert_eq!(wants, job.is_some());
                    jobs.extend(job);
                }
                Step::Run(at) => if !jobs.is_empty() {
                    outcomes.push(jobs.swap_remove(at.index(jobs.len())).run());
                },
                Step::Finish(at) => if !outcomes.is_empty() {
                    let outcome = outcomes.swap_remove(at.index(outcomes.len()));
                    if let Finish::Again(again) = map.finish(outcome) {
                        jobs.push(again);
                    }
                },
                Step::Search(filter, after, limit) => {
                    let total = matches(&model, &filter, "").count();
                    prop_assert_eq!(map.count(&filter), total);
                    prop_assert_eq!(map.page_and_count(&filter, after.as_bytes(), limit).1, total);
                    let expected: Vec<&[u8]> = matches(&model, &filter, &after).collect();
                    prop_assert_eq!(collect(&map, &filter, after.as_bytes(), limit), expected);
                }
            }
            prop_assert_eq!(map.len(), model.len());
        }
        outcomes.extend(jobs.into_iter().map(Job::run));
        while let Some(outcome) = outcomes.pop() {
            prop_assert!(outcome.failure().is_none());
            if let Finish::Again(again) = map.finish(outcome) {
                outcomes.push(again.run());
            }
        }
        map.settle();
        histories::has_few_segments(&map);
        for (name, number) in &model {
            prop_assert_eq!(map.get(&key(name)), Some(value(*number)));
        }
        prop_assert_eq!(collect(&map, &Filter::default(), b"", 7).len(), model.len());
        for name in model.keys() {
            prop_assert!(map.delete(&key(name)));
            prop_assert_eq!(map.get(&key(name)), None);
        }
        map.settle();
        prop_assert_eq!(map.heap_bytes(), 0, "an emptied map gives its memory back");
    }
}

#[test]
fn a_map_past_its_fresh_part_answers_both_ends_and_after_mass_deletes() {
    let mut map = KeyMap::default();
    let name = |number: u32| {
        format!(
            "user:{number:06}:{}",
            ["name", "mail", "id"][number as usize % 3]
        )
    };
    for number in 0..60_000 {
        assert!(map.set(&key(&name(number)), value(number.into())));
        map.settle();
    }
    assert!(map.stats().segments > 0);
    let filter = |prefix: &str, suffix: &str| Filter {
        prefix: prefix.into(),
        suffix: suffix.into(),
    };
    let both = filter("user:01", ":mail");
    let check = |map: &KeyMap, filter: &Filter, alive: &dyn Fn(u32) -> bool| {
        let expected = (0..60_000)
            .filter(|number| alive(*number) && filter.matches(name(*number).as_bytes()))
            .count();
        assert_eq!(map.count(filter), expected);
        assert_eq!(collect(map, filter, b"", 100).len(), expected);
    };
    check(&map, &both, &|_| true);
    // More dead in a row than one page examines, in the middle of every walk.
    for number in 5_000..50_000 {
        assert!(map.delete(&key(&name(number))));
        if number == 9_100 {
            check(&map, &filter("", ":mail"), &|n| {
                !(5_000..=9_100).contains(&n)
            });
        }
        if number % 5_000 == 0 {
            map.settle();
        }
    }
    for filter in [
        filter("", ":mail"),
        filter("user:0", ":mail"),
        filter("user:0", ""),
    ] {
        check(&map, &filter, &|number| !(5_000..50_000).contains(&number));
        map.settle();
    }
}

#[test]
fn writes_are_told_to_wait_while_jobs_are_behind() {
    let mut map = KeyMap::default();
    let mut number = 0;
    let mut until = |map: &mut KeyMap, room: Room| {
        while map.room() != room {
            map.set(&key(&number.to_string()), value(number));
            number += 1;
            assert!(number < 100_000, "{room:?} is reached");
        }
    };
    until(&mut map, Room::Crowded);
    until(&mut map, Room::Full);
    map.settle();
    assert_eq!(map.room(), Room::Open);
}

/// Keys of two suffix classes, `:rare` one in `rare`, as many as make segments with dead indexes.
fn populated(keys: u32, rare: u32) -> KeyMap {
    let mut map = KeyMap::default();
    for number in 0..keys {
        assert!(map.set(&key(&classed(number, rare)), value(number.into())));
        map.settle();
    }
    map
}

fn classed(number: u32, rare: u32) -> String {
    let class = if number.is_multiple_of(rare) {
        "rare"
    } else {
        "common"
    };
    format!("user:{number:06}:{class}")
}

/// The settled map answers like one that never held what was deleted.
fn answers_like_fresh(map: &mut KeyMap, rare: u32, alive: &[u32]) {
    for settled in [false, true] {
        if settled {
            map.settle();
        }
        for (prefix, suffix) in [
            ("", ":rare"),
            ("", ":common"),
            ("user:01", ":rare"),
            ("user:00", ""),
        ] {
            let filter = Filter {
                prefix: prefix.into(),
                suffix: suffix.into(),
            };
            let expected: Vec<Vec<u8>> = alive
                .iter()
                .map(|number| classed(*number, rare).into_bytes())
                .filter(|key| filter.matches(key))
                .collect();
            assert_eq!(map.count(&filter), expected.len());
            assert_eq!(collect(map, &filter, b"", 100), expected);
        }
    }
}

#[test]
fn mass_deletes_of_any_pattern_leave_a_map_of_the_rest() {
    const KEYS: u32 = 80_000;
    const RARE: u32 = 8;
    let in_class = |number: u32| number.is_multiple_of(RARE);
    let patterns: [(&str, &dyn Fn(u32) -> bool); 4] = [
        ("a random half", &|number| {
            number.wrapping_mul(0x9e37_79b9) >> 31 == 1
        }),
        ("a contiguous half", &|number| {
            (20_000..60_000).contains(&number)
        }),
        ("99 % of a suffix class", &|number| {
            in_class(number) && !number.is_multiple_of(RARE * 100)
        }),
        ("all", &|_| true),
    ];
    for (pattern, is_doomed) in patterns {
        let mut map = populated(KEYS, RARE);
        for number in (0..KEYS).filter(|number| is_doomed(*number)) {
            assert!(map.delete(&key(&classed(number, RARE))), "{pattern}");
        }
        let alive: Vec<u32> = (0..KEYS).filter(|number| !is_doomed(*number)).collect();
        answers_like_fresh(&mut map, RARE, &alive);
        // Searches that met many dead keys asked for what was left to be rewritten.
        answers_like_fresh(&mut map, RARE, &alive);
        if alive.is_empty() {
            assert_eq!(map.heap_bytes(), 0);
        }
    }
}

#[test]
fn searches_that_meet_many_dead_keys_have_them_cleared_away() {
    let mut map = populated(80_000, 10);
    // Fewer than one in eight: it takes searches to make them worth a rewrite.
    for number in (0..80_000).step_by(10).filter(|number| *number % 1000 != 0) {
        assert!(map.delete(&key(&classed(number, 10))));
    }
    map.settle();
    let dead = map.stats().dead_keys;
    assert!(dead > 1000, "{dead} keys are dead but not cleared away yet");
    let filter = Filter {
        prefix: "user:0".into(),
        suffix: ":rare".into(),
    };
    for _ in 0..20 {
        assert_eq!(collect(&map, &filter, b"", 100).len(), 80);
    }
    map.settle();
    assert!(
        map.stats().dead_keys < dead / 2,
        "{} of {dead}",
        map.stats().dead_keys
    );
    assert_eq!(collect(&map, &filter, b"", 100).len(), 80);
}

#[test]
fn deletes_and_sets_in_a_loop_do_not_take_more_and_more_memory() {
    let mut map = populated(20_000, 8);
    let round = |map: &mut KeyMap| {
        for number in 0..20_000 {
            let key = key(&classed(number, 8));
            assert!(map.delete(&key));
            assert!(map.set(&key, value(u64::from(number) + 7)));
            map.settle();
        }
        map.freeze();
        map.settle();
        map.heap_bytes()
    };
    let bytes = round(&mut map);
    for _ in 0..4 {
        let again = round(&mut map);
        assert!(again < bytes * 5 / 4, "{again} after {bytes}");
    }
}

#[test]
fn an_index_without_values_takes_no_memory_for_their_slots() {
    let keys = 20_000;
    let slot_bytes = |slot: fn(u32) -> u32| {
        let mut index = KeyIndex::default();
        for number in 0..keys {
            index.insert(format!("user:{number}").as_bytes(), slot(number));
            while let Some(job) = index.next_job() {
                assert!(matches!(index.finish(job.run()), Finish::Done));
            }
        }
        let found = (0..keys).map(|number| index.find(format!("user:{number}").as_bytes()));
        assert!(found.eq((0..keys).map(|number| Some(slot(number)))));
        index.stats().segment_bytes.slots
    };
    assert!(slot_bytes(|_| 0) < 1000);
    assert!(slot_bytes(|number| number) > 3 * 16_000);
}

#[test]
fn looking_ahead_finds_what_a_lookup_does_whatever_became_of_the_values() {
    let mut map = KeyMap::default();
    let name = |number: u64| key(&format!("user:{number:06}"));
    let count = effort(100_000, 500_000);
    for number in 0..count {
        map.set(&name(number), value(number));
        if number % 4096 == 0 {
            map.settle();
        }
    }
    assert!(map.stats().segments > 0, "so many are not all in a tree");
    // Some values are gone, some are large now, some slots are another key's.
    for number in (0..count).step_by(2) {
        map.delete(&name(number));
    }
    let large = |number| Value {
        body: vec![b'x'; 1000].into(),
        ..value(number)
    };
    for number in (1..count).step_by(6) {
        map.set(&name(number), large(number));
        map.set(&key(&format!("other:{number}")), value(number));
    }
    // And some are there again, elsewhere.
    for number in (0..count).step_by(12) {
        map.set(&name(number), value(number + 1));
    }
    let all: Vec<Key> = (0..count + 100).map(name).collect();
    for keys in all.chunks(AHEAD_MAX + 1) {
        let ahead = map.look_ahead(keys.iter());
        for (at, key) in keys.iter().enumerate() {
            let expected = map.get(key);
            assert_eq!(ahead.get(at, key), expected);
            assert_eq!(ahead.get(at + 1, key), expected);
        }
    }
    assert_eq!(
        map.look_ahead(std::iter::empty()).get(0, &all[0]),
        map.get(&all[0])
    );
    for number in 0..count {
        let expected = match number % 12 {
            0 => Some(value(number + 1)),
            1 | 7 => Some(large(number)),
            3 | 5 | 9 | 11 => Some(value(number)),
            _ => None,
        };
        assert_eq!(map.get(&name(number)), expected, "{number}");
    }
}
