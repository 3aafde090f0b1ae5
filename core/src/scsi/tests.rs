//! The whole device, as an initiator sees it.

mod blocks;
mod hostile;
mod identity;
mod modes;
mod reports;
mod sessions;
