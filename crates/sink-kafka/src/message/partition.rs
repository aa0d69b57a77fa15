//! Which partition a key belongs to: as Kafka's Java client chooses it, so that every producer agrees.

/// The partition of a key among `partitions` (at least one): the default of Java's `KafkaProducer` for messages with a
/// key, `toPositive(murmur2(key)) % partitions` (`BuiltInPartitioner.partitionForKey`), and librdkafka's `murmur2_random`.
pub fn partition_of(key: &[u8], partitions: i32) -> i32 {
    let positive = (murmur2(key) & 0x7fff_ffff).cast_signed();
    positive % partitions.max(1)
}

/// MurmurHash2 of 32 bits, with the seed of Kafka's `org.apache.kafka.common.utils.Utils.murmur2`
/// (<https://github.com/apache/kafka/blob/4.1.0/clients/src/main/java/org/apache/kafka/common/utils/Utils.java>). Our own
/// lines: the one crate with it (`murmur2`) had a single release years ago, and librdkafka's function is behind `unsafe`.
fn murmur2(data: &[u8]) -> u32 {
    const SEED: u32 = 0x9747_b28c;
    const MIX: u32 = 0x5bd1_e995;
    let (words, tail) = data.as_chunks::<4>();
    // Java's length is an `int`: the cut above 32 bits is the same.
    let mut hash = SEED ^ (data.len() as u32);
    for word in words {
        let mut mixed = u32::from_le_bytes(*word).wrapping_mul(MIX);
        mixed ^= mixed >> 24;
        hash = hash.wrapping_mul(MIX) ^ mixed.wrapping_mul(MIX);
    }
    if !tail.is_empty() {
        let last = tail.iter().rev().fold(0, |word, byte| (word << 8) | u32::from(*byte));
        hash = (hash ^ last).wrapping_mul(MIX);
    }
    hash = (hash ^ (hash >> 13)).wrapping_mul(MIX);
    hash ^ (hash >> 15)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Printed by Java 17 with kafka-clients 4.1.0: for each text `b = text.getBytes(UTF_8)`, then `Utils.murmur2(b)` and
    /// `Utils.toPositive(Utils.murmur2(b)) % 7`.
    const OF_JAVA: &[(&str, i32, i32)] = &[
        ("", 275646681, 2),
        ("2", 648968168, 2),
        ("21", -973932308, 3),
        ("foo", 597841616, 1),
        ("abcd", -1323649548, 5),
        ("abcde", 461995741, 4),
        ("abcdef", 1870650108, 5),
        ("abcdefg", -346467175, 4),
        ("abcdefgh", -955427363, 0),
        (r#"{"Id":1}"#, 1176855025, 3),
        (r#"{"Id":"7","Fecha":-0.5}"#, 1526507760, 1),
        (r#"{"clé":"漢字 😀"}"#, 571844442, 1),
    ];

    #[test]
    fn the_hash_is_java_s() {
        for (key, hash, partition) in OF_JAVA {
            assert_eq!(murmur2(key.as_bytes()).cast_signed(), *hash, "{key}");
            assert_eq!(partition_of(key.as_bytes(), 7), *partition, "{key}");
        }
        // The same for "tailwater " three hundred times.
        let long = "tailwater ".repeat(300);
        assert_eq!((murmur2(long.as_bytes()).cast_signed(), partition_of(long.as_bytes(), 7)), (-1260043452, 6));
    }

    #[test]
    fn there_is_always_a_partition() {
        for partitions in [i32::MIN, -1, 0, 1] {
            assert_eq!(partition_of(b"abcd", partitions), 0);
        }
    }
}
