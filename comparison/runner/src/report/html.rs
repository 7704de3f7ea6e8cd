//! The page: the compared arms and the environment, the findings, and for each scenario the charts
//! and the table.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::chart::{Chart, Line, escape};
use super::claims::{Claim, claims};
use super::cost;
use super::findings::{findings, probability};
use super::reproduce;
use super::table::{ArmRuns, Group, amount, arm_runs, cell, groups, number};
use crate::analysis::MEASURES;
use crate::analysis::measures::ready_pods;
use crate::analysis::statistics::{ALPHA, LEAST_PAIRS};
use crate::cluster::drift::MOST_DRIFT;
use scenario::Scenario;
use scenario::recording::{Origin, Run};

/// Length of the date in a time of RFC 3339.
const DATE: usize = 10;

/// Seconds of load that a point of a rate or latency line stands for.
const BIN_S: usize = 5;

/// The whole page.
pub fn page(runs: &[Run], scenarios: &[Scenario]) -> String {
    let arms = arm_runs(runs);
    let groups = groups(&arms);
    let mut html = String::from("<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">");
    html.push_str("<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">");
    let _ = write!(html, "<title>KPA, HPA + VPA and KEDA</title><style>{STYLE}</style></head><body><main>");
    html.push_str("<h1>Knative's KPA, HPA + VPA, and KEDA</h1>");
    html.push_str(
        "<p>The same image, the same requests at the same moments, several ways of autoscaling. Latency counts from the \
         moment at which a request was meant to be sent.</p>",
    );
    for origin in [Origin::Measured, Origin::Simulated] {
        let of_origin: Vec<&Group<'_>> = groups.iter().filter(|g| g.origin == origin).collect();
        if !arms.iter().any(|a| a.origin == origin) {
            continue;
        }
        html.push_str(match origin {
            Origin::Measured => "<h2 class=\"origin\">Measured on a cluster</h2>",
            Origin::Simulated => {
                "<h2 class=\"origin\">Simulated</h2><p class=\"warn\">Nothing in this part ran on a cluster: it is the \
                 published algorithms over a model of pods.</p>"
            }
        });
        let claims = claims(&groups, origin);
        answer(&mut html, &arms, &groups, origin, &claims);
        summary(&mut html, &arms, origin);
        sessions(&mut html, runs.iter().filter(|r| r.origin == origin));
        html.push_str(KEY);
        for group in of_origin {
            section(&mut html, group, scenarios.iter().find(|s| s.name == group.scenario), &claims);
        }
        html.push_str("<h3>Environment</h3>");
        environment(&mut html, runs.iter().filter(|r| r.origin == origin));
    }
    html.push_str("<h2>Definitions</h2><dl>");
    for measure in MEASURES {
        let _ = write!(html, "<dt>{}</dt><dd>{}</dd>", escape(measure.title), escape(measure.definition));
    }
    let _ = write!(
        html,
        "</dl><h2>Reproduce</h2><pre>{}</pre></main></body></html>",
        escape(&reproduce::commands(&arms))
    );
    html
}

/// The summary: good answers against cost, and the claims.
fn answer(html: &mut String, arms: &[ArmRuns<'_>], groups: &[Group<'_>], origin: Origin, claims: &[Claim]) {
    let _ = write!(html, "<div class=\"wide\">{}</div>", cost::svg(arms, origin));
    let _ = write!(
        html,
        "<p>Parentheses hold the range of fewer than {LEAST_PAIRS} repeats, which is no interval for the mean. Brackets \
         hold 95 % t intervals. A difference is shown from {LEAST_PAIRS} pairs on, when the exact sign-flip test has p at \
         most {ALPHA}, for it and for every claim before it: the claims were put in this order before the runs.</p>"
    );
    let mut scenarios: Vec<(&str, [f64; 2])> = vec![];
    for arm in arms.iter().filter(|a| a.origin == origin) {
        let window = arm.runs.first().and_then(|run| run.draw.counted);
        if let Some(found) =
            window.map(|window| (arm.scenario, window)).filter(|found| !scenarios.contains(found))
        {
            scenarios.push(found);
        }
    }
    for (scenario, [from, to]) in scenarios {
        let _ = write!(
            html,
            "<p>Of <strong>{}</strong> seconds {from:.0} to {to:.0} of each run count.</p>",
            escape(scenario)
        );
    }
    if claims.is_empty() {
        let pairs = groups.iter().filter(|g| g.origin == origin).map(Group::pairs).max();
        let _ = write!(
            html,
            "<p><strong>No difference is claimed</strong>: the comparisons have at most {} pairs each.</p>",
            pairs.unwrap_or(0)
        );
        return;
    }
    html.push_str(
        "<div class=\"wide\"><table><tr><th>Scenario</th><th>Arms</th><th>Measure</th><th>Pairs</th><th>Second minus first</th>\
         <th>By block</th><th>Corrected p</th><th></th><th>Files</th></tr>",
    );
    for claim in claims {
        let (low, high) = claim.difference.interval;
        let (class, verdict) =
            if claim.is_shown() { (" class=\"clear\"", "shown") } else { ("", "not shown") };
        let _ = write!(
            html,
            "<tr{class}><th>{}</th><td>{}</td><td>{}</td><td>{}</td><td>{} [{} … {}]</td><td>{}</td><td>{}</td>\
             <td>{verdict}</td><td>{}</td></tr>",
            escape(&claim.scenario),
            escape(&claim.titles.join(" and ")),
            escape(claim.measure.title),
            claim.difference.pairs,
            amount(claim.difference.mean, claim.measure),
            number(low),
            number(high),
            claim.by_block.iter().map(|difference| number(*difference)).collect::<Vec<_>>().join(", "),
            escape(&probability(claim.corrected_p)),
            escape(&claim.files.clone().map(|file| format!("{file}-*.json")).join(", ")),
        );
    }
    html.push_str("</table></div>");
}

/// Every arm of every scenario in a row.
fn summary(html: &mut String, arms: &[ArmRuns<'_>], origin: Origin) {
    const KEYS: [&str; 5] = ["good_share", "p99_ms", "slo_violation_s", "pod_seconds", "cost_per_1000"];
    let measures = KEYS.map(|key| crate::analysis::by_key(key).expect("a measure"));
    html.push_str("<div class=\"wide\"><table><tr><th>Scenario</th><th>Arm</th><th>Runs</th>");
    measures.iter().for_each(|m| {
        let _ = write!(html, "<th title=\"{}\">{}</th>", escape(m.definition), escape(m.title));
    });
    html.push_str("</tr>");
    for arm in arms.iter().filter(|a| a.origin == origin) {
        let _ = write!(
            html,
            "<tr><th>{}</th><td title=\"{}\">{}</td><td>{}</td>",
            escape(arm.scenario),
            escape(&arm.arm.about),
            escape(&arm.arm.title),
            arm.runs.len()
        );
        for measure in measures {
            let _ = write!(html, "<td>{}</td>", cell(arm.estimate(measure.key).as_ref(), measure.unit));
        }
        html.push_str("</tr>");
    }
    html.push_str("</table></div>");
}

/// How the blocks are distributed over sessions of work, if there was more than one.
fn sessions<'a>(html: &mut String, runs: impl Iterator<Item = &'a Run>) {
    let mut blocks: BTreeMap<(&str, u32), Vec<&str>> = BTreeMap::new();
    let mut all: Vec<&str> = vec![];
    for run in runs {
        let Some(session) = run.session.as_deref() else { continue };
        for list in [&mut all, blocks.entry((&run.scenario, run.repeat)).or_default()] {
            if !list.contains(&session) {
                list.push(session);
            }
        }
    }
    if all.len() < 2 {
        return;
    }
    let continued = blocks.values().filter(|sessions| sessions.len() > 1).count();
    let _ = write!(
        html,
        "<p>The runs come from {} sessions. Arms are compared within blocks only, a block being one seed under every arm: \
         what differs between sessions, as the speed of the machine, cancels in a difference within a session. It does not \
         cancel in the means of the table above. ",
        all.len()
    );
    let _ = if continued == 0 {
        write!(html, "Every block was recorded in one session.</p>")
    } else {
        write!(
            html,
            "{continued} of {} blocks were continued in a later session, which began with a pod that answered the same \
             within {:.0} %: in these the arms are of different sessions.</p>",
            blocks.len(),
            MOST_DRIFT * 100.0
        )
    };
}

/// Facts that all runs share, and those that differ.
fn environment<'a>(html: &mut String, runs: impl Iterator<Item = &'a Run>) {
    let mut facts: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut note = |name: &str, value: String| {
        let values = facts.entry(name.to_owned()).or_default();
        if !values.contains(&value) {
            values.push(value);
        }
    };
    for run in runs {
        run.environment.iter().for_each(|(name, value)| note(name, value.clone()));
        if let Some([before, after]) = run.throughput {
            let pair = format!("{before:.1} and {after:.1}/s");
            note("One pod's throughput before and after a block", pair);
        }
        note("Requests a second for a rate of 1", format!("{}", run.draw.scale));
        note("Factor on the scenarios' time", format!("{}", run.draw.stretch));
        note("Objective", format!("{} ms", run.draw.slo_ms));
        note("Seeds", format!("{}", run.draw.seed));
        if let Some(date) = run.started.get(..DATE) {
            note("Date", date.to_owned());
        }
    }
    html.push_str("<table class=\"env\">");
    for (name, values) in facts {
        let _ = write!(html, "<tr><th>{}</th><td>{}</td></tr>", escape(&name), escape(&values.join(", ")));
    }
    html.push_str("</table>");
}

fn section(html: &mut String, group: &Group<'_>, scenario: Option<&Scenario>, claims: &[Claim]) {
    let title = scenario.map_or(group.scenario, |s| s.title.as_str());
    let label = if group.origin == Origin::Simulated { " <em>simulated</em>" } else { "" };
    let titles = group.titles().map(escape);
    let _ = write!(html, "<section><h3>{}: {} and {}{label}</h3>", escape(title), titles[0], titles[1]);
    let _ = write!(html, "<p>{}.", escape(&group.question));
    if let Some(scenario) = scenario {
        let _ = write!(html, " {}", escape(&scenario.about));
    }
    let [first, second] = group.repeats();
    let _ = write!(
        html,
        "</p><p class=\"runs\"><svg viewBox=\"0 0 30 8\"><path class=\"l v0\" d=\"M0 4L30 4\"/></svg> {} ({first} runs) \
         <svg viewBox=\"0 0 30 8\"><path class=\"l v1\" d=\"M0 4L30 4\"/></svg> {} ({second} runs)</p>",
        titles[0], titles[1]
    );
    html.push_str("<div class=\"charts\">");
    // A simulation has no node: a chart without points is left out.
    charts(group)
        .iter()
        .filter(|c| c.lines.iter().any(|l| !l.points.is_empty()))
        .for_each(|chart| html.push_str(&chart.svg()));
    html.push_str("</div>");
    let sentences = findings(group, claims);
    if !sentences.is_empty() {
        html.push_str("<ul>");
        sentences.iter().for_each(|s| {
            let _ = write!(html, "<li>{}</li>", escape(s));
        });
        html.push_str("</ul>");
    }
    let _ = write!(
        html,
        "<div class=\"wide\"><table><tr><th></th><th>{}</th><th>{}</th></tr>",
        titles[0], titles[1]
    );
    for row in group.rows() {
        let cells = [0, 1].map(|i| cell(row.estimates[i].as_ref(), row.measure.unit));
        let _ = write!(
            html,
            "<tr><th title=\"{}\">{}</th><td>{}</td><td>{}</td></tr>",
            escape(row.measure.definition),
            escape(row.measure.title),
            cells[0],
            cells[1]
        );
    }
    html.push_str("</table></div></section>");
}

/// The small multiples of a group: every repeat a line.
fn charts(group: &Group<'_>) -> Vec<Chart> {
    let all = || group.arms.iter().flat_map(|a| &a.runs);
    let seconds = all().map(|r| r.recording.observed_s).fold(0.0, f64::max);
    let slo = all().map(|r| r.draw.slo_ms as f64).next();
    let counted = all().find_map(|r| r.draw.counted);
    let lines = |stepped: bool, of: &dyn Fn(&Run) -> Vec<(f64, f64)>| -> Vec<Line> {
        let line = |style: usize, run: &&Run| Line { style, points: of(run), stepped };
        let arms = group.arms.iter().enumerate();
        arms.flat_map(|(style, arm)| arm.runs.iter().map(move |r| line(style, r))).collect()
    };
    let chart = |title: &str, unit: &'static str, lines: Vec<Line>, mark: Option<f64>| Chart {
        title: title.to_owned(),
        unit: unit.into(),
        seconds,
        lines,
        mark,
        counted,
    };
    let mut rate = lines(false, &good_answers);
    // The curve is the same for every run of a group; only the draws from it differ by repeat.
    if let Some(run) = all().next() {
        rate.insert(0, Line { style: 2, points: run.draw.rate.clone(), stepped: false });
    }
    vec![
        chart("Good answers, rate offered", "per second", rate, None),
        chart("Latency, worst second's p99", "ms", lines(false, &latency), slo),
        chart("Pods ready", "", lines(true, &|r| ready_pods(&r.recording)), None),
        chart("Pods wanted", "", lines(true, &|r| r.recording.desired.clone()), None),
        chart("Autoscaler metric over its target", "", lines(true, &|r| r.recording.seen.clone()), Some(1.0)),
        chart("CPU in use by the pods", "cores", lines(false, &|r| r.recording.cores_used.clone()), None),
        chart("Node CPU busy, all processes", "%", lines(false, &node_busy), None),
        chart("SLO-violation seconds, cumulative", "seconds", lines(true, &violations), None),
    ]
}

