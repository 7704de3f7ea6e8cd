//! Small multiples as inline SVG: both variants on the same axes, by elapsed time.
//!
//! Colours are the blue and vermillion of Okabe and Ito's palette, which are distinguishable with
//! colour blindness; the second variant is also dashed, for black-and-white print.

use std::borrow::Cow;
use std::fmt::Write;

/// One line.
pub struct Line {
    /// Which of the two variants (colour and dash), or 2 for the offered load (gray).
    pub style: usize,
    /// `(second, value)`; NaN is a gap in the line.
    pub points: Vec<(f64, f64)>,
    /// Holds each value until the next point instead of joining them.
    pub stepped: bool,
}

/// One small chart.
pub struct Chart {
    /// Heading.
    pub title: String,
    /// Unit of the values.
    pub unit: Cow<'static, str>,
    /// Length of the time axis, seconds.
    pub seconds: f64,
    /// The lines.
    pub lines: Vec<Line>,
    /// A dotted line across, if any: an objective.
    pub mark: Option<f64>,
    /// The seconds that count, if not all do: the others are shaded.
    pub counted: Option<[f64; 2]>,
}

/// Of a chart, in the units of its view box.
pub const WIDTH: f64 = 360.0;
/// See [`WIDTH`].
pub const HEIGHT: f64 = 190.0;
const LEFT: f64 = 46.0;
const RIGHT: f64 = 10.0;
const TOP: f64 = 26.0;
const BOTTOM: f64 = 30.0;
/// About as many intervals on the axes.
const VALUE_TICKS: f64 = 4.0;
const TIME_TICKS: f64 = 7.0;
/// Largest ratio of an axis' end to the mark: a single extreme latency would flatten the other
/// lines.
const MARKS_SHOWN: f64 = 8.0;

