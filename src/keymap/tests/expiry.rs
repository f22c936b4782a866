//! Values that end, against a list of deadlines and a clock that is set.

use super::*;
use crate::model::{Deadline, Filter};

const SEED: u64 = 7;

#[derive(Clone, Debug)]
enum Step {
    /// A key by number, and in how many milliseconds its value ends, if it does.
    Set(u32, Option<u64>),
    /// The same of a value that is there.
    Expire(u32, Option<u64>),
    Delete(u32),
    /// So many new keys that end one after the other.
    Many(u32, u64),
    Freeze,
    Settle,
    /// A job is begun, and ended after the step after.
    Start,
    Finish,
    Compact,
    /// The map is stored and loaded again.
    Restart,
    /// So many milliseconds go by, and what is due is worked off, or a step of it.
    Pass(u64),
    PassAndTakeSome(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let ahead = || {
        prop_oneof![
            Just(0_u64),
            1_u64..100,
            1_u64..100_000,
            Just(86_400_000 * 3650)
        ]
    };
    let end = move || prop::option::weighted(0.8, ahead());
    let number = || 0_u32..40;
    prop_oneof![
        6 => (number(), end()).prop_map(|(number, end)| Step::Set(number, end)),
        3 => (number(), end()).prop_map(|(number, end)| Step::Expire(number, end)),
        2 => number().prop_map(Step::Delete),
        1 => (1_u32..200, 1_u64..50).prop_map(|(count, apart)| Step::Many(count, apart)),
        1 => Just(Step::Freeze),
        1 => Just(Step::Settle),
        1 => Just(Step::Start),
        1 => Just(Step::Finish),
        1 => Just(Step::Compact),
        1 => Just(Step::Restart),
        3 => (0_u64..5000).prop_map(Step::Pass),
        1 => (0_u64..5000).prop_map(Step::PassAndTakeSome),
    ]
}

/// The map and what it should hold.
struct World {
    map: KeyMap,
    model: BTreeMap<String, Value>,
    now: u64,
    revision: u64,
    outcomes: Vec<Outcome>,
}

impl World {
    fn new() -> Self {
        Self {
            map: KeyMap::with_seed(SEED),
            model: BTreeMap::new(),
            now: 1_700_000_000_000,
            revision: 0,
            outcomes: Vec::new(),
        }
    }

    fn set(&mut self, name: &str, ahead: Option<u64>) {
        self.revision += 1;
        let value = Value {
            expires_at: ahead.map(|ahead| Deadline::from_millis(self.now + ahead)),
            ..value(self.revision)
        };
        self.map.set(&key(name), value.clone());
        self.model.insert(name.into(), value);
    }

    fn expire(&mut self, name: &str, ahead: Option<u64>) {
        let expires_at = ahead.map(|ahead| Deadline::from_millis(self.now + ahead));
        let decision = Decision::Keep(expires_at);
        let Ok(_) = self
            .map
            .change(&key(name), |_| Ok::<_, Infallible>(decision));
        if let Some(value) = self.model.get_mut(name) {
            value.expires_at = expires_at;
        }
    }

    /// Takes out what is due: a step, or all.
    fn take_out(&mut self, keys_max: usize, all: bool) {
        let now = Deadline::from_millis(self.now);
        loop {
            let mut told = Vec::new();
            let expired = self.map.expire(now, keys_max, |key| {
                told.push(String::from_utf8(key.to_vec()).unwrap());
            });
            assert_eq!(expired.keys, told.len());
            for name in told {
                let value = self.model.remove(&name).expect("it was there");
                assert!(!value.is_there(now), "{name} has ended");
            }
            if !all || !expired.is_partial {
                return;
            }
        }
    }

    fn restart(&mut self) {
        self.finish();
        let mut map = std::mem::replace(&mut self.map, KeyMap::with_seed(SEED));
        map.settle();
        let image = map.image().expect("no job is under way");
        let mut loader = Loader::new(SEED, image.slots(), Revision(0));
        for segment in image.segments() {
            let parts = segment.parts();
            let stored = StoredSegment::open(
                segment.keys(),
                parts.map(<[u8]>::len),
                SEED,
                |number, bytes| {
                    bytes.copy_from_slice(parts[number]);
                    Ok::<_, Infallible>(())
                },
            );
            loader.segment(stored.unwrap(), segment.dead()).unwrap();
        }
        for (key, slot) in image.tree_keys() {
            loader.tree_key(key, slot).unwrap();
        }
        let mut begin = 0;
        while begin < image.slots() {
            let copied = map.copy_values(begin..image.slots());
            for value in copied.iter() {
                loader.value(&value).unwrap();
            }
            begin = copied.slots().end;
        }
        self.map = loader.finish();
    }

