//! Negotiation with an initiator whose name is known: who it is, what it has to prove, and what is agreed to.

use std::sync::Arc;

use super::error::LoginError;
use super::request::Opening;
use super::response::Stage;
use super::{LoginSummary, SessionType};
use crate::iscsi::chap::{Chap, ChapError, Proof};
use crate::iscsi::directory::Credentials;
use crate::iscsi::negotiation::Negotiation;
use crate::iscsi::text::{self, NONE, Pair, TextWriter};
use pagecast_core::names::iscsi_name;

/// Longest text value but for names and what is binary (RFC 7143 section 6.1).
pub(super) const MAX_VALUE: usize = 255;
/// Keys that say who speaks to whom. libiscsi repeats them in the operational stage.
pub(super) const IDENTITY: [&str; 4] = [
    "InitiatorName",
    "InitiatorAlias",
    "TargetName",
    "SessionType",
];
/// Keys of the security stage (RFC 7143 section 12).
pub(super) const SECURITY: [&str; 6] = [
    "AuthMethod",
    "CHAP_A",
    "CHAP_N",
    "CHAP_R",
    "CHAP_I",
    "CHAP_C",
];

#[derive(Debug)]
pub(super) struct Exchange {
    pub(super) opening: Opening,
    pub(super) stage: Stage,
    pub(super) identity: Identity,
    pub(super) gate: Gate,
    pub(super) negotiation: Negotiation,
}

/// Who speaks to whom.
#[derive(Clone, Debug)]
pub(super) struct Identity {
    pub(super) initiator: String,
    pub(super) alias: Option<String>,
    pub(super) target: Option<String>,
    pub(super) session_type: SessionType,
}

/// Whether the initiator may leave the security stage.
#[derive(Debug)]
pub(super) enum Gate {
    /// It has to prove who it is, and has not said how it will.
    Closed(Arc<Credentials>),
    /// It is at it.
    Proving(Chap),
    /// It may: it has proved who it is with these, or need not.
    Open(Option<Arc<Credentials>>),
}

impl Exchange {
    /// Answers what came. Operational keys do no harm in the security stage; those of security come too late afterwards.
    pub(super) fn negotiate(
        &mut self,
        pairs: &[Pair<'_>],
        entropy: &mut dyn FnMut(&mut [u8]),
        answer: &mut TextWriter,
    ) -> Result<(), LoginError> {
        self.identity.again(pairs)?;
        let pairs = pairs.iter().filter(|pair| !IDENTITY.contains(&pair.key));
        let (security, others): (Vec<Pair<'_>>, Vec<Pair<'_>>) =
            pairs.partition(|pair| SECURITY.contains(&pair.key));
        match self.stage {
            Stage::Security => {
                self.authenticate(&security, entropy, answer)?;
                self.negotiation.offers(&others, answer)?;
            }
            Stage::Operational | Stage::FullFeature => {
                if !matches!(self.gate, Gate::Open(_)) {
                    return Err(LoginError::AuthenticationRequired);
                }
                if let Some(pair) = security.first() {
                    return Err(LoginError::WrongStage(pair.key.to_owned()));
                }
                self.negotiation.offers(&others, answer)?;
                self.negotiation.declare(answer);
            }
        }
        Ok(())
    }

    /// RFC 7143 section 12.1.
    fn authenticate(
        &mut self,
        pairs: &[Pair<'_>],
        entropy: &mut dyn FnMut(&mut [u8]),
        answer: &mut TextWriter,
    ) -> Result<(), LoginError> {
        let value = |key| find(pairs, key);
        if let Some(offered) = value("AuthMethod") {
            self.choose_method(offered, answer)?;
        }
        if let Some(algorithms) = value("CHAP_A") {
            self.chap()?.challenge(algorithms, entropy, answer)?;
        }
        let keys = (
            value("CHAP_N"),
            value("CHAP_R"),
            value("CHAP_I"),
            value("CHAP_C"),
        );
        let (name, response, challenge) = match keys {
            (None, None, None, None) => return Ok(()),
            (Some(name), Some(response), None, None) => (name, response, None),
            (Some(name), Some(response), Some(id), Some(challenge)) => {
                (name, response, Some((id, challenge)))
            }
            _ => return Err(ChapError::OutOfOrder.into()),
        };
        let proof = Proof {
            name,
            response,
            challenge,
        };
        let chap = self.chap()?;
        chap.verify(&proof, answer)?;
        self.gate = Gate::Open(Some(chap.credentials()));
        Ok(())
    }

    fn chap(&mut self) -> Result<&mut Chap, LoginError> {
        match &mut self.gate {
            Gate::Proving(chap) => Ok(chap),
            Gate::Closed(_) | Gate::Open(_) => Err(ChapError::OutOfOrder.into()),
        }
    }

    fn choose_method(&mut self, offered: &str, answer: &mut TextWriter) -> Result<(), LoginError> {
        let offers = |method| text::list(offered).any(|offered| offered == method);
        match &self.gate {
            Gate::Closed(credentials) if offers("CHAP") => {
                answer.pair("AuthMethod", "CHAP");
                self.gate = Gate::Proving(Chap::new(credentials.clone()));
            }
            Gate::Closed(_) => {
                let offered = offered.chars().take(MAX_VALUE).collect();
                return Err(LoginError::NoCommonMethod(offered));
            }
            Gate::Open(_) if offers(NONE) => answer.pair("AuthMethod", NONE),
            Gate::Open(_) | Gate::Proving(_) => return Err(LoginError::NoCredentials),
        }
        Ok(())
    }

    pub(super) fn may_leave(&self) -> bool {
        matches!(self.gate, Gate::Open(_))
    }

    pub(super) fn summary(&self) -> Result<LoginSummary, LoginError> {
        let Opening {
            isid, tsih, cid, ..
        } = self.opening;
        let Identity {
            initiator,
            alias,
            target,
            session_type,
        } = self.identity.clone();
        Ok(LoginSummary {
            initiator,
            alias,
            target,
            session_type,
            isid,
            tsih,
            cid,
            parameters: self.negotiation.finish()?,
            proved: match &self.gate {
                Gate::Open(proved) => proved.clone(),
                Gate::Closed(_) | Gate::Proving(_) => None,
            },
        })
    }
}

impl Identity {
    /// Notes a later InitiatorAlias. The other keys may come again only as they came before.
    fn again(&mut self, pairs: &[Pair<'_>]) -> Result<(), LoginError> {
        for &Pair { key, value } in pairs {
            let same = match key {
                "InitiatorName" => iscsi_name(value).as_ref() == Some(&self.initiator),
                "TargetName" => self.target.is_none() || iscsi_name(value) == self.target,
                "SessionType" => SessionType::of(value) == Some(self.session_type),
                "InitiatorAlias" => {
                    self.set_alias(value)?;
                    true
                }
                _ => true,
            };
            if !same {
                return Err(LoginError::Repeated(key.to_owned()));
            }
        }
        Ok(())
    }

    fn set_alias(&mut self, alias: &str) -> Result<(), LoginError> {
        if alias.len() > MAX_VALUE {
            return Err(LoginError::BadIdentity("InitiatorAlias"));
        }
        self.alias = Some(alias.to_owned());
        Ok(())
    }
}

/// The value of a key.
pub(super) fn find<'a>(pairs: &[Pair<'a>], key: &str) -> Option<&'a str> {
    pairs
        .iter()
        .find(|pair| pair.key == key)
        .map(|pair| pair.value)
}
