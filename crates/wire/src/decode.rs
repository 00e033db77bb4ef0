//! The primitives of the door: each takes what came, compares it with a bound, and says what was expected.

use std::{fmt, ops::RangeInclusive};

use thiserror::Error;

/// What came is not what the protocol says. The peer is wrong, or newer.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("field {field}: expected {expected}, got {got}; compare with proto/ of this release")]
pub struct DecodeError {
    /// Path of the field in its message.
    pub field: String,
    /// What would have been valid.
    pub expected: String,
    /// What came; never the bytes themselves.
    pub got: String,
}

impl DecodeError {
    /// An error about `field`.
    pub fn new(field: &str, expected: impl fmt::Display, got: impl fmt::Display) -> Self {
        Self { field: field.to_owned(), expected: expected.to_string(), got: got.to_string() }
    }

    /// The same error, seen from the message around.
    #[must_use]
    pub fn inside(mut self, parent: &str) -> Self {
        self.field.insert(0, '.');
        self.field.insert_str(0, parent);
        self
    }
}

/// Lets `?` name the field that a nested message stands in.
pub(crate) trait Inside {
    fn inside(self, parent: &str) -> Self;
}

impl<T> Inside for Result<T, DecodeError> {
    fn inside(self, parent: &str) -> Self {
        self.map_err(|error| error.inside(parent))
    }
}

/// Exactly `N` bytes.
pub(crate) fn fixed<const N: usize>(field: &str, bytes: &[u8]) -> Result<[u8; N], DecodeError> {
    bytes.try_into().map_err(|_| DecodeError::new(field, format_args!("{N} bytes"), format_args!("{}", bytes.len())))
}

/// `N` bytes, or none at all.
pub(crate) fn fixed_or_empty<const N: usize>(field: &str, bytes: &[u8]) -> Result<Option<[u8; N]>, DecodeError> {
    if bytes.is_empty() { Ok(None) } else { fixed(field, bytes).map(Some) }
}

/// Bytes whose number is in `bound`.
pub(crate) fn blob(field: &str, bytes: Vec<u8>, bound: RangeInclusive<usize>) -> Result<Vec<u8>, DecodeError> {
    within(field, "bytes", bytes.len(), bound)?;
    Ok(bytes)
}

/// Text without control characters whose length in bytes is in `bound`: what people will see on a terminal.
pub(crate) fn text(field: &str, text: String, bound: RangeInclusive<usize>) -> Result<String, DecodeError> {
    within(field, "bytes of text", text.len(), bound)?;
    if text.chars().any(char::is_control) {
        return Err(DecodeError::new(field, "text without control characters", "some"));
    }
    Ok(text)
}

/// A list whose length is in `bound`, each entry converted. The bound comes before any memory is taken.
pub(crate) fn list<A, B>(
    field: &str,
    items: Vec<A>,
    bound: RangeInclusive<usize>,
    mut convert: impl FnMut(A) -> Result<B, DecodeError>,
) -> Result<Vec<B>, DecodeError> {
    within(field, "entries", items.len(), bound)?;
    items
        .into_iter()
        .enumerate()
        .map(|(at, item)| convert(item).map_err(|error| error.inside(&format!("{field}[{at}]"))))
        .collect()
}

/// A list of 32-byte ids.
pub(crate) fn ids<T>(
    field: &str,
    items: Vec<Vec<u8>>,
    bound: RangeInclusive<usize>,
    make: impl Fn([u8; 32]) -> T,
) -> Result<Vec<T>, DecodeError> {
    list(field, items, bound, |item| fixed("id", &item).map(&make))
}

/// A number in `bound`.
pub(crate) fn number<T: PartialOrd + fmt::Display + Copy>(
    field: &str,
    number: T,
    bound: RangeInclusive<T>,
) -> Result<T, DecodeError> {
    within(field, "as a number", number, bound)?;
    Ok(number)
}

/// A message that must be there.
pub(crate) fn present<T>(field: &str, value: Option<T>) -> Result<T, DecodeError> {
    value.ok_or_else(|| DecodeError::new(field, "a value", "none"))
}

fn within<T: PartialOrd + fmt::Display>(
    field: &str,
    what: &str,
    got: T,
    bound: RangeInclusive<T>,
) -> Result<(), DecodeError> {
    if bound.contains(&got) {
        return Ok(());
    }
    Err(DecodeError::new(field, format_args!("{} to {} {what}", bound.start(), bound.end()), got))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_names_the_field_the_bound_and_what_came() {
        let error = blob("page", vec![0; 70_000], 1..=65_536).inside("object").expect_err("too long");
        let said = error.to_string();
        for part in ["object.page", "1 to 65536 bytes", "70000"] {
            assert!(said.contains(part), "{said}");
        }
    }

    #[test]
    fn a_list_over_its_bound_converts_nothing() {
        let mut converted = 0;
        let result = list("runs", vec![(); 5], 0..=4, |()| {
            converted += 1;
            Ok(())
        });
        assert!(result.is_err());
        assert_eq!(converted, 0);
    }

    #[test]
    fn text_that_could_drive_a_terminal_is_refused() {
        assert!(text("zone", "a\u{1b}[2J".into(), 1..=64).is_err());
        assert!(text("zone", "north-1".into(), 1..=64).is_ok());
    }
}
