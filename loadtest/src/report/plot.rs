//! Plots as inline SVG: lines over an axis, with a legend; nothing is fetched and nothing is run.

use std::fmt::Write;

/// One line of a plot.
pub struct Line {
    pub name: String,
    pub points: Vec<(f64, f64)>,
}

/// A plot to be drawn.
pub struct Plot<'a> {
    pub title: &'a str,
    pub x: Axis<'a>,
    pub y: Axis<'a>,
    pub lines: Vec<Line>,
}

/// How values are placed and named.
#[derive(Clone, Copy)]
pub struct Axis<'a> {
    pub label: &'a str,
    pub scale: Scale,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Scale {
    Linear,
    Log,
    /// Percentiles: 90, 99 and 99.9 are equally far apart.
    Percentile,
}

const WIDTH: f64 = 560.0;
const HEIGHT: f64 = 260.0;
const LEFT: f64 = 62.0;
const RIGHT: f64 = 14.0;
const TOP: f64 = 30.0;
const BOTTOM: f64 = 44.0;
/// Colours that stay apart for the colour-blind.
const COLOURS: [&str; 6] = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9"];

impl Scale {
    fn place(self, value: f64) -> f64 {
        match self {
            Self::Linear => value,
            Self::Log => value.max(1e-3).log10(),
            Self::Percentile => -(1.0 - (value / 100.0).min(0.999_999)).log10(),
        }
    }

    fn ticks(self, low: f64, high: f64) -> Vec<(f64, String)> {
        match self {
            Self::Percentile => [0.0, 50.0, 90.0, 99.0, 99.9, 99.99, 99.999]
                .into_iter()
                .filter(|value| self.place(*value) <= high + 1e-9)
                .map(|value| (self.place(value), format!("{value}%")))
                .collect(),
            Self::Log => (low.floor() as i32..=high.ceil() as i32)
                .filter(|power| (low - 1e-9..=high + 1e-9).contains(&f64::from(*power)))
                .map(|power| (f64::from(power), short(10f64.powi(power))))
                .collect(),
            Self::Linear => {
                let step = nice((high - low) / 5.0);
                let first = (low / step).ceil() as i64;
                (first..=(high / step).floor() as i64)
                    .map(|n| (n as f64 * step, short(n as f64 * step)))
                    .collect()
            }
        }
    }
}

/// The next step a person would choose: 1, 2 or 5 times a power of ten.
fn nice(step: f64) -> f64 {
    let power = 10f64.powf(step.max(1e-9).log10().floor());
    let times = step / power;
    power
        * match times {
            times if times <= 1.0 => 1.0,
            times if times <= 2.0 => 2.0,
            times if times <= 5.0 => 5.0,
            _ => 10.0,
        }
}

fn short(value: f64) -> String {
    match value.abs() {
        size if size >= 1e6 => format!("{}M", round(value / 1e6)),
        size if size >= 1e3 => format!("{}k", round(value / 1e3)),
        _ => round(value),
    }
}

