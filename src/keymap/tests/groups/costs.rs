//! What pages of groups take, and where they end.

use super::*;

#[test]
fn a_search_among_dead_groups_goes_on() {
    let mut world = World::default();
    for number in 0..30_000 {
        world.set(format!("{number:05}/{}", ["x", "y"][number % 2]));
        if number % 1024 == 0 {
            world.settle();
        }
    }
    world.settle();
    world.delete_where(|name| name.ends_with('x') && name != "29998/x");
    let grouping = grouping("", "/x", "/");
    let page = world.index.groups(&grouping, b"", 10);
    assert!(page.items.is_empty() && page.resume.is_some(), "{page:?}");
    let (found, pages) = paged(&world.index, &grouping, b"", (10, GoOn::AtResume));
    assert_eq!(found, [(b"29998/".to_vec(), Some(1))]);
    assert!(pages < 200, "{pages} pages");
}

/// A world of so many groups of so many keys each, whose jobs are done.
fn settled(groups: usize, keys: usize) -> World {
    let mut world = World::default();
    for key in 0..keys {
        for group in 0..groups {
            let class = ["x", "y"][(key ^ group) % 2];
            world.set(format!("{group:05}/{key:05}{class}"));
            if world.keys.len().is_multiple_of(1024) {
                world.settle();
            }
        }
    }
    world.settle();
    world
}

#[test]
fn a_group_of_many_keys_costs_a_search_no_walk_over_them() {
    let world = settled(50, 2000);
    for (suffix, most) in [("", 4), ("x", 12)] {
        let grouping = grouping("", suffix, "/");
        let (found, pages) = paged(&world.index, &grouping, b"", (100, GoOn::AtResume));
        let keys = found.iter().filter_map(|(_, keys)| *keys).sum::<usize>();
        let matches = world.keys.iter().filter(|name| name.ends_with(suffix));
        assert_eq!((found.len(), keys), (50, matches.count()));
        // A walk over 100,000 keys takes twelve pages at the least, and a hundred with a suffix.
        assert!(pages <= most, "{pages} pages for {suffix:?}");
    }
}

#[test]
fn a_page_of_groups_ends_before_it_takes_too_long() {
    let world = settled(20_000, 2);
    for suffix in ["", "x"] {
        let page = world
            .index
            .groups(&grouping("", suffix, "/"), b"", usize::MAX);
        assert!(
            (100..8192).contains(&page.items.len()),
            "{}",
            page.items.len()
        );
        let last = page.items.last_text();
        assert!(page.resume.is_some_and(|resume| Some(&*resume) >= last));
    }
}

#[test]
fn what_a_long_text_takes_is_work_of_the_page() {
    let items = |text: &str| {
        let mut world = World::default();
        for number in 0..20_000 {
            world.set(format!("{text}{:04}/{:02}", number / 20, number % 20));
        }
        world.settle();
        let page = world.index.groups(&grouping("p", "", "/"), b"", usize::MAX);
        page.items.len()
    };
    let (short, long) = (items("p"), items(&"p".repeat(900)));
    assert!(long < short, "{long} items, and {short}");
    assert!(long > 0, "a page gives items, however long");
}
