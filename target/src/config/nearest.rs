//! Which known word somebody may have meant.

/// Words longer than this are nobody's typing error.
const LONGEST: usize = 64;
/// More than this many are too many to read.
const LISTED: usize = 24;

/// The known word nearest to `word`, if it is near enough to be what was meant.
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    if word.chars().count() > LONGEST {
        return None;
    }
    let word = word.to_lowercase();
    known
        .into_iter()
        .filter_map(|candidate| Some((remoteness(&word, &candidate.to_lowercase())?, candidate)))
        .min_by_key(|&(remoteness, _)| remoteness)
        .map(|(_, candidate)| candidate)
}

/// How far apart two words are, unless it is too far: a few letters, or one is a part of the other.
fn remoteness(word: &str, candidate: &str) -> Option<usize> {
    let longer = word.chars().count().max(candidate.chars().count());
    let distance = distance(word, candidate);
    let part = word.len() >= 3 && (candidate.contains(word) || word.contains(candidate));
    (distance <= (longer / 3).max(1) || part && !candidate.is_empty()).then_some(distance)
}

/// `did you mean ...?`, or the list when nothing is near.
pub fn suggestion(word: &str, known: &[&str]) -> String {
    match nearest(word, known.iter().copied()) {
        Some(near) => format!("did you mean `{near}`?"),
        None if known.is_empty() => "there are none yet".to_owned(),
        None => {
            let list: Vec<String> = (known.iter().take(LISTED))
                .map(|k| format!("`{k}`"))
                .collect();
            let list = list.join(", ");
            match known.len().saturating_sub(LISTED) {
                0 => format!("known are {list}"),
                more => format!("known are {list} and {more} more"),
            }
        }
    }
}

/// Optimal string alignment: insertions, deletions, substitutions and swaps of neighbours.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut before_last: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    let mut previous: Option<char> = None;
    for (i, ca) in a.chars().enumerate() {
        let mut row = Vec::with_capacity(b.len() + 1);
        row.push(i + 1);
        let mut left = i + 1;
        for (j, &cb) in b.iter().enumerate() {
            let mut cost = (last[j] + usize::from(ca != cb))
                .min(last[j + 1] + 1)
                .min(left + 1);
            if j > 0 && previous == Some(cb) && b[j - 1] == ca {
                cost = cost.min(before_last[j - 1] + 1);
            }
            row.push(cost);
            left = cost;
        }
        before_last = std::mem::replace(&mut last, row);
        previous = Some(ca);
    }
    last.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances() {
        for (a, b, expected) in [
            ("", "", 0),
            ("", "abc", 3),
            ("abc", "", 3),
            ("port", "port", 0),
            ("prot", "port", 1),
            ("kitten", "sitting", 3),
            ("blok_size", "block_size", 1),
        ] {
            assert_eq!(distance(a, b), expected, "{a} {b}");
        }
    }

    #[test]
    fn near_words_are_found_and_far_ones_are_not() {
        let known = ["name", "path", "size", "block_size", "read_only"];
        assert_eq!(nearest("blocksize", known), Some("block_size"));
        assert_eq!(nearest("Readonly", known), Some("read_only"));
        assert_eq!(nearest("nmae", known), Some("name"));
        assert_eq!(nearest("block", known), Some("block_size"));
        assert_eq!(nearest("frobnicate", known), None);
        assert_eq!(nearest("xy", known), None);
        assert_eq!(nearest(&"x".repeat(1_000_000), known), None);
    }
}
