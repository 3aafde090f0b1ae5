//! The whole device, as an initiator sees it.

mod blocks;
mod conditional;
mod copies;
mod hostile;
mod hosts;
mod identity;
mod logs;
mod maps;
mod maps_copies;
mod maps_indices;
mod maps_protected;
mod maps_random;
mod modes;
mod provisioning;
mod reports;
mod reserve;
mod reserve_access;
mod reserve_hosts;
mod reserve_legacy;
mod reserve_lists;
mod sessions;
