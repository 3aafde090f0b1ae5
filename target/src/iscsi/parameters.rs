//! What two sides have agreed to (RFC 7143 section 13, RFC 7145 section 6).

/// What carries the PDUs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Datamover {
    /// RFC 7143's own: a byte stream with Data-In, R2T and Data-Out PDUs.
    Tcp,
    /// RFC 7145: RDMA does what those PDUs do.
    Iser,
}

/// What the target offers and can take; the same for every connection of a daemon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Most commands that an initiator may have outstanding (the MaxCmdSN window).
    pub commands: u32,
    /// Longest data segment that the initiator may send us in one PDU: MaxRecvDataSegmentLength, or TargetRecvDataSegmentLength on
    /// iSER.
    pub receive_data_segment: u32,
    /// MaxBurstLength that we agree to at most.
    pub max_burst: u32,
    /// FirstBurstLength that we agree to at most.
    pub first_burst: u32,
}

/// The parameters in force once a login is over. Before, the defaults of RFC 7143 hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parameters {
    /// CRC32C after every header (HeaderDigest).
    pub header_digest: bool,
    /// CRC32C after every data segment (DataDigest).
    pub data_digest: bool,
    /// Longest data segment that the initiator takes: its MaxRecvDataSegmentLength, or InitiatorRecvDataSegmentLength.
    pub send_data_segment: u32,
    /// Longest data segment that we take.
    pub receive_data_segment: u32,
    /// Most solicited data per R2T, and data-in per sequence.
    pub max_burst: u32,
    /// Most unsolicited data per command, immediate data included.
    pub first_burst: u32,
    /// Whether unsolicited Data-Out PDUs are forbidden.
    pub initial_r2t: bool,
    /// Whether commands may bring data.
    pub immediate_data: bool,
    /// R2Ts that one command may have outstanding.
    pub max_outstanding_r2t: u16,
    /// Seconds that the initiator waits before it reconnects, at least (DefaultTime2Wait).
    pub time2wait: u16,
    /// Seconds that tasks live on without a connection (DefaultTime2Retain); we keep none.
    pub time2retain: u16,
}

impl Parameters {
    /// What holds until something else is agreed to (RFC 7143 section 13).
    pub const INITIAL: Self = Self {
        header_digest: false,
        data_digest: false,
        send_data_segment: 8192,
        receive_data_segment: 8192,
        max_burst: 262_144,
        first_burst: 65_536,
        initial_r2t: true,
        immediate_data: true,
        max_outstanding_r2t: 1,
        time2wait: 2,
        time2retain: 0,
    };
}
