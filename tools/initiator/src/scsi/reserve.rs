//! Reservations: PERSISTENT RESERVE IN and OUT (SPC-4 sections 6.15 and 6.16), RESERVE and RELEASE (SPC-2 sections 7.16 and 7.21).

/// Service actions of PERSISTENT RESERVE OUT (SPC-4, PERSISTENT RESERVE OUT service actions).
pub mod action {
    /// REGISTER
    pub const REGISTER: u8 = 0x00;
    /// RESERVE
    pub const RESERVE: u8 = 0x01;
    /// RELEASE
    pub const RELEASE: u8 = 0x02;
    /// CLEAR
    pub const CLEAR: u8 = 0x03;
    /// PREEMPT
    pub const PREEMPT: u8 = 0x04;
    /// PREEMPT AND ABORT
    pub const PREEMPT_AND_ABORT: u8 = 0x05;
    /// REGISTER AND IGNORE EXISTING KEY
    pub const REGISTER_AND_IGNORE: u8 = 0x06;
    /// REGISTER AND MOVE
    pub const REGISTER_AND_MOVE: u8 = 0x07;
}

/// Service actions of PERSISTENT RESERVE IN.
pub mod report {
    /// READ KEYS
    pub const KEYS: u8 = 0x00;
    /// READ RESERVATION
    pub const RESERVATION: u8 = 0x01;
    /// REPORT CAPABILITIES
    pub const CAPABILITIES: u8 = 0x02;
    /// READ FULL STATUS
    pub const FULL_STATUS: u8 = 0x03;
}

/// The parameter list of every service action but REGISTER AND MOVE.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Parameters {
    /// RESERVATION KEY.
    pub key: u64,
    /// SERVICE ACTION RESERVATION KEY.
    pub action_key: u64,
    /// APTPL.
    pub persist: bool,
    /// ALL_TG_PT.
    pub all_ports: bool,
    /// SPEC_I_PT, with these TransportIDs.
    pub others: Option<Vec<Vec<u8>>>,
}

impl Parameters {
    /// Two keys and no more.
    pub fn keys(key: u64, action_key: u64) -> Self {
        Self {
            key,
            action_key,
            ..Self::default()
        }
    }

    /// As they are sent.
    pub fn encode(&self) -> Vec<u8> {
        let mut list = self.key.to_be_bytes().to_vec();
        list.extend(self.action_key.to_be_bytes());
        list.extend([0; 4]);
        let flags = u8::from(self.others.is_some()) << 3
            | u8::from(self.all_ports) << 2
            | u8::from(self.persist);
        list.extend([flags, 0, 0, 0]);
        if let Some(others) = &self.others {
            let others = others.concat();
            list.extend((others.len() as u32).to_be_bytes());
            list.extend(others);
        }
        list
    }
}

/// The parameter list of REGISTER AND MOVE.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Move {
    /// RESERVATION KEY.
    pub key: u64,
    /// SERVICE ACTION RESERVATION KEY.
    pub action_key: u64,
    /// UNREG.
    pub unregister: bool,
    /// APTPL.
    pub persist: bool,
    /// RELATIVE TARGET PORT IDENTIFIER.
    pub port: u16,
    /// TransportID.
    pub to: Vec<u8>,
}

impl Move {
    /// As they are sent.
    pub fn encode(&self) -> Vec<u8> {
        let mut list = self.key.to_be_bytes().to_vec();
        list.extend(self.action_key.to_be_bytes());
        list.extend([0, u8::from(self.unregister) << 1 | u8::from(self.persist)]);
        list.extend(self.port.to_be_bytes());
        list.extend((self.to.len() as u32).to_be_bytes());
        list.extend(&self.to);
        list
    }
}

/// PERSISTENT RESERVE OUT for the whole logical unit.
pub fn persistent_reserve_out(action: u8, kind: u8, length: u32) -> Vec<u8> {
    let mut cdb = vec![0x5f, action & 0x1f, kind & 0x0f, 0, 0];
    cdb.extend(length.to_be_bytes());
    cdb.push(0);
    cdb
}

/// PERSISTENT RESERVE IN
pub fn persistent_reserve_in(action: u8, allocation: u16) -> Vec<u8> {
    let [high, low] = allocation.to_be_bytes();
    vec![0x5e, action & 0x1f, 0, 0, 0, 0, 0, high, low, 0]
}

/// RESERVE (6)
pub fn reserve6() -> Vec<u8> {
    vec![0x16, 0, 0, 0, 0, 0]
}

/// RELEASE (6)
pub fn release6() -> Vec<u8> {
    vec![0x17, 0, 0, 0, 0, 0]
}

/// RESERVE (10)
pub fn reserve10() -> Vec<u8> {
    vec![0x56, 0, 0, 0, 0, 0, 0, 0, 0, 0]
}

/// RELEASE (10)
pub fn release10() -> Vec<u8> {
    vec![0x57, 0, 0, 0, 0, 0, 0, 0, 0, 0]
}

/// TransportID of an SRP initiator port (SPC-4 section 7.6.4.5).
pub fn srp_transport_id(port: [u8; 16]) -> Vec<u8> {
    let mut id = vec![0x04, 0, 0, 0, 0, 0, 0, 0];
    id.extend(port);
    id
}

