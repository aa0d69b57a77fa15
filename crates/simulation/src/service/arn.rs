//! ARNs of tables, and of their streams: unique by the time at which the stream was turned on.

use super::Service;

/// Stands where AWS has the account's number.
const ACCOUNT: &str = "000000000000";

impl Service {
    /// The ARN of a table of this account, whether there is such a table or not.
    pub fn table_arn(&self, table: &str) -> String {
        format!("arn:aws:dynamodb:{}:{ACCOUNT}:table/{table}", self.region)
    }

    /// The ARN of a stream that is turned on now. Its label is a time with milliseconds; two in one millisecond would have
    /// the same, so the later one takes the next that is free.
    pub(super) fn arn(&self, table: &str, now_ms: i64) -> String {
        let mut at_ms = now_ms;
        loop {
            let arn = format!("{}/stream/{}", self.table_arn(table), label(at_ms));
            if self.streams.iter().all(|stream| stream.names.arn != arn) {
                return arn;
            }
            at_ms += 1;
        }
    }
}

/// `2026-11-24T03:45:00.123`.
fn label(at_ms: i64) -> String {
    let time = jiff::Timestamp::from_millisecond(at_ms).unwrap_or_default();
    time.strftime("%Y-%m-%dT%H:%M:%S%.3f").to_string()
}
