//! How numbers stand in lines for people.
use crate::estimate::Estimate;

/// 12345678 as 12,345,678.
pub(crate) fn thousands(n: f64) -> String {
    let digits = format!("{:.0}", n.max(0.0));
    let mut out = String::new();
    for (i, c) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(c);
    }
    out
}

/// So many of something: `1 epoch`, `60,000 examples`.
pub(crate) fn counted(n: usize, what: &str) -> String {
    let ending = if n == 1 { "" } else { "s" };
    format!("{} {what}{ending}", thousands(n as f64))
}

/// A mean with its standard error, where it has one.
pub(crate) fn with_error(e: Estimate) -> String {
    match e.error.is_nan() {
        true => format!("{:>11.4}", e.mean),
        false => format!("{:>11.4} ± {:.4}", e.mean, e.error),
    }
}
