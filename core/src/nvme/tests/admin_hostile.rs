//! Whatever a host sends: an answer that fits.

use proptest::prelude::*;

use crate::nvme::command::{Command, SQE_SIZE};
use crate::nvme::controller::Kind;
use crate::nvme::plan::Plan;
use crate::nvme::testing::*;

const OPCODES: [u8; 9] = [0x02, 0x06, 0x08, 0x09, 0x0a, 0x0c, 0x18, 0x7f, 0x00];

prop_compose! {
    /// Any entry, more often one with an opcode that there is and with small numbers in the rest.
    fn entry()(
        random in any::<[u8; SQE_SIZE]>(),
        opcode in prop_oneof![prop::sample::select(&OPCODES[..]), any::<u8>()],
        small in any::<bool>(),
        // Some of it is 80h to 83h.
        number in 0u8..0x20,
        namespace in prop_oneof![0u32..8, Just(u32::MAX), Just(u32::MAX - 1), any::<u32>()],
    ) -> [u8; SQE_SIZE] {
        let mut entry = random;
        entry[0] = opcode;
        if small {
            entry[1] = 0x40;
            entry[4..8].copy_from_slice(&namespace.to_le_bytes());
            entry[40] = if number < 0x1c { number } else { number + 0x64 };
            entry[41..44].fill(0);
            entry[44..64].iter_mut().for_each(|byte| *byte &= 0x11);
        }
        entry
    }
}

proptest! {
    #[test]
    fn any_commands_are_answered(
        discovery_controller in any::<bool>(),
        enabled in any::<bool>(),
        entries in prop::collection::vec((entry(), prop_oneof![Just(4096u32), 0u32..8192]), 1..40),
        data in any::<[u8; 512]>(),
    ) {
        let kind = if discovery_controller { discovery() } else { Kind::Io };
        let mut admin = if enabled { Admin::enabled(kind) } else { Admin::connected(setup(kind)) };
        for (entry, data_length) in entries {
            let command = Command::parse(&entry, data_length);
            let plan = match admin.plan(&command) {
                Plan::Fetch { length, pending } => {
                    prop_assert!(length >= 1 && length <= data_length);
                    let data = &data[..length as usize];
                    admin.queue.data(pending, data, &mut admin.units)
                }
                plan => plan,
            };
            match plan {
                Plan::Reply(reply) => prop_assert!(reply.len() <= data_length as usize),
                Plan::Fetch { .. } | Plan::Block(_) => prop_assert!(false, "{plan:?}"),
                Plan::Respond(_)
                | Plan::Event
                | Plan::Abort { .. }
                | Plan::Reset
                | Plan::Reserve(_) => {}
            }
        }
    }

    /// A transport that has less than it promised.
    #[test]
    fn short_data_change_nothing(length in 0usize..512, id in prop::sample::select(&[0x0e_u8, 0x16][..])) {
        let mut admin = Admin::enabled(Kind::Io);
        let Plan::Fetch { length: whole, pending } = admin.plan(&set_features(id, 0)) else {
            return Err(TestCaseError::fail("no data wanted"));
        };
        prop_assume!(length < whole as usize);
        let plan = admin.queue.data(pending, &vec![1; length], &mut admin.units);
        prop_assert!(matches!(plan, Plan::Respond(completion) if !completion.status.is_success()));
    }
}
