//! Searches that are divided into groups, against keys that are walked one by one.

mod costs;
mod sized;

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
