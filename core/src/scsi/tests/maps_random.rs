//! Random changes of a LUN map, beside a model that is as simple as what is promised.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use proptest::collection::{btree_map, vec};
use proptest::prelude::*;

use super::super::sense::codes;
use super::super::testing::*;
use super::super::*;
use super::reserve_hosts::{disk, host, srp};

const UNITS: usize = 3;
const NUMBERS: [u32; 5] = [0, 1, 2, 300, Lun::LIMIT];

#[derive(Clone, Debug)]
enum Step {
    /// Units by the places of their numbers, and whether they are write protected.
    Map(BTreeMap<usize, (usize, bool)>),
    Ready(usize),
    /// INQUIRY for standard data, or for a page.
    Look(usize, Option<u8>),
    Write(usize),
    ReportLuns(usize),
    Stop(usize),
    Reserve(usize),
    /// Begins a command, which keeps its unit.
    Begin(usize),
    /// Ends the oldest command.
    End,
    Forget,
    Reset(usize),
    Resize(usize, u64),
}

fn step() -> impl Strategy<Value = Step> {
    let number = 0..NUMBERS.len();
    let unit = 0..UNITS;
    let mapped = (unit.clone(), prop::bool::weighted(0.3));
    prop_oneof![
        6 => btree_map(number.clone(), mapped, 0..=NUMBERS.len()).prop_map(Step::Map),
        6 => number.clone().prop_map(Step::Ready),
        3 => (number.clone(), prop::option::of(prop::sample::select(vec![0x80, 0x83])))
            .prop_map(|(number, page)| Step::Look(number, page)),
        2 => number.clone().prop_map(Step::Write),
        1 => number.clone().prop_map(Step::ReportLuns),
        1 => number.clone().prop_map(Step::Stop),
        2 => number.clone().prop_map(Step::Reserve),
        2 => number.prop_map(Step::Begin),
        2 => Just(Step::End),
        2 => Just(Step::Forget),
        1 => unit.clone().prop_map(Step::Reset),
        1 => (unit, 100..103_u64).prop_map(|(unit, blocks)| Step::Resize(unit, blocks)),
    ]
}

/// What the host is still to be told of a number, the first to be told first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Pending {
    reset: bool,
    replaced: bool,
    capacity: bool,
    protection: bool,
    luns: bool,
}

impl Pending {
    fn next(&mut self) -> Option<SenseCode> {
        let all = [
            (&mut self.reset, codes::UNIT_RESET_OCCURRED),
            (&mut self.replaced, codes::INQUIRY_DATA_CHANGED),
            (&mut self.capacity, codes::CAPACITY_CHANGED),
            (&mut self.protection, codes::MODE_PARAMETERS_CHANGED),
            (&mut self.luns, codes::LUNS_CHANGED),
        ];
        all.into_iter()
            .find_map(|(pending, code)| std::mem::take(pending).then_some(code))
    }
}

/// What a number stands for.
#[derive(Clone, Copy, Debug)]
struct Mapped {
    unit: usize,
    read_only: bool,
    stopped: bool,
    /// The host may take it for another one.
    strange: bool,
    pending: Pending,
}

#[derive(Default)]
struct Model {
    mapped: BTreeMap<u32, Mapped>,
    /// What numbers stood for, and what the host has yet to hear of that.
    departed: BTreeMap<u32, Mapped>,
    /// By which number a unit is reserved.
    reserved: BTreeMap<usize, u32>,
    capacities: [u64; UNITS],
}

