//! The command line of the library: describe a model, check that the function can be built with it,
//! write the generated code.

use std::error::Error;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use model_import::{Description, ImportError, Options, import, inspect};

/// Looks at YOLOv5 detection models and turns them into burn code.
///
/// MODEL_NAMES, OPEN_CLASSES and CLOSED_CLASSES (comma-separated) say what a file does not, IMGSZ
/// how large its images shall be.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Print what a model is: scale, input, classes, anchors, cost
    Inspect {
        /// The ONNX file
        model: PathBuf,
        /// Print every convolution, too
        #[arg(long)]
        layers: bool,
    },
    /// Check that the function can be built with a model
    Check {
        /// The ONNX file
        model: PathBuf,
    },
    /// Write the network that the code is generated from, raw heads as outputs, as ONNX
    Network {
        /// The ONNX file
        model: PathBuf,
        /// The file to write
        #[arg(long)]
        out: PathBuf,
    },
    /// Write the Rust code and the weights of a model
    Generate {
        /// The ONNX file
        model: PathBuf,
        /// The folder to write to
        #[arg(long)]
        out: PathBuf,
    },
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        // One line, independent of RUST_BACKTRACE: the fault is in the file, not in this program.
        Err(error) => {
            let _ = writeln!(io::stderr(), "error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Box<dyn Error>> {
    let options = Options::from_env()?;
    let mut out = io::stdout().lock();
    match Arguments::parse().command {
        Command::Inspect { model, layers } => {
            let description = inspect(&model, &options)?;
            print(&mut out, &description, &options, layers)?;
        }
        Command::Check { model } => {
            let imported = import(&model, &options)?;
            imported.check()?;
            let Description { scale, input_width, input_height, .. } = imported.description;
            writeln!(
                out,
                "{}: {scale} for {input_width}x{input_height}, the function can be built with it",
                model.display()
            )?;
        }
        Command::Network { model, out: file } => {
            let bytes = import(&model, &options)?.network()?;
            std::fs::write(&file, bytes)
                .map_err(|source| ImportError::Write { path: file.clone(), source })?;
            writeln!(out, "{}", file.display())?;
        }
        Command::Generate { model, out: folder } => {
            let imported = import(&model, &options)?;
            std::fs::create_dir_all(&folder)
                .map_err(|source| ImportError::Write { path: folder.clone(), source })?;
            writeln!(out, "{}", imported.generate(&folder)?.display())?;
        }
    }
    Ok(())
}

fn print(out: &mut impl Write, model: &Description, options: &Options, layers: bool) -> io::Result<()> {
    writeln!(out, "model                 {} ({})", model.name, model.scale)?;
    writeln!(out, "version               {}", model.version)?;
    writeln!(out, "licence               {}", model.license)?;
    writeln!(out, "written by            {}", model.producer)?;
    writeln!(
        out,
        "input                 1 x 3 x {} x {} (height x width)",
        model.input_height, model.input_width
    )?;
    writeln!(
        out,
        "arithmetic            {}",
        if model.quantized { "8-bit integers" } else { "32-bit floats" }
    )?;
    for (id, name) in model.class_names.iter().enumerate() {
        writeln!(out, "class {id:<3}             {name}")?;
    }
    match model.states(options) {
        Ok(states) => writeln!(out, "open, closed          {:?}, {:?}", states.open, states.closed)?,
        Err(error) => writeln!(out, "open, closed          {error}")?,
    }
    for head in &model.heads {
        let anchors =
            head.anchors.iter().map(|(width, height)| format!("{width}x{height}")).collect::<Vec<_>>();
        writeln!(out, "stride {:<3}            anchors {}", head.stride, anchors.join(", "))?;
    }
    writeln!(out, "parameters            {}", model.parameters())?;
    writeln!(out, "multiply-accumulates  {}", model.multiply_accumulates())?;
    if layers {
        writeln!(
            out,
            "\n{:<40} {:>16} {:>16} {:>6} {:>6} {:>10} {:>12}",
            "convolution", "in", "out", "kernel", "stride", "parameters", "MACs"
        )?;
        for layer in &model.layers {
            let map = |[channels, height, width]: [usize; 3]| format!("{channels}x{height}x{width}");
            let pair = |[height, width]: [usize; 2]| format!("{height}x{width}");
            writeln!(
                out,
                "{:<40} {:>16} {:>16} {:>6} {:>6} {:>10} {:>12}",
                layer.name,
                map(layer.input),
                map(layer.output),
                pair(layer.kernel),
                pair(layer.stride),
                layer.parameters,
                layer.multiply_accumulates
            )?;
        }
    }
    Ok(())
}
