//! `--fail-if`: one comparison that a build fails on, such as
//! `p99(major) > 2ms` or `count(cow) > +10%`.

use std::fmt;
use std::str::FromStr;

use super::{Group, Side, change};
use crate::fault::{Class, Kind};
use crate::term::units::{nanoseconds, parse_duration};

/// What of some faults.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Measure {
    Count,
    Rate,
    Total,
    Percentile(u64),
    Max,
}

const MEASURES: [(&str, Measure); 8] = [
    ("count", Measure::Count),
    ("rate", Measure::Rate),
    ("total", Measure::Total),
    ("p50", Measure::Percentile(500)),
    ("p90", Measure::Percentile(900)),
    ("p99", Measure::Percentile(990)),
    ("p999", Measure::Percentile(999)),
    ("max", Measure::Max),
];

/// Of which faults.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Of {
    All,
    Class(Class),
    Kind(Kind),
    /// A region's name, over all processes.
    Region(String),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    More,
    AtLeast,
    Less,
    AtMost,
}

const ORDERS: [(&str, Order); 4] =
    [(">=", Order::AtLeast), ("<=", Order::AtMost), (">", Order::More), ("<", Order::Less)];

/// Compared with what.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Limit {
    /// The second recording's own value: a number, or nanoseconds.
    Value(f64),
    /// The change from the first to the second, as a share of the first.
    Change(f64),
}

/// One condition.
#[derive(Clone, Debug, PartialEq)]
pub struct Condition {
    typed: String,
    measure: Measure,
    of: Of,
    order: Order,
    limit: Limit,
}

/// What came of a condition.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Verdict {
    /// As typed.
    pub condition: String,
    /// It holds: the build fails.
    pub holds: bool,
    /// The values it was judged by, in words.
    pub because: String,
}

impl FromStr for Condition {
    type Err = String;

    fn from_str(typed: &str) -> Result<Self, String> {
        let how = "write it as p99(major) > 2ms or count(cow) > +10%";
        let (measure, rest) = typed.split_once('(').ok_or(how)?;
        let (of, rest) = rest.rsplit_once(')').ok_or(how)?;
        let names = MEASURES.map(|(name, _)| name).join(", ");
        let measure = MEASURES.into_iter().find(|(name, _)| *name == measure.trim());
        let (_, measure) = measure.ok_or_else(|| format!("there are {names}: {how}"))?;
        let rest = rest.trim();
        let (sign, order) =
            ORDERS.into_iter().find(|(sign, _)| rest.starts_with(sign)).ok_or(how)?;
        let limit = limit(rest[sign.len()..].trim(), measure)?;
        Ok(Self { typed: typed.to_owned(), measure, of: Of::from(of.trim()), order, limit })
    }
}

impl From<&str> for Of {
    fn from(name: &str) -> Self {
        if name == "all" {
            return Self::All;
        }
        if let Ok(class) = name.parse() {
            return Self::Class(class);
        }
        name.parse().map_or_else(|_| Self::Region(name.to_owned()), Self::Kind)
    }
}

fn limit(text: &str, measure: Measure) -> Result<Limit, String> {
    if let Some(percent) = text.strip_suffix('%') {
        if !percent.starts_with(['+', '-']) {
            return Err(format!("write +{text} or -{text}: a change has a sign"));
        }
        let percent: f64 =
            percent.trim().parse().map_err(|error| format!("{text} is no percentage: {error}"))?;
        return Ok(Limit::Change(percent / 100.0));
    }
    if matches!(measure, Measure::Count | Measure::Rate) {
        let value: f64 = text.parse().map_err(|error| format!("{text} is no number: {error}"))?;
        return Ok(Limit::Value(value));
    }
    if text.ends_with(|last: char| last.is_ascii_digit()) {
        return Err(format!("{text} of what? write a time such as {text}us"));
    }
    Ok(Limit::Value(parse_duration(text)?.as_secs_f64() * 1e9))
}

