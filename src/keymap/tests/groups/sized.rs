//! Groups of one key to thousands, in all that a segment's matches can be: ranges of ranks, lists and rectangles.

use super::*;

/// Names of which each letter has groups of another size, in no order: of one key, of tens, of
/// thousands, and keys without a group.
fn sized() -> Vec<String> {
    let class = |number: u32| ["x", "y", "y", "z"][(number as usize ^ number as usize >> 5) % 4];
    let name = |number: u32| {
        let class = class(number);
        match number % 4 {
            0 => format!("s{number:05}/{class}"),
            1 => format!("t{:03}/{number:05}/{class}", number / 4 % 400),
            2 => format!("u{}/{number:05}/{class}", number / 4 % 5),
            _ => format!("v{number:05}.{class}"),
        }
    };
    let count = 64_000;
    (0..count)
        .map(|number| name(number * 7919 % count))
        .collect()
}

/// Checks what takes many keys: ranges of ranks, lists and rectangles.
fn check_sized(world: &World) {
    for (prefix, suffix, delimiter) in [
        ("", "", "/"),
        ("", "x", "/"),
        ("", "/y", "/"),
        ("u", "", "/"),
        ("u", "y", "/"),
        ("t0", "x", "/"),
        ("u3/", "z", "1"),
        ("v", "y", "."),
        ("", "7/y", "0"),
        ("s", "", "0/"),
    ] {
        let grouping = grouping(prefix, suffix, delimiter);
        check_pages(world, &grouping, &["t200/5", "u2/", "u1/9", "v3"]);
    }
}

/// Checks all pages, the first above some texts, and the total.
fn check_pages(world: &World, grouping: &Grouping, texts: &[&str]) {
    let expected = walked(&world.keys, grouping, b"");
    for paging in [(100, GoOn::AtResume), (777, GoOn::AfterLastItem)] {
        let found = paged(&world.index, grouping, b"", paging).0;
        assert!(found == expected, "{grouping:?}, {paging:?}");
    }
    for after in texts {
        let page = world.index.groups(grouping, after.as_bytes(), 100);
        let found: Vec<Item> = page.items.iter().map(owned).collect();
        let is_above = |item: &&Item| item.0.as_slice() > after.as_bytes();
        let above: Vec<Item> = expected.iter().filter(is_above).cloned().collect();
        assert!(above.starts_with(&found), "{grouping:?} above {after:?}");
        assert!(page.resume.is_some() || found.len() == above.len());
    }
    let (_, total) = world.index.groups_and_count(grouping, b"", 1);
    let filter = &grouping.filter;
    let names = world.keys.iter();
    let matches = names.filter(|key| filter.matches(key.as_bytes()));
    assert_eq!(total, matches.count());
}

#[test]
fn groups_of_any_size_are_those_of_a_walk_after_mass_deletes_too() {
    let mut world = World::default();
    for name in sized() {
        world.set(name);
        if world.keys.len().is_multiple_of(1024) {
            world.settle();
        }
    }
    check_sized(&world);
    let number = |name: &str| {
        let digits = name.bytes().filter(u8::is_ascii_digit);
        let add = |number: u32, digit: u8| number.wrapping_mul(31).wrapping_add(digit.into());
        digits.fold(0, add)
    };
    // So few that they are folded, and not cleared away.
    world.delete_where(|name| number(name) % 11 == 0);
    check_sized(&world);
    world.settle();
    check_sized(&world);
    // Groups of which nothing is left, and others of which little matches.
    world.delete_where(|name| name.starts_with("u3/") || name.starts_with("t0"));
    world.delete_where(|name| name.ends_with('x') && number(name) % 100 != 0);
    check_sized(&world);
    world.settle();
    check_sized(&world);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(effort(6, 60)))]
    #[test]
    fn groups_within_groups_are_those_of_a_walk_however_large_and_long_their_texts(
        sizes in prop::collection::vec(
            prop_oneof![4 => 1..4_usize, 2 => 8..40_usize, 1 => 200..2000_usize],
            20..60,
        ),
        filler in prop_oneof![Just(0), 1..40_usize, Just(300)],
        (parts, doomed_of) in (1..5_usize, 2..20_usize),
    ) {
        let mut world = World::default();
        let filler = "p".repeat(filler);
        let sized = sizes.iter().enumerate();
        let mut names: Vec<String> = sized.flat_map(|(group, size)| {
            let text = format!("{filler}{:02}::{}", group / 4, ["", "a:", "a::", "b::/"][group % 4]);
            (0..*size).map(move |key| {
                // One of 16, one of 2, and nearly all.
                let class = ["x/", "y/", "y/"][usize::from(key % 16 > 0) + usize::from(key % 2 > 0)];
                let end = if key % 50 == 7 { "w" } else { "z" };
                format!("{text}{:05}{class}{end}", key * 7919 % 100_000)
            })
        }).collect();
        names.sort_unstable_by_key(|name| name.bytes().rev().map(usize::from).sum::<usize>() % 97);
        for some in names.chunks(names.len() / parts + 1) {
            some.iter().for_each(|name| world.set(name.clone()));
            world.index.freeze();
            world.settle();
        }
        let groupings = [
            ("", "", "::"), ("", "z", "::"), ("", "y/z", "::"), ("", "x/z", "::"), ("", "w", "::"),
            ("", "z", ":"), ("", "y/z", "::/"), ("", "z", "a:"), ("", "", "1"), ("", "z", "00"),
        ];
        for round in 0..2 {
            for (prefix, suffix, delimiter) in groupings {
                check_pages(&world, &grouping(prefix, suffix, delimiter), &["03::", "p", "05::a:7"]);
            }
            for (prefix, suffix) in [("0", "z"), ("01::", ""), ("03::a:", "y/z")] {
                let prefix = format!("{filler}{prefix}");
                check_pages(&world, &grouping(&prefix, suffix, "::"), &[&format!("{prefix}4")]);
            }
            if round == 0 {
                let doomed = names.iter().step_by(doomed_of).cloned();
                let doomed: BTreeSet<String> = doomed.collect();
                world.delete_where(|name| doomed.contains(name));
            }
        }
    }
}
