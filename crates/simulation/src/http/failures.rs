//! Calls that are to fail because a tester asked for it.

use std::collections::VecDeque;

use serde_json::json;

use super::wire::Refusal;
use crate::service::wire_type;

/// What can be asked of this server: a name with a typing error would never fail.
pub(super) const OPERATIONS: [&str; 28] = [
    "ListStreams",
    "DescribeStream",
    "GetShardIterator",
    "GetRecords",
    "CreateTable",
    "UpdateTable",
    "DeleteTable",
    "DescribeTable",
    "PutItem",
    "UpdateItem",
    "DeleteItem",
    "BatchWriteItem",
    "TransactWriteItems",
    "ExecuteStatement",
    "ExecuteTransaction",
    "BatchExecuteStatement",
    "GetItem",
    "BatchGetItem",
    "TransactGetItems",
    "Query",
    "Scan",
    "ListTables",
    "TagResource",
    "UntagResource",
    "ListTagsOfResource",
    "DescribeLimits",
    "UpdateTimeToLive",
    "DescribeTimeToLive",
];

/// What is to fail, oldest first.
#[derive(Default)]
pub(super) struct PlannedFailures {
    planned: VecDeque<PlannedFailure>,
    /// How many calls failed so.
    pub(super) met: u64,
}

/// The next calls that are to fail.
pub(super) struct PlannedFailure {
    /// Only this operation.
    pub(super) operation: Option<String>,
    /// The code without its namespace.
    pub(super) code: String,
    /// How many calls more.
    pub(super) times: u32,
}

impl PlannedFailures {
    pub(super) fn plan(&mut self, failure: PlannedFailure) {
        self.planned.push_back(failure);
    }

    /// Calls that are still to fail.
    pub(super) fn left(&self) -> u32 {
        self.planned.iter().map(|failure| failure.times).sum()
    }

    /// Fails when a call of this operation is to fail.
    pub(super) fn meet(&mut self, operation: &str) -> Result<(), Refusal> {
        let is_meant = |failure: &PlannedFailure| failure.operation.as_deref().is_none_or(|only| only == operation);
        let Some(failure) = self.planned.iter_mut().find(|failure| is_meant(failure)) else { return Ok(()) };
        failure.times -= 1;
        self.met += 1;
        let status = match failure.code.as_str() {
            "InternalServerError" | "InternalFailure" => 500,
            "ServiceUnavailable" => 503,
            _ => 400,
        };
        let body = json!({"__type": wire_type(&failure.code), "message": "a tester asked for this"}).to_string();
        self.planned.retain(|failure| failure.times > 0);
        Err(Refusal { status, body })
    }
}
