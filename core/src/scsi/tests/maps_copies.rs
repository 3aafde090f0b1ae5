//! EXTENDED COPY between units whose mappings change.

use std::sync::Arc;

use super::super::sense::codes;
use super::super::testing::*;
use super::super::*;
use super::maps::*;

/// EXTENDED COPY of eight blocks from one unit to another.
fn copy_list(maps: &Maps, source: usize, destination: usize) -> Vec<u8> {
    let mut list = vec![7, 0, 0, 64, 0, 0, 0, 0, 0, 0, 0, 28, 0, 0, 0, 0];
    for unit in [source, destination] {
        list.extend([0xe4, 0, 0, 0, 1, 3, 0, 8]);
        let name = maps.units[unit].model().identity.naa.as_bytes().to_vec();
        assert_eq!(name.len(), 8);
        list.extend(name);
        list.extend([0; 12]);
        list.extend(512_u32.to_be_bytes());
    }
    list.extend([2, 0, 0, 24, 0, 0, 0, 1, 0, 0, 0, 8]);
    list.extend([0; 16]);
    list
}

const COPY: [u8; 16] = [0x83, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 108, 0, 0];

#[test]
fn a_copy_reaches_what_is_seen_when_it_begins() {
    let mut maps = Maps::new();
    let list = copy_list(&maps, 0, 1);
    let [pending, late, back] = [(); 3].map(|()| maps.fetched(0, &COPY));
    assert!(matches!(
        maps.channel.parameters(pending, &list),
        Plan::Block(_)
    ));
    // The channel has not planned anything since.
    maps.map(&[(0, 0), (1, 2)]);
    let refused = sense_of(&respond(maps.channel.parameters(late, &list)));
    assert_eq!(refused.code, codes::COPY_TARGET_UNREACHABLE);
    // Not that the unit itself has to be seen.
    maps.map(&[(3, 1), (4, 2)]);
    let refused = sense_of(&respond(maps.channel.parameters(back, &list)));
    assert_eq!(refused.code, codes::COPY_TARGET_UNREACHABLE);
    maps.map(&[(0, 0), (5, 1)]);
    let pending = maps.fetched(5, &COPY);
    maps.map(&[(0, 0), (6, 1)]);
    let planned = block(maps.channel.parameters(pending, &list));
    assert!(Arc::ptr_eq(maps.channel.unit(planned.unit), &maps.units[1]));
}

#[test]
fn nothing_is_copied_to_where_the_session_may_not_write() {
    let mut maps = Maps::new();
    maps.map_with(&[(0, 0), (1, 1)], &[1]);
    maps.told(1);
    let copy = |maps: &mut Maps, source, destination| {
        let list = copy_list(maps, source, destination);
        let pending = maps.fetched(0, &COPY);
        maps.channel.parameters(pending, &list)
    };
    let refused = sense_of(&respond(copy(&mut maps, 0, 1)));
    assert_eq!(refused.code, codes::COPY_WRITE_PROTECTED);
    assert!(matches!(copy(&mut maps, 1, 0), Plan::Block(_)));
    // By another number it may.
    maps.map_with(&[(0, 0), (1, 1), (2, 1)], &[1]);
    maps.told(0);
    assert!(matches!(copy(&mut maps, 0, 1), Plan::Block(_)));
    maps.map_with(&[(0, 0), (1, 1), (2, 1)], &[1, 2]);
    let refused = sense_of(&respond(copy(&mut maps, 0, 1)));
    assert_eq!(refused.code, codes::COPY_WRITE_PROTECTED);
    // EXTENDED COPY itself is no write, and may come by where none may.
    assert_eq!(maps.told(1), [codes::LUNS_CHANGED]);
    let list = copy_list(&maps, 1, 0);
    let pending = maps.fetched(1, &COPY);
    assert!(matches!(
        maps.channel.parameters(pending, &list),
        Plan::Block(_)
    ));
}
