//! Whom a reservation belongs to, where hosts are not who they seem.

use pagecast_initiator::nvme::reservation::{self, Acquire, Persist, Register};
use pagecast_initiator::nvme::{ControllerOptions, Data, io};
use pagecast_tests::nvme::{connect, controller};
use pagecast_tests::{Host, Setup};

/// Reservation Conflict.
const CONFLICT: (u8, u8) = (0, 0x83);
const EXCLUSIVE_ACCESS: u8 = 2;

/// A host's controller, with the host identifier of another.
fn with_identifier_of(host: Host, other: Host) -> ControllerOptions {
    let mut options = controller(host);
    options.connect.host_id = connect(other).host_id;
    options
}

/// Copies of a machine have one host identifier. A copy is not the host that has registered, as long as that is there.
#[test]
fn a_host_identifier_serves_one_host() {
    let mut world = Setup::new(1).nvme().build();
    let first = world.nvme_controller(0);
    let register = reservation::register(1, Register::Register, Persist::NoChange, 0, 0xa);
    let reserve = reservation::acquire(1, Acquire::Acquire, EXCLUSIVE_ACCESS, 0xa, 0);
    world.nvme_succeed(0, first.io[0], &register);
    world.nvme_succeed(0, first.io[0], &reserve);

    let copy = world.nvme_controller_with(1, with_identifier_of(1, 0));
    let write = io::write(1, 0, 1, Data::InCapsule(vec![7; 512]));
    let replace = reservation::register(1, Register::Replace, Persist::NoChange, 0xa, 0xb);
    for command in [&write, &register, &replace, &reserve] {
        let reply = world.nvme_execute(1, copy.io[0], command);
        assert_eq!(reply.status().code(), CONFLICT, "{command:?}");
    }
    world.nvme_write(0, first.io[0], 0, &[1; 512]);

    // The same name is the same host: a second path.
    let second = world.nvme_controller_with(0, controller(0));
    world.nvme_write(0, second.io[0], 0, &[2; 512]);

    // When the other one has gone, it is the host.
    world.nvme_disconnect(0, &second);
    world.nvme_disconnect(0, &first);
    world.nvme_disconnect(1, &copy);
    let again = world.nvme_controller_with(1, with_identifier_of(1, 0));
    world.nvme_write(1, again.io[0], 0, &[3; 512]);
    world.nvme_disconnect(1, &again);
    world.finish();
}
