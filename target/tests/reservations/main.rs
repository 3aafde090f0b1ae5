//! The file of a device's reservations: what it survives, and what it refuses.
#![forbid(unsafe_code)]

mod crash;
mod daemon;
mod faults;
mod files;
mod model;
mod support;
