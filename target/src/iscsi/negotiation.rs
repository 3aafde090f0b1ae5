//! The operational keys: what each side may say, and what follows (RFC 7143 section 13, RFC 7145 section 6).
//!
//! We never offer a key of our own accord but declare MaxRecvDataSegmentLength, so one answer always settles what was offered.

use thiserror::Error;

use super::login::SessionType;
use super::parameters::{Datamover, Limits, Parameters};
use super::text::{self, IRRELEVANT, NO, NONE, NOT_UNDERSTOOD, Pair, REJECT, TextWriter};

/// Bounds of every length that is negotiated (RFC 7143 section 13).
const MIN_LENGTH: u32 = 512;
const MAX_LENGTH: u32 = (1 << 24) - 1;
/// Longest time that is negotiated, in seconds.
const MAX_TIME: u32 = 3600;
/// Data that an initiator's buffer holds in a discovery session over iSER: Linux keeps using the one for the login.
const ISER_LOGIN_BUFFER: u32 = 8192;
/// RFC 7143 itself is level 1 (RFC 7144 section 7.1.1).
const PROTOCOL_LEVEL: u32 = 1;

/// Keys without a meaning in a discovery session.
const NORMAL_SESSIONS_ONLY: [&str; 9] = [
    "MaxConnections",
    "InitialR2T",
    "ImmediateData",
    "MaxBurstLength",
    "FirstBurstLength",
    "MaxOutstandingR2T",
    "DataPDUInOrder",
    "DataSequenceInOrder",
    "TaskReporting",
];

/// Why there is no agreement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum NegotiationError {
    /// A declared value that nobody can work with.
    #[error("{0} has no value that it may have")]
    Unusable(&'static str),
    /// iSER's Hello exchange, which no initiator is known to need.
    #[error("it requires iSER Hello messages")]
    HelloRequired,
    /// iSER without RDMAExtensions=Yes.
    #[error("a session over iSER needs RDMAExtensions=Yes")]
    NoRdmaExtensions,
    /// A key that only targets may send, or not in this phase.
    #[error("a key that an initiator may not send in a login")]
    NotForLogin,
}

/// What is agreed to so far.
#[derive(Clone, Debug)]
pub struct Negotiation {
    datamover: Datamover,
    limits: Limits,
    session: SessionType,
    agreed: Parameters,
    rdma_extensions: bool,
    /// InitiatorRecvDataSegmentLength and TargetRecvDataSegmentLength.
    initiator_segment: Option<u32>,
    target_segment: Option<u32>,
    declared: bool,
}

impl Negotiation {
    /// Nothing is, but for the defaults.
    pub fn new(datamover: Datamover, limits: Limits, session: SessionType) -> Self {
        Self {
            datamover,
            limits,
            session,
            agreed: Parameters::INITIAL,
            rdma_extensions: false,
            initiator_segment: None,
            target_segment: None,
            declared: false,
        }
    }

