//! Writing new typed JSON from spans of the old: what the transforms of attributes share.

use bytestring::ByteString;
use tailwater_model::{ChangeEvent, Item, Rejected};

/// Replaces both images by what `rewrite` makes of them; nothing means that the image stays as it is.
pub(crate) fn rewrite_images(
    event: &mut ChangeEvent,
    rewrite: impl Fn(&Item) -> Result<Option<String>, Rejected>,
) -> Result<(), Rejected> {
    for image in event.change.images_mut() {
        if let Some(mut json) = rewrite(image)? {
            // It may be held for long, and what is counted of it is its length.
            json.shrink_to_fit();
            *image = Item::parse(ByteString::from(json)).map_err(|fault| Rejected {
                code: "transform.malformed",
                message: format!("the changed item is not typed JSON ({fault}); this is a bug in Tailwater"),
            })?;
        }
    }
    Ok(())
}

/// Appends `"name":`, with a comma before it unless it is the first in its map. `escaped` is a JSON string body.
pub(crate) fn push_name(escaped: &str, out: &mut String) {
    if !out.ends_with('{') {
        out.push(',');
    }
    out.push('"');
    out.push_str(escaped);
    out.push_str("\":");
}

/// Events and items for the tests of this crate.
#[cfg(test)]
pub(crate) mod sample {
    use proptest::prelude::*;
    use tailwater_model::{Change, SequenceNumber, ShardId, SourceInfo, Transform};

    use super::*;
    use crate::AttributePath;

    pub(crate) fn item(json: &str) -> Item {
        Item::parse(ByteString::from(json)).unwrap_or_else(|fault| panic!("{json}: {fault}"))
    }

    pub(crate) fn path(text: &str) -> AttributePath {
        AttributePath::parse(text).unwrap_or_else(|fault| panic!("{text}: {fault}"))
    }

    pub(crate) fn event_of(change: Change) -> ChangeEvent {
        let source = SourceInfo {
            shard: ShardId::new("shardId-1"),
            sequence_number: SequenceNumber::parse("1".into()).expect("a digit"),
            event_id: "e".into(),
            created_at_ms: 0,
            size_bytes: 1,
        };
        ChangeEvent { key: item(r#"{"a":{"S":"key"}}"#), change, source }
    }

    pub(crate) fn apply(transform: &impl Transform, event: ChangeEvent) -> Result<Vec<ChangeEvent>, Rejected> {
        let mut out = Vec::new();
        transform.apply(event, &mut out)?;
        Ok(out)
    }

    /// What the transform makes of an item as the new image; the old image and the key are checked on the way.
    pub(crate) fn image_after(transform: &impl Transform, image: &Item) -> Result<Item, Rejected> {
        let event = event_of(Change::Modify { old: Some(image.clone()), new: Some(image.clone()) });
        let key = event.key.clone();
        let events = apply(transform, event)?;
        let [event] = events.as_slice() else { panic!("{} events", events.len()) };
        assert_eq!(event.key, key, "a transform never touches the key");
        assert_eq!(event.change.old_image(), event.change.new_image());
        Ok(event.change.new_image().expect("the new image").clone())
    }

    /// Names that hold everything which needs an escape or a quote somewhere.
    pub(crate) fn names() -> impl Strategy<Value = String> {
        prop::sample::select(vec!["a", "b", "c", "a.b", "q\"", "b\\", "é", "line\nfeed", "\u{0}", "😀"])
            .prop_map(String::from)
    }

    pub(crate) fn paths() -> impl Strategy<Value = Vec<AttributePath>> {
        let path = prop::collection::vec(names(), 1..4).prop_map(|names| {
            let quoted: Vec<_> =
                names.iter().map(|name| format!("\"{}\"", name.replace('\\', "\\\\").replace('"', "\\\""))).collect();
            path(&quoted.join("."))
        });
        prop::collection::vec(path, 0..6)
    }

    /// Items with maps in maps, as compact typed JSON, some names escaped in a way that serde_json would not write.
    pub(crate) fn items() -> impl Strategy<Value = Item> {
        let leaf = prop::sample::select(vec![
            r#"{"S":"a\"}{,"}"#,
            r#"{"N":"1e3"}"#,
            r#"{"L":[{"M":{"a":{"S":""}}}]}"#,
            r#"{"NULL":true}"#,
            r#"{"SS":["a","b"]}"#,
        ])
        .prop_map(String::from);
        let value = leaf.prop_recursive(3, 40, 5, |inner| map(inner).prop_map(|map| format!("{{\"M\":{map}}}")));
        map(value).prop_map(|json| item(&json))
    }

    fn map(value: impl Strategy<Value = String>) -> impl Strategy<Value = String> {
        prop::collection::btree_map(names(), (value, any::<bool>()), 0..5).prop_map(|attributes| {
            let mut out = String::from("{");
            for (name, (value, escape)) in attributes {
                let escaped: String = if escape {
                    name.encode_utf16().map(|unit| format!("\\u{unit:04x}")).collect()
                } else {
                    let quoted = serde_json::Value::from(name).to_string();
                    quoted[1..quoted.len() - 1].to_owned()
                };
                push_name(&escaped, &mut out);
                out.push_str(&value);
            }
            out + "}"
        })
    }
}
