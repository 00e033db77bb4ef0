//! Sizes, ranges and codes as people type them.

use holdfast_types::{ByteRange, Code};

/// Bytes: a number, alone or with B, KiB, MiB, GiB, TiB (powers of 1024) or kB, MB, GB, TB (powers of 1000).
pub(crate) fn size(text: &str) -> Result<u64, String> {
    let expected = || format!("expected bytes such as 4096, 256MiB or 1.5GB, got {text:?}");
    let digits = text.find(|letter: char| !(letter.is_ascii_digit() || letter == '.')).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let scale: u64 = match unit.trim() {
        "" | "B" => 1,
        "KiB" | "K" => 1 << 10,
        "MiB" | "M" => 1 << 20,
        "GiB" | "G" => 1 << 30,
        "TiB" | "T" => 1 << 40,
        "kB" | "KB" => 1000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        "TB" => 1_000_000_000_000,
        _ => return Err(expected()),
    };
    let (whole, part) = number.split_once('.').unwrap_or((number, ""));
    // Nine digits after the point are more than anybody means, and fit.
    if part.len() > 9 || (number.contains('.') && (part.is_empty() || scale == 1)) {
        return Err(expected());
    }
    let whole: u64 = whole.parse().map_err(|_| expected())?;
    let part: u64 = if part.is_empty() { 0 } else { part.parse().map_err(|_| expected())? };
    let tens = 10u128.pow(number.len().saturating_sub(number.find('.').map_or(number.len(), |at| at + 1)) as u32);
    let bytes = u128::from(whole) * u128::from(scale) + u128::from(part) * u128::from(scale) / tens;
    u64::try_from(bytes).map_err(|_| format!("expected at most {} bytes, got {text}", u64::MAX))
}

/// A half-open range of bytes, `A..B`, each a size. `..B` starts at 0; `A..` has no end.
pub(crate) fn range(text: &str) -> Result<(u64, Option<u64>), String> {
    let expected = || format!("expected a range of bytes such as 0..1MiB, 4096..8192 or 1GiB.., got {text:?}");
    let (from, to) = text.split_once("..").ok_or_else(expected)?;
    let from = if from.is_empty() { 0 } else { size(from).map_err(|_| expected())? };
    let to = if to.is_empty() { None } else { Some(size(to).map_err(|_| expected())?) };
    match to {
        Some(to) if ByteRange::new(from, to).is_none() => {
            Err(format!("expected a range that ends at {from} or later, got {text:?}"))
        }
        _ => Ok((from, to)),
    }
}

/// A code, `K+M`.
pub(crate) fn code(text: &str) -> Result<Code, String> {
    let expected = || format!("expected data and parity shards such as 8+4, got {text:?}");
    let (data, parity) = text.split_once('+').ok_or_else(expected)?;
    let number = |part: &str| part.trim().parse::<u16>().map_err(|_| expected());
    Code::new(number(data)?, number(parity)?).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn sizes_are_read_as_they_are_written() {
        let cases = [
            ("0", 0),
            ("17", 17),
            ("17B", 17),
            ("256MiB", 256 << 20),
            ("8 MiB", 8 << 20),
            ("1.5KiB", 1536),
            ("1.5GB", 1_500_000_000),
            ("2TiB", 2 << 40),
            ("1.05MB", 1_050_000),
        ];
        for (text, bytes) in cases {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
        for text in ["", "MiB", "-1", "1.5", "1.", "1.5B", "256mib", "1e9", "99999999TiB", "1.2.3KiB", "1 000"] {
            assert!(size(text).is_err(), "{text}");
        }
    }

    #[test]
    fn ranges_are_half_open_and_never_run_backwards() {
        assert_eq!(range("0..16"), Ok((0, Some(16))));
        assert_eq!(range("1KiB..1MiB"), Ok((1024, Some(1 << 20))));
        assert_eq!(range("..7"), Ok((0, Some(7))));
        assert_eq!(range("7.."), Ok((7, None)));
        for text in ["", "7", "9..8", "a..b", "1...2", "0-7"] {
            assert!(range(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_code_is_refused_with_the_arithmetic() {
        assert_eq!(code("8+4"), Ok(Code::new(8, 4).unwrap()));
        assert!(code("0+4").unwrap_err().contains("k = 0"));
        assert!(code("250+7").unwrap_err().contains("257"));
        for text in ["8", "8-4", "8+4+2", "+", "x+y"] {
            assert!(code(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn every_number_of_bytes_reads_back(bytes: u64) {
            prop_assert_eq!(size(&bytes.to_string()), Ok(bytes));
        }

        #[test]
        fn no_text_makes_it_panic(text in "\\PC{0,24}") {
            let _ = (size(&text), range(&text), code(&text));
        }
    }
}
