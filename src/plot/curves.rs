//! The course of a training as an SVG, written by hand: lines over steps in one or more panels, readable in light and
//! in dark. It draws what it is given and smooths nothing.
use super::axis::{Line, ticks, x_range, y_range};
use crate::Result;
use crate::files::write_atomically;
use std::fmt::Write as _;
use std::path::Path;

/// One line. Series of the same name have the same colour in every panel and one entry in the legend.
#[derive(Clone, Debug)]
pub struct Series {
    pub name: &'static str,
    /// Index of the panel it is drawn in.
    pub panel: usize,
    /// (step, value); where a value is not finite, the line leads past it.
    pub points: Vec<(f64, f64)>,
}

/// A pair of axes.
#[derive(Clone, Copy, Debug)]
pub struct Panel {
    pub title: &'static str,
    /// Of the values, beside the title.
    pub unit: &'static str,
}

/// One record of `metrics.jsonl`, as far as it is drawn; nats per example.
#[derive(Clone, Copy, Debug)]
pub struct Point {
    pub step: u64,
    pub elbo: f64,
    pub nll: f64,
    pub kl: f64,
}

/// The panels of `curves.svg`. nll and kl have one each: together they would hide each other's course.
pub const TRAINING: [Panel; 3] = [
    Panel { title: "elbo", unit: "nats per example" },
    Panel { title: "nll", unit: "nats per example" },
    Panel { title: "kl", unit: "nats per example" },
];

/// The series of [`TRAINING`]: a line "train" and, if there is any point, a line "valid" in each panel.
pub fn training(train: &[Point], valid: &[Point]) -> Vec<Series> {
    let quantities: [fn(&Point) -> f64; 3] = [|p| p.elbo, |p| p.nll, |p| p.kl];
    let mut series = Vec::new();
    for (panel, quantity) in quantities.into_iter().enumerate() {
        for (name, points) in [("train", train), ("valid", valid)] {
            if !points.is_empty() {
                let points = points.iter().map(|p| (p.step as f64, quantity(p))).collect();
                series.push(Series { name, panel, points });
            }
        }
    }
    series
}

/// Writes [`svg`] to `path`.
///
/// # Errors
/// If the file cannot be written.
pub fn write(path: &Path, title: &str, panels: &[Panel], series: &[Series]) -> Result<()> {
    write_atomically(path, |out| out.write_all(svg(title, panels, series).as_bytes()))
}

const WIDTH: f64 = 800.0;
/// Height of the axes of the first panel, which has the whole width, and of the others, two in a row.
const HEIGHTS: [f64; 2] = [240.0, 170.0];
/// Room around the axes: for the title and the legend above all, the panel's title, tick labels.
const HEADER: f64 = 58.0;
const ABOVE: f64 = 30.0;
const BELOW: f64 = 46.0;
const LEFT: f64 = 76.0;
const RIGHT: f64 = 22.0;

/// A line has at most this many points: two a pixel.
const MOST_POINTS: usize = 1000;
/// Up to this many, each gets a dot: a line of one point would be invisible.
const MOST_DOTS: usize = 30;

/// Of the title, in its type size.
const MOST_LETTERS: usize = 72;

/// Blue and orange first: told apart with every kind of colour blindness. In light, in dark.
const COLOURS: [(&str, &str); 4] =
    [("#1f6fc2", "#6cb2ff"), ("#d4650a", "#ffa35c"), ("#23863f", "#5fd07f"), ("#8a4bbd", "#c99cf5")];