impl Chart {
    /// The chart as an SVG element.
    pub fn svg(&self) -> String {
        let top = self.top();
        let x = |second: f64| LEFT + (WIDTH - LEFT - RIGHT) * second / self.seconds.max(1.0);
        let y = |value: f64| HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * (value / top).clamp(0.0, 1.0);
        let mut svg = format!(
            r#"<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img"><title>{}</title>"#,
            escape(&self.title)
        );
        let unit = if self.unit.is_empty() { String::new() } else { format!(" ({})", escape(&self.unit)) };
        let _ = write!(svg, r#"<text class="t" x="{LEFT}" y="15">{}{unit}</text>"#, escape(&self.title));
        let [from, to] = self.counted.unwrap_or([0.0, self.seconds]);
        for (begin, end) in [(0.0, from), (to, self.seconds)].into_iter().filter(|(begin, end)| begin < end) {
            let (left, width, height) = (x(begin), x(end) - x(begin), HEIGHT - TOP - BOTTOM);
            let _ = write!(
                svg,
                r#"<rect class="u" x="{left:.1}" y="{TOP}" width="{width:.1}" height="{height}"/>"#
            );
        }
        for tick in ticks(top, VALUE_TICKS) {
            let (at, right) = (y(tick), WIDTH - RIGHT);
            let _ = write!(svg, r#"<line class="g" x1="{LEFT}" x2="{right}" y1="{at:.1}" y2="{at:.1}"/>"#);
            let _ = write!(
                svg,
                r#"<text class="n e" x="{}" y="{:.1}">{}</text>"#,
                LEFT - 5.0,
                at + 3.5,
                super::table::number(tick)
            );
        }
        for tick in ticks(self.seconds, TIME_TICKS) {
            let _ = write!(
                svg,
                r#"<text class="n m" x="{:.1}" y="{}">{tick:.0}</text>"#,
                x(tick),
                HEIGHT - BOTTOM + 14.0
            );
        }
        let _ = write!(svg, r#"<text class="n e" x="{}" y="{}">seconds</text>"#, WIDTH - RIGHT, HEIGHT - 3.0);
        if let Some(mark) = self.mark {
            let (at, right) = (y(mark), WIDTH - RIGHT);
            let _ = write!(svg, r#"<line class="o" x1="{LEFT}" x2="{right}" y1="{at:.1}" y2="{at:.1}"/>"#);
        }
        for line in &self.lines {
            let _ =
                write!(svg, r#"<path class="l v{}" d="{}"/>"#, line.style, path(line, &x, &y, self.seconds));
        }
        svg.push_str("</svg>");
        svg
    }

    /// Upper end of the value axis.
    fn top(&self) -> f64 {
        let values =
            self.lines.iter().flat_map(|l| l.points.iter().filter(|p| p.0 <= self.seconds).map(|p| p.1));
        let most = values.fold(0.0, f64::max).max(self.mark.unwrap_or(0.0));
        let most = self.mark.map_or(most, |mark| most.min(mark * MARKS_SHOWN));
        let step = step(most, VALUE_TICKS);
        ((most / step).ceil() * step).max(step)
    }
}

fn path(line: &Line, x: &dyn Fn(f64) -> f64, y: &dyn Fn(f64) -> f64, seconds: f64) -> String {
    let mut d = String::new();
    // Values before second 0 give the line's start.
    let before = line.points.iter().rev().find(|p| p.0 < 0.0).filter(|_| line.stepped).map(|p| (0.0, p.1));
    let within =
        before.into_iter().chain(line.points.iter().copied().filter(|p| (0.0..=seconds).contains(&p.0)));
    let mut last = None;
    for (second, value) in within {
        if value.is_nan() {
            last = None;
            continue;
        }
        if let (Some(before), true) = (last, line.stepped) {
            let _ = write!(d, "L{:.1} {:.1}", x(second), y(before));
        }
        // A line of zero length with round caps: a value between two gaps is a dot.
        let (command, dot) = if last.is_none() { ('M', "h0") } else { ('L', "") };
        let _ = write!(d, "{command}{:.1} {:.1}{dot}", x(second), y(value));
        last = Some(value);
    }
    if let (Some(value), true) = (last, line.stepped) {
        let _ = write!(d, "L{:.1} {:.1}", x(seconds), y(value));
    }
    d
}

/// 1, 2 or 5 times a power of ten, for about as many intervals.
fn step(most: f64, intervals: f64) -> f64 {
    let rough = (most / intervals).max(1e-9);
    let power = 10_f64.powf(rough.log10().floor());
    let factor = [1.0, 2.0, 5.0, 10.0].into_iter().find(|f| f * power >= rough).unwrap_or(10.0);
    factor * power
}

pub(super) fn ticks(most: f64, intervals: f64) -> impl Iterator<Item = f64> {
    let step = step(most, intervals);
    let count = (most / step + 1e-9).floor() as usize;
    (0..=count).map(move |i| i as f64 * step)
}

/// Text for HTML.
pub fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chart(points: Vec<(f64, f64)>, stepped: bool) -> Chart {
        Chart {
            title: "Pods <ready>".into(),
            unit: "".into(),
            seconds: 100.0,
            lines: vec![Line { style: 0, points, stepped }],
            mark: None,
            counted: None,
        }
    }

    #[test]
    fn axes_end_at_round_numbers_above_the_data() {
        assert_eq!(chart(vec![(0.0, 3.7)], true).top(), 4.0);
        assert_eq!(chart(vec![(0.0, 130.0)], true).top(), 150.0);
        assert!(chart(vec![], true).top() > 0.0);
        let mut latency = chart(vec![(0.0, 15_000.0)], false);
        latency.mark = Some(500.0);
        assert_eq!(latency.top(), 4000.0, "one slow answer does not press the rest flat");
    }

    #[test]
    fn a_stepped_line_goes_on_to_the_end_and_begins_before_the_start() {
        let svg = chart(vec![(-50.0, 1.0), (50.0, 2.0)], true).svg();
        let left = format!("M{LEFT:.1} ");
        assert!(svg.contains(&left) && svg.contains(&format!("L{:.1} {TOP:.1}\"", WIDTH - RIGHT)), "{svg}");
        assert!(svg.contains("Pods &lt;ready&gt;"));
    }

    #[test]
    fn a_line_breaks_where_there_is_no_value_and_a_value_alone_is_a_dot() {
        let svg =
            chart(vec![(0.0, 1.0), (10.0, 1.0), (20.0, f64::NAN), (30.0, 1.0), (40.0, f64::NAN)], false)
                .svg();
        let path = svg.split("d=\"").nth(1).and_then(|rest| rest.split('"').next()).expect("a path");
        let commands: String = path.chars().filter(char::is_ascii_alphabetic).collect();
        assert_eq!(commands, "MhLMh", "{path}");
    }

    #[test]
    fn seconds_that_do_not_count_are_shaded_at_both_ends() {
        let mut pods = chart(vec![(0.0, 1.0)], true);
        assert!(!pods.svg().contains("<rect"));
        pods.counted = Some([25.0, 50.0]);
        assert_eq!(pods.svg().matches("<rect").count(), 2);
        pods.counted = Some([25.0, 100.0]);
        assert_eq!(pods.svg().matches("<rect").count(), 1);
    }

    #[test]
    fn nothing_to_draw_is_an_empty_path() {
        assert!(chart(vec![], true).svg().contains(r#"d="""#));
    }
}
