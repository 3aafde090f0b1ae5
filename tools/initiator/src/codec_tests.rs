use super::*;

const BUFFER: RemoteBuffer = RemoteBuffer {
    address: 0x1122_3344_5566_7788,
    key: 0x99aa_bbcc,
    length: 4096,
};

#[test]
fn login() {
    let request = LoginRequest {
        tag: 0x0102_0304_0506_0708,
        buffer_formats: 6,
        multichannel: true,
        immediate_offset: Some(68),
        request_length: 8260,
        initiator_port: [0xa1; 16],
        target_port: [0xb2; 16],
    };
    let mut expected = vec![1, 2, 3, 4, 5, 6, 7, 8, 0, 6, 0x81, 0, 0, 0, 0x20, 0x44];
    expected.extend([0xa1; 16]);
    expected.extend([0xb2; 16]);
    expected.extend([0, 68, 0, 0, 0, 0, 0, 0]);
    assert_eq!(request.encode(), expected);

    let mut native = vec![0, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8];
    native.extend([0, 0, 0x20, 0x44, 0, 0, 0, 0, 0, 6, 0x81, 0, 0, 68, 0, 0]);
    native.extend([0xa1; 16]);
    native.extend([0xb2; 16]);
    assert_eq!(request.encode_native(), native);

    let mut reply = vec![0xc0, 0, 0, 0, 0, 0, 0, 128, 1, 2, 3, 4, 5, 6, 7, 8];
    reply.extend([0, 0, 0x20, 0x54, 0, 0, 0x20, 0x44, 0, 6, 0x81]);
    reply.resize(52, 0);
    assert_eq!(
        LoginReply::decode(&reply),
        Ok(LoginReply {
            tag: 0x0102_0304_0506_0708,
            request_limit: 128,
            max_it_iu_length: 8276,
            max_ti_iu_length: 8260,
            buffer_formats: 6,
            multichannel: 1,
            immediate: true,
        })
    );
    assert!(LoginReply::decode(&reply[..51]).is_err());
    reply.resize(196, 0);
    assert!(LoginReply::decode(&reply).is_ok());

    let mut reject = vec![0xc2, 0, 0, 0, 0, 1, 0, 3, 1, 2, 3, 4, 5, 6, 7, 8];
    reject.resize(32, 0);
    assert_eq!(
        LoginRejection::decode(&reject),
        Ok(LoginRejection {
            tag: 0x0102_0304_0506_0708,
            reason: 0x0001_0003,
        })
    );
    assert_eq!(LoginReply::decode(&reject), Err(DecodeError::Type(0xc2)));
}

#[test]
fn commands() {
    let lun = [0, 3, 0, 0, 0, 0, 0, 0];
    let encode = |cdb: &[u8], direction, descriptor| {
        encode_command(5, lun, 2, cdb, direction, descriptor).unwrap()
    };
    let plain = encode(&[0x12; 6], Direction::In, Descriptor::None);
    let mut expected = vec![2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 0];
    expected.extend(lun);
    expected.extend([0, 2, 0, 0]);
    expected.extend([0x12; 6]);
    expected.resize(48, 0);
    assert_eq!(plain, expected);

    let direct = encode(&[0; 17], Direction::Out, Descriptor::Direct(BUFFER));
    assert_eq!(direct.len(), 48 + 4 + 16);
    assert_eq!((direct[5], direct[31]), (0x10, 4));
    let descriptor = [
        0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88, 0x99, 0xaa, 0xbb, 0xcc, 0, 0, 0x10, 0,
    ];
    assert_eq!(direct[52..], descriptor);

    let indirect = encode(
        &[0; 16],
        Direction::In,
        Descriptor::Indirect {
            table: RemoteBuffer {
                length: 32,
                ..BUFFER
            },
            list: &[BUFFER; 2],
            total: 8192,
        },
    );
    assert_eq!(indirect[5..8], [0x02, 0, 2]);
    assert_eq!(indirect.len(), 48 + 20 + 32);
    assert_eq!(indirect[60..68], [0, 0, 0, 32, 0, 0, 0x20, 0]);
    assert_eq!(indirect[68..84], descriptor);

    let immediate = encode(
        &[0; 16],
        Direction::Out,
        Descriptor::Immediate {
            offset: 68,
            bytes: b"hello",
        },
    );
    assert_eq!(immediate[5], 0x30);
    assert_eq!(immediate[48..52], [0, 0, 0, 5]);
    assert_eq!(&immediate[68..], b"hello");
    let overlap = Descriptor::Immediate {
        offset: 51,
        bytes: b"",
    };
    assert!(encode_command(5, lun, 0, &[], Direction::Out, overlap).is_err());
}

