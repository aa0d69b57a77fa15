//! Every error by its code.

use tailwater_simulation::service::{IteratorType, ListStreams, Manners};

use crate::ground::{Ground, NOW, code};

type Knob = fn(&mut Manners) -> &mut f64;

/// DynamoDB API reference and observed codes: what any call may be answered with.
const ON_EVERY_CALL: &[(Knob, u16, &str)] = &[
    (|manners| &mut manners.throttled, 400, "ThrottlingException"),
    (|manners| &mut manners.internal_error, 500, "InternalServerError"),
    (|manners| &mut manners.unavailable, 503, "ServiceUnavailable"),
    (|manners| &mut manners.expired_token, 400, "ExpiredTokenException"),
    (|manners| &mut manners.unrecognized_client, 400, "UnrecognizedClientException"),
    (|manners| &mut manners.access_denied, 400, "AccessDeniedException"),
    (|manners| &mut manners.unknown_code, 400, "SomethingNewException"),
];

/// What `GetRecords` alone may be answered with (DynamoDB API reference, `GetRecords`, errors; the second and the last two
/// were observed).
const ON_GET_RECORDS: &[(Knob, &str)] = &[
    (|manners| &mut manners.limit_exceeded, "LimitExceededException"),
    (|manners| &mut manners.throughput_exceeded, "ProvisionedThroughputExceededException"),
    (|manners| &mut manners.expired_early, "ExpiredIteratorException"),
    (|manners| &mut manners.iterator_forgotten, "ValidationException"),
    (|manners| &mut manners.not_found_once, "ResourceNotFoundException"),
];

#[test]
fn every_call_may_be_refused_by_every_general_code() {
    for (knob, status, expected) in ON_EVERY_CALL {
        let mut ground = Ground::kind();
        let shard = ground.only_shard();
        let iterator = ground.horizon(&shard);
        *knob(ground.service.manners_mut()) = 1.0;
        let refused = ground.try_describe(|_| {}).expect_err("refused");
        assert_eq!((refused.status, refused.code), (*status, *expected));
        assert!(refused.wire_type().ends_with(&format!("#{expected}")), "{}", refused.wire_type());
        assert_eq!(code(ground.service.list_streams(NOW, &ListStreams::default())), *expected);
        assert_eq!(code(ground.try_iterator(&shard, IteratorType::TrimHorizon, None)), *expected);
        assert_eq!(code(ground.try_page(&iterator, None)), *expected);
        assert_eq!(ground.service.hits().values().sum::<u64>(), 4, "each is counted");
        *knob(ground.service.manners_mut()) = 0.0;
        assert!(ground.try_page(&iterator, None).is_ok(), "nothing was consumed");
    }
}

#[test]
fn pages_may_be_refused_by_every_code_of_their_own() {
    for (knob, expected) in ON_GET_RECORDS {
        let mut ground = Ground::kind();
        ground.fill(2);
        let shard = ground.only_shard();
        let iterator = ground.horizon(&shard);
        *knob(ground.service.manners_mut()) = 1.0;
        assert_eq!(code(ground.try_page(&iterator, None)), *expected);
        *knob(ground.service.manners_mut()) = 0.0;
        assert_eq!(ground.page(&iterator).records.len(), 2);
    }
}

/// Text that is no iterator is a ValidationException, also a real one with one letter changed.
#[test]
fn what_is_no_iterator_is_refused() {
    let mut ground = Ground::kind();
    let shard = ground.only_shard();
    let mut damaged = ground.horizon(&shard);
    let last = damaged.pop().expect("not empty");
    damaged.push(if last == 'A' { 'B' } else { 'A' });
    for bad in ["", "x", "AAAA", damaged.as_str()] {
        assert_eq!(code(ground.try_page(bad, None)), "ValidationException", "{bad}");
    }
}

/// A chance between never and always comes true now and then, and is counted.
#[test]
fn chances_come_true_now_and_then() {
    let mut ground = Ground::new(Manners { throttled: 0.3, ..Manners::kind() });
    let refused = (0..1000).filter(|_| ground.try_describe(|_| {}).is_err()).count();
    assert!((200..400).contains(&refused), "{refused}");
    assert_eq!(ground.hits("throttled"), refused as u64);
}
