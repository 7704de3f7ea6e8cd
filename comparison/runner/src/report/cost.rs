//! Good answers against cost as one SVG file: a panel for each scenario, a point for each variant
//! and configuration. It contains its own styles, so that it can be shown outside the page.

use std::fmt::Write;

use super::chart::{escape, ticks};
use super::table::{Group, VARIANTS, number};
use crate::analysis::statistics::{Estimate, Spread};
use scenario::recording::Origin;

const COLUMNS: usize = 3;
const PANEL_WIDTH: f64 = 300.0;
const PANEL_HEIGHT: f64 = 200.0;
const LEFT: f64 = 44.0;
const RIGHT: f64 = 16.0;
const TOP: f64 = 28.0;
const BOTTOM: f64 = 42.0;
/// Height of the legend above the panels.
const LEGEND: f64 = 34.0;
/// Blue and vermillion of the palette by Okabe and Ito, as in the other charts.
const COLOURS: [&str; 2] = ["#0072b2", "#d55e00"];

/// The chart of one origin; empty when there are no groups with both variants.
pub fn svg(groups: &[Group<'_>], origin: Origin) -> String {
    let of_origin = || groups.iter().filter(|g| g.origin == origin && g.repeats().iter().all(|r| *r > 0));
    let mut scenarios: Vec<&str> = of_origin().map(|g| g.scenario).collect();
    scenarios.dedup();
    if scenarios.is_empty() {
        return String::new();
    }
    let least = of_origin()
        .filter_map(|g| g.row("good_share"))
        .flat_map(|row| row.estimates.into_iter().flatten().map(|e| ends(&e).0).collect::<Vec<_>>())
        .fold(100.0, f64::min);
    let floor = (least / 10.0).floor() * 10.0;
    let width = PANEL_WIDTH * COLUMNS as f64;
    let height = LEGEND + PANEL_HEIGHT * scenarios.len().div_ceil(COLUMNS) as f64;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" height=\"{height}\" \
         role=\"img\"><title>Good answers against CPU requested</title><style>{STYLE}</style>\n\
         <rect width=\"{width}\" height=\"{height}\" fill=\"#fff\"/>\n"
    );
    legend(&mut svg, origin);
    for (index, scenario) in scenarios.iter().enumerate() {
        let (left, top) =
            ((index % COLUMNS) as f64 * PANEL_WIDTH, LEGEND + (index / COLUMNS) as f64 * PANEL_HEIGHT);
        let _ = write!(svg, "<g transform=\"translate({left} {top})\">");
        let panel: Vec<&Group<'_>> = of_origin().filter(|g| g.scenario == *scenario).collect();
        draw(&mut svg, scenario, &panel, floor);
        svg.push_str("</g>\n");
    }
    svg.push_str("</svg>\n");
    svg
}

fn legend(svg: &mut String, origin: Origin) {
    let mut x = 14.0;
    for (column, (_, name)) in VARIANTS.iter().enumerate() {
        for (configuration, label) in [("defaults", "defaults"), ("tuned", "tuned")] {
            mark(svg, column, configuration, (x, 16.0));
            let text = format!("{name}, {label}");
            let _ = write!(svg, "<text class=\"s\" x=\"{}\" y=\"20\">{}</text>", x + 10.0, escape(&text));
            x += 44.0 + 6.6 * text.len() as f64;
        }
    }
    let simulated = if origin == Origin::Simulated { "simulated; " } else { "" };
    let _ = write!(
        svg,
        "<text class=\"s e\" x=\"{}\" y=\"20\">{simulated}lines: ranges or intervals</text>",
        888
    );
}

