//! The socket's file.

use super::*;

#[test]
fn the_socket_is_for_owner_and_group_and_goes_with_the_server() {
    let mut server = Server::start("mode");
    let mode = fs::metadata(&server.path)
        .expect("there")
        .permissions()
        .mode();
    assert_eq!(mode & 0o7777, 0o660);
    let mut idle = server.client();
    idle.call("status", json!({}));
    server.server = None;
    assert!(!server.path.exists());
    let mut rest = String::new();
    assert_eq!(idle.lines.read_to_string(&mut rest).expect("the end"), 0);
}

#[test]
fn a_live_socket_is_refused_and_a_dead_one_replaced() {
    let server = Server::start("live");
    let second = ControlServer::start(&server.path, Arc::new(Fake::default())).expect_err("taken");
    assert!(matches!(second, SocketError::Taken { .. }), "{second}");
    assert!(
        second
            .to_string()
            .contains("give this one another with --socket"),
        "{second}"
    );
    assert_eq!(
        server.client().call("stats", json!({}))["result"]["shards"],
        2
    );

    let path = socket_path("dead");
    fs::create_dir_all(path.parent().expect("a parent")).unwrap();
    drop(UnixListener::bind(&path).unwrap());
    assert!(path.exists());
    let server = ControlServer::start(&path, Arc::new(Fake::default())).expect("replaced");
    UnixStream::connect(&path).expect("connected");
    drop(server);
    remove(&path);
}

#[test]
fn what_is_not_a_socket_is_left_alone() {
    let path = socket_path("file");
    fs::create_dir_all(path.parent().expect("a parent")).unwrap();
    fs::write(&path, "precious").unwrap();
    let error = ControlServer::start(&path, Arc::new(Fake::default())).expect_err("refused");
    assert!(matches!(error, SocketError::NotASocket { .. }), "{error}");
    assert_eq!(fs::read_to_string(&path).unwrap(), "precious");

    let long = path.with_file_name("x".repeat(200));
    let error = ControlServer::start(&long, Arc::new(Fake::default())).expect_err("refused");
    assert!(matches!(error, SocketError::TooLong { .. }), "{error}");

    let below = path.join("control.sock");
    let error = ControlServer::start(&below, Arc::new(Fake::default())).expect_err("refused");
    assert!(matches!(error, SocketError::System { .. }), "{error}");
    remove(&path);
}

/// A file that another daemon made in the meantime is not ours to remove.
#[test]
fn only_our_own_file_is_removed() {
    let path = socket_path("replaced");
    let server = ControlServer::start(&path, Arc::new(Fake::default())).expect("started");
    fs::remove_file(&path).unwrap();
    let other = UnixListener::bind(&path).unwrap();
    drop(server);
    assert!(path.exists());
    drop(other);
    remove(&path);
}
