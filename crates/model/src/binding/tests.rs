//! What belongs together, and what every refusal tells.

use super::*;

fn binding(target: &str, source: &str) -> Binding {
    Binding { target: target.into(), source: source.into() }
}

/// A pipeline that goes on as it was.
fn settled() -> TargetFacts {
    TargetFacts {
        pipeline: "orders".into(),
        wanted: binding("t", "s"),
        bound: Some(binding("t", "s")),
        has_progress: true,
        has_begun: true,
        has_written: true,
        state: TargetState::Filled,
        is_another: false,
        is_ahead: false,
        newer_pipeline: None,
        salt: None,
    }
}

/// One that begins.
fn new() -> TargetFacts {
    let nothing = TargetFacts { bound: None, has_progress: false, has_begun: false, ..settled() };
    TargetFacts { has_written: false, state: TargetState::Missing, ..nothing }
}

#[test]
fn what_belongs_together_goes_on_and_what_is_new_is_bound() {
    let unbound = TargetFacts { bound: None, ..settled() };
    let begun = TargetFacts { has_written: false, ..settled() };
    for (facts, fit) in [
        (settled(), Fit::Bound),
        (TargetFacts { state: TargetState::Empty, ..settled() }, Fit::Bound),
        // An adopted one, before the first commit.
        (TargetFacts { has_written: false, ..settled() }, Fit::Bound),
        // Nothing was written yet.
        (TargetFacts { state: TargetState::Missing, has_written: false, ..settled() }, Fit::Bind),
        (TargetFacts { wanted: binding("u", "v"), state: TargetState::Empty, ..begun }, Fit::Bind),
        // Of an earlier version.
        (unbound, Fit::Bind),
        (new(), Fit::Bind),
        (TargetFacts { state: TargetState::Empty, ..new() }, Fit::Bind),
        // The progress was removed, and the target with it.
        (TargetFacts { bound: Some(binding("u", "v")), ..new() }, Fit::Bind),
    ] {
        assert_eq!(facts.fit(None), Ok(fit), "{facts:?}");
        assert_eq!(facts.fit(Some("left over")), Ok(fit), "{facts:?}");
    }
}

fn misfits() -> [(TargetFacts, Misfit); 12] {
    [
        (TargetFacts { state: TargetState::Filled, ..new() }, Misfit::NoProgress),
        (TargetFacts { has_progress: false, ..settled() }, Misfit::NoProgress),
        // Its shards were lost, though nothing was written to the target yet.
        (
            TargetFacts { has_progress: false, has_written: false, state: TargetState::Empty, ..settled() },
            Misfit::NoProgress,
        ),
        (TargetFacts { is_ahead: true, ..settled() }, Misfit::Ahead),
        (TargetFacts { is_ahead: true, has_written: false, ..settled() }, Misfit::Ahead),
        (TargetFacts { wanted: binding("u", "s"), has_written: false, ..settled() }, Misfit::NoProgress),
        (TargetFacts { newer_pipeline: Some("other".into()), ..settled() }, Misfit::OtherPipeline),
        (TargetFacts { newer_pipeline: Some("other".into()), ..new() }, Misfit::OtherPipeline),
        (TargetFacts { wanted: binding("t", "u"), ..settled() }, Misfit::OtherSource),
        (TargetFacts { wanted: binding("u", "s"), state: TargetState::Missing, ..settled() }, Misfit::OtherTarget),
        (TargetFacts { state: TargetState::Missing, bound: None, ..settled() }, Misfit::Missing),
        (TargetFacts { is_another: true, state: TargetState::Empty, ..settled() }, Misfit::Replaced),
    ]
}

#[test]
fn what_does_not_belong_together_is_refused_with_both_ways_on() {
    for (facts, misfit) in misfits() {
        assert_eq!(facts.fit(None), Err(misfit), "{facts:?}");
        let refusal = facts.refusal(misfit, "salt");
        let advice = refusal.advice.expect("both ways on");
        assert_eq!((refusal.kind, refusal.code), (TroubleKind::DataAtRisk, misfit.code()));
        assert!(advice.contains(&format!("adopt = \"{}\"", facts.token(misfit, "salt"))), "{advice}");
        assert!(refusal.message.contains("orders") && !refusal.message.contains("\"\""), "{}", refusal.message);
    }
}

#[test]
fn what_is_in_a_target_that_is_bound_counts_as_written() {
    let empty = TargetFacts { state: TargetState::Empty, ..settled() };
    let unwritten = TargetFacts { has_written: false, ..settled() };
    for (facts, fit, written) in [
        (settled(), Fit::Bound, true),
        // What is stored of it stays.
        (empty.clone(), Fit::Bound, false),
        (empty.clone(), Fit::Bind, true),
        (empty, Fit::Adopt, false),
        // What is there when it is bound counts.
        (unwritten.clone(), Fit::Adopt, true),
        (TargetFacts { state: TargetState::Empty, ..unwritten }, Fit::Bound, false),
    ] {
        assert_eq!(facts.is_written(fit), written, "{fit:?} {facts:?}");
    }
}

#[test]
fn a_token_is_good_once_and_for_what_it_was_told_of() {
    for (facts, misfit) in misfits() {
        let token = facts.token(misfit, "first");
        assert_eq!(facts.fit(Some(&token)), Err(misfit), "no refusal has told it: {facts:?}");
        let refused = TargetFacts { salt: Some("first".into()), ..facts };
        assert_eq!(refused.fit(Some(&token)), Ok(Fit::Adopt), "{refused:?}");
        assert_eq!(refused.fit(Some("")), Err(misfit), "{refused:?}");
        let later = TargetFacts { salt: Some("second".into()), ..refused.clone() };
        assert_eq!(later.fit(Some(&token)), Err(misfit), "{later:?}");
        let wanted = binding("yet another", &refused.wanted.source);
        let elsewhere = TargetFacts { wanted, ..refused };
        assert!(elsewhere.fit(Some(&token)).is_err(), "{elsewhere:?}");
    }
}

#[test]
fn what_a_sink_finds_is_adopted_in_the_same_way() {
    let refused = TargetFacts { salt: Some("first".into()), ..settled() };
    let token = refused.token(Misfit::ProgressGone, "first");
    assert_eq!(refused.adopted(Misfit::ProgressGone, Some(&token)), Ok(Fit::Adopt));
    for (facts, adopt) in [(&refused, None), (&refused, Some("left over")), (&settled(), Some(token.as_str()))] {
        assert_eq!(facts.adopted(Misfit::ProgressGone, adopt), Err(Misfit::ProgressGone), "{facts:?}");
    }
    let advice = refused.refusal(Misfit::ProgressGone, "first").advice.expect("both ways on");
    assert!(advice.contains(&token), "{advice}");
}
