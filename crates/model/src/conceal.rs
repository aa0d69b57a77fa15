//! What a dead letter may show: of a record that was refused on its way, nothing that a transform further on takes away.

use bytestring::ByteString;

use crate::batch::DeadLetter;
use crate::contract::Transform;
use crate::descent::NESTING_DEPTH_MAX;
use crate::event::ChangeEvent;
use crate::item::Item;
use crate::lenient::{lenient_members, lenient_string};

/// Takes out of the images what the transforms that are still to come would take away. The key stays whole.
pub fn conceal_event(event: &mut ChangeEvent, to_come: &[Box<dyn Transform>]) {
    for image in event.change.images_mut() {
        let mut visible = String::with_capacity(image.typed_json().len());
        Concealing { to_come, path: Vec::new() }.push_map(image.typed_json(), &mut visible);
        // Cutting members out of typed JSON leaves typed JSON.
        *image = Item::parse(ByteString::from(visible)).unwrap_or_else(|_| Item::empty());
    }
}

/// The same for a record that the source could not understand. Whatever stands in it as an object may be an image, but for
/// the key and the identity of who made the change.
pub fn conceal_letter(letter: &mut DeadLetter, to_come: &[Box<dyn Transform>]) {
    let mut visible = String::with_capacity(letter.record.len());
    push_members(&letter.record, &mut visible, |name, value, out| match name {
        "dynamodb" => push_members(value, out, |name, value, out| match name {
            "Keys" => out.push_str(value),
            _ => push_as_image(value, to_come, out),
        }),
        "userIdentity" => out.push_str(value),
        _ => push_as_image(value, to_come, out),
    });
    letter.record = visible;
}

fn push_as_image(value: &str, to_come: &[Box<dyn Transform>], out: &mut String) {
    if value.starts_with('{') {
        Concealing { to_come, path: Vec::new() }.push_map(value, out);
    } else {
        out.push_str(value);
    }
}

/// Writes an object anew with what `push_value` writes for each of its values. What cannot be taken apart is not shown.
fn push_members(object: &str, out: &mut String, push_value: impl Fn(&str, &str, &mut String)) {
    out.push('{');
    for (name, value) in lenient_members(object).unwrap_or_default() {
        push_name(name, out);
        push_value(&lenient_string(name), value, out);
    }
    out.push('}');
}

fn push_name(quoted: &str, out: &mut String) {
    if !out.ends_with('{') {
        out.push(',');
    }
    out.push_str(quoted);
    out.push(':');
}

/// A walk through the maps of an item.
struct Concealing<'t> {
    to_come: &'t [Box<dyn Transform>],
    path: Vec<String>,
}

impl Concealing<'_> {
    /// Writes the map without what may not be seen.
    fn push_map(&mut self, map: &str, out: &mut String) {
        out.push('{');
        for (name, value) in lenient_members(map).unwrap_or_default() {
            self.path.push(lenient_string(name));
            let mark = out.len();
            push_name(name, out);
            if !self.push_value(value, out) {
                out.truncate(mark);
            }
            self.path.pop();
        }
        out.push('}');
    }

    /// Writes the value if any of it may be seen, and answers whether.
    fn push_value(&mut self, value: &str, out: &mut String) -> bool {
        let inside = match lenient_members(value).as_deref() {
            Some([(tag, inside)]) => {
                Some(*inside).filter(|inside| lenient_string(tag) == "M" && inside.starts_with('{'))
            }
            // No value of DynamoDB's: a path that leads into it cannot be followed.
            Some(_) => return false,
            None if value.starts_with('{') => return false,
            None => None,
        };
        let Some(inside) = inside.filter(|inside| !lenient_members(inside).is_some_and(|members| members.is_empty()))
        else {
            out.push_str(value);
            return self.is_visible();
        };
        if self.path.len() >= NESTING_DEPTH_MAX as usize {
            return false;
        }
        out.push_str("{\"M\":");
        let start = out.len();
        self.push_map(inside, out);
        out.push('}');
        out.len() > start + "{}}".len()
    }

    fn is_visible(&self) -> bool {
        let mut path = self.path.clone();
        self.to_come.iter().all(|transform| transform.follow(&mut path))
    }
}
