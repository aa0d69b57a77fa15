//! Keeping events by the name of their change.

use std::collections::BTreeSet;

use tailwater_model::{Change, ChangeEvent, Rejected, RemoveCause, Transform};

/// The names that `keep` knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ChangeName {
    /// The item came into being.
    Insert,
    /// The item changed.
    Modify,
    /// A request removed the item.
    Remove,
    /// Time to live removed the item.
    Ttl,
}

impl ChangeName {
    /// All names, in the order in which an item lives through them.
    pub const ALL: [Self; 4] = [Self::Insert, Self::Modify, Self::Remove, Self::Ttl];

    /// The name as users write it, the same as [`Change::name`].
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Insert => "insert",
            Self::Modify => "modify",
            Self::Remove => "remove",
            Self::Ttl => "ttl",
        }
    }

    /// The meaning of a name, if it is one of the four.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|known| known.as_str() == name)
    }

    fn of(change: &Change) -> Self {
        match change {
            Change::Insert { .. } => Self::Insert,
            Change::Modify { .. } => Self::Modify,
            Change::Remove { cause: RemoveCause::Request, .. } => Self::Remove,
            Change::Remove { cause: RemoveCause::TimeToLive, .. } => Self::Ttl,
        }
    }
}

/// Keeps the events with the given names and filters the others.
#[derive(Clone, Debug)]
pub struct KeepChanges(BTreeSet<ChangeName>);

impl KeepChanges {
    /// Keeps these. An empty set filters every event.
    pub fn new(names: impl IntoIterator<Item = ChangeName>) -> Self {
        Self(names.into_iter().collect())
    }
}

impl Transform for KeepChanges {
    fn apply(&self, event: ChangeEvent, out: &mut Vec<ChangeEvent>) -> Result<(), Rejected> {
        if self.0.contains(&ChangeName::of(&event.change)) {
            out.push(event);
        }
        Ok(())
    }

    fn follow(&self, _path: &mut [String]) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rewrite::sample::{apply, event_of};

    fn changes() -> [Change; 4] {
        [
            Change::Insert { new: None },
            Change::Modify { old: None, new: None },
            Change::Remove { old: None, cause: RemoveCause::Request },
            Change::Remove { old: None, cause: RemoveCause::TimeToLive },
        ]
    }

    #[test]
    fn exactly_the_named_changes_stay() {
        for names in 0..16_u32 {
            let kept: Vec<_> = ChangeName::ALL
                .into_iter()
                .enumerate()
                .filter(|(bit, _)| names & (1 << bit) != 0)
                .map(|(_, n)| n)
                .collect();
            let keep = KeepChanges::new(kept.clone());
            let stayed: Vec<_> = changes()
                .into_iter()
                .filter(|change| apply(&keep, event_of(change.clone())).is_ok_and(|events| events.len() == 1))
                .map(|change| change.name())
                .collect();
            assert_eq!(stayed, kept.iter().map(|name| name.as_str()).collect::<Vec<_>>());
        }
    }

    #[test]
    fn names_are_those_of_the_model() {
        for change in changes() {
            assert_eq!(ChangeName::parse(change.name()).map(ChangeName::as_str), Some(change.name()));
            assert_eq!(ChangeName::of(&change).as_str(), change.name());
        }
        assert_eq!(ChangeName::parse("INSERT"), None);
    }
}
