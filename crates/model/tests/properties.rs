//! Properties of the item representation: whatever bytes come in, nothing panics, what is accepted is understood by an
//! independent JSON parser in the same way, and numbers stay exact.

use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use serde_json::{Value, json};
use tailwater_model::{Item, KeyAttribute, KeyKind, KeySchema, Number, push_plain_item, push_plain_key, push_quoted};

/// A typed attribute value together with the plain value that it means.
fn attribute_value() -> impl Strategy<Value = (Value, Value)> {
    let number = prop_oneof![any::<i64>().prop_map(|n| n.to_string()), Just("0".to_owned()), Just("-1".to_owned())];
    let leaf = prop_oneof![
        any::<String>().prop_map(|s| (json!({"S": s}), json!(s))),
        number.prop_map(|n| (json!({"N": n}), serde_json::from_str(&n).expect("a number"))),
        any::<bool>().prop_map(|b| (json!({"BOOL": b}), json!(b))),
        Just((json!({"NULL": true}), Value::Null)),
        vec(any::<u8>(), 0..20).prop_map(|bytes| {
            let text = data_encoding::BASE64.encode(&bytes);
            (json!({"B": text}), json!(text))
        }),
    ];
    leaf.prop_recursive(4, 32, 5, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..5).prop_map(|pairs| {
                let (typed, plain): (Vec<_>, Vec<_>) = pairs.into_iter().unzip();
                (json!({"L": typed}), json!(plain))
            }),
            btree_map(any::<String>(), inner, 0..5).prop_map(|map| {
                let typed: serde_json::Map<_, _> = map.iter().map(|(k, v)| (k.clone(), v.0.clone())).collect();
                let plain: serde_json::Map<_, _> = map.into_iter().map(|(k, v)| (k, v.1)).collect();
                (json!({"M": typed}), json!(plain))
            }),
        ]
    })
}

fn item() -> impl Strategy<Value = (Value, Value)> {
    btree_map(any::<String>(), attribute_value(), 0..6).prop_map(|map| {
        let typed: serde_json::Map<_, _> = map.iter().map(|(k, v)| (k.clone(), v.0.clone())).collect();
        let plain: serde_json::Map<_, _> = map.into_iter().map(|(k, v)| (k, v.1)).collect();
        (json!(typed), json!(plain))
    })
}

