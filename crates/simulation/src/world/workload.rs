//! What the application writes: few keys with many versions, and values that have broken systems like this one.

use std::collections::BTreeMap;

use fastrand::Rng;

use super::fault::REFUSED_TEXT;
use crate::service::ItemChange;

/// Attributes in typed JSON whose values are easily harmed on their way.
const NASTY: [&str; 12] = [
    r#""n":{"N":"12345678901234567890123456789012345678"}"#,
    r#""n":{"N":"0.00000000000000000000000000000000000000000000000001"}"#,
    r#""n":{"N":"-9999999999999999999999999999999999999900000"}"#,
    r#""nul":{"S":"a\u0000b"}"#,
    r#""empty":{"S":""}"#,
    r#""null":{"NULL":true}"#,
    r#""bin":{"B":""}"#,
    r#""bin":{"B":"AAECAwQ="}"#,
    r#""set":{"SS":["b","a"]}"#,
    r#""deep":{"M":{"l":{"L":[{"M":{}},{"L":[]},{"BOOL":false}]}}}"#,
    r#""a.b\"c":{"S":"\ud83d\ude00 \\ \"quoted\" \u2028"}"#,
    r#""big":{"S":"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"}"#,
];

/// How often the text that a sink refuses stands in a poisoned item.
const POISON_TEXTS: usize = 100;

/// The application and the state of its table.
pub struct Workload {
    rng: Rng,
    keys: u32,
    poisoned: bool,
    version: u64,
    items: BTreeMap<u32, String>,
}

impl Workload {
    /// An application that writes to so many items. `poisoned` puts texts into some that the sink may refuse.
    pub fn new(seed: u64, keys: u32, poisoned: bool) -> Self {
        Self { rng: Rng::with_seed(seed), keys: keys.max(1), poisoned, version: 0, items: BTreeMap::new() }
    }

    /// The next change: put, update, delete, expiry, a write that changes nothing, or the same item again after its end.
    pub fn next(&mut self) -> ItemChange {
        // A few items get most of the changes.
        let key = if self.rng.bool() { self.rng.u32(0..self.keys) } else { self.rng.u32(0..self.keys.div_ceil(4)) };
        let key_json = format!(r#""pk":{{"S":"item-{key}"}}"#);
        let old = self.items.get(&key).cloned();
        let (new, time_to_live) = match self.rng.u32(0..20) {
            0..3 => (None, false),
            3 => (None, true),
            4 => (old.clone(), false),
            _ => (Some(self.image(&key_json)), false),
        };
        match &new {
            Some(new) => drop(self.items.insert(key, new.clone())),
            None => drop(self.items.remove(&key)),
        }
        ItemChange { key: format!("{{{key_json}}}"), old, new, time_to_live }
    }

    fn image(&mut self, key: &str) -> String {
        self.version += 1;
        let mut image = format!(r#"{{{key},"v":{{"N":"{}"}}"#, self.version);
        if self.rng.u32(0..3) == 0 {
            image.push(',');
            image.push_str(NASTY[self.rng.usize(0..NASTY.len())]);
        }
        if self.poisoned && self.rng.u32(0..12) == 0 {
            // Also larger than a topic takes that refuses by size.
            image.push_str(&format!(r#","poison":{{"S":"{}"}}"#, REFUSED_TEXT.repeat(POISON_TEXTS)));
        }
        image.push('}');
        image
    }
}