/// Draws `series` into `panels`: the first over the whole width, the others in twos below it.
///
/// The y axis holds the bulk of each line, not its extremes: the 2 % of smallest and of largest values, at least one of
/// each, count only if they lie no further from the rest than twice its extent; where the line ends always counts. So the first steps of a training, worse
/// by orders of magnitude, do not flatten what follows. The picture says how many points were cut off.
/// Series of panels that do not exist are not drawn.
///
/// ```
/// use vae_gpu::plot::curves;
/// let at = |step, elbo: f64| curves::Point { step, elbo, nll: -elbo - 25.0, kl: 25.0 };
/// let train: Vec<_> = (1..100).map(|i| at(i * 600, -100.0 - 50.0 / i as f64)).collect();
/// let picture = curves::svg("digits", &curves::TRAINING, &curves::training(&train, &[at(600, -160.0)]));
/// assert!(picture.starts_with("<svg"));
/// ```
pub fn svg(title: &str, panels: &[Panel], series: &[Series]) -> String {
    let mut names: Vec<&str> = Vec::new();
    for s in series {
        if !names.contains(&s.name) {
            names.push(s.name);
        }
    }
    let colour = |name: &str| names.iter().position(|n| *n == name).unwrap_or(0) % COLOURS.len();

    let rows_below = panels.len().saturating_sub(1).div_ceil(2) as f64;
    let height = HEADER + ABOVE + HEIGHTS[0] + BELOW + rows_below * (ABOVE + HEIGHTS[1] + BELOW) + 6.0;
    let mut out = String::new();
    // A longer one would run out of the picture; the whole of it is in <title>.
    let headline = match title.char_indices().nth(MOST_LETTERS) {
        Some((end, _)) => format!("{}…", &title[..end]),
        None => title.to_string(),
    };
    let (title, headline) = (escape(title), escape(&headline));
    // Writing to a String cannot fail, here and below.
    let _ = writeln!(
        out,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height}\" viewBox=\"0 0 {WIDTH} {height}\" \
         role=\"img\" aria-label=\"{title}\">\n<title>{title}</title>\n{}",
        style()
    );
    let _ = writeln!(out, "<rect class=\"back\" width=\"{WIDTH}\" height=\"{height}\"/>");
    let _ = writeln!(out, "<text class=\"title\" x=\"{LEFT}\" y=\"26\">{headline}</text>");
    let mut x = LEFT;
    for name in &names {
        let c = colour(name);
        let _ = writeln!(out, "<path class=\"line c{c}\" d=\"M{x} 44h22\"/>");
        let _ = writeln!(out, "<text x=\"{}\" y=\"48\">{}</text>", x + 28.0, escape(name));
        x += 52.0 + 8.0 * name.chars().count() as f64; // no letter of these fonts is wider than 8 px on average
    }

    for (i, panel) in panels.iter().enumerate() {
        let (row, column) = (i.div_ceil(2), if i == 0 { 0 } else { (i - 1) % 2 });
        let alone = i == 0 || (column == 0 && i + 1 == panels.len());
        let half = (WIDTH - 2.0 * (LEFT + RIGHT)) / 2.0;
        let above =
            if row == 0 { 0.0 } else { ABOVE + HEIGHTS[0] + BELOW + (row - 1) as f64 * (ABOVE + HEIGHTS[1] + BELOW) };
        let area = Area {
            left: LEFT + column as f64 * WIDTH / 2.0,
            top: HEADER + above + ABOVE,
            width: if alone { WIDTH - LEFT - RIGHT } else { half },
            height: HEIGHTS[row.min(1)],
        };
        let lines: Vec<Line> =
            series.iter().filter(|s| s.panel == i).map(|s| (colour(s.name), drawable(&s.points))).collect();
        draw_panel(&mut out, i, panel, &area, &lines);
    }
    out.push_str("</svg>\n");
    out
}

fn style() -> String {
    let (mut light, mut dark) = (String::new(), String::new());
    for (i, (in_light, in_dark)) in COLOURS.iter().enumerate() {
        let _ = write!(light, ".line.c{i}{{stroke:{in_light}}}.dot.c{i}{{fill:{in_light}}}");
        let _ = write!(dark, ".line.c{i}{{stroke:{in_dark}}}.dot.c{i}{{fill:{in_dark}}}");
    }
    format!(
        "<style>\n\
         text{{font:13px system-ui,-apple-system,'Segoe UI',Roboto,'DejaVu Sans',sans-serif;fill:#24292f}}\n\
         .title{{font-size:16px;font-weight:600}}.name{{font-size:14px;font-weight:600}}\n\
         .soft{{font-size:12px;font-weight:400;fill:#5b636d}}\n\
         .end{{text-anchor:end}}.middle{{text-anchor:middle}}\n\
         .back{{fill:#fff}}.grid{{stroke:#e4e7eb;fill:none}}.axis{{stroke:#8b949e;fill:none}}\n\
         .line{{fill:none;stroke-width:2;stroke-linejoin:round;stroke-linecap:round}}\n\
         .dense{{stroke-width:1;stroke-opacity:.7}}\n{light}\n\
         @media (prefers-color-scheme:dark){{text{{fill:#e6edf3}}.soft{{fill:#9da7b3}}\
         .back{{fill:#0d1117}}.grid{{stroke:#262c36}}.axis{{stroke:#6e7681}}\n{dark}}}\n</style>"
    )
}

/// Where a panel's axes stand, in pixels.
struct Area {
    left: f64,
    top: f64,
    width: f64,
    height: f64,
}