proptest! {
    #[test]
    fn plain_json_means_what_the_typed_json_means((typed, plain) in item()) {
        let parsed = Item::parse(typed.to_string().into()).expect("compact typed JSON is accepted");
        let mut out = String::new();
        push_plain_item(&parsed, &mut out);
        prop_assert_eq!(serde_json::from_str::<Value>(&out).expect("valid JSON"), plain);
    }

    #[test]
    fn attributes_are_all_found((typed, _) in item()) {
        let parsed = Item::parse(typed.to_string().into()).expect("accepted");
        let found: serde_json::Map<String, Value> = parsed
            .attributes()
            .map(|a| (a.name.unescaped().into_owned(), serde_json::from_str(a.typed_json()).expect("valid JSON")))
            .collect();
        prop_assert_eq!(Value::from(found), typed);
    }

    #[test]
    fn damaged_bytes_never_panic_and_what_is_accepted_is_json(
        (typed, _) in item(),
        damage in vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let mut bytes = typed.to_string().into_bytes();
        for (place, byte) in damage {
            let at = place.index(bytes.len());
            bytes[at] = byte;
        }
        let Ok(text) = String::from_utf8(bytes) else { return Ok(()) };
        if let Ok(parsed) = Item::parse(text.clone().into()) {
            prop_assert!(serde_json::from_str::<Value>(&text).is_ok(), "accepted {text}");
            let mut out = String::new();
            push_plain_item(&parsed, &mut out);
            prop_assert!(serde_json::from_str::<Value>(&out).is_ok(), "wrote {out}");
        }
    }

    /// Found by the test above on 29 November: one damaged byte made `571514753676888295` a number of 10^14 digits.
    #[test]
    fn a_number_that_is_accepted_is_one_that_a_json_parser_can_hold(
        text in "-?(0|[1-9][0-9]{0,20}|[1-9][0-9]{280,330})([.][0-9]{1,330})?(e[+-]?[0-9]{1,20}|E[0-3]?[0-9]{2})?",
    ) {
        if let Ok(parsed) = Item::parse(format!(r#"{{"n":{{"N":"{text}"}}}}"#).into()) {
            let mut out = String::new();
            push_plain_item(&parsed, &mut out);
            prop_assert!(serde_json::from_str::<Value>(&out).is_ok(), "wrote {out}");
            prop_assert!(Number::parse(&text).is_ok(), "a key could not be read: {text}");
        }
    }

    #[test]
    fn any_text_may_be_asked_whether_it_is_an_item(text in any::<String>()) {
        let _ = Item::parse(text.into());
    }

    #[test]
    fn numbers_keep_their_value_and_order(left in any::<i64>(), right in any::<i64>(), zeros in 0_usize..5) {
        let padded = format!("{left}.{}", "0".repeat(zeros + 1));
        let (a, b) = (Number::parse(&padded).expect("a number"), Number::parse(&right.to_string()).expect("a number"));
        prop_assert_eq!(a.to_string(), left.to_string());
        prop_assert_eq!(a.cmp(&b), left.cmp(&right));
    }

    #[test]
    fn shifting_the_point_changes_only_the_text(digits in "[1-9][0-9]{0,37}", shift in -130_i64..130) {
        let number = Number::parse(&format!("{digits}e{shift}")).expect("in range");
        prop_assert_eq!(Number::parse(&number.to_string()), Ok(number));
    }

    /// 1, 1.0, 1E0 and 10E-1 are one number, so they must be one message key and one row.
    #[test]
    fn equal_numbers_give_equal_key_bytes(
        digits in "-?(0|[1-9][0-9]{0,37})",
        exponent in -120_i64..80,
        forms in vec((0_usize..40, 0_usize..80, 0_usize..6, any::<bool>()), 2),
    ) {
        let schema = KeySchema { partition: KeyAttribute { name: "n".into(), kind: KeyKind::N }, sort: None };
        let written = forms.into_iter().map(|(moved, fraction, zeros, capital)| {
            let text = same_number(&digits, exponent, moved, fraction, zeros, capital);
            let item = Item::parse(format!(r#"{{"n":{{"N":"{text}"}}}}"#).into()).expect("a number");
            let mut out = String::new();
            push_plain_key(&schema.read(&item).expect("a key"), &schema, &mut out);
            (text, out)
        }).collect::<Vec<_>>();
        prop_assert_eq!(&written[0].1, &written[1].1, "{:?}", written);
        prop_assert!(serde_json::from_str::<Value>(&written[0].1).is_ok());
    }

    #[test]
    fn quoted_text_means_the_text(text in any::<String>()) {
        let mut out = String::new();
        push_quoted(&text, &mut out);
        prop_assert_eq!(serde_json::from_str::<String>(&out).expect("a JSON string"), text);
    }
}

/// `digits × 10^exponent` in one of its many forms: `moved` powers of ten stand as zeros, the point is `fraction` digits
/// from the right, `zeros` follow it, and the exponent makes up for all that.
fn same_number(digits: &str, exponent: i64, moved: usize, fraction: usize, zeros: usize, capital: bool) -> String {
    let (sign, digits) = digits.strip_prefix('-').map_or(("", digits), |rest| ("-", rest));
    let padded = format!("{digits}{}", "0".repeat(moved));
    let fraction = fraction.min(padded.len());
    let exponent = exponent + i64::try_from(fraction).expect("small") - i64::try_from(moved).expect("small");
    let (whole, behind) = padded.split_at(padded.len() - fraction);
    let whole = Some(whole.trim_start_matches('0')).filter(|whole| !whole.is_empty()).unwrap_or("0");
    let point = if behind.is_empty() && zeros == 0 { "" } else { "." };
    format!("{sign}{whole}{point}{behind}{}{}{exponent}", "0".repeat(zeros), if capital { 'E' } else { 'e' })
}
