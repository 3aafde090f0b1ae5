use std::fs::File;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::sync::Arc;

use pagecast_memory::{Anonymous, Slice};

use super::*;
use crate::iscsi::digest::{Digest, padding};
use crate::shard::pipes::PipePool;

/// A header of so much data and additional header.
fn header(data: usize, ahs: usize) -> [u8; 48] {
    let mut header = [0xa5; 48];
    header[4] = (ahs / 4) as u8;
    header[5..8].copy_from_slice(&(data as u32).to_be_bytes()[1..]);
    header
}

fn bytes(length: usize) -> Vec<u8> {
    (0..length).map(|i| (i / 7 + i) as u8).collect()
}

/// A PDU as it is on the wire.
fn wire(data: &[u8], ahs: &[u8], digests: Digests) -> Vec<u8> {
    let mut pdu = header(data.len(), ahs.len()).to_vec();
    pdu.extend(ahs);
    if digests.header {
        pdu.extend(Digest::of(&pdu));
    }
    let mut segment = data.to_vec();
    segment.resize(data.len() + padding(data.len()), 0);
    if digests.data && !data.is_empty() {
        segment.extend(Digest::of(&segment));
    }
    pdu.extend(segment);
    pdu
}

fn all_digests() -> impl Iterator<Item = Digests> {
    [false, true]
        .into_iter()
        .flat_map(|header| [false, true].map(|data| Digests { header, data }))
}

fn stream(digests: Digests) -> (Stream, UnixStream) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    ours.set_nonblocking(true).unwrap();
    let mut stream = Stream::new(ours.into());
    stream.set_digests(digests.header, digests.data);
    (stream, theirs)
}

/// Additional headers, and data.
type Content = (Vec<u8>, Vec<u8>);

/// Everything that can be cut now.
fn cut(stream: &mut Stream) -> Result<Vec<Content>, StreamError> {
    let mut all = Vec::new();
    while let Some(frame) = stream.input.cut()? {
        let pdu = stream.input.pdu(&frame).unwrap();
        assert_eq!(pdu.bhs, &header(pdu.data.len(), pdu.ahs.len()));
        all.push((pdu.ahs.to_vec(), pdu.data.to_vec()));
    }
    Ok(all)
}

#[test]
fn pdus_come_out_however_they_arrive() {
    for digests in all_digests() {
        let contents = [
            (bytes(0), bytes(0)),
            (bytes(8), bytes(0)),
            (bytes(0), bytes(1)),
            (bytes(1020), bytes(8192)),
            (bytes(4), bytes(511)),
        ];
        let sent: Vec<u8> = contents
            .iter()
            .flat_map(|(ahs, data)| wire(data, ahs, digests))
            .collect();
        for step in [1, 47, 1000, sent.len()] {
            let (mut stream, mut peer) = stream(digests);
            let mut received = Vec::new();
            for piece in sent.chunks(step) {
                peer.write_all(piece).unwrap();
                assert_eq!(stream.fill().unwrap(), Arrival::Bytes(piece.len()));
                received.extend(cut(&mut stream).unwrap());
            }
            assert!(received == contents, "{digests:?} in steps of {step}");
            assert_eq!(stream.fill().unwrap(), Arrival::Nothing);
            drop(peer);
            assert_eq!(stream.fill().unwrap(), Arrival::End);
        }
    }
}

#[test]
fn a_flood_needs_no_more_room_than_one_pdu() {
    let (mut stream, mut peer) = stream(Digests::default());
    stream.input.set_limit(300_000);
    let one = wire(&bytes(300_000), &[], Digests::default());
    let writer = std::thread::spawn(move || {
        for _ in 0..20 {
            peer.write_all(&one).unwrap();
        }
    });
    let mut count = 0;
    loop {
        match stream.fill().unwrap() {
            Arrival::End => break,
            Arrival::Full => panic!("everything is taken at once"),
            Arrival::Bytes(_) | Arrival::Nothing => {}
        }
        for (_, data) in cut(&mut stream).unwrap() {
            assert!(data == bytes(300_000));
            count += 1;
        }
        assert!(stream.input.room() <= 300_000 + 64 * 1024);
    }
    writer.join().unwrap();
    assert_eq!(count, 20);
}

