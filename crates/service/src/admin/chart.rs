//! Drawings of the last hour, as SVG: one bar for each minute.

use std::fmt::Write;

use super::history::MINUTES;

/// The height of a drawing, in units; a minute is one unit wide.
const HEIGHT: f64 = 20.0;
/// The width of a bar; the rest separates it from the next.
const BAR: f64 = 0.8;

/// The values of one kind, minute by minute. `None` where a minute was not measured.
pub(super) type Series = [Option<u64>; MINUTES];

/// Bars of one or several kinds, one on top of the other. `label` says in a sentence what they show. Each kind has a
/// class of its own, `kind-0` and so on.
pub(super) fn svg(kinds: &[Series], label: &str) -> String {
    let highest = (0..MINUTES).map(|minute| kinds.iter().filter_map(|series| series[minute]).sum::<u64>());
    // A drawing without values has no bars.
    let highest = highest.fold(1, u64::max);
    let mut floors = [0; MINUTES];
    let mut paths = String::new();
    for (kind, series) in kinds.iter().enumerate() {
        let mut path = String::new();
        for (minute, floor) in floors.iter_mut().enumerate() {
            let Some(value) = series[minute].filter(|value| *value > 0) else { continue };
            let (bottom, top) = (y(*floor, highest), y(*floor + value, highest));
            write!(path, "M{minute} {bottom:.2}V{top:.2}h{BAR}V{bottom:.2}z").expect("a String takes any text");
            *floor += value;
        }
        write!(paths, "<path class=\"kind-{kind}\" d=\"{path}\"/>").expect("a String takes any text");
    }
    format!(
        "<svg viewBox=\"0 0 {MINUTES} {HEIGHT}\" preserveAspectRatio=\"none\" role=\"img\" aria-label=\"{label}\">\
         <path class=\"ground\" d=\"M0 {HEIGHT}H{MINUTES}\"/>{paths}</svg>"
    )
}

fn y(value: u64, highest: u64) -> f64 {
    HEIGHT - HEIGHT * value as f64 / highest as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_highest_minute_fills_the_drawing_and_kinds_stand_on_each_other() {
        let (mut lower, mut upper) = ([None; MINUTES], [Some(0); MINUTES]);
        (lower[0], upper[0], upper[59]) = (Some(1), Some(3), Some(2));
        let drawing = svg(&[lower, upper], "test");
        assert!(drawing.contains("kind-0\" d=\"M0 20.00V15.00h0.8V20.00z\""), "{drawing}");
        assert!(drawing.contains("kind-1\" d=\"M0 15.00V0.00h0.8V15.00zM59 20.00V10.00h0.8V20.00z\""), "{drawing}");
    }

    #[test]
    fn nothing_measured_is_an_empty_drawing() {
        assert!(svg(&[[None; MINUTES]], "test").contains("<path class=\"kind-0\" d=\"\"/>"));
    }
}
