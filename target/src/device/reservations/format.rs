//! What a file of reservations looks like: a line that says what follows, how much of it and with which checksum, and a JSON
//! document.

use std::collections::BTreeMap;
use std::sync::Arc;

use pagecast_core::reservations::{
    Holder, InitiatorPort, Registrant, ReservationType, RestoreError, Table,
};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use thiserror::Error;

use super::names::{type_name, type_named};

/// What the first line begins with.
const MAGIC: &str = "pagecast-reservations";

/// The version that is written, and the only one that is read.
const VERSION: u32 = 1;

/// Bytes of a file, at most. 65536 registrants of the longest names need less.
pub(super) const LONGEST: u64 = 64 << 20;

/// Bytes of the first line, at most.
const LONGEST_HEADER: usize = 80;

/// What tells a device from every other.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeviceNames {
    /// NAA designator, in hexadecimal.
    pub naa: String,
    /// UUID.
    pub uuid: String,
}

/// What is wrong with the contents of a file.
#[derive(Debug, Error)]
pub enum Flaw {
    /// There is more than there ever is.
    #[error("it has more than {LONGEST} bytes")]
    TooLong,
    /// It does not begin as it should.
    #[error("it does not begin with \"{MAGIC}\"")]
    Magic,
    /// The first line makes no sense.
    #[error("its first line is damaged")]
    Header,
    /// Another version has written it.
    #[error("it is of version {0}, and this daemon reads version {VERSION}")]
    Version(u64),
    /// Something is missing, or there is too much.
    #[error("{found} bytes follow its first line, and there should be {announced}")]
    Length {
        /// Bytes that there are.
        found: u64,
        /// Bytes that the first line speaks of.
        announced: u64,
    },
    /// Some bytes are not those that were written.
    #[error("its checksum is wrong")]
    Checksum,
    /// The bytes are those that were written, but mean nothing.
    #[error("its contents make no sense: {0}")]
    Body(serde_json::Error),
    /// There is somebody twice.
    #[error("a registrant is there more than once")]
    Twice,
    /// It says that it is empty, and is not.
    #[error("there are registrants that were not to be kept")]
    NotKept,
    /// No table can be like that.
    #[error("{0}")]
    Table(#[from] RestoreError),
}

/// A file's contents.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Document {
    pub(super) device: DeviceNames,
    /// How often the device's reservations have been saved.
    pub(super) saves: u64,
    /// Whether they outlive a loss of power. If not there are none.
    persistent: bool,
    reservation: Option<Reservation>,
    registrants: Vec<Registration>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Reservation {
    #[serde(rename = "type")]
    kind: Kind,
    /// None if all registrants hold it.
    holder: Option<Who>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Registration {
    who: Who,
    key: Hex<8>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "kind", deny_unknown_fields)]
enum Who {
    #[serde(rename = "scsi-srp")]
    Srp {
        port_id: Hex<16>,
        target: String,
        target_port: u16,
    },
    #[serde(rename = "scsi-iscsi")]
    Iscsi {
        name: String,
        isid: Hex<6>,
        target: String,
        target_port: u16,
    },
    #[serde(rename = "nvme")]
    Nvme { host: Hex<16> },
}

impl Document {
    /// What is to be written for a table. Of one that is not to be kept, only that there is none.
    pub(super) fn of(device: &DeviceNames, saves: u64, table: &Table) -> Self {
        let persistent = table.persistent();
        let registrants = table.registrations().iter();
        let registration = |(registrant, key): (&Registrant, &u64)| Registration {
            who: Who::of(registrant),
            key: Hex(key.to_be_bytes()),
        };
        let reservation = |holder: &Holder| Reservation {
            kind: Kind(holder.kind),
            holder: holder.registrant.as_ref().map(Who::of),
        };
        Self {
            device: device.clone(),
            saves,
            persistent,
            reservation: table.holder().filter(|_| persistent).map(reservation),
            registrants: registrants
                .filter(|_| persistent)
                .map(registration)
                .collect(),
        }
    }

    /// Whether there is anything that would be missed.
    pub(super) fn is_empty(&self) -> bool {
        self.registrants.is_empty() && self.reservation.is_none()
    }

    /// The table that was written; none if it was not to be kept.
    pub(super) fn table(self, limit: usize) -> Result<Option<Table>, Flaw> {
        if !self.persistent {
            return if self.is_empty() {
                Ok(None)
            } else {
                Err(Flaw::NotKept)
            };
        }
        let mut targets = BTreeMap::new();
        let mut registrations = BTreeMap::new();
        for Registration { who, key } in self.registrants {
            let key = u64::from_be_bytes(key.0);
            if registrations
                .insert(who.registrant(&mut targets), key)
                .is_some()
            {
                return Err(Flaw::Twice);
            }
        }
        let holder = self.reservation.map(|reservation| Holder {
            kind: reservation.kind.0,
            registrant: reservation.holder.map(|who| who.registrant(&mut targets)),
        });
        Ok(Some(Table::restore(limit, registrations, holder)?))
    }

