//! Properties of the decoders over arbitrary bytes.

use proptest::prelude::*;

use super::buffers::{Data, DataBuffer, MAX_TABLE_ENTRIES, parse_descriptor_table};
use super::iu::InformationUnit;
use super::login::{LoginRequest, LoginSettings, MultichannelResult, Transport};
use super::response::{Payload, Residuals, Response, ResponseCode};
use super::wire::Tag;

/// Mostly commands, since the rest has little inside.
fn information_unit() -> impl Strategy<Value = Vec<u8>> {
    let bytes = prop::collection::vec(any::<u8>(), 0..600);
    (
        bytes,
        prop::sample::select(vec![1u8, 2, 2, 2, 2, 3, 0x41, 0x99]),
        any::<bool>(),
    )
        .prop_map(|(mut bytes, opcode, tame)| {
            if let Some(first) = bytes.first_mut() {
                *first = opcode;
            }
            if tame && bytes.len() > 72 {
                // Past the early checks: one direction, no additional CDB, lengths that may be right.
                bytes[5] = [0x01, 0x02, 0x10, 0x20, 0x30][usize::from(bytes[5] % 5)];
                bytes[29] = 0;
                bytes[31] = 0;
                bytes[48..51].fill(0);
                bytes[60..62].fill(0);
                bytes[63] &= 0xf0;
                bytes[64..66].fill(0);
            }
            bytes
        })
}

proptest! {
    #[test]
    fn units_stay_inside_their_bytes(bytes in information_unit(), immediate in prop::option::of(any::<u16>())) {
        match InformationUnit::parse(&bytes) {
            Ok(InformationUnit::Command(command)) => {
                prop_assert!(command.cdb.len() >= 16 && command.cdb.len() <= bytes.len() - 32);
                let data = command.data(immediate);
                let (Ok(Data::Out(buffer)) | Ok(Data::In(buffer))) = data else { return Ok(()) };
                prop_assert!(buffer.length() > 0);
                match buffer {
                    DataBuffer::Immediate(range) => {
                        prop_assert!(bytes.get(range.clone()).is_some());
                        prop_assert!(range.start >= 52);
                        prop_assert_eq!(Some(range.start), immediate.map(usize::from));
                    }
                    DataBuffer::Indirect(indirect) => {
                        let sum: u64 = indirect.descriptors.clone().map(|b| u64::from(b.length)).sum();
                        prop_assert!(sum <= u64::from(indirect.total));
                        prop_assert!(indirect.descriptors.clone().all(|b| b.length > 0));
                        match indirect.table {
                            None => prop_assert_eq!(sum, u64::from(indirect.total)),
                            Some(table) => {
                                prop_assert!(table.length.is_multiple_of(16));
                                prop_assert!(table.length / 16 <= MAX_TABLE_ENTRIES);
                            }
                        }
                    }
                    DataBuffer::Direct(_) => {}
                    DataBuffer::None => prop_assert!(false, "buffers without bytes are no buffers"),
                }
            }
            Ok(_) => {}
            Err(error) => {
                prop_assert_eq!(error.tag().is_some(), bytes.len() >= 16);
                error.refusal();
            }
        }
    }

    #[test]
    fn tables_add_up(bytes in prop::collection::vec(any::<u8>(), 0..200), total in any::<u32>()) {
        if let Ok(descriptors) = parse_descriptor_table(&bytes, total) {
            prop_assert_eq!(descriptors.map(|b| u64::from(b.length)).sum::<u64>(), u64::from(total));
        }
    }

    #[test]
    fn logins_do_not_choose_our_allocations(
        bytes in prop::collection::vec(any::<u8>(), 0..100),
        length in any::<u32>(),
        native in any::<bool>(),
    ) {
        let over = if native { Transport::NativeIb } else { Transport::RdmaCm };
        let Ok(mut request) = LoginRequest::parse(&bytes, over) else {
            prop_assert!(bytes.len() < 64);
            return Ok(());
        };
        let settings = LoginSettings::new(request.target_port);
        let _ = request.check(&settings);
        (request.opcode, request.buffer_formats) = (0, 6);
        request.flags &= 0x81;
        request.request_length = length % 10_000;
        if let Ok(login) = request.check(&settings) {
            prop_assert!(login.receive_size() <= 8276);
            prop_assert!(login.response_size() >= 64);
            prop_assert!(login.immediate_offset.is_none_or(|at| usize::from(at) < login.receive_size()));
            login.accept(2, MultichannelResult::NoChannels);
        }
    }

    #[test]
    fn responses_announce_what_they_hold(
        sense in prop::collection::vec(any::<u8>(), 0..300),
        limit in any::<u16>(),
        room in 0usize..400,
        code in any::<bool>(),
    ) {
        let mut response = Response::check_condition(Tag(1), 1, Residuals::of_in(1, 2, 0), &sense);
        if code {
            response.payload = Payload::Code(ResponseCode::FunctionFailed);
        }
        let mut out = vec![0xee; room];
        if let Ok(length) = response.emit(&mut out, u32::from(limit)) {
            prop_assert!(length <= usize::from(limit) && length <= room);
            let word = |at: usize| u32::from_be_bytes(out[at..at + 4].try_into().unwrap()) as usize;
            prop_assert_eq!(36 + word(28) + word(32), length);
            prop_assert_eq!(word(28) > 0, out[18] & 2 != 0);
            prop_assert_eq!(word(32) > 0, out[18] & 1 != 0);
            prop_assert!(out[length..].iter().all(|&byte| byte == 0xee));
        } else {
            prop_assert!(room < 40 || limit < 40);
        }
    }
}