fn draw(svg: &mut String, scenario: &str, panel: &[&Group<'_>], floor: f64) {
    let points: Vec<(usize, &str, Estimate, Estimate)> = panel
        .iter()
        .flat_map(|group| {
            let (cost, good) = (group.row("cost_per_1000"), group.row("good_share"));
            (0..VARIANTS.len()).filter_map(move |column| {
                let of = |row: &Option<super::table::Row>| row.as_ref()?.estimates[column].clone();
                Some((column, group.configuration, of(&cost)?, of(&good)?))
            })
        })
        .collect();
    let most = points.iter().map(|p| ends(&p.2).1).fold(1.0, f64::max) * 1.1;
    let x = |value: f64| LEFT + (PANEL_WIDTH - LEFT - RIGHT) * value / most;
    let y = |value: f64| TOP + (PANEL_HEIGHT - TOP - BOTTOM) * (100.0 - value) / (100.0 - floor).max(1.0);
    let (right, bottom) = (PANEL_WIDTH - RIGHT, PANEL_HEIGHT - BOTTOM);
    let _ = write!(svg, "<text class=\"t\" x=\"{LEFT}\" y=\"16\">{}</text>", escape(scenario));
    for tick in ticks(100.0 - floor, 5.0) {
        let (value, at) = (floor + tick, y(floor + tick));
        let _ = write!(
            svg,
            "<line class=\"g\" x1=\"{LEFT}\" x2=\"{right}\" y1=\"{at:.1}\" y2=\"{at:.1}\"/>\
             <text class=\"n e\" x=\"{}\" y=\"{:.1}\">{} %</text>",
            LEFT - 5.0,
            at + 3.5,
            number(value)
        );
    }
    for tick in ticks(most, 4.0) {
        let at = x(tick);
        let _ =
            write!(svg, "<text class=\"n m\" x=\"{at:.1}\" y=\"{}\">{}</text>", bottom + 14.0, number(tick));
    }
    let _ = write!(
        svg,
        "<text class=\"n e\" x=\"{right}\" y=\"{}\">core-seconds per 1000 good answers</text>",
        bottom + 29.0
    );
    for (column, configuration, cost, good) in &points {
        let (cx, cy) = (x(cost.mean), y(good.mean));
        let ((x1, x2), (y1, y2)) = (ends(cost), ends(good));
        let colour = COLOURS[*column];
        let _ = write!(
            svg,
            "<path d=\"M{:.1} {cy:.1}H{:.1}M{cx:.1} {:.1}V{:.1}\" stroke=\"{colour}\" stroke-width=\"1\" fill=\"none\"/>",
            x(x1),
            x(x2),
            y(y1),
            y(y2)
        );
        mark(svg, *column, configuration, (cx, cy));
    }
}

/// Colour and shape tell the variant, the filling tells the configuration.
fn mark(svg: &mut String, column: usize, configuration: &str, (x, y): (f64, f64)) {
    let colour = COLOURS[column];
    let fill = if configuration == "defaults" { colour } else { "#fff" };
    let _ = match column {
        0 => write!(
            svg,
            "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"5\" fill=\"{fill}\" stroke=\"{colour}\" stroke-width=\"2\"/>"
        ),
        _ => write!(
            svg,
            "<rect x=\"{:.1}\" y=\"{:.1}\" width=\"9\" height=\"9\" fill=\"{fill}\" stroke=\"{colour}\" stroke-width=\"2\"/>",
            x - 4.5,
            y - 4.5
        ),
    };
}

fn ends(estimate: &Estimate) -> (f64, f64) {
    match estimate.spread {
        Spread::Unknown => (estimate.mean, estimate.mean),
        Spread::Range(low, high) | Spread::Interval(low, high) => (low, high),
    }
}

const STYLE: &str = "text{font-family:Helvetica,Arial,sans-serif;fill:#1b1f24}.t{font-size:13px;font-weight:600}\
    .s{font-size:12px}.n{font-size:10.5px;fill:#59636e}.e{text-anchor:end}.m{text-anchor:middle}\
    .g{stroke:#d7dce1;stroke-width:.7}";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_groups_are_no_chart() {
        assert_eq!(svg(&[], Origin::Measured), "");
    }
}