fn good_answers(run: &Run) -> Vec<(f64, f64)> {
    let bins = run.load.seconds.chunks(BIN_S).enumerate();
    let good =
        |bin: &[scenario::summary::LoadSecond]| bin.iter().map(|s| s.planned - s.broke_slo).sum::<u64>();
    bins.map(|(i, bin)| ((i * BIN_S) as f64 + bin.len() as f64 / 2.0, good(bin) as f64 / bin.len() as f64))
        .collect()
}

fn latency(run: &Run) -> Vec<(f64, f64)> {
    let bins = run.load.seconds.chunks(BIN_S).enumerate();
    let worst = bins.map(|(i, bin)| {
        let worst = bin.iter().filter_map(|s| s.p99_ms).fold(f64::NAN, f64::max);
        ((i * BIN_S) as f64 + bin.len() as f64 / 2.0, worst)
    });
    worst.collect()
}

fn node_busy(run: &Run) -> Vec<(f64, f64)> {
    run.recording.node_busy.iter().map(|b| (b.0, b.1 * 100.0)).collect()
}

fn violations(run: &Run) -> Vec<(f64, f64)> {
    let mut sum = 0.0;
    let mut points = vec![(0.0, 0.0)];
    let [from, to] = run.draw.counted.unwrap_or([0.0, f64::INFINITY]);
    for (second, row) in run.load.seconds.iter().enumerate() {
        if row.violates_slo() && (from..=to).contains(&(second as f64)) {
            sum += 1.0;
            points.push((second as f64 + 1.0, sum));
        }
    }
    points
}

