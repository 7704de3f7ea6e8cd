//! What decoding a file takes, as told beforehand and as the kernel counts it:
//! `cargo run --release -p picture --example memory -- FILE`
#![allow(clippy::print_stdout, reason = "a command-line tool")]

use picture::Undecoded;

/// More than any file that is measured has.
const MAX_PIXELS: u64 = 1 << 28;

fn main() {
    let file = std::env::args().nth(1).expect("usage: memory FILE");
    let bytes = std::fs::read(&file).expect("a file that can be read");
    let before = kibibytes("VmRSS:");
    let start = std::time::Instant::now();
    let outcome = Undecoded::new(&bytes, MAX_PIXELS).and_then(|undecoded| {
        let told = undecoded.memory();
        undecoded.decode(None).map(|frame| (told, frame))
    });
    let elapsed = start.elapsed().as_millis();
    match outcome {
        Ok((told, frame)) => {
            let peak = kibibytes("VmHWM:") - before;
            let (samples, channels) = frame.pixels.planes();
            println!(
                "{file}: {} bytes, {}×{}×{channels} ({} samples): told {:.1} MiB, took {:.1} MiB, {elapsed} ms",
                bytes.len(),
                frame.width,
                frame.height,
                samples.len(),
                told as f64 / 1048576.0,
                peak as f64 / 1024.0,
            );
        }
        Err(error) => println!("{file}: {} bytes: {error}, {elapsed} ms", bytes.len()),
    }
}

/// A line of `/proc/self/status`.
fn kibibytes(name: &str) -> usize {
    let status = std::fs::read_to_string("/proc/self/status").expect("procfs");
    let line = status.lines().find_map(|line| line.strip_prefix(name)).expect("the line is there");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}
