//! What can be asked of a table, and what it may answer.

use super::kind::ReservationType;
use super::registrant::Registrant;

/// A request to change a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Who asks.
    pub by: Registrant,
    /// For what.
    pub action: Action,
}

/// What is to be done. Keys of zero stand for none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Register, change a key, or unregister.
    Register {
        /// What there has to be.
        expected: Expected,
        /// The key from now on; zero unregisters.
        key: u64,
        /// These as well, with the same key (SPEC_I_PT). None of them may be registered.
        others: Vec<Registrant>,
        /// Whether the table outlives a loss of power from now on; as it is if none.
        persist: Option<bool>,
    },
    /// Reserve.
    Reserve {
        /// The key of who asks, unless that does not matter.
        key: Option<u64>,
        /// How.
        kind: ReservationType,
    },
    /// End one's own reservation.
    Release {
        /// The key of who asks, unless that does not matter.
        key: Option<u64>,
        /// The type that is held.
        kind: ReservationType,
    },
    /// End the reservation and all registrations.
    Clear {
        /// The key of who asks, unless that does not matter.
        key: Option<u64>,
    },
    /// End the registrations with a key, and take the reservation over if that was theirs.
    Preempt {
        /// The key of who asks, unless that does not matter.
        key: Option<u64>,
        /// The key of those who go; zero stands for all others where all registrants hold the reservation.
        victim: u64,
        /// The type of the reservation that is taken over.
        kind: ReservationType,
        /// Their commands end as well.
        abort: bool,
    },
    /// Register somebody else and move the reservation there (SPC-4, REGISTER AND MOVE).
    Move {
        /// The key of who asks.
        key: u64,
        /// The key of the other.
        new_key: u64,
        /// The other.
        to: Registrant,
        /// Who asks is unregistered.
        unregister: bool,
        /// Whether the table outlives a loss of power from now on.
        persist: bool,
    },
    /// Only say whether the table outlives a loss of power (NVMe, Reservation Persistence feature).
    Persist(bool),
    /// An operator ends everything; nobody has to be registered for it.
    Wipe,
}

/// What registration there has to be for a registration to change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    /// One with this key; zero stands for none (SCSI).
    Key(u64),
    /// One with this key (NVMe, unregister and replace).
    Registered(u64),
    /// One, whatever its key (NVMe, unregister without regard to the key).
    AnyRegistered,
    /// None, or one with the new key already (NVMe, register).
    Unregistered,
    /// It does not matter.
    Any,
}

/// Why a table stays as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// RESERVATION CONFLICT: a wrong key, or a reservation of somebody else's.
    Conflict,
    /// A release of another type than is held.
    WrongType,
    /// PREEMPT of key zero where it stands for nobody; NVMe's register with it.
    ZeroKey,
    /// SPEC_I_PT from somebody who is registered, or for somebody who is.
    AlreadyRegistered,
    /// REGISTER AND MOVE to oneself, or with key zero.
    BadMove,
    /// REGISTER AND MOVE without a reservation.
    NothingToMove,
    /// There is no room for another registration.
    NoRoom,
    /// There is a change under way, or one that was not made durable: try again.
    Busy,
    /// It could not be made durable.
    NotSaved,
}

/// What a registrant has to be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Notice {
    /// The reservation and all registrations are gone: 2Ah/03h RESERVATIONS PREEMPTED, NVMe type 3.
    ReservationPreempted,
    /// 2Ah/04h RESERVATIONS RELEASED, NVMe type 2.
    ReservationReleased,
    /// The registrant's own registration is gone: 2Ah/05h REGISTRATIONS PREEMPTED, NVMe type 1.
    RegistrationPreempted,
}
