//! TSBS-like rows as JSON: the same bytes every time.

use std::fmt::Write;

use crate::Rng;

/// A shape of data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// TSBS `cpu` as NDJSON: a time, 10 strings, 10 integers.
    Cpu,
    /// Short floats, three strings.
    Iot,
    /// Floats of 16 and 17 digits.
    Sens,
    /// OpenTSDB's points, ten metrics, an array of a hundred a line.
    Opentsdb,
    /// KaiwuDB JSON, a hundred rows of `cpu` an object.
    Kaiwudb,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Cpu, Self::Iot, Self::Sens, Self::Opentsdb, Self::Kaiwudb];

    /// Its name in reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Iot => "iot",
            Self::Sens => "sens",
            Self::Opentsdb => "opentsdb",
            Self::Kaiwudb => "kaiwudb",
        }
    }
}

const REGIONS: [&str; 4] = ["us-east-1", "eu-central-1", "ap-southeast-1", "sa-east-1"];

/// The measured values of `cpu`.
pub const FIELDS: [&str; 10] = [
    "usage_user",
    "usage_system",
    "usage_idle",
    "usage_nice",
    "usage_iowait",
    "usage_irq",
    "usage_softirq",
    "usage_steal",
    "usage_guest",
    "usage_guest_nice",
];

const START: u64 = 1_700_000_000_000;

/// About `bytes` bytes of whole lines.
#[must_use]
pub fn generate(kind: Kind, bytes: usize) -> String {
    let mut rng = Rng::new(0x6a73_6f6e + kind as u64);
    let mut out = String::with_capacity(bytes + (64 << 10));
    let mut row = 0;
    while out.len() < bytes {
        // Writing to a String does not fail.
        match kind {
            Kind::Cpu => {
                cpu(&mut rng, row, &mut out).unwrap_or_default();
                out.push('\n');
                row += 1;
            }
            Kind::Iot => {
                iot(&mut rng, row, &mut out).unwrap_or_default();
                row += 1;
            }
            Kind::Sens => {
                sens(&mut rng, row, &mut out).unwrap_or_default();
                row += 1;
            }
            Kind::Opentsdb => {
                for point in 0..100 {
                    out.push(if point == 0 { '[' } else { ',' });
                    opentsdb(&mut rng, row + point, &mut out).unwrap_or_default();
                }
                out.push_str("]\n");
                row += 100;
            }
            Kind::Kaiwudb => {
                out.push_str(
                    r#"{"table":"cpu","columns":[{"name":"k_timestamp","type":"TIMESTAMP","length":64}"#,
                );
                for field in FIELDS {
                    write!(out, r#",{{"name":"{field}","type":"INT8","length":64}}"#).unwrap_or_default();
                }
                out.push_str(r#"],"data":["#);
                for place in 0..100 {
                    if place > 0 {
                        out.push(',');
                    }
                    cpu(&mut rng, row + place, &mut out).unwrap_or_default();
                }
                out.push_str(r#"],"tags":[{"name":"hostname","type":"VARCHAR","length":254,"isPrimary":true,"nullable":false}"#);
                for (tag, _) in tags(0).into_iter().skip(1) {
                    write!(out, r#",{{"name":"{tag}","type":"VARCHAR","length":254,"isPrimary":false,"nullable":true}}"#)
                        .unwrap_or_default();
                }
                out.push_str("]}\n");
                row += 100;
            }
        }
    }
    out
}

/// The tags of a host, which it keeps.
fn tags(row: u64) -> Vec<(&'static str, String)> {
    let host = row % 4000;
    let mut tags = Rng::new(host + 1);
    tags.bits();
    let region = tags.pick(&REGIONS);
    vec![
        ("hostname", format!("host_{host}")),
        ("region", region.to_owned()),
        ("datacenter", format!("{region}{}", tags.pick(&["a", "b", "c"]))),
        ("rack", tags.below(100).to_string()),
        ("os", tags.pick(&["Ubuntu16.10", "Ubuntu16.04LTS", "Ubuntu15.10"]).to_owned()),
        ("arch", tags.pick(&["x64", "x86"]).to_owned()),
        ("team", tags.pick(&["SF", "NYC", "LON", "CHI"]).to_owned()),
        ("service", tags.below(20).to_string()),
        ("service_version", tags.below(2).to_string()),
        ("service_environment", tags.pick(&["production", "staging", "test"]).to_owned()),
    ]
}

fn cpu(rng: &mut Rng, row: u64, out: &mut String) -> std::fmt::Result {
    write!(out, r#"{{"k_timestamp":{}"#, START + row / 4000 * 10_000)?;
    for (tag, value) in tags(row) {
        write!(out, r#","{tag}":"{value}""#)?;
    }
    for field in FIELDS {
        write!(out, r#","{field}":{}"#, rng.below(101))?;
    }
    out.push('}');
    Ok(())
}

fn short(rng: &mut Rng, whole: u64, decimals: usize) -> String {
    let scale = 10u64.pow(decimals as u32);
    format!("{}.{:0decimals$}", rng.below(whole), rng.below(scale))
}

fn iot(rng: &mut Rng, row: u64, out: &mut String) -> std::fmt::Result {
    let truck = row % 1000;
    let mut tags = Rng::new(truck + 1);
    tags.bits();
    write!(out, r#"{{"name":"truck_{truck}","fleet":"{}","#, tags.pick(&["East", "West", "North", "South"]))?;
    write!(
        out,
        r#""driver":"{}","ts":{},"#,
        tags.pick(&["Derek", "Rodney", "Albert", "Andy"]),
        START + row * 10
    )?;
    write!(out, r#""latitude":{},"longitude":{},"#, short(rng, 90, 5), short(rng, 180, 5))?;
    write!(out, r#""elevation":{},"velocity":{},"#, short(rng, 500, 1), short(rng, 100, 1))?;
    writeln!(out, r#""fuel_consumption":{},"load":{}}}"#, short(rng, 50, 1), short(rng, 100, 2))
}

fn sens(rng: &mut Rng, row: u64, out: &mut String) -> std::fmt::Result {
    write!(out, r#"{{"id":"s{}","site":"plant-{}","ts":{}"#, row % 500, row % 7, START + row)?;
    for (i, field) in
        ["temperature", "humidity", "pressure", "vibration", "current", "voltage"].iter().enumerate()
    {
        let scale = [100.0, 1.0, 1000.0, 0.01, 10.0, 400.0][i];
        write!(out, r#","{field}":{}"#, rng.unit() * scale)?;
    }
    out.push_str("}\n");
    Ok(())
}

fn opentsdb(rng: &mut Rng, row: u64, out: &mut String) -> std::fmt::Result {
    let host = row / 10;
    let all = tags(host);
    let tag = |i: usize| all.get(i).map_or("", |(_, value)| value.as_str());
    write!(
        out,
        r#"{{"metric":"cpu.{}","timestamp":{},"value":{},"tags":{{"hostname":"{}","region":"{}","datacenter":"{}"}}}}"#,
        FIELDS[(row % 10) as usize],
        START + host / 4000 * 10_000,
        rng.below(101),
        tag(0),
        tag(1),
        tag(2)
    )
}
