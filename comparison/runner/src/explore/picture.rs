//! What a search found as a table and as a picture.

use std::fmt::Write;

use super::{AUTOSCALERS, Point, found};
use crate::report::table::number;

/// The frontiers as a Markdown table, with the known settings.
pub fn table(points: &[Point]) -> String {
    let mut text = String::from(
        "| autoscaler | good answers | core-seconds requested | settings |\n|---|--:|--:|---|\n",
    );
    let mut row = |p: &Point, name: &str| {
        let (good, cost) = (number(p.good), number(p.cost));
        let _ = writeln!(text, "| {name} | {good} % | {cost} s | {} |", p.settings);
    };
    for autoscaler in AUTOSCALERS {
        for p in points.iter().filter(|p| p.autoscaler == autoscaler && !p.known.is_empty()) {
            row(p, &format!("**{autoscaler}, {}**", p.known));
        }
        found(points, autoscaler).into_iter().for_each(|p| row(p, autoscaler));
    }
    text
}

/// Colours that are distinguishable with colour blindness (Okabe and Ito), and different shapes.
const INK: [(&str, &str); 4] =
    [("#0072b2", "circle"), ("#d55e00", "square"), ("#009e73", "diamond"), ("#cc79a7", "triangle")];
const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 420.0;
/// Between the labels of two autoscalers at the same place.
const LABEL_HEIGHT: f64 = 13.0;
const MARGIN: [f64; 4] = [24.0, 24.0, 48.0, 64.0];

/// The frontiers as a picture: good answers over cost, one line an autoscaler, the known settings
/// marked.
pub fn svg(points: &[Point], title: &str) -> String {
    let [top, right, bottom, left] = MARGIN;
    let shown: Vec<&Point> = AUTOSCALERS.iter().flat_map(|a| found(points, a)).collect();
    let known = || points.iter().filter(|p| !p.known.is_empty());
    let all = || shown.iter().copied().chain(known());
    let most = all().map(|p| p.cost).fold(1.0, f64::max) * 1.05;
    let least = (all().map(|p| p.good).fold(100.0, f64::min) / 10.0).floor() * 10.0;
    let x = |cost: f64| left + cost / most * (WIDTH - left - right);
    let y = |good: f64| top + (100.0 - good) / (100.0 - least).max(1.0) * (HEIGHT - top - bottom);
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" font-family=\"sans-serif\" font-size=\"12\">\
         <title>{}</title><rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n",
        crate::report::chart::escape(title)
    );
    for step in 0..=5 {
        let good = least + (100.0 - least) * f64::from(step) / 5.0;
        let cost = most * f64::from(step) / 5.0;
        let _ = writeln!(
            out,
            "<path d=\"M{left} {:.1}H{:.1}\" stroke=\"#ddd\"/><text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>\
             <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
            y(good),
            WIDTH - right,
            left - 6.0,
            y(good) + 4.0,
            number(good),
            x(cost),
            HEIGHT - bottom + 18.0,
            number(cost)
        );
    }
    for (i, (autoscaler, (colour, shape))) in AUTOSCALERS.iter().zip(INK).enumerate() {
        let line: Vec<String> =
            found(points, autoscaler).iter().map(|p| format!("{:.1} {:.1}", x(p.cost), y(p.good))).collect();
        if !line.is_empty() {
            let _ = writeln!(
                out,
                "<path d=\"M{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>",
                line.join("L")
            );
        }
        for p in found(points, autoscaler) {
            out.push_str(&mark(shape, colour, x(p.cost), y(p.good), 3.0));
        }
        for p in known().filter(|p| p.autoscaler == *autoscaler) {
            out.push_str(&mark(shape, colour, x(p.cost), y(p.good), 7.0));
            // Beside its mark, to the left where there is no room; each autoscaler at a height of
            // its own.
            let (dx, anchor) = if p.cost > 0.7 * most { (-10.0, "end") } else { (10.0, "start") };
            let _ = writeln!(
                out,
                "<text x=\"{:.1}\" y=\"{:.1}\" fill=\"{colour}\" text-anchor=\"{anchor}\">{autoscaler}, {}</text>",
                x(p.cost) + dx,
                y(p.good) + 4.0 + LABEL_HEIGHT * i as f64,
                p.known
            );
        }
    }
    let _ = writeln!(
        out,
        "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">core-seconds requested (simulated)</text>\
         <text x=\"14\" y=\"{:.1}\" text-anchor=\"middle\" transform=\"rotate(-90 14 {:.1})\">good answers, %</text></svg>",
        (left + WIDTH - right) / 2.0,
        HEIGHT - 10.0,
        HEIGHT / 2.0,
        HEIGHT / 2.0
    );
    out
}

fn mark(shape: &str, colour: &str, x: f64, y: f64, r: f64) -> String {
    match shape {
        "circle" => format!("<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"{r}\" fill=\"{colour}\"/>\n"),
        "square" => format!(
            "<rect x=\"{:.1}\" y=\"{:.1}\" width=\"{}\" height=\"{}\" fill=\"{colour}\"/>\n",
            x - r,
            y - r,
            2.0 * r,
            2.0 * r
        ),
        "triangle" => format!(
            "<path d=\"M{x:.1} {:.1}L{:.1} {:.1}L{:.1} {:.1}Z\" fill=\"{colour}\"/>\n",
            y - r - 1.0,
            x + r + 1.0,
            y + r,
            x - r - 1.0,
            y + r
        ),
        _ => format!(
            "<path d=\"M{x:.1} {:.1}L{:.1} {y:.1}L{x:.1} {:.1}L{:.1} {y:.1}Z\" fill=\"{colour}\"/>\n",
            y - r - 1.0,
            x + r + 1.0,
            y + r + 1.0,
            x - r - 1.0
        ),
    }
}
