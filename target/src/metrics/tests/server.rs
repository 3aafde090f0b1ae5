use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;

use super::*;
use crate::config::edit::Edit;
use crate::control::reports::{
    ChangeReport, ConfigReport, DaemonState, DeviceReport, ReservationReport, ReservationsCleared,
    ResizeReport, SaveReport, SessionReport, Stats, Status, TargetReport,
};
use crate::control::{ChangeError, ClearError};
use crate::device::resize::ResizeError;
use crate::events::{Events, Subscription};
use crate::metrics::service::MetricsService;

/// A daemon without devices, which takes its time.
struct Empty(Duration);

impl Management for Empty {
    fn status(&self) -> Status {
        thread::sleep(self.0);
        Status {
            state: DaemonState::Running,
            version: "0.1.0".to_owned(),
            pid: 1,
            uptime_seconds: 5,
            devices: 0,
            targets: 0,
            sessions: 0,
            connections: 0,
            adapters: Vec::new(),
            warnings: Vec::new(),
        }
    }

    fn devices(&self) -> Vec<DeviceReport> {
        Vec::new()
    }

    fn resize(&self, _: &str, _: Option<u64>, _: bool) -> Result<ResizeReport, ResizeError> {
        Err(ResizeError::NoDevice)
    }

    fn reservations(&self) -> Vec<ReservationReport> {
        Vec::new()
    }

    fn clear_reservations(&self, _: &str, _: bool) -> Result<ReservationsCleared, ClearError> {
        Err(ClearError::NoDevice)
    }

    fn targets(&self) -> Vec<TargetReport> {
        Vec::new()
    }

    fn sessions(&self) -> Vec<SessionReport> {
        Vec::new()
    }

    fn stats(&self) -> Stats {
        Stats::default()
    }

    fn change(&self, _: &[Edit]) -> Result<ChangeReport, ChangeError> {
        Err(ChangeError::Stopping)
    }

    fn reload(&self, _: bool) -> Result<ChangeReport, ChangeError> {
        Err(ChangeError::Stopping)
    }

    fn config(&self) -> ConfigReport {
        ConfigReport {
            file: None,
            config: serde_json::Value::Null,
        }
    }

    fn save_config(&self, _: &Path, _: bool) -> Result<SaveReport, ChangeError> {
        Err(ChangeError::Stopping)
    }

    fn close_session(&self, _: u64) -> Option<SessionReport> {
        None
    }

    fn events(&self) -> Subscription {
        Events::default().subscribe()
    }
}

const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// A server, and the daemon that it asks.
struct Served {
    server: MetricsServer,
    _daemon: Arc<dyn Management>,
}

impl std::ops::Deref for Served {
    type Target = MetricsServer;

    fn deref(&self) -> &MetricsServer {
        &self.server
    }
}

fn serve_at(config: &MetricsConfig, takes: Duration) -> Result<Served, MetricsError> {
    let daemon: Arc<dyn Management> = Arc::new(Empty(takes));
    Ok(Served {
        server: MetricsServer::start(config, Arc::downgrade(&daemon))?,
        _daemon: daemon,
    })
}

fn start_slow(takes: Duration) -> Served {
    let config = MetricsConfig {
        address: LOOPBACK,
        // Any that is free.
        port: 0,
    };
    serve_at(&config, takes).expect("a port")
}

fn start() -> Served {
    start_slow(Duration::ZERO)
}

fn connect(server: &MetricsServer) -> TcpStream {
    let stream = TcpStream::connect(server.address()).expect("a connection");
    stream
        .set_read_timeout(Some(Duration::from_secs(30)))
        .expect("a timeout");
    stream
}

fn read_all(mut stream: TcpStream) -> String {
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    answer
}

fn ask(server: &MetricsServer, request: &str) -> String {
    let mut stream = connect(server);
    stream.write_all(request.as_bytes()).expect("written");
    read_all(stream)
}

fn get(server: &MetricsServer, path: &str) -> String {
    ask(
        server,
        &format!("GET {path} HTTP/1.1\r\nHost: here\r\n\r\n"),
    )
}

