//! The character U+0000: legal in DynamoDB's strings, impossible in Postgres' text and jsonb.

/// Whether JSON text has an escaped U+0000 (`\u0000`). An escaped backslash before `u0000` (`\\u0000`) means the six
/// characters themselves and is harmless.
pub(crate) fn has_escaped_nul(json: &str) -> bool {
    let mut rest = json;
    while let Some(at) = rest.find('\\') {
        let escape = &rest[at + 1..];
        if escape.starts_with("u0000") {
            return true;
        }
        // What follows a backslash inside checked JSON is ASCII, so this cannot cut a character; at the end it is empty.
        rest = escape.get(1..).unwrap_or_default();
    }
    false
}

/// Text that can be stored: a real U+0000 stands written out.
pub fn storable(text: &str) -> String {
    text.replace('\0', "\\u0000")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn only_the_real_escape_counts() {
        for (json, expected) in [
            (r#"{"a":"\u0000"}"#, true),
            (r#"{"a":"\\u0000"}"#, false),
            (r#"{"a":"\\\u0000"}"#, true),
            (r#"{"a":"\\\\u0000"}"#, false),
            (r#"{"\u0000":1}"#, true),
            (r#"{"a":"\u0001u0000 \n"}"#, false),
            (r#"{"a":"u0000"}"#, false),
            ("\\", false),
        ] {
            assert_eq!(has_escaped_nul(json), expected, "{json}");
        }
    }

    proptest! {
        #[test]
        fn it_agrees_with_a_parser(text in "[\u{0}\\\\u0\"a]{0,12}") {
            let json = serde_json::Value::from(text.as_str()).to_string();
            prop_assert_eq!(has_escaped_nul(&json), text.contains('\0'));
        }
    }
}
