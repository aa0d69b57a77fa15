//! Statements with their values written into them: such a statement leaves nothing with the server and takes one round trip,
//! where a prepared one would have to outlive its transaction to take as few.

use sqlx::AssertSqlSafe;

use crate::identifier::Literal;

/// An SQL text of this crate with `$1`, `$2`, … and the literals that come in their places.
pub(crate) struct Inline {
    sql: &'static str,
    values: Vec<String>,
}

impl Inline {
    /// A statement without values yet.
    pub(crate) fn new(sql: &'static str) -> Self {
        Self { sql, values: Vec::new() }
    }

    /// The next value: text.
    pub(crate) fn text(self, value: &str) -> Self {
        self.push(Literal(value).to_string())
    }

    /// The next value: a number of whatever type the place has.
    pub(crate) fn number(self, value: i64) -> Self {
        self.push(format!("'{value}'"))
    }

    /// The next value: an array of text, to be followed by its type.
    pub(crate) fn texts<'v>(self, values: impl IntoIterator<Item = Option<&'v str>>) -> Self {
        let literals = values.into_iter().map(|value| value.map_or("null".into(), |text| Literal(text).to_string()));
        let literals: Vec<String> = literals.collect();
        self.push(format!("array[{}]", literals.join(",")))
    }

    /// The next value: an array of numbers, to be followed by its type.
    pub(crate) fn numbers(self, values: impl IntoIterator<Item = Option<i64>>) -> Self {
        let numbers = values.into_iter().map(|value| value.map_or("null".into(), |number| number.to_string()));
        let numbers: Vec<String> = numbers.collect();
        self.push(format!("'{{{}}}'", numbers.join(",")))
    }

    fn push(mut self, literal: String) -> Self {
        self.values.push(literal);
        self
    }

    /// The whole text. A place without a value is null.
    pub(crate) fn sql(&self) -> AssertSqlSafe<String> {
        let mut parts = self.sql.split('$');
        let mut sql = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            let digits = part.bytes().take_while(u8::is_ascii_digit).count();
            let (number, rest) = part.split_at(digits);
            let place = number.parse::<usize>().ok().and_then(|number| number.checked_sub(1));
            sql.push_str(place.and_then(|place| self.values.get(place)).map_or("null", String::as_str));
            sql.push_str(rest);
        }
        AssertSqlSafe(sql)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_stand_where_their_numbers_are() {
        let inline = Inline::new("a $2::uuid, $1; $10 $3::text[] $4::int8[]")
            .text("it's $1 \\")
            .number(-7)
            .texts([Some("x'"), None])
            .numbers([Some(-1), None]);
        assert_eq!(
            inline.sql().0,
            r"a '-7'::uuid, E'it''s $1 \\'; null array[E'x''',null]::text[] '{-1,null}'::int8[]"
        );
        assert_eq!(Inline::new("$1::text[] $2::int8[]").texts([]).numbers([]).sql().0, "array[]::text[] '{}'::int8[]");
    }
}
