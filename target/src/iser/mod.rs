//! iSER (RFC 7145) without I/O: its header and its connection manager data.
