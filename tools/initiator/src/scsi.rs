//! A few command descriptor blocks, so that tests and benchmarks need not spell them out.

pub mod reserve;

/// The logical unit number `lun` in peripheral or flat space addressing (SAM-5 4.7.5).
pub fn lun(lun: u16) -> [u8; 8] {
    let [high, low] = lun.to_be_bytes();
    let method = if high == 0 { 0 } else { 0x40 };
    [method | (high & 0x3f), low, 0, 0, 0, 0, 0, 0]
}

/// Sense key, additional sense code and qualifier, of fixed or descriptor format sense data (SPC-5 4.4).
pub fn sense(data: &[u8]) -> Option<(u8, u8, u8)> {
    let (key, code, qualifier) = match data.first()? & 0x7f {
        0x70 | 0x71 => (2, 12, 13),
        0x72 | 0x73 => (1, 2, 3),
        _ => return None,
    };
    Some((
        data.get(key)? & 0x0f,
        data.get(code).copied().unwrap_or(0),
        data.get(qualifier).copied().unwrap_or(0),
    ))
}

/// TEST UNIT READY
pub fn test_unit_ready() -> Vec<u8> {
    vec![0; 6]
}

/// INQUIRY for standard data, or for a page of vital product data.
pub fn inquiry(page: Option<u8>, allocation: u16) -> Vec<u8> {
    let [high, low] = allocation.to_be_bytes();
    vec![
        0x12,
        u8::from(page.is_some()),
        page.unwrap_or(0),
        high,
        low,
        0,
    ]
}

/// REPORT LUNS
pub fn report_luns(allocation: u32) -> Vec<u8> {
    let mut cdb = vec![0xa0, 0, 0, 0, 0, 0];
    cdb.extend(allocation.to_be_bytes());
    cdb.extend([0, 0]);
    cdb
}

/// READ CAPACITY (16)
pub fn read_capacity16(allocation: u32) -> Vec<u8> {
    let mut cdb = vec![0x9e, 0x10];
    cdb.extend([0; 8]);
    cdb.extend(allocation.to_be_bytes());
    cdb.extend([0, 0]);
    cdb
}

/// READ (16)
pub fn read16(lba: u64, blocks: u32) -> Vec<u8> {
    block16(0x88, 0, lba, blocks)
}

/// WRITE (16), with the forced unit access bit on demand.
pub fn write16(lba: u64, blocks: u32, fua: bool) -> Vec<u8> {
    block16(0x8a, u8::from(fua) << 3, lba, blocks)
}

/// SYNCHRONIZE CACHE (16) of the whole device.
pub fn synchronize_cache() -> Vec<u8> {
    block16(0x91, 0, 0, 0)
}

/// COMPARE AND WRITE
pub fn compare_and_write(lba: u64, blocks: u8, fua: bool) -> Vec<u8> {
    let mut cdb = vec![0x89, u8::from(fua) << 3];
    cdb.extend(lba.to_be_bytes());
    cdb.extend([0, 0, 0, blocks, 0, 0]);
    cdb
}

/// ORWRITE (16)
pub fn orwrite16(lba: u64, blocks: u32) -> Vec<u8> {
    block16(0x8b, 0, lba, blocks)
}

/// WRITE AND VERIFY (16), with its BYTCHK field.
pub fn write_and_verify16(lba: u64, blocks: u32, bytchk: u8) -> Vec<u8> {
    block16(0x8e, bytchk << 1, lba, blocks)
}

/// VERIFY (16), with its BYTCHK field.
pub fn verify16(lba: u64, blocks: u32, bytchk: u8) -> Vec<u8> {
    block16(0x8f, bytchk << 1, lba, blocks)
}

/// PRE-FETCH (16)
pub fn prefetch16(lba: u64, blocks: u32) -> Vec<u8> {
    block16(0x90, 0, lba, blocks)
}

/// WRITE SAME (16), with the UNMAP and NDOB bits on demand.
pub fn write_same16(lba: u64, blocks: u32, unmap: bool, no_data: bool) -> Vec<u8> {
    let flags = u8::from(unmap) << 3 | u8::from(no_data);
    block16(0x93, flags, lba, blocks)
}

/// GET LBA STATUS (16)
pub fn get_lba_status(lba: u64, allocation: u32) -> Vec<u8> {
    let mut cdb = vec![0x9e, 0x12];
    cdb.extend(lba.to_be_bytes());
    cdb.extend(allocation.to_be_bytes());
    cdb.extend([0, 0]);
    cdb
}

