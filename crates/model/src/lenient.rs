//! JSON taken apart by its brackets, quotes and commas alone. What a strict parser refuses inside of a value (half of a
//! surrogate pair, a number beyond all bounds, nesting without end) does not hide where the value ends.

use crate::scan::plain_run;

/// The text of the JSON value that `text` begins with, or nothing when it has no end. Whether the value is valid is not
/// looked at.
pub fn value_extent(text: &str) -> Option<&str> {
    let bytes = text.as_bytes();
    let length = match bytes.first()? {
        b'"' => string_length(bytes)?,
        b'{' | b'[' => bracketed_length(bytes)?,
        _ => bytes.iter().position(|byte| is_between(*byte)).unwrap_or(bytes.len()),
    };
    text.get(..length).filter(|value| !value.is_empty())
}

/// The members of the object that is the whole of `text`, as name (a JSON string in its quotes) and value, or nothing when
/// it is no object.
pub fn lenient_members(text: &str) -> Option<Vec<(&str, &str)>> {
    let mut rest = Rest(text);
    let members = rest.list("{", "}", |rest| {
        let name = rest.value().filter(|name| name.starts_with('"'))?;
        rest.take(":").then_some(())?;
        Some((name, rest.value()?))
    })?;
    rest.ends().then_some(members)
}

/// The values of the array that is the whole of `text`, or nothing when it is no array.
pub fn lenient_elements(text: &str) -> Option<Vec<&str>> {
    let mut rest = Rest(text);
    let elements = rest.list("[", "]", Rest::value)?;
    rest.ends().then_some(elements)
}

/// What a string in its quotes means; with a broken escape, what stands between them.
pub fn lenient_string(quoted: &str) -> String {
    serde_json::from_str(quoted).unwrap_or_else(|_| quoted.trim_matches('"').to_owned())
}

/// What was not read yet.
struct Rest<'a>(&'a str);

impl<'a> Rest<'a> {
    fn skip_space(&mut self) {
        self.0 = self.0.trim_start_matches([' ', '\t', '\r', '\n']);
    }

    fn take(&mut self, literal: &str) -> bool {
        self.skip_space();
        let behind = self.0.strip_prefix(literal);
        self.0 = behind.unwrap_or(self.0);
        behind.is_some()
    }

    fn value(&mut self) -> Option<&'a str> {
        self.skip_space();
        let value = value_extent(self.0)?;
        self.0 = self.0.get(value.len()..)?;
        Some(value)
    }

    fn list<T>(&mut self, open: &str, close: &str, part: impl Fn(&mut Self) -> Option<T>) -> Option<Vec<T>> {
        let mut parts = Vec::new();
        self.take(open).then_some(())?;
        if self.take(close) {
            return Some(parts);
        }
        loop {
            parts.push(part(self)?);
            if !self.take(",") {
                return self.take(close).then_some(parts);
            }
        }
    }

    fn ends(mut self) -> bool {
        self.skip_space();
        self.0.is_empty()
    }
}

/// Ends a number or a word.
fn is_between(byte: u8) -> bool {
    matches!(byte, b',' | b':' | b'{' | b'}' | b'[' | b']' | b'"' | b' ' | b'\t' | b'\r' | b'\n')
}

/// The length of a string with its quotes.
fn string_length(bytes: &[u8]) -> Option<usize> {
    let mut at = 1;
    loop {
        at += plain_run(bytes.get(at..)?);
        match bytes.get(at)? {
            b'"' => return Some(at + 1),
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
}

/// The length of an object or array with its brackets. Their number is counted, so no nesting is too deep.
fn bracketed_length(bytes: &[u8]) -> Option<usize> {
    let (mut at, mut open) = (0, 0_usize);
    loop {
        match bytes.get(at)? {
            b'"' => {
                at += string_length(bytes.get(at..)?)?;
                continue;
            }
            b'{' | b'[' => open += 1,
            b'}' | b']' if open == 1 => return Some(at + 1),
            b'}' | b']' => open -= 1,
            _ => {}
        }
        at += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_ends_where_its_brackets_and_quotes_say() {
        for (text, value) in [
            (r#""a\"b" ,"#, r#""a\"b""#),
            (r#""\ud800","#, r#""\ud800""#),
            ("1e999}", "1e999"),
            ("true]", "true"),
            (r#"{"a":["}","]",{}]}}"#, r#"{"a":["}","]",{}]}"#),
            ("[\n\"\u{0}\\é\" ] ,", "[\n\"\u{0}\\é\" ]"),
        ] {
            assert_eq!(value_extent(text), Some(value), "{text}");
        }
        let deep = "[".repeat(1_000_000) + &"]".repeat(1_000_000);
        assert_eq!(value_extent(&deep), Some(&*deep));
        for text in ["", ",", "}", "\"a", "\"a\\", "\"a\\\"", "{\"a\":1", "[[]", "{\"}"] {
            assert_eq!(value_extent(text), None, "{text}");
        }
    }

    #[test]
    fn objects_and_arrays_are_taken_apart_with_or_without_white_space() {
        let text = "\n{ \"a\" : 1.0,\"b\\u0063\":[ {} , \"x\" ]\t}\r\n";
        let members = lenient_members(text).expect("an object");
        assert_eq!(members, [("\"a\"", "1.0"), ("\"b\\u0063\"", "[ {} , \"x\" ]")]);
        assert_eq!(lenient_string(members[1].0), "bc");
        assert_eq!(lenient_elements(members[1].1), Some(vec!["{}", "\"x\""]));
        assert_eq!(lenient_members("{}"), Some(vec![]));
        assert_eq!(lenient_elements(" [ ] "), Some(vec![]));
    }

    #[test]
    fn what_does_not_end_is_not_taken_apart() {
        for text in ["", "{", "{\"a\"}", "{\"a\":}", "{\"a\":1,}", "{a:1}", "{\"a\":1 2}", "{\"a\":1}x", "[]"] {
            assert_eq!(lenient_members(text), None, "{text}");
        }
        for text in ["", "[", "[1,]", "[1 2]", "[1]]", "{}"] {
            assert_eq!(lenient_elements(text), None, "{text}");
        }
    }
}
