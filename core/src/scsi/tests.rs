//! The whole device, as an initiator sees it.

mod blocks;
mod hostile;
mod identity;
mod logs;
mod modes;
mod reports;
mod sessions;
