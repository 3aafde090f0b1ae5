//! Reservation Acquire, Register and Release (NVMe base 2.0 sections 7.2 to 7.4).

use super::{Namespace, fetch, u64_at};
use crate::nvme::command::Command;
use crate::nvme::controller::Controller;
use crate::nvme::plan::{Plan, Planned};
use crate::nvme::reservations;
use crate::nvme::status::Status;
use crate::reservations::{Action, Change, Expected, ReservationType};
use crate::scsi::ReservationCommand;

/// Opcodes.
pub(crate) const RESERVATION_REGISTER: u8 = 0x0d;
pub(crate) const RESERVATION_ACQUIRE: u8 = 0x11;
pub(crate) const RESERVATION_RELEASE: u8 = 0x15;

/// Ignore Existing Key, of dword 10.
const IEKEY: u32 = 1 << 3;

/// What a command says beside its keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Request {
    Register {
        action: RegisterAction,
        /// Ignore Existing Key.
        any_key: bool,
        /// Change Persist Through Power Loss State.
        persist: Option<bool>,
    },
    Acquire {
        action: AcquireAction,
        kind: ReservationType,
    },
    Release {
        kind: ReservationType,
    },
    Clear,
}

/// Reservation Register Action.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum RegisterAction {
    Register,
    Unregister,
    Replace,
}

/// Reservation Acquire Action.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum AcquireAction {
    Acquire,
    Preempt { abort: bool },
}

/// Any of the three, before its keys are there.
pub(crate) fn change_reservation(
    _controller: &Controller,
    command: &Command,
    namespace: &Namespace<'_>,
) -> Planned {
    namespace.check_reservable()?;
    fetch(command, namespace, Request::of(command)?.length())
}

/// Any of the three with its keys.
pub(super) fn keys(command: &Command, data: &[u8], namespace: &Namespace<'_>) -> Planned {
    let host = reservations::host(namespace.nexus.seat().registrant());
    namespace.check_reservable()?;
    let request = Request::of(command)?;
    let data = data
        .get(..request.length() as usize)
        .ok_or(Status::DATA_SGL_LENGTH_INVALID)?;
    let action = request.action(data)?;
    let by = host?;
    Ok(Plan::Reserve(ReservationCommand {
        unit: namespace.index,
        change: Box::new(Change { by, action }),
    }))
}

impl Request {
    fn of(command: &Command) -> Result<Self, Status> {
        let cdw10 = command.cdw::<10>();
        let (action, any_key) = (cdw10 & 7, cdw10 & IEKEY != 0);
        // RTYPE.
        let kind = || {
            let code = (cdw10 >> 8) as u8;
            ReservationType::from_nvme(code).ok_or(Status::INVALID_FIELD)
        };
        match command.opcode {
            RESERVATION_REGISTER => Ok(Self::Register {
                action: match action {
                    0 => RegisterAction::Register,
                    1 => RegisterAction::Unregister,
                    2 => RegisterAction::Replace,
                    _ => return Err(Status::INVALID_FIELD),
                },
                any_key,
                persist: match cdw10 >> 30 {
                    0b00 => None,
                    0b10 => Some(false),
                    0b11 => Some(true),
                    _ => return Err(Status::INVALID_FIELD),
                },
            }),
            // The other two do not ignore keys since NVMe 1.3, which RESCAP says.
            _ if any_key => Err(Status::INVALID_FIELD),
            RESERVATION_ACQUIRE => Ok(Self::Acquire {
                action: match action {
                    0 => AcquireAction::Acquire,
                    1 => AcquireAction::Preempt { abort: false },
                    2 => AcquireAction::Preempt { abort: true },
                    _ => return Err(Status::INVALID_FIELD),
                },
                kind: kind()?,
            }),
            RESERVATION_RELEASE => match action {
                0 => Ok(Self::Release { kind: kind()? }),
                1 => Ok(Self::Clear),
                _ => Err(Status::INVALID_FIELD),
            },
            _ => Err(Status::INVALID_OPCODE),
        }
    }

    /// Bytes of the keys.
    fn length(self) -> u32 {
        match self {
            Self::Register { .. } | Self::Acquire { .. } => 16,
            Self::Release { .. } | Self::Clear => 8,
        }
    }

    /// What it means. The first key is the one that the host has (CRKEY).
    fn action(self, data: &[u8]) -> Result<Action, Status> {
        let (current, other) = (u64_at(data, 0), u64_at(data, 8));
        let key = Some(current);
        Ok(match self {
            Self::Register {
                action,
                any_key,
                persist,
            } => {
                let key = match action {
                    // Zero stands for none, so it can be nobody's.
                    RegisterAction::Register if other == 0 => return Err(Status::INVALID_FIELD),
                    RegisterAction::Unregister => 0,
                    // To replace a key by none is how Linux unregisters.
                    RegisterAction::Register | RegisterAction::Replace => other,
                };
                let expected = match action {
                    // Without a registration there is nothing to unregister.
                    _ if any_key && key == 0 => Expected::AnyRegistered,
                    _ if any_key => Expected::Any,
                    RegisterAction::Register => Expected::Unregistered,
                    RegisterAction::Unregister | RegisterAction::Replace => {
                        Expected::Registered(current)
                    }
                };
                Action::Register {
                    expected,
                    key,
                    others: Vec::new(),
                    persist,
                }
            }
            Self::Acquire {
                action: AcquireAction::Acquire,
                kind,
            } => Action::Reserve { key, kind },
            Self::Acquire {
                action: AcquireAction::Preempt { abort },
                kind,
            } => Action::Preempt {
                key,
                victim: other,
                kind,
                abort,
            },
            Self::Release { kind } => Action::Release { key, kind },
            Self::Clear => Action::Clear { key },
        })
    }
}
