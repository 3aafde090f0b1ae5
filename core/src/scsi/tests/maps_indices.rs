//! The indices of units, and when they are forgotten.

use std::sync::Arc;

use super::super::*;
use super::maps::*;

#[test]
fn units_are_forgotten_when_nobody_needs_them() {
    let mut maps = Maps::new();
    let index = |maps: &mut Maps, lun: u8| maps.channel.unit_at([0, lun, 0, 0, 0, 0, 0, 0]);
    let [zero, one] = [0, 1].map(|lun| index(&mut maps, lun).expect("mapped"));
    assert!(
        maps.channel
            .forget_unmapped(|_, _| panic!("all are mapped"))
    );
    assert_eq!((zero.number(), one.number()), (0, 1));

    // In use, it stays.
    maps.map(&[(0, 0)]);
    let mut asked = Vec::new();
    assert!(!maps.channel.forget_unmapped(|index, unit| {
        asked.push((index, unit));
        true
    }));
    assert_eq!(asked, [(one, UnitId(1))]);
    assert!(Arc::ptr_eq(maps.channel.unit(one), &maps.units[1]));
    // One that comes has another index meanwhile, and what is mapped again keeps its own.
    maps.map(&[(0, 0), (1, 2)]);
    assert_eq!(index(&mut maps, 1).map(UnitIndex::number), Some(2));
    maps.map(&[(0, 0), (1, 2), (2, 1)]);
    assert_eq!(index(&mut maps, 2), Some(one));
    assert!(maps.channel.forget_unmapped(|_, _| false));

    // Then it is let go of, and its index is used again.
    maps.map(&[(0, 0), (1, 2)]);
    let held = Arc::strong_count(&maps.units[1]);
    assert!(maps.channel.forget_unmapped(|_, _| false));
    // By the channel's list; its nexus had gone with the slots.
    assert_eq!(Arc::strong_count(&maps.units[1]), held - 2);
    assert!(maps.channel.forget_unmapped(|_, _| panic!("none is left")));
    maps.map(&[(0, 0), (1, 2), (2, 1)]);
    assert_eq!(index(&mut maps, 2), Some(one));
    assert_eq!(index(&mut maps, 1).map(UnitIndex::number), Some(2));
    assert_eq!(index(&mut maps, 0), Some(zero));
}

#[test]
fn a_unit_has_one_index_whatever_its_numbers() {
    let mut maps = Maps::new();
    maps.map(&[(3, 0), (4, 0), (9, 1)]);
    let units: Vec<_> = (maps.channel.units())
        .map(|(number, unit)| (number, unit.number()))
        .collect();
    assert_eq!(units, [(3, 0), (4, 0), (9, 1)]);
    maps.map(&[(4, 0)]);
    assert!(maps.channel.forget_unmapped(|unit, _| unit.number() == 0));
    let index = maps.channel.unit_numbered(4).expect("mapped");
    assert!(Arc::ptr_eq(maps.channel.unit(index), &maps.units[0]));
}

#[test]
#[should_panic(expected = "forgotten")]
fn a_forgotten_index_is_nobodys() {
    let mut maps = Maps::new();
    let index = maps.channel.unit_at([0; 8]).expect("mapped");
    maps.map(&[(1, 1)]);
    maps.channel.forget_unmapped(|_, _| false);
    maps.channel.unit(index);
}
