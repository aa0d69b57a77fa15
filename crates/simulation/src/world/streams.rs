//! Which stream of the table a worker reads: one after the other, each to its end, as the program does.

use tailwater_model::PreviousStream;

use super::ground::{SharedWitness, lock};
use crate::face::SimulatedStream;

/// A stream to be read.
pub struct Chosen {
    /// Which.
    pub arn: String,
    /// The one before it.
    pub follows: Option<PreviousStream>,
}

/// The stream to begin with: the one that progress belongs to as long as it can be read, or the newest.
pub async fn first(api: &SimulatedStream, table: &str, witness: &SharedWitness) -> Option<Chosen> {
    let streams = api.streams(table).await;
    let (newest, _) = streams.last()?;
    let Some(stored) = stored(witness, newest) else { return Some(Chosen { arn: newest.clone(), follows: None }) };
    if streams.contains(&(stored.clone(), true)) {
        return Some(Chosen { arn: stored, follows: None });
    }
    let arn = after(&streams, &stored).unwrap_or_else(|| newest.clone());
    Some(Chosen { arn, follows: Some(of(stored)) })
}

/// The stream that comes after one that was read to its end.
pub async fn next(api: &SimulatedStream, table: &str, witness: &SharedWitness, ended: &str) -> Option<Chosen> {
    let streams = api.streams(table).await;
    let (newest, _) = streams.last().filter(|(newest, _)| newest != ended)?;
    let arn = after(&streams, ended).unwrap_or_else(|| newest.clone());
    let follows = stored(witness, &arn).unwrap_or_else(|| ended.to_owned());
    Some(Chosen { arn, follows: Some(of(follows)) })
}

/// The stream that progress belongs to, where it is another one than this.
fn stored(witness: &SharedWitness, arn: &str) -> Option<String> {
    lock(witness).stored_stream().filter(|stored| stored != arn)
}

/// The stream that can still be read and was turned on next after this one.
fn after(streams: &[(String, bool)], arn: &str) -> Option<String> {
    let behind = streams.iter().skip_while(|(other, _)| other != arn).skip(1);
    behind.filter(|(_, is_there)| *is_there).map(|(arn, _)| arn.clone()).next()
}

/// The sink itself knows how far it was read.
fn of(stream_arn: String) -> PreviousStream {
    PreviousStream { stream_arn, read_until: None, is_of_another_table: false }
}
