//! Where an axis begins and ends, and where its ticks stand.

/// Points of one line with the index of its colour; finite and by step, as `curves` prepares them.
pub(super) type Line = (usize, Vec<(f64, f64)>); // (step, value)

/// From 0 to the last step.
pub(super) fn x_range(lines: &[Line]) -> (f64, f64) {
    let steps = lines.iter().flat_map(|(_, points)| points.iter().map(|p| p.0));
    let (low, high) = steps.fold((0f64, 0f64), |(low, high), x| (low.min(x), high.max(x)));
    if high > low { (low, high) } else { (low, low + 1.0) }
}

/// The union of what each line needs, see [`svg`](super::curves::svg), and 5 % of air.
pub(super) fn y_range(lines: &[Line]) -> (f64, f64) {
    let (mut low, mut high) = (f64::INFINITY, f64::NEG_INFINITY);
    for (_, points) in lines.iter().filter(|(_, points)| !points.is_empty()) {
        let mut values: Vec<f64> = points.iter().map(|p| p.1).collect();
        values.sort_unstable_by(f64::total_cmp);
        let last = values.len() - 1;
        // Of fewer than 4 points none can be called an extreme.
        let cut = if values.len() < 4 { 0 } else { values.len().div_ceil(50) };
        // Where a line ends is what it is looked at for.
        let end = points[last].1;
        let bulk = (values[cut].min(end), values[last - cut].max(end));
        let width = bulk.1 - bulk.0;
        // Where the bulk is one value, what differs from it is all there is to see.
        let near = |most: f64, bulk: f64| if width == 0.0 || (most - bulk).abs() <= 2.0 * width { most } else { bulk };
        low = low.min(near(values[0], bulk.0));
        high = high.max(near(values[last], bulk.1));
    }
    let air = (high - low) * 0.05;
    let smallest = if low == 0.0 { 1.0 } else { low.abs() * 1e-2 };
    widened(low - air, high + air, smallest)
}

/// The range, or `by` to either side of its middle where it is so narrow that its labels would be all digits.
fn widened(low: f64, high: f64, by: f64) -> (f64, f64) {
    if high - low > 1e-5 * low.abs().max(high.abs()) { (low, high) } else { (low - by, high + by) }
}

/// Positions and labels of at most about `count` ticks, at multiples of 1, 2 or 5 times a power of ten, which is no
/// less than `least`.
pub(super) fn ticks(low: f64, high: f64, count: f64, least: f64) -> Vec<(f64, String)> {
    let rough = ((high - low) / count).max(least);
    let power = 10f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].map(|m| m * power).into_iter().find(|s| *s >= rough * 0.999).unwrap_or(rough);
    let largest = low.abs().max(high.abs());
    // 10000 is written 10k, but 12345 is not written 12.345k.
    let (unit, suffix) = [(1e12, 1e12, "T"), (1e9, 1e9, "G"), (1e6, 1e6, "M"), (1e4, 1e3, "k")]
        .into_iter()
        .find(|(from, unit, _)| largest >= *from && step >= 0.1 * unit)
        .map_or((1.0, ""), |(_, unit, suffix)| (unit, suffix));
    // The epsilon forgives the rounding of a quotient, which must not ask for one digit more.
    let digits_to_tell = |quotient: f64| (quotient.log10() - 1e-9).ceil().max(0.0) as usize;
    let digits = digits_to_tell(unit / step);
    let significant = digits_to_tell(largest / step);
    let first = (low / step - 1e-9).ceil();
    let label = |value: f64| {
        let text = match largest {
            _ if value == 0.0 => "0".to_string(),
            1e15.. | ..1e-4 => format!("{value:.significant$e}"),
            _ => format!("{:.digits$}{suffix}", value / unit),
        };
        text.replace('-', "\u{2212}") // a minus is as wide as a digit, a hyphen is not
    };
    let end = ((high - low) / step).ceil() as usize + 1; // at most about 2 · count
    (0..=end)
        .map(|i| (first + i as f64) * step)
        .take_while(|value| *value <= high + step * 1e-9)
        .map(|value| (value, label(value)))
        .collect()
}
