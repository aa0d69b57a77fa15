//! What comes from outside (values, names of tables and files, messages of servers) must not steer the terminal.

use unicode_properties::{GeneralCategory, UnicodeGeneralCategory};

/// Every control character, and everything that Unicode has for format, direction and breaks of lines.
fn steers(character: char) -> bool {
    use GeneralCategory::{Control, Format, LineSeparator, ParagraphSeparator};
    // Nothing of ASCII is looked up in the tables.
    character.is_control()
        || !character.is_ascii()
            && matches!(character.general_category(), Control | Format | LineSeparator | ParagraphSeparator)
}

/// The text in one line, with everything escaped that could steer the terminal.
pub fn printable(text: &str) -> String {
    escaped(text, steers, |character| character.escape_unicode().to_string())
}

/// The same, and breaks of lines stay.
pub fn printable_lines(text: &str) -> String {
    escaped(
        text,
        |character| character != '\n' && steers(character),
        |character| character.escape_unicode().to_string(),
    )
}

/// JSON that means the same. What steers can only stand in its strings.
pub fn printable_json(json: &str) -> String {
    let of_json = |character: char| {
        character.encode_utf16(&mut [0; 2]).iter().map(|unit| format!("\\u{unit:04x}")).collect::<String>()
    };
    escaped(json, |character| character != '\n' && steers(character), of_json)
}

fn escaped(text: &str, steers: impl Fn(char) -> bool, escape: impl Fn(char) -> String) -> String {
    if !text.contains(&steers) {
        return text.to_owned();
    }
    text.chars().fold(String::with_capacity(text.len() + 8), |mut out, character| {
        if steers(character) {
            out.push_str(&escape(character));
        } else {
            out.push(character);
        }
        out
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_steers_a_terminal_is_left() {
        // C0, DEL, C1, a soft hyphen, Arabic letter mark, zero width, marks, embeddings and isolates of direction, separators
        // of lines and paragraphs, invisible operators, the byte order mark, annotations, musical and tag characters.
        let steering = "\0\u{7}\u{8}\t\n\r\u{1b}\u{7f}\u{85}\u{9b}\u{ad}\u{61c}\u{200b}\u{200d}\u{200e}\u{200f}\u{2028}\
                        \u{2029}\u{202a}\u{202e}\u{2060}\u{2064}\u{2066}\u{2069}\u{206f}\u{feff}\u{fff9}\u{1d173}\u{e0001}\u{e0041}";
        for character in steering.chars() {
            let shown = printable(&format!("a{character}b"));
            assert_eq!(shown, format!("a{}b", character.escape_unicode()));
        }
        assert_eq!(printable_lines("a\r\nb"), "a\\u{d}\nb");
        let json = serde_json::to_string_pretty(&[steering]).expect("JSON");
        let shown = printable_json(&json);
        assert!(!shown.contains(|character: char| character != '\n' && steers(character)), "{shown}");
        assert_eq!(serde_json::from_str::<Vec<String>>(&shown).expect("JSON"), [steering]);
        for plain in ["", "Größe 7 € → 名前", "مرحبا", "e\u{301}", "🙂"] {
            assert_eq!(printable(plain), plain);
        }
    }
}
