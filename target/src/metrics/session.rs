//! What a session has done: the sum over its connections, which live on different shards.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::meter::{Measured, Meter};

/// The meters of a session's connections. Touched when one of them comes or goes, and when somebody asks.
#[derive(Debug, Default)]
pub struct SessionMeters {
    meters: Mutex<Meters>,
}

#[derive(Debug, Default)]
struct Meters {
    connected: Vec<Arc<Meter>>,
    /// What connections have counted that are gone.
    gone: Measured,
}

impl SessionMeters {
    /// A connection is the session's from now on.
    pub fn join(&self, meter: &Arc<Meter>) {
        self.lock().connected.push(Arc::clone(meter));
    }

    /// A connection is gone, and counts no more.
    pub fn leave(&self, meter: &Arc<Meter>) {
        let mut meters = self.lock();
        let found = (meters.connected.iter()).position(|one| Arc::ptr_eq(one, meter));
        if let Some(at) = found {
            let meter = meters.connected.swap_remove(at);
            meters.gone.add(&meter.read());
        }
    }

    /// All that was counted since the session began.
    pub fn total(&self) -> Measured {
        let meters = self.lock();
        let mut total = meters.gone;
        for meter in &meters.connected {
            total.add(&meter.read());
        }
        total
    }

    /// The list is never left half changed.
    fn lock(&self) -> MutexGuard<'_, Meters> {
        self.meters.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::meter::{CommandKind, Sample};

    #[test]
    fn what_connections_have_counted_outlives_them() {
        let session = SessionMeters::default();
        let (one, two) = (Arc::<Meter>::default(), Arc::<Meter>::default());
        session.join(&one);
        session.join(&two);
        one.note(&Sample::new(CommandKind::Read, 1_000, 512));
        two.note(&Sample::new(CommandKind::Read, 2_000, 512));
        assert_eq!(session.total().read.bytes, 1024);
        session.leave(&one);
        assert_eq!(session.total().read.bytes, 1024);
        // Once is enough.
        session.leave(&one);
        two.note(&Sample::new(CommandKind::Write, 2_000, 4096));
        let total = session.total();
        assert_eq!(total.read.times.count(), 2);
        assert_eq!(total.read.times.sum_us, 3);
        assert_eq!(total.write.bytes, 4096);
    }
}
