//! Hashes that never change: every node of a cluster, whatever its release or platform, must come to the same table.

/// The finalizer of SplitMix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number generators", 2014).
pub(crate) const fn mix(mut z: u64) -> u64 {
    z = z.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// FNV-1a, 64 bit (Fowler, Noll, Vo; draft-eastlake-fnv), its weak last bits mended by [`mix`].
pub(crate) fn of_text(text: &str) -> u64 {
    let folded = text.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    mix(folded)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_those_of_the_publications() {
        // The first output of SplitMix64 seeded with 0, and FNV-1a's published vectors for "" and "foobar".
        assert_eq!(mix(0), 0xe220_a839_7b1d_cdaf);
        assert_eq!(of_text(""), mix(0xcbf2_9ce4_8422_2325));
        assert_eq!(of_text("foobar"), mix(0x8594_4171_f739_67e8));
    }
}
