//! A key map of which nine in ten keys are deleted, whichever, against one that never held them.

use super::*;

fn key(number: usize) -> Key {
    Key::parse(format!("key{number}").into(), 1024).unwrap()
}

fn small(number: usize) -> Value {
    Value {
        body: number.to_string().into(),
        ..plain(0)
    }
}

/// Sets some keys as a busy map does.
fn set(map: &mut KeyMap, numbers: impl Iterator<Item = usize>, value: impl Fn(usize) -> Value) {
    for (step, number) in numbers.enumerate() {
        assert!(map.set(&key(number), value(number)), "it is new");
        if step % 4096 == 0 {
            map.settle();
            map.compact(Need::Thrift);
        }
    }
    map.settle();
}

#[test]
fn slots_that_nine_in_ten_deletes_leave_free_take_next_to_nothing() {
    // Ten pieces of places to the last slot: of few pieces, what each has once would be most.
    let keys = 10 * 16 * 1024;
    let mut state = 7;
    let mut is_lucky = Vec::from_iter((0..keys).map(|_| random(&mut state).is_multiple_of(10)));
    is_lucky[keys - 1] = true;
    let patterns: [(&str, &dyn Fn(usize) -> bool); 4] = [
        ("random ones stay", &|number| is_lucky[number]),
        ("every tenth stays", &|number| number % 10 == 9),
        ("the front stays", &|number| number < keys / 10),
        ("the back stays", &|number| number >= keys / 10 * 9),
    ];
    let mut map = KeyMap::default();
    set(&mut map, 0..keys, small);
    let full = map.values.places.memory_bytes();
    for (pattern, stays) in patterns {
        let gone = (0..keys).filter(|number| !stays(*number));
        for (step, number) in gone.enumerate() {
            assert!(map.delete(&key(number)), "{pattern}");
            if step % 4096 == 0 {
                map.settle();
            }
        }
        map.settle();
        while map.compact(Need::Room) {}
        let mut fresh = KeyMap::default();
        set(&mut fresh, (0..keys).filter(|number| stays(*number)), small);
        let held = map.values.places.memory_bytes();
        let bound = 2 * fresh.values.places.memory_bytes() + 64 * 1024;
        assert!(held <= bound, "{pattern}: {held} bytes of places, {bound}");
        let (held, fresh) = (map.heap_bytes(), fresh.heap_bytes());
        let bound = fresh + fresh / 4 + 1024 * 1024;
        assert!(
            held <= bound,
            "{pattern}: {held} bytes, {fresh} in a new one"
        );
        // A large value, a longer one, and the same again.
        let stayed = || (0..keys).filter(|number| stays(*number));
        for len in [300, 40] {
            for number in stayed().filter(|number| number % 3 == 0) {
                assert!(!map.set(&key(number), plain(len)), "{pattern}");
            }
        }
        for number in stayed() {
            let expected = if number % 3 == 0 {
                plain(40)
            } else {
                small(number)
            };
            assert_eq!(map.get(&key(number)), Some(expected), "{pattern}");
            map.set(&key(number), small(number));
        }
        set(&mut map, (0..keys).filter(|number| !stays(*number)), small);
        for number in 0..keys {
            assert_eq!(map.get(&key(number)), Some(small(number)), "{pattern}");
        }
        let again = map.values.places.memory_bytes();
        assert!(again <= full + full / 8, "{pattern}: {again} of {full}");
        // All places are in arrays again.
        assert!(map.values.places.is_plain(), "{pattern}");
    }
}
