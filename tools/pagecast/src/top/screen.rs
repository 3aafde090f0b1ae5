//! The screen of the live view, and what keys do to it.

use std::cmp::Ordering;

use ratatui::Frame;
use ratatui::crossterm::event::{KeyCode, KeyModifiers};
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span, Text};
use ratatui::widgets::Paragraph;

use super::grid::{self, Grid, Tone};
use super::model::{Latencies, Rates, View};
use super::tables;

/// What rows are sorted by. The largest come first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sort {
    /// Devices as in the configuration, sessions by age.
    Order,
    Iops,
    Bandwidth,
    Latency,
    InFlight,
}

impl Sort {
    fn next(self) -> Self {
        match self {
            Self::Order => Self::Iops,
            Self::Iops => Self::Bandwidth,
            Self::Bandwidth => Self::Latency,
            Self::Latency => Self::InFlight,
            Self::InFlight => Self::Order,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Order => "in order",
            Self::Iops => "by IOPS",
            Self::Bandwidth => "by MB/s",
            Self::Latency => "by P99",
            Self::InFlight => "by commands in flight",
        }
    }

    fn value(self, rates: &Rates, latencies: &Latencies, in_flight: u64) -> f64 {
        let value = match self {
            Self::Order => None,
            Self::Iops => rates.iops(),
            Self::Bandwidth => rates.bytes_per_second(),
            Self::Latency => latencies.latency.map(|latency| latency.p99_us),
            Self::InFlight => Some(in_flight as f64),
        };
        value.unwrap_or(-1.0)
    }
}

/// One of the two tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Devices,
    Sessions,
}

/// Whether to go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flow {
    Go,
    Quit,
}

/// What is on the screen.
#[derive(Debug)]
pub(super) struct Screen {
    view: View,
    interval: String,
    trouble: Option<String>,
    sort: Sort,
    paused: bool,
    scrolled: Part,
    /// Rows above the first that is shown, of devices and of sessions.
    above: [usize; 2],
    /// Rows that there was room for.
    page: [usize; 2],
}

impl Screen {
    pub(super) fn new(view: View, interval: String) -> Self {
        Self {
            view,
            interval,
            trouble: None,
            sort: Sort::Order,
            paused: false,
            scrolled: Part::Devices,
            above: [0; 2],
            page: [1; 2],
        }
    }

    /// Something new to show.
    pub(super) fn show(&mut self, view: View) {
        self.trouble = None;
        if !self.paused {
            self.view = view;
        }
    }

    /// Why there is nothing new.
    pub(super) fn complain(&mut self, trouble: String) {
        self.trouble = Some(trouble);
    }

    pub(super) fn key(&mut self, key: KeyCode, modifiers: KeyModifiers) -> Flow {
        let page = match self.scrolled {
            Part::Devices => self.page[0],
            Part::Sessions => self.page[1],
        };
        match key {
            KeyCode::Char('c') if modifiers.contains(KeyModifiers::CONTROL) => return Flow::Quit,
            KeyCode::Char('q' | 'Q') | KeyCode::Esc => return Flow::Quit,
            KeyCode::Char('s' | 'S') => self.sort = self.sort.next(),
            KeyCode::Char('p' | 'P' | ' ') => self.paused = !self.paused,
            KeyCode::Tab | KeyCode::BackTab | KeyCode::Left | KeyCode::Right => {
                self.scrolled = match self.scrolled {
                    Part::Devices => Part::Sessions,
                    Part::Sessions => Part::Devices,
                };
            }
            KeyCode::Up => self.scroll(|above| above.saturating_sub(1)),
            KeyCode::Down => self.scroll(|above| above.saturating_add(1)),
            KeyCode::PageUp => self.scroll(|above| above.saturating_sub(page)),
            KeyCode::PageDown => self.scroll(|above| above.saturating_add(page)),
            KeyCode::Home => self.scroll(|_| 0),
            KeyCode::End => self.scroll(|_| usize::MAX),
            _ => {}
        }
        Flow::Go
    }

    /// What is too far is put right when it is drawn.
    fn scroll(&mut self, to: impl Fn(usize) -> usize) {
        let above = match self.scrolled {
            Part::Devices => &mut self.above[0],
            Part::Sessions => &mut self.above[1],
        };
        *above = to(*above);
    }

