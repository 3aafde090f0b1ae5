//! What keys say outside of a login; SendTargets above all (RFC 7143 appendix C).

use crate::iscsi::directory::{Directory, TargetRecord};
use crate::iscsi::login::{LoginSummary, SessionType};
use crate::iscsi::pdu::RejectReason;
use crate::iscsi::text::{self, TextWriter};

/// Keys that the standard knows (RFC 7143 section 13, RFC 7145 section 6), none of which we negotiate after the login.
const OTHER_KEYS: [&str; 30] = [
    "AuthMethod",
    "DataDigest",
    "DataPDUInOrder",
    "DataSequenceInOrder",
    "DefaultTime2Retain",
    "DefaultTime2Wait",
    "ErrorRecoveryLevel",
    "FirstBurstLength",
    "HeaderDigest",
    "IFMarker",
    "IFMarkInt",
    "ImmediateData",
    "InitialR2T",
    "InitiatorAlias",
    "InitiatorName",
    "InitiatorRecvDataSegmentLength",
    "MaxBurstLength",
    "MaxConnections",
    "MaxOutstandingR2T",
    "MaxOutstandingUnexpectedPDUs",
    "MaxRecvDataSegmentLength",
    "OFMarker",
    "OFMarkInt",
    "RDMAExtensions",
    "SessionType",
    "TargetAddress",
    "TargetAlias",
    "TargetName",
    "TargetPortalGroupTag",
    "TargetRecvDataSegmentLength",
];

/// The answer to a whole text.
pub(super) fn answer(
    request: &[u8],
    session: &LoginSummary,
    directory: &dyn Directory,
) -> Result<Vec<u8>, RejectReason> {
    let pairs = text::parse(request).map_err(|_| RejectReason::ProtocolError)?;
    let mut answer = TextWriter::default();
    for pair in pairs {
        match pair.key {
            "SendTargets" => match scope(pair.value, session) {
                Some(scope) => write_targets(&scope, session, directory, &mut answer),
                None => answer.pair(pair.key, text::REJECT),
            },
            key if OTHER_KEYS.contains(&key) => answer.pair(key, text::REJECT),
            key => answer.pair(key, text::NOT_UNDERSTOOD),
        }
    }
    Ok(answer.into_bytes())
}

/// Which targets SendTargets asks about.
enum Scope {
    All,
    One(String),
}

fn scope(value: &str, session: &LoginSummary) -> Option<Scope> {
    match (value, session.session_type) {
        ("All", SessionType::Discovery) => Some(Scope::All),
        ("All", SessionType::Normal) | ("", SessionType::Discovery) => None,
        ("", SessionType::Normal) => session.target.clone().map(Scope::One),
        // Names are compared without case (section 4.2.7.1).
        (name, _) => Some(Scope::One(name.to_lowercase())),
    }
}

fn write_targets(
    scope: &Scope,
    session: &LoginSummary,
    directory: &dyn Directory,
    answer: &mut TextWriter,
) {
    // A normal session hears of its own target only.
    let own = match session.session_type {
        SessionType::Discovery => None,
        SessionType::Normal => session.target.as_deref(),
    };
    let asked = |record: &TargetRecord| match scope {
        Scope::All => true,
        Scope::One(name) => {
            record.name.to_lowercase() == *name && own.is_none_or(|own| own == *name)
        }
    };
    for record in directory.targets(&session.initiator) {
        if asked(&record) {
            answer.pair("TargetName", &record.name);
            for address in &record.addresses {
                answer.pair("TargetAddress", address);
            }
        }
    }
}