/// LOG SENSE for the cumulative values of a page.
pub fn log_sense(page: u8, allocation: u16) -> Vec<u8> {
    let [high, low] = allocation.to_be_bytes();
    vec![0x4d, 0, 0x40 | page, 0, 0, 0, 0, high, low, 0]
}

/// UNMAP, and its parameter list of first blocks and numbers of blocks.
pub fn unmap(ranges: &[(u64, u32)]) -> (Vec<u8>, Vec<u8>) {
    let length = 8 + 16 * ranges.len() as u16;
    let [high, low] = length.to_be_bytes();
    let mut list = (length - 2).to_be_bytes().to_vec();
    list.extend((length - 8).to_be_bytes());
    list.extend([0; 4]);
    for (lba, blocks) in ranges {
        list.extend(lba.to_be_bytes());
        list.extend(blocks.to_be_bytes());
        list.extend([0; 4]);
    }
    (vec![0x42, 0, 0, 0, 0, 0, 0, high, low, 0], list)
}

/// EXTENDED COPY (LID1) between two logical units, named by their NAA identifiers, and its parameter list. Segments are
/// a first block, another one where they go, and a number of blocks.
pub fn extended_copy(
    source: &[u8],
    destination: &[u8],
    block_size: u32,
    segments: &[(u64, u64, u16)],
) -> (Vec<u8>, Vec<u8>) {
    let mut list = vec![1, 0];
    list.extend((32 * 2u16).to_be_bytes());
    list.extend([0; 4]);
    list.extend((28 * segments.len() as u32).to_be_bytes());
    list.extend([0; 4]);
    for name in [source, destination] {
        let mut target = vec![0xe4, 0, 0, 0, 1, 3, 0, name.len() as u8];
        target.extend(name);
        target.resize(28, 0);
        target.extend(&block_size.to_be_bytes());
        list.extend(target);
    }
    for (from, to, blocks) in segments {
        list.extend([0x02, 0, 0, 24, 0, 0, 0, 1, 0, 0]);
        list.extend(blocks.to_be_bytes());
        list.extend(from.to_be_bytes());
        list.extend(to.to_be_bytes());
    }
    let mut cdb = vec![0x83, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    cdb.extend((list.len() as u32).to_be_bytes());
    cdb.extend([0, 0]);
    (cdb, list)
}

fn block16(opcode: u8, flags: u8, lba: u64, blocks: u32) -> Vec<u8> {
    let mut cdb = vec![opcode, flags];
    cdb.extend(lba.to_be_bytes());
    cdb.extend(blocks.to_be_bytes());
    cdb.extend([0, 0]);
    cdb
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms() {
        assert_eq!(lun(3), [0, 3, 0, 0, 0, 0, 0, 0]);
        assert_eq!(lun(0x1234), [0x52, 0x34, 0, 0, 0, 0, 0, 0]);
        assert_eq!(inquiry(Some(0x83), 255), [0x12, 1, 0x83, 0, 255, 0]);
        assert_eq!(
            write16(0x0102, 8, true),
            [0x8a, 8, 0, 0, 0, 0, 0, 0, 1, 2, 0, 0, 0, 8, 0, 0]
        );
        assert_eq!(
            compare_and_write(0x0102, 3, true),
            [0x89, 8, 0, 0, 0, 0, 0, 0, 1, 2, 0, 0, 0, 3, 0, 0]
        );
        assert_eq!(verify16(0, 1, 3)[..2], [0x8f, 6]);
        let (cdb, list) = unmap(&[(0x0102, 3)]);
        assert_eq!(cdb[7..9], [0, 24]);
        assert_eq!(list[..8], [0, 22, 0, 16, 0, 0, 0, 0]);
        assert_eq!(list[8..], [0, 0, 0, 0, 0, 0, 1, 2, 0, 0, 0, 3, 0, 0, 0, 0]);
        let (cdb, list) = extended_copy(&[6; 16], &[7; 16], 512, &[(1, 2, 3)]);
        assert_eq!(cdb[10..14], [0, 0, 0, 108]);
        assert_eq!(list.len(), 16 + 64 + 28);
        assert_eq!(list[80..92], [2, 0, 0, 24, 0, 0, 0, 1, 0, 0, 0, 3]);
        assert_eq!(read_capacity16(32)[10..14], [0, 0, 0, 32]);
        assert_eq!(report_luns(16).len(), 12);
    }
}
