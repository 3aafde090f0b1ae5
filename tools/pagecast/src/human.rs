//! Numbers and texts as people read them.

/// `text` without what could move a terminal's cursor: names of initiators come from the network.
pub(crate) fn clean(text: &str) -> String {
    text.chars()
        .flat_map(|c| {
            let escaped = c.is_control().then(|| c.escape_default());
            let plain = escaped.is_none().then_some(c);
            escaped.into_iter().flatten().chain(plain)
        })
        .collect()
}

/// The same for a text of several lines, which stay lines.
pub(crate) fn clean_lines(text: &str) -> String {
    let lines: Vec<String> = text.split('\n').map(clean).collect();
    lines.join("\n")
}

/// `192 MiB`, `1.5 KiB`.
pub(crate) fn bytes(count: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if count < 1024 {
        return format!("{count} B");
    }
    let mut scale = 1_u64 << 10;
    let mut unit = UNITS[0];
    for next in &UNITS[1..] {
        if count / scale < 1024 {
            break;
        }
        scale <<= 10;
        unit = next;
    }
    if count.is_multiple_of(scale) {
        format!("{} {unit}", count / scale)
    } else {
        // Ten times 16 EiB fits, and nothing is rounded up to 1024.
        let tenths = u128::from(count) * 10 / u128::from(scale);
        format!("{}.{} {unit}", tenths / 10, tenths % 10)
    }
}

/// `1d 2h 3min`, `4min 5s`, `6s`.
pub(crate) fn seconds(count: u64) -> String {
    let (days, hours) = (count / 86400, count / 3600 % 24);
    let (minutes, rest) = (count / 60 % 60, count % 60);
    if days > 0 {
        format!("{days}d {hours}h {minutes}min")
    } else if hours > 0 {
        format!("{hours}h {minutes}min")
    } else if minutes > 0 {
        format!("{minutes}min {rest}s")
    } else {
        format!("{rest}s")
    }
}

/// `250 us`, `1.5 ms`, `2.0 s`.
pub(crate) fn micros(count: u64) -> String {
    match count {
        0..1_000 => format!("{count} us"),
        1_000..1_000_000 => format!("{}.{} ms", count / 1_000, count / 100 % 10),
        _ => format!("{}.{} s", count / 1_000_000, count / 100_000 % 10),
    }
}

/// `99.0 %`, rounded down: 100 % is all of it.
pub(crate) fn share(part: u64, whole: u64) -> String {
    if whole == 0 {
        return "-".to_owned();
    }
    let tenths = u128::from(part) * 1000 / u128::from(whole);
    format!("{}.{} %", tenths / 10, tenths % 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers() {
        for (count, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1 KiB"),
            (1536, "1.5 KiB"),
            ((1 << 20) - 1, "1023.9 KiB"),
            (192 << 20, "192 MiB"),
            (u64::MAX, "15.9 EiB"),
        ] {
            assert_eq!(bytes(count), text);
        }
        for (count, text) in [
            (0, "0s"),
            (59, "59s"),
            (61, "1min 1s"),
            (7260, "2h 1min"),
            (93784, "1d 2h 3min"),
        ] {
            assert_eq!(seconds(count), text);
        }
        for (count, text) in [
            (0, "0 us"),
            (999, "999 us"),
            (1500, "1.5 ms"),
            (2_000_000, "2.0 s"),
        ] {
            assert_eq!(micros(count), text);
        }
        for (part, whole, text) in [
            (0, 0, "-"),
            (0, 5, "0.0 %"),
            (9999, 10000, "99.9 %"),
            (5, 5, "100.0 %"),
            (u64::MAX, u64::MAX, "100.0 %"),
        ] {
            assert_eq!(share(part, whole), text);
        }
    }

    #[test]
    fn terminals_are_safe() {
        assert_eq!(clean("iqn.x:ä y"), "iqn.x:ä y");
        assert_eq!(clean("a\x1b[2Jb\r\n"), "a\\u{1b}[2Jb\\r\\n");
        assert_eq!(clean_lines("a\x1b[2J\r\nb\n"), "a\\u{1b}[2J\\r\nb\n");
    }
}
