//! Line protocol beside VictoriaMetrics' parser, by turns: `victoria_ratio PROGRAM [MEGABYTES [ROUNDS]]`, where PROGRAM is
//! built from benches/peers/victoria-metrics (`dev/bench victoria` does). It is timed by the wall on one processor.

use std::process::Command;

use bytes::Bytes;
use kwsync_bench::line_protocol::{Kind, generate};
use kwsync_formats::influx::LineOptions;

fn median(mut seconds: Vec<f64>) -> f64 {
    seconds.sort_by(f64::total_cmp);
    seconds[seconds.len() / 2]
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let program = args.first().ok_or("usage: victoria_ratio PROGRAM [MEGABYTES [ROUNDS]]")?;
    let number = |at: usize, usual: usize| args.get(at).and_then(|text| text.parse().ok()).unwrap_or(usual);
    let (bytes, rounds) = (number(1, 32) << 20, number(2, 9).max(1));
    let path = std::env::temp_dir().join(format!("kwsync-victoria-{}.lp", std::process::id()));
    println!("data   kwsync to Arrow, GB/s   VictoriaMetrics, GB/s   ratio");
    for kind in [Kind::Cpu, Kind::Iot] {
        let data = generate(kind, bytes);
        std::fs::write(&path, &data)?;
        let input = Bytes::from(data);
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        for _ in 0..rounds {
            let began = std::time::Instant::now();
            let rows = kwsync_peers::kwsync(&input, LineOptions::default());
            ours.push(began.elapsed().as_secs_f64());
            let answer = Command::new(program).arg(&path).arg("3").output()?;
            let text = String::from_utf8(answer.stdout)?;
            let mut words = text.split_whitespace();
            theirs.push(words.next().ok_or("no answer")?.parse()?);
            assert_eq!(words.nth(1).and_then(|rows| rows.parse().ok()), Some(rows));
        }
        let speed = |seconds: Vec<f64>| input.len() as f64 / 1e9 / median(seconds);
        let (ours, theirs) = (speed(ours), speed(theirs));
        println!("{:6} {ours:>22.3} {theirs:>23.3} {:>7.2}", kind.name(), ours / theirs);
    }
    std::fs::remove_file(path)?;
    Ok(())
}
