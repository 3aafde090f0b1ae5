//! Stores that hang, and those who wait: they hold up nobody else.

use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use pagecast_backends::testing::Kind;
use pagecast_tests::changes::{add_device, remove_device};
use pagecastd::device::resize::ResizeError;

use super::*;

/// Until somebody on a thread of his own has come to where he waits.
const A_MOMENT: Duration = Duration::from_millis(200);

/// Two disks in memory.
fn two_in_memory(seed: u64) -> Setup {
    let mut setup = two_disks(seed);
    setup.devices[1] = r#"{ "name": "disk1", "backend": "memory", "size": "1MiB" }"#.to_owned();
    setup
}

fn beside<T: Send + 'static>(
    world: &World,
    call: impl FnOnce(&Shared) -> T + Send + 'static,
) -> JoinHandle<T> {
    let shared = Arc::clone(&world.daemon.shared);
    thread::spawn(move || call(&shared))
}

/// Lets the world go on until a thread is done, however long that takes.
fn wait<T>(world: &mut World, thread: JoinHandle<T>) -> T {
    let since = Instant::now();
    while !thread.is_finished() {
        world.pump();
        thread::sleep(Duration::from_micros(100));
        assert!(since.elapsed() < Duration::from_secs(60), "it hangs");
    }
    thread.join().expect("no panic")
}

/// Whoever removes a device whose store hangs is told so, and others go on changing things.
#[test]
fn a_store_that_hangs_when_it_is_closed() {
    let mut world = two_in_memory(1).build();
    let store = world.stores.remove("disk1").expect("a store");
    store.hold(Kind::Flush);
    let removing = beside(&world, |shared| {
        shared.change(&[remove_device("disk1", true)])
    });
    let report = wait(&mut world, removing).expect("removed");
    let [warning] = &report.warnings[..] else {
        panic!("{:?}", report.warnings);
    };
    assert!(
        warning.starts_with("device disk1: what was written last is not durable after 10 s"),
        "{warning}"
    );
    assert_eq!(store.held(), 1);
    let more = add_device(r#"{ "name": "disk2", "backend": "memory", "size": "1MiB" }"#);
    world.must_change(vec![more]);
    assert_eq!(luns_of(&world), ["disk0", "disk2"]);
    // It is closed when it can be.
    let weak = Arc::downgrade(&store);
    store.release();
    drop(store);
    world.run_until(|_| (weak.strong_count() == 0).then_some(()));
    world.finish();
}

/// Removes the first disk. Meanwhile somebody else waits until that is over, and has looked at what is served before: nobody waits for him.
fn remove_beside<T: Send + 'static>(
    world: &mut World,
    call: impl FnOnce(&Shared) -> T + Send + 'static,
) -> T {
    let removing = beside(world, |shared| {
        shared.change(&[remove_device("disk0", true)])
    });
    // It has the lock of changes, and waits for the control thread.
    thread::sleep(A_MOMENT);
    let waiting = beside(world, call);
    thread::sleep(A_MOMENT);
    assert!(!removing.is_finished() && !waiting.is_finished());
    let report = wait(world, removing).expect("removed");
    assert!(report.warnings.is_empty(), "{:?}", report.warnings);
    wait(world, waiting)
}

#[test]
fn a_device_that_comes_while_another_one_goes() {
    let mut world = two_disks(2).build();
    fs::write(file(&world), pattern(MIB, 2)).expect("a file");
    assert!(remove_beside(&mut world, Shared::retry_offline));
    assert_eq!(luns_of(&world), ["disk1"]);
    world.finish();
}

#[test]
fn a_device_that_grows_while_another_one_goes() {
    let mut world = two_in_memory(3).build();
    let grow = |shared: &Shared| shared.resize("disk1", Some(2 << 20), false);
    let report = remove_beside(&mut world, grow).expect("a new size");
    assert_eq!((report.size_before, report.size), (1 << 20, 2 << 20));
    assert!(world.configuration().contains("2097152") || world.configuration().contains("2MiB"));
    world.finish();
}

/// It is gone when it would get another size.
#[test]
fn a_device_that_grows_while_it_goes() {
    let mut world = two_in_memory(4).build();
    let grow = |shared: &Shared| shared.resize("disk0", Some(8 << 20), false);
    let error = remove_beside(&mut world, grow).expect_err("it is gone");
    assert_eq!(error, ResizeError::NoDevice);
    assert_eq!(luns_of(&world), ["disk1"]);
    world.finish();
}

/// An adapter comes while a store hangs: whoever comes in over it is served, without windows at first.
#[test]
fn an_adapter_that_comes_while_a_store_hangs() {
    let mut world = Setup::new(5).pluggable().build();
    world.daemon.control.attach_by_threads();
    let store = Arc::clone(world.store());
    store.hold(Kind::Populate);
    let there = std::net::SocketAddr::from(([10, 0, 1, 1], 5555));
    world.plug("target-b", there.ip());
    world.look_around();
    world.run_until(|_| (store.held() > 0).then_some(()));
    let has_windows = |world: &World| {
        let device = world.device("disk0").expect("it is served");
        let windows = device.windows.as_ref().expect("zero copy");
        windows.adapters().len() == 2
    };
    let options = world.options(0);
    let (channel, state) = world.connect_to(0, there, options);
    assert_eq!(state, pagecast_initiator::ChannelState::Up);
    world.read(0, channel, 0, 8);
    // What is changed meanwhile does not ask again.
    world.must_change(vec![add_device(
        r#"{ "name": "disk1", "backend": "memory", "size": "1MiB", "zero_copy": "off" }"#,
    )]);
    assert!(store.held() == 1 && !has_windows(&world));
    store.release();
    world.run_until(|world| has_windows(world).then_some(()));
    world.initiators[0]
        .disconnect(channel)
        .expect("a disconnect");
    world.finish();
}