#[test]
fn pdus_that_nobody_takes_stop_the_reading() {
    let (mut stream, mut peer) = stream(Digests::default());
    let one = wire(&bytes(8192), &[], Digests::default());
    let mut left = 40;
    let mut read = 0;
    peer.set_nonblocking(true).unwrap();
    loop {
        if left > 0 && peer.write_all(&one).is_ok() {
            left -= 1;
        }
        match stream.fill().unwrap() {
            Arrival::Bytes(bytes) => read += bytes,
            Arrival::Full => break,
            other => panic!("{other:?}"),
        }
    }
    assert!(read < 20 * one.len(), "read {read}");
    assert!(cut(&mut stream).unwrap().len() >= 7);
    assert!(matches!(
        stream.fill().unwrap(),
        Arrival::Bytes(_) | Arrival::Nothing
    ));
}

#[test]
fn wrong_digests_are_found() {
    let digests = Digests {
        header: true,
        data: true,
    };
    let good = wire(&bytes(100), &bytes(8), digests);
    for at in 0..good.len() {
        let (mut stream, mut peer) = stream(digests);
        let mut bad = good.clone();
        bad[at] ^= 0x10;
        peer.write_all(&bad).unwrap();
        peer.write_all(&[0; 2000]).unwrap();
        stream.fill().unwrap();
        let expected = if at < 48 + 8 + 4 {
            StreamError::HeaderDigest
        } else {
            StreamError::DataDigest
        };
        assert_eq!(cut(&mut stream), Err(expected), "bit of byte {at}");
    }
}

#[test]
fn lengths_are_checked_before_the_data_is_there() {
    for digests in all_digests() {
        let (mut stream, mut peer) = stream(digests);
        let mut start = header(8193, 0).to_vec();
        if digests.header {
            start.extend(Digest::of(&start));
        }
        peer.write_all(&start).unwrap();
        stream.fill().unwrap();
        let expected = StreamError::TooLong {
            declared: 8193,
            limit: 8192,
        };
        assert_eq!(stream.input.cut(), Err(expected));
    }
    let (mut lenient, mut peer) = stream(Digests::default());
    lenient.input.set_limit(8193);
    peer.write_all(&header(8193, 0)).unwrap();
    lenient.fill().unwrap();
    assert_eq!(lenient.input.cut(), Ok(None));
}

/// Sends everything while somebody reads, in small pieces, and returns what arrived.
fn transfer(mut stream: Stream, mut peer: impl Read + Send + 'static) -> Vec<u8> {
    assert_eq!(
        stream.flush().unwrap(),
        Flow::Blocked,
        "too little for this test"
    );
    let reader = std::thread::spawn(move || {
        let (mut all, mut piece) = (Vec::new(), [0; 777]);
        while let Ok(read @ 1..) = peer.read(&mut piece) {
            all.extend(&piece[..read]);
        }
        all
    });
    while stream.flush().unwrap() == Flow::Blocked {
        std::thread::yield_now();
    }
    assert_eq!(stream.output.queued(), 0);
    stream.shut_down();
    reader.join().unwrap()
}

fn memory(content: &[u8]) -> Slice {
    let slice = Slice::whole(Arc::new(Anonymous::new(content.len()).unwrap()));
    slice.write(0, content).unwrap();
    slice
}

#[test]
fn pdus_arrive_as_they_were_queued() {
    for digests in all_digests() {
        let (mut stream, peer) = stream(digests);
        let mut expected = Vec::new();
        for round in 0..40 {
            let data = bytes(20_000 + round);
            let slice = memory(&data);
            let slices = vec![
                slice.part(0..7).unwrap(),
                slice.part(7..7).unwrap(),
                slice.part(7..data.len()).unwrap(),
            ];
            let payload = Some(Payload::Memory(slices));
            assert!(stream.output.push(&header(data.len(), 0), payload));
            expected.extend(wire(&data, &[], digests));
            let short = bytes(round);
            assert!(
                stream
                    .output
                    .push_bytes(&wire(&short, &[], Digests::default()))
            );
            expected.extend(wire(&short, &[], digests));
        }
        assert_eq!(stream.output.queued(), expected.len());
        assert!(transfer(stream, peer) == expected, "{digests:?}");
    }
}