impl Condition {
    fn group<'a>(&self, side: &'a Side) -> Option<&'a Group> {
        match &self.of {
            Of::All => Some(&side.all),
            Of::Class(class) => Some(side.class(*class)),
            Of::Kind(kind) => Some(side.kind(*kind)),
            Of::Region(name) => side.named.get(name),
        }
    }

    /// The measure's value; `None` where there is nothing to take it from.
    #[expect(clippy::cast_precision_loss, reason = "compared with what people type")]
    fn value(&self, side: &Side) -> Option<f64> {
        let Some(group) = self.group(side) else {
            return matches!(self.measure, Measure::Count | Measure::Rate).then_some(0.0);
        };
        match self.measure {
            Measure::Count => Some(group.count as f64),
            Measure::Rate => Some(change::rate(group.count, side.duration_ns)),
            Measure::Total => Some(group.total_ns as f64),
            Measure::Percentile(permille) => Some(group.latencies.percentile(permille)? as f64),
            Measure::Max => (group.count > 0).then_some(group.max_ns as f64),
        }
    }

    /// Whether it holds.
    pub fn judge(&self, before: &Side, after: &Side) -> Verdict {
        let (was, is) = (self.value(before), self.value(after));
        let holds = match (self.limit, was, is) {
            (Limit::Value(limit), _, Some(is)) => self.order.holds(is, limit),
            (Limit::Change(limit), Some(was), Some(is)) if was > 0.0 => {
                self.order.holds((is - was) / was, limit)
            }
            // From nothing to something is more than any percentage.
            (Limit::Change(limit), _, Some(is)) if is > 0.0 => {
                self.order.holds(f64::INFINITY, limit)
            }
            (Limit::Change(limit), _, Some(_)) => self.order.holds(0.0, limit),
            (_, _, None) => false,
        };
        let (was, is) = (self.shown(was), self.shown(is));
        Verdict { condition: self.typed.clone(), holds, because: format!("was {was}, is {is}") }
    }

    fn shown(&self, value: Option<f64>) -> String {
        match (value, self.measure) {
            (None, _) => "not known".to_owned(),
            (Some(value), Measure::Count) => format!("{value:.0}"),
            (Some(value), Measure::Rate) => format!("{value:.1}/s"),
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "nanoseconds, from an integer"
            )]
            (Some(value), _) => nanoseconds(value as u64),
        }
    }
}

impl Order {
    fn holds(self, value: f64, limit: f64) -> bool {
        match self {
            Self::More => value > limit,
            Self::AtLeast => value >= limit,
            Self::Less => value < limit,
            Self::AtMost => value <= limit,
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = if self.holds { "FAIL" } else { "ok" };
        write!(f, "{word}: {} ({})", self.condition, self.because)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_are_read() {
        let condition: Condition = "p99(major) > 2ms".parse().unwrap();
        assert_eq!(condition.of, Of::Class(Class::Major));
        assert_eq!((condition.order, condition.limit), (Order::More, Limit::Value(2e6)));
        let condition: Condition = "count( cow-copy )>=+10%".parse().unwrap();
        assert_eq!(condition.of, Of::Kind(Kind::CowCopy));
        assert_eq!(condition.limit, Limit::Change(0.1));
        let condition: Condition = "rate([heap]) < 5".parse().unwrap();
        assert_eq!(condition.of, Of::Region("[heap]".to_owned()));
        let condition: Condition = "count(/opt/x (deleted)) > 5".parse().unwrap();
        assert_eq!(condition.of, Of::Region("/opt/x (deleted)".to_owned()));
    }

    #[test]
    fn what_is_no_condition_is_told() {
        for wrong in [
            "",
            "p99",
            "p99(major",
            "p98(major) > 1ms",
            "p99(major) 2ms",
            "p99(major) > 2",
            "count(cow) > 10%",
            "count(cow) > many",
            "p99(all) > 1parsec",
        ] {
            let error = wrong.parse::<Condition>().unwrap_err();
            assert!(error.len() > 10, "{wrong}: {error}");
        }
    }
}