#[test]
fn small_units() {
    let task = encode_task_management(9, [1; 8], 8, 7);
    assert_eq!(task.len(), 48);
    assert_eq!((task[0], task[15], task[30], task[39]), (1, 9, 8, 7));
    assert_eq!(task[20..28], [1; 8]);
    assert_eq!(
        encode_logout(1),
        [3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]
    );
    assert_eq!(encode_credit_response(1)[0], 0x41);
    assert_eq!(encode_event_response(1)[0], 0x42);
}

fn response(flags: u8, out: u32, r#in: u32, sense: u32, code: u32) -> Vec<u8> {
    let mut bytes = vec![0xc1, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 5, 0, 0];
    bytes.extend([flags, 2]);
    for word in [out, r#in, sense, code] {
        bytes.extend(word.to_be_bytes());
    }
    bytes
}

#[test]
fn responses() {
    let decode = |bytes: &[u8]| match TargetUnit::decode(bytes) {
        Ok(TargetUnit::Response(response)) => Ok(response),
        Ok(other) => panic!("{other:?}"),
        Err(error) => Err(error),
    };
    let plain = decode(&response(0, 0, 0, 0, 0)).unwrap();
    assert_eq!((plain.tag, plain.delta, plain.status), (5, 2, 2));
    assert_eq!((plain.code, plain.sense.len()), (None, 0));

    let mut both = response(0x03 | 0x20 | 0x04, 7, 512, 3, 4);
    both.extend([0, 0, 0, 5, 0x70, 0, 6]);
    let both = decode(&both).unwrap();
    assert_eq!((both.residual_out, both.residual_in), (-7, 512));
    assert_eq!((both.code, both.sense), (Some(5), vec![0x70, 0, 6]));

    // Lengths and flags must agree.
    for wrong in [
        response(0, 0, 0, 1, 0),
        response(0x02, 0, 0, 0, 0),
        response(0x01, 0, 0, 0, 0),
        response(0x0c, 1, 0, 0, 0),
        response(0x04, 0, 0, 0, 0),
        response(0, 1, 0, 0, 0),
        response(0x80, 0, 0, 0, 0),
        response(0x03, 0, 0, u32::MAX, u32::MAX),
    ] {
        assert!(decode(&wrong).is_err(), "{wrong:?}");
    }
    let mut long = response(0, 0, 0, 0, 0);
    long.push(0);
    assert_eq!(
        decode(&long),
        Err(DecodeError::Length {
            length: 37,
            expected: 36
        })
    );
}

#[test]
fn requests_of_the_target() {
    let request = [
        0x81, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, 4,
    ];
    assert_eq!(
        TargetUnit::decode(&request),
        Ok(TargetUnit::CreditRequest { tag: 4, delta: -1 })
    );
    let mut event = vec![0x82, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 4];
    event.extend([0, 0, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0]);
    event.extend([0x70, 1]);
    assert_eq!(
        TargetUnit::decode(&event),
        Ok(TargetUnit::EventRequest {
            tag: 4,
            delta: 1,
            lun: [0, 7, 0, 0, 0, 0, 0, 0],
            sense: vec![0x70, 1],
        })
    );
    let logout = [0x80, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 4];
    assert_eq!(
        TargetUnit::decode(&logout),
        Ok(TargetUnit::Logout { reason: 2 })
    );
    assert_eq!(TargetUnit::decode(&[0x02]), Err(DecodeError::Type(2)));
    assert!(TargetUnit::decode(&[]).is_err());
    assert!(TargetUnit::decode(&request[..15]).is_err());
}
