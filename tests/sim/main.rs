//! The whole daemon over the simulated fabric: see the crate's documentation for how seeds work.

mod blocks;
mod chaos;
mod credits;
mod data;
mod faults;
mod fencing;
mod hostile;
mod iser;
mod iser_hostile;
mod login;
mod loss;
mod management;
mod nvme;
mod nvme_auth;
mod nvme_connect;
mod nvme_controllers;
mod nvme_fused;
mod nvme_hostile;
mod nvme_races;
mod nvme_strangers;
mod nvme_trouble;
mod reservations;
mod reservations_durable;
mod reservations_matrix;
mod reservations_rare;
mod resize;
