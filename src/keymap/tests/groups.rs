//! Searches that are divided into groups, against keys that are walked one by one.

use super::*;
use crate::model::{Delimiter, GroupItem};
use std::collections::BTreeSet;

/// The text of an item, and how many keys it has where it is a group.
type Item = (Vec<u8>, Option<usize>);

fn owned(item: GroupItem<'_>) -> Item {
    match item {
        GroupItem::Key(key) => (key.to_vec(), None),
        GroupItem::Group { text, keys } => (text.to_vec(), Some(keys)),
    }
}

fn grouping(prefix: &str, suffix: &str, delimiter: &str) -> Grouping {
    Grouping {
        filter: Filter {
            prefix: prefix.into(),
            suffix: suffix.into(),
        },
        delimiter: Delimiter::new(delimiter.as_bytes()).unwrap(),
    }
}

/// The items above `after`, by a walk over all keys.
fn walked(keys: &BTreeSet<String>, grouping: &Grouping, after: &[u8]) -> Vec<Item> {
    let Grouping { filter, delimiter } = grouping;
    let delimiter = delimiter.as_bytes();
    let mut items: BTreeMap<Vec<u8>, Option<usize>> = BTreeMap::new();
    let names = keys.iter().map(String::as_bytes);
    for key in names.filter(|key| filter.matches(key)) {
        let rest = &key[filter.prefix.len()..];
        let mut windows = rest.windows(delimiter.len());
        match windows.position(|window| window == delimiter) {
            None => {
                items.insert(key.to_vec(), None);
            }
            Some(at) => {
                let text = &key[..filter.prefix.len() + at + delimiter.len()];
                let keys = items.entry(text.to_vec()).or_default();
                *keys = Some(keys.unwrap_or(0) + 1);
            }
        }
    }
    let is_above = |text: &[u8]| after.is_empty() || text > after;
    let above = items.into_iter().filter(|(text, _)| is_above(text));
    above.collect()
}

/// Where the next page of a search begins.
#[derive(Clone, Copy, Debug)]
enum GoOn {
    AtResume,
    AfterLastItem,
}

/// All items above `after`, in pages of at most `limit`, and how many pages there were.
fn paged(
    index: &KeyIndex,
    grouping: &Grouping,
    after: &[u8],
    (limit, go_on): (usize, GoOn),
) -> (Vec<Item>, usize) {
    let mut items: Vec<Item> = Vec::new();
    let mut after = after.to_vec();
    for pages in 1.. {
        let page = index.groups(grouping, &after, limit);
        assert!(page.items.len() <= limit);
        let found: Vec<Item> = page.items.iter().map(owned).collect();
        let last = found.last().map(|(text, _)| text.clone());
        items.extend(found);
        let Some(resume) = page.resume else {
            let nothing = items
                .last()
                .map(|(text, _)| index.groups(grouping, text, 3));
            assert!(nothing.is_none_or(|page| page.items.is_empty()));
            return (items, pages);
        };
        let resume = resume.into_vec();
        assert!(resume > after, "each page makes progress");
        assert!(last.as_ref().is_none_or(|last| *last <= resume));
        after = match go_on {
            GoOn::AtResume => resume,
            GoOn::AfterLastItem => last.unwrap_or(resume),
        };
    }
    unreachable!("a search has an end")
}

/// Checks all that there is to ask.
fn check(index: &KeyIndex, keys: &BTreeSet<String>, grouping: &Grouping, after: &[u8]) {
    let expected = walked(keys, grouping, after);
    for paging in [(1, GoOn::AtResume), (3, GoOn::AfterLastItem)] {
        let found = paged(index, grouping, after, paging).0;
        assert_eq!(found, expected, "{grouping:?} above {after:?}, {paging:?}");
    }
    let filter = &grouping.filter;
    let matches = keys.iter().filter(|key| filter.matches(key.as_bytes()));
    let (page, total) = index.groups_and_count(grouping, after, 5);
    assert_eq!(total, matches.count());
    let first: Vec<Item> = page.items.iter().map(owned).collect();
    assert!(expected.starts_with(&first));
    assert!(page.resume.is_some() || first.len() == expected.len());
}

