//! Clients that are slow, many, or gone.

use super::*;

#[test]
fn a_client_that_does_not_read_holds_up_nobody() {
    let asked = Arc::new(AtomicU32::new(0));
    let server = Server::with(
        "slow",
        Fake {
            chatty: Some(Arc::clone(&asked)),
            ..Fake::default()
        },
    );
    let mut slow = server.client();
    slow.send("{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"status\"}\n");
    while asked.load(Relaxed) == 0 {
        thread::sleep(Duration::from_millis(1));
    }
    let before = Instant::now();
    assert_eq!(
        server.client().call("stats", json!({}))["result"]["shards"],
        2
    );
    assert!(
        before.elapsed() < Duration::from_secs(5),
        "{:?}",
        before.elapsed()
    );
    // Nor the end of the daemon.
    let before = Instant::now();
    drop(server);
    assert!(
        before.elapsed() < Duration::from_secs(5),
        "{:?}",
        before.elapsed()
    );
}

#[test]
fn a_report_that_panics_costs_that_client_alone() {
    let server = Server::with(
        "panic",
        Fake {
            broken: true,
            ..Fake::default()
        },
    );
    let mut client = server.client();
    client.send("{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"device.list\"}\n");
    let mut rest = String::new();
    assert_eq!(client.lines.read_to_string(&mut rest).expect("the end"), 0);
    assert_eq!(
        server.client().call("stats", json!({}))["result"]["shards"],
        2
    );
}

/// Others go as always, and so does the socket.
#[test]
fn what_hangs_does_not_keep_the_server_from_ending() {
    let (asked, is_asked) = crossbeam_channel::bounded(1);
    let (go, wait) = crossbeam_channel::bounded::<()>(0);
    let hangs = move || {
        asked.send(()).expect("somebody looks");
        let _ = wait.recv();
    };
    let mut server = Server::with(
        "hangs",
        Fake {
            hangs: Some(Box::new(hangs)),
            ..Fake::default()
        },
    );
    let (mut idle, mut watches) = (server.client(), server.client());
    idle.call("stats", json!({}));
    watches.call("events", json!({}));
    let mut hangs = server.client();
    hangs.send("{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"device.list\"}\n");
    is_asked.recv().expect("asked");
    let patience = Duration::from_millis(300);
    let before = Instant::now();
    let ended = server.server.take().expect("it serves").end(patience);
    let took = before.elapsed();
    assert!(!ended, "it hangs");
    assert!(
        took >= patience && took < Duration::from_secs(10),
        "{took:?}"
    );
    assert!(!server.path.exists(), "nobody serves the socket");
    for mut client in [idle, watches, hangs] {
        let mut rest = String::new();
        (client.lines.read_to_string(&mut rest)).expect("the end");
        assert_eq!(rest, "");
    }
    drop(go);
}

#[test]
fn what_ends_in_time_is_waited_for() {
    let (asked, is_asked) = crossbeam_channel::bounded(1);
    let slow = move || {
        asked.send(()).expect("somebody looks");
        thread::sleep(Duration::from_millis(300));
    };
    let mut server = Server::with(
        "takes-its-time",
        Fake {
            hangs: Some(Box::new(slow)),
            ..Fake::default()
        },
    );
    let mut client = server.client();
    client.send("{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"device.list\"}\n");
    is_asked.recv().expect("asked");
    let before = Instant::now();
    let ended = (server.server.take().expect("it serves")).end(Duration::from_secs(60));
    assert!(ended, "it has ended");
    let took = before.elapsed();
    assert!(took >= Duration::from_millis(200), "{took:?}");
    assert!(took < Duration::from_secs(30), "{took:?}");
}

#[test]
fn who_is_idle_for_longest_makes_room() {
    let server = Server::start("bounded");
    let mut clients: Vec<Client> = (0..MAX_CLIENTS).map(|_| server.client()).collect();
    for client in &mut clients {
        client.call("stats", json!({}));
    }
    // Who watches is not idle, and who asks again is not so for longest.
    clients[0].call("events", json!({}));
    clients[1].call("stats", json!({}));
    let mut more = server.client();
    assert!(more.call("stats", json!({})).get("result").is_some());
    let mut rest = String::new();
    assert_eq!(
        clients[2].lines.read_to_string(&mut rest).expect("the end"),
        0
    );
    for index in [0, 1, 3, MAX_CLIENTS - 1] {
        let answer = clients[index].call("stats", json!({}));
        assert!(answer.get("result").is_some(), "{index}: {answer}");
    }
    // One that says nothing holds a place no better.
    let silent: Vec<Client> = (0..2 * MAX_CLIENTS).map(|_| server.client()).collect();
    let mut last = server.client();
    assert!(last.call("stats", json!({})).get("result").is_some());
    assert!(clients[0].call("stats", json!({})).get("result").is_some());
    drop(silent);
}

#[test]
fn clients_are_bounded() {
    let asked = Arc::new(AtomicU32::new(0));
    let server = Server::with(
        "busy",
        Fake {
            chatty: Some(Arc::clone(&asked)),
            // More than a socket buffers.
            words: Some(1 << 20),
            ..Fake::default()
        },
    );
    // All wait for somebody to read their answers.
    let mut clients: Vec<Client> = (0..MAX_CLIENTS).map(|_| server.client()).collect();
    for client in &mut clients {
        client.send("{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"status\"}\n");
    }
    while asked.load(Relaxed) < u32::try_from(MAX_CLIENTS).expect("few") {
        thread::sleep(Duration::from_millis(1));
    }
    let answer = server.client().receive();
    assert_eq!(
        answer["error"],
        error(
            -32000,
            &format!("{MAX_CLIENTS} clients are connected; try again later")
        )
    );
    // The places of those that go are free again.
    clients.clear();
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let mut client = server.client();
        // The one that is turned away may find its socket closed already.
        let request = b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"stats\"}\n";
        let _ = client.lines.get_mut().write_all(request);
        if client.receive().get("result").is_some() {
            break;
        }
        assert!(Instant::now() < deadline);
        thread::sleep(Duration::from_millis(10));
    }
}
