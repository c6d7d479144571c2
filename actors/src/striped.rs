//! A map in parts, each behind a lock of its own, so that who looks up one key seldom waits for who looks up another.

use std::collections::HashMap;
use std::hash::Hash;

use parking_lot::Mutex;

/// Parts of a map; several times the cores of a large machine.
const PARTS: usize = 64;

/// A map from ids to values.
pub struct Striped<K, V>(Box<[Mutex<HashMap<K, V>>]>);

impl<K: Eq + Hash, V> Default for Striped<K, V> {
    fn default() -> Self {
        Self((0..PARTS).map(|_| Mutex::default()).collect())
    }
}

impl<K: Eq + Hash, V> Striped<K, V> {
    /// The part that holds the id with these bytes: the last ones are random in every version of UUID used here.
    pub fn part(&self, id: &[u8; 16]) -> &Mutex<HashMap<K, V>> {
        &self.0[usize::from(id[14] ^ id[15]) % PARTS]
    }

    /// Every part in turn.
    pub fn parts(&self) -> impl Iterator<Item = &Mutex<HashMap<K, V>>> {
        self.0.iter()
    }

    /// Values in all parts.
    pub fn count(&self) -> usize {
        self.parts().map(|part| part.lock().len()).sum()
    }
}
