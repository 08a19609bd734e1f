//! Numbers as people read them. Machines get plain integers elsewhere.

use std::time::Duration;

const BINARY: [&str; 7] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];

/// A size with its unit: `0 B`, `980 KiB`, `1.4 MiB`, `12.0 GiB`.
pub fn bytes(value: u64) -> String {
    let (number, unit) = scaled(value, 1024.0);
    format!("{number} {}", BINARY[unit.min(BINARY.len() - 1)])
}

/// A size for a narrow column, at most six wide: `0`, `980K`, `1.4M`, `12.0G`.
pub fn short_bytes(value: u64) -> String {
    if value == 0 {
        return "0".to_owned();
    }
    let (number, unit) = scaled(value, 1024.0);
    format!("{number}{}", &BINARY[unit.min(BINARY.len() - 1)][..1])
}

/// A count with its thousands set apart: `16 386`.
pub fn count(value: u64) -> String {
    let digits = value.to_string();
    let mut spaced = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            spaced.push(' ');
        }
        spaced.push(digit);
    }
    spaced
}

/// A count for a narrow column: `999`, `16.4k`, `1.2M`.
pub fn short_count(value: u64) -> String {
    const DECIMAL: [&str; 7] = ["", "k", "M", "G", "T", "P", "E"];
    let (number, unit) = scaled(value, 1000.0);
    format!("{number}{}", DECIMAL[unit.min(DECIMAL.len() - 1)])
}

/// A duration: `0`, `850 ns`, `12.4 µs`, `3.1 ms`, `2.0 s`, `4 min 5 s`.
pub fn nanoseconds(value: u64) -> String {
    const STEPS: [&str; 3] = ["ns", "µs", "ms"];
    if value == 0 {
        return "0".to_owned();
    }
    let (number, unit) = scaled(value, 1000.0);
    if let Some(name) = STEPS.get(unit) {
        return format!("{number} {name}");
    }
    let seconds = value / 1_000_000_000;
    match seconds {
        0..60 => format!("{:.1} s", to_f64(value) / 1e9),
        60..3_600 => format!("{} min {} s", seconds / 60, seconds % 60),
        3_600..86_400 => format!("{} h {} min", seconds / 3_600, seconds % 3_600 / 60),
        _ => format!("{} d {} h", seconds / 86_400, seconds % 86_400 / 3_600),
    }
}

/// A share of a whole: `0 %`, `<0.1 %`, `3.4 %`, `100 %`. An empty whole has no shares.
pub fn share(part: u64, whole: u64) -> String {
    if whole == 0 {
        return "–".to_owned();
    }
    let percent = to_f64(part) * 100.0 / to_f64(whole);
    if part == 0 {
        "0 %".to_owned()
    } else if percent < 0.1 {
        "<0.1 %".to_owned()
    } else if part == whole {
        "100 %".to_owned()
    } else {
        // Never round up to a whole that is not there.
        format!("{:.1} %", percent.min(99.9))
    }
}

/// Reads a time as typed: `10s`, `1.5s`, `500ms`, `100us`, `2m`, or bare seconds.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let digits =
        text.find(|sign: char| !sign.is_ascii_digit() && sign != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let unit = match unit.trim() {
        "" | "s" => 1.0,
        "ms" => 1e-3,
        "us" | "µs" => 1e-6,
        "ns" => 1e-9,
        "m" | "min" => 60.0,
        "h" => 3600.0,
        other => return Err(format!("unknown unit {other:?}: use ns, us, ms, s, m or h")),
    };
    let number: f64 = number.parse().map_err(|_error| "a time starts with a number".to_owned())?;
    Duration::try_from_secs_f64(number * unit).map_err(|error| error.to_string())
}

