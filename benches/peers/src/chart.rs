//! Ratios as bars, in SVG.

use std::fmt::Write;

/// A bar: its name, how many times as quick as the peer, and what is said beside it.
#[derive(Debug, Clone)]
pub struct Bar {
    /// The data and the peer
    pub name: String,
    /// How many times as quick
    pub ratio: f64,
    /// What stands behind the bar
    pub note: String,
}

/// An SVG of the bars, longest side to the right; a line marks the peer itself.
#[must_use]
pub fn svg(title: &str, bars: &[Bar]) -> String {
    const LEFT: f64 = 300.0;
    const WIDE: f64 = 360.0;
    const STEP: f64 = 26.0;
    let most = bars.iter().map(|bar| bar.ratio).fold(1.0, f64::max);
    let height = 60.0 + STEP * bars.len() as f64;
    let escape = |text: &str| text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 860 {height}\" font-family=\"sans-serif\" font-size=\"13\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n<text x=\"12\" y=\"24\" font-size=\"15\" font-weight=\"bold\">{}</text>\n",
        escape(title)
    );
    for (index, bar) in bars.iter().enumerate() {
        let y = 44.0 + STEP * index as f64;
        let length = WIDE * bar.ratio / most;
        // Writing to a String does not fail.
        write!(
            out,
            "<text x=\"{}\" y=\"{}\" text-anchor=\"end\">{}</text>\n\
             <rect x=\"{LEFT}\" y=\"{y}\" width=\"{length:.1}\" height=\"18\" fill=\"#3b7dd8\"/>\n\
             <text x=\"{:.1}\" y=\"{}\">{:.1} times{}</text>\n",
            LEFT - 8.0,
            y + 14.0,
            escape(&bar.name),
            LEFT + length + 6.0,
            y + 14.0,
            bar.ratio,
            escape(&bar.note),
        )
        .unwrap_or_default();
    }
    let one = LEFT + WIDE / most;
    write!(
        out,
        "<line x1=\"{one:.1}\" y1=\"38\" x2=\"{one:.1}\" y2=\"{:.1}\" stroke=\"#c33\" stroke-dasharray=\"4 3\"/>\n</svg>\n",
        height - 14.0
    )
    .unwrap_or_default();
    out
}
