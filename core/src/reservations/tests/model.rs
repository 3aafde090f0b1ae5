//! A second implementation that shares no code with the first: it follows the text of SPC-4 section 5.13 in its order and its
//! words, with codes of SCSI for types and plain lists.

use super::*;

/// Those who take part; some of them come to the limit.
pub(super) const PEOPLE: u8 = 6;
pub(super) const ROOM: usize = 4;

pub(super) fn person(number: u8) -> Registrant {
    match number % 3 {
        0 => srp(number),
        1 => nvme(number),
        _ => iscsi(number),
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Reservation {
    type_code: u8,
    /// Who made it, or took it over; of no account for types 7 and 8.
    established_by: u8,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Model {
    /// (who, reservation key)
    registrations: Vec<(u8, u64)>,
    reservation: Option<Reservation>,
    pr_generation: u32,
    aptpl: bool,
}

/// What a command comes to: a status, who gets which unit attention condition, whose commands are aborted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Outcome {
    pub(super) attentions: Vec<(u8, &'static str)>,
    pub(super) aborted: Vec<u8>,
}

pub(super) type Status = Result<Outcome, &'static str>;

pub(super) const CONFLICT: &str = "RESERVATION CONFLICT";
pub(super) const IN_LIST: &str = "INVALID FIELD IN PARAMETER LIST";
pub(super) const IN_CDB: &str = "INVALID FIELD IN CDB";
pub(super) const NO_ROOM: &str = "INSUFFICIENT REGISTRATION RESOURCES";
pub(super) const BAD_RELEASE: &str = "INVALID RELEASE OF PERSISTENT RESERVATION";

pub(super) const RESERVATIONS_PREEMPTED: &str = "RESERVATIONS PREEMPTED";
pub(super) const RESERVATIONS_RELEASED: &str = "RESERVATIONS RELEASED";
pub(super) const REGISTRATIONS_PREEMPTED: &str = "REGISTRATIONS PREEMPTED";

/// What is asked.
#[derive(Clone, Debug)]
pub(super) enum Ask {
    /// REGISTER: RESERVATION KEY, SERVICE ACTION RESERVATION KEY, TransportIDs, APTPL.
    Register(Key, u64, Vec<u8>, bool),
    RegisterAndIgnore(u64, bool),
    /// NVMe: without CRKEY, which is ignored.
    NvmeRegister(u64),
    /// NVMe: with CRKEY, or IEKEY.
    NvmeUnregister(Option<Key>),
    NvmeReplace(Key, u64),
    Reserve(Key, u8),
    Release(Key, u8),
    Clear(Key),
    Preempt(Key, Victim, u8, bool),
    Move(Key, u64, u8, bool, bool),
    Persist(bool),
    Wipe,
}

/// A key that is given: often the right one.
#[derive(Clone, Copy, Debug)]
pub(super) enum Key {
    Own,
    This(u64),
    /// IEKEY.
    Ignored,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Victim {
    KeyOf(u8),
    This(u64),
}

impl Model {
    fn key_of(&self, who: u8) -> Option<u64> {
        let (_, key) = self.registrations.iter().find(|(one, _)| *one == who)?;
        Some(*key)
    }

    /// The key that is given in a command; none if it is ignored.
    fn given(&self, who: u8, key: Key) -> Option<u64> {
        match key {
            Key::Own => Some(self.key_of(who).unwrap_or(0)),
            Key::This(key) => Some(key),
            Key::Ignored => None,
        }
    }

    fn victim(&self, victim: Victim) -> u64 {
        match victim {
            Victim::KeyOf(who) => self.key_of(who).unwrap_or(0),
            Victim::This(key) => key,
        }
    }

    /// 5.13.10
    pub(super) fn holders(&self) -> Vec<u8> {
        match &self.reservation {
            None => vec![],
            Some(Reservation {
                type_code: 7 | 8, ..
            }) => self.registrations.iter().map(|(who, _)| *who).collect(),
            Some(reservation) => vec![reservation.established_by],
        }
    }

    fn registered_but(&self, who: u8) -> Vec<u8> {
        let all = self.registrations.iter().map(|(one, _)| *one);
        all.filter(|one| *one != who).collect()
    }

    fn set_key(&mut self, who: u8, key: u64) {
        self.registrations.retain(|(one, _)| *one != who);
        self.registrations.push((who, key));
    }

    /// 5.13.7: "Any PERSISTENT RESERVE OUT command service action received from an unregistered I_T nexus ..."
    fn must_be_registered(&self, who: u8, given: Option<u64>) -> Result<(), &'static str> {
        let Some(key) = self.key_of(who) else {
            return Err(CONFLICT);
        };
        if let Some(given) = given
            && given != key
        {
            return Err(CONFLICT);
        }
        Ok(())
    }

    /// 5.13.11.2.3
    fn unregister(&mut self, who: u8) -> Outcome {
        let was_holder = self.holders().contains(&who);
        self.registrations.retain(|(one, _)| *one != who);
        let mut outcome = Outcome::default();
        if was_holder {
            let type_code = self.reservation.as_ref().map(|it| it.type_code);
            match type_code {
                Some(7 | 8) if self.registrations.is_empty() => self.reservation = None,
                Some(7 | 8) => {}
                Some(5 | 6) => {
                    self.reservation = None;
                    for (other, _) in &self.registrations {
                        outcome.attentions.push((*other, RESERVATIONS_RELEASED));
                    }
                }
                _ => self.reservation = None,
            }
        }
        outcome
    }

    /// 5.13.7, table 67
    fn register(&mut self, who: u8, given: u64, key: u64, ids: &[u8], aptpl: bool) -> Status {
        match self.key_of(who) {
            None if given != 0 => return Err(CONFLICT),
            None if key == 0 => return Ok(Outcome::default()),
            None => {}
            Some(own) if own != given => return Err(CONFLICT),
            Some(_) if !ids.is_empty() => return Err(IN_LIST),
            Some(_) => {}
        }
        if ids.iter().any(|id| self.key_of(*id).is_some()) {
            return Err(IN_LIST);
        }
        self.register_all(who, key, ids, Some(aptpl))
    }

    fn register_all(&mut self, who: u8, key: u64, ids: &[u8], aptpl: Option<bool>) -> Status {
        let before = self.clone();
        self.aptpl = aptpl.unwrap_or(self.aptpl);
        self.pr_generation += 1;
        if key == 0 {
            return Ok(self.unregister(who));
        }
        self.set_key(who, key);
        for id in ids {
            self.set_key(*id, key);
        }
        if self.registrations.len() > ROOM {
            *self = before;
            return Err(NO_ROOM);
        }
        Ok(Outcome::default())
    }

    /// 5.13.9
    fn reserve(&mut self, who: u8, given: Option<u64>, type_code: u8) -> Status {
        self.must_be_registered(who, given)?;
        if self.reservation.is_none() {
            self.reservation = Some(Reservation {
                type_code,
                established_by: who,
            });
            return Ok(Outcome::default());
        }
        if !self.holders().contains(&who) {
            return Err(CONFLICT);
        }
        if self.reservation.as_ref().map(|it| it.type_code) != Some(type_code) {
            return Err(CONFLICT);
        }
        Ok(Outcome::default())
    }

    /// 5.13.11.2.2
    fn release(&mut self, who: u8, given: Option<u64>, type_code: u8) -> Status {
        self.must_be_registered(who, given)?;
        let mut outcome = Outcome::default();
        if !self.holders().contains(&who) {
            return Ok(outcome);
        }
        if self.reservation.as_ref().map(|it| it.type_code) != Some(type_code) {
            return Err(BAD_RELEASE);
        }
        self.reservation = None;
        if type_code >= 5 {
            for other in self.registered_but(who) {
                outcome.attentions.push((other, RESERVATIONS_RELEASED));
            }
        }
        Ok(outcome)
    }

    /// 5.13.11.2.7; an operator is nobody.
    fn clear(&mut self, but: Option<u8>) -> Outcome {
        let mut outcome = Outcome::default();
        for (who, _) in std::mem::take(&mut self.registrations) {
            if Some(who) != but {
                outcome.attentions.push((who, RESERVATIONS_PREEMPTED));
            }
        }
        self.reservation = None;
        self.pr_generation += 1;
        outcome
    }

    /// Figure 9
    fn preempt(
        &mut self,
        who: u8,
        given: Option<u64>,
        victim: u64,
        type_code: u8,
        abort: bool,
    ) -> Status {
        self.must_be_registered(who, given)?;
        let with_key = |model: &Self| -> Vec<u8> {
            let all = model.registrations.iter();
            all.filter(|(_, key)| *key == victim)
                .map(|(one, _)| *one)
                .collect()
        };
        let Some(reservation) = self.reservation.clone() else {
            return self.remove(who, with_key(self), abort);
        };
        if reservation.type_code >= 7 {
            if victim == 0 {
                let others = self.registered_but(who);
                return Ok(self.take_over(who, others, type_code, abort));
            }
            return self.remove(who, with_key(self), abort);
        }
        if victim == 0 {
            return Err(IN_LIST);
        }
        if self.key_of(reservation.established_by) == Some(victim) {
            let mut gone = with_key(self);
            gone.retain(|one| *one != who);
            return Ok(self.take_over(who, gone, type_code, abort));
        }
        self.remove(who, with_key(self), abort)
    }

    /// 5.13.11.2.4.3
    fn take_over(&mut self, who: u8, gone: Vec<u8>, type_code: u8, abort: bool) -> Outcome {
        let old_type = self.reservation.take().map(|it| it.type_code);
        self.registrations.retain(|(one, _)| !gone.contains(one));
        self.reservation = Some(Reservation {
            type_code,
            established_by: who,
        });
        self.pr_generation += 1;
        let mut outcome = Outcome::default();
        for one in &gone {
            outcome.attentions.push((*one, REGISTRATIONS_PREEMPTED));
        }
        if old_type != Some(type_code) {
            for other in self.registered_but(who) {
                outcome.attentions.push((other, RESERVATIONS_RELEASED));
            }
        }
        if abort {
            outcome.aborted = gone;
        }
        outcome
    }

    /// 5.13.11.2.5
    fn remove(&mut self, who: u8, gone: Vec<u8>, abort: bool) -> Status {
        if gone.is_empty() {
            return Err(CONFLICT);
        }
        self.registrations.retain(|(one, _)| !gone.contains(one));
        if self.registrations.is_empty() {
            self.reservation = None;
        }
        self.pr_generation += 1;
        let mut outcome = Outcome::default();
        for one in gone.iter().filter(|one| **one != who) {
            outcome.attentions.push((*one, REGISTRATIONS_PREEMPTED));
        }
        if abort {
            outcome.aborted = gone;
        }
        Ok(outcome)
    }

    /// 5.13.8, table 70
    fn register_and_move(
        &mut self,
        who: u8,
        given: Option<u64>,
        (key, to): (u64, u8),
        unreg: bool,
        aptpl: bool,
    ) -> Status {
        self.must_be_registered(who, given)?;
        let Some(reservation) = self.reservation.clone() else {
            return Err(IN_CDB);
        };
        if reservation.type_code >= 7 || reservation.established_by != who {
            return Err(CONFLICT);
        }
        if key == 0 || to == who {
            return Err(IN_LIST);
        }
        let before = self.clone();
        self.aptpl = aptpl;
        self.pr_generation += 1;
        self.set_key(to, key);
        self.reservation = Some(Reservation {
            type_code: reservation.type_code,
            established_by: to,
        });
        if unreg {
            self.registrations.retain(|(one, _)| *one != who);
        }
        if self.registrations.len() > ROOM {
            *self = before;
            return Err(NO_ROOM);
        }
        Ok(Outcome::default())
    }

    pub(super) fn answer(&mut self, who: u8, ask: &Ask) -> Status {
        match ask {
            Ask::Register(given, key, ids, aptpl) => {
                let given = self.given(who, *given).unwrap_or(0);
                self.register(who, given, *key, ids, *aptpl)
            }
            Ask::RegisterAndIgnore(key, aptpl) => {
                let given = self.key_of(who).unwrap_or(0);
                self.register(who, given, *key, &[], *aptpl)
            }
            Ask::NvmeRegister(key) => match self.key_of(who) {
                Some(own) if own != *key => Err(CONFLICT),
                None if *key == 0 => Err(IN_LIST),
                _ => self.register_all(who, *key, &[], None),
            },
            Ask::NvmeUnregister(given) => {
                let given = given.and_then(|given| self.given(who, given));
                self.must_be_registered(who, given)?;
                self.register_all(who, 0, &[], None)
            }
            Ask::NvmeReplace(given, key) => {
                let given = self.given(who, *given);
                self.must_be_registered(who, given)?;
                self.register_all(who, *key, &[], None)
            }
            Ask::Reserve(given, type_code) => {
                self.reserve(who, self.given(who, *given), *type_code)
            }
            Ask::Release(given, type_code) => {
                self.release(who, self.given(who, *given), *type_code)
            }
            Ask::Clear(given) => {
                self.must_be_registered(who, self.given(who, *given))?;
                Ok(self.clear(Some(who)))
            }
            Ask::Preempt(given, victim, type_code, abort) => {
                let (given, victim) = (self.given(who, *given), self.victim(*victim));
                self.preempt(who, given, victim, *type_code, *abort)
            }
            Ask::Move(given, key, to, unreg, aptpl) => {
                let given = Some(self.given(who, *given).unwrap_or(0));
                self.register_and_move(who, given, (*key, *to), *unreg, *aptpl)
            }
            Ask::Persist(aptpl) => {
                self.aptpl = *aptpl;
                Ok(Outcome::default())
            }
            Ask::Wipe => Ok(self.clear(None)),
        }
    }

    /// The same, as core asks for it.
    pub(super) fn action(&self, who: u8, ask: &Ask) -> Action {
        let kind = |code| ReservationType::from_scsi(code).unwrap();
        let registering = |expected, key, ids: &[u8], persist| Action::Register {
            expected,
            key,
            others: ids.iter().map(|id| person(*id)).collect(),
            persist,
        };
        let registered = |given: Option<u64>| match given {
            Some(key) => Expected::Registered(key),
            None => Expected::AnyRegistered,
        };
        match ask {
            Ask::Register(given, key, ids, aptpl) => {
                let given = Expected::Key(self.given(who, *given).unwrap_or(0));
                registering(given, *key, ids, Some(*aptpl))
            }
            Ask::RegisterAndIgnore(key, aptpl) => {
                registering(Expected::Any, *key, &[], Some(*aptpl))
            }
            Ask::NvmeRegister(key) => registering(Expected::Unregistered, *key, &[], None),
            Ask::NvmeUnregister(given) => {
                let given = given.and_then(|given| self.given(who, given));
                registering(registered(given), 0, &[], None)
            }
            Ask::NvmeReplace(given, key) => {
                registering(registered(self.given(who, *given)), *key, &[], None)
            }
            Ask::Reserve(given, code) => Action::Reserve {
                key: self.given(who, *given),
                kind: kind(*code),
            },
            Ask::Release(given, code) => Action::Release {
                key: self.given(who, *given),
                kind: kind(*code),
            },
            Ask::Clear(given) => Action::Clear {
                key: self.given(who, *given),
            },
            Ask::Preempt(given, victim, code, abort) => Action::Preempt {
                key: self.given(who, *given),
                victim: self.victim(*victim),
                kind: kind(*code),
                abort: *abort,
            },
            Ask::Move(given, key, to, unregister, persist) => Action::Move {
                key: self.given(who, *given).unwrap_or(0),
                new_key: *key,
                to: person(*to),
                unregister: *unregister,
                persist: *persist,
            },
            Ask::Persist(aptpl) => Action::Persist(*aptpl),
            Ask::Wipe => Action::Wipe,
        }
    }

    /// Whether the table says the same.
    pub(super) fn agrees(&self, table: &Table) {
        let mut expected: Vec<_> = self
            .registrations
            .iter()
            .map(|(who, key)| (person(*who), *key))
            .collect();
        expected.sort();
        let found: Vec<_> = table.registrations().clone().into_iter().collect();
        assert_eq!(found, expected);
        assert_eq!(table.generation(), self.pr_generation);
        assert_eq!(table.persistent(), self.aptpl);
        let holder = table.holder().map(|holder| holder.kind.scsi());
        assert_eq!(holder, self.reservation.as_ref().map(|it| it.type_code));
        for who in 0..PEOPLE {
            assert_eq!(
                table.is_holder(&person(who)),
                self.holders().contains(&who),
                "{who}"
            );
        }
    }
}
