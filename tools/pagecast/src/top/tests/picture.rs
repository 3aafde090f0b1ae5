//! A screen as an SVG picture, for the documentation. It needs no font but some monospaced one: every word says where and how wide it is.

use std::fmt::Write;

use ratatui::buffer::{Buffer, Cell};
use ratatui::style::{Color, Modifier};

/// Of a character, in pixels.
const WIDTH: f64 = 8.0;
const HEIGHT: f64 = 18.0;
/// Around the text.
const EDGE: f64 = 12.0;

const BACKGROUND: &str = "#1d2026";

/// A picture of a screen.
pub(super) fn svg(buffer: &Buffer) -> String {
    let area = buffer.area;
    let (width, height) = (
        f64::from(area.width) * WIDTH + 2.0 * EDGE,
        f64::from(area.height) * HEIGHT + 2.0 * EDGE,
    );
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" height=\"{height}\" \
         font-family=\"ui-monospace, 'DejaVu Sans Mono', Menlo, Consolas, monospace\" font-size=\"13.3\">\n\
         <title>pagecast top</title>\n\
         <rect width=\"{width}\" height=\"{height}\" rx=\"8\" fill=\"{BACKGROUND}\"/>\n"
    );
    for y in 0..area.height {
        let row: Vec<&Cell> = (0..area.width).map(|x| &buffer[(x, y)]).collect();
        let mut x = 0;
        for run in row.chunk_by(|one, other| style(one) == style(other)) {
            draw(&mut svg, (x, usize::from(y)), run);
            x += run.len();
        }
    }
    svg.push_str("</svg>\n");
    svg
}

fn style(cell: &Cell) -> (Color, Color, Modifier) {
    (cell.fg, cell.bg, cell.modifier)
}

/// Cells of one style.
fn draw(svg: &mut String, (column, row): (usize, usize), run: &[&Cell]) {
    let place = |cells: usize| cells as f64 * WIDTH;
    let (x, y) = (EDGE + place(column), EDGE + row as f64 * HEIGHT);
    let (front, back, modifier) = style(run[0]);
    if back != Color::Reset {
        let (width, fill) = (place(run.len()), colour(back));
        let _ = writeln!(
            svg,
            "<rect x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{HEIGHT}\" fill=\"{fill}\"/>"
        );
    }
    let weight = if modifier.contains(Modifier::BOLD) {
        " font-weight=\"bold\""
    } else {
        ""
    };
    let fill = colour(front);
    // Word by word: what a font has for a space, and whether it is as wide as ours, does not matter then.
    let blank = |cell: &&Cell| cell.symbol().trim().is_empty();
    let mut at = 0;
    for word in run.chunk_by(|one, other| blank(one) == blank(other)) {
        let (x, y, width) = (x + place(at), y + 13.0, place(word.len()));
        at += word.len();
        if word.first().is_some_and(blank) {
            continue;
        }
        let text: String = word.iter().map(|cell| cell.symbol()).collect();
        let text = escaped(&text);
        let _ = writeln!(
            svg,
            "<text x=\"{x}\" y=\"{y}\" textLength=\"{width}\" lengthAdjust=\"spacingAndGlyphs\" fill=\"{fill}\"{weight}>{text}</text>"
        );
    }
}

fn colour(colour: Color) -> &'static str {
    match colour {
        Color::Black => BACKGROUND,
        Color::DarkGray => "#717784",
        Color::Cyan => "#56b6c2",
        Color::Green => "#98c379",
        Color::Yellow => "#e5c07b",
        Color::Red => "#e06c75",
        _ => "#d7dae0",
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}
