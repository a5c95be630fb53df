"""Java's default partitioner, written anew here so that the suite does not trust the program's own."""


def murmur2(data):
    """32-bit murmur2 as in org.apache.kafka.common.utils.Utils, as an unsigned number."""
    mask, m = 0xFFFFFFFF, 0x5BD1E995
    h = (0x9747B28C ^ len(data)) & mask
    full = len(data) & ~3
    for i in range(0, full, 4):
        k = int.from_bytes(data[i : i + 4], "little")
        k = (k * m) & mask
        k ^= k >> 24
        k = (k * m) & mask
        h = ((h * m) & mask) ^ k
    rest = data[full:]
    if rest:
        h ^= int.from_bytes(rest, "little")
        h = (h * m) & mask
    h ^= h >> 13
    h = (h * m) & mask
    return h ^ (h >> 15)


def partition(key, count):
    """The partition of `count` that Java's producer gives a key (bytes)."""
    return (murmur2(key) & 0x7FFFFFFF) % count
