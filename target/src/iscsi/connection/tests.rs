//! What a connection makes of PDUs, rule by rule.

mod commands;
mod control;
mod login;
mod text;
