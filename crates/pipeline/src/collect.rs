//! Collecting the next group: bounded by events, bytes and delay, with the transforms applied on the way in.

use std::sync::Arc;
use std::time::Duration;

use tailwater_model::{Batch, DeadLetter, Group, ServiceTime, Transform};
use tokio::time::Instant;

/// The transforms of a pipeline, in order.
pub(crate) type Transforms = Arc<Vec<Box<dyn Transform>>>;

/// Most batches of a group, those without events too: a step takes a row of the sink.
const GROUP_BATCHES_MAX: usize = 1_000;

/// Bounds of a group (I6).
#[derive(Clone, Copy, Debug)]
pub(crate) struct GroupLimits {
    pub(crate) events_max: usize,
    pub(crate) bytes_max: usize,
    pub(crate) delay_max: Duration,
}

/// The group that grows while the one before it is being committed.
pub(crate) struct Collecting {
    limits: GroupLimits,
    transforms: Transforms,
    group: Group,
    events: usize,
    bytes: usize,
    due_at: Option<Instant>,
}

impl Collecting {
    pub(crate) fn new(limits: GroupLimits, transforms: Transforms) -> Self {
        Self { limits, transforms, group: Group::default(), events: 0, bytes: 0, due_at: None }
    }

    /// Whether another batch may come in. The last one may overshoot the bounds: a page is never cut.
    pub(crate) fn has_room(&self) -> bool {
        self.events < self.limits.events_max
            && self.bytes < self.limits.bytes_max
            && self.group.batches.len() < GROUP_BATCHES_MAX
            && !self.has_stop_gap()
    }

    /// When the group is to be committed even if it is not full; nothing while it is empty.
    pub(crate) fn due_at(&self) -> Option<Instant> {
        self.due_at
    }

    pub(crate) fn push(&mut self, mut batch: Batch) {
        // Counted before the transforms: what was read is what fills memory and time.
        self.events += batch.events.len();
        self.bytes += batch.bytes;
        transform(&mut batch, &self.transforms);
        self.group.batches.push(batch);
        self.begin_delay();
    }

    pub(crate) fn stream_known(&mut self, since: ServiceTime) {
        self.group.known_since = Some(since);
        self.begin_delay();
    }

    /// Hands over the group and begins an empty one.
    pub(crate) fn take(&mut self) -> Group {
        self.events = 0;
        self.bytes = 0;
        self.due_at = None;
        std::mem::take(&mut self.group)
    }

    fn begin_delay(&mut self) {
        self.due_at.get_or_insert_with(|| Instant::now() + self.limits.delay_max);
    }

    fn has_stop_gap(&self) -> bool {
        self.group.batches.last().and_then(|batch| batch.gap.as_ref()).is_some_and(|gap| gap.stop)
    }
}

/// Runs the events through all transforms. The step is never touched (I5): what is dropped is counted as filtered, what
/// is refused goes to the dead letters whole, as it was before the first transform.
fn transform(batch: &mut Batch, transforms: &[Box<dyn Transform>]) {
    if transforms.is_empty() {
        return;
    }
    let mut carried = Vec::with_capacity(batch.events.len());
    for event in std::mem::take(&mut batch.events) {
        let mut results = vec![event.clone()];
        let refused = transforms.iter().find_map(|transform| {
            let mut out = Vec::with_capacity(results.len());
            let refused = results.drain(..).find_map(|event| transform.apply(event, &mut out).err());
            results = out;
            refused
        });
        match refused {
            Some(rejected) => batch.dead_letters.push(DeadLetter::of_event(&event, rejected)),
            None if results.is_empty() => batch.counts.filtered += 1,
            None => carried.append(&mut results),
        }
    }
    batch.events = carried;
}
