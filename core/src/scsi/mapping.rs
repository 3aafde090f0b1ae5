//! LUN maps, as whoever decides about access gives them.

use std::sync::Arc;

use super::unit::{LogicalUnit, UnitId};

/// What a logical unit number stands for.
#[derive(Clone, Debug)]
pub struct Mapping {
    /// The disk.
    pub unit: Arc<LogicalUnit>,
    /// Whether it is write protected for who sees it by this number, whatever it is for others.
    pub read_only: bool,
}

impl From<Arc<LogicalUnit>> for Mapping {
    /// With leave to write.
    fn from(unit: Arc<LogicalUnit>) -> Self {
        Self {
            unit,
            read_only: false,
        }
    }
}

/// How a session's LUN map was changed. All lists are in ascending order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LunChanges {
    /// Numbers that stand for a unit that they did not stand for before.
    pub added: Vec<u32>,
    /// Numbers that do not stand any more for the unit that they stood for. One that stands for another one is in both.
    pub removed: Vec<u32>,
    /// Units that no number stands for any more.
    pub lost: Vec<UnitId>,
}

impl LunChanges {
    /// Whether every number stands for what it stood for.
    pub fn is_empty(&self) -> bool {
        self.added.is_empty() && self.removed.is_empty()
    }
}