impl Model {
    fn map(&mut self, map: &BTreeMap<u32, (usize, bool)>) -> LunChanges {
        let mut changes = LunChanges::default();
        let before = std::mem::take(&mut self.mapped);
        let lost: BTreeSet<_> = (before.values())
            .filter(|old| map.values().all(|(unit, _)| *unit != old.unit))
            .map(|old| UnitId(old.unit as u32))
            .collect();
        changes.lost = lost.into_iter().collect();
        for (number, old) in &before {
            if map.get(number).is_none_or(|(unit, _)| *unit != old.unit) {
                changes.removed.push(*number);
                self.reserved
                    .retain(|unit, by| (*unit, &*by) != (old.unit, number));
            }
            if !map.contains_key(number) {
                self.departed.insert(*number, *old);
            }
        }
        for (number, &(unit, read_only)) in map {
            let mut new = Mapped {
                unit,
                read_only,
                stopped: false,
                strange: false,
                pending: Pending::default(),
            };
            match (before.get(number), self.departed.remove(number)) {
                (Some(old), _) if old.unit == unit => {
                    new = Mapped { read_only, ..*old };
                    new.pending.protection |= old.read_only != read_only;
                }
                (Some(_), _) => {
                    new.pending.replaced = true;
                    new.strange = true;
                }
                (None, Some(gone)) if gone.unit == unit => {
                    new.strange = gone.strange;
                    new.pending = Pending {
                        luns: false,
                        protection: (gone.read_only != gone.pending.protection) != read_only,
                        ..gone.pending
                    };
                }
                (None, Some(_)) => {
                    new.pending.replaced = true;
                    new.strange = true;
                }
                (None, None) => {}
            }
            if before.get(number).is_none_or(|old| old.unit != unit) {
                changes.added.push(*number);
            }
            self.mapped.insert(*number, new);
        }
        if !changes.is_empty() {
            for (number, mapped) in &mut self.mapped {
                mapped.pending.luns |= before.contains_key(number);
            }
        }
        changes
    }

    /// Something happens to a unit: all that know it hear of it.
    fn happens(&mut self, unit: usize, change: impl Fn(&mut Pending)) {
        let all = self.mapped.values_mut().chain(self.departed.values_mut());
        all.filter(|mapped| mapped.unit == unit)
            .for_each(|mapped| change(&mut mapped.pending));
    }

    /// What a command comes to before it is looked at, if not to its own.
    fn first(&mut self, number: u32, needs_medium: bool) -> Option<SenseCode> {
        let Some(mapped) = self.mapped.get_mut(&number) else {
            return Some(codes::LUN_NOT_SUPPORTED);
        };
        let next = mapped.pending.next();
        if next == Some(codes::UNIT_RESET_OCCURRED) {
            mapped.stopped = false;
        }
        next.or(mapped.strange.then_some(codes::LUN_NOT_SUPPORTED))
            .or((mapped.stopped && needs_medium).then_some(codes::UNIT_STOPPED))
    }

    /// Whether a unit is reserved by another number than this.
    fn conflicts(&self, number: u32) -> bool {
        let unit = self.mapped.get(&number).map(|mapped| mapped.unit);
        let by = unit.and_then(|unit| self.reserved.get(&unit));
        by.is_some_and(|by| *by != number)
    }
}

fn lun_of(number: u32) -> [u8; 8] {
    match number {
        Lun::LIMIT => [0xff; 8],
        number => Lun::encode(number),
    }
}

struct World {
    units: Vec<Arc<LogicalUnit>>,
    session: Arc<ScsiSession>,
    channel: ScsiChannel,
    /// One that never looks, and so goes on having all that there was at first.
    _idle: ScsiChannel,
    others: Vec<ScsiChannel>,
    /// Commands in flight.
    begun: Vec<(UnitIndex, usize)>,
    model: Model,
}

impl World {
    fn new() -> Self {
        let unit = |number| {
            let identity = Identity::new(format!("s{number}"), Naa::local(number as u64));
            let model = disk().model().clone();
            LogicalUnit::new(UnitId(number as u32), DiskModel { identity, ..model })
        };
        let units: Vec<_> = (0..UNITS)
            .map(|number| Arc::new(unit(number).expect("a valid model")))
            .collect();
        let all: Vec<_> = NUMBERS.into_iter().zip(&units).collect();
        let session = ScsiSession::new(port(), Some(srp(1)), &luns(&all));
        let mapped = |unit| Mapped {
            unit,
            read_only: false,
            stopped: false,
            strange: false,
            pending: Pending::default(),
        };
        Self {
            channel: session.channel(),
            _idle: session.channel(),
            others: units.iter().map(|unit| host(unit, &srp(9))).collect(),
            model: Model {
                capacities: [CAPACITY; UNITS],
                mapped: (0..UNITS)
                    .map(|unit| (NUMBERS[unit], mapped(unit)))
                    .collect(),
                ..Model::default()
            },
            units,
            session,
            begun: Vec::new(),
        }
    }

