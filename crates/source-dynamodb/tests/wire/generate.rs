//! Random but repeatable pages of records in AWS's compact form: all types, all view types, fields in any order.

use std::fmt::Write;

use fastrand::Rng;

/// DynamoDB's deepest nesting (limits of the service).
const NESTING: usize = 32;
const VIEWS: [&str; 4] = ["KEYS_ONLY", "NEW_IMAGE", "OLD_IMAGE", "NEW_AND_OLD_IMAGES"];

pub fn page(random: &mut Rng) -> String {
    let count = random.usize(0..12);
    let records: Vec<String> = (0..count).map(|number| record(random, number)).collect();
    let mut members = vec![format!("\"Records\":[{}]", records.join(","))];
    match random.u8(0..4) {
        0 => {}
        1 => members.push("\"NextShardIterator\":null".into()),
        _ => members.push(format!("\"NextShardIterator\":{}", string(random))),
    }
    if random.u8(0..4) == 0 {
        members.push(r#""SomethingNew":{"a":[1,-2.5e3,true,null,{"b":"}"}]}"#.into());
    }
    object(random, members)
}

fn record(random: &mut Rng, number: usize) -> String {
    let view = VIEWS[random.usize(0..VIEWS.len())];
    let name = ["INSERT", "MODIFY", "REMOVE"][random.usize(0..3)];
    let time = ["1734567890", "1795461660.000", "1795461660.365", "1.734567890E9"][random.usize(0..4)];
    let mut stream = vec![
        format!("\"ApproximateCreationDateTime\":{time}"),
        format!("\"Keys\":{{\"Id\":{{\"S\":{}}},\"n\":{{\"N\":\"{number}\"}}}}", string(random)),
        format!("\"SequenceNumber\":\"{:021}\"", random.u64(0..u64::MAX)),
        format!("\"SizeBytes\":{}", random.u32(0..400_000)),
        format!("\"StreamViewType\":\"{view}\""),
    ];
    if view.contains("NEW") && name != "REMOVE" {
        stream.push(format!("\"NewImage\":{}", image(random)));
    }
    if view.contains("OLD") && name != "INSERT" {
        stream.push(format!("\"OldImage\":{}", image(random)));
    }
    let mut members = vec![
        format!("\"eventID\":\"{:032x}\"", random.u128(..)),
        format!("\"eventName\":\"{name}\""),
        format!("\"eventVersion\":\"{}\"", ["1.0", "1.1", "2.0"][random.usize(0..3)]),
        "\"eventSource\":\"aws:dynamodb\"".into(),
        "\"awsRegion\":\"eu-west-1\"".into(),
        format!("\"dynamodb\":{}", object(random, stream)),
    ];
    if name == "REMOVE" && random.bool() {
        members.push(r#""userIdentity":{"PrincipalId":"dynamodb.amazonaws.com","Type":"Service"}"#.into());
    }
    object(random, members)
}

fn object(random: &mut Rng, mut members: Vec<String>) -> String {
    random.shuffle(&mut members);
    format!("{{{}}}", members.join(","))
}

fn image(random: &mut Rng) -> String {
    let mut members: Vec<String> =
        (0..random.usize(0..8)).map(|at| format!("\"a{at}\":{}", value(random, 3))).collect();
    members.push(format!("\"name \\\"\\u00e9\\/\":{}", value(random, 0)));
    if random.u8(0..3) == 0 {
        // One level is the image itself.
        members.push(format!("\"deep\":{}", deep(random, NESTING - 1)));
    }
    object(random, members)
}

fn deep(random: &mut Rng, levels: usize) -> String {
    match levels {
        0 => value(random, 0),
        _ if random.bool() => format!("{{\"L\":[{}]}}", deep(random, levels - 1)),
        _ => format!("{{\"M\":{{\"d\":{}}}}}", deep(random, levels - 1)),
    }
}

fn value(random: &mut Rng, levels: usize) -> String {
    let list = |random: &mut Rng, one: fn(&mut Rng) -> String| {
        let members: Vec<String> = (0..random.usize(1..4)).map(|_| one(random)).collect();
        members.join(",")
    };
    match random.u8(0..if levels == 0 { 8 } else { 10 }) {
        0 | 1 => format!("{{\"S\":{}}}", string(random)),
        2 => format!("{{\"N\":{}}}", number(random)),
        3 => format!("{{\"B\":{}}}", binary(random)),
        4 => if random.bool() { "{\"BOOL\":true}" } else { "{\"BOOL\":false}" }.into(),
        5 => "{\"NULL\":true}".into(),
        6 if random.bool() => format!("{{\"SS\":[{}]}}", list(random, string)),
        6 => format!("{{\"NS\":[{}]}}", list(random, number)),
        7 => format!("{{\"BS\":[{}]}}", list(random, binary)),
        8 => {
            let members: Vec<String> = (0..random.usize(0..4)).map(|_| value(random, levels - 1)).collect();
            format!("{{\"L\":[{}]}}", members.join(","))
        }
        _ => {
            let members: Vec<String> =
                (0..random.usize(0..4)).map(|at| format!("\"m{at}\":{}", value(random, levels - 1))).collect();
            format!("{{\"M\":{}}}", object(random, members))
        }
    }
}

/// A JSON string with the pieces that hurt: escapes of every form, surrogate pairs, controls, non-ASCII, emptiness.
fn string(random: &mut Rng) -> String {
    const PIECES: [&str; 16] = [
        "a",
        "Straße",
        "日本",
        "😀",
        "\\u0000",
        "\\\"",
        "\\\\",
        "\\/",
        "\\n",
        "\\t",
        "\\b\\f\\r",
        "\\u00e9",
        "\\ud83d\\ude00",
        "{[,:]}",
        "\u{7f}\u{a0}\u{2028}",
        "0123456789 0123456789 0123456789",
    ];
    let pieces: String = (0..random.usize(0..6)).map(|_| PIECES[random.usize(0..PIECES.len())]).collect();
    format!("\"{pieces}\"")
}

fn number(random: &mut Rng) -> String {
    let digits: String = (0..38).map(|_| char::from(random.u8(b'1'..=b'9'))).collect();
    match random.u8(0..6) {
        0 => "\"0\"".into(),
        1 => format!("\"{digits}\""),
        2 => format!("\"-{}.{}\"", &digits[..20], &digits[20..]),
        3 => "\"1E-130\"".into(),
        4 => format!("\"0.{}1\"", "0".repeat(129)),
        _ => format!("\"{}\"", random.i64(..)),
    }
}

fn binary(random: &mut Rng) -> String {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::from("\"");
    for _ in 0..random.usize(0..6) * 4 {
        text.push(char::from(ALPHABET[random.usize(0..ALPHABET.len())]));
    }
    let _ = write!(text, "{}\"", ["", "AA==", "AAE=", "/w=="][random.usize(0..4)]);
    text
}
