//! One account: its tables and its streams, by the names of the API's operations.

use serde_json::{Map, Value};

use super::fault::WireManners;
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
    pub(super) wire: WireManners,
    pub(super) rng: fastrand::Rng,
}

impl Account {
    /// An account without tables. All chance comes from the seed.
    ///
    /// # Errors
    /// When the embedded database cannot be made, in its words.
    pub fn new(seed: u64, region: &str, manners: Manners, wire: WireManners) -> Result<Self, String> {
        let service = Service::new(seed, region, manners);
        let rng = fastrand::Rng::with_seed(seed.wrapping_add(1));
        Ok(Self { service, tables: Tables::new()?, wire, rng })
    }

    /// The state of the streams: for scripts (a split now) and for what really happened.
    pub fn service_mut(&mut self) -> &mut Service {
        &mut self.service
    }

    /// Answers one request as if it came over the wire: `target` is what stands in `X-Amz-Target`.
    ///
    /// # Errors
    /// What DynamoDB refuses, or the manners hold ready.
    pub fn answer(&mut self, now_ms: i64, target: &str, body: &[u8]) -> Result<String, Refusal> {
        let operation = target.strip_prefix(STREAMS_TARGET).map(|name| (true, name));
        let operation = operation.or_else(|| target.strip_prefix(TABLES_TARGET).map(|name| (false, name)));
        let Some((is_streams, name)) = operation else { return Err(Refusal::unknown_operation()) };
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
