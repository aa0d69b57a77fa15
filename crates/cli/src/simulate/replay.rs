//! `tailwater simulate --replay`: a stream that costs nothing to serve, for measuring consumers.

use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use tailwater_simulation::replay::{LISTINGS_PER_SECOND_MAX, Profile, Replay, ReplaySettings};

/// What a replay adds to `simulate`.
#[derive(Debug, Args)]
pub struct ReplayArguments {
    /// In place of a DynamoDB: the stream of the table `Replay`, rendered before and served at the speed of memory
    #[arg(
        long,
        value_name = "PROFILE",
        value_parser = profiles(),
        conflicts_with_all = [
            "rotate_every", "splits", "shards_max", "trim_after", "iterator_life", "page_records_max", "throttle", "faults",
            "region",
        ]
    )]
    pub replay: Option<Profile>,
    /// Pages of GetRecords that a replay renders and has again and again
    #[arg(long, value_name = "N", requires = "replay", default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub pages: u16,
    /// Pages after which a shard of a replay ends; without it none ever does
    #[arg(long, value_name = "N", requires = "replay", value_parser = clap::value_parser!(u32).range(1..))]
    pub shard_pages: Option<u32>,
    /// Shards of a replay that follow one after the other where they end
    #[arg(long, value_name = "N", requires = "shard_pages", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    pub generations: u16,
    /// Records that arrive in each shard of a replay a second; without it all were always there
    #[arg(long, value_name = "N", requires = "replay")]
    pub rate: Option<u32>,
}

impl ReplayArguments {
    /// The replay that was asked for, if one was.
    pub fn render(&self, shards: u16, seed: u64, now_us: i64) -> Option<Replay> {
        let settings = |profile| ReplaySettings {
            profile,
            shards: u64::from(shards),
            pages: u64::from(self.pages),
            shard_pages: self.shard_pages.map(u64::from),
            generations: u64::from(self.generations),
            rate: self.rate,
            started_at_us: now_us,
            listings_per_second_max: LISTINGS_PER_SECOND_MAX,
            seed,
        };
        self.replay.map(|profile| Replay::new(settings(profile)))
    }
}

fn profiles() -> impl TypedValueParser<Value = Profile> {
    // Every possible value is the name of a profile.
    let named = |name: String| Profile::ALL.into_iter().find(|(known, _)| *known == name).map(|(_, profile)| profile);
    PossibleValuesParser::new(Profile::ALL.map(|(name, _)| name)).try_map(move |name| named(name).ok_or("no profile"))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use crate::arguments::{Arguments, Command};

    fn parsed(flags: &[&str]) -> Result<Option<u64>, clap::Error> {
        let Command::Simulate(arguments) =
            Arguments::try_parse_from([&["tailwater", "simulate"], flags].concat())?.command
        else {
            return Ok(None);
        };
        Ok(arguments.replay.render(arguments.shards, arguments.seed, 0).and_then(|replay| replay.records_per_shard()))
    }

    #[test]
    fn a_replay_has_its_own_flags_and_none_of_the_service() {
        assert_eq!(parsed(&["--replay", "tiny", "--shard-pages", "2", "--shards", "9"]).expect("fine"), Some(2_000));
        assert_eq!(parsed(&["--shards", "9"]).expect("fine"), None);
        for wrong in [
            ["--pages", "2", "--seed", "1"],
            ["--generations", "2", "--replay", "1k"],
            ["--replay", "huge", "--pages", "2"],
            ["--replay", "1k", "--splits", "5%"],
        ] {
            assert!(parsed(&wrong).is_err(), "{wrong:?}");
        }
    }
}
