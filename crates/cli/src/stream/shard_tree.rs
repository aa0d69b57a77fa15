//! A stream's shards as a tree: a parent above its children. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use tailwater_source_dynamodb::DescribedShard;

/// One line of the tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TreeLine<'a> {
    /// What stands before the shard: its place in the tree.
    pub branch: String,
    /// The shard.
    pub shard: &'a DescribedShard,
    /// The shard has a parent that is not listed any more: it was trimmed.
    pub parent_trimmed: bool,
}

/// Orders the shards as a tree. Every shard appears exactly once, also when the lineage in the listing is broken or runs
/// in a circle.
pub fn shard_tree(shards: &[DescribedShard]) -> Vec<TreeLine<'_>> {
    let listed: BTreeMap<&str, &DescribedShard> = shards.iter().map(|shard| (shard.shard.as_str(), shard)).collect();
    let mut children: BTreeMap<&str, Vec<&DescribedShard>> = BTreeMap::new();
    let mut roots = Vec::new();
    for shard in listed.values() {
        match shard.parent.as_ref().filter(|parent| listed.contains_key(parent.as_str())) {
            Some(parent) => children.entry(parent.as_str()).or_default().push(shard),
            None => roots.push(*shard),
        }
    }
    let mut tree = Tree { children, seen: BTreeSet::new(), lines: Vec::new() };
    // What no root leads to runs in a circle: each circle is entered somewhere.
    for root in roots.into_iter().chain(listed.into_values()) {
        tree.grow(root);
    }
    tree.lines
}

struct Tree<'a> {
    children: BTreeMap<&'a str, Vec<&'a DescribedShard>>,
    seen: BTreeSet<&'a str>,
    lines: Vec<TreeLine<'a>>,
}

impl<'a> Tree<'a> {
    /// Adds a shard and all that descends from it. An explicit stack: a lineage can be longer than the program's own.
    fn grow(&mut self, root: &'a DescribedShard) {
        let mut waiting = vec![(root, String::new(), String::new())];
        while let Some((shard, branch, indent)) = waiting.pop() {
            if !self.seen.insert(shard.shard.as_str()) {
                continue;
            }
            let parent_trimmed = branch.is_empty() && shard.parent.is_some();
            self.lines.push(TreeLine { branch, shard, parent_trimmed });
            let children = self.children.get(shard.shard.as_str()).map(Vec::as_slice).unwrap_or_default();
            for (from_last, child) in children.iter().rev().enumerate() {
                let (corner, below) = if from_last == 0 { ("└─ ", "   ") } else { ("├─ ", "│  ") };
                waiting.push((child, format!("{indent}{corner}"), format!("{indent}{below}")));
            }
        }
    }
}

/// The tree as text, one line per shard: its id, its state and the range of its sequence numbers.
pub fn tree_text(shards: &[DescribedShard]) -> String {
    let lines = shard_tree(shards);
    let width = |line: &TreeLine<'_>| line.branch.chars().count() + line.shard.shard.as_str().chars().count();
    let widest = lines.iter().map(width).max().unwrap_or_default();
    lines.iter().fold(String::new(), |mut text, line| {
        let TreeLine { branch, shard, parent_trimmed } = line;
        let fill = " ".repeat(widest - width(line));
        let starting = shard.starting.as_ref().map_or("?", |number| number.as_str());
        let range = match &shard.ending {
            Some(ending) => format!("closed  {starting} … {ending}"),
            None => format!("open    {starting} …"),
        };
        let note = match (&shard.parent, parent_trimmed) {
            (Some(parent), true) => format!("  (parent {parent} is not listed any more)"),
            _ => String::new(),
        };
        let _infallible = writeln!(text, "{branch}{}{fill}  {range}{note}", shard.shard);
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use tailwater_model::{SequenceNumber, ShardId};

    fn shard(id: &str, parent: Option<&str>, range: (u32, Option<u32>)) -> DescribedShard {
        let number = |number: u32| SequenceNumber::parse(number.to_string().into()).ok();
        DescribedShard {
            shard: ShardId::new(id),
            parent: parent.map(ShardId::new),
            starting: number(range.0),
            ending: range.1.and_then(number),
        }
    }

    #[test]
    fn parents_stand_above_their_children_whatever_the_order_of_the_listing() {
        let mut shards = vec![
            shard("s5", Some("s3"), (500, None)),
            shard("s2", Some("s1"), (200, None)),
            shard("s3", Some("s1"), (201, Some(499))),
            shard("s1", Some("s0"), (100, Some(199))),
            shard("a9", None, (7, None)),
        ];
        let expected = "\
a9        open    7 …
s1        closed  100 … 199  (parent s0 is not listed any more)
├─ s2     open    200 …
└─ s3     closed  201 … 499
   └─ s5  open    500 …
";
        assert_eq!(tree_text(&shards), expected);
        shards.reverse();
        assert_eq!(tree_text(&shards), expected);
        assert_eq!(tree_text(&[]), "");
    }

    #[test]
    fn siblings_of_a_grown_shard_keep_their_line() {
        let shards = [
            shard("r", None, (1, Some(2))),
            shard("r1", Some("r"), (3, Some(4))),
            shard("r2", Some("r"), (3, None)),
            shard("r11", Some("r1"), (5, None)),
        ];
        let branches: Vec<String> =
            shard_tree(&shards).iter().map(|line| format!("{}{}", line.branch, line.shard.shard)).collect();
        assert_eq!(branches, ["r", "├─ r1", "│  └─ r11", "└─ r2"]);
    }

    #[test]
    fn circles_and_long_lineages_are_shown_once_and_end() {
        let circle =
            [shard("b", Some("a"), (1, None)), shard("a", Some("b"), (1, None)), shard("c", Some("c"), (1, None))];
        assert_eq!(shard_tree(&circle).len(), 3);
        let long: Vec<DescribedShard> = (0..1000)
            .map(|n: u32| shard(&format!("{n:05}"), n.checked_sub(1).map(|n| format!("{n:05}")).as_deref(), (n, None)))
            .collect();
        assert_eq!(shard_tree(&long).len(), 1000);
    }
}
