//! Requests that are wrong, many at once, in pieces, or too long.

use super::*;

#[test]
fn wrong_requests() {
    let server = Server::start("wrong");
    let mut client = server.client();
    for (line, id, expected) in [
        (
            "nonsense",
            Value::Null,
            error(
                -32700,
                "this line is not JSON: expected ident at line 1 column 2",
            ),
        ),
        (
            "{\"jsonrpc\":",
            Value::Null,
            error(
                -32700,
                "this line is not JSON: EOF while parsing a value at line 1 column 11",
            ),
        ),
        (
            r#"{"jsonrpc":"2.0","id":1,"id":2,"method":"status"}"#,
            Value::Null,
            error(
                -32700,
                "this line is not JSON: the key \"id\" is there more than once; keep one of them at line 1 column 30",
            ),
        ),
        ("7", Value::Null, error(-32600, "a request is an object")),
        ("[]", Value::Null, error(-32600, "an empty batch")),
        (
            r#"{"id":1,"method":"status"}"#,
            json!(1),
            error(-32600, "a request has \"jsonrpc\": \"2.0\""),
        ),
        (
            r#"{"jsonrpc":"1.0","id":1,"method":"status"}"#,
            json!(1),
            error(-32600, "a request has \"jsonrpc\": \"2.0\""),
        ),
        (
            r#"{"jsonrpc":"2.0","id":1}"#,
            json!(1),
            error(-32600, "a request has a method"),
        ),
        (
            r#"{"jsonrpc":"2.0","id":1,"method":2}"#,
            json!(1),
            error(-32600, "the method is not a string"),
        ),
        (
            r#"{"jsonrpc":"2.0","id":{},"method":"status"}"#,
            Value::Null,
            error(-32600, "the id is not a string or a number"),
        ),
        (
            r#"{"jsonrpc":"2.0","id":"a","method":"status","parms":[]}"#,
            json!("a"),
            error(
                -32600,
                "a request has jsonrpc, method, params and id, and nothing else",
            ),
        ),
        (
            r#"{"jsonrpc":"2.0","id":"a","method":"device.shwo"}"#,
            json!("a"),
            error(
                -32601,
                "no method \"device.shwo\"; did you mean `device.show`?",
            ),
        ),
        (
            r#"{"jsonrpc":"2.0","id":2,"method":"device.show"}"#,
            json!(2),
            error(-32602, "device.show needs the parameter \"name\""),
        ),
        (
            r#"{"jsonrpc":"2.0","id":2,"method":"device.show","params":{"nmae":"a"}}"#,
            json!(2),
            error(
                -32602,
                "device.show has no parameter \"nmae\"; did you mean `name`?",
            ),
        ),
        (
            r#"{"jsonrpc":"2.0","id":2,"method":"device.show","params":{"name":7}}"#,
            json!(2),
            error(-32602, "the parameter \"name\" must be a string, not 7"),
        ),
        (
            r#"{"jsonrpc":"2.0","id":2,"method":"device.show","params":["a","b"]}"#,
            json!(2),
            error(-32602, "device.show takes 1 parameters, not 2"),
        ),
        (
            r#"{"jsonrpc":"2.0","id":2,"method":"device.show","params":"a"}"#,
            json!(2),
            error(-32602, "params is neither an object nor a list"),
        ),
        (
            r#"{"jsonrpc":"2.0","id":2,"method":"status","params":{"name":"a"}}"#,
            json!(2),
            error(-32602, "status has no parameter \"name\"; it takes none"),
        ),
        (
            r#"{"jsonrpc":"2.0","id":2,"method":"device.show","params":{"name":"disk1"}}"#,
            json!(2),
            error(
                -32001,
                "there is no device \"disk1\"; did you mean `disk0`?",
            ),
        ),
        (
            r#"{"jsonrpc":"2.0","id":2,"method":"target.show","params":{"name":"x"}}"#,
            json!(2),
            error(-32001, "there is no target \"x\"; known are `store`"),
        ),
    ] {
        let answer = client.ask(line);
        assert_eq!(
            answer,
            json!({ "jsonrpc": "2.0", "id": id, "error": expected }),
            "{line}"
        );
    }
    let answer = client.call("frob", json!({}));
    let message = answer["error"]["message"].as_str().expect("a message");
    assert!(
        message.starts_with("no method \"frob\"; known are `status`, `device.list`, "),
        "{message}"
    );
    // The same connection still works.
    assert!(client.call("status", json!({})).get("result").is_some());

    client.send(b"\xff\xfe\n");
    assert_eq!(client.receive()["error"]["code"], -32700);
    client.send(format!("{}\n", "[".repeat(100_000)));
    assert_eq!(client.receive()["error"]["code"], -32700);
}

#[test]
fn batches_and_notifications() {
    let server = Server::start("batch");
    let mut client = server.client();
    let answer = client.ask(
        r#"[{"jsonrpc":"2.0","id":1,"method":"stats"},{"jsonrpc":"2.0","method":"stats"},1,{"jsonrpc":"2.0","id":2,"method":"x"}]"#,
    );
    let codes: Vec<&Value> = answer
        .as_array()
        .unwrap()
        .iter()
        .map(|a| &a["error"]["code"])
        .collect();
    assert_eq!(codes, [&Value::Null, &json!(-32600), &json!(-32601)]);

    // Nobody is told of notifications; blank lines are nothing.
    client.send("{\"jsonrpc\":\"2.0\",\"method\":\"stats\"}\n\n \r\n");
    client.send("[{\"jsonrpc\":\"2.0\",\"method\":\"nonsense\"}]\n");
    assert_eq!(client.call("status", json!({}))["result"]["pid"], 4711);

    let many = format!("[{}]", vec!["1"; 101].join(","));
    assert_eq!(client.ask(&many)["error"]["code"], -32600);
}

