//! The command line: the committed samples, or as many random pictures as are wanted.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::{Parser, Subcommand, ValueEnum};
use night_faces::{Recipe, samples};

/// Draws synthetic faces as a night-vision camera would see them.
#[derive(Debug, Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Write the named samples and samples.json.
    Samples {
        /// Where to.
        #[arg(long, default_value = "function/samples")]
        out: PathBuf,
    },
    /// Write random pictures to OUT/images and their labels to OUT/labels.
    Generate {
        /// How many.
        #[arg(long)]
        count: u64,
        /// The same seed gives the same pictures.
        #[arg(long, default_value_t = 0)]
        seed: u64,
        /// Where to.
        #[arg(long)]
        out: PathBuf,
        /// How labels are written.
        #[arg(long, value_enum, default_value_t = Format::Yolo)]
        format: Format,
    },
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Format {
    /// One text file a picture: class (0 open, 1 closed), centre and size as fractions.
    Yolo,
}

fn main() -> anyhow::Result<()> {
    match Arguments::parse().command {
        Command::Samples { out } => write_samples(&out),
        Command::Generate { count, seed, out, format: Format::Yolo } => generate(count, seed, &out),
    }
}

fn write_samples(out: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(out).with_context(|| format!("cannot create {}", out.display()))?;
    let mut list = Vec::new();
    for sample in samples::all() {
        let (bytes, entry) = sample.render()?;
        write(&out.join(sample.file), &bytes)?;
        list.push(entry);
    }
    write(&out.join(samples::LIST_FILE), samples::list_json(&list)?.as_bytes())
}

fn generate(count: u64, seed: u64, out: &Path) -> anyhow::Result<()> {
    let (images, labels) = (out.join("images"), out.join("labels"));
    for folder in [&images, &labels] {
        fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
    }
    for index in 0..count {
        let recipe = Recipe::random(seed, index);
        let picture = recipe.draw(seed.wrapping_mul(0x0100_0000_01b3) ^ index);
        let name = format!("{}_{seed}_{index:06}", recipe.kind.name());
        write(&images.join(format!("{name}.jpg")), &picture.jpeg()?)?;
        let lines: String = picture.eyes.iter().map(|eye| eye.yolo_line(recipe.size) + "\n").collect();
        write(&labels.join(format!("{name}.txt")), lines.as_bytes())?;
    }
    Ok(())
}

fn write(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    fs::write(path, bytes).with_context(|| format!("cannot write {}", path.display()))
}