const KEY: &str = "<p class=\"key\">In the charts: <svg viewBox=\"0 0 30 8\"><path class=\"l v2\" d=\"M0 4L30 4\"/></svg> \
    rate offered <svg viewBox=\"0 0 30 8\"><line class=\"o\" x1=\"0\" x2=\"30\" y1=\"4\" y2=\"4\"/></svg> objective or target \
    <svg viewBox=\"0 0 30 8\"><rect class=\"u\" width=\"30\" height=\"8\"/></svg> seconds that do not count. \
    Every repeat is a line of its own.</p>";

const STYLE: &str = "
:root{--ink:#1b1f24;--soft:#59636e;--rule:#d7dce1;--a:#0072b2;--b:#d55e00}
body{margin:0;font:15px/1.5 system-ui,sans-serif;color:var(--ink);background:#fff}
main{max-width:1160px;margin:0 auto;padding:24px}
h1{font-size:28px;margin:0 0 8px}h2{font-size:22px;margin:36px 0 8px}h3{font-size:18px;margin:28px 0 4px}
h2.origin{border-bottom:3px solid var(--ink);padding-bottom:4px}
em{font-style:normal;font-size:13px;background:#ffe9a8;padding:1px 6px;border-radius:3px}
.warn{background:#fff6d6;border-left:4px solid #c9a200;padding:8px 12px}
.charts{display:grid;grid-template-columns:repeat(auto-fill,minmax(330px,1fr));gap:8px 18px}
.charts svg{width:100%;height:auto}
.t{font-size:12px;font-weight:600;fill:var(--ink)}.n{font-size:10px;fill:var(--soft)}.e{text-anchor:end}.m{text-anchor:middle}
.g{stroke:var(--rule);stroke-width:.7}.u{fill:#eef0f2}.o{stroke:var(--ink);stroke-width:1;stroke-dasharray:1 3}
.l{fill:none;stroke-width:1.6;stroke-linejoin:round;stroke-linecap:round}
.v0{stroke:var(--a)}.v1{stroke:var(--b);stroke-dasharray:4 4}.v2{stroke:#9aa3ad;stroke-width:1.2}
.key svg,.runs svg{width:30px;height:8px;margin-left:14px}.key,.runs{color:var(--soft);font-size:13px}
.wide{overflow-x:auto}
table{border-collapse:collapse;font-size:13px;margin:10px 0;font-variant-numeric:tabular-nums}
th,td{padding:3px 14px 3px 0;border-bottom:1px solid var(--rule);text-align:right;vertical-align:top}
th:first-child,.env td{text-align:left}.env td{overflow-wrap:anywhere}th{font-weight:500}tr.clear td{font-weight:650}
dt{font-weight:600;font-size:13px}dd{margin:0 0 6px;font-size:13px;color:var(--soft)}
ul{padding-left:20px}li{margin:2px 0}pre{background:#f4f6f8;padding:10px;overflow-x:auto}
@media print{@page{margin:14mm}main{padding:0}h3{break-after:avoid}.charts{grid-template-columns:1fr 1fr 1fr}
 svg,tr,li{break-inside:avoid}body,table,.key,.runs,dt,dd{font-size:10px}}
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_page_is_complete_and_loads_nothing_from_outside() {
        let html = page(&[], &[]);
        assert!(html.ends_with("</html>"));
        for outside in ["http:", "https:", "src=", "@import", "url("] {
            assert!(!html.contains(outside), "{outside}");
        }
    }
}