    /// The bytes of the file.
    pub(super) fn encode(&self) -> serde_json::Result<Vec<u8>> {
        let mut body = serde_json::to_vec_pretty(self)?;
        body.push(b'\n');
        let mut bytes = header(body.len(), &body).into_bytes();
        bytes.append(&mut body);
        Ok(bytes)
    }

    /// What a file holds.
    pub(super) fn decode(bytes: &[u8]) -> Result<Self, Flaw> {
        if bytes.len() as u64 > LONGEST {
            return Err(Flaw::TooLong);
        }
        if !bytes.starts_with(MAGIC.as_bytes()) {
            return Err(Flaw::Magic);
        }
        let mut parts = bytes.splitn(2, |byte| *byte == b'\n');
        let first = parts.next().unwrap_or_default();
        let body = parts.next().ok_or(Flaw::Header)?;
        let first = (first.len() < LONGEST_HEADER)
            .then(|| str::from_utf8(first).ok())
            .flatten()
            .ok_or(Flaw::Header)?;
        let mut words = first.split(' ').skip(1);
        let mut number = || words.next()?.parse::<u64>().ok();
        let version = number().ok_or(Flaw::Header)?;
        if version != u64::from(VERSION) {
            return Err(Flaw::Version(version));
        }
        let announced = number().ok_or(Flaw::Header)?;
        let found = body.len() as u64;
        if announced != found {
            return Err(Flaw::Length { found, announced });
        }
        // Letter for letter as we write it.
        if !bytes.starts_with(header(body.len(), body).as_bytes()) {
            return Err(Flaw::Checksum);
        }
        serde_json::from_slice(body).map_err(Flaw::Body)
    }
}

fn header(length: usize, body: &[u8]) -> String {
    let checksum = crc32c::crc32c(body);
    format!("{MAGIC} {VERSION} {length} {checksum:08x}\n")
}

impl Who {
    fn of(registrant: &Registrant) -> Self {
        match registrant {
            Registrant::Scsi {
                initiator,
                target,
                port,
            } => {
                let (target, target_port) = (target.to_string(), *port);
                match initiator {
                    InitiatorPort::Srp(id) => Self::Srp {
                        port_id: Hex(*id),
                        target,
                        target_port,
                    },
                    InitiatorPort::Iscsi { name, isid } => Self::Iscsi {
                        name: name.clone(),
                        isid: Hex(*isid),
                        target,
                        target_port,
                    },
                }
            }
            Registrant::Nvme { host } => Self::Nvme { host: Hex(*host) },
        }
    }

    /// There are few targets: their names are shared.
    fn registrant(self, targets: &mut BTreeMap<String, Arc<str>>) -> Registrant {
        let mut scsi = |initiator, target: String, port| {
            let name = || Arc::from(target.as_str());
            let target = Arc::clone(targets.entry(target.clone()).or_insert_with(name));
            Registrant::Scsi {
                initiator,
                target,
                port,
            }
        };
        match self {
            Self::Srp {
                port_id,
                target,
                target_port,
            } => scsi(InitiatorPort::Srp(port_id.0), target, target_port),
            Self::Iscsi {
                name,
                isid,
                target,
                target_port,
            } => {
                let isid = isid.0;
                scsi(InitiatorPort::Iscsi { name, isid }, target, target_port)
            }
            Self::Nvme { host } => Registrant::Nvme { host: host.0 },
        }
    }
}

/// A type, by its name.
#[derive(Debug)]
struct Kind(ReservationType);

impl Serialize for Kind {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(type_name(self.0))
    }
}

impl<'de> Deserialize<'de> for Kind {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        let unknown = || de::Error::custom(format!("{name:?} is no type of reservation"));
        type_named(&name).map(Self).ok_or_else(unknown)
    }
}

/// Bytes, in two lower-case hexadecimal digits each.
#[derive(Debug)]
struct Hex<const N: usize>([u8; N]);

impl<const N: usize> Serialize for Hex<N> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&digits(&self.0))
    }
}

impl<'de, const N: usize> Deserialize<'de> for Hex<N> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let wrong = || de::Error::custom(format!("{text:?} is not {} hexadecimal digits", N * 2));
        let mut bytes = [0; N];
        for (at, byte) in bytes.iter_mut().enumerate() {
            let pair = text.get(at * 2..at * 2 + 2).ok_or_else(wrong)?;
            *byte = u8::from_str_radix(pair, 16).map_err(|_| wrong())?;
        }
        // Nothing but what we write: no signs, no capitals, nothing behind.
        if digits(&bytes) == text {
            Ok(Self(bytes))
        } else {
            Err(wrong())
        }
    }
}

/// Two lower-case hexadecimal digits each.
pub(super) fn digits(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
