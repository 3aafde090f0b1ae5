//! What a session's recent copies came to, for RECEIVE COPY RESULTS (SPC-4).

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::LIMITS;
use crate::block::CopySegment;
use crate::scsi::sense::Sense;
use crate::scsi::unit::UnitId;

/// The copies of a session that it may still ask about, latest last.
#[derive(Debug, Default)]
pub(crate) struct CopyNotes(Mutex<VecDeque<Note>>);

#[derive(Debug)]
struct Note {
    /// Whose copy manager it was.
    unit: UnitId,
    list_identifier: u8,
    segments: Vec<CopySegment>,
    outcome: Option<Result<(), Sense>>,
    /// The outcome has not been reported.
    status_held: bool,
}

/// What is known about a copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Outcome {
    /// Nothing while it goes on.
    pub(super) result: Option<Result<(), Sense>>,
    pub(super) segments: usize,
    pub(super) bytes: u64,
}

impl CopyNotes {
    /// A copy begins, unless as many as there may be are under way. An earlier one with its list identifier is forgotten.
    #[must_use]
    pub(super) fn begin(
        &self,
        unit: UnitId,
        list_identifier: u8,
        segments: &[CopySegment],
    ) -> bool {
        let mut notes = self.lock();
        notes.retain(|note| !note.is(unit, list_identifier));
        if notes.len() >= LIMITS.concurrent.into() {
            let Some(ended) = notes.iter().position(|note| note.outcome.is_some()) else {
                return false;
            };
            notes.remove(ended);
        }
        notes.push_back(Note {
            unit,
            list_identifier,
            segments: segments.to_vec(),
            outcome: None,
            status_held: true,
        });
        true
    }

    /// The copy ended before its first segment was touched.
    pub(super) fn fail(&self, unit: UnitId, list_identifier: u8, sense: Sense) {
        if self.begin(unit, list_identifier, &[]) {
            self.end(unit, &[], Err(sense));
        }
    }

    /// A copy has ended. It is known by what it copied; of several that copy the same, it does not matter which one it was.
    pub(crate) fn end(&self, unit: UnitId, segments: &[CopySegment], outcome: Result<(), Sense>) {
        let mut notes = self.lock();
        let note = notes
            .iter_mut()
            .find(|note| note.unit == unit && note.outcome.is_none() && note.segments == segments);
        if let Some(note) = note {
            note.outcome = Some(outcome);
        }
    }

    /// COPY STATUS: an outcome is told once.
    pub(super) fn take_status(&self, unit: UnitId, list_identifier: u8) -> Option<Outcome> {
        let mut notes = self.lock();
        let note = notes
            .iter_mut()
            .find(|note| note.is(unit, list_identifier) && note.status_held)?;
        note.status_held = note.outcome.is_none();
        // What of a failed copy was done is not known.
        let done: &[CopySegment] = match note.outcome {
            Some(Ok(())) => &note.segments,
            Some(Err(_)) | None => &[],
        };
        Some(Outcome {
            result: note.outcome,
            segments: done.len(),
            bytes: done.iter().map(|segment| segment.bytes).sum(),
        })
    }

    /// FAILED SEGMENT DETAILS: they are told once, and then the copy is forgotten.
    pub(super) fn take_failure(&self, unit: UnitId, list_identifier: u8) -> Option<Sense> {
        let mut notes = self.lock();
        let at = notes
            .iter()
            .position(|note| note.is(unit, list_identifier))?;
        let sense = notes.get(at)?.outcome?.err()?;
        notes.remove(at);
        Some(sense)
    }

    /// Every state of the notes is a good one, so a panic elsewhere does not spoil them.
    fn lock(&self) -> MutexGuard<'_, VecDeque<Note>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Note {
    fn is(&self, unit: UnitId, list_identifier: u8) -> bool {
        self.unit == unit && self.list_identifier == list_identifier
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scsi::sense::codes;

    const UNIT: UnitId = UnitId(3);

    fn segment(bytes: u64) -> CopySegment {
        CopySegment {
            source: UNIT,
            source_offset: 0,
            destination: UNIT,
            destination_offset: 1 << 20,
            bytes,
        }
    }

    #[test]
    fn an_outcome_is_told_once() {
        let notes = CopyNotes::default();
        assert_eq!(notes.take_status(UNIT, 1), None);
        assert!(notes.begin(UNIT, 1, &[segment(512), segment(1024)]));
        let going = notes.take_status(UNIT, 1).expect("known");
        assert_eq!((going.result, going.segments), (None, 0));
        notes.end(UNIT, &[segment(512), segment(1024)], Ok(()));
        assert_eq!(notes.take_status(UnitId(4), 1), None);
        let done = notes.take_status(UNIT, 1).expect("known");
        assert_eq!(
            done,
            Outcome {
                result: Some(Ok(())),
                segments: 2,
                bytes: 1536
            }
        );
        assert_eq!(notes.take_status(UNIT, 1), None);
        assert_eq!(notes.take_failure(UNIT, 1), None);
    }

    #[test]
    fn a_failure_has_details() {
        let notes = CopyNotes::default();
        let sense = Sense::from(codes::COPY_DEVICE_FAILURE);
        assert!(notes.begin(UNIT, 1, &[segment(512)]));
        assert_eq!(notes.take_failure(UNIT, 1), None);
        notes.end(UNIT, &[segment(512)], Err(sense));
        let failed = notes.take_status(UNIT, 1).expect("known");
        assert_eq!((failed.result, failed.bytes), (Some(Err(sense)), 0));
        assert_eq!(notes.take_status(UNIT, 1), None);
        assert_eq!(notes.take_failure(UNIT, 1), Some(sense));
        assert_eq!(notes.take_failure(UNIT, 1), None);
    }

    #[test]
    fn copies_at_the_same_time_are_kept_apart() {
        let notes = CopyNotes::default();
        assert!(notes.begin(UNIT, 1, &[segment(512)]));
        assert!(notes.begin(UNIT, 2, &[segment(1024)]));
        notes.end(UNIT, &[segment(1024)], Ok(()));
        assert_eq!(notes.take_status(UNIT, 1).expect("known").result, None);
        assert_eq!(
            notes.take_status(UNIT, 2).expect("known").result,
            Some(Ok(()))
        );
    }

    #[test]
    fn the_oldest_notes_make_room() {
        let notes = CopyNotes::default();
        assert!(notes.begin(UNIT, 0, &[segment(512)]));
        for list in 1..=LIMITS.concurrent {
            assert!(notes.begin(UNIT, list, &[]));
            notes.end(UNIT, &[], Ok(()));
        }
        // But those that are under way stay.
        assert!(notes.take_status(UNIT, 0).is_some());
        assert_eq!(notes.take_status(UNIT, 1), None);
        assert!(notes.take_status(UNIT, 2).is_some());
        // A list identifier that is used again needs no room.
        assert!(notes.begin(UNIT, 4, &[]));
        assert!(notes.take_status(UNIT, 3).is_some());
    }

    #[test]
    fn no_more_are_under_way_than_there_may_be() {
        let notes = CopyNotes::default();
        for list in 0..LIMITS.concurrent {
            assert!(notes.begin(UNIT, list, &[segment(512)]));
        }
        assert!(!notes.begin(UNIT, 99, &[segment(512)]));
        assert_eq!(notes.take_status(UNIT, 99), None);
        notes.end(UNIT, &[segment(512)], Ok(()));
        assert!(notes.begin(UNIT, 99, &[segment(512)]));
    }
}