    /// What a command to a number comes to.
    fn run(&mut self, number: u32, cdb: &[u8]) -> Result<(), Outcome> {
        let lun = lun_of(number);
        let plan = self.channel.plan(&Command {
            lun,
            ..command(cdb)
        });
        match plan {
            Plan::Respond(response) => match (response.status, response.sense) {
                (Status::Good, _) => Ok(()),
                (_, Some(sense)) => Err(Outcome::Sense(sense.code)),
                (status, None) => Err(Outcome::Status(status)),
            },
            _ => Ok(()),
        }
    }

    fn map(&mut self, map: &BTreeMap<usize, (usize, bool)>) -> Result<(), TestCaseError> {
        let luns = map.iter().map(|(place, (unit, read_only))| {
            let unit = self.units[*unit].clone();
            let read_only = *read_only;
            (NUMBERS[*place], Mapping { unit, read_only })
        });
        let luns = luns.collect();
        let numbered = map.iter().map(|(place, mapped)| (NUMBERS[*place], *mapped));
        let numbered = numbered.filter(|(number, _)| *number < Lun::LIMIT);
        let expected = self.model.map(&numbered.collect());

        let (_, before) = self.session.snapshot();
        let changes = self.session.set_luns(&luns);
        let (_, after) = self.session.snapshot();
        prop_assert_eq!(&changes, &expected);
        // LUNs that are equal on both sides are the very same, and no others.
        for (number, nexus) in &after {
            let same = before
                .iter()
                .any(|(old, known)| old == number && Arc::ptr_eq(known, nexus));
            prop_assert_eq!(same, !changes.added.contains(number), "{}", number);
        }
        Ok(())
    }

