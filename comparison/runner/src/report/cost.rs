//! Good answers against cost as one SVG file: a panel for each scenario, a point for each arm. It
//! contains its own styles, so that it can be shown outside the page.

use std::fmt::Write;

use super::chart::{escape, ticks};
use super::table::{ArmRuns, number};
use crate::analysis::statistics::{Estimate, Spread};
use scenario::arms::{Arm, Deciding};
use scenario::recording::Origin;

const WIDTH: f64 = 900.0;
/// Most panels in a row; fewer are wider.
const COLUMNS: usize = 3;
const PANEL_HEIGHT: f64 = 200.0;
const LEFT: f64 = 44.0;
const RIGHT: f64 = 16.0;
const TOP: f64 = 28.0;
const BOTTOM: f64 = 42.0;
/// Entries of the legend in a row, and the height of a row.
const LEGEND_COLUMNS: usize = 4;
const LEGEND_ROW: f64 = 20.0;

/// The chart of one origin; empty where no scenario has two arms.
pub fn svg(arms: &[ArmRuns<'_>], origin: Origin) -> String {
    let of_origin = || arms.iter().filter(|a| a.origin == origin);
    let mut scenarios: Vec<&str> = of_origin().map(|a| a.scenario).collect();
    scenarios.dedup();
    scenarios.retain(|name| of_origin().filter(|a| a.scenario == *name).count() > 1);
    if scenarios.is_empty() {
        return String::new();
    }
    let least = of_origin()
        .filter_map(|a| a.estimate("good_share"))
        .map(|estimate| ends(&estimate).0)
        .fold(100.0, f64::min);
    let floor = (least / 10.0).floor().max(0.0) * 10.0;
    let mut shown: Vec<&Arm> = vec![];
    for arm in of_origin() {
        if !shown.iter().any(|a| a.name == arm.arm.name) {
            shown.push(&arm.arm);
        }
    }
    let legend_height = LEGEND_ROW * (shown.len().div_ceil(LEGEND_COLUMNS) + 1) as f64;
    let columns = scenarios.len().min(COLUMNS);
    let panel_width = WIDTH / columns as f64;
    let height = legend_height + PANEL_HEIGHT * scenarios.len().div_ceil(columns) as f64;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" height=\"{height}\" \
         role=\"img\"><title>Good answers against CPU requested</title><style>{STYLE}</style>\n\
         <rect width=\"{WIDTH}\" height=\"{height}\" fill=\"#fff\"/>\n"
    );
    legend(&mut svg, &shown, origin);
    for (index, scenario) in scenarios.iter().enumerate() {
        let left = (index % columns) as f64 * panel_width;
        let top = legend_height + (index / columns) as f64 * PANEL_HEIGHT;
        let _ = write!(svg, "<g transform=\"translate({left} {top})\">");
        let panel: Vec<&ArmRuns<'_>> = of_origin().filter(|a| a.scenario == *scenario).collect();
        draw(&mut svg, scenario, &panel, &shown, (panel_width, floor));
        svg.push_str("</g>\n");
    }
    svg.push_str("</svg>\n");
    svg
}

fn legend(svg: &mut String, shown: &[&Arm], origin: Origin) {
    let column = WIDTH / LEGEND_COLUMNS as f64;
    for (index, arm) in shown.iter().enumerate() {
        let x = 14.0 + column * (index % LEGEND_COLUMNS) as f64;
        let y = 16.0 + LEGEND_ROW * (index / LEGEND_COLUMNS) as f64;
        mark(svg, arm, (x, y));
        let text = format!("{} {}", index + 1, arm.title);
        let _ =
            write!(svg, "<text class=\"s\" x=\"{}\" y=\"{}\">{}</text>", x + 10.0, y + 4.0, escape(&text));
    }
    let simulated = if origin == Origin::Simulated { "Simulated. " } else { "" };
    let y = 20.0 + LEGEND_ROW * shown.len().div_ceil(LEGEND_COLUMNS) as f64;
    let _ = write!(
        svg,
        "<text class=\"n\" x=\"8\" y=\"{y}\">{simulated}Lines: 95 % t intervals, or ranges of fewer than six repeats.</text>"
    );
}

fn draw(
    svg: &mut String,
    scenario: &str,
    panel: &[&ArmRuns<'_>],
    shown: &[&Arm],
    (width, floor): (f64, f64),
) {
    let points: Vec<(&Arm, Estimate, Estimate)> = panel
        .iter()
        .filter_map(|a| Some((&a.arm, a.estimate("cost_per_1000")?, a.estimate("good_share")?)))
        .collect();
    let most = points.iter().map(|p| ends(&p.1).1).fold(1.0, f64::max) * 1.1;
    let x = |value: f64| LEFT + (width - LEFT - RIGHT) * value / most;
    let y = |value: f64| TOP + (PANEL_HEIGHT - TOP - BOTTOM) * (100.0 - value) / (100.0 - floor).max(1.0);
    let (right, bottom) = (width - RIGHT, PANEL_HEIGHT - BOTTOM);
    let _ = write!(svg, "<text class=\"t\" x=\"{LEFT}\" y=\"16\">{}: good answers</text>", escape(scenario));
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
    for (arm, cost, good) in &points {
        let (cx, cy) = (x(cost.mean), y(good.mean));
        let ((x1, x2), (y1, y2)) = (ends(cost), ends(good));
        let _ = write!(
            svg,
            "<path d=\"M{:.1} {cy:.1}H{:.1}M{cx:.1} {:.1}V{:.1}\" stroke=\"{}\" stroke-width=\"1\" fill=\"none\"/>",
            x(x1.max(0.0)),
            x(x2),
            y(y1.max(floor)),
            y(y2.min(100.0)),
            colour(arm)
        );
        mark(svg, arm, (cx, cy));
        let index = shown.iter().position(|a| a.name == arm.name).map_or(0, |i| i + 1);
        let _ = write!(svg, "<text class=\"n\" x=\"{:.1}\" y=\"{:.1}\">{index}</text>", cx + 7.0, cy - 4.0);
    }
}

/// Of the palette by Okabe and Ito, as in the other charts.
fn colour(arm: &Arm) -> &'static str {
    match arm.autoscaler {
        Deciding::Kpa => "#0072b2",
        Deciding::HpaVpa => "#d55e00",
        Deciding::Hpa => "#cc79a7",
        Deciding::Keda => "#009e73",
    }
}

/// Colour and shape show the autoscaler; tuned and changed arms are not filled.
fn mark(svg: &mut String, arm: &Arm, (x, y): (f64, f64)) {
    let colour = colour(arm);
    let changed = arm.configuration.contains("tuned") || arm.configuration.contains('+');
    let fill = if changed { "#fff" } else { colour };
    let shape = match arm.autoscaler {
        Deciding::Kpa => format!("M{:.1} {y:.1}a5 5 0 1 0 10 0a5 5 0 1 0 -10 0Z", x - 5.0),
        Deciding::HpaVpa => format!("M{:.1} {:.1}h9v9h-9Z", x - 4.5, y - 4.5),
        Deciding::Hpa => format!("M{x:.1} {:.1}l6 6l-6 6l-6 -6Z", y - 6.0),
        Deciding::Keda => format!("M{x:.1} {:.1}l5.5 10h-11Z", y - 6.0),
    };
    let _ = write!(svg, "<path d=\"{shape}\" fill=\"{fill}\" stroke=\"{colour}\" stroke-width=\"2\"/>");
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
