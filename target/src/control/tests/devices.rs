//! Methods about one device.

use super::*;

#[test]
fn sizes_and_flags() {
    let server = Server::start("sizes");
    let mut client = server.client();
    for (params, size) in [
        (json!({ "name": "disk0", "size": 4096 }), 4096),
        (json!({ "name": "disk0", "size": "4096" }), 4096),
        (json!({ "name": "disk0", "size": "1 GiB" }), 1 << 30),
        (json!({ "name": "disk0", "size": null }), 256 << 20),
        (json!({ "name": "disk0", "force": true }), 256 << 20),
        (json!({ "name": "disk0", "force": true, "size": 512 }), 512),
        (json!(["disk0", null, true]), 256 << 20),
        (json!(["disk0", "512", true]), 512),
    ] {
        let answer = client.call("device.resize", params.clone());
        assert_eq!(answer["result"]["size"], size, "{params}: {answer}");
    }
    let refused = -32002;
    let invalid = -32602;
    for (params, code, message) in [
        (json!({}), invalid, "device.resize needs the parameter"),
        (
            json!([null]),
            invalid,
            "the parameter \"name\" must be a string, not null",
        ),
        (
            json!(["disk0", "much"]),
            invalid,
            "the parameter \"size\" must be a number of bytes, or a size such as \"10GiB\", not \"much\"",
        ),
        (json!(["disk0", -1]), invalid, "the parameter \"size\""),
        (json!(["disk0", 1.5]), invalid, "the parameter \"size\""),
        (json!(["disk0", true]), invalid, "the parameter \"size\""),
        (
            json!(["disk0", 512, "yes"]),
            invalid,
            "the parameter \"force\" must be true or false, not \"yes\"",
        ),
        (
            json!(["disk0", 512]),
            refused,
            "device disk0: 512 bytes are less than",
        ),
        (json!(["disk0", 512, false]), refused, "device disk0: "),
        (
            json!(["disk0", 0, true]),
            refused,
            "device disk0: a disk without",
        ),
        (
            json!(["disk1"]),
            -32001,
            "there is no device \"disk1\"; did you mean `disk0`?",
        ),
    ] {
        let answer = client.call("device.resize", params.clone());
        assert_eq!(answer["error"]["code"], code, "{params}: {answer}");
        let text = answer["error"]["message"].as_str().expect("a message");
        assert!(text.starts_with(message), "{params}: {text}");
    }
}

#[test]
fn reservations_that_are_not_cleared() {
    let server = Server::start("clear");
    let mut client = server.client();
    for (method, params, code, message) in [
        (
            "reservation.clear",
            json!(["disk0"]),
            -32002,
            "device disk0: 0x0000000000000000505400fffe000002 and 1 more are logged in and registered, and other hosts could write \
             as soon as the reservation is gone; log them out first, or say so (\"force\", --force)",
        ),
        (
            "reservation.clear",
            json!(["disk1", true]),
            -32001,
            "there is no device \"disk1\"; did you mean `disk0`?",
        ),
        (
            "reservation.show",
            json!(["disk2"]),
            -32001,
            "there is no device \"disk2\"; did you mean `disk0`?",
        ),
        (
            "reservation.clear",
            json!({}),
            -32602,
            "reservation.clear needs the parameter \"name\"",
        ),
    ] {
        let answer = client.call(method, params.clone());
        assert_eq!(answer["error"], error(code, message), "{params}");
    }
}