    /// Answers what the initiator offers, and notes what it declares.
    pub fn offers(
        &mut self,
        offers: &[Pair<'_>],
        answer: &mut TextWriter,
    ) -> Result<(), NegotiationError> {
        // FirstBurstLength may not exceed MaxBurstLength, wherever in the text that is.
        let (last, first): (Vec<_>, Vec<_>) = offers
            .iter()
            .partition(|offer| offer.key == "FirstBurstLength");
        for offer in first.into_iter().chain(last) {
            self.offer(offer, answer)?;
        }
        Ok(())
    }

    fn offer(&mut self, offer: &Pair<'_>, answer: &mut TextWriter) -> Result<(), NegotiationError> {
        let &Pair { key, value } = offer;
        if self.session == SessionType::Discovery && NORMAL_SESSIONS_ONLY.contains(&key) {
            answer.pair(key, IRRELEVANT);
            return Ok(());
        }
        let mut reply = Reply { key, value, answer };
        match key {
            "HeaderDigest" => {
                if let Some(chosen) = reply.choice(self.digests()) {
                    self.agreed.header_digest = chosen != NONE;
                }
            }
            "DataDigest" => {
                if let Some(chosen) = reply.choice(self.digests()) {
                    self.agreed.data_digest = chosen != NONE;
                }
            }
            "MaxConnections" => {
                reply.least(1, 65_535, 1);
            }
            "ErrorRecoveryLevel" => {
                reply.least(0, 2, 0);
            }
            "InitialR2T" => {
                // On iSER, unsolicited Data-Out PDUs would land in buffers that are meant for commands.
                let ours = self.datamover == Datamover::Iser;
                if let Some(agreed) = reply.boolean(|theirs| theirs || ours) {
                    self.agreed.initial_r2t = agreed;
                }
            }
            "ImmediateData" => {
                if let Some(agreed) = reply.boolean(|theirs| theirs) {
                    self.agreed.immediate_data = agreed;
                }
            }
            "DataPDUInOrder" | "DataSequenceInOrder" => {
                reply.boolean(|_| true);
            }
            "MaxBurstLength" => {
                if let Some(agreed) = reply.least(MIN_LENGTH, MAX_LENGTH, self.limits.max_burst) {
                    self.agreed.max_burst = agreed;
                }
            }
            "FirstBurstLength" => {
                let ours = self.limits.first_burst.min(self.agreed.max_burst);
                if let Some(agreed) = reply.least(MIN_LENGTH, MAX_LENGTH, ours) {
                    self.agreed.first_burst = agreed;
                }
            }
            "MaxOutstandingR2T" => {
                reply.least(1, 65_535, 1);
            }
            "DefaultTime2Wait" => {
                // The result is the higher one, and ours is 0: reconnect at once.
                if let Some(agreed) = reply.least(0, MAX_TIME, MAX_TIME) {
                    self.agreed.time2wait = agreed as u16;
                }
            }
            "DefaultTime2Retain" => {
                if let Some(agreed) = reply.least(0, MAX_TIME, 0) {
                    self.agreed.time2retain = agreed as u16;
                }
            }
            "iSCSIProtocolLevel" => {
                reply.least(0, 31, PROTOCOL_LEVEL);
            }
            "TaskReporting" => {
                reply.choice(&["RFC3720"]);
            }
            "MaxRecvDataSegmentLength" => {
                let theirs = text::number(value).filter(|&theirs| theirs >= MIN_LENGTH.into());
                match theirs {
                    Some(theirs) => self.agreed.send_data_segment = bounded(theirs, MAX_LENGTH),
                    // RFC 7145 section 6.2: to be ignored where RDMAExtensions=Yes, which may be still to come.
                    None if self.datamover == Datamover::Iser => {}
                    None => return Err(NegotiationError::Unusable("MaxRecvDataSegmentLength")),
                }
            }
            // Obsolete; RFC 7143 section 13.25 has the answers.
            "IFMarker" | "OFMarker" => reply.say(NO),
            "IFMarkInt" | "OFMarkInt" => reply.say(REJECT),
            "RDMAExtensions" => {
                let ours = self.datamover == Datamover::Iser;
                if let Some(agreed) = reply.boolean(|theirs| theirs && ours) {
                    self.rdma_extensions = agreed;
                }
            }
            "InitiatorRecvDataSegmentLength"
            | "TargetRecvDataSegmentLength"
            | "MaxOutstandingUnexpectedPDUs"
            | "MaxAHSLength"
            | "TaggedBufferForSolicitedDataOnly"
            | "iSERHelloRequired"
                if self.datamover == Datamover::Tcp =>
            {
                reply.say(IRRELEVANT);
            }
            "InitiatorRecvDataSegmentLength" => {
                self.initiator_segment = reply.least(MIN_LENGTH, MAX_LENGTH, MAX_LENGTH);
            }
            "TargetRecvDataSegmentLength" => {
                let ours = self.limits.receive_data_segment;
                self.target_segment = reply.least(MIN_LENGTH, MAX_LENGTH, ours);
            }
            // Declarations for targets that send more than we do.
            "MaxOutstandingUnexpectedPDUs" | "MaxAHSLength" => {}
            "TaggedBufferForSolicitedDataOnly" => {}
            "iSERHelloRequired" => {
                if text::boolean(value) != Some(false) {
                    return Err(NegotiationError::HelloRequired);
                }
            }
            "SendTargets" | "TargetAddress" | "TargetAlias" | "TargetPortalGroupTag" => {
                return Err(NegotiationError::NotForLogin);
            }
            _ => reply.say(NOT_UNDERSTOOD),
        }
        Ok(())
    }

    /// Says, once, what the initiator has to know of us without having asked.
    pub fn declare(&mut self, answer: &mut TextWriter) {
        if !self.declared && !self.rdma_negotiates() {
            let ours = self.receive_limit();
            answer.pair("MaxRecvDataSegmentLength", ours);
            self.agreed.receive_data_segment = ours;
        }
        self.declared = true;
    }

    /// What holds from now on.
    pub fn finish(&self) -> Result<Parameters, NegotiationError> {
        let mut agreed = self.agreed;
        if self.rdma_negotiates() {
            if !self.rdma_extensions {
                return Err(NegotiationError::NoRdmaExtensions);
            }
            // Who does not ask gets the default of RFC 7145 sections 6.4 and 6.5.
            let default = Parameters::INITIAL.receive_data_segment;
            agreed.send_data_segment = self.initiator_segment.unwrap_or(default);
            agreed.receive_data_segment = self.target_segment.unwrap_or(default);
        }
        if self.datamover == Datamover::Iser {
            agreed.initial_r2t = true;
            if self.session == SessionType::Discovery {
                agreed.send_data_segment = agreed.send_data_segment.min(ISER_LOGIN_BUFFER);
            }
        }
        agreed.first_burst = agreed.first_burst.min(agreed.max_burst);
        Ok(agreed)
    }

    /// Whether RFC 7145's keys say how long data segments are. They do in normal sessions; in discovery sessions over iSER, open-iscsi
    /// uses MaxRecvDataSegmentLength.
    fn rdma_negotiates(&self) -> bool {
        self.datamover == Datamover::Iser
            && (self.session == SessionType::Normal || self.rdma_extensions)
    }

    fn receive_limit(&self) -> u32 {
        self.limits
            .receive_data_segment
            .clamp(MIN_LENGTH, MAX_LENGTH)
    }

    /// RFC 7145 section 6.1: RDMA has its own integrity checks.
    fn digests(&self) -> &'static [&'static str] {
        match self.datamover {
            Datamover::Tcp => &["CRC32C", NONE],
            Datamover::Iser => &[NONE],
        }
    }
}

