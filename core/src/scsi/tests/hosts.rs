//! What operating systems ask of a disk when they find it, with the allocation lengths that they use, and what they
//! make of the answers.

use super::super::sense::codes;
use super::super::testing::*;
use super::super::*;
use crate::block::BlockOp;

/// INQUIRY for a vital product data page.
fn vpd(channel: &mut ScsiChannel, page: u8, allocation_length: u16) -> Vec<u8> {
    let [high, low] = allocation_length.to_be_bytes();
    data(channel, &[0x12, 1, page, high, low, 0])
}

/// READ CAPACITY (16) with room for all of its data.
fn capacity16(channel: &mut ScsiChannel) -> Vec<u8> {
    let mut cdb = [0; 16];
    (cdb[0], cdb[1], cdb[13]) = (0x9e, 0x10, 32);
    data(channel, &cdb)
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([bytes[at], bytes[at + 1]])
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

/// The designators of a device identification page: association, type and bytes.
fn designators(page: &[u8]) -> Vec<(u8, u8, &[u8])> {
    let mut rest = &page[4..];
    let mut found = Vec::new();
    while let [_, kind, _, length, tail @ ..] = rest {
        let (bytes, next) = tail.split_at(usize::from(*length));
        found.push((kind >> 4 & 0x3, kind & 0xf, bytes));
        rest = next;
    }
    assert_eq!(rest, []);
    found
}

/// The Windows class driver asks for every page with one byte of allocation length, and for modes with 192 bytes.
mod windows {
    use super::*;

    const VPD: u16 = 0xff;
    const MODES: u8 = 192;

    /// MODE SENSE (6), with block descriptors: the class driver takes the block length from there.
    fn mode_sense(channel: &mut ScsiChannel, page: u8) -> Vec<u8> {
        data(channel, &[0x1a, 0, page, 0, MODES, 0])
    }

    /// What the disk driver builds around a page: a block descriptor whose three bytes of block length are in the order of
    /// the processor, which is the same both ways for 512 and for 4096.
    fn mode_select(channel: &mut ScsiChannel, block_size: u32, page: &[u8]) -> Plan {
        let [low, middle, high, _] = block_size.to_le_bytes();
        let header = [0, 0, 0, 8, 0, 0, 0, 0, 0, low, middle, high];
        let list = [&header[..], page].concat();
        // PF, and SP as the page's PS bit was.
        let save = page[0] >> 7;
        let cdb = [0x15, 0x10 | save, 0, 0, list.len() as u8, 0];
        select(channel, &cdb, &list)
    }

    #[test]
    fn the_disk_is_found() {
        let mut channel = channel_of(model());
        // The port driver first takes the mandatory 36 bytes, then what ADDITIONAL LENGTH says there is.
        let first = data(&mut channel, &[0x12, 0, 0, 0, 36, 0]);
        assert_eq!(first.len(), 36);
        let whole = data(&mut channel, &[0x12, 0, 0, 0, first[4] + 5, 0]);
        assert_eq!(whole.len(), usize::from(first[4]) + 5);
        assert_eq!(whole[..36], first);
        // A fixed direct access disk with commands in flight (CMDQUE), whose version admits of vital product data.
        assert_eq!((first[0], first[1] & 0x80), (0x00, 0));
        assert!(first[2] >= 5 && first[7] & 0x02 != 0);

        let luns = data(&mut channel, &[0xa0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0]);
        assert_eq!(luns[..16], [0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    }

    #[test]
    fn the_disk_has_a_name_that_lasts() {
        let mut channel = channel_of(model());
        // Pages are only asked for if they are in the list.
        let pages = vpd(&mut channel, 0x00, VPD);
        for page in [0x80, 0x83, 0xb0, 0xb1] {
            assert!(pages[4..].contains(&page), "{page:02x}");
        }
        // A serial number is printable, or it is of no use.
        let serial = vpd(&mut channel, 0x80, VPD);
        assert_eq!(serial.len(), 4 + usize::from(serial[3]));
        assert!(serial[4..].iter().all(u8::is_ascii_graphic));
        // Multipath and clusters need a name of the unit itself, of type 1, 2, 3 or 8. All of it fits.
        let page = vpd(&mut channel, 0x83, VPD);
        assert_eq!(usize::from(u16_at(&page, 2)), page.len() - 4);
        let names = designators(&page);
        let lasting = |name: &&(u8, u8, &[u8])| name.0 == 0 && matches!(name.1, 1 | 2 | 3 | 8);
        assert!(names.iter().filter(lasting).count() >= 1);
        assert!(names.iter().any(|name| (name.0, name.1) == (0, 3)));
        // Its multipath module looks for the port and the port group that it came through.
        assert!(names.iter().any(|name| (name.0, name.1) == (1, 4)));
        assert!(names.iter().any(|name| (name.0, name.1) == (1, 5)));
    }

    #[test]
    fn limits_are_read_from_pages_that_are_long_enough() {
        let mut channel = channel_of(thin_model());
        // The driver wants 24h bytes of block limits, and a PAGE LENGTH that says so.
        let limits = vpd(&mut channel, 0xb0, VPD);
        assert!(limits.len() >= 0x24);
        assert_eq!((limits[1], u16_at(&limits, 2)), (0xb0, 0x3c));
        // It splits requests by these.
        assert_eq!(u32_at(&limits, 8), thin_model().limits.max_transfer_blocks);
        // It never sends an UNMAP if one of these is zero.
        assert!(u32_at(&limits, 20) != 0 && u32_at(&limits, 24) != 0);
        // It takes the alignment for valid only with UGAVALID.
        assert_eq!((u32_at(&limits, 28), limits[32] & 0x80), (8, 0x80));

        // No seek penalty, so no defragmentation: a rotation rate of 1, at least 6 bytes.
        let characteristics = vpd(&mut channel, 0xb1, VPD);
        assert_eq!(u16_at(&characteristics, 4), 1);
    }

    #[test]
    fn a_thin_disk_is_trimmed() {
        let mut channel = channel_of(thin_model());
        assert!(vpd(&mut channel, 0x00, VPD)[4..].contains(&0xb2));
        // The driver wants at least 8 bytes, LBPU for UNMAP and type 2 for thin provisioning.
        let page = vpd(&mut channel, 0xb2, VPD);
        assert!(page.len() >= 8 && u16_at(&page, 2) >= 4);
        assert_eq!((page[5] & 0x80, page[6] & 0x07), (0x80, 2));
        // LBPME has to agree with the page.
        assert_eq!(capacity16(&mut channel)[14] & 0x80, 0x80);
        // A format is one UNMAP after the other, each of at most what block limits say.
        let list = [
            &[0, 22, 0, 16, 0, 0, 0, 0][..],
            &[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10, 0, 0, 0, 0, 0],
        ];
        let unmap = [0x42, 0, 0, 0, 0, 0, 0, 0, 24, 0];
        let plan = block(select(&mut channel, &unmap, &list.concat()));
        assert!(matches!(plan.op, BlockOp::Unmap(_)));

        // The used and available space, for the event log: PC is 0, there is room for two parameters.
        let log = data(&mut channel, &[0x4d, 0, 0x0c, 0, 0, 0, 0, 0, 28, 0]);
        assert_eq!(
            (log[0] & 0x3f, usize::from(u16_at(&log, 2))),
            (0x0c, log.len() - 4)
        );

        // What cannot be trimmed has neither page nor log page.
        let mut channel = channel_of(model());
        assert!(!vpd(&mut channel, 0x00, VPD)[4..].contains(&0xb2));
        assert_eq!(capacity16(&mut channel)[14], 0);
    }

    #[test]
    fn capacity_and_sector_sizes() {
        let large = DiskModel {
            capacity: 1 << 33,
            ..model()
        };
        let mut channel = channel_of(large);
        // A disk of more than 2 TiB says so with ones, and is asked again.
        let ten = data(&mut channel, &[0x25, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(ten, [0xff, 0xff, 0xff, 0xff, 0, 0, 2, 0]);
        let sixteen = capacity16(&mut channel);
        assert_eq!(
            sixteen[..12],
            [0, 0, 0, 1, 0xff, 0xff, 0xff, 0xff, 0, 0, 2, 0]
        );
        // 512e: eight logical blocks in a physical one, the first of which is aligned.
        assert_eq!((sixteen[13] & 0x0f, u16_at(&sixteen, 14) & 0x3fff), (3, 0));
    }

    #[test]
    fn all_mode_pages_at_once() {
        for (read_only, protected) in [(false, 0), (true, 0x80)] {
            let mut channel = channel_of(DiskModel {
                read_only,
                ..model()
            });
            // If they did not fit into 256 bytes, the driver would ask again for less.
            let all = mode_sense(&mut channel, 0x3f);
            assert_eq!(usize::from(all[0]), all.len() - 1);
            assert!(all.len() < usize::from(MODES));
            // The disk is write protected or not, and DPO and FUA mean something.
            assert_eq!(all[2], 0x10 | protected);
            assert_eq!((all[3], &all[9..12]), (8, &[0, 2, 0][..]));
        }
    }

    #[test]
    fn the_write_cache_is_switched_in_device_manager() {
        for block_size in [512, 4096] {
            let mut channel = channel_of(DiskModel {
                block_size,
                ..model()
            });
            let sense = mode_sense(&mut channel, 0x08);
            let mut page = sense[4 + usize::from(sense[3])..].to_vec();
            assert_eq!((page[0], page[1]), (0x08, 18));
            assert_eq!(page[2] & 0x04, 0x04);
            page[2] &= !0x04;
            // Off: what is in the cache has to be written.
            let off = block(mode_select(&mut channel, block_size, &page));
            assert_eq!(off.op, BlockOp::Flush);
            assert_eq!(mode_sense(&mut channel, 0x08)[14] & 0x04, 0);
            page[2] |= 0x04;
            assert_eq!(
                respond(mode_select(&mut channel, block_size, &page)),
                Response::good()
            );
            assert_eq!(mode_sense(&mut channel, 0x08)[14] & 0x04, 0x04);
        }
    }

    #[test]
    fn failures_are_predicted_by_the_disk_that_has_the_page() {
        let mut channel = channel_of(model());
        let sense = mode_sense(&mut channel, 0x1c);
        let page = &sense[12..];
        // DEXCPT: supported, and switched off.
        assert_eq!((page[0], page[1], page[2]), (0x1c, 10, 0x08));
        // It cannot be switched on.
        let mut on = page.to_vec();
        on[2] = 0;
        let refused = sense_of(&respond(mode_select(&mut channel, 512, &on)));
        assert_eq!(refused.code, codes::INVALID_FIELD_IN_PARAMETERS);
    }

    #[test]
    fn a_host_that_shuts_down_stops_its_disks_for_itself() {
        let unit = std::sync::Arc::new(unit());
        let map = luns(&[(0, &unit)]);
        let mut leaving = ScsiSession::new(port(), None, &map).channel();
        let mut staying = ScsiSession::new(port(), None, &map).channel();
        block(leaving.plan(&command(&[0x35, 0, 0, 0, 0, 0, 0, 0, 0, 0])));
        block(leaving.plan(&command(&[0x1b, 0, 0, 0, 0, 0])));
        // The other node of a cluster goes on with the disk.
        let write = [0x2a, 0, 0, 0, 0, 0, 0, 0, 1, 0];
        block(staying.plan(&command(&write)));
        // When it wakes up again, it starts the disk, or is told to.
        assert_eq!(refused(&mut leaving, &[0; 6]).code, codes::UNIT_STOPPED);
        data(&mut leaving, &[0x1b, 0, 0, 0, 1, 0]);
        block(leaving.plan(&command(&write)));
    }
}

/// ESXi looks at names and pages of each path, then for the primitives of VAAI.
mod esxi {
    use super::*;

    const VPD: u16 = 0xff;

    #[test]
    fn a_path_is_scanned() {
        let mut channel = channel_of(thin_model());
        assert_eq!(data(&mut channel, &[0; 6]), []);
        let inquiry = data(&mut channel, &[0x12, 0, 0, 0, 0xff, 0]);
        // Vendor and model are shown, and select claim rules; the version decides what is asked for.
        assert!(
            inquiry[8..36]
                .iter()
                .all(|byte| matches!(byte, 0x20..=0x7e))
        );
        assert!(inquiry[2] >= 5);
        // Its path selection takes a target for ALUA by TPGS, which has to be true.
        assert_eq!(inquiry[5] & 0x30, 0x10);

        let pages = vpd(&mut channel, 0x00, VPD);
        assert!(pages[4..].is_sorted());
        // A missing extended INQUIRY page is complained about in its log.
        for page in &pages[4..] {
            let bytes = vpd(&mut channel, *page, VPD);
            assert_eq!(
                usize::from(u16_at(&bytes, 2)),
                bytes.len() - 4,
                "{page:02x}"
            );
        }
        for page in [0x80, 0x83, 0x86, 0xb0, 0xb1, 0xb2] {
            assert!(pages[4..].contains(&page), "{page:02x}");
        }
        // The datastore is known by the unit's NAA name, the same on every path.
        let page = vpd(&mut channel, 0x83, VPD);
        let names = designators(&page);
        let naa = names.iter().find(|name| (name.0, name.1) == (0, 3));
        assert_eq!(
            naa.expect("an NAA name").2,
            thin_model().identity.naa.as_bytes()
        );
    }

    #[test]
    fn the_path_is_active() {
        let mut channel = channel_of(model());
        let page = vpd(&mut channel, 0x83, VPD);
        let names = designators(&page);
        let of_port = |kind| {
            let name = names.iter().find(|name| (name.0, name.1) == (1, kind));
            u16_at(name.expect("a designator of the port").2, 2)
        };
        let (port, group) = (of_port(4), of_port(5));
        // The group and the port of the identification page are those of the report, active and optimized.
        let groups = data(&mut channel, &[0xa3, 0x0a, 0, 0, 0, 0, 0, 0, 0xff, 0, 0, 0]);
        assert_eq!(u32_at(&groups, 0) as usize, groups.len() - 4);
        assert_eq!((groups[4] & 0x0f, groups[5] & 0x01), (0, 1));
        assert_eq!((u16_at(&groups, 6), groups[11]), (group, 1));
        assert_eq!(u16_at(&groups, 14), port);
        // There is nothing to set, so the host does not try.
        let set = refused(&mut channel, &[0xa4, 0x0a, 0, 0, 0, 0, 0, 0, 0, 8, 0, 0]);
        assert_eq!(set.code, codes::INVALID_OPCODE);
    }

    #[test]
    fn modes() {
        let mut channel = channel_of(model());
        // Write protection and the cache; a failure of page 1Ch would be logged again and again.
        let caching = data(&mut channel, &[0x1a, 0, 0x08, 0, 0xff, 0]);
        assert_eq!((caching[2], caching[12]), (0x10, 0x08));
        let exceptions = data(&mut channel, &[0x1a, 0, 0x1c, 0, 0xff, 0]);
        assert_eq!(exceptions[12], 0x1c);
        let header = data(&mut channel, &[0x1a, 0, 0x3f, 0, 0x24, 0]);
        assert_eq!(header.len(), 0x24);
        // Health, as its monitoring reads it; ATA PASS-THROUGH is not there, which it is used to.
        let log = data(&mut channel, &[0x4d, 0, 0x40, 0, 0, 0, 0, 0, 0xff, 0]);
        for page in [0x02, 0x03, 0x0d, 0x2f] {
            assert!(log[4..].contains(&page), "{page:02x}");
        }
        assert_eq!(
            refused(&mut channel, &[0x85; 16]).code,
            codes::INVALID_OPCODE
        );
    }

    /// REPORT SUPPORTED OPERATION CODES for one command: whether it is there "as the standard says".
    fn supported(channel: &mut ScsiChannel, opcode: u8, action: Option<u8>) -> bool {
        let options = if action.is_some() { 2 } else { 1 };
        let cdb = [
            0xa3,
            0x0c,
            options,
            opcode,
            0,
            action.unwrap_or(0),
            0,
            0,
            2,
            0,
            0,
            0,
        ];
        let report = data(channel, &cdb);
        report[1] & 0x07 == 3
    }

    #[test]
    fn hardware_acceleration() {
        let mut channel = channel_of(thin_model());
        let limits = vpd(&mut channel, 0xb0, VPD);
        // ATS: COMPARE AND WRITE of at least one block.
        assert!(supported(&mut channel, 0x89, None));
        assert!(limits[5] >= 1);
        // Zero: WRITE SAME (16), with a limit.
        assert!(supported(&mut channel, 0x93, None));
        assert_eq!(
            u32_at(&limits, 40),
            thin_model().limits.max_write_same_blocks
        );
        // Delete: UNMAP, of a unit that says LBPME and LBPU. VMFS only reclaims by itself up to a granularity of 1 MiB.
        assert!(supported(&mut channel, 0x42, None));
        assert_eq!(capacity16(&mut channel)[14] & 0x80, 0x80);
        assert_eq!(vpd(&mut channel, 0xb2, VPD)[5] & 0x80, 0x80);
        assert!(u32_at(&limits, 28) * 512 <= 1 << 20);
        // Clone: EXTENDED COPY (LID1) of identification descriptors, as 3PC and the third-party copy page say.
        assert!(supported(&mut channel, 0x83, Some(0x00)));
        assert_eq!(data(&mut channel, &[0x12, 0, 0, 0, 36, 0])[5] & 0x08, 0x08);
        let third_party_copy = vpd(&mut channel, 0x8f, VPD);
        assert_eq!(third_party_copy[4..6], [0x00, 0x01]);
        let mut parameters = [0; 16];
        (parameters[0], parameters[1], parameters[13]) = (0x84, 0x03, 0xff);
        assert!(data(&mut channel, &parameters).len() >= 44);

        // A disk without them says so in the same way.
        let none = DiskModel {
            limits: Limits {
                max_compare_and_write_blocks: 0,
                ..Limits::default()
            },
            ..model()
        };
        let mut channel = channel_of(none);
        for opcode in [0x89, 0x93, 0x42] {
            assert!(!supported(&mut channel, opcode, None), "{opcode:02x}");
        }
        assert_eq!(vpd(&mut channel, 0xb0, VPD)[5], 0);
    }
}

/// Linux, and the tools that its administrators use.
mod linux {
    use super::*;

    #[test]
    fn a_disk_is_attached() {
        let mut channel = channel_of(thin_model());
        assert_eq!(data(&mut channel, &[0x12, 0, 0, 0, 36, 0]).len(), 36);
        // Pages are cached with room for 255 bytes; the list says which.
        for page in &vpd(&mut channel, 0x00, 255)[4..] {
            assert!(vpd(&mut channel, *page, 255).len() >= 4);
        }
        // Headers first: one with room for four bytes, then as long as they say.
        let header = data(&mut channel, &[0x1a, 0x08, 0x3f, 0, 4, 0]);
        assert_eq!(header.len(), 4);
        let caching = data(&mut channel, &[0x1a, 0x08, 0x08, 0, 64, 0]);
        assert_eq!((caching[4], caching[6] & 0x04), (0x08, 0x04));
        // WRITE SAME is only used if it is reported, by its operation code alone.
        let cdb = [0xa3, 0x0c, 1, 0x93, 0, 0, 0, 0, 2, 0, 0, 0];
        assert_eq!(data(&mut channel, &cdb)[1] & 0x07, 3);
        // IO hints are optional, and only asked for in the long form.
        let hints = [0x5a, 0x18, 0x0a, 0x05, 0, 0, 0, 2, 0, 0];
        assert_eq!(refused(&mut channel, &hints), Sense::cdb_byte(3));
    }

    #[test]
    fn asymmetric_access_is_taken_from_the_extended_header() {
        let mut channel = channel_of(model());
        let cdb = [0xa3, 0x2a, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0];
        let groups = data(&mut channel, &cdb);
        // FORMAT TYPE 1: the descriptors start at byte 8.
        assert_eq!(groups[4] & 0x70, 0x10);
        assert_eq!((groups[8] & 0x0f, u16_at(&groups, 10)), (0, 2));
    }

    #[test]
    fn smartctl() {
        let mut channel = channel_of(model());
        // The list of pages twice: four bytes, then all.
        assert_eq!(
            data(&mut channel, &[0x4d, 0, 0x40, 0, 0, 0, 0, 0, 4, 0]).len(),
            4
        );
        let pages = data(&mut channel, &[0x4d, 0, 0x40, 0, 0, 0, 0, 0, 252, 0]);
        for page in &pages[5..] {
            let header = data(&mut channel, &[0x4d, 0, 0x40 | page, 0, 0, 0, 0, 0, 4, 0]);
            let [high, low] = (u16_at(&header, 2) + 4).to_be_bytes();
            let cdb = [0x4d, 0, 0x40 | page, 0, 0, 0, 0, high, low, 0];
            let whole = data(&mut channel, &cdb);
            assert_eq!(
                whole.len(),
                usize::from(u16_at(&whole, 2)) + 4,
                "{page:02x}"
            );
        }
        // Healthy: no informational exception. No temperature: FFh.
        let exceptions = data(&mut channel, &[0x4d, 0, 0x6f, 0, 0, 0, 0, 0, 252, 0]);
        assert_eq!(exceptions[8..11], [0, 0, 0xff]);
        // A short self-test in the background is not there; the default one passes.
        assert_eq!(
            refused(&mut channel, &[0x1d, 0x20, 0, 0, 0, 0]),
            Sense::cdb_bits(1, 7)
        );
        assert_eq!(data(&mut channel, &[0x1d, 0x04, 0, 0, 0, 0]), []);
    }
}