/// Reads a size as typed: `64K`, `1.5G`, `10MiB`, or bare bytes.
pub fn parse_bytes(text: &str) -> Result<u64, String> {
    let digits =
        text.find(|sign: char| !sign.is_ascii_digit() && sign != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let unit = unit.trim().trim_end_matches('B').trim_end_matches('i').to_ascii_uppercase();
    let Some(rank) = ["", "K", "M", "G", "T", "P", "E"].iter().position(|name| *name == unit)
    else {
        return Err(format!("unknown unit {unit:?}: use K, M, G or T"));
    };
    let step = 1u64 << (10 * rank);
    if let Ok(whole) = number.parse::<u64>() {
        return whole.checked_mul(step).ok_or_else(|| "too large".to_owned());
    }
    let number: f64 = number.parse().map_err(|_error| "a size starts with a number".to_owned())?;
    // A fraction of a byte is nobody's; a saturated cast is what is wanted.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "not negative")]
    Ok((number * to_f64(step)) as u64)
}

/// A signed change of a size: `+1.4 MiB`, `-4.0 KiB`, `0 B`.
pub fn bytes_change(value: i64) -> String {
    signed(value, bytes(value.unsigned_abs()))
}

/// A signed change of a size for a narrow column: `+1.4M`, `-4K`, `0`.
pub fn short_bytes_change(value: i64) -> String {
    signed(value, short_bytes(value.unsigned_abs()))
}

fn signed(value: i64, magnitude: String) -> String {
    match value.signum() {
        1 => format!("+{magnitude}"),
        -1 => format!("-{magnitude}"),
        _ => magnitude,
    }
}

/// The number in the largest unit that keeps it at least 1, with one decimal
/// below ten thousand of the smaller unit's worth, and the unit's rank.
fn scaled(value: u64, step: f64) -> (String, usize) {
    let mut number = to_f64(value);
    let mut unit = 0;
    // 999.95 would be written as 1000.0 of the smaller unit.
    while number >= step || (unit > 0 && number >= step - 0.05) {
        number /= step;
        unit += 1;
    }
    let whole = unit == 0 || number.fract() == 0.0 && number >= 10.0 || number >= 100.0;
    (if whole { format!("{number:.0}") } else { format!("{number:.1}") }, unit)
}

#[expect(clippy::cast_precision_loss, reason = "rounded to three digits for people")]
const fn to_f64(value: u64) -> f64 {
    value as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        let cases = [
            (0, "0 B"),
            (1, "1 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (4096, "4.0 KiB"),
            (10_240, "10 KiB"),
            (132 << 10, "132 KiB"),
            ((1 << 20) - 1, "1.0 MiB"),
            (1 << 47, "128 TiB"),
            (u64::MAX, "16 EiB"),
        ];
        for (value, text) in cases {
            assert_eq!(bytes(value), text);
        }
        assert_eq!(short_bytes(0), "0");
        assert_eq!(short_bytes(3 << 29), "1.5G");
        assert_eq!(short_bytes((1023 << 20) + 1), "1023M");
        assert_eq!(short_bytes_change(-4096), "-4.0K");
        assert_eq!(bytes_change(0), "0 B");
    }

    #[test]
    fn a_narrow_column_holds_every_size() {
        for shift in 0..64 {
            for value in [1u64 << shift, (1 << shift) - 1, (1 << shift) + (1 << shift) / 3] {
                assert!(short_bytes(value).len() <= 6, "{}", short_bytes(value));
                assert!(short_count(value).len() <= 6, "{}", short_count(value));
            }
        }
    }

    #[test]
    fn what_people_type() {
        assert_eq!(parse_duration("10s"), Ok(Duration::from_secs(10)));
        assert_eq!(parse_duration("1.5"), Ok(Duration::from_millis(1500)));
        assert_eq!(parse_duration("250us"), Ok(Duration::from_micros(250)));
        assert!(parse_duration("s").is_err());
        assert!(parse_duration("3 weeks").is_err());
        assert!(parse_duration("1e999").is_err());
        assert_eq!(parse_bytes("64K"), Ok(65_536));
        assert_eq!(parse_bytes("1.5GiB"), Ok(3 << 29));
        assert_eq!(parse_bytes("12"), Ok(12));
        assert!(parse_bytes("99999999T").is_err());
        assert!(parse_bytes("x").is_err());
    }

    #[test]
    fn counts_durations_shares() {
        assert_eq!(count(7), "7");
        assert_eq!(count(16_386), "16 386");
        assert_eq!(short_count(16_386), "16.4k");
        assert_eq!(nanoseconds(0), "0");
        assert_eq!(nanoseconds(999), "999 ns");
        assert_eq!(nanoseconds(12_400), "12.4 µs");
        assert_eq!(nanoseconds(999_999), "1.0 ms");
        assert_eq!(nanoseconds(2_000_000_000), "2.0 s");
        assert_eq!(nanoseconds(245_000_000_000), "4 min 5 s");
        assert_eq!(share(1, 0), "–");
        assert_eq!(share(0, 5), "0 %");
        assert_eq!(share(1, 10_000), "<0.1 %");
        assert_eq!(share(99_999, 100_000), "99.9 %");
        assert_eq!(share(5, 5), "100 %");
    }
}