#[test]
fn pages_and_refusals() {
    let server = start();
    let metrics = get(&server, "/metrics");
    let (head, body) = metrics.split_once("\r\n\r\n").expect("a head");
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    assert!(head.contains("\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\n"));
    assert!(head.contains(&format!("\r\nContent-Length: {}\r\n", body.len())));
    assert!(body.contains("\npagecast_uptime_seconds 0\n"), "{body}");
    assert!(get(&server, "/metrics?x=1").starts_with("HTTP/1.1 200 "));
    let root = get(&server, "/");
    assert!(root.starts_with("HTTP/1.1 200 ") && root.contains("/metrics"));
    for path in ["/metric", "/metrics/", "/../etc/passwd", "*"] {
        assert!(get(&server, path).starts_with("HTTP/1.1 404 "), "{path}");
    }
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "get"] {
        let answer = ask(
            &server,
            &format!("{method} /metrics HTTP/1.1\r\nHost: here\r\nContent-Length: 2\r\n\r\nab"),
        );
        assert!(answer.starts_with("HTTP/1.1 405 "), "{method}: {answer}");
        assert!(answer.contains("\r\nAllow: GET, HEAD\r\n"));
    }
    assert!(ask(&server, "GET /metrics HTTP/1.0\r\n\r\n").starts_with("HTTP/1.1 200 "));
}

/// RFC 9112 section 3.2.2: a server takes these although clients send them to proxies alone.
#[test]
fn a_whole_url_is_as_good() {
    let server = start();
    for (target, expected) in [
        ("http://here/metrics", "200"),
        ("http://here:9464/metrics?x=http://there/", "200"),
        ("HTTP://[::1]:9464/metrics", "200"),
        ("http://here", "200"),
        ("http://here?x", "200"),
        ("http://here/metric", "404"),
        ("ftp://here/metrics", "404"),
        ("/metrics?next=http://here/no", "200"),
        ("/http://here/metrics", "404"),
    ] {
        let answer = get(&server, target);
        let expected = format!("HTTP/1.1 {expected} ");
        assert!(answer.starts_with(&expected), "{target}: {answer}");
    }
}

#[test]
fn heads_alone() {
    let server = start();
    for path in ["/metrics", "/", "/no"] {
        let whole = get(&server, path);
        let (head, body) = whole.split_once("\r\n\r\n").expect("a head");
        assert!(!body.is_empty());
        let answer = ask(
            &server,
            &format!("HEAD {path} HTTP/1.1\r\nHost: here\r\n\r\n"),
        );
        assert_eq!(answer, format!("{head}\r\n\r\n"), "{path}");
    }
}

/// However it comes: in one piece, or with the piece too much at once with the end.
#[test]
fn a_head_is_as_long_as_it_may_be() {
    let server = start();
    let request = |length: usize| {
        let around = "GET / HTTP/1.1\r\nA: \r\n\r\n".len();
        format!(
            "GET / HTTP/1.1\r\nA: {}\r\n\r\n",
            "x".repeat(length - around)
        )
    };
    for (length, status) in [
        (MAX_REQUEST, "200"),
        (MAX_REQUEST + 1, "431"),
        (MAX_REQUEST + 500, "431"),
        (MAX_REQUEST + 1023, "431"),
    ] {
        let request = request(length);
        assert_eq!(request.len(), length);
        let answer = ask(&server, &request);
        let expected = format!("HTTP/1.1 {status} ");
        assert!(answer.starts_with(&expected), "{length}: {answer}");
    }
}

#[test]
fn what_is_not_http_is_refused() {
    let server = start();
    let bad = [
        "\r\n\r\nnonsense\r\n\r\n",
        "GET\r\n\r\n",
        "GET /metrics\r\n\r\n",
        "GET /metrics HTTP/3.7\r\n\r\n",
        "GET /metrics HTTP/1.1\r\nno colon\r\n\r\n",
        "\u{0}\u{1}\u{2}\r\n\r\n",
        "{\"jsonrpc\":\"2.0\"}\n\n",
    ];
    for bad in bad {
        let answer = ask(&server, bad);
        assert!(answer.starts_with("HTTP/1.1 400 "), "{bad:?}: {answer}");
    }
    let long = format!("GET /{} HTTP/1.1\r\n\r\n", "x".repeat(2 * MAX_REQUEST));
    assert!(ask(&server, &long).starts_with("HTTP/1.1 431 "));
    let many = format!(
        "GET / HTTP/1.1\r\n{}\r\n",
        "a: b\r\n".repeat(MAX_HEADERS + 1)
    );
    assert!(ask(&server, &many).starts_with("HTTP/1.1 431 "));
    // Half a request, and gone.
    let mut half = connect(&server);
    half.write_all(b"GET /met").expect("written");
    half.shutdown(Shutdown::Write).expect("closed");
    assert!(read_all(half).starts_with("HTTP/1.1 400 "));
    drop(connect(&server));
    assert!(get(&server, "/metrics").starts_with("HTTP/1.1 200 "));
}

