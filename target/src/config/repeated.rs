//! Patterns that a group has more than once.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use super::document::show;
use super::target::{GroupConfig, TargetConfig};

impl GroupConfig {
    /// Patterns that are there before: where they are again, as what, and as what they are there first. They mean nothing the second time,
    /// and whoever takes one of them out by hand may believe that it is gone.
    pub(super) fn repeated(&self) -> Vec<(usize, &str, &str)> {
        let mut seen = HashMap::new();
        let mut repeated = Vec::new();
        for (at, pattern) in self.initiators.iter().enumerate() {
            // As access groups compare them.
            match seen.entry(pattern.to_ascii_lowercase()) {
                Entry::Vacant(free) => {
                    free.insert(pattern.as_str());
                }
                Entry::Occupied(first) => repeated.push((at, pattern.as_str(), *first.get())),
            }
        }
        repeated
    }
}

impl TargetConfig {
    /// Warnings of groups that have a pattern more than once.
    pub(super) fn listed_twice(&self) -> Vec<String> {
        let of = |group: &GroupConfig| {
            let repeated = group.repeated();
            let (_, pattern, first) = *repeated.first()?;
            let more = match repeated.len() {
                1 => String::new(),
                all => format!(" (and {} more)", all - 1),
            };
            Some(format!(
                "target {}, group {}: \"initiators\" has {} more than once, first as {}{more}; keep one of them: case does not count",
                self.name,
                group.name,
                show(pattern),
                show(first)
            ))
        };
        self.groups.iter().filter_map(of).collect()
    }
}