    fn step(&mut self, step: &Step) -> Result<(), TestCaseError> {
        let sense = |code| Err(Outcome::Sense(code));
        let conflict = Err(Outcome::Status(Status::ReservationConflict));
        match step {
            Step::Map(map) => self.map(map)?,
            Step::Ready(place) => {
                let number = NUMBERS[*place];
                let conflicts = self.model.conflicts(number);
                let expected = match self.model.first(number, true) {
                    Some(code) => sense(code),
                    None if conflicts => conflict,
                    None => Ok(()),
                };
                prop_assert_eq!(self.run(number, &[0; 6]), expected);
            }
            Step::Look(place, page) => {
                let number = NUMBERS[*place];
                let inquiry = [0x12, page.is_some().into(), page.unwrap_or(0), 0, 96, 0];
                let done = self.run(number, &inquiry);
                if let Some(mapped) = self.model.mapped.get_mut(&number) {
                    prop_assert_eq!(done, Ok(()));
                    mapped.strange &= *page == Some(0x80);
                }
            }
            Step::Write(place) => {
                let number = NUMBERS[*place];
                let conflicts = self.model.conflicts(number);
                let expected = match self.model.first(number, true) {
                    Some(code) => sense(code),
                    None if conflicts => conflict,
                    None if self.model.mapped[&number].read_only => sense(codes::WRITE_PROTECTED),
                    None => Ok(()),
                };
                let write = [0x2a, 0, 0, 0, 0, 0, 0, 0, 1, 0];
                prop_assert_eq!(self.run(number, &write), expected);
            }
            Step::ReportLuns(place) => {
                let number = NUMBERS[*place];
                let mut expected = vec![0; 8];
                expected.extend(self.model.mapped.keys().flat_map(|lun| Lun::encode(*lun)));
                expected[3] = expected.len() as u8 - 8;
                let mapped = self.model.mapped.contains_key(&number) || number == 0;
                let lun = lun_of(number);
                let cdb = [0xa0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0];
                let response = respond(self.channel.plan(&Command {
                    lun,
                    ..command(&cdb)
                }));
                if mapped {
                    prop_assert_eq!(response.data, expected);
                    let all = self.model.mapped.values_mut();
                    all.for_each(|mapped| mapped.pending.luns = false);
                } else {
                    prop_assert_eq!(sense_of(&response).code, codes::LUN_NOT_SUPPORTED);
                }
            }
            Step::Stop(place) => {
                let number = NUMBERS[*place];
                let conflicts = self.model.conflicts(number);
                let expected = match self.model.first(number, false) {
                    Some(code) => sense(code),
                    None if conflicts => conflict,
                    None => Ok(()),
                };
                prop_assert_eq!(self.run(number, &[0x1b, 0, 0, 0, 0, 0]), expected);
                if let (Ok(()), Some(mapped)) = (expected, self.model.mapped.get_mut(&number)) {
                    mapped.stopped = true;
                }
            }
            Step::Reserve(place) => {
                let number = NUMBERS[*place];
                let conflicts = self.model.conflicts(number);
                let expected = match self.model.first(number, false) {
                    Some(code) => sense(code),
                    None if conflicts => conflict,
                    None => Ok(()),
                };
                prop_assert_eq!(self.run(number, &[0x16, 0, 0, 0, 0, 0]), expected);
                if expected.is_ok() {
                    let unit = self.model.mapped[&number].unit;
                    self.model.reserved.insert(unit, number);
                }
            }
            Step::Begin(place) => {
                let number = NUMBERS[*place];
                let index = self.channel.unit_at(lun_of(number));
                let unit = self.model.mapped.get(&number).map(|mapped| mapped.unit);
                prop_assert_eq!(index.is_some(), unit.is_some());
                self.begun.extend(index.zip(unit));
            }
            Step::End => {
                if !self.begun.is_empty() {
                    self.begun.remove(0);
                }
            }
            Step::Forget => {
                let begun = self.begun.clone();
                let in_use = |index, id: UnitId| {
                    let known = begun.iter().find(|(used, _)| *used == index);
                    known.is_some_and(|(_, unit)| id.0 as usize == *unit)
                };
                let left = begun
                    .iter()
                    .any(|(_, used)| self.model.mapped.values().all(|now| now.unit != *used));
                prop_assert_eq!(self.channel.forget_unmapped(in_use), !left);
            }
            Step::Reset(unit) => {
                self.units[*unit].reset();
                self.model.reserved.remove(unit);
                self.model.happens(*unit, |pending| pending.reset = true);
                // The others hear of it as well.
                let told = respond(self.others[*unit].plan(&command(&[0; 6])));
                prop_assert_eq!(sense_of(&told).code, codes::UNIT_RESET_OCCURRED);
            }
            Step::Resize(unit, blocks) => {
                self.units[*unit].set_capacity(*blocks);
                if std::mem::replace(&mut self.model.capacities[*unit], *blocks) != *blocks {
                    self.model.happens(*unit, |pending| pending.capacity = true);
                    let told = respond(self.others[*unit].plan(&command(&[0; 6])));
                    prop_assert_eq!(sense_of(&told).code, codes::CAPACITY_CHANGED);
                }
            }
        }
        self.check()
    }

    /// What is so at any time.
    fn check(&mut self) -> Result<(), TestCaseError> {
        // What is reserved is so for others, and nothing else is.
        for (unit, other) in self.others.iter_mut().enumerate() {
            let response = respond(other.plan(&command(&[0; 6])));
            let reserved = response.status == Status::ReservationConflict;
            prop_assert_eq!(reserved, self.model.reserved.contains_key(&unit));
        }
        for (index, unit) in &self.begun {
            prop_assert!(Arc::ptr_eq(self.channel.unit(*index), &self.units[*unit]));
        }
        let mapped: Vec<_> = self.channel.units().collect();
        let expected: Vec<_> = self.model.mapped.keys().copied().collect();
        let numbers: Vec<_> = mapped.iter().map(|(number, _)| *number).collect();
        prop_assert_eq!(numbers, expected);
        for (number, index) in mapped {
            let unit = self.model.mapped[&number].unit;
            prop_assert!(Arc::ptr_eq(self.channel.unit(index), &self.units[unit]));
        }
        Ok(())
    }
}

/// How a command ended that was not good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Sense(SenseCode),
    Status(Status),
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn maps_change_as_they_should(steps in vec(step(), 1..80)) {
        let mut world = World::new();
        for step in &steps {
            world.step(step)?;
        }
    }
}
