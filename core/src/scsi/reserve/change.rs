//! PERSISTENT RESERVE OUT (SPC-4 section 6.16).

use std::cell::LazyCell;
use std::collections::{BTreeMap, BTreeSet};

use super::transport_id::{self, TransportId, Wrong};
use crate::reservations::{
    Action, Change, Expected, InitiatorPort, Registrant, ReservationType, Table,
};
use crate::scsi::cdb::Cdb;
use crate::scsi::plan::{
    Context, ParameterList, PendingParameters, Plan, Planned, ReservationCommand,
};
use crate::scsi::response::Status;
use crate::scsi::sense::{Sense, codes};
use crate::scsi::session::ScsiSession;

/// Bytes of a parameter list, or of all of it but TransportIDs and their length.
const BASIC: u32 = 24;
/// The longest parameter list that is taken.
const LONGEST: u32 = 16 << 10;
/// Least bytes of a TransportID.
const LEAST_ID: usize = 24;

/// What a CDB asks for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Request {
    service_action: ServiceAction,
    /// SCOPE and TYPE.
    scope_and_type: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ServiceAction {
    Register,
    Reserve,
    Release,
    Clear,
    Preempt,
    PreemptAndAbort,
    RegisterAndIgnore,
    RegisterAndMove,
}

impl ServiceAction {
    fn new(code: u8) -> Option<Self> {
        Some(match code {
            0x00 => Self::Register,
            0x01 => Self::Reserve,
            0x02 => Self::Release,
            0x03 => Self::Clear,
            0x04 => Self::Preempt,
            0x05 => Self::PreemptAndAbort,
            0x06 => Self::RegisterAndIgnore,
            0x07 => Self::RegisterAndMove,
            _ => return None,
        })
    }
}

impl Request {
    /// The type, which has to be one, and for the whole logical unit.
    fn kind(self) -> Result<ReservationType, Sense> {
        self.check_scope()?;
        ReservationType::from_scsi(self.scope_and_type & 0x0f).ok_or(Sense::cdb_bits(2, 3))
    }

    /// LU_SCOPE is the only one there is.
    fn check_scope(self) -> Result<(), Sense> {
        match self.scope_and_type >> 4 {
            0 => Ok(()),
            _ => Err(Sense::cdb_bits(2, 7)),
        }
    }
}

/// PERSISTENT RESERVE OUT, before its parameter list is there.
pub(crate) fn persistent_reserve_out(context: &Context<'_>, cdb: &Cdb) -> Planned {
    // While it is reserved by RESERVE, this conflicts for everybody (SPC-2 section 5.5.1).
    if context.unit.reservations().is_reserved() {
        return context.conflict();
    }
    let request = Request {
        service_action: ServiceAction::new(cdb.byte(1) & 0x1f).ok_or(Sense::cdb_bits(1, 4))?,
        scope_and_type: cdb.byte(2),
    };
    // SCOPE and TYPE come after the key, which is in the list.
    let length = cdb.u32(5);
    if !(BASIC..=LONGEST).contains(&length) {
        return Err(codes::PARAMETER_LIST_LENGTH.into());
    }
    context.fetch(ParameterList::ReserveOut(request), length)
}

/// PERSISTENT RESERVE OUT with its parameter list.
pub(crate) fn reserve_out_list(
    session: &ScsiSession,
    pending: &PendingParameters,
    request: Request,
    data: &[u8],
) -> Planned {
    let nexus = &*pending.nexus;
    // Who has no name that could be written down cannot register.
    let Some(by) = nexus.seat().registrant() else {
        return Ok(Plan::Respond(Status::ReservationConflict.into()));
    };
    let reservations = nexus.unit.reservations();
    let table = reservations.table();
    let list = List(data);
    if data.len() < pending.length as usize {
        return Err(codes::PARAMETER_LIST_LENGTH.into());
    }
    if request.service_action != ServiceAction::RegisterAndMove {
        list.check_basic(request.service_action)?;
    }
    if !list.has_key_of(by, &table, request.service_action) {
        return Ok(Plan::Respond(Status::ReservationConflict.into()));
    }
    let key = Some(list.key());
    let action = match request.service_action {
        ServiceAction::Register => Action::Register {
            expected: Expected::Key(list.key()),
            key: list.action_key(),
            others: list.others(by, &table, || reservations.live())?,
            persist: Some(list.aptpl(20)),
        },
        ServiceAction::RegisterAndIgnore => Action::Register {
            expected: Expected::Any,
            key: list.action_key(),
            others: Vec::new(),
            persist: Some(list.aptpl(20)),
        },
        ServiceAction::Reserve => Action::Reserve {
            key,
            kind: request.kind()?,
        },
        ServiceAction::Release => Action::Release {
            key,
            kind: request.kind()?,
        },
        ServiceAction::Clear => Action::Clear { key },
        ServiceAction::Preempt | ServiceAction::PreemptAndAbort => Action::Preempt {
            key,
            victim: list.action_key(),
            kind: preempting_kind(request, &table, list.action_key())?,
            abort: request.service_action == ServiceAction::PreemptAndAbort,
        },
        ServiceAction::RegisterAndMove => {
            // Where it moves to matters only if there is something that can (SPC-4 section 5.13.8).
            match table.holder() {
                None => return Err(codes::INVALID_FIELD_IN_CDB.into()),
                Some(holder) if holder.registrant.as_ref() != Some(by) => {
                    return Ok(Plan::Respond(Status::ReservationConflict.into()));
                }
                Some(_) => request.check_scope()?,
            }
            Action::Move {
                key: list.key(),
                new_key: list.action_key(),
                to: list.destination(session, pending, by)?,
                unregister: list.bit(17, 1),
                persist: list.aptpl(17),
            }
        }
    };
    Ok(Plan::Reserve(ReservationCommand {
        unit: pending.unit,
        change: Box::new(Change {
            by: by.clone(),
            action,
        }),
    }))
}

