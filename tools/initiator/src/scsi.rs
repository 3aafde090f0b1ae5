//! A few command descriptor blocks, so that tests and benchmarks need not spell them out.

/// The logical unit number `lun` in peripheral or flat space addressing (SAM-5 4.7.5).
pub fn lun(lun: u16) -> [u8; 8] {
    let [high, low] = lun.to_be_bytes();
    let method = if high == 0 { 0 } else { 0x40 };
    [method | (high & 0x3f), low, 0, 0, 0, 0, 0, 0]
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
        assert_eq!(read_capacity16(32)[10..14], [0, 0, 0, 32]);
        assert_eq!(report_luns(16).len(), 12);
    }
}