fn draw_panel(out: &mut String, index: usize, panel: &Panel, area: &Area, lines: &[Line]) {
    let Area { left, top, width, height } = *area;
    let (right, bottom) = (left + width, top + height);
    let empty = lines.iter().all(|(_, points)| points.is_empty());
    let (x_low, x_high) = if empty { (0.0, 1.0) } else { x_range(lines) };
    let (y_low, y_high) = if empty { (0.0, 1.0) } else { y_range(lines) };
    let to_x = |x: f64| left + (x - x_low) / (x_high - x_low) * width;
    // A point far outside is held a panel's height away: renderers lose precision with huge coordinates.
    let to_y = |y: f64| bottom - ((y - y_low) / (y_high - y_low)).clamp(-1.0, 2.0) * height;

    let _ = writeln!(
        out,
        "<g>\n<text class=\"name\" x=\"{left}\" y=\"{:.1}\">{}<tspan class=\"soft\" dx=\"8\">{}</tspan></text>",
        top - 10.0,
        escape(panel.title),
        escape(panel.unit)
    );
    let (across, middle) = (left + width / 2.0, top + height / 2.0);
    let _ = writeln!(out, "<text class=\"soft middle\" x=\"{across:.1}\" y=\"{:.1}\">step</text>", bottom + 36.0);
    if empty {
        let _ = writeln!(
            out,
            "<text class=\"soft middle\" x=\"{across:.1}\" y=\"{middle:.1}\">nothing recorded yet</text>"
        );
    } else {
        let steps = ticks(x_low, x_high, width / 90.0, 1.0);
        for (x, label) in steps {
            let x = to_x(x);
            let _ = writeln!(out, "<path class=\"axis\" d=\"M{x:.1} {bottom}v4\"/>");
            let _ = writeln!(out, "<text class=\"soft middle\" x=\"{x:.1}\" y=\"{:.1}\">{label}</text>", bottom + 18.0);
        }
        for (y, label) in ticks(y_low, y_high, height / 32.0, 0.0) {
            let y = to_y(y);
            let _ = writeln!(out, "<path class=\"grid\" d=\"M{left} {y:.1}H{right}\"/>");
            let _ =
                writeln!(out, "<text class=\"soft end\" x=\"{:.1}\" y=\"{:.1}\">{label}</text>", left - 8.0, y + 4.0);
        }
    }
    let _ = writeln!(out, "<path class=\"axis\" d=\"M{left} {top}V{bottom}H{right}\"/>");

    let _ = writeln!(
        out,
        "<clipPath id=\"p{index}\"><rect x=\"{:.1}\" y=\"{top}\" width=\"{:.1}\" height=\"{height}\"/></clipPath>\n\
         <g clip-path=\"url(#p{index})\">",
        left - 3.0, // room for half a dot
        width + 6.0
    );
    for (colour, points) in lines {
        let points = thin(points);
        let mut path = String::new();
        for (i, (x, y)) in points.iter().enumerate() {
            let _ = write!(path, "{}{:.1} {:.1}", if i == 0 { "M" } else { "L" }, to_x(*x), to_y(*y));
        }
        if points.len() > 1 {
            // Thin and faint, so that what lies under the noise of many steps shows through.
            let dense = if points.len() > MOST_POINTS / 4 { " dense" } else { "" };
            let _ = writeln!(out, "<path class=\"line{dense} c{colour}\" d=\"{path}\"/>");
        }
        if points.len() <= MOST_DOTS {
            for (x, y) in &points {
                let _ = writeln!(
                    out,
                    "<circle class=\"dot c{colour}\" cx=\"{:.1}\" cy=\"{:.1}\" r=\"2.6\"/>",
                    to_x(*x),
                    to_y(*y)
                );
            }
        }
    }
    out.push_str("</g>\n");

    let outside = lines.iter().flat_map(|(_, points)| points).filter(|(_, y)| *y < y_low || *y > y_high).count();
    if outside > 0 {
        let points = if outside == 1 { "point" } else { "points" };
        let _ = writeln!(
            out,
            "<text class=\"soft end\" x=\"{right}\" y=\"{:.1}\">{outside} {points} cut off</text>",
            top - 10.0
        );
    }
    out.push_str("</g>\n");
}

/// The points that can be drawn, by step. Beyond 1e300 differences overflow.
pub(crate) fn drawable(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let mut points: Vec<_> = points.iter().copied().filter(|(x, y)| x.abs() < 1e300 && y.abs() < 1e300).collect();
    points.sort_by(|a, b| a.0.total_cmp(&b.0));
    points
}

/// At most [`MOST_POINTS`]: of each stretch of points the lowest and the highest, so that every spike survives, and
/// the very first and last, so that the line begins and ends where the training did.
pub(crate) fn thin(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let [first, inner @ .., last] = points else { return points.to_vec() };
    if points.len() <= MOST_POINTS {
        return points.to_vec();
    }
    let stretch = inner.len().div_ceil(MOST_POINTS / 2 - 1);
    let mut kept = vec![*first];
    for part in inner.chunks(stretch) {
        let by_value = |a: &&(f64, f64), b: &&(f64, f64)| a.1.total_cmp(&b.1);
        let (low, high) = (part.iter().min_by(by_value), part.iter().max_by(by_value));
        let (Some(&low), Some(&high)) = (low, high) else { continue };
        kept.extend(if low.0 <= high.0 { [low, high] } else { [high, low] });
    }
    kept.push(*last);
    kept
}

/// Text as XML takes it; what it cannot hold in any form becomes a space.
fn escape(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => out.push(' '),
            c => out.push(c),
        }
    }
    out
}