#[test]
fn a_request_may_come_in_pieces() {
    let server = start();
    let mut stream = connect(&server);
    for byte in b"GET /metrics HTTP/1.1\r\nHost: here\r\n\r\n" {
        stream.write_all(&[*byte]).expect("written");
    }
    assert!(read_all(stream).starts_with("HTTP/1.1 200 "));
}

#[test]
fn clients_are_bounded_in_number_and_in_time() {
    let server = start();
    let slow: Vec<TcpStream> = (0..MAX_CLIENTS).map(|_| connect(&server)).collect();
    // One byte a second is not enough to stay.
    let began = Instant::now();
    let mut refused = 0;
    let served = loop {
        let mut stream = connect(&server);
        let _ = stream.write_all(b"GET /metrics HTTP/1.1\r\n\r\n");
        let mut answer = String::new();
        let reset = stream.read_to_string(&mut answer).is_err();
        if answer.starts_with("HTTP/1.1 200 ") {
            break began.elapsed();
        }
        assert!(reset || answer.starts_with("HTTP/1.1 503 "), "{answer}");
        refused += 1;
        for mut one in &slow {
            let _ = one.write(b"G");
        }
        assert!(began.elapsed() < Duration::from_secs(25));
        thread::sleep(Duration::from_millis(200));
    };
    assert!(refused > 0, "the bound did not hold");
    assert!(served >= PATIENCE - Duration::from_secs(1), "{served:?}");
}

#[test]
fn it_ends_at_once_whoever_is_there_and_may_start_again() {
    let server = start();
    let at = server.address();
    let idle = connect(&server);
    thread::sleep(Duration::from_millis(50));
    let began = Instant::now();
    drop(server);
    assert!(began.elapsed() < Duration::from_secs(2));
    assert_eq!(read_all(idle), "");
    let config = MetricsConfig {
        address: at.ip(),
        port: at.port(),
    };
    let again = serve_at(&config, Duration::ZERO).expect("the port");
    assert!(get(&again, "/metrics").starts_with("HTTP/1.1 200 "));
    let error = serve_at(&config, Duration::ZERO);
    let error = error.map(drop).expect_err("in use").to_string();
    assert!(
        error.starts_with("\"metrics\": cannot listen on 127.0.0.1:"),
        "{error}"
    );
    assert!(error.contains("\"port\""), "{error}");
}

#[test]
fn a_slow_answer_keeps_nobody_else_waiting() {
    let server = start_slow(Duration::from_millis(800));
    let began = Instant::now();
    let mut first = connect(&server);
    first
        .write_all(b"GET /metrics HTTP/1.1\r\n\r\n")
        .expect("written");
    assert!(get(&server, "/").starts_with("HTTP/1.1 200 "));
    assert!(began.elapsed() < Duration::from_millis(700));
    assert!(read_all(first).starts_with("HTTP/1.1 200 "));
}

#[test]
fn it_follows_the_configuration() {
    let daemon: Arc<dyn Management> = Arc::new(Empty(Duration::ZERO));
    let free = || {
        let listener = TcpListener::bind((LOOPBACK, 0)).expect("a port");
        listener.local_addr().expect("an address").port()
    };
    let at = |address: IpAddr, port| MetricsConfig { address, port };
    let reachable = |port| TcpStream::connect((LOOPBACK, port)).is_ok();
    let service = MetricsService::default();
    let (one, two) = (free(), free());
    // Before there is a daemon there is nothing to serve.
    service.change(Some(&at(LOOPBACK, one))).expect("good");
    assert!(!reachable(one));
    service.begin(None, Arc::downgrade(&daemon)).expect("off");
    service.change(Some(&at(LOOPBACK, one))).expect("good");
    assert!(reachable(one));
    service.change(Some(&at(LOOPBACK, two))).expect("good");
    assert!(!reachable(one) && reachable(two));
    // The same port on every address.
    let everywhere = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
    service.change(Some(&at(everywhere, two))).expect("good");
    assert!(reachable(two));
    // What cannot be leaves what is, and so does the same port of an address that is not ours.
    let taken = TcpListener::bind((LOOPBACK, one)).expect("a port");
    service.change(Some(&at(LOOPBACK, one))).expect_err("taken");
    drop(taken);
    let elsewhere = "192.0.2.1".parse().expect("an address");
    service
        .change(Some(&at(elsewhere, two)))
        .expect_err("not here");
    assert!(reachable(two));
    service.change(None).expect("off");
    assert!(!reachable(two));
}