#[derive(Clone, Debug)]
enum Act {
    Set(Vec<String>),
    Delete(Vec<String>),
    DeleteMatches(Filter),
    Freeze,
    Start,
    Run(prop::sample::Index),
    Finish(prop::sample::Index),
    Settle,
    Search(Search),
}

#[derive(Clone, Debug)]
struct Search {
    prefix: String,
    suffix: String,
    delimiter: &'static str,
    after: String,
    limit: usize,
}

/// Names of few distinct bytes, so that delimiters overlap, and straddle what filters end and begin with.
fn names(bytes: std::ops::Range<usize>) -> impl Strategy<Value = String> {
    let byte = prop::sample::select(vec!["a", "/", ":"]);
    prop::collection::vec(byte, bytes).prop_map(|bytes| bytes.concat())
}

fn search() -> impl Strategy<Value = Search> {
    let delimiter = prop::sample::select(vec!["/", "//", "/a", ":", ":/:", "aa"]);
    let asked = (names(0..4), names(0..3), delimiter, names(0..8), 1..6_usize);
    asked.prop_map(|(prefix, suffix, delimiter, after, limit)| Search {
        prefix,
        suffix,
        delimiter,
        after,
        limit,
    })
}

fn act() -> impl Strategy<Value = Act> {
    let some = || prop::collection::vec(names(1..8), 1..40);
    let filter = (names(0..4), names(0..3)).prop_map(|(prefix, suffix)| Filter {
        prefix: prefix.into(),
        suffix: suffix.into(),
    });
    prop_oneof![
        6 => some().prop_map(Act::Set),
        3 => some().prop_map(Act::Delete),
        1 => filter.prop_map(Act::DeleteMatches),
        3 => Just(Act::Freeze),
        4 => Just(Act::Start),
        3 => any::<prop::sample::Index>().prop_map(Act::Run),
        3 => any::<prop::sample::Index>().prop_map(Act::Finish),
        1 => Just(Act::Settle),
        4 => search().prop_map(Act::Search),
    ]
}

/// An index, what it should hold, and its jobs.
#[derive(Default)]
struct World {
    index: KeyIndex,
    keys: BTreeSet<String>,
    jobs: Vec<Job>,
    outcomes: Vec<Outcome>,
}

impl World {
    fn set(&mut self, name: String) {
        if !self.keys.contains(&name) {
            self.index.insert(name.as_bytes(), 0);
            self.keys.insert(name);
        }
    }

    fn delete(&mut self, name: &str) {
        let was_there = self.keys.remove(name);
        assert_eq!(self.index.remove(name.as_bytes()).is_some(), was_there);
    }

    fn delete_where(&mut self, is_doomed: impl Fn(&str) -> bool) {
        let doomed = self.keys.iter().filter(|name| is_doomed(name)).cloned();
        let doomed: Vec<String> = doomed.collect();
        doomed.iter().for_each(|name| self.delete(name));
    }

    fn put(&mut self, outcome: Outcome) {
        match self.index.finish(outcome) {
            Finish::Done => {}
            Finish::Again(job) => self.jobs.push(job),
        }
    }

    fn settle(&mut self) {
        loop {
            while let Some(job) = self.index.next_job() {
                self.jobs.push(job);
            }
            self.outcomes.extend(self.jobs.drain(..).map(Job::run));
            match self.outcomes.pop() {
                None => return,
                Some(outcome) => self.put(outcome),
            }
        }
    }

