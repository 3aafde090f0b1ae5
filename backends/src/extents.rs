//! Where a store has data and where it has holes.

use std::os::fd::AsFd;

use rustix::fs::SeekFrom;
use rustix::io::Errno;

use crate::StoredExtent;
use crate::open::{Kind, Store};

/// The first `most` extents of a range.
///
/// It moves the position of the open file, which nobody uses: all I/O names its offset. What changes at the same time is
/// reported as it was before or after, or cut in two.
pub(crate) fn find(
    store: &Store,
    offset: u64,
    length: u64,
    most: usize,
) -> Result<Vec<StoredExtent>, Errno> {
    // A block device knows what it has deallocated, but does not tell.
    if store.kind() == Kind::BlockDevice {
        return Ok(everything(offset, length, most));
    }
    walk(offset, length, most, |from| {
        rustix::fs::seek(store.as_fd(), from)
    })
}

fn everything(offset: u64, length: u64, most: usize) -> Vec<StoredExtent> {
    let all = StoredExtent {
        offset,
        length,
        mapped: true,
    };
    let some = most > 0 && length > 0;
    some.then_some(all).into_iter().collect()
}

fn walk(
    offset: u64,
    length: u64,
    most: usize,
    seek: impl Fn(SeekFrom) -> Result<u64, Errno>,
) -> Result<Vec<StoredExtent>, Errno> {
    let end = offset.saturating_add(length);
    let mut extents: Vec<StoredExtent> = Vec::new();
    let mut at = offset;
    while at < end && extents.len() <= most {
        let data = match seek(SeekFrom::Data(at)) {
            Ok(data) => data.clamp(at, end),
            // No data from here to the end of the file.
            Err(Errno::NXIO) => end,
            // The file system knows of no holes.
            Err(Errno::INVAL | Errno::OPNOTSUPP) => return Ok(everything(offset, length, most)),
            Err(errno) => return Err(errno),
        };
        append(&mut extents, at, data, false);
        if data == end {
            break;
        }
        // There is a hole at the end of every file. One right here was punched since.
        let hole = match seek(SeekFrom::Hole(data)) {
            Ok(hole) => hole.clamp(data, end),
            Err(Errno::NXIO) => data,
            Err(errno) => return Err(errno),
        };
        append(&mut extents, data, hole, true);
        if hole == at {
            // No progress would be made by asking again: what vanishes under our eyes counts as stored.
            append(&mut extents, at, end, true);
            break;
        }
        at = hole;
    }
    // One more than asked for was looked at, because the last one may have gone on.
    extents.truncate(most);
    Ok(extents)
}

/// Adds a stretch, to the last extent if it is of the same kind.
fn append(extents: &mut Vec<StoredExtent>, from: u64, to: u64, mapped: bool) {
    if from == to {
        return;
    }
    match extents.last_mut() {
        Some(last) if last.mapped == mapped => last.length += to - from,
        _ => extents.push(StoredExtent {
            offset: from,
            length: to - from,
            mapped,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file with data in `stretches`, of `size` bytes.
    fn file(stretches: &[(u64, u64)], size: u64) -> impl Fn(SeekFrom) -> Result<u64, Errno> {
        move |from| match from {
            SeekFrom::Data(at) if at < size => stretches
                .iter()
                .find(|(_, end)| at < *end)
                .map(|(start, _)| at.max(*start))
                .ok_or(Errno::NXIO),
            SeekFrom::Hole(at) if at < size => Ok(stretches
                .iter()
                .find(|(start, end)| *start <= at && at < *end)
                .map_or(at, |(_, end)| *end)),
            _ => Err(Errno::NXIO),
        }
    }

    fn found(
        stretches: &[(u64, u64)],
        offset: u64,
        length: u64,
        most: usize,
    ) -> Vec<(u64, u64, bool)> {
        walk(offset, length, most, file(stretches, 1 << 20))
            .unwrap()
            .iter()
            .map(|extent| (extent.offset, extent.length, extent.mapped))
            .collect()
    }

    #[test]
    fn data_and_holes_alternate_without_gaps() {
        let stretches = [(4096, 8192), (12_288, 16_384)];
        assert_eq!(
            found(&stretches, 0, 1 << 20, 9),
            [
                (0, 4096, false),
                (4096, 4096, true),
                (8192, 4096, false),
                (12_288, 4096, true),
                (16_384, (1 << 20) - 16_384, false),
            ]
        );
        assert_eq!(found(&stretches, 5000, 1000, 9), [(5000, 1000, true)]);
        assert_eq!(
            found(&stretches, 8000, 1000, 9),
            [(8000, 192, true), (8192, 808, false)]
        );
        assert_eq!(found(&[], 512, 1024, 9), [(512, 1024, false)]);
        assert_eq!(found(&stretches, 512, 0, 9), []);
    }

    #[test]
    fn no_more_than_asked_for() {
        let stretches = [(0, 4096), (8192, 12_288), (16_384, 20_480)];
        for most in 0..6 {
            let extents = found(&stretches, 0, 20_480, most);
            assert_eq!(extents.len(), most.min(5));
            assert!(extents.iter().all(|extent| extent.1 == 4096));
        }
    }

    #[test]
    fn what_cannot_be_told_is_stored() {
        let all = [StoredExtent {
            offset: 100,
            length: 900,
            mapped: true,
        }];
        assert_eq!(walk(100, 900, 4, |_| Err(Errno::INVAL)).unwrap(), all);
        assert_eq!(walk(100, 900, 4, |_| Err(Errno::IO)), Err(Errno::IO));
        // A hole that opens between both questions.
        let vanishing = |from| match from {
            SeekFrom::Data(at) | SeekFrom::Hole(at) => Ok(at),
            _ => Err(Errno::INVAL),
        };
        assert_eq!(walk(100, 900, 4, vanishing).unwrap(), all);
    }
}
