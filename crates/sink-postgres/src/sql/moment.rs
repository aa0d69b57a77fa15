//! Moments of the service's clock, which are `timestamptz` in the tables and milliseconds since 1970 on the way there.

use sqlx::Row;
use sqlx::postgres::PgRow;
use tailwater_model::ServiceTime;

use crate::session::SqlFault;

/// The years 1 to 9999. A `timestamptz` ends somewhere, and a moment that is out of its range, as a broken record may name
/// one, must not keep a whole group from being stored.
const STORABLE_MS: (i64, i64) = (-62_135_596_800_000, 253_402_300_799_999);

/// The moment as it is stored.
pub(super) fn stored(moment: ServiceTime) -> i64 {
    let (first, last) = STORABLE_MS;
    moment.ms().clamp(first, last)
}

/// The moment in a column of milliseconds.
pub(crate) fn moment(row: &PgRow, column: &str) -> Result<Option<ServiceTime>, SqlFault> {
    let ms: Option<i64> = row.try_get(column)?;
    Ok(ms.map(ServiceTime::from_ms))
}
