//! Changes of reservations: one after the other, on a thread of their own, since a change is on stable storage before it is
//! acknowledged.

use std::io;
use std::thread;

use crossbeam_channel::Sender;
use pagecast_core::reservations::{Change, Refusal};

use super::Control;
use crate::device::Device;
use crate::shard::messages::{Mailer, ReservationWork, Reserved, ShardMessage};

impl Control {
    /// Has changes of reservations made by a thread from now on.
    pub(super) fn reserve_by_thread(&mut self) -> io::Result<()> {
        let shards: Vec<_> = self.shards.iter().map(|shard| shard.mail.clone()).collect();
        let (works, taken) = crossbeam_channel::unbounded::<Box<ReservationWork>>();
        thread::Builder::new()
            .name("reservations".to_owned())
            .spawn(move || {
                for work in taken {
                    finish(&work, &shards);
                }
            })?;
        self.reservations = Some(works);
        Ok(())
    }

    /// Makes a change of reservations, or has it made.
    pub(super) fn reserve(&mut self, work: Box<ReservationWork>) {
        let work = match &self.reservations {
            // There are as many as there are commands in flight, at most.
            Some(works) => match works.send(work) {
                Ok(()) => return,
                Err(back) => back.into_inner(),
            },
            None => work,
        };
        let shards: Vec<_> = self.shards.iter().map(|shard| shard.mail.clone()).collect();
        finish(&work, &shards);
    }
}

/// Where works are sent to.
pub(super) type Works = Sender<Box<ReservationWork>>;

fn finish(work: &ReservationWork, shards: &[Mailer<ShardMessage>]) {
    let outcome = change(&work.device, &work.change);
    if let Some(shard) = shards.get(usize::from(work.shard)) {
        shard.send(ShardMessage::Reserved(work.task, outcome));
    }
}

/// Changes the reservations of a device: in its file first, then for everybody.
fn change(device: &Device, change: &Change) -> Result<Reserved, Refusal> {
    let prepared = device.unit.reservations().begin(change)?;
    if let (true, Some(table)) = (prepared.must_be_saved(), prepared.table())
        && let Err(error) = device.reservations.save(table)
    {
        tracing::error!(device = %device.name, %error, "cannot save reservations; the command fails");
        return Err(Refusal::NotSaved);
    }
    let aborted = prepared.commit();
    tracing::info!(device = %device.name, by = ?change.by, action = ?change.action, "reservations");
    Ok(Reserved { aborted })
}