#[test]
fn requests_may_come_in_any_pieces() {
    let server = Server::start("pieces");
    let mut client = server.client();
    for byte in b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"status\"}\r\n" {
        client.send([*byte]);
    }
    assert_eq!(client.receive()["id"], 1);

    let two = r#"{"jsonrpc":"2.0","id":1,"method":"status"}"#;
    client.send(format!("{two}\n{two}\n{two}"));
    client
        .lines
        .get_ref()
        .shutdown(Shutdown::Write)
        .expect("shut");
    for _ in 0..3 {
        assert_eq!(client.receive()["id"], 1);
    }
    let mut rest = String::new();
    assert_eq!(client.lines.read_to_string(&mut rest).expect("the end"), 0);
}

#[test]
fn long_lines_are_refused_and_the_next_served() {
    let server = Server::start("long");
    let mut client = server.client();
    client.send(vec![b' '; (1 << 20) + 1]);
    // Before the line has ended.
    let answer = client.receive();
    assert_eq!(
        answer["error"],
        error(-32600, "a request of more than 1048576 bytes")
    );
    client.send(vec![b' '; 3 << 20]);
    client.send("\n");
    assert_eq!(client.call("status", json!({}))["result"]["pid"], 4711);
}

#[test]
fn the_answers_to_a_batch_are_bounded() {
    let server = Server::with(
        "answers",
        Fake {
            chatty: Some(Arc::default()),
            ..Fake::default()
        },
    );
    let mut client = server.client();
    let request = |id: u32| json!({ "jsonrpc": "2.0", "id": id, "method": "status" });
    let mut batch: Vec<Value> = (0..8).map(request).collect();
    // Of a notification nobody is told, now as ever.
    batch.push(json!({ "jsonrpc": "2.0", "method": "group.remove", "params": ["store", "web"] }));
    batch.push(json!(1));
    let answers = client.ask(&Value::from(batch).to_string());
    let answers = answers.as_array().expect("a list");
    let ids: Vec<u64> = answers.iter().filter_map(|a| a["id"].as_u64()).collect();
    assert_eq!(ids, [0, 1, 2, 3, 4, 5, 6, 7]);
    let done = answers
        .iter()
        .filter(|answer| answer.get("result").is_some());
    assert_eq!(done.count(), 4);
    assert_eq!(answers[4]["error"]["code"], -32002);
    assert_eq!(answers.len(), 9);
    assert_eq!(server.daemon.taken(), []);
}

#[test]
fn what_is_nested_deeply() {
    let server = Server::start("deep");
    let mut client = server.client();
    for depth in [100, 130, 10_000] {
        let (open, close) = ("{\"a\":".repeat(depth), "}".repeat(depth));
        let request = format!(
            "{{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"device.add\",\"params\":{open}1{close}}}"
        );
        let answer = client.ask(&request);
        // What is beyond the reader's depth is not JSON to it; the rest is for the configuration's reader.
        assert_eq!(answer.get("result").is_some(), depth == 100, "{answer}");
        assert_eq!(server.daemon.taken().len(), usize::from(depth == 100));
    }
}

/// Whatever is given for a parameter, there is an answer, and it is never a mistake of ours.
#[test]
fn parameters_of_any_kind() {
    let server = Server::start("any-kind");
    let mut client = server.client();
    let schema = client.call("rpc.schema", json!({}))["result"].take();
    let odd = [
        Value::Null,
        json!(true),
        json!(-1),
        json!(1.5),
        json!(u64::MAX),
        json!(""),
        json!("\u{0}../\u{202e}"),
        json!("x".repeat(10_000)),
        json!([]),
        json!([[null]]),
        json!({}),
        json!({ "": { "name": 1 } }),
    ];
    let mut calls = 0;
    for method in schema["methods"].as_array().expect("a list") {
        let name = method["name"].as_str().expect("a name");
        let names = method["params"].as_array().expect("a list").iter();
        let names: Vec<&str> = names.filter_map(|param| param["name"].as_str()).collect();
        for value in &odd {
            let all = |value: &Value| {
                let each = names.iter().map(|&name| (name.to_owned(), value.clone()));
                Value::Object(each.collect())
            };
            for params in [
                value.clone(),
                json!([value]),
                all(value),
                all(&json!([value])),
            ] {
                let answer = client.call(name, params.clone());
                let known = [-32602, -32002, -32001]
                    .contains(&answer["error"]["code"].as_i64().unwrap_or(0));
                let done = answer.get("result").is_some();
                assert!(known != done, "{name} {params}: {answer}");
                if let Some(message) = answer["error"]["message"].as_str() {
                    assert!(message.len() < 1000, "{name} {params}: {message}");
                    assert!(!message.contains('\0'), "{name}: {message:?}");
                }
                calls += 1;
            }
        }
    }
    assert_eq!(calls, schema::METHODS.len() * odd.len() * 4);
}
