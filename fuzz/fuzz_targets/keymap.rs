//! Any sequence of changes, searches and jobs, against a `BTreeMap`.

#![no_main]

use arbitrary::Arbitrary;
use kvstore::keymap::{Finish, Job, KeyMap, Outcome};
use kvstore::model::{ContentType, Deadline, Filter, Key, Revision, Value};
use libfuzzer_sys::fuzz_target;
use std::collections::BTreeMap;

#[derive(Arbitrary, Debug)]
enum Step {
    Set(String),
    Delete(String),
    /// Deletes the first keys with a prefix.
    DeleteMany(String, u8),
    Freeze,
    Start,
    Run(u8),
    Finish(u8),
    Search {
        prefix: String,
        suffix: String,
        after: String,
        limit: u8,
    },
}

fuzz_target!(|steps: Vec<Step>| {
    let mut map = KeyMap::default();
    let mut model: BTreeMap<Key, u64> = BTreeMap::new();
    let (mut jobs, mut outcomes) = (Vec::<Job>::new(), Vec::<Outcome>::new());
    for (number, step) in (0..).zip(steps) {
        match step {
            Step::Set(text) => {
                let Ok(key) = Key::parse(text.into(), 4096) else {
                    continue;
                };
                let created = map.set(&key, value(number));
                assert_eq!(created, model.insert(key, number).is_none());
            }
            Step::Delete(text) => {
                let Ok(key) = Key::parse(text.into(), 4096) else {
                    continue;
                };
                assert_eq!(map.delete(&key), model.remove(&key).is_some());
            }
            Step::DeleteMany(prefix, limit) => {
                let matching = model.keys().filter(|key| key.as_str().starts_with(&prefix));
                let doomed: Vec<Key> = matching.take(limit.into()).cloned().collect();
                for key in doomed {
                    assert!(map.delete(&key));
                    model.remove(&key);
                }
            }
            Step::Freeze => map.freeze(),
            Step::Start => jobs.extend(map.next_job()),
            Step::Run(at) if !jobs.is_empty() => {
                outcomes.push(jobs.swap_remove(usize::from(at) % jobs.len()).run());
            }
            Step::Finish(at) if !outcomes.is_empty() => {
                let outcome = outcomes.swap_remove(usize::from(at) % outcomes.len());
                assert_eq!(outcome.failure(), None);
                if let Finish::Again(again) = map.finish(outcome) {
                    jobs.push(again);
                }
            }
            Step::Run(_) | Step::Finish(_) => {}
            Step::Search {
                prefix,
                suffix,
                after,
                limit,
            } => {
                let filter = Filter {
                    prefix: prefix.into(),
                    suffix: suffix.into(),
                };
                search(
                    &map,
                    &model,
                    &filter,
                    after.as_bytes(),
                    usize::from(limit) + 1,
                );
            }
        }
        assert_eq!(map.len(), model.len());
    }
    for (key, number) in &model {
        assert_eq!(map.get(key), Some(value(*number)));
    }
});

fn value(number: u64) -> Value {
    Value {
        content_type: ContentType::JSON,
        body: number.to_string().into(),
        revision: Revision(number),
        expires_at: number
            .is_multiple_of(3)
            .then(|| Deadline::from_millis(number)),
    }
}

/// Follows a search to its end.
fn search(map: &KeyMap, model: &BTreeMap<Key, u64>, filter: &Filter, after: &[u8], limit: usize) {
    let matching = || {
        model
            .keys()
            .map(Key::as_bytes)
            .filter(|key| filter.matches(key))
    };
    assert_eq!(map.count(filter), matching().count());
    let mut expected = matching().filter(|key| after.is_empty() || *key > after);
    let mut after = after.to_vec();
    loop {
        let page = map.page(filter, &after, limit);
        assert!(page.keys.len() <= limit);
        for key in page.keys.iter() {
            assert_eq!(Some(key), expected.next());
        }
        match page.resume {
            Some(resume) => after = resume.into(),
            None => break,
        }
    }
    assert_eq!(expected.next(), None);
}
