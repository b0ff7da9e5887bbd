//! Line protocol of four kinds.

use std::fmt::Write;

use super::Rng;

const START: u64 = 1_700_000_000_000_000_000;

/// What a data set is like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// As the Time Series Benchmark Suite's cpu-only: 10 tags, 10 integer fields, some 350 B a line.
    Cpu,
    /// Two measurements of trucks, 3 to 8 tags, short floats.
    Iot,
    /// Floats of 16 and 17 digits.
    Sens,
    /// Escapes, quoted strings, all types, lines of changing shape.
    Nasty,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Cpu, Self::Iot, Self::Sens, Self::Nasty];

    /// Its name in reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Iot => "iot",
            Self::Sens => "sens",
            Self::Nasty => "nasty",
        }
    }
}

/// About `bytes` bytes of whole lines.
#[must_use]
pub fn generate(kind: Kind, bytes: usize) -> String {
    let mut rng = Rng::new(0x6b77_7379_6e63 + kind as u64);
    let mut out = String::with_capacity(bytes + 1024);
    let mut row = 0;
    while out.len() < bytes {
        // Writing to a String does not fail.
        match kind {
            Kind::Cpu => cpu(&mut rng, row, &mut out),
            Kind::Iot => iot(&mut rng, row, &mut out),
            Kind::Sens => sens(&mut rng, row, &mut out),
            Kind::Nasty => nasty(&mut rng, row, &mut out),
        }
        .unwrap_or_default();
        row += 1;
    }
    out
}

const REGIONS: [&str; 9] = [
    "us-east-1",
    "us-west-1",
    "us-west-2",
    "eu-west-1",
    "eu-central-1",
    "ap-southeast-1",
    "ap-southeast-2",
    "ap-northeast-1",
    "sa-east-1",
];

fn cpu(rng: &mut Rng, row: u64, out: &mut String) -> std::fmt::Result {
    const FIELDS: [&str; 10] = [
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
    let host = row % 4000;
    // A host keeps its tags.
    let mut tags = Rng::new(host + 1);
    tags.bits();
    let region = tags.pick(&REGIONS);
    write!(
        out,
        "cpu,hostname=host_{host},region={region},datacenter={region}{},rack={},os={},arch={},team={},service={},service_version={},service_environment={}",
        tags.pick(&["a", "b", "c"]),
        tags.below(100),
        tags.pick(&["Ubuntu16.10", "Ubuntu16.04LTS", "Ubuntu15.10"]),
        tags.pick(&["x64", "x86"]),
        tags.pick(&["SF", "NYC", "LON", "CHI"]),
        tags.below(20),
        tags.below(2),
        tags.pick(&["production", "staging", "test"]),
    )?;
    for (i, field) in FIELDS.iter().enumerate() {
        write!(out, "{}{field}={}i", if i == 0 { ' ' } else { ',' }, rng.below(101))?;
    }
    writeln!(out, " {}", START + row / 4000 * 10_000_000_000)
}

fn short(rng: &mut Rng, whole: u64, decimals: usize) -> String {
    let scale = 10u64.pow(decimals as u32);
    format!("{}.{:0decimals$}", rng.below(whole), rng.below(scale))
}

fn iot(rng: &mut Rng, row: u64, out: &mut String) -> std::fmt::Result {
    let truck = row % 1000;
    let mut tags = Rng::new(truck + 1);
    tags.bits();
    let fleet = tags.pick(&["East", "West", "North", "South"]);
    let driver = tags.pick(&["Derek", "Rodney", "Albert", "Andy", "Seth", "Trish"]);
    write!(out, "readings,name=truck_{truck},fleet={fleet},driver={driver} ")?;
    write!(
        out,
        "latitude={},longitude={},elevation={},",
        short(rng, 90, 5),
        short(rng, 180, 5),
        rng.below(500)
    )?;
    write!(out, "velocity={},heading={},grade={},", rng.below(100), rng.below(361), short(rng, 3, 1))?;
    write!(out, "fuel_consumption={},load={}", short(rng, 50, 1), short(rng, 100, 2))?;
    writeln!(out, " {}", START + row * 10_000_000)
}

fn sens(rng: &mut Rng, row: u64, out: &mut String) -> std::fmt::Result {
    write!(out, "sensor,id=s{},site=plant-{} ", row % 500, row % 7)?;
    for (i, field) in
        ["temperature", "humidity", "pressure", "vibration", "current", "voltage"].iter().enumerate()
    {
        let scale = [100.0, 1.0, 1000.0, 0.01, 10.0, 400.0][i];
        write!(out, "{}{field}={}", if i == 0 { "" } else { "," }, rng.unit() * scale)?;
    }
    writeln!(out, " {}", START + row * 1_000_000)
}

fn nasty(rng: &mut Rng, row: u64, out: &mut String) -> std::fmt::Result {
    match rng.below(5) {
        0 => write!(
            out,
            "disk\\ usage,host=web\\ {},path=C:\\\\data\\,{} free={}i,used={}u,label=\"vol \\\"{}\\\"\"",
            rng.below(50),
            rng.below(9),
            rng.bits() >> 1,
            rng.below(1 << 40),
            rng.below(100)
        ),
        1 => write!(
            out,
            "http,method={},status={} msg=\"request to /api/v1/items?id={}&q=a, b=c took {} ms\",ok={},bytes={}i",
            rng.pick(&["GET", "POST", "PUT"]),
            rng.pick(&["200", "404", "500"]),
            rng.below(100_000),
            rng.below(3000),
            rng.pick(&["t", "true", "F", "False"]),
            rng.below(1_000_000)
        ),
        2 => write!(out, "温度,地点=北京\\ {} 值={},单位=\"℃\"", rng.below(16), short(rng, 40, 2)),
        3 => {
            write!(out, "proc,host=h{} cpu={}", rng.below(64), short(rng, 100, 3))?;
            for field in ["mem", "swap", "fds", "threads"] {
                if rng.below(2) == 0 {
                    write!(out, ",{field}={}i", rng.below(1 << 30))?;
                }
            }
            Ok(())
        }
        _ => write!(
            out,
            "event,app=a\\=b{},env=prod text=\"line \\\\ with \\\"quotes\\\" and, commas\",level={}i,ratio={}e-{}",
            rng.below(8),
            rng.below(7),
            short(rng, 10, 3),
            rng.below(9)
        ),
    }?;
    writeln!(out, " {}", START + row * 1_000)
}
