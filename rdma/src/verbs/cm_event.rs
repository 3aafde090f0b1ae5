//! What the events of librdmacm mean to us. No state, so that tests can feed it events of their own.

use std::io;

use rdma_sys::{rdma_cm_event, rdma_cm_event_type as Kind, rdma_conn_param};

/// An event without its id.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Report {
    /// A peer wants in.
    Request(Request),
    /// Active side: next is the route.
    AddressResolved,
    /// Active side: next is the queue pair.
    RouteResolved,
    /// Both sides are up.
    Established { private_data: Vec<u8> },
    /// The peer refused.
    Rejected { reason: i32, private_data: Vec<u8> },
    /// It will not be.
    Failed { why: String },
    /// It is over.
    Disconnected,
    /// The device goes away.
    Removed,
    /// Nothing to do; the number is for the log.
    Ignored(u32),
}

/// The consumer's part of a connect request.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Request {
    pub(super) private_data: Vec<u8>,
    /// RDMA READs that the peer answers at once.
    pub(super) peer_responder_resources: u8,
    /// RDMA READs that the peer wants in flight towards us.
    pub(super) peer_initiator_depth: u8,
}

/// Translates an event. It is copied out of completely.
///
/// # Safety
/// `event` is as librdmacm delivered it for a connected service: for the events that carry private data, `param.conn` is
/// filled in, and its private data is readable for its length.
pub(super) unsafe fn translate(event: &rdma_cm_event) -> Report {
    // SAFETY: both members of the union begin with the private data, and all of it is plain bytes, zeroed by librdmacm
    // before it fills in any of them. The pointer is followed only for events that carry a connection's parameters.
    let param = unsafe { &event.param.conn };
    let status = event.status;
    match event.event {
        Kind::RDMA_CM_EVENT_CONNECT_REQUEST => Report::Request(Request {
            // SAFETY: a connect request carries them (this function's contract).
            private_data: unsafe { private_data(param) },
            // librdmacm says it from our side (rdma_get_cm_event(3)): the responder resources asked of us are the peer's
            // initiator depth.
            peer_responder_resources: param.initiator_depth,
            peer_initiator_depth: param.responder_resources,
        }),
        Kind::RDMA_CM_EVENT_ADDR_RESOLVED => Report::AddressResolved,
        Kind::RDMA_CM_EVENT_ROUTE_RESOLVED => Report::RouteResolved,
        Kind::RDMA_CM_EVENT_ESTABLISHED => Report::Established {
            // SAFETY: so does the reply.
            private_data: unsafe { private_data(param) },
        },
        Kind::RDMA_CM_EVENT_REJECTED => Report::Rejected {
            reason: status,
            // SAFETY: so does a reject.
            private_data: unsafe { private_data(param) },
        },
        Kind::RDMA_CM_EVENT_ADDR_ERROR => failed("cannot resolve the address", status),
        Kind::RDMA_CM_EVENT_ROUTE_ERROR => failed("no route to the peer", status),
        Kind::RDMA_CM_EVENT_CONNECT_ERROR => failed("connecting failed", status),
        Kind::RDMA_CM_EVENT_UNREACHABLE => failed("the peer does not answer", status),
        // Delivered as such only when the queue pair is gone: librdmacm has nothing to bring up.
        Kind::RDMA_CM_EVENT_CONNECT_RESPONSE => Report::Failed {
            why: "the peer accepted, but the queue pair is gone".to_owned(),
        },
        Kind::RDMA_CM_EVENT_DISCONNECTED => Report::Disconnected,
        Kind::RDMA_CM_EVENT_DEVICE_REMOVAL => Report::Removed,
        // ADDR_CHANGE: a bonding failover; the connection breaks by itself if it cannot go on. TIMEWAIT_EXIT: the queue
        // pair number may be reused, which is the kernel's affair. The others are multicast's, or newer than this.
        other => Report::Ignored(other.0),
    }
}

/// # Safety
/// The private data is readable for its length, unless the pointer is NULL.
unsafe fn private_data(param: &rdma_conn_param) -> Vec<u8> {
    if param.private_data.is_null() {
        return Vec::new();
    }
    let len = usize::from(param.private_data_len);
    // SAFETY: not NULL, readable for its length (contract), and copied before anything else happens.
    unsafe { std::slice::from_raw_parts(param.private_data.cast::<u8>(), len) }.to_vec()
}

