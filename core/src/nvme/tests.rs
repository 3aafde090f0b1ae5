//! Tests of whole commands.

mod events;
mod fused;
mod io;
mod io_fixture;
mod log;