/// The type of the reservation that is taken over. SCOPE and TYPE are ignored where only registrations are removed (SPC-4 section
/// 5.13.11.2.4): any type will do then, and it is that of the reservation there is.
fn preempting_kind(request: Request, table: &Table, victim: u64) -> Result<ReservationType, Sense> {
    match (request.kind(), table.holder()) {
        (Ok(kind), _) => Ok(kind),
        (Err(sense), _) if table.is_held_by_key(victim) => Err(sense),
        (Err(_), holder) => Ok(holder.map_or(ReservationType::WriteExclusive, |held| held.kind)),
    }
}

/// A parameter list of at least [`BASIC`] bytes.
struct List<'a>(&'a [u8]);

impl<'a> List<'a> {
    /// A big-endian number of at most eight bytes; what is not there counts as nothing.
    fn number(&self, at: usize, length: usize) -> u64 {
        let field = self.0.iter().skip(at).take(length);
        field.fold(0, |value, byte| value << 8 | u64::from(*byte))
    }

    fn bit(&self, at: usize, bit: u8) -> bool {
        self.number(at, 1) >> bit & 1 == 1
    }

    /// RESERVATION KEY.
    fn key(&self) -> u64 {
        self.number(0, 8)
    }

    /// SERVICE ACTION RESERVATION KEY.
    fn action_key(&self) -> u64 {
        self.number(8, 8)
    }

    fn aptpl(&self, at: usize) -> bool {
        self.bit(at, 0)
    }

    fn spec_i_pt(&self) -> bool {
        self.bit(20, 3)
    }

    /// Whether RESERVATION KEY is that of who asks, as far as the service action minds. It is verified "regardless of the SERVICE
    /// ACTION and SCOPE fields" (SPC-4 section 6.16.3), so nothing else is complained of before. The table may have changed until
    /// the change is made, and verifies it again.
    fn has_key_of(&self, by: &Registrant, table: &Table, action: ServiceAction) -> bool {
        let own = table.registrations().get(by).copied();
        match action {
            ServiceAction::RegisterAndIgnore => true,
            // Zero is for who is not registered (table 67).
            ServiceAction::Register => own.unwrap_or(0) == self.key(),
            _ => own == Some(self.key()),
        }
    }

    /// What all lists but that of REGISTER AND MOVE have in common.
    fn check_basic(&self, action: ServiceAction) -> Result<(), Sense> {
        match (self.spec_i_pt(), action) {
            (true, ServiceAction::Register) => Ok(()),
            (true, _) => Err(Sense::parameter(20, Some(3))),
            (false, _) if self.0.len() == BASIC as usize => Ok(()),
            (false, _) => Err(codes::PARAMETER_LIST_LENGTH.into()),
        }
    }

