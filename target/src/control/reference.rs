//! The reference of the control socket, for people: `docs/control-socket.md`.

/// The text of `docs/control-socket.md`, made of what `rpc.schema` tells.
pub fn reference() -> String {
    String::new()
}
