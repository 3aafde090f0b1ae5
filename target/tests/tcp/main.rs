//! iSCSI over TCP, through real sockets, against a daemon whose threads' parts are turned by hand.

mod data;
mod fencing;
mod hostile;
mod order;
mod tasks;
mod world;
