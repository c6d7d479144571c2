//! The report as text for a terminal.

use std::fmt::Write;

use super::{Judged, Outcome, Report, Row, Section};

/// The whole report.
pub fn text(report: &Report) -> String {
    let mut out = String::new();
    head(report, &mut out);
    for section in &report.sections {
        write_section(section, &mut out);
    }
    if !report.table.is_empty() {
        out.push_str(&table(&report.table));
    }
    for judged in &report.thresholds {
        threshold(judged, &mut out);
    }
    let outcome = match report.outcome {
        Outcome::Passed => "passed",
        Outcome::ThresholdExceeded => "FAILED: a threshold was exceeded",
        Outcome::AuditFailed => "FAILED: the audit found violations",
        Outcome::Failed => "FAILED: a part could not be played to its end",
    };
    _ = writeln!(out, "\n{outcome} ({:.1} s, seed {})", report.seconds, report.seed);
    out
}

fn head(report: &Report, out: &mut String) {
    let machine = &report.machine;
    let server = &report.server;
    let lines = [
        ("command", report.command.clone()),
        (
            "machine",
            format!(
                "{} cores, {}, {} MiB, Linux {}",
                machine.cores, machine.cpu, machine.memory_mib, machine.kernel
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
    ];
    for (name, value) in lines {
        _ = writeln!(out, "{name:>9}  {value}");
    }
    if !server.settings.is_empty() {
        _ = writeln!(out, "{:>9}  {}", "set", server.settings.join(" "));
    }
}

fn write_section(section: &Section, out: &mut String) {
    _ = writeln!(out, "\n== {}: {}", section.name, section.title);
    if section.interrupted {
        out.push_str("   (interrupted: figures are of what ran)\n");
    }
    for figure in &section.figures {
        let value = number(figure.value);
        _ = writeln!(
            out,
            "   {:<28} {value:>14} {:<4} {}",
            figure.name, figure.unit, figure.about
        );
    }
    if !section.latencies.is_empty() {
        _ = writeln!(
            out,
            "   {:<12} {:>10} {:>9} {:>9} {:>9} {:>9} {:>9}  ms, from the intended start",
            "latency", "count", "p50", "p90", "p99", "p99.9", "max"
        );
    }
    for latency in &section.latencies {
        _ = writeln!(
            out,
            "   {:<12} {:>10} {:>9.2} {:>9.2} {:>9.2} {:>9.2} {:>9.2}",
            latency.op, latency.count, latency.p50, latency.p90, latency.p99, latency.p999, latency.max
        );
    }
    steps(section, out);
    super::faults::text(&section.faults, out);
    incidents(section, out);
    audit(section, out);
    for note in &section.notes {
        _ = writeln!(out, "   note: {note}");
    }
}

fn steps(section: &Section, out: &mut String) {
    if section.steps.is_empty() {
        return;
    }
    _ = writeln!(
        out,
        "   {:>9} {:>9} {:>12} {:>10} {:>10} {:>8} {:>8} {:>7} {:>6}",
        "rate/s", "got/s", "delivered/s", "sent p99", "deliv p99", "us/msg", "us/del", "server", "load"
    );
    let optional = |value: Option<f64>| value.map_or("-".into(), |value| format!("{value:.2}"));
    for step in &section.steps {
        _ = writeln!(
            out,
            "   {:>9.0} {:>9.0} {:>12.0} {:>10} {:>10} {:>8} {:>8} {:>7} {:>6.2}  {}{}",
            step.rate,
            step.achieved,
            step.delivered_per_second,
            optional(step.sent_p99_ms),
            optional(step.delivered_p99_ms),
            optional(step.cpu_us_per_message),
            optional(step.cpu_us_per_delivery),
            optional(step.cpu_cores),
            step.load_cores,
            if step.passed { "passed" } else { "failed: " },
            step.why
        );
    }
}

fn incidents(section: &Section, out: &mut String) {
    if section.incidents.is_empty() {
        return;
    }
    let listed: Vec<String> = section
        .incidents
        .iter()
        .map(|(name, count)| format!("{name} x{count}"))
        .collect();
    _ = writeln!(out, "   incidents: {}", listed.join(", "));
}

fn audit(section: &Section, out: &mut String) {
    let audit = &section.audit;
    if audit.conversations == 0 && audit.violations == 0 {
        return;
    }
    let kinds = ["lost", "duplicated", "reordered", "gapped", "phantom", "corrupted"].map(|name| {
        let count = audit
            .by_kind
            .iter()
            .find(|(kind, _)| kind.name() == name)
            .map_or(0, |(_, count)| *count);
        format!("{count} {name}")
    });
    _ = writeln!(
        out,
        "   audit: {} | {} messages in {} conversations, {} histories ({} messages) read, {} answered, {} refused, \
         {} unanswered ({} kept), {} receivers complete",
        kinds.join(", "),
        audit.messages,
        audit.conversations,
        audit.histories_read,
        audit.messages_read,
        audit.answered,
        audit.refused,
        audit.unanswered_kept + audit.unanswered_gone,
        audit.unanswered_kept,
        audit.receivers,
    );
    for violation in &audit.evidence {
        _ = writeln!(
            out,
            "   VIOLATION {}: conversation {} seq {} id {} seen by {}: {}",
            violation.kind.name(),
            violation.conversation,
            violation.seq,
            violation.id,
            violation.who,
            violation.detail
        );
    }
}

/// Goals and what was measured, as a Markdown table.
pub fn table(rows: &[Row]) -> String {
    let width = |pick: fn(&Row) -> &str, head: &str| {
        rows.iter()
            .map(|row| pick(row).chars().count())
            .max()
            .unwrap_or(0)
            .max(head.len())
    };
    let (what, goal) = (width(|row| &row.what, "scenario"), width(|row| &row.goal, "goal"));
    let measured = width(|row| &row.measured, "measured");
    let mut out = format!(
        "\n| {:<what$} | {:<goal$} | {:<measured$} | reached |\n",
        "scenario", "goal", "measured"
    );
    out.push_str(&format!(
        "|{:-<w$}|{:-<g$}|{:-<m$}|---------|\n",
        "",
        "",
        "",
        w = what + 2,
        g = goal + 2,
        m = measured + 2
    ));
    for row in rows {
        let reached = match row.reached {
            Some(true) => "yes",
            Some(false) => "NO",
            None => "-",
        };
        _ = writeln!(
            out,
            "| {:<what$} | {:<goal$} | {:<measured$} | {reached:<7} |",
            row.what, row.goal, row.measured
        );
    }
    out
}

fn threshold(judged: &Judged, out: &mut String) {
    let verdict = if judged.exceeded { "FAILED" } else { "ok" };
    let found: Vec<String> = judged
        .found
        .iter()
        .map(|(at, value)| format!("{at} = {}", number(*value)))
        .collect();
    _ = writeln!(
        out,
        "threshold {:<30} {verdict:<7} {}",
        judged.threshold,
        found.join(", ")
    );
}

/// A number as people read it: no more digits than mean something, thousands apart.
pub fn number(value: f64) -> String {
    let digits = match value.abs() {
        size if size >= 100.0 || value.fract() == 0.0 => 0,
        size if size >= 10.0 => 1,
        _ => 2,
    };
    let text = format!("{value:.digits$}");
    let (whole, fraction) = text
        .split_once('.')
        .map_or((text.as_str(), None), |(a, b)| (a, Some(b)));
    let (sign, whole) = whole.strip_prefix('-').map_or(("", whole), |rest| ("-", rest));
    let mut out = String::from(sign);
    for (n, digit) in whole.chars().enumerate() {
        if n > 0 && (whole.len() - n).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    if let Some(fraction) = fraction {
        out.push('.');
        out.push_str(fraction);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::{number, text};
    use crate::report::sample;

    #[test]
    fn numbers_are_written_for_people() {
        assert_eq!(number(1_234_567.8), "1,234,568");
        assert_eq!(number(999.4), "999");
        assert_eq!(number(12.34), "12.3");
        assert_eq!((number(0.5), number(3.0)), ("0.50".into(), "3".into()));
        assert_eq!(number(-1234.0), "-1,234");
    }

    #[test]
    fn the_text_has_figures_latencies_evidence_and_table() {
        let text = text(&sample::report());
        for piece in [
            "cpu_per_message",
            "42.5",
            "1 lost",
            "VIOLATION lost: conversation c0ffee seq 7 id 0001",
            "close 4008 x2",
            "| direct",
            "FAILED: the audit",
        ] {
            assert!(text.contains(piece), "no {piece:?} in\n{text}");
        }
        let sent = text.lines().find(|line| line.trim_start().starts_with("sent")).unwrap();
        assert!(sent.contains("1.00") && sent.contains("300."), "{sent}");
    }
}
