//! The report as one page that needs nothing else: no script, no font, no request.

use std::fmt::Write;

use super::plot::{Axis, Line, Plot, Scale, escape};
use super::text::number;
use super::{Outcome, Point, Report, Section};

const STYLE: &str = "
:root{color-scheme:light dark}
body{font:15px/1.5 system-ui,sans-serif;max-width:1180px;margin:2rem auto;padding:0 1rem}
h1{font-size:1.5rem}h2{font-size:1.2rem;margin-top:2.5rem;border-top:1px solid #8884;padding-top:1rem}
table{border-collapse:collapse;margin:.8rem 0}td,th{padding:.2rem .8rem .2rem 0;text-align:left;vertical-align:top}
td.n,th.n{text-align:right;font-variant-numeric:tabular-nums}tr+tr td{border-top:1px solid #8883}
.plots{display:grid;grid-template-columns:repeat(auto-fit,minmax(480px,1fr));gap:1rem}
svg{width:100%;font:11px system-ui,sans-serif;fill:currentColor}
svg polyline{fill:none;stroke-width:1.6}svg .grid{stroke:#8884;fill:none}svg .title{font-weight:600;font-size:13px}
svg .y{text-anchor:end}svg .x{text-anchor:middle}
.bad{color:#c33;font-weight:600}.good{color:#284}.dim{opacity:.7}code{font-size:.9em;word-break:break-all}
";

/// The whole page.
pub fn html(report: &Report) -> String {
    let mut out = format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>rookery-load: {}</title><style>{STYLE}</style>",
        escape(&report.command)
    );
    head(report, &mut out);
    goals(report, &mut out);
    thresholds(report, &mut out);
    for section in &report.sections {
        write_section(section, &mut out);
    }
    out.push_str("</html>\n");
    out
}

fn head(report: &Report, out: &mut String) {
    let (class, outcome) = match report.outcome {
        Outcome::Passed => ("good", "passed"),
        Outcome::ThresholdExceeded => ("bad", "a threshold was exceeded"),
        Outcome::AuditFailed => ("bad", "the audit found violations"),
        Outcome::Failed => ("bad", "a part could not be played to its end"),
    };
    let machine = &report.machine;
    let server = &report.server;
    _ = write!(
        out,
        "<h1>rookery-load <span class=\"{class}\">{outcome}</span></h1><table>"
    );
    let rows = [
        ("command", report.command.clone()),
        (
            "began",
            format!("{}, took {:.1} s, seed {}", report.began, report.seconds, report.seed),
        ),
        (
            "machine",
            format!(
                "{} cores, {}, {} MiB, Linux {}, {} open files",
                machine.cores, machine.cpu, machine.memory_mib, machine.kernel, machine.open_files
            ),
        ),
        (
            "server",
            format!(
                "{} at {} on processors {}",
                server.version, server.address, server.processors
            ),
        ),
        (
            "load",
            format!("{} on processors {}", report.harness, server.load_processors),
        ),
        ("set", server.settings.join(" ")),
    ];
    for (name, value) in rows.iter().filter(|(_, value)| !value.is_empty()) {
        _ = write!(out, "<tr><th>{name}</th><td><code>{}</code></td></tr>", escape(value));
    }
    out.push_str("</table>");
}

fn goals(report: &Report, out: &mut String) {
    if report.table.is_empty() {
        return;
    }
    out.push_str("<table><tr><th>scenario</th><th>goal</th><th>measured</th><th>reached</th></tr>");
    for row in &report.table {
        let (class, reached) = match row.reached {
            Some(true) => ("good", "yes"),
            Some(false) => ("bad", "no"),
            None => ("dim", "-"),
        };
        _ = write!(
            out,
            "<tr><td>{}</td><td>{}</td><td>{}</td><td class=\"{class}\">{reached}</td></tr>",
            escape(&row.what),
            escape(&row.goal),
            escape(&row.measured)
        );
    }
    out.push_str("</table>");
}

fn thresholds(report: &Report, out: &mut String) {
    if report.thresholds.is_empty() {
        return;
    }
    out.push_str("<table><tr><th>threshold</th><th>found</th><th></th></tr>");
    for judged in &report.thresholds {
        let found: Vec<String> = judged
            .found
            .iter()
            .map(|(at, value)| format!("{at} = {}", number(*value)))
            .collect();
        let (class, verdict) = if judged.exceeded {
            ("bad", "failed")
        } else {
            ("good", "ok")
        };
        _ = write!(
            out,
            "<tr><td><code>{}</code></td><td>{}</td><td class=\"{class}\">{verdict}</td></tr>",
            escape(&judged.threshold),
            escape(&found.join(", "))
        );
    }
    out.push_str("</table>");
}

fn write_section(section: &Section, out: &mut String) {
    _ = write!(out, "<h2>{}: {}</h2>", escape(&section.name), escape(&section.title));
    if section.interrupted {
        out.push_str("<p class=\"bad\">Interrupted: the figures are of what ran.</p>");
    }
    let settings: Vec<String> = section
        .settings
        .iter()
        .map(|(key, value)| format!("{key} {value}"))
        .collect();
    _ = write!(out, "<p class=\"dim\">{}</p>", escape(&settings.join(" · ")));
    figures(section, out);
    latencies(section, out);
    steps(section, out);
    super::faults::html(&section.faults, out);
    out.push_str("<div class=\"plots\">");
    plots(section).iter().for_each(|plot| out.push_str(&plot.svg()));
    out.push_str("</div>");
    audit(section, out);
    for note in &section.notes {
        _ = write!(out, "<p>{}</p>", escape(note));
    }
}

fn figures(section: &Section, out: &mut String) {
    out.push_str("<table>");
    for figure in &section.figures {
        _ = write!(
            out,
            "<tr><td>{}</td><td class=\"n\">{}</td><td>{}</td><td class=\"dim\">{}</td></tr>",
            escape(&figure.name),
            number(figure.value),
            escape(&figure.unit),
            escape(&figure.about)
        );
    }
    out.push_str("</table>");
}

fn latencies(section: &Section, out: &mut String) {
    if section.latencies.is_empty() {
        return;
    }
    out.push_str("<table><tr><th>ms from the intended start</th><th class=\"n\">count</th>");
    for name in ["p50", "p90", "p99", "p99.9", "max"] {
        _ = write!(out, "<th class=\"n\">{name}</th>");
    }
    out.push_str("</tr>");
    for latency in &section.latencies {
        _ = write!(out, "<tr><td>{}</td><td class=\"n\">{}</td>", latency.op, latency.count);
        for value in [latency.p50, latency.p90, latency.p99, latency.p999, latency.max] {
            _ = write!(out, "<td class=\"n\">{value:.2}</td>");
        }
        out.push_str("</tr>");
    }
    out.push_str("</table>");
}

fn steps(section: &Section, out: &mut String) {
    if section.steps.is_empty() {
        return;
    }
    out.push_str("<table><tr>");
    for name in [
        "rate/s",
        "got/s",
        "delivered/s",
        "sent p99",
        "delivered p99",
        "us/message",
        "us/delivery",
        "server cores",
        "load cores",
        "",
    ] {
        _ = write!(out, "<th class=\"n\">{name}</th>");
    }
    out.push_str("</tr>");
    let optional = |value: Option<f64>| value.map_or("-".into(), |value| format!("{value:.2}"));
    for step in &section.steps {
        let cells = [
            number(step.rate),
            number(step.achieved),
            number(step.delivered_per_second),
            optional(step.sent_p99_ms),
            optional(step.delivered_p99_ms),
            optional(step.cpu_us_per_message),
            optional(step.cpu_us_per_delivery),
            optional(step.cpu_cores),
            format!("{:.2}", step.load_cores),
            if step.passed { "passed".into() } else { step.why.clone() },
        ];
        out.push_str("<tr>");
        for cell in cells {
            _ = write!(out, "<td class=\"n\">{}</td>", escape(&cell));
        }
        out.push_str("</tr>");
    }
    out.push_str("</table>");
}

fn plots(section: &Section) -> Vec<Plot<'static>> {
    let line = |name: &str, read: &dyn Fn(&Point) -> Option<f64>| Line {
        name: name.into(),
        points: section
            .points
            .iter()
            .filter_map(|point| Some((point.second, read(point)?)))
            .collect(),
    };
    let axis = |label, scale| Axis { label, scale };
    let seconds = axis("seconds", Scale::Linear);
    let percentiles = section.latencies.iter().map(|latency| Line {
        name: latency.op.clone(),
        points: latency.curve.clone(),
    });
    vec![
        Plot {
            title: "Latency by percentile",
            x: axis("percentile", Scale::Percentile),
            y: axis("ms", Scale::Log),
            lines: percentiles.collect(),
        },
        Plot {
            title: "Latency over time",
            x: seconds,
            y: axis("ms", Scale::Log),
            lines: vec![
                line("sent p50", &|point| point.sent_p50_ms),
                line("sent p99", &|point| point.sent_p99_ms),
                line("delivered p50", &|point| point.delivered_p50_ms),
                line("delivered p99", &|point| point.delivered_p99_ms),
            ],
        },
        Plot {
            title: "Rates",
            x: seconds,
            y: axis("a second", Scale::Linear),
            lines: vec![
                line("sent", &|point| Some(point.sent_per_second)),
                line("delivered", &|point| Some(point.delivered_per_second)),
            ],
        },
        Plot {
            title: "Processors",
            x: seconds,
            y: axis("cores", Scale::Linear),
            lines: vec![
                line("server", &|point| point.server_cores),
                line("load", &|point| Some(point.load_cores)),
            ],
        },
        Plot {
            title: "Server memory",
            x: seconds,
            y: axis("MiB resident", Scale::Linear),
            lines: vec![line("rss", &|point| point.server_rss_mib)],
        },
        Plot {
            title: "Connections",
            x: seconds,
            y: axis("online", Scale::Linear),
            lines: vec![line("online", &|point| Some(point.online as f64))],
        },
    ]
}

fn audit(section: &Section, out: &mut String) {
    let audit = &section.audit;
    let class = if audit.violations == 0 { "good" } else { "bad" };
    _ = write!(
        out,
        "<p>Audit: <span class=\"{class}\">{} violations</span> in {} messages of {} conversations; {} histories ({} \
         messages) read, {} answers and {} receivers checked.</p>",
        audit.violations,
        audit.messages,
        audit.conversations,
        audit.histories_read,
        audit.messages_read,
        audit.answered,
        audit.receivers
    );
    if !audit.evidence.is_empty() {
        out.push_str("<table><tr><th>kind</th><th>conversation</th><th>seq</th><th>id</th><th>who</th><th></th></tr>");
        for violation in &audit.evidence {
            let cells = [
                violation.kind.name(),
                &violation.conversation,
                &violation.seq.to_string(),
                &violation.id,
                &violation.who,
                &violation.detail,
            ];
            out.push_str("<tr>");
            cells
                .iter()
                .for_each(|cell| _ = write!(out, "<td>{}</td>", escape(cell)));
            out.push_str("</tr>");
        }
        out.push_str("</table>");
    }
    if !section.incidents.is_empty() {
        let listed: Vec<String> = section
            .incidents
            .iter()
            .map(|(name, count)| format!("{name} × {count}"))
            .collect();
        _ = write!(out, "<p class=\"dim\">Incidents: {}</p>", escape(&listed.join(", ")));
    }
}

#[cfg(test)]
mod tests {
    use super::html;
    use crate::report::sample;

    #[test]
    fn the_page_is_whole_escaped_and_needs_nothing_else() {
        let page = html(&sample::report());
        for piece in [
            "<!doctype html>",
            "<svg",
            "42.5",
            "c0ffee",
            "client 3 &lt;b&gt;",
            "</html>",
        ] {
            assert!(page.contains(piece), "no {piece:?}");
        }
        for banned in ["http://", "https://", "<script", "src=", "NaN"] {
            assert!(!page.contains(banned), "{banned:?} in the page");
        }
    }
}
