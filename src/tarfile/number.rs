//! Numbers as tars write them: octal and base-256 in headers, decimal in PAX records.

use super::Time;

const NANOS: u32 = 1_000_000_000;

/// Reads a header's numeric field; a blank one is 0.
///
/// At most 12 bytes long, so that an `i128` holds all that it can say.
pub(super) fn field(bytes: &[u8]) -> Option<i128> {
    debug_assert!(bytes.len() <= 12, "the longest numeric field of any tar");
    match bytes.first() {
        Some(first) if first & 0x80 != 0 => Some(base256(bytes)),
        Some(_) | None => octal(bytes),
    }
}

/// Bit 7 of the first byte marks GNU's form; the rest is a big-endian two's complement.
fn base256(bytes: &[u8]) -> i128 {
    let first = i128::from(bytes[0] & 0x3f);
    let sign = if bytes[0] & 0x40 == 0 { 0 } else { -1 << 6 };
    bytes[1..].iter().fold(sign | first, |number, byte| (number << 8) | i128::from(*byte))
}

fn octal(bytes: &[u8]) -> Option<i128> {
    let blank = |byte: &u8| matches!(byte, b' ' | 0);
    let Some(start) = bytes.iter().position(|byte| !blank(byte)) else { return Some(0) };
    let text = &bytes[start..];
    let (digits, rest) = text.split_at(text.iter().position(blank).unwrap_or(text.len()));
    // Go's and Python's readers look no further than the first NUL: writers leave garbage there.
    if !rest.iter().take_while(|byte| **byte != 0).all(blank) {
        return None;
    }
    digits.iter().try_fold(0, |number, byte| match byte {
        b'0'..=b'7' => Some((number << 3) | i128::from(byte - b'0')),
        0..=b'/' | b'8'..=u8::MAX => None,
    })
}

/// Reads a whole decimal number, perhaps negative.
pub(super) fn decimal(text: &[u8]) -> Option<i128> {
    let (negative, digits) = sign(text);
    let number = whole(digits)?;
    Some(if negative { -number } else { number })
}

fn whole(digits: &[u8]) -> Option<i128> {
    // More digits than any 64-bit number has.
    const MOST_DIGITS: usize = 24;
    if digits.is_empty() || digits.len() > MOST_DIGITS {
        return None;
    }
    digits.iter().try_fold(0, |number, byte| Some(number * 10 + i128::from(digit(*byte)?)))
}

/// Reads a PAX time: decimal seconds, perhaps negative, perhaps with a fraction.
pub(super) fn time(text: &[u8]) -> Option<Time> {
    let (negative, text) = sign(text);
    let point = text.iter().position(|byte| *byte == b'.').unwrap_or(text.len());
    let seconds = i64::try_from(whole(&text[..point])?).ok()?;
    let mut nanos = 0;
    let mut weight = NANOS / 10;
    let mut finer = false;
    for byte in text.iter().skip(point + 1) {
        let digit = u32::from(digit(*byte)?);
        nanos += digit * weight;
        finer |= weight == 0 && digit != 0;
        weight /= 10;
    }
    if !negative {
        return Some(Time { seconds, nanos });
    }
    // Rounded down, so that the nanoseconds count upwards from the second, as the kernel has them.
    let nanos = nanos + u32::from(finer);
    Some(match nanos {
        0 => Time { seconds: -seconds, nanos },
        _ => Time { seconds: -seconds - 1, nanos: NANOS - nanos },
    })
}

fn sign(text: &[u8]) -> (bool, &[u8]) {
    text.strip_prefix(b"-").map_or((false, text), |digits| (true, digits))
}

fn digit(byte: u8) -> Option<u8> {
    byte.is_ascii_digit().then(|| byte - b'0')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn header_fields_are_octal_or_base_256() {
        for (bytes, number) in [
            (&b"0000644\0"[..], Some(0o644)),
            (b"   644 \0", Some(0o644)),
            (b"\0  644 \0", Some(0o644)),
            (b"777777777777", Some(0o777_777_777_777)),
            (b"644\0junk", Some(0o644)),
            (b"644 \0unk", Some(0o644)),
            (b"        ", Some(0)),
            (b"\0\0\0\0\0\0\0\0", Some(0)),
            (b"", Some(0)),
            (b"648\0\0\0\0\0", None),
            (b"64 4\0\0\0\0", None),
            (b"-1\0\0\0\0\0\0", None),
            (b"dos\0\0\0\0\0", None),
            (b"\x80\0\0\0\0\x01\0\0", Some(65_536)),
            (b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xfe", Some(-2)),
            (b"\x80\0\0\0\xff\xff\xff\xff\xff\xff\xff\xff", Some(0xffff_ffff_ffff_ffff)),
            (b"\xbf\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", Some((1 << 94) - 1)),
            (b"\xc0\0\0\0\0\0\0\0\0\0\0\0", Some(-(1 << 94))),
        ] {
            assert_eq!(field(bytes), number, "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn record_numbers_are_decimal() {
        for (text, number) in [
            (&b"0"[..], Some(0)),
            (b"-12", Some(-12)),
            (b"18446744073709551616", Some(1 << 64)),
            (b"", None),
            (b"-", None),
            (b"+1", None),
            (b"1 ", None),
            (b"0x10", None),
            (b"1000000000000000000000000", None),
        ] {
            assert_eq!(decimal(text), number, "{}", text.escape_ascii());
        }
    }

    #[test]
    fn times_are_rounded_down_to_nanoseconds() {
        for (text, expected) in [
            (&b"1350244992"[..], Some((1_350_244_992, 0))),
            (b"1350244992.023960108", Some((1_350_244_992, 23_960_108))),
            (b"1.5", Some((1, 500_000_000))),
            (b"1.", Some((1, 0))),
            (b"1.0000000019", Some((1, 1))),
            (b"-1.5", Some((-2, 500_000_000))),
            (b"-1", Some((-1, 0))),
            (b"-0.1", Some((-1, 900_000_000))),
            (b"-0.0000000001", Some((-1, 999_999_999))),
            (b"-1.9999999999", Some((-2, 0))),
            (b"9223372036854775807", Some((i64::MAX, 0))),
            (b"-9223372036854775807.5", Some((i64::MIN, 500_000_000))),
            (b"9223372036854775808", None),
            (b"999xxx9324.4", None),
            (b"1.5.5", None),
            (b".5", None),
            (b"--1", None),
            (b"", None),
        ] {
            let expected = expected.map(|(seconds, nanos)| Time { seconds, nanos });
            assert_eq!(time(text), expected, "{}", text.escape_ascii());
        }
    }
}
