//! Bytes, times and names as people read them.

use holdfast_types::{ByteRange, Millis, Wall};

/// Bytes with a unit of powers of 1000: `12.3 MB`.
pub(crate) fn bytes(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["B", "kB", "MB", "GB", "TB", "PB"];
    let (mut value, mut unit) = (bytes as f64, 0);
    while value >= 999.95 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    if unit == 0 { format!("{bytes} B") } else { format!("{value:.1} {}", UNITS[unit]) }
}

/// `1 segment`, `2 segments`.
pub(crate) fn count(number: impl Into<u64>, noun: &str) -> String {
    let number = number.into();
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}

/// 10⁶ bytes a second; 0 for no time at all.
pub(crate) fn mb_per_s(bytes: u64, seconds: f64) -> f64 {
    if seconds > 0.0 { rounded(bytes as f64 / 1e6 / seconds) } else { 0.0 }
}

/// To three decimals: what is behind them was not measured.
pub(crate) fn rounded(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}

/// `2026-01-31T12:34:56Z`.
pub(crate) fn time(wall: Wall) -> String {
    let seconds = wall.0 / 1000;
    let (days, clock) = (seconds / 86_400, seconds % 86_400);
    // Days since the epoch to a date, eras of 400 years starting on 1 March
    // (H. Hinnant, "chrono-Compatible Low-Level Date Algorithms", civil_from_days).
    let shifted = days + 719_468;
    let (era, of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z", clock / 3600, clock / 60 % 60, clock % 60)
}

/// A span in the largest unit that keeps it above one.
pub(crate) fn span(span: Millis) -> String {
    let seconds = span.as_secs_f64();
    match span.0 {
        0..120_000 => format!("{seconds:.1} s"),
        120_000..7_200_000 => format!("{:.1} min", seconds / 60.0),
        7_200_000..172_800_000 => format!("{:.1} h", seconds / 3600.0),
        _ => format!("{:.1} days", seconds / 86_400.0),
    }
}

/// The end of a CID, which tells two apart: they all begin alike.
pub(crate) fn short(cid: &impl ToString) -> String {
    let text = cid.to_string();
    match text.char_indices().rev().nth(7) {
        Some((at, _)) if at > 8 => format!("{}…{}", &text[..7], &text[at..]),
        _ => text,
    }
}

/// `from..to`.
pub(crate) fn pair(range: ByteRange) -> [u64; 2] {
    [range.start(), range.end()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_those_of_the_calendar() {
        let cases = [
            (0, "1970-01-01T00:00:00Z"),
            (951_827_696, "2000-02-29T12:34:56Z"),
            (1_709_164_800, "2024-02-29T00:00:00Z"),
            (1_735_689_599, "2024-12-31T23:59:59Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
        ];
        for (seconds, text) in cases {
            assert_eq!(time(Wall(seconds * 1000)), text);
        }
    }

    #[test]
    fn sizes_never_show_a_thousand_of_a_smaller_unit() {
        assert_eq!(bytes(0), "0 B");
        assert_eq!(bytes(999), "999 B");
        assert_eq!(bytes(999_949), "999.9 kB");
        assert_eq!(bytes(999_950), "1.0 MB");
        assert_eq!(bytes(268_435_456), "268.4 MB");
    }
}
