//! The contract that every `Sink` must keep, written once and run on many grounds: real servers and the models of them.
//!
//! A ground ([`Ground`]) is a place where a pipeline's data lives, with a reader of its own that knows nothing of the sink.
//! A case is a function over any ground; its name is the rule. [`contract_cases!`](crate::contract_cases) makes one test
//! of each case on one ground, so a failure names both. A model that is kinder than the real server passes no case that
//! the server fails, and the other way round: both run the same cases.

pub mod cases;
mod script;
#[cfg(test)]
mod servers;

use std::collections::BTreeMap;
use std::future::Future;

use tailwater_model::{
    ChangeEvent, Claimed, Counts, Group, Item, Ownership, PipelineIdentity, ServiceTime, Sink, Trouble,
};

pub use script::{Write, advance, after, expected, forget, group, pipeline, put, register, remove, shard_of};

/// What is in a sink: the ids of the events by the text of the item's key.
pub type Held = BTreeMap<String, Vec<String>>;

/// How a sink keeps events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// One row per living item, with the id of the event that wrote it last.
    Mirror,
    /// Every event, in order.
    Log,
}

/// What is stored beside data and positions, for one pipeline.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stored {
    /// The accounting of each shard of any stream, by its id.
    pub counts: BTreeMap<String, Counts>,
    /// Gaps on record.
    pub gaps: u64,
    /// When the newest of them was found.
    pub gaps_until: Option<ServiceTime>,
    /// Records kept aside.
    pub dead_letters: u64,
}

/// A way in which a commit ends without an answer to whoever committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interruption {
    /// The future is dropped at one of its awaits: any fate.
    Dropped,
    /// The connection breaks before the first statement: nothing is kept.
    BrokenBefore,
    /// The transaction is ended by the server while `COMMIT` is under way: nothing is kept.
    Killed,
    /// Applied, and the answer is lost.
    AnswerLost,
    /// Applied after the client has given it up.
    Late,
}

/// What must have become of an interrupted commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It is durable, at the latest when the lane has been opened again.
    Landed,
    /// Nothing of it is there, and nothing will be.
    Lost,
    /// One of the two.
    Either,
}

impl Interruption {
    /// What must have become of the commit.
    pub fn fate(self) -> Fate {
        match self {
            Self::Dropped => Fate::Either,
            Self::BrokenBefore | Self::Killed => Fate::Lost,
            Self::AnswerLost | Self::Late => Fate::Landed,
        }
    }
}

/// What becomes of a claim.
pub type ClaimResult<G> = Result<Claimed<<G as Ground>::Lane, <G as Ground>::Ownership>, Trouble>;

/// A place for pipelines with empty storage, and a second pair of eyes on it.
pub trait Ground {
    /// The sink.
    type Lane: Sink;
    /// What the sink says of an owner.
    type Ownership: Ownership;

    /// How this sink keeps events.
    fn manner(&self) -> Manner;

    /// Takes the pipeline over, as a process does that starts.
    fn claim(&mut self, identity: &PipelineIdentity) -> impl Future<Output = ClaimResult<Self>>;

    /// What an independent reader finds now: only what is committed.
    fn held(&mut self) -> impl Future<Output = Held>;

    /// What is stored beside the data.
    fn stored(&mut self, pipeline: &str) -> impl Future<Output = Stored>;

    /// The event of this write, made such that the sink or its server refuses it and nothing else.
    fn refused(&mut self, write: &Write) -> impl Future<Output = ChangeEvent>;

    /// The interruptions that can be made here.
    fn interruptions(&self) -> &'static [Interruption];

    /// Commits and interrupts it. Returns when the one who committed has given up.
    fn interrupt(&mut self, lane: &mut Self::Lane, group: Group, how: Interruption) -> impl Future<Output = ()>;
}

/// How a server refuses a row that a rule of its user does not like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// With an error that says so.
    Known,
    /// With an error that nobody knows, as often as it is asked.
    Unknown,
    /// Without an error: it takes the row and does not keep it.
    Silent,
}

/// How a row stays as it is, without an error, although it is there and a change comes to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Staying {
    /// It is to become another state of its item, and the statement counts it as changed.
    Replaced,
    /// It is to go, with the item.
    Removed,
}

/// A ground whose server has a will of its own, and whose bounds can be changed.
pub trait WilfulGround: Ground {
    /// The ways in which this server can refuse.
    fn refusals(&self) -> &'static [Refusal];

    /// The image of this write's item, made such that the server refuses it in this way.
    fn refused_image(&mut self, write: &Write, how: Refusal) -> impl Future<Output = Item>;

    /// The image of this write's item, made such that the row stays: when it is to be replaced by this image, or when the row
    /// with this image is to be removed. Nothing where the server cannot do that.
    fn staying_image(&mut self, _write: &Write, _how: Staying) -> impl Future<Output = Option<Item>> {
        std::future::ready(None)
    }

    /// From the next claim on, the sink keeps what it has of a removed item, marked as removed.
    fn keep_removed(&mut self);

    /// From the next claim on, so many dead letters are allowed within a minute.
    fn allow_dead_letters(&mut self, per_minute_max: u32);
}

/// A ground whose progress and target can be lost, each without the other (I11).
pub trait LossyGround: WilfulGround {
    /// Loses the progress.
    fn lose_progress(&mut self) -> impl Future<Output = ()>;

    /// Removes the target.
    fn lose_target(&mut self) -> impl Future<Output = ()>;