    fn finish(&mut self) {
        for outcome in self.outcomes.drain(..) {
            let mut outcome = outcome;
            while let Finish::Again(again) = self.map.finish(outcome) {
                outcome = again.run();
            }
        }
    }

    fn take(&mut self, step: Step) {
        let name = |number: u32| format!("key:{number}");
        match step {
            Step::Set(number, ahead) => self.set(&name(number), ahead),
            Step::Expire(number, ahead) => self.expire(&name(number), ahead),
            Step::Delete(number) => {
                self.map.delete(&key(&name(number)));
                self.model.remove(&name(number));
            }
            Step::Many(count, apart) => {
                for number in 0..count {
                    let name = format!("many:{}:{number}", self.revision);
                    self.set(&name, Some(u64::from(number) * apart));
                }
            }
            Step::Freeze => self.map.freeze(),
            Step::Settle => {
                self.finish();
                self.map.settle();
            }
            Step::Start => {
                let job = self.map.next_job();
                self.outcomes.extend(job.map(Job::run));
            }
            Step::Finish => self.finish(),
            Step::Compact => drop(self.map.compact(Need::Room)),
            Step::Restart => self.restart(),
            Step::Pass(ahead) => {
                self.now += ahead;
                self.take_out(7, true);
            }
            Step::PassAndTakeSome(ahead) => {
                self.now += ahead;
                self.take_out(3, false);
            }
        }
    }

    /// Checks every value, and that what is due is told of.
    fn check(&self) {
        assert_eq!(self.map.len(), self.model.len());
        assert_eq!(self.map.count(&Filter::default()), self.model.len());
        for (name, value) in &self.model {
            assert_eq!(self.map.get(&key(name)).as_ref(), Some(value), "{name}");
        }
        let ends = self.model.values().filter_map(|value| value.expires_at);
        assert_eq!(self.map.ending(), ends.clone().count());
        if let Some(first) = ends.min() {
            let next = self.map.next_expiry();
            assert!(
                next.is_some_and(|next| next <= first),
                "{next:?} for {first}"
            );
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn what_has_ended_goes_and_nothing_else_does(
        steps in prop::collection::vec(step(), 1..150),
    ) {
        let mut world = World::new();
        for step in steps {
            let is_whole = matches!(step, Step::Pass(_));
            world.take(step);
            world.check();
            if is_whole {
                let now = Deadline::from_millis(world.now);
                prop_assert!(world.model.values().all(|value| value.is_there(now)));
            }
        }
    }
}

#[test]
fn a_deadline_that_moves_takes_no_more_memory_each_time() {
    let mut world = World::new();
    for number in 0..1000 {
        world.set(&format!("{number}"), Some(100_000));
    }
    let bytes = world.map.heap_bytes();
    for round in 0_u64..200 {
        for number in 0..1000 {
            // Both ways, far and near.
            let ahead = (round * 7919 + number * 104_729) % 1_000_000;
            world.expire(&format!("{number}"), Some(1 + ahead));
        }
    }
    let moved = world.map.heap_bytes();
    assert!(moved <= bytes + 3 * 1000 * 12 + 4096, "{moved} for {bytes}");
    for number in 0..1000 {
        world.expire(&format!("{number}"), None);
    }
    for number in 0..1000 {
        world.set(&format!("{number}"), None);
    }
    world.now += 2_000_000;
    world.take_out(100, true);
    assert_eq!(world.map.len(), 1000);
    assert_eq!(world.map.ending(), 0);
}

#[test]
fn the_deadline_of_a_value_takes_little_more_than_it_and_nothing_else_anything() {
    let bytes = |ahead: Option<u64>| {
        let mut world = World::new();
        for number in 0..100_000 {
            world.now += 1;
            world.map.set(
                &key(&format!("{number:06}")),
                Value {
                    body: "0123456789".into(),
                    expires_at: ahead.map(|ahead| Deadline::from_millis(world.now + ahead)),
                    ..value(0)
                },
            );
        }
        world.map.settle();
        world.map.heap_bytes()
    };
    let (lasting, ending) = (bytes(None), bytes(Some(3_600_000)));
    let each = (ending - lasting) as f64 / 100_000.0;
    assert!(each <= 30.0, "{each} bytes a deadline");
}
