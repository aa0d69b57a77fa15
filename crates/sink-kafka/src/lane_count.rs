//! I1: the lane of a shard follows from the number of lanes, and so does the partition where its progress is looked for.

use tailwater_model::{Trouble, TroubleKind};

use crate::progress::LaneProgress;
use crate::settings::KafkaSettings;

/// Holds what all partitions of the progress topic have to the number of lanes. Partitions that nobody has used do no harm: somebody
/// has added them, and they cannot be taken away.
///
/// # Errors
/// Progress that was written with another number of lanes.
pub(crate) fn check_lane_count(settings: &KafkaSettings, lanes: u32, stored: &[LaneProgress]) -> Result<(), Trouble> {
    let partitions = u32::try_from(stored.len()).unwrap_or(u32::MAX);
    let used = (0..).zip(stored).filter(|(_, lane)| !lane.is_empty()).map(|(number, _)| number + 1).max().unwrap_or(0);
    if lanes > partitions {
        let why = format!("it has {partitions} partitions, one for each lane");
        return Err(another_count(settings, lanes, Some(partitions), &why));
    }
    if used > lanes {
        return Err(another_count(
            settings,
            lanes,
            Some(used),
            &format!("{used} of its partitions are used, one for each lane"),
        ));
    }
    let misplaced = |(number, lane): (u32, &LaneProgress)| lane.shard_of_another_lane(number, lanes).cloned();
    if let Some(shard) = (0..).zip(stored).find_map(misplaced) {
        let why = format!("the progress of shard {shard} lies in the partition of another lane");
        return Err(another_count(settings, lanes, None, &why));
    }
    if partitions > lanes {
        tracing::warn!(
            topic = settings.progress_topic,
            partitions,
            lanes,
            "the progress topic has more partitions than there are lanes; the others are empty and stay so"
        );
    }
    Ok(())
}

fn another_count(settings: &KafkaSettings, lanes: u32, before: Option<u32>, why: &str) -> Trouble {
    let before =
        before.map_or("to the number that the progress was written with".to_owned(), |before| format!("= {before}"));
    let message = format!(
        "the progress topic \"{}\" on Kafka at {} is of another number of lanes than {lanes}, as the file says: {why}",
        settings.progress_topic, settings.brokers
    );
    Trouble::new(TroubleKind::Config, "sink.lane_count", message).advise(format!(
        "set lanes {before} to go on. Another number means to begin anew for now, where `start` says: stop all copies of the pipeline, \
         then delete the progress topic, or name another progress_topic in [sink.kafka]; the next start tells how the topic of change \
         events is adopted"
    ))
}

#[cfg(test)]
mod tests {
    use tailwater_model::ShardId;

    use super::*;
    use crate::cluster::StoredRecord;
    use crate::progress::{ProgressRecord, SessionMark};
    use crate::settings::sample;

    fn opened() -> LaneProgress {
        let mut lane = LaneProgress::default();
        let (pipeline, owner) = ("orders".into(), "a".into());
        lane.add(ProgressRecord::Session(SessionMark { pipeline, claim: 1, owner, epoch: 1, holds: None }), 0);
        lane
    }

    /// With a shard of this lane, of two.
    fn with_shard_of(number: u32) -> LaneProgress {
        let mut lane = opened();
        let shards = (0..).map(|number| ShardId::new(&format!("shardId-{number}")));
        let shard = shards.into_iter().find(|shard| shard.lane(2) == number).expect("one of two");
        let key = format!(r#"["shard","arn","{shard}"]"#);
        let counts = r#""read":0,"written":0,"filtered":0,"dead_lettered":0,"suppressed":0"#;
        let value = format!(r#"{{"v":1,"parent":null,"position":"start",{counts}}}"#);
        let (key, value) = (key.as_bytes(), Some(value.as_bytes()));
        let record = ProgressRecord::of(&StoredRecord { partition: 0, offset: 0, at_ms: 0, key, value });
        lane.add(record.expect("a record").expect("of ours"), 0);
        lane
    }

    #[test]
    fn only_partitions_that_are_used_count() {
        let empty = LaneProgress::default;
        for (lanes, stored, is_fit) in [
            (2, vec![empty(), empty()], true),
            (2, vec![opened(), opened()], true),
            (2, vec![with_shard_of(0), with_shard_of(1)], true),
            (2, vec![with_shard_of(0), with_shard_of(1), empty()], true),
            (1, vec![opened(), empty()], true),
            (3, vec![opened(), opened()], false),
            (3, vec![empty(), empty()], false),
            (1, vec![opened(), opened()], false),
            (2, vec![empty(), opened(), opened()], false),
            // Somebody has raised both numbers.
            (2, vec![with_shard_of(1), empty()], false),
        ] {
            let checked = check_lane_count(&sample(), lanes, &stored);
            assert_eq!(checked.is_ok(), is_fit, "{lanes}: {stored:?}: {checked:?}");
            if let Err(trouble) = checked {
                assert_eq!((trouble.kind, trouble.code), (TroubleKind::Config, "sink.lane_count"));
                assert!(trouble.advice.is_some_and(|advice| advice.contains("stop all copies")));
            }
        }
    }
}
