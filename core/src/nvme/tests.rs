//! Tests of whole commands.

mod admin;
mod admin_features;
mod admin_hostile;
mod admin_identify;
mod admin_properties;
mod conflicts;
mod events;
mod fused;
mod hostile;
mod io;
mod io_fixture;
mod log;
mod maps;
mod reservation_events;
mod reservations;
