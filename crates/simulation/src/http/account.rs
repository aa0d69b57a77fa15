//! One account: its tables and its streams, by the names of the API's operations.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::control::{self, Verb, Wanted};
use super::failures::PlannedFailures;
use super::fault::{Broken, WireManners};
use super::names;
use super::streams;
use super::tables::Tables;
use super::wire::Refusal;
use crate::service::{Manners, Service};

/// What stands before the operation in `X-Amz-Target`.
const TABLES_TARGET: &str = "DynamoDB_20120810.";
const STREAMS_TARGET: &str = "DynamoDBStreams_20120810.";

/// Tables and streams of one account in one region.
pub struct Account {
    service: Service,
    tables: Tables,
    wire: WireManners,
    wire_hits: BTreeMap<&'static str, u64>,
    planned: PlannedFailures,
    rng: fastrand::Rng,
}

impl Account {
    /// An account without tables. All chance comes from the seed.
    ///
    /// # Errors
    /// When the embedded database cannot be made, in its words.
    pub fn new(seed: u64, region: &str, manners: Manners, wire: WireManners) -> Result<Self, String> {
        let service = Service::new(seed, region, manners);
        let rng = fastrand::Rng::with_seed(seed.wrapping_add(1));
        let (wire_hits, planned) = (BTreeMap::new(), PlannedFailures::default());
        Ok(Self { service, tables: Tables::new()?, wire, wire_hits, planned, rng })
    }

    /// The state of the streams: for scripts (a split now) and for what really happened.
    pub fn service_mut(&mut self) -> &mut Service {
        &mut self.service
    }

    /// Does or tells what a tester asks for: see [`super::control`].
    pub(super) fn control(&mut self, now_ms: i64, verb: Verb, wanted: &Wanted) -> Result<Value, String> {
        control::answer(&mut self.service, &mut self.planned, &self.wire_hits, now_ms, verb, wanted)
    }

    /// What becomes of the next answer on its way.
    pub(super) fn draw_broken(&mut self) -> Option<Broken> {
        let (name, broken) = self.wire.draw(&mut self.rng)?;
        *self.wire_hits.entry(name).or_default() += 1;
        Some(broken)
    }

    pub(super) fn draw_request_id(&mut self) -> String {
        format!("{:026X}", self.rng.u128(..) >> 24)
    }

    /// Answers one request as if it came over the wire: `target` is what stands in `X-Amz-Target`.
    ///
    /// # Errors
    /// What DynamoDB refuses, or the manners hold ready.
    pub fn answer(&mut self, now_ms: i64, target: &str, body: &[u8]) -> Result<String, Refusal> {
        let operation = target.strip_prefix(STREAMS_TARGET).map(|name| (true, name));
        let operation = operation.or_else(|| target.strip_prefix(TABLES_TARGET).map(|name| (false, name)));
        let Some((is_streams, name)) = operation else { return Err(Refusal::unknown_operation()) };
        self.planned.meet(name)?;
        let mut request: Map<String, Value> = serde_json::from_slice(body).map_err(|_| Refusal::not_json())?;
        names::take_names(&mut request, &self.service);
        // Items that expired since the last request have gone in the order of time: before this one.
        self.tables.expire(&mut self.service, now_ms);
        if is_streams {
            streams::answer(&mut self.service, now_ms, name, &request)
        } else {
            self.tables.answer(&mut self.service, now_ms, name, request)
        }
    }
}