    /// TransportIDs behind a TRANSPORTID PARAMETER DATA LENGTH. A list that is cut short is not long enough; one that is too long says
    /// something else than its length.
    fn ids(&self, length_at: usize) -> Result<&'a [u8], Sense> {
        let wrong = Sense::parameter(length_at, None);
        let length = usize::try_from(self.number(length_at, 4)).map_err(|_| wrong)?;
        let Some(rest) = self.0.get(length_at + 4..) else {
            return Err(codes::PARAMETER_LIST_LENGTH.into());
        };
        match rest.len() {
            there if there < length => Err(codes::PARAMETER_LIST_LENGTH.into()),
            there if there > length || !length.is_multiple_of(4) => Err(wrong),
            _ => Ok(rest),
        }
    }

    /// Whom REGISTER registers as well, if RESERVATION KEY is right. ALL_TG_PT makes no difference: an initiator port reaches only
    /// the port of its own protocol, and a target has one. `live` says who may send commands; it is asked once at most, since a
    /// list may have hundreds of names.
    fn others(
        &self,
        by: &Registrant,
        table: &Table,
        live: impl FnOnce() -> Vec<Registrant>,
    ) -> Result<Vec<Registrant>, Sense> {
        // Key zero does nothing for who is not registered, whatever else there is (SPC-4 table 67).
        let registered = table.registrations().contains_key(by);
        if !self.spec_i_pt() || (!registered && self.action_key() == 0) {
            return Ok(Vec::new());
        }
        // Only with a first registration.
        if registered {
            return Err(Sense::parameter(20, Some(3)));
        }
        let ids = self.ids(24)?;
        let mut others = BTreeSet::new();
        let nodes = LazyCell::new(|| ports_of_nodes(by, live()));
        let mut at = 0;
        while let Some(rest) = ids.get(at..).filter(|rest| !rest.is_empty()) {
            let pointed = |Wrong(byte, bit)| Sense::parameter(28 + at + byte, bit);
            let (id, length) = transport_id::parse(rest).map_err(pointed)?;
            let foreign = || pointed(Wrong(0, Some(3)));
            let one;
            let named = match id {
                TransportId::Port(initiator) => {
                    one = [beside(by, initiator).ok_or_else(foreign)?];
                    &one[..]
                }
                TransportId::Node(name) => {
                    if !is_iscsi(by) {
                        return Err(foreign());
                    }
                    nodes.get(&name).map_or(&[][..], Vec::as_slice)
                }
            };
            // Who asks may name itself.
            for other in named.iter().filter(|other| *other != by) {
                if table.registrations().contains_key(other) || !others.insert(other.clone()) {
                    return Err(pointed(Wrong(0, None)));
                }
                // One place is for who asks.
                if others.len() >= table.room() {
                    return Err(codes::NO_REGISTRATION_RESOURCES.into());
                }
            }
            at += length;
        }
        Ok(others.into_iter().collect())
    }

    /// Where REGISTER AND MOVE moves to.
    fn destination(
        &self,
        session: &ScsiSession,
        pending: &PendingParameters,
        by: &Registrant,
    ) -> Result<Registrant, Sense> {
        let ids = self.ids(20)?;
        if ids.len() < LEAST_ID {
            return Err(Sense::parameter(20, None));
        }
        let pointed = |Wrong(byte, bit)| Sense::parameter(24 + byte, bit);
        let (id, length) = transport_id::parse(ids).map_err(pointed)?;
        if length != ids.len() {
            return Err(Sense::parameter(20, None));
        }
        // A reservation moves to one initiator port, not to all of a node's.
        let TransportId::Port(initiator) = id else {
            return Err(pointed(Wrong(0, Some(7))));
        };
        let Registrant::Scsi {
            initiator: own,
            target,
            ..
        } = by
        else {
            return Err(pointed(Wrong(0, Some(3))));
        };
        // A target has one port for each protocol: this one is of our own, the other of the other.
        let own_port = session.port().relative_identifier;
        let port = self.number(18, 2) as u16;
        if port != own_port && !pending.nexus.unit.ports().contains(&port) {
            return Err(Sense::parameter(18, None));
        }
        if (port == own_port) != is_same_protocol(own, &initiator) {
            return Err(pointed(Wrong(0, Some(3))));
        }
        Ok(Registrant::Scsi {
            initiator,
            target: target.clone(),
            port,
        })
    }
}

/// Another initiator port at the target port that `by` came in through, if it can be there.
fn beside(by: &Registrant, initiator: InitiatorPort) -> Option<Registrant> {
    match by {
        Registrant::Scsi {
            initiator: own,
            target,
            port,
        } if is_same_protocol(own, &initiator) => Some(Registrant::Scsi {
            initiator,
            target: target.clone(),
            port: *port,
        }),
        _ => None,
    }
}

/// The initiator ports of each iSCSI node that are known at the target port that `by` came in through (SPC-4 section 7.6.4.6).
fn ports_of_nodes(by: &Registrant, live: Vec<Registrant>) -> BTreeMap<String, Vec<Registrant>> {
    let Registrant::Scsi {
        target: own_target,
        port: own_port,
        ..
    } = by
    else {
        return BTreeMap::new();
    };
    let mut nodes: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for other in live {
        let name = match &other {
            Registrant::Scsi {
                initiator: InitiatorPort::Iscsi { name, .. },
                target,
                port,
            } if target == own_target && port == own_port => name.clone(),
            _ => continue,
        };
        nodes.entry(name).or_default().push(other);
    }
    nodes
}

/// Nodes are iSCSI's.
fn is_iscsi(registrant: &Registrant) -> bool {
    matches!(
        registrant,
        Registrant::Scsi {
            initiator: InitiatorPort::Iscsi { .. },
            ..
        }
    )
}

fn is_same_protocol(one: &InitiatorPort, other: &InitiatorPort) -> bool {
    std::mem::discriminant(one) == std::mem::discriminant(other)
}
