//! Thresholds that set the exit status: `sent.p99>15ms`, `direct/cpu_per_message>80us`, `audit.lost>0`.

use std::str::FromStr;

use crate::report::{Judged, Section};

/// What must not be.
#[derive(Clone, PartialEq, Debug)]
pub struct Threshold {
    text: String,
    /// Only in the section of this name.
    section: Option<String>,
    name: String,
    above: bool,
    value: f64,
    unit: String,
}

/// Factors of the units that can be turned into each other.
const UNITS: &[(&str, &str, f64)] = &[
    ("ns", "time", 1e-9),
    ("us", "time", 1e-6),
    ("ms", "time", 1e-3),
    ("s", "time", 1.0),
    ("B", "size", 1.0),
    ("KiB", "size", 1024.0),
    ("MiB", "size", 1_048_576.0),
    ("GiB", "size", 1_073_741_824.0),
];

impl FromStr for Threshold {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let place = text.find(['>', '<']).ok_or("a threshold is NAME>VALUE or NAME<VALUE")?;
        let (name, rest) = text.split_at(place);
        let (above, rest) = (rest.starts_with('>'), rest[1..].trim());
        let digits = rest
            .find(|c: char| !matches!(c, '0'..='9' | '.' | '-' | '_'))
            .unwrap_or(rest.len());
        let (number, unit) = rest.split_at(digits);
        let value = number
            .replace('_', "")
            .parse()
            .map_err(|_| format!("{rest:?} is no number"))?;
        let unit = unit.trim();
        if !unit.is_empty() && !UNITS.iter().any(|(known, ..)| *known == unit) {
            return Err(format!("{unit:?} is no unit (ns, us, ms, s, B, KiB, MiB, GiB)"));
        }
        let (section, name) = match name.trim().split_once('/') {
            Some((section, name)) => (Some(section.to_owned()), name),
            None => (None, name.trim()),
        };
        if name.is_empty() {
            return Err("a threshold needs a name before its sign".into());
        }
        Ok(Self {
            text: text.to_owned(),
            section,
            name: name.to_owned(),
            above,
            value,
            unit: unit.to_owned(),
        })
    }
}

impl Threshold {
    /// Holds it against every section that has such a figure. One that is nowhere counts as exceeded: a misspelt threshold must
    /// not pass.
    pub fn judge(&self, sections: &[Section]) -> Judged {
        let mut judged = Judged {
            threshold: self.text.clone(),
            found: Vec::new(),
            exceeded: false,
        };
        let wanted = |section: &&Section| self.section.as_ref().is_none_or(|name| *name == section.name);
        for section in sections.iter().filter(wanted) {
            let Some((value, unit)) = section.lookup(&self.name) else {
                continue;
            };
            let Some(limit) = self.limit_in(unit) else { continue };
            judged
                .found
                .push((format!("{}/{} {unit}", section.name, self.name), value));
            judged.exceeded |= if self.above { value > limit } else { value < limit };
        }
        judged.exceeded |= judged.found.is_empty();
        judged
    }

    /// The threshold's value in another unit; `None` where they cannot be compared.
    fn limit_in(&self, unit: &str) -> Option<f64> {
        if self.unit.is_empty() || self.unit == unit {
            return Some(self.value);
        }
        let find = |name: &str| UNITS.iter().find(|(known, ..)| *known == name);
        let ((_, kind, ours), (_, other, theirs)) = (find(&self.unit)?, find(unit)?);
        (kind == other).then(|| self.value * ours / theirs)
    }
}

#[cfg(test)]
mod tests {
    use super::Threshold;
    use crate::report::sample;

    fn exceeded(text: &str) -> bool {
        text.parse::<Threshold>()
            .unwrap()
            .judge(&sample::report().sections)
            .exceeded
    }

    #[test]
    fn latencies_are_compared_in_any_unit_of_time() {
        assert!(exceeded("sent.p99>15ms"));
        assert!(!exceeded("sent.p99>25ms"));
        assert!(exceeded("sent.p99>15000us"));
        assert!(!exceeded("sent.p50>0.002s"));
        assert!(exceeded("sent.max > 0.1 s"));
    }

    #[test]
    fn figures_counts_and_the_audit_have_names() {
        assert!(exceeded("cpu_per_message>40us"));
        assert!(!exceeded("direct/cpu_per_message>80us"));
        assert!(exceeded("cpu_per_message<50"));
        assert!(exceeded("audit.lost>0"));
        assert!(!exceeded("audit.duplicated>0"));
        assert!(!exceeded("counts.closes>0"));
        assert!(!exceeded("incidents.close 4008>2"));
    }

    #[test]
    fn a_threshold_that_names_nothing_is_exceeded() {
        assert!(exceeded("sent.p98>1000ms"));
        assert!(exceeded("fanout/sent.p99>1000ms"));
        assert!(exceeded("sent.p99>1MiB"));
    }

    #[test]
    fn nonsense_is_refused() {
        for text in ["sent.p99", ">5", "sent.p99>soon", "sent.p99>5 parsecs"] {
            assert!(text.parse::<Threshold>().is_err(), "{text}");
        }
    }
}
