//! What a reader would trip over: files and functions too long, names that say nothing, IO where
//! only decisions belong, `unsafe` outside its few places, modules without a story.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// Production lines of a file.
const FILE_LINES_MAX: usize = 420;
/// Lines of a function, signature and braces included.
const FUNCTION_LINES_MAX: usize = 70;

/// Names that hide what a thing is.
const EMPTY_NAMES: &[&str] = &["manager", "utils", "util", "helper", "helpers", "data", "check", "misc", "common"];

/// Crates whose sources may not touch the world.
const CORE: &[&str] = &["crates/merkle-cid/", "crates/types/", "crates/kzg/", "crates/dispersal/", "crates/protocol/"];
/// What the world looks like in source.
const WORLD: &[&str] = &["std::fs", "std::net", "std::time::Instant", "SystemTime", "std::thread", "std::env", "OsRng"];

/// Files that may hold `unsafe`, each with its reason beside it in the file.
const UNSAFE_IN: &[&str] = &[
    "crates/kzg/src/blst.rs",
    "crates/kzg/src/simd",
    "crates/kzg/examples/proof_speed.rs",
    "crates/dispersal/src/simd",
    "crates/cli/src/memory.rs",
    "benches/peers/src/rented.rs",
];

/// What is wrong with the sources under `root`.
pub(crate) fn findings(root: &Path) -> Result<Vec<String>, String> {
    let mut files = Vec::new();
    for top in ["crates", "tests", "benches", "xtask"] {
        gather(&root.join(top), &mut files)?;
    }
    files.sort();
    let mut out = Vec::new();
    for path in files {
        let name = path.strip_prefix(root).unwrap_or(&path).to_string_lossy().into_owned();
        let text = fs::read_to_string(&path).map_err(|error| format!("{name} cannot be read: {error}"))?;
        inspect(&name, &text, &mut out);
    }
    Ok(out)
}

fn gather(dir: &Path, files: &mut Vec<PathBuf>) -> Result<(), String> {
    let entries = fs::read_dir(dir).map_err(|error| format!("{} cannot be listed: {error}", dir.display()))?;
    for entry in entries {
        let path = entry.map_err(|error| format!("{} cannot be listed: {error}", dir.display()))?.path();
        if path.is_dir() && path.file_name().is_none_or(|name| name != "target") {
            gather(&path, files)?;
        } else if path.extension().is_some_and(|ext| ext == "rs") {
            files.push(path);
        }
    }
    Ok(())
}

fn inspect(name: &str, text: &str, out: &mut Vec<String>) {
    let in_tests = name.contains("/tests/") || name.starts_with("tests/") || name.starts_with("benches/");
    let stem = Path::new(name).file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    if EMPTY_NAMES.contains(&stem.as_str()) {
        out.push(format!("{name}: a file named {stem:?} says nothing; name the thing"));
    }
    if !text.trim_start().starts_with("//!") && stem != "build" {
        out.push(format!("{name}: opens without its story; begin with `//!`"));
    }
    let production: Vec<&str> = production(text);
    if !in_tests && production.len() > FILE_LINES_MAX {
        out.push(format!("{name}: {} production lines, at most {FILE_LINES_MAX}; split it", production.len()));
    }
    for (line, length, function) in long_functions(&production) {
        if !in_tests {
            out.push(format!("{name}:{line}: fn {function} has {length} lines, at most {FUNCTION_LINES_MAX}"));
        }
    }
    let core = CORE.iter().any(|dir| name.starts_with(dir)) && !in_tests && stem != "build" && name.contains("/src/");
    let may_be_unsafe = UNSAFE_IN.iter().any(|place| name.starts_with(place));
    for (at, line) in production.iter().enumerate() {
        let code = line.split("//").next().unwrap_or_default();
        if core {
            for word in WORLD.iter().filter(|word| code.contains(**word)) {
                out.push(format!("{name}:{}: {word} in the sans-IO core; take it as an argument", at + 1));
            }
        }
        if !may_be_unsafe && (code.contains("unsafe {") || code.contains("unsafe fn")) && !name.starts_with("xtask/") {
            out.push(format!("{name}:{}: unsafe outside of {UNSAFE_IN:?}", at + 1));
        }
    }
}

/// Lines up to the file's test module.
fn production(text: &str) -> Vec<&str> {
    text.lines().take_while(|line| line.trim() != "#[cfg(test)]").collect()
}

/// (first line, length, name) of functions over the limit. Goes by indentation, which rustfmt keeps.
fn long_functions<'a>(lines: &[&'a str]) -> Vec<(usize, usize, &'a str)> {
    let mut out = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        let trimmed = line.trim_start();
        let indent = line.len() - trimmed.len();
        let Some(rest) = trimmed.find("fn ").and_then(|pos| {
            let before = &trimmed[..pos];
            let prefix_only = before.split_whitespace().all(|word| {
                word.starts_with("pub") || matches!(word, "async" | "const" | "unsafe" | "extern" | "\"C\"")
            });
            prefix_only.then(|| &trimmed[pos + 3..])
        }) else {
            continue;
        };
        let function = rest.split(['(', '<']).next().unwrap_or(rest);
        let closing = format!("{}}}", " ".repeat(indent));
        let end = lines[at..].iter().position(|line| **line == closing);
        if let Some(length) = end.filter(|length| *length + 1 > FUNCTION_LINES_MAX) {
            out.push((at + 1, length + 1, function));
        }
    }
    out
}
