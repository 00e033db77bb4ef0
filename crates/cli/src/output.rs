//! Standard output is for results, standard error for everything else. Neither panics when its reader goes away.

use std::{
    io::{self, Write},
    path::Path,
};

use serde::Serialize;
use serde_json::Value;

use crate::failure::Failure;

/// A line of result.
pub(crate) fn line(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    writeln!(out, "{text}")?;
    out.flush()?;
    Ok(())
}

/// How a command answers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Voice {
    /// Words, for people.
    Words,
    /// One JSON object as the last line of standard output.
    Json,
    /// The same on standard error: an object's bytes go to standard output.
    JsonAside,
}

/// What a command found: one JSON object, on one line, that says that it was done.
pub(crate) fn done(mut value: Value) -> Result<(), Failure> {
    if let Some(fields) = value.as_object_mut() {
        fields.entry("ok").or_insert(Value::Bool(true));
    }
    object(&value)
}

/// One JSON object, on one line.
pub(crate) fn object(value: &impl Serialize) -> Result<(), Failure> {
    line(&serde_json::to_string(value).map_err(|error| Failure::Failed(error.to_string()))?)
}

/// A line for people, beside the result.
pub(crate) fn note(text: &str) {
    // With nobody reading there is nobody to tell.
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// Whether a path means standard input or output.
pub(crate) fn is_dash(path: &Path) -> bool {
    path.as_os_str() == "-"
}

/// Rows under a head, in columns as wide as their widest entry.
pub(crate) fn table(head: &[&str], rows: &[Vec<String>]) -> Result<(), Failure> {
    for line_ in lay_out(head, rows) {
        line(&line_)?;
    }
    Ok(())
}

/// The lines of a table.
pub(crate) fn lay_out(head: &[&str], rows: &[Vec<String>]) -> Vec<String> {
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
        cells.chain(head.get(column).map(|cell| cell.chars().count())).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    let join = |cells: Vec<&str>| {
        let padded: Vec<String> =
            cells.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}", width = *width)).collect();
        padded.join("  ").trim_end().to_owned()
    };
    let head = (head.iter().any(|cell| !cell.is_empty())).then(|| join(head.to_vec()));
    head.into_iter().chain(rows.iter().map(|row| join(row.iter().map(String::as_str).collect()))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_stand_below_each_other() {
        let rows = vec![vec!["a".into(), "long".into(), "x".into()], vec!["bbb".into(), "s".into(), "y".into()]];
        assert_eq!(lay_out(&["n", "m", "o"], &rows), ["n    m     o", "a    long  x", "bbb  s     y"]);
    }
}
