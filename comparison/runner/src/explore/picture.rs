//! What a search found as a table and as a picture.

use std::fmt::Write;

use super::{AUTOSCALERS, Point, found, whole_frontier};
use crate::report::table::number;

/// The frontiers as a Markdown table: the known settings, and what the search adds to them.
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
const INK: [(&str, &str); 5] = [
    ("#0072b2", "circle"),
    ("#d55e00", "square"),
    ("#009e73", "diamond"),
    ("#cc79a7", "triangle"),
    ("#333333", "cross"),
];
const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 420.0;
/// Radius of the marks of known settings.
const MARK: f64 = 7.0;
/// Radius of the marks of found settings.
const SMALL_MARK: f64 = 3.0;
/// Size of a label: its height, and the width of a letter of the largest common type.
const LABEL: [f64; 2] = [13.0, 7.0];
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
    for (autoscaler, (colour, shape)) in AUTOSCALERS.iter().zip(INK) {
        let line: Vec<String> = whole_frontier(points, autoscaler)
            .iter()
            .map(|p| format!("{:.1} {:.1}", x(p.cost), y(p.good)))
            .collect();
        if !line.is_empty() {
            let _ = writeln!(
                out,
                "<path d=\"M{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>",
                line.join("L")
            );
        }
        for p in found(points, autoscaler) {
            out.push_str(&mark(shape, colour, x(p.cost), y(p.good), SMALL_MARK));
        }
        for p in known().filter(|p| p.autoscaler == *autoscaler) {
            out.push_str(&mark(shape, colour, x(p.cost), y(p.good), MARK));
        }
    }
    let labels: Vec<(String, &str)> = known()
        .map(|p| {
            let i = AUTOSCALERS.iter().position(|a| *a == p.autoscaler).unwrap_or(0);
            (format!("{}, {}", p.autoscaler, p.known), INK[i].0)
        })
        .collect();
    let marks: Vec<[f64; 2]> = known().map(|p| [x(p.cost), y(p.good)]).collect();
    let lengths: Vec<usize> = labels.iter().map(|(text, _)| text.len()).collect();
    let small: Vec<[f64; 2]> = shown.iter().map(|p| [x(p.cost), y(p.good)]).collect();
    for ((text, colour), place) in labels.iter().zip(beside(&marks, &lengths, &small)) {
        let [[left, right], [top, bottom]] = place.area;
        let (x, anchor) = if place.before { (right, "end") } else { (left, "start") };
        let _ = writeln!(
            out,
            "<text x=\"{x:.1}\" y=\"{:.1}\" fill=\"{colour}\" text-anchor=\"{anchor}\">{text}</text>",
            (top + bottom) / 2.0 + 4.0
        );
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

/// Left and right, top and bottom.
type Area = [[f64; 2]; 2];

/// Where a label stands.
struct Place {
    area: Area,
    /// Whether it stands to the left of its mark.
    before: bool,
}

/// A place for each label beside its mark, one after another: the nearest height at which it covers
/// no other label and no mark, also none of the `small` ones, to the right where there is room.
fn beside(marks: &[[f64; 2]], lengths: &[usize], small: &[[f64; 2]]) -> Vec<Place> {
    let [height, letter] = LABEL;
    let area = |[x, y]: &[f64; 2], r: f64| [[x - r, x + r], [y - r, y + r]];
    let mut taken: Vec<Area> = marks.iter().map(|at| area(at, MARK)).collect();
    taken.extend(small.iter().map(|at| area(at, SMALL_MARK)));
    let places = marks.iter().zip(lengths).map(|([x, y], length)| {
        let width = letter * *length as f64;
        let gap = MARK + 3.0;
        let steps = (0..).map(|i| f64::from((i + 1) / 2) * if i % 2 == 1 { 1.0 } else { -1.0 });
        let at = |step: f64, before: bool| {
            let left = if before { x - gap - width } else { x + gap };
            let top = y + step * height / 2.0 - height / 2.0;
            Place { area: [[left, left + width], [top, top + height]], before }
        };
        let within = |p: &Place| {
            let [[left, right], [top, bottom]] = p.area;
            left >= MARGIN[3] && right <= WIDTH && top >= 0.0 && bottom <= HEIGHT - MARGIN[2]
        };
        let free = |p: &Place| !taken.iter().any(|other| covers(&p.area, other));
        let mut both = steps.take(MOST_STEPS).flat_map(|step| [at(step, false), at(step, true)]);
        let place = both.find(|p| within(p) && free(p)).unwrap_or_else(|| at(0.0, false));
        taken.push(place.area);
        place
    });
    places.collect()
}

/// Half heights of a label that it is moved at most, up and down: the whole picture.
const MOST_STEPS: usize = (4.0 * HEIGHT / LABEL[0]) as usize;

/// Whether two areas have a part in common.
fn covers(one: &Area, other: &Area) -> bool {
    one.iter().zip(other).all(|(a, b)| a[0] < b[1] && b[0] < a[1])
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
        "cross" => format!(
            "<path d=\"M{:.1} {y:.1}H{:.1}M{x:.1} {:.1}V{:.1}\" stroke=\"{colour}\" stroke-width=\"{:.1}\"/>\n",
            x - r,
            x + r,
            y - r,
            y + r,
            r * 0.7
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_label_covers_another_one_or_a_mark() {
        // Eight settings at nearly the same place, at an edge of the picture.
        for at in [[WIDTH - 30.0, 30.0], [MARGIN[3] + 1.0, HEIGHT - 60.0], [400.0, 200.0]] {
            let marks: Vec<[f64; 2]> = (0..8).map(|i| [at[0] + f64::from(i % 3), at[1]]).collect();
            let small: Vec<[f64; 2]> = (0..5).map(|i| [at[0] + 20.0 * f64::from(i), at[1]]).collect();
            let places = beside(&marks, &[18; 8], &small);
            for (i, one) in places.iter().enumerate() {
                let [[left, right], [top, bottom]] = one.area;
                assert!(left >= 0.0 && right <= WIDTH && top >= 0.0 && bottom <= HEIGHT);
                assert!(places[..i].iter().all(|other| !covers(&one.area, &other.area)), "{i}");
                assert!(
                    marks.iter().chain(&small).all(|[x, y]| !covers(&one.area, &[[*x, *x], [*y, *y]])),
                    "{i}"
                );
            }
        }
    }
}