    /// Makes a target that was removed again, empty, as it was made first.
    fn make_target(&mut self) -> impl Future<Output = ()>;

    /// From the next claim on, the file names another target, which is not there.
    fn name_another_target(&mut self);

    /// From the next claim on, the file has this token.
    fn adopt(&mut self, token: &str);
}

/// A ground whose progress lies in several places, of which each can be lost alone.
pub trait ScatteredGround: LossyGround {
    /// Loses what one lane has stored.
    fn lose_lane(&mut self, lane: u32) -> impl Future<Output = ()>;

    /// Makes the place for progress, which was lost, again for so many lanes, and empty.
    fn make_progress(&mut self, lanes: u32) -> impl Future<Output = ()>;
}

/// [`contract_cases!`](crate::contract_cases) for a ground whose progress can be lost in part.
#[macro_export]
macro_rules! scattered_contract_cases {
    ($stand:path) => {
        $crate::contract_cases! { $stand:
            progress_of_the_first_lane_that_is_lost_is_adopted_once,
            progress_of_another_lane_that_is_lost_is_adopted_once,
            lanes_that_were_never_opened_have_lost_nothing,
            progress_that_is_made_again_under_a_running_process_is_told,
            a_target_that_is_made_again_under_a_running_process_is_told,
        }
    };
}

/// A ground whose progress and target are tables of one database.
pub trait TableGround: LossyGround {
    /// Removes all rows of the target.
    fn empty_target(&mut self) -> impl Future<Output = ()>;

    /// Removes the pipeline's shards and streams from its progress.
    fn lose_shards(&mut self) -> impl Future<Output = ()>;
}

/// [`contract_cases!`](crate::contract_cases) for a ground that can lose progress and target.
#[macro_export]
macro_rules! belonging_contract_cases {
    ($stand:path) => {
        $crate::contract_cases! { $stand:
            an_owner_whose_progress_is_gone_does_not_live,
            a_target_without_its_progress_is_adopted_once,
            a_target_that_is_gone_is_not_made_again_in_silence,
            a_target_that_was_made_again_is_refused,
            another_target_is_refused_until_it_is_adopted,
            another_source_is_refused,
            a_second_pipeline_on_the_target_is_refused,
            a_token_does_not_outlive_a_start_that_succeeds,
        }
    };
}

/// [`contract_cases!`](crate::contract_cases) for a ground of tables.
#[macro_export]
macro_rules! table_contract_cases {
    ($stand:path) => {
        $crate::contract_cases! { $stand:
            what_was_written_is_known_when_its_shards_are_forgotten,
            progress_that_lost_its_shards_is_not_begun_anew_in_silence,
            a_target_that_lost_its_rows_is_refused,
            a_lane_does_not_go_on_in_another_target,
        }
    };
}

/// [`contract_cases!`](crate::contract_cases) for a ground whose server has a will of its own.
#[macro_export]
macro_rules! wilful_contract_cases {
    ($stand:path) => {
        $crate::contract_cases! { $stand:
            a_refusal_of_any_kind_blocks_no_other,
            a_removal_is_told_whatever_its_old_image_holds,
            a_row_that_stays_as_it_is_is_not_called_written,
            too_many_dead_letters_hold_every_start,
        }
    };
}

/// One test for each case of the contract. `$stand` is a function that makes a ground and runs a test on it.
#[macro_export]
macro_rules! contract_cases {
    ($stand:path) => {
        $crate::contract_cases! { $stand:
            nothing_is_stored_at_first,
            what_was_committed_is_there_after_opening,
            a_step_applies_only_where_it_begins,
            registering_twice_is_refused,
            a_group_with_broken_steps_writes_nothing,
            shards_of_one_group_move_together,
            the_end_is_ordinary_progress,
            read_until_is_stored_with_its_step,
            the_first_listing_is_stored,
            a_known_stream_takes_the_place_of_the_earlier_ones,
            a_drained_shard_is_forgotten_and_no_other,
            ten_thousand_rotations_leave_as_many_rows_as_there_are_shards,
            another_stream_of_the_table_begins_anew_and_is_told,
            progress_of_another_pipeline_is_left_alone,
            another_number_of_lanes_is_refused,
            an_empty_group_only_checks_the_owner,
            committing_without_opening_is_refused,
            the_second_claim_fences_the_first,
            the_newest_of_three_claims_wins,
            lanes_are_independent,
            a_lane_moves_only_its_own_shards,
            an_owner_lives_as_long_as_it_shows_life,
            an_owner_that_hands_over_leaves_nobody,
            who_was_replaced_hands_nothing_over,
            the_last_change_of_an_item_wins_within_a_group,
            the_last_change_of_an_item_wins_across_groups,
            big_groups_arrive_whole,
            dead_letters_are_durable_with_their_step,
            gaps_are_durable_with_their_step_and_once,
            gaps_that_begin_at_another_moment_are_others,
            a_gap_that_two_lanes_carry_is_one,
            what_is_counted_adds_up,
            a_refused_event_blocks_no_other,
            a_refused_change_does_not_hide_the_one_before,
            opening_tells_the_truth_about_an_interrupted_commit,
            a_new_claim_learns_the_truth_about_an_interrupted_commit,
        }
    };
    ($stand:path: $($case:ident),* $(,)?) => {
        $(
            #[test]
            fn $case() {
                $stand(async |ground| $crate::contract::cases::$case(ground).await);
            }
        )*
    };
}
