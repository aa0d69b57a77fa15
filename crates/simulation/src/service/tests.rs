//! The numbers, which nothing outside can see whole.

use super::sequence::Sequence;

#[test]
fn sequence_numbers_grow_along_a_lineage_and_stay_within_forty_digits() {
    let mut rng = fastrand::Rng::with_seed(1);
    let mut sequence = Sequence::first(&mut rng);
    let mut lengths = std::collections::BTreeSet::new();
    for _ in 0..60 {
        let text = sequence.text();
        assert!((21..=40).contains(&text.len()), "{text}");
        assert_eq!(Sequence::parse(&text), Some(sequence));
        lengths.insert(text.len());
        let child = sequence.later(&mut rng).of_child(&mut rng);
        assert!(child > sequence);
        sequence = child;
    }
    assert!(lengths.len() > 3, "their lengths change: {lengths:?}");
    for bad in ["", "12", "x20000000000000000000000", "-2000000000000000000000"] {
        assert_eq!(Sequence::parse(bad), None, "{bad}");
    }
}