/// TransportID of an iSCSI initiator port (SPC-4 section 7.6.4.6): its name and, unless it is for all of them, its ISID.
pub fn iscsi_transport_id(name: &str, isid: Option<[u8; 6]>) -> Vec<u8> {
    let mut text = name.to_owned();
    if let Some(isid) = isid {
        text.push_str(",i,0x");
        for byte in isid {
            text.push_str(&format!("{byte:02x}"));
        }
    }
    let mut text = text.into_bytes();
    // At least one zero, a multiple of four, and never less than 20 bytes.
    text.push(0);
    text.resize(text.len().next_multiple_of(4).max(20), 0);
    let format = if isid.is_some() { 0x45 } else { 0x05 };
    let mut id = vec![format, 0];
    id.extend((text.len() as u16).to_be_bytes());
    id.extend(text);
    id
}

/// READ KEYS, understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keys {
    /// PRGENERATION.
    pub generation: u32,
    /// In the order of the list.
    pub keys: Vec<u64>,
}

impl Keys {
    /// Nothing if the lengths do not agree.
    pub fn parse(data: &[u8]) -> Option<Self> {
        let list = list(data)?;
        let keys = list
            .chunks(8)
            .map(|key| quad(key, 0))
            .collect::<Option<_>>();
        Some(Self {
            generation: word(data, 0)?,
            keys: keys?,
        })
    }
}

/// READ RESERVATION, understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reservation {
    /// PRGENERATION.
    pub generation: u32,
    /// Key, and scope with type, if there is one.
    pub held: Option<(u64, u8)>,
}

impl Reservation {
    /// Nothing if the lengths do not agree.
    pub fn parse(data: &[u8]) -> Option<Self> {
        let list = list(data)?;
        let held = match list.len() {
            0 => None,
            16 => Some((quad(list, 0)?, *list.get(13)?)),
            _ => return None,
        };
        Some(Self {
            generation: word(data, 0)?,
            held,
        })
    }
}

/// One registration of READ FULL STATUS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FullStatus {
    /// Its key.
    pub key: u64,
    /// R_HOLDER.
    pub holds: bool,
    /// ALL_TG_PT.
    pub all_ports: bool,
    /// SCOPE and TYPE, which mean something for holders.
    pub kind: u8,
    /// RELATIVE TARGET PORT IDENTIFIER.
    pub port: u16,
    /// TransportID.
    pub transport_id: Vec<u8>,
}

impl FullStatus {
    /// PRGENERATION and all of the list; nothing if the lengths do not agree.
    pub fn parse_all(data: &[u8]) -> Option<(u32, Vec<Self>)> {
        let mut rest = list(data)?;
        let mut all = Vec::new();
        while !rest.is_empty() {
            let (head, tail) = rest.split_at_checked(24)?;
            let length = word(head, 20)? as usize;
            let (id, tail) = tail.split_at_checked(length)?;
            all.push(Self {
                key: quad(head, 0)?,
                holds: head[12] & 1 != 0,
                all_ports: head[12] & 2 != 0,
                kind: head[13],
                port: u16::from_be_bytes([head[18], head[19]]),
                transport_id: id.to_vec(),
            });
            rest = tail;
        }
        Some((word(data, 0)?, all))
    }
}

/// What follows the eight bytes of generation and length, which has to be all that there is.
fn list(data: &[u8]) -> Option<&[u8]> {
    let rest = data.get(8..)?;
    (word(data, 4)? as usize == rest.len()).then_some(rest)
}

fn word(data: &[u8], at: usize) -> Option<u32> {
    let bytes = data.get(at..at + 4)?;
    Some(u32::from_be_bytes(bytes.try_into().ok()?))
}

fn quad(data: &[u8], at: usize) -> Option<u64> {
    let bytes = data.get(at..at + 8)?;
    Some(u64::from_be_bytes(bytes.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_where_the_standard_has_them() {
        let cdb = persistent_reserve_out(action::PREEMPT, 5, 24);
        assert_eq!(cdb, [0x5f, 4, 5, 0, 0, 0, 0, 0, 24, 0]);
        let cdb = persistent_reserve_in(report::FULL_STATUS, 0x0102);
        assert_eq!(cdb, [0x5e, 3, 0, 0, 0, 0, 0, 1, 2, 0]);
        let list = Parameters {
            persist: true,
            all_ports: true,
            ..Parameters::keys(1, 2)
        };
        let list = list.encode();
        assert_eq!((list.len(), list[7], list[15], list[20]), (24, 1, 2, 5));
        let list = Parameters {
            others: Some(vec![srp_transport_id([9; 16])]),
            ..Parameters::keys(1, 2)
        };
        let list = list.encode();
        assert_eq!((list.len(), list[20], list[27], list[28]), (52, 8, 24, 4));
        let list = Move {
            unregister: true,
            port: 2,
            to: iscsi_transport_id("iqn.x", Some([1, 2, 3, 4, 5, 6])),
            ..Move::default()
        };
        let list = list.encode();
        assert_eq!(list[16..24], [0, 2, 0, 2, 0, 0, 0, 28]);
        assert_eq!(list[24..28], [0x45, 0, 0, 24]);
        assert_eq!(&list[28..], b"iqn.x,i,0x010203040506\0\0");
        assert_eq!(iscsi_transport_id("iqn.x", None).len(), 24);
    }

    #[test]
    fn reports_are_read() {
        let mut data = vec![0, 0, 0, 7, 0, 0, 0, 16];
        data.extend([0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0x15, 0, 0]);
        let held = Reservation::parse(&data).expect("a reservation");
        assert_eq!((held.generation, held.held), (7, Some((3, 0x15))));
        let keys = Keys::parse(&data).expect("keys");
        assert_eq!((keys.generation, keys.keys.len()), (7, 2));
        assert_eq!(Keys::parse(&data[..20]), None);
    }
}
