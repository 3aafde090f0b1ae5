//! PRE-FETCH (SBC-3).
//!
//! CONDITION MET would promise that all the blocks fit into the cache. The page cache is everybody's and promises nothing,
//! so the status is GOOD, which says that not all of them may stay there.

use super::cdb::Cdb;
use super::plan::{Context, Planned};
use super::read_write::{self, Form, SIXTEEN, TEN};
use crate::block::BlockOp;

/// PRE-FETCH (10).
pub(crate) fn prefetch10(context: &Context<'_>, cdb: &Cdb) -> Planned {
    prefetch(context, cdb, &TEN)
}

/// PRE-FETCH (16).
pub(crate) fn prefetch16(context: &Context<'_>, cdb: &Cdb) -> Planned {
    prefetch(context, cdb, &SIXTEEN)
}

/// IMMED changes nothing: starting to read ahead is all that is waited for, either way.
fn prefetch(context: &Context<'_>, cdb: &Cdb, form: &Form) -> Planned {
    let range = read_write::range_or_rest(context, cdb, form)?;
    context.block(BlockOp::Prefetch(range), false, false)
}