#[test]
fn pipes_are_emptied_in_their_turn() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let ours = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (peer, _) = listener.accept().unwrap();
    ours.set_nonblocking(true).unwrap();
    ours.set_nodelay(true).unwrap();
    let mut stream = Stream::new(ours.into());
    let mut pool = PipePool::new(8);
    let mut expected = Vec::new();
    let mut pipes = Vec::new();
    for round in 0..8 {
        let pipe = pool.take().unwrap();
        let content = bytes(64 * 1024 - round);
        let mut end = File::from(pipe.write.try_clone().unwrap());
        end.write_all(&content).unwrap();
        for part in content.chunks(10_001) {
            let payload = Payload::Pipe(Arc::clone(&pipe.read), part.len());
            assert!(stream.output.push(&header(part.len(), 0), Some(payload)));
            expected.extend(wire(part, &[], Digests::default()));
        }
        assert!(stream.output.push(&header(0, 0), None));
        expected.extend(wire(&[], &[], Digests::default()));
        pipes.push(pipe);
    }
    // Enough for the sockets' buffers to be full.
    let tail = bytes(6_000_000);
    let payload = Some(Payload::Bytes(tail.clone()));
    assert!(stream.output.push(&header(tail.len(), 0), payload));
    expected.extend(wire(&tail, &[], Digests::default()));
    assert!(transfer(stream, peer) == expected);
}

#[test]
fn a_pipe_that_lacks_bytes_fails_the_connection() {
    let (mut stream, peer) = stream(Digests::default());
    let mut pool = PipePool::new(1);
    let Some(pipe) = pool.take() else { return };
    let read = Arc::clone(&pipe.read);
    pool.discard(pipe);
    let payload = Some(Payload::Pipe(read, 4096));
    assert!(stream.output.push(&header(4096, 0), payload));
    assert!(stream.flush().is_err());
    drop(peer);
}

#[test]
fn headers_that_lie_are_not_sent() {
    let mut output = Output::default();
    let payload = || Some(Payload::Bytes(bytes(512)));
    assert!(!output.push(&header(511, 0), payload()));
    assert!(!output.push(&header(512, 4), payload()));
    assert!(!output.push(&header(512, 0), None));
    assert!(!output.push_bytes(&header(1, 0)));
    assert!(!output.push_bytes(&[0; 47]));
    output.digests.data = true;
    let pipe = PipePool::new(1).take().unwrap();
    let unseen = Some(Payload::Pipe(Arc::clone(&pipe.read), 512));
    assert!(!output.push(&header(512, 0), unseen));
    assert_eq!(output.queued(), 0);
    assert!(output.push(&header(512, 0), payload()));
}

#[test]
fn marks_are_reached_when_all_before_them_is_sent() {
    let (mut stream, mut peer) = stream(Digests::default());
    let mut sent = Vec::new();
    stream.output.mark(1);
    stream.output.take_sent(&mut sent);
    assert_eq!(sent, [1]);
    let large = bytes(3_000_000);
    let payload = Some(Payload::Bytes(large.clone()));
    assert!(stream.output.push(&header(0, 0), None));
    stream.output.mark(2);
    assert!(stream.output.push(&header(large.len(), 0), payload));
    stream.output.mark(3);
    stream.output.mark(4);
    assert_eq!(stream.flush().unwrap(), Flow::Blocked);
    stream.output.take_sent(&mut sent);
    assert_eq!(sent, [1, 2]);
    let mut drained = vec![0; 48 + 48 + large.len()];
    peer.set_nonblocking(true).unwrap();
    let mut at = 0;
    while at < drained.len() {
        at += peer.read(&mut drained[at..]).unwrap_or(0);
        let _ = stream.flush().unwrap();
    }
    stream.output.take_sent(&mut sent);
    assert_eq!(sent, [1, 2, 3, 4]);
}
