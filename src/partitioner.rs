//! Which partition a key belongs to: Java's murmur2, as every JVM producer and Kafka Streams use it.
//!
//! librdkafka computes the same under `partitioner=murmur2_random`; here it is for `replay`, which has no broker, and for checks.

/// The 32-bit murmur2 of a key, with the sign bit cleared, as `Utils.toPositive(Utils.murmur2(key))` gives it in Java.
#[must_use]
pub fn murmur2(key: &[u8]) -> u32 {
    const SEED: u32 = 0x9747_b28c;
    const MULTIPLIER: u32 = 0x5bd1_e995;
    #[expect(
        clippy::cast_possible_truncation,
        reason = "Java's length is an int too, and keys are far shorter"
    )]
    let mut hash = SEED ^ key.len() as u32;
    let (words, tail) = key.as_chunks::<4>();
    for word in words {
        let mut mixed = u32::from_le_bytes(*word).wrapping_mul(MULTIPLIER);
        mixed ^= mixed >> 24;
        hash = hash.wrapping_mul(MULTIPLIER) ^ mixed.wrapping_mul(MULTIPLIER);
    }
    if !tail.is_empty() {
        for (place, byte) in tail.iter().enumerate() {
            hash ^= u32::from(*byte) << (8 * place);
        }
        hash = hash.wrapping_mul(MULTIPLIER);
    }
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(MULTIPLIER);
    hash ^= hash >> 15;
    hash & 0x7fff_ffff
}

/// The partition of a key in a topic of `partitions` partitions; 0 when there are none.
#[must_use]
pub fn partition(key: &[u8], partitions: i32) -> i32 {
    let Ok(count) = u32::try_from(partitions) else {
        return 0;
    };
    let place = murmur2(key).checked_rem(count).unwrap_or(0);
    i32::try_from(place).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_land_where_java_puts_them() {
        for (key, hash) in [
            ("my_key_1", 1_322_862_588),
            ("my_key_2", 201_614_428),
            ("my_key_3", 273_244_397),
            ("my_key_4", 1_336_656_080),
        ] {
            assert_eq!(murmur2(key.as_bytes()), hash, "{key}");
        }
        // Vectors of org.apache.kafka.common.utils.UtilsTest, sign bit cleared: lengths with every remainder by four.
        for (key, hash) in [
            ("21", -973_932_308_i32),
            ("foobar", -790_332_482),
            ("a-little-bit-long-string", -985_981_536),
            ("a-little-bit-longer-string", -1_486_304_829),
            (
                "lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8",
                -58_897_971,
            ),
            ("abc", 479_470_107),
        ] {
            assert_eq!(murmur2(key.as_bytes()), hash as u32 & 0x7fff_ffff, "{key}");
        }
    }

    #[test]
    fn a_partition_is_always_one_of_the_topic() {
        for partitions in [1, 2, 8, 17] {
            for key in ["", "c-1", "c-2", "my_key_1"] {
                assert!((0..partitions).contains(&partition(key.as_bytes(), partitions)));
            }
        }
        assert_eq!(partition(b"c-1", 0), 0);
        assert_eq!(partition(b"my_key_1", 8), 1_322_862_588 % 8);
    }
}