/// The status of a failure is a negative errno, or a number of the transport's own.
fn failed(what: &str, status: i32) -> Report {
    let why = match status {
        // librdmacm's own -1 does not mean EPERM.
        ..=-2 => format!(
            "{what}: {}",
            io::Error::from_raw_os_error(status.saturating_neg())
        ),
        _ => format!("{what} (status {status})"),
    };
    Report::Failed { why }
}

#[cfg(test)]
mod tests {
    use std::ptr;

    use rdma_sys::{rdma_cm_event__bindgen_ty_1, rdma_cm_event_type};

    use super::*;

    fn event(event: rdma_cm_event_type, status: i32, data: &[u8]) -> rdma_cm_event {
        rdma_cm_event {
            event,
            status,
            param: rdma_cm_event__bindgen_ty_1 {
                conn: rdma_conn_param {
                    private_data: if data.is_empty() {
                        ptr::null()
                    } else {
                        data.as_ptr().cast()
                    },
                    private_data_len: data.len() as u8,
                    responder_resources: 16,
                    initiator_depth: 4,
                    ..rdma_conn_param::default()
                },
            },
            ..rdma_cm_event::default()
        }
    }

    fn report(kind: rdma_cm_event_type, status: i32, data: &[u8]) -> Report {
        // SAFETY: the event's private data is `data`.
        unsafe { translate(&event(kind, status, data)) }
    }

    #[test]
    fn a_request_is_seen_from_the_peer() {
        assert_eq!(
            report(Kind::RDMA_CM_EVENT_CONNECT_REQUEST, 0, &[0x00, 0x10, 0xff]),
            Report::Request(Request {
                private_data: vec![0x00, 0x10, 0xff],
                peer_responder_resources: 4,
                peer_initiator_depth: 16,
            })
        );
    }

    #[test]
    fn missing_private_data_is_empty() {
        let mut event = event(Kind::RDMA_CM_EVENT_ESTABLISHED, 0, &[]);
        // A length without data, as no library should deliver it.
        event.param.conn.private_data_len = 9;
        // SAFETY: the private data is NULL.
        let report = unsafe { translate(&event) };
        assert_eq!(
            report,
            Report::Established {
                private_data: vec![]
            }
        );
    }

    #[test]
    fn a_reject_has_reason_and_data() {
        assert_eq!(
            report(Kind::RDMA_CM_EVENT_REJECTED, 28, b"no"),
            Report::Rejected {
                reason: 28,
                private_data: b"no".to_vec()
            }
        );
    }

    #[test]
    fn failures_say_why() {
        let why = |kind, status| match report(kind, status, &[]) {
            Report::Failed { why } => why,
            other => panic!("{other:?}"),
        };
        assert_eq!(
            why(Kind::RDMA_CM_EVENT_ADDR_ERROR, -libc::ETIMEDOUT),
            "cannot resolve the address: Connection timed out (os error 110)"
        );
        assert_eq!(
            why(Kind::RDMA_CM_EVENT_ADDR_ERROR, -1),
            "cannot resolve the address (status -1)"
        );
        assert_eq!(
            why(Kind::RDMA_CM_EVENT_ROUTE_ERROR, -libc::EINVAL),
            "no route to the peer: Invalid argument (os error 22)"
        );
        assert_eq!(
            why(Kind::RDMA_CM_EVENT_UNREACHABLE, i32::MIN),
            format!(
                "the peer does not answer: {}",
                io::Error::from_raw_os_error(i32::MAX)
            )
        );
        assert_eq!(
            why(Kind::RDMA_CM_EVENT_CONNECT_ERROR, 7),
            "connecting failed (status 7)"
        );
    }

    #[test]
    fn the_rest_is_named_or_ignored() {
        for (kind, expected) in [
            (Kind::RDMA_CM_EVENT_ADDR_RESOLVED, Report::AddressResolved),
            (Kind::RDMA_CM_EVENT_ROUTE_RESOLVED, Report::RouteResolved),
            (Kind::RDMA_CM_EVENT_DISCONNECTED, Report::Disconnected),
            (Kind::RDMA_CM_EVENT_DEVICE_REMOVAL, Report::Removed),
            (Kind::RDMA_CM_EVENT_TIMEWAIT_EXIT, Report::Ignored(15)),
            (Kind::RDMA_CM_EVENT_ADDR_CHANGE, Report::Ignored(14)),
            (Kind::RDMA_CM_EVENT_MULTICAST_ERROR, Report::Ignored(13)),
            (rdma_cm_event_type(999), Report::Ignored(999)),
        ] {
            assert_eq!(report(kind, 0, &[]), expected);
        }
    }
}
