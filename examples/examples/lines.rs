//! The borrowed layer: no Arrow, no copies. `cargo run --example lines`

use kwsync_formats::influx::lines;

fn main() {
    let input =
        b"cpu,host=a usage=0.5,cores=8i 1700000000000000000\n# a comment\nbroken\ncpu,host=b usage=0.7";
    for line in lines(input) {
        match line {
            Ok(line) => {
                let fields: Vec<_> = line.fields().map(|(key, value)| format!("{key:?}={value:?}")).collect();
                println!("{:?} at {:?}: {}", line.measurement(), line.timestamp(), fields.join(" "));
            }
            Err(error) => println!("{error}"),
        }
    }
}
