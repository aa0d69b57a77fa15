//! What the sink takes of a batch, and what it sets aside.

use tailwater_model::{Batch, ChangeEvent, Rejected};

/// Offers each event to the sink. What the sink refuses goes to the dead letters of the same batch (I5).
pub(crate) fn set_refused_aside(batch: &mut Batch, mut offer: impl FnMut(&ChangeEvent) -> Result<(), Rejected>) {
    for event in std::mem::take(&mut batch.events) {
        match offer(&event) {
            Ok(()) => batch.events.push(event),
            Err(rejected) => batch.refuse(&event, rejected),
        }
    }
}
