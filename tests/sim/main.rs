//! The whole daemon over the simulated fabric: see the crate's documentation for how seeds work.

mod chaos;
mod credits;
mod data;
mod faults;
mod hostile;
mod login;
mod loss;
mod management;