    fn act(&mut self, act: Act) {
        match act {
            Act::Set(names) => names.into_iter().for_each(|name| self.set(name)),
            Act::Delete(names) => names.iter().for_each(|name| self.delete(name)),
            Act::DeleteMatches(filter) => {
                self.delete_where(|name| filter.matches(name.as_bytes()));
            }
            Act::Freeze => self.index.freeze(),
            Act::Start => self.jobs.extend(self.index.next_job()),
            Act::Run(at) => {
                if !self.jobs.is_empty() {
                    let job = self.jobs.swap_remove(at.index(self.jobs.len()));
                    self.outcomes.push(job.run());
                }
            }
            Act::Finish(at) => {
                if !self.outcomes.is_empty() {
                    let at = at.index(self.outcomes.len());
                    let outcome = self.outcomes.swap_remove(at);
                    self.put(outcome);
                }
            }
            Act::Settle => self.settle(),
            Act::Search(search) => self.search(&search),
        }
    }

    /// Searches above any text, and above items, what follows on them, and what they begin with.
    fn search(&self, search: &Search) {
        let grouping = grouping(&search.prefix, &search.suffix, search.delimiter);
        let after = search.after.as_bytes();
        check(&self.index, &self.keys, &grouping, after);
        let paging = (search.limit, GoOn::AtResume);
        let found = paged(&self.index, &grouping, after, paging).0;
        for (text, _) in found.iter().take(3) {
            let longer = [text.as_slice(), b"a"].concat();
            let shorter = text[..text.len() - 1].to_vec();
            for after in [text.clone(), longer, shorter] {
                check(&self.index, &self.keys, &grouping, &after);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]
    #[test]
    fn groups_are_those_of_a_walk_whenever_jobs_land(acts in prop::collection::vec(act(), 1..60)) {
        let mut world = World::default();
        for act in acts {
            world.act(act);
        }
        world.settle();
        for delimiter in ["/", "//", "/a", ":"] {
            check(&world.index, &world.keys, &grouping("", "", delimiter), b"");
        }
    }
}

#[test]
fn a_group_counts_what_matches_in_all_parts() {
    let mut world = World::default();
    for names in [
        ["a/1", "a/2.x", "b"],
        ["a/3.x", "a//x", "c/"],
        ["a", "d/x", "a/x"],
    ] {
        names.iter().for_each(|name| world.set((*name).into()));
        world.index.freeze();
        world.settle();
    }
    world.set("a/4.x".into());
    world.delete("a/3.x");
    let all = |prefix: &str, suffix: &str, after: &str| {
        let grouping = grouping(prefix, suffix, "/");
        let (page, total) = world.index.groups_and_count(&grouping, after.as_bytes(), 9);
        assert_eq!(page.resume, None);
        let text = |(text, keys): Item| (String::from_utf8(text).unwrap(), keys);
        let items: Vec<(String, Option<usize>)> = page.items.iter().map(owned).map(text).collect();
        (items, total)
    };
    let items = |items: &[(&str, Option<usize>)]| {
        let owned = items.iter().map(|(text, keys)| ((*text).to_owned(), *keys));
        owned.collect::<Vec<_>>()
    };
    let whole = [
        ("a", None),
        ("a/", Some(5)),
        ("b", None),
        ("c/", Some(1)),
        ("d/", Some(1)),
    ];
    assert_eq!(all("", "", ""), (items(&whole), 9));
    let ending = [("a/", Some(4)), ("d/", Some(1))];
    assert_eq!(all("", "x", ""), (items(&ending), 5));
    let within = [
        ("a//", Some(1)),
        ("a/2.x", None),
        ("a/4.x", None),
        ("a/x", None),
    ];
    assert_eq!(all("a/", "x", ""), (items(&within), 4));
    // Above a group is above all of its keys, also for one of them.
    assert_eq!(all("", "", "a/"), (items(&whole[2..]), 9));
    assert_eq!(all("", "", "a/2"), (items(&whole[2..]), 9));
    assert_eq!(all("", "", "a"), (items(&whole[1..]), 9));
    assert_eq!(all("", "", "d/"), (Vec::new(), 9));
}

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
