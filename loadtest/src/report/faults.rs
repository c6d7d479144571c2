//! The faults of a run and what they cost users, as text and as a table of the page.

use std::fmt::Write;

use serde::Serialize;

use super::plot::escape;
use super::text::number;

/// One fault as it was played.
#[derive(Clone, Debug, Default, Serialize)]
pub struct FaultRow {
    /// Since the schedule began, in seconds.
    pub at_s: f64,
    pub fault: String,
    pub subject: String,
    /// As the schedule has it, in seconds.
    pub hold_s: f64,
    /// From the fault until everything was mended.
    pub mended_s: f64,
    /// From then until all nodes were ready and agreed; none where they did not in the time they had.
    pub whole_s: Option<f64>,
    /// Conversations in which somebody waited for more than 0.5 s.
    pub affected: u64,
    /// How long affected conversations were without service.
    pub without_p50_ms: f64,
    pub without_max_ms: f64,
    /// When the last of them was served again, from the mending on.
    pub after_mending_ms: f64,
    /// The longest that anybody waited for one `sent`.
    pub longest_ms: f64,
    /// Sends unanswered for more than 2 s.
    pub late: u64,
    /// Requests over HTTP beside the sockets, and those that failed.
    pub requests: u64,
    pub requests_failed: u64,
}

const HEADS: [&str; 13] = [
    "at s",
    "fault",
    "subject",
    "held s",
    "mended s",
    "whole s",
    "affected",
    "p50 ms",
    "max ms",
    "after ms",
    "longest ms",
    "> 2 s",
    "http failed",
];

impl FaultRow {
    fn cells(&self) -> [String; 13] {
        [
            format!("{:.1}", self.at_s),
            self.fault.clone(),
            self.subject.clone(),
            format!("{:.1}", self.hold_s),
            format!("{:.1}", self.mended_s),
            self.whole_s.map_or("NEVER".into(), |seconds| format!("{seconds:.1}")),
            self.affected.to_string(),
            number(self.without_p50_ms.round()),
            number(self.without_max_ms.round()),
            number(self.after_mending_ms.round()),
            number(self.longest_ms.round()),
            self.late.to_string(),
            format!("{} of {}", self.requests_failed, self.requests),
        ]
    }
}

pub fn text(rows: &[FaultRow], out: &mut String) {
    if rows.is_empty() {
        return;
    }
    let line = |cells: &[String; 13], out: &mut String| {
        let [at, fault, subject, rest @ ..] = cells;
        _ = write!(out, "   {at:>6} {fault:<8} {subject:<16}");
        rest.iter().for_each(|cell| _ = write!(out, " {cell:>11}"));
        out.push('\n');
    };
    line(&HEADS.map(str::to_owned), out);
    rows.iter().for_each(|row| line(&row.cells(), out));
}

pub fn html(rows: &[FaultRow], out: &mut String) {
    if rows.is_empty() {
        return;
    }
    out.push_str("<table><tr>");
    HEADS
        .iter()
        .for_each(|head| _ = write!(out, "<th class=\"n\">{}</th>", escape(head)));
    out.push_str("</tr>");
    for row in rows {
        out.push_str("<tr>");
        row.cells()
            .iter()
            .for_each(|cell| _ = write!(out, "<td class=\"n\">{}</td>", escape(cell)));
        out.push_str("</tr>");
    }
    out.push_str(
        "</table><p class=\"dim\">Without service (p50, max, after): from the fault, or the last prompt answer after it, until \
         the answer that ended the waiting, of conversations in which somebody waited more than 0.5 s; after counts from the \
         mending. Longest: for one send. Whole: all nodes ready and agreed.</p>",
    );
}

#[cfg(test)]
mod tests {
    use super::{FaultRow, html, text};

    #[test]
    fn a_fault_is_told_with_its_costs_in_both_forms() {
        let row = FaultRow {
            at_s: 12.34,
            fault: "kill".into(),
            subject: "node<2>".into(),
            without_max_ms: 2_345.6,
            late: 3,
            ..FaultRow::default()
        };
        let (mut plain, mut page) = (String::new(), String::new());
        text(std::slice::from_ref(&row), &mut plain);
        html(&[row], &mut page);
        for piece in ["12.3", "kill", "2,346", "NEVER", "0 of 0"] {
            assert!(plain.contains(piece) && page.contains(piece), "no {piece:?}");
        }
        assert!(page.contains("node&lt;2&gt;"));
        let lines: Vec<usize> = plain.lines().map(str::len).collect();
        assert_eq!(lines[0], lines[1], "columns stand under their heads\n{plain}");
    }

    #[test]
    fn a_run_without_faults_has_no_table_of_them() {
        let mut out = String::new();
        text(&[], &mut out);
        html(&[], &mut out);
        assert!(out.is_empty());
    }
}
