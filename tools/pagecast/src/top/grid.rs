//! Tables that fit into a width.

/// How a text is to look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Tone {
    #[default]
    Plain,
    /// Nothing to look at.
    Dim,
    /// The title of a column.
    Title,
    /// As it should be.
    Good,
    /// Worth a look.
    Warn,
    /// Wrong.
    Bad,
}

/// A text of one tone.
pub(super) type Span = (String, Tone);

/// A column.
#[derive(Clone, Copy, Debug)]
pub(super) struct Column {
    pub(super) title: &'static str,
    pub(super) fit: Fit,
    /// Columns with a higher number go first when there is no room; 0 stays.
    pub(super) leaves: u8,
}

/// How a column takes its room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fit {
    /// As wide as its widest cell, which begins at its left edge.
    Left,
    /// As wide as its widest cell, which ends at its right edge.
    Right,
    /// As [`Left`](Self::Left), but what is left if that is less, and never less than this many columns. Texts lose their beginning.
    Shrink(usize),
}

/// A header and rows of as many cells.
#[derive(Clone, Debug)]
pub(super) struct Grid {
    pub(super) columns: Vec<Column>,
    pub(super) rows: Vec<Vec<Span>>,
}

const GAP: usize = 2;

impl Grid {
    /// The header and then the rows, at most so many columns wide if that can be done.
    pub(super) fn lines(&self, room: Option<usize>) -> Vec<Vec<Span>> {
        let shown = self.layout(room);
        let header = self
            .columns
            .iter()
            .map(|column| (column.title.to_owned(), Tone::Title))
            .collect();
        std::iter::once(&header)
            .chain(&self.rows)
            .map(|row| self.line(row, &shown))
            .collect()
    }

    fn line(&self, row: &[Span], shown: &[(usize, usize)]) -> Vec<Span> {
        let mut spans = Vec::new();
        for (place, &(index, width)) in shown.iter().enumerate() {
            let (Some(column), Some((text, tone))) = (self.columns.get(index), row.get(index))
            else {
                continue;
            };
            if place > 0 {
                // Part of the header's bar.
                let tone = if *tone == Tone::Title {
                    *tone
                } else {
                    Tone::Plain
                };
                spans.push((" ".repeat(GAP), tone));
            }
            let padded = match column.fit {
                Fit::Right => format!("{text:>width$}"),
                Fit::Left | Fit::Shrink(_) => format!("{:width$}", shortened(text, width)),
            };
            spans.push((padded, *tone));
        }
        spans
    }

    /// The columns that are shown, and their widths.
    fn layout(&self, room: Option<usize>) -> Vec<(usize, usize)> {
        let mut shown: Vec<(usize, usize)> = (0..self.columns.len())
            .map(|index| (index, self.widest(index)))
            .collect();
        let Some(room) = room else {
            return shown;
        };
        loop {
            let total: usize = shown.iter().map(|&(_, width)| width + GAP).sum();
            let mut excess = total.saturating_sub(GAP).saturating_sub(room);
            if excess == 0 {
                return shown;
            }
            let mut narrow = shown.clone();
            for (index, width) in &mut narrow {
                if let Some(Fit::Shrink(least)) = self.columns.get(*index).map(|column| column.fit)
                {
                    let less = excess.min(width.saturating_sub(least));
                    *width -= less;
                    excess -= less;
                }
            }
            let leaves =
                |&(index, _): &(usize, usize)| self.columns.get(index).map_or(0, |c| c.leaves);
            match shown.iter().map(leaves).max() {
                Some(most) if excess > 0 && most > 0 => {
                    shown.retain(|column| leaves(column) < most);
                }
                _ => return narrow,
            }
        }
    }

    fn widest(&self, index: usize) -> usize {
        let title = self.columns.get(index).map_or("", |column| column.title);
        let cells = self.rows.iter().filter_map(|row| row.get(index));
        let texts = cells.map(|(text, _)| text.as_str()).chain([title]);
        texts.map(|text| text.chars().count()).max().unwrap_or(0)
    }
}

/// The end of a name is what tells it from others.
fn shortened(text: &str, width: usize) -> String {
    let length = text.chars().count();
    if length <= width {
        return text.to_owned();
    }
    let rest = text.chars().skip(length + 1 - width.max(1));
    std::iter::once('…').chain(rest).collect()
}

/// Lines without their tones.
pub(super) fn plain(lines: &[Vec<Span>]) -> String {
    let mut text = String::new();
    for line in lines {
        let whole: String = line.iter().map(|(text, _)| text.as_str()).collect();
        text.push_str(whole.trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grid() -> Grid {
        let column = |title, fit, leaves| Column { title, fit, leaves };
        let cell = |text: &str| (text.to_owned(), Tone::Plain);
        Grid {
            columns: vec![
                column("NAME", Fit::Shrink(4), 0),
                column("KIND", Fit::Left, 2),
                column("N", Fit::Right, 0),
                column("MORE", Fit::Right, 1),
            ],
            rows: vec![
                vec![cell("iqn.x:web"), cell("a"), cell("12"), cell("345")],
                vec![cell("b"), cell("iser"), cell("1"), cell("-")],
            ],
        }
    }

    #[test]
    fn room_is_made() {
        for (room, expected) in [
            (
                None,
                "NAME       KIND   N  MORE\niqn.x:web  a     12   345\nb          iser   1     -\n",
            ),
            // 25 columns in all.
            (
                Some(25),
                "NAME       KIND   N  MORE\niqn.x:web  a     12   345\nb          iser   1     -\n",
            ),
            (
                Some(23),
                "NAME     KIND   N  MORE\n….x:web  a     12   345\nb        iser   1     -\n",
            ),
            // No room for all even with the least of the first one.
            (
                Some(19),
                "NAME        N  MORE\niqn.x:web  12   345\nb           1     -\n",
            ),
            (Some(12), "NAME       N\n…n.x:web  12\nb          1\n"),
            (Some(1), "NAME   N\n…web  12\nb      1\n"),
        ] {
            assert_eq!(plain(&grid().lines(room)), expected, "{room:?}");
        }
    }
}
