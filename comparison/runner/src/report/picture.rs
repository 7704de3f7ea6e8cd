//! Charts as one standalone SVG, for a document or a talk. The caller provides the data and its
//! source; the dashboards' queries over replayed runs are drawn with it
//! (`observability/replay/picture.py`).

use std::fmt::Write;

use serde::Deserialize;

use super::chart::{Chart, HEIGHT, Line, WIDTH, escape};

/// What to draw.
#[derive(Debug, Deserialize)]
pub struct Picture {
    /// The title: what is compared.
    pub title: String,
    /// The caption: the source of the numbers.
    pub source: String,
    /// What the lines of each chart stand for.
    pub names: Vec<String>,
    /// Charts side by side in a row.
    pub columns: usize,
    /// In reading order.
    pub charts: Vec<ChartInput>,
}

/// One of its charts, by elapsed time.
#[derive(Debug, Deserialize)]
pub struct ChartInput {
    title: String,
    unit: String,
    /// Length of the time axis, seconds.
    seconds: f64,
    /// A dotted line across: an objective.
    mark: Option<f64>,
    /// Holds each value until the next point.
    stepped: bool,
    /// `(second, value)`, a line for each name of the picture.
    lines: Vec<Vec<(f64, f64)>>,
}

/// The page's classes and colours (`html.rs`), without variables, which not every SVG renderer
/// supports.
const STYLE: &str = "text{font-family:system-ui,sans-serif}
.t{font-size:12px;font-weight:600;fill:#1b1f24}.n{font-size:10px;fill:#59636e}.e{text-anchor:end}.m{text-anchor:middle}
.g{stroke:#d7dce1;stroke-width:.7}.o{stroke:#1b1f24;stroke-width:1;stroke-dasharray:1 3}
.l{fill:none;stroke-width:1.6;stroke-linejoin:round;stroke-linecap:round}
.v0{stroke:#0072b2}.v1{stroke:#d55e00;stroke-dasharray:4 4}.v2{stroke:#9aa3ad;stroke-width:1.2}";

/// Height of title and source, and of the key below.
const HEAD: f64 = 44.0;
const KEY: f64 = 22.0;
const GAP: f64 = 14.0;

impl From<&ChartInput> for Chart {
    fn from(input: &ChartInput) -> Self {
        let line = |(style, points): (usize, &Vec<(f64, f64)>)| Line {
            style,
            points: points.clone(),
            stepped: input.stepped,
        };
        Self {
            title: input.title.clone(),
            unit: input.unit.clone().into(),
            seconds: input.seconds,
            lines: input.lines.iter().enumerate().map(line).collect(),
            mark: input.mark,
            counted: None,
        }
    }
}

impl Picture {
    /// The whole picture.
    pub fn svg(&self) -> String {
        let columns = self.columns.max(1);
        let rows = self.charts.len().div_ceil(columns);
        let width = columns as f64 * (WIDTH + GAP) + GAP;
        let height = HEAD + rows as f64 * (HEIGHT + GAP) + KEY;
        let mut svg = format!(
            r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img"><title>{}</title>"#,
            escape(&self.title)
        );
        let _ = write!(svg, "<style>{STYLE}</style>");
        let _ = write!(svg, r##"<rect width="{width}" height="{height}" fill="#fff"/>"##);
        let _ = write!(svg, r#"<text class="t" x="{GAP}" y="18">{}</text>"#, escape(&self.title));
        let _ = write!(svg, r#"<text class="n" x="{GAP}" y="34">{}</text>"#, escape(&self.source));
        for (i, chart) in self.charts.iter().enumerate() {
            let x = GAP + (i % columns) as f64 * (WIDTH + GAP);
            let y = HEAD + (i / columns) as f64 * (HEIGHT + GAP);
            let placed = format!(r#"<svg x="{x}" y="{y}" width="{WIDTH}" height="{HEIGHT}" "#);
            svg.push_str(&Chart::from(chart).svg().replacen("<svg ", &placed, 1));
        }
        let y = height - KEY / 2.0;
        for (style, name) in self.names.iter().enumerate() {
            let x = GAP + style as f64 * WIDTH / 2.0;
            let _ = write!(svg, r#"<path class="l v{style}" d="M{x} {y}h30"/>"#);
            let _ =
                write!(svg, r#"<text class="n" x="{}" y="{}">{}</text>"#, x + 36.0, y + 3.5, escape(name));
        }
        svg.push_str("</svg>\n");
        svg
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_chart_has_its_place_and_every_variant_its_line_and_name() {
        let chart = r#"{"title":"Pods","unit":"","seconds":60,"mark":null,"stepped":true,
            "lines":[[[0,1],[30,2]],[[0,2]]]}"#;
        let text = format!(
            r#"{{"title":"a < b","source":"runs","names":["KPA","HPA + VPA"],"columns":2,"charts":[{chart},{chart},{chart}]}}"#
        );
        let svg = serde_json::from_str::<Picture>(&text).expect("a picture").svg();
        assert_eq!(svg.matches("<svg ").count(), 4);
        assert!(svg.contains("a &lt; b") && svg.contains("KPA</text>") && svg.contains("HPA + VPA"));
        assert_eq!(svg.matches(r#"class="l v1""#).count(), 4, "three lines and the key");
        let second_row = format!(r#"<svg x="{GAP}" y="{}""#, HEAD + HEIGHT + GAP);
        assert!(svg.contains(&second_row));
    }
}
