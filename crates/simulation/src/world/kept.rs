//! Worlds that once failed. They are run every day.

use super::Profile;

/// Seeds that once failed, with their profiles.
pub const KEPT: &[(u64, Profile)] = &[
    // A shard listed after its grandchildren was called lost.
    (412, Profile::Default),
    (155, Profile::Owners),
    (54_022, Profile::Default),
    (6, Profile::Storm),
    (42, Profile::Storm),
    // A refused change of an item took the changes before it along.
    (0, Profile::Postgres),
    // A child of a stream that was turned off is listed late: its lane had ended.
    (29_763, Profile::Default),
    // Not the engine's: the order of a listing changed between two of its pages, and a gap that was due was not waited for.
    (88_577, Profile::Default),
    (267, Profile::Gaps),
    // Shards whose beginning was polled and empty lost what came while their process stood still for days: from the trim
    // horizon the service gives what is left, and says nothing of the rest.
    (86, Profile::Gaps),
    (367, Profile::Gaps),
    (1072, Profile::Gaps),
    // So did a child that was found only after the days in which the process stood still.
    (25_301, Profile::Default),
    // The order in which lanes were woken was chance.
    (1984, Profile::Gaps),
    // Found while the reading by `read_until` was built.
    (510_000_200, Profile::Postgres),
    (510_000_271, Profile::Postgres),
    (510_000_750, Profile::Postgres),
    (510_003_585, Profile::Postgres),
    (620_004_965, Profile::Postgres),
    (620_005_922, Profile::Postgres),
    (510_001_052, Profile::Gaps),
    (620_003_470, Profile::Gaps),
    (610_000_152, Profile::Storm),
    (184_246_642, Profile::Default),
    // Lineages that came and went while nobody could store them; children that were placed with one of them only; shards whose
    // parents had been unread; a stream that was replaced between a run and its tip.
    (942_000_545, Profile::Gaps),
    (944_001_628, Profile::Gaps),
    (944_001_514, Profile::Owners),
    (946_000_838, Profile::Gaps),
    (946_001_543, Profile::Bounded),
    (942_001_037, Profile::Bounded),
    (941_000_248, Profile::Bounded),
    (941_000_182, Profile::Storm),
    (941_000_054, Profile::Bounded),
    (942_000_784, Profile::Kafka),
    (942_001_771, Profile::Storm),
    // What was written between the registration of a shard and its iterator of LATEST.
    (1_005, Profile::Default),
    (3_139, Profile::Kafka),
    // A parent that was listed after its child was begun; a first listing of which nothing was registered; a run of empty pages with
    // hours in it.
    (973_000_226, Profile::Gaps),
    // The children of a lost shard, in a lane that was down for two days; a shard of LATEST that waited for itself; five answers
    // in a row that a shard does not exist.
    (2_100_001_552, Profile::Gaps),
    (2_110_003_241, Profile::Postgres),
    (2_170_003_001, Profile::Bounded),
    (2_360_009_449, Profile::Kafka),
    // A shard that was registered hours after the listing that it was promised by.
    (2_300_013_692, Profile::Gaps),
    // A lane that opened again before the first listing was stored.
    (2_600_011_772, Profile::Gaps),
    // The beginning of a stream that followed another, trimmed before anybody came.
    (78_000_148, Profile::Gaps),
    (78_000_240, Profile::Gaps),
    // No listing came to its end for a quarter of an hour, and a shard was read without its parent; a gap behind a step of the same
    // commit.
    (3_300_000_616, Profile::Gaps),
    (3_600_000_276, Profile::Gaps),
    (3_600_000_785, Profile::Gaps),
    (3_510_000_498, Profile::Postgres),
    (1_000_152, Profile::Gaps),
    (1_000_496, Profile::Gaps),
    // Two who did not know of each other asked for the same shard for half a day: the judge called that haste.
    (3_000_000_323, Profile::Gaps),
    (3_000_002_468, Profile::Gaps),
    // A shard whose lane was not open yet was called passed over; an idle shard that
    // was not known to be read; three refusals by chance in a night.
    (4_100_000_176, Profile::Gaps),
    (4_110_000_447, Profile::Default),
    (4_140_001_686, Profile::Default),
    (700_000_013, Profile::Gaps),
    (700_000_709, Profile::Gaps),
    // The judge of stored moments counted ends and the empty pages of closed shards, and what a slow sink has under way.
    (4_140_000_713, Profile::Gaps),
    (4_200_002_469, Profile::Gaps),
    // A record was trimmed between its shard's gap and the next page, and the judge had not heard of it.
    (4_200_001_111, Profile::Gaps),
    // A shard went before its iterator of `LATEST` was given, and the stream never became known.
    (4_210_000_497, Profile::Gaps),
    // The stream went in the moment of a restart in quiet.
    (4_100_000_241, Profile::Owners),
    // Two of three dates were wrong by the same day; answers that are lost on their way tell no date.
    (4_660_001_035, Profile::Owners),
    (1_000_069, Profile::Kafka),
    // A shard took the moment of a listing for what its parent was read until, whose lane was not open yet.
    (207_880_085, Profile::Bounded),
    // Two started while the stream was replaced, and the second took the stream that it had chosen before its claim.
    (4_750_000_617, Profile::Kafka),
    // A machine woke up after 15 hours, and of its first three dates, which all leapt, the third was another day's.
    (4_720_001_007, Profile::Postgres),
    // The service had removed what followed a shard, and still listed the shard: the judge of bounded runs did not wait for it.
    (4_810_000_072, Profile::Bounded),
    // The judge of stored moments did not wait for the commits of a slow sink that were ready before the proof came.
    (4_812_001_199, Profile::Gaps),
    // A listing missed a shard that LATEST leaves out, and the judge waited for its end.
    (4_850_001_107, Profile::Default),
    // Bounded runs whose lanes opened again every few seconds, and began each time to count empty pages anew.
    (5_100_000_455, Profile::Postgres),
    (5_200_000_038, Profile::Kafka),
    // The judge of parents: over between the start and a first listing that missed it.
    (207_880_105, Profile::Default),
];
