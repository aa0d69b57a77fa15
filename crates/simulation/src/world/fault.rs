//! The fault classes of a world: each one knob of the service, the network or the sink, or something that happens to a
//! process or to the stream's lineage.

use super::ground::SinkFaults;
use crate::face::NetworkFaults;
use crate::service::Manners;

/// One fault class.
#[derive(Clone, Copy, Debug)]
pub struct Fault {
    /// Its name, with the part of the world that it belongs to. Hits are counted under it.
    pub name: &'static str,
    knob: Knob,
}

/// Where a fault takes hold.
#[derive(Clone, Copy, Debug)]
enum Knob {
    /// The intensity is a probability between 0 and this.
    Service(f64, fn(&mut Manners, f64)),
    Network(f64, fn(&mut NetworkFaults, f64)),
    Sink(f64, fn(&mut SinkFaults, f64)),
    /// The plan of the world has it.
    Planned,
}

/// Text of items that a sink refuses.
pub const REFUSED_TEXT: &str = "refused-by-the-sink";

macro_rules! faults {
    ($($part:ident . $name:ident $most:tt),* $(,)?) => {
        &[$(Fault { name: concat!(stringify!($part), ".", stringify!($name)), knob: knob!($part $name $most) }),*]
    };
}

macro_rules! knob {
    (service parent_listed_late $most:tt) => {
        Knob::Planned
    };
    (service open_with_ending $most:tt) => {
        Knob::Planned
    };
    (service $name:ident $most:tt) => {
        Knob::Service($most, |manners, intensity| manners.$name = intensity)
    };
    (network dates_ahead $most:tt) => {
        Knob::Planned
    };
    (network $name:ident $most:tt) => {
        Knob::Network($most, |network, intensity| network.$name = intensity)
    };
    (sink lane_down $most:tt) => {
        Knob::Planned
    };
    (sink $name:ident $most:tt) => {
        Knob::Sink($most, |sink, intensity| sink.$name = intensity)
    };
    (process $name:ident $most:tt) => {
        Knob::Planned
    };
}

/// All fault classes, with their greatest probability per call.
pub const FAULTS: &[Fault] = faults![
    service.throttled 0.3,
    service.limit_exceeded 0.3,
    service.throughput_exceeded 0.3,
    service.internal_error 0.3,
    service.unavailable 0.3,
    service.expired_early 0.2,
    service.iterator_forgotten 0.1,
    service.expired_token 0.3,
    service.unrecognized_client 0.2,
    service.unknown_code 0.2,
    service.access_denied 0.02,
    service.page_empty 0.8,
    service.page_short 0.9,
    service.end_apart 1.0,
    service.stalled 0.1,
    service.child_listed_late 1.0,
    service.closed_listed_late 1.0,
    service.listing_page_empty 0.3,
    service.shard_listed_twice 0.3,
    network.slow 0.2,
    network.hang 0.05,
    network.refused 0.3,
    network.answer_lost 0.3,
    network.truncated 0.2,
    network.malformed 0.2,
    network.html 0.2,
    network.misdirected 0.02,
    sink.unreachable 0.3,
    sink.slow 0.3,
    sink.hang 0.05,
    sink.reply_lost 0.2,
    sink.not_applied 0.2,
    sink.applied_later 0.2,
    process.refused_text 0.0,
    process.crash 0.0,
    process.crash_at_call 0.0,
    process.stop 0.0,
    process.pause 0.0,
    process.long_pause 0.0,
    process.second_owner 0.0,
    process.started_twice 0.0,
    process.away 0.0,
    process.rotation 0.0,
    process.split 0.0,
    process.storm 0.0,
    process.stream_disabled 0.0,
    process.panic 0.0,
    process.days_frozen 0.0,
    service.listing_empty 0.1,
    service.shard_unlisted 0.05,
    service.not_found_once 0.05,
    sink.lane_down 0.0,
    process.stream_replaced 0.0,
    process.suspended 0.0,
    process.two_absences 0.0,
    process.lag_and_absence 0.0,
    network.end_invented 0.05,
    network.wrong_date 0.02,
    service.parent_listed_late 0.0,
    service.open_with_ending 0.0,
    service.disabled_once 0.2,
    network.dates_ahead 0.0,
    process.progress_lost 0.0,
    process.target_made_again 0.0,
];

/// The last classes are younger than the first kept seeds, and are drawn apart: so these seeds stay the stories that they
/// were.
pub const FAULTS_DRAWN_APART: usize = 2;
/// So are younger ones.
pub const FAULTS_DRAWN_LATER: usize = 10;
/// The youngest are drawn apart from all others: a world has at most one of them.
pub const FAULTS_ALONE: usize = 4;
/// The last end a world, and only where the sink is one that ships: at most one of them is drawn.
pub const FAULTS_OF_LOSS: usize = 2;

impl Fault {
    /// Turns the knob by a random intensity.
    pub fn turn(
        &self,
        rng: &mut fastrand::Rng,
        manners: &mut Manners,
        network: &mut NetworkFaults,
        sink: &mut SinkFaults,
    ) {
        // Mostly mild: with everything at its most, nothing gets deep.
        let share = rng.f64() * rng.f64();
        match self.knob {
            Knob::Service(most, turn) => turn(manners, most * share),
            Knob::Network(most, turn) => turn(network, most * share),
            Knob::Sink(most, turn) => turn(sink, most * share),
            Knob::Planned if self.name == "process.refused_text" => sink.refused_text = Some(REFUSED_TEXT.to_owned()),
            Knob::Planned => {}
        }
    }
}