/// A key that waits for its answer. What returns `None` has answered Reject: what held before still holds.
struct Reply<'a> {
    key: &'a str,
    value: &'a str,
    answer: &'a mut TextWriter,
}

impl<'a> Reply<'a> {
    fn say(&mut self, value: impl std::fmt::Display) {
        self.answer.pair(self.key, value);
    }

    /// The first of the initiator's list that we can do (RFC 7143 section 6.2.1).
    fn choice(&mut self, ours: &[&str]) -> Option<&'a str> {
        let chosen = text::list(self.value).find(|theirs| ours.contains(theirs));
        self.say(chosen.unwrap_or(REJECT));
        chosen
    }

    /// A boolean function of the offer (RFC 7143 section 6.2.2).
    fn boolean(&mut self, result: impl Fn(bool) -> bool) -> Option<bool> {
        let agreed = text::boolean(self.value).map(result);
        self.say(agreed.map_or(REJECT, text::yes_or_no));
        agreed
    }

    /// The lower one of the offer, brought within its bounds, and of ours. A value that may not be is answered with one that may,
    /// which RFC 7143 section 6.2.2 leaves to us: initiators take Reject for the end of the login.
    fn least(&mut self, lowest: u32, highest: u32, ours: u32) -> Option<u32> {
        let agreed =
            text::number(self.value).map(|theirs| bounded(theirs, highest.min(ours)).max(lowest));
        match agreed {
            Some(agreed) => self.say(agreed),
            None => self.say(REJECT),
        }
        agreed
    }
}