    pub(super) fn draw(&mut self, frame: &mut Frame<'_>) {
        let summary = tables::summary(&self.view);
        let area = frame.area();
        // One column at both sides.
        let inner = |area: Rect| Rect {
            x: area.x.saturating_add(1),
            width: area.width.saturating_sub(2),
            ..area
        };
        let [title, head, _, rest, foot] = Layout::vertical([
            Constraint::Length(1),
            Constraint::Length(3),
            Constraint::Length(1),
            Constraint::Min(0),
            Constraint::Length(1),
        ])
        .areas(area);
        frame.render_widget(Paragraph::new(self.title()).style(bar()), title);
        frame.render_widget(Paragraph::new(lines(&summary)), inner(head));
        let (devices, sessions) = self.grids();
        let counts = [devices.rows.len(), sessions.rows.len()];
        let heights = share(rest.height, counts);
        let [upper, _, lower] = Layout::vertical([
            Constraint::Length(heights[0]),
            Constraint::Length(1),
            Constraint::Length(heights[1]),
        ])
        .areas(rest);
        let mut hidden = [0; 2];
        for (index, (area, grid)) in [(upper, devices), (lower, sessions)]
            .into_iter()
            .enumerate()
        {
            // A header, and rows.
            let page = usize::from(area.height).saturating_sub(1);
            let (Some(above), Some(room), Some(hidden)) = (
                self.above.get_mut(index),
                self.page.get_mut(index),
                hidden.get_mut(index),
            ) else {
                continue;
            };
            *hidden = grid.rows.len().saturating_sub(page);
            *room = page.max(1);
            *above = (*above).min(grid.rows.len().saturating_sub(page));
            let area = inner(area);
            let mut all = grid.lines(Some(usize::from(area.width))).into_iter();
            let header = all.next();
            let shown: Vec<_> = header.into_iter().chain(all.skip(*above)).collect();
            frame.render_widget(Paragraph::new(lines(&shown)), area);
        }
        frame.render_widget(Paragraph::new(self.foot(hidden)), inner(foot));
    }

    fn title(&self) -> Line<'static> {
        let paused = if self.paused { ", paused" } else { "" };
        Line::from(format!(
            " pagecast top, every {}, {}{paused}",
            self.interval,
            self.sort.name()
        ))
    }

    fn foot(&self, [devices, sessions]: [usize; 2]) -> Line<'static> {
        if let Some(trouble) = &self.trouble {
            return Line::styled(trouble.clone(), style(Tone::Bad));
        }
        let more = |hidden: usize| match hidden {
            0 => String::new(),
            hidden => format!(" ({hidden} more)"),
        };
        let (devices_there, sessions_there) = (
            format!("devices{}", more(devices)),
            format!("sessions{}", more(sessions)),
        );
        let (scrolls, other) = match self.scrolled {
            Part::Devices => (devices_there, sessions_there),
            Part::Sessions => (sessions_there, devices_there),
        };
        let mut keys = vec![
            ("q", "quit".to_owned()),
            ("s", "sort".to_owned()),
            ("p", "pause".to_owned()),
        ];
        if devices + sessions > 0 {
            keys.push(("arrows", format!("scroll {scrolls}")));
            keys.push(("Tab", other));
        }
        let mut spans = Vec::new();
        for (key, what) in keys {
            spans.push(Span::styled(key, Modifier::BOLD));
            spans.push(Span::raw(format!(" {what}  ")));
        }
        Line::from(spans)
    }

    fn grids(&self) -> (Grid, Grid) {
        let sort = self.sort;
        let mut devices = self.view.devices.clone();
        let mut sessions = self.view.sessions.clone();
        let largest_first =
            |one: f64, other: f64| other.partial_cmp(&one).unwrap_or(Ordering::Equal);
        // A stable sort: equals stay in order.
        devices.sort_by(|one, other| {
            largest_first(
                sort.value(&one.rates, &one.latencies, one.in_flight),
                sort.value(&other.rates, &other.latencies, other.in_flight),
            )
        });
        sessions.sort_by(|one, other| {
            largest_first(
                sort.value(&one.rates, &one.latencies, one.in_flight),
                sort.value(&other.rates, &other.latencies, other.in_flight),
            )
        });
        (tables::devices(&devices), tables::sessions(&sessions))
    }
}

/// The heights of two tables of so many rows with headers, one line apart: all if there is room, and half of it for each at least.
fn share(height: u16, rows: [usize; 2]) -> [u16; 2] {
    let [upper, lower] = rows.map(|rows| u16::try_from(rows).unwrap_or(u16::MAX).saturating_add(1));
    let room = height.saturating_sub(1);
    let half = room / 2;
    let first = if lower <= room - half {
        upper.min(room.saturating_sub(lower))
    } else {
        upper.min(half)
    };
    [first, room - first]
}

fn lines(lines: &[Vec<grid::Span>]) -> Text<'static> {
    let spans = |line: &Vec<grid::Span>| {
        let spans = line
            .iter()
            .map(|(text, tone)| Span::styled(text.clone(), style(*tone)));
        Line::from(spans.collect::<Vec<_>>())
    };
    lines.iter().map(spans).collect::<Vec<_>>().into()
}

fn style(tone: Tone) -> Style {
    match tone {
        Tone::Plain => Style::new(),
        Tone::Dim => Style::new().fg(Color::DarkGray),
        Tone::Title => Style::new().fg(Color::Cyan).add_modifier(Modifier::BOLD),
        Tone::Good => Style::new().fg(Color::Green),
        Tone::Warn => Style::new().fg(Color::Yellow),
        Tone::Bad => Style::new().fg(Color::Red).add_modifier(Modifier::BOLD),
    }
}

fn bar() -> Style {
    Style::new().fg(Color::Black).bg(Color::Cyan)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_is_shared() {
        for (height, rows, expected) in [
            // All fits.
            (20, [3, 4], [4, 15]),
            // The sessions are few.
            (12, [100, 2], [8, 3]),
            // The devices are few.
            (12, [2, 100], [3, 8]),
            // Both are many.
            (12, [100, 100], [5, 6]),
            (1, [1, 1], [0, 0]),
            (0, [1, 1], [0, 0]),
        ] {
            assert_eq!(share(height, rows), expected, "{height} {rows:?}");
        }
    }
}
