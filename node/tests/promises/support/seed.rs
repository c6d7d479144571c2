//! Randomness that can be repeated: every run prints its seed, `ROOKERY_TEST_SEED` sets it.

/// SplitMix64: small, and good enough to choose test input.
pub struct Seed(u64);

impl Seed {
    /// Always the same input.
    pub fn fixed(seed: u64) -> Self {
        println!("seed {seed} (fixed)");
        Self(seed)
    }

    /// New input each run, unless `ROOKERY_TEST_SEED` asks for an old one.
    pub fn fresh() -> Self {
        let given = std::env::var("ROOKERY_TEST_SEED").ok();
        let seed = given.map_or_else(
            || uuid::Uuid::now_v7().as_u64_pair().1 ^ u64::from(std::process::id()),
            |text| text.parse().expect("ROOKERY_TEST_SEED is a number"),
        );
        println!("seed {seed} (set ROOKERY_TEST_SEED={seed} to repeat)");
        Self(seed)
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`.
    pub fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    pub fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }

    pub fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    pub fn bytes(&mut self, length: usize) -> Vec<u8> {
        (0..length).map(|_| self.next() as u8).collect()
    }
}