fn bounded(value: u64, highest: u32) -> u32 {
    u32::try_from(value).map_or(highest, |value| value.min(highest))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits {
        commands: 64,
        receive_data_segment: 65_536,
        max_burst: 1 << 20,
        first_burst: 131_072,
    };

    fn negotiate(
        datamover: Datamover,
        session: SessionType,
        offers: &str,
    ) -> Result<(String, Parameters), NegotiationError> {
        let mut negotiation = Negotiation::new(datamover, LIMITS, session);
        let offers: String = offers.split_whitespace().flat_map(|o| [o, "\0"]).collect();
        let pairs = text::parse(offers.as_bytes()).unwrap();
        let mut answer = TextWriter::default();
        negotiation.offers(&pairs, &mut answer)?;
        negotiation.declare(&mut answer);
        let answer = String::from_utf8(answer.into_bytes()).unwrap();
        Ok((
            answer.split_terminator('\0').collect::<Vec<_>>().join(" "),
            negotiation.finish()?,
        ))
    }

    fn tcp(offers: &str) -> (String, Parameters) {
        let (answer, parameters) = negotiate(Datamover::Tcp, SessionType::Normal, offers).unwrap();
        let answer = answer.replace("MaxRecvDataSegmentLength=65536", "");
        (answer.trim().to_owned(), parameters)
    }

    #[test]
    fn every_result_function() {
        for (offer, answer) in [
            ("HeaderDigest=CRC32C,None", "HeaderDigest=CRC32C"),
            ("HeaderDigest=None,CRC32C", "HeaderDigest=None"),
            ("HeaderDigest=X-md5,CRC32C", "HeaderDigest=CRC32C"),
            ("DataDigest=X-md5", "DataDigest=Reject"),
            ("MaxConnections=8", "MaxConnections=1"),
            ("MaxConnections=0", "MaxConnections=1"),
            ("ErrorRecoveryLevel=2", "ErrorRecoveryLevel=0"),
            ("InitialR2T=No", "InitialR2T=No"),
            ("InitialR2T=Yes", "InitialR2T=Yes"),
            ("InitialR2T=yes", "InitialR2T=Reject"),
            ("ImmediateData=Yes", "ImmediateData=Yes"),
            ("ImmediateData=No", "ImmediateData=No"),
            ("MaxBurstLength=16776192", "MaxBurstLength=1048576"),
            ("MaxBurstLength=0x2000", "MaxBurstLength=8192"),
            ("MaxBurstLength=0", "MaxBurstLength=512"),
            ("MaxBurstLength=99999999999", "MaxBurstLength=1048576"),
            ("MaxBurstLength=many", "MaxBurstLength=Reject"),
            ("FirstBurstLength=262144", "FirstBurstLength=131072"),
            ("MaxOutstandingR2T=8", "MaxOutstandingR2T=1"),
            ("DefaultTime2Wait=2", "DefaultTime2Wait=2"),
            ("DefaultTime2Wait=9999", "DefaultTime2Wait=3600"),
            ("DefaultTime2Retain=20", "DefaultTime2Retain=0"),
            ("DataPDUInOrder=No", "DataPDUInOrder=Yes"),
            ("DataSequenceInOrder=Yes", "DataSequenceInOrder=Yes"),
            ("IFMarker=Yes", "IFMarker=No"),
            ("OFMarker=No", "OFMarker=No"),
            ("IFMarkInt=2048~8192", "IFMarkInt=Reject"),
            ("OFMarkInt=1~65535", "OFMarkInt=Reject"),
            ("iSCSIProtocolLevel=2", "iSCSIProtocolLevel=1"),
            ("iSCSIProtocolLevel=0", "iSCSIProtocolLevel=0"),
            ("TaskReporting=FastAbort,RFC3720", "TaskReporting=RFC3720"),
            ("TaskReporting=FastAbort", "TaskReporting=Reject"),
            ("RDMAExtensions=Yes", "RDMAExtensions=No"),
            (
                "TargetRecvDataSegmentLength=8192",
                "TargetRecvDataSegmentLength=Irrelevant",
            ),
            ("iSERHelloRequired=Yes", "iSERHelloRequired=Irrelevant"),
            ("X-com.example.key=1", "X-com.example.key=NotUnderstood"),
            (
                "X#NodeArchitecture=VMkernel/x86",
                "X#NodeArchitecture=NotUnderstood",
            ),
        ] {
            assert_eq!(tcp(offer).0, answer, "{offer}");
        }
    }

    #[test]
    fn what_is_agreed_to_holds() {
        let (_, parameters) = tcp(
            "HeaderDigest=CRC32C DataDigest=CRC32C,None InitialR2T=No ImmediateData=No MaxBurstLength=262144 \
             FirstBurstLength=65536 MaxRecvDataSegmentLength=262144 DefaultTime2Wait=0 DefaultTime2Retain=0",
        );
        assert_eq!(
            parameters,
            Parameters {
                header_digest: true,
                data_digest: true,
                send_data_segment: 262_144,
                receive_data_segment: 65_536,
                max_burst: 262_144,
                first_burst: 65_536,
                initial_r2t: false,
                immediate_data: false,
                max_outstanding_r2t: 1,
                time2wait: 0,
                time2retain: 0,
            }
        );
    }

    #[test]
    fn the_first_burst_fits_into_the_longest() {
        let (answer, parameters) = tcp("FirstBurstLength=65536 MaxBurstLength=4096");
        assert_eq!(answer, "MaxBurstLength=4096 FirstBurstLength=4096");
        assert_eq!((parameters.first_burst, parameters.max_burst), (4096, 4096));
        // Nothing said of the first burst: its default is too long then.
        assert_eq!(tcp("MaxBurstLength=4096").1.first_burst, 4096);
    }

    #[test]
    fn what_is_declared_is_declared_once() {
        let mut negotiation = Negotiation::new(Datamover::Tcp, LIMITS, SessionType::Normal);
        let mut answer = TextWriter::default();
        negotiation.declare(&mut answer);
        negotiation.declare(&mut answer);
        assert_eq!(answer.into_bytes(), b"MaxRecvDataSegmentLength=65536\0");
    }

    #[test]
    fn segments_that_nothing_fits_into_end_the_login() {
        for offer in [
            "MaxRecvDataSegmentLength=0",
            "MaxRecvDataSegmentLength=511",
            "MaxRecvDataSegmentLength=x",
        ] {
            assert_eq!(
                negotiate(Datamover::Tcp, SessionType::Normal, offer),
                Err(NegotiationError::Unusable("MaxRecvDataSegmentLength"))
            );
        }
        let (_, parameters) = tcp("MaxRecvDataSegmentLength=4294967295");
        assert_eq!(parameters.send_data_segment, MAX_LENGTH);
    }

    #[test]
    fn discovery_has_no_bursts() {
        let (answer, _) = negotiate(
            Datamover::Tcp,
            SessionType::Discovery,
            "MaxConnections=1 InitialR2T=No HeaderDigest=None DataPDUInOrder=Yes",
        )
        .unwrap();
        assert_eq!(
            answer,
            "MaxConnections=Irrelevant InitialR2T=Irrelevant HeaderDigest=None DataPDUInOrder=Irrelevant \
             MaxRecvDataSegmentLength=65536"
        );
    }

    #[test]
    fn iser_negotiates_its_own_segments_and_no_digests() {
        let (answer, parameters) = negotiate(
            Datamover::Iser,
            SessionType::Normal,
            "HeaderDigest=CRC32C,None InitialR2T=No ImmediateData=Yes MaxRecvDataSegmentLength=1 \
             InitiatorRecvDataSegmentLength=262144 TargetRecvDataSegmentLength=262144 MaxAHSLength=0 \
             MaxOutstandingUnexpectedPDUs=0 TaggedBufferForSolicitedDataOnly=No iSERHelloRequired=No RDMAExtensions=Yes",
        )
        .unwrap();
        assert_eq!(
            answer,
            "HeaderDigest=None InitialR2T=Yes ImmediateData=Yes InitiatorRecvDataSegmentLength=262144 \
             TargetRecvDataSegmentLength=65536 RDMAExtensions=Yes"
        );
        assert!(parameters.initial_r2t && parameters.immediate_data);
        assert!(!parameters.header_digest);
        assert_eq!(
            (
                parameters.send_data_segment,
                parameters.receive_data_segment
            ),
            (262_144, 65_536)
        );
    }

    #[test]
    fn iser_needs_its_extensions_in_a_normal_session() {
        for offers in ["", "RDMAExtensions=No", "RDMAExtensions=Maybe"] {
            assert_eq!(
                negotiate(Datamover::Iser, SessionType::Normal, offers),
                Err(NegotiationError::NoRdmaExtensions)
            );
        }
        assert_eq!(
            negotiate(
                Datamover::Iser,
                SessionType::Normal,
                "iSERHelloRequired=Yes"
            ),
            Err(NegotiationError::HelloRequired)
        );
    }

    /// open-iscsi's discovery sessions over iSER neither need the extensions nor post more than their login buffer.
    #[test]
    fn discovery_over_iser_is_as_over_tcp() {
        let (answer, parameters) = negotiate(
            Datamover::Iser,
            SessionType::Discovery,
            "HeaderDigest=None MaxRecvDataSegmentLength=32768",
        )
        .unwrap();
        assert_eq!(answer, "HeaderDigest=None MaxRecvDataSegmentLength=65536");
        assert_eq!(parameters.send_data_segment, 8192);
    }

    /// libiscsi asks for the extensions in every session.
    #[test]
    fn discovery_over_iser_may_have_the_extensions() {
        let (answer, parameters) = negotiate(
            Datamover::Iser,
            SessionType::Discovery,
            "MaxRecvDataSegmentLength=1 InitiatorRecvDataSegmentLength=4096 RDMAExtensions=Yes",
        )
        .unwrap();
        assert_eq!(
            answer,
            "InitiatorRecvDataSegmentLength=4096 RDMAExtensions=Yes"
        );
        assert_eq!(
            (
                parameters.send_data_segment,
                parameters.receive_data_segment
            ),
            (4096, 8192)
        );
    }

    #[test]
    fn keys_of_targets_are_not_for_initiators() {
        for offer in [
            "SendTargets=All",
            "TargetAddress=1.2.3.4",
            "TargetPortalGroupTag=1",
        ] {
            assert_eq!(
                negotiate(Datamover::Tcp, SessionType::Normal, offer),
                Err(NegotiationError::NotForLogin)
            );
        }
    }
}