fn round(value: f64) -> String {
    let text = format!("{value:.3}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// Text as it may stand in HTML.
pub fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

impl Plot<'_> {
    /// The plot as an `<svg>` element; nothing when there is nothing to draw.
    pub fn svg(&self) -> String {
        let lines: Vec<&Line> = self.lines.iter().filter(|line| line.points.len() > 1).collect();
        let placed = lines.iter().flat_map(|line| line.points.iter());
        let placed: Vec<(f64, f64)> = placed
            .map(|(x, y)| (self.x.scale.place(*x), self.y.scale.place(*y)))
            .collect();
        if placed.is_empty() {
            return String::new();
        }
        let (x_low, x_high) = range(placed.iter().map(|(x, _)| *x), self.x.scale);
        let (y_low, y_high) = range(placed.iter().map(|(_, y)| *y), self.y.scale);
        let to_x = |x: f64| LEFT + (x - x_low) / (x_high - x_low) * (WIDTH - LEFT - RIGHT);
        let to_y = |y: f64| HEIGHT - BOTTOM - (y - y_low) / (y_high - y_low) * (HEIGHT - TOP - BOTTOM);
        let mut out = format!(
            "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{}\">",
            escape(self.title)
        );
        _ = write!(
            out,
            "<text class=\"title\" x=\"{LEFT}\" y=\"16\">{}</text>",
            escape(self.title)
        );
        for (y, label) in self.y.scale.ticks(y_low, y_high) {
            let y = to_y(y);
            let end = WIDTH - RIGHT;
            _ = write!(out, "<path class=\"grid\" d=\"M{LEFT} {y:.1}H{end}\"/>");
            _ = write!(
                out,
                "<text class=\"y\" x=\"{}\" y=\"{:.1}\">{label}</text>",
                LEFT - 6.0,
                y + 4.0
            );
        }
        for (x, label) in self.x.scale.ticks(x_low, x_high) {
            let (x, foot) = (to_x(x), HEIGHT - BOTTOM);
            _ = write!(out, "<path class=\"grid\" d=\"M{x:.1} {TOP}V{foot}\"/>");
            _ = write!(
                out,
                "<text class=\"x\" x=\"{x:.1}\" y=\"{}\">{label}</text>",
                foot + 14.0
            );
        }
        let (middle, foot) = (WIDTH / 2.0, HEIGHT - BOTTOM + 27.0);
        let labels = format!("{} / {}", self.x.label, self.y.label);
        _ = write!(
            out,
            "<text class=\"x\" x=\"{middle}\" y=\"{foot}\">{}</text>",
            escape(&labels)
        );
        for (n, line) in lines.iter().enumerate() {
            let colour = COLOURS[n % COLOURS.len()];
            let points = line.points.iter().map(|(x, y)| {
                let (x, y) = (to_x(self.x.scale.place(*x)), to_y(self.y.scale.place(*y)));
                format!("{x:.1},{y:.1}")
            });
            let points: Vec<String> = points.collect();
            _ = write!(out, "<polyline stroke=\"{colour}\" points=\"{}\"/>", points.join(" "));
            let x = LEFT + n as f64 * 120.0;
            let name = escape(&line.name);
            _ = write!(
                out,
                "<text x=\"{x}\" y=\"{}\" fill=\"{colour}\">{name}</text>",
                HEIGHT - 3.0
            );
        }
        out.push_str("</svg>");
        out
    }
}

fn range(values: impl Iterator<Item = f64>, scale: Scale) -> (f64, f64) {
    let (low, high) = values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| {
        (low.min(value), high.max(value))
    });
    let (low, high) = match scale {
        Scale::Linear => (low.min(0.0), high * 1.05),
        Scale::Log => (low.floor(), high.ceil()),
        Scale::Percentile => (0.0, high),
    };
    (low, if high - low < 1e-9 { low + 1.0 } else { high })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plot(lines: Vec<Line>) -> String {
        let axis = |label, scale| Axis { label, scale };
        Plot {
            title: "a <plot>",
            x: axis("s", Scale::Linear),
            y: axis("ms", Scale::Log),
            lines,
        }
        .svg()
    }

    #[test]
    fn a_line_is_drawn_within_the_frame_and_names_are_escaped() {
        let svg = plot(vec![Line {
            name: "p99 & more".into(),
            points: vec![(0.0, 1.0), (5.0, 100.0), (10.0, 10.0)],
        }]);
        assert!(svg.contains("a &lt;plot&gt;") && svg.contains("p99 &amp; more") && !svg.contains("NaN"));
        let points = svg.split("points=\"").nth(1).unwrap().split('"').next().unwrap();
        for point in points.split(' ') {
            let (x, y) = point.split_once(',').unwrap();
            let (x, y): (f64, f64) = (x.parse().unwrap(), y.parse().unwrap());
            assert!((LEFT..=WIDTH).contains(&x) && (0.0..=HEIGHT).contains(&y), "{point}");
        }
    }

    #[test]
    fn nothing_to_draw_is_no_plot() {
        assert_eq!(plot(Vec::new()), "");
    }

    #[test]
    fn steps_of_an_axis_are_those_a_person_would_choose() {
        assert_eq!([nice(0.7), nice(1.4), nice(33.0), nice(60.0)], [1.0, 2.0, 50.0, 100.0]);
    }
}
