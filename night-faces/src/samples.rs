//! The committed samples: their list, and how to reproduce each.

use serde::{Deserialize, Serialize};

use crate::scene::{Kind, Recipe};
use crate::truth::{EyeTruth, State};

/// The list's file name, beside the pictures.
pub const LIST_FILE: &str = "samples.json";

/// One committed sample before it is drawn.
#[derive(Debug, Clone)]
pub struct Sample {
    /// File name.
    pub file: &'static str,
    /// One line for people: the page shows it, and screen readers read it.
    pub title: &'static str,
    /// Chosen for a good-looking picture.
    pub seed: u64,
    /// What it is of.
    pub recipe: Recipe,
}

/// One entry of `samples.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// File name.
    pub file: String,
    /// One line for people.
    pub title: String,
    /// What a classifier should say.
    pub state: State,
    /// Pixels.
    pub width: u32,
    /// Pixels.
    pub height: u32,
    /// The eyes that can be seen.
    pub eyes: Vec<EyeTruth>,
}

const WIDE: (u32, u32) = (640, 480);
const TALL: (u32, u32) = (480, 640);
const SQUARE: (u32, u32) = (480, 480);

/// All samples, in the order the page shows them.
#[must_use]
pub fn all() -> Vec<Sample> {
    use Kind::{Blanket, Closed, EmptyBed, Hand, Mask, OneOpen, Open};
    let sample = |file, title, kind, seed, size, roll, interocular, x, y| Sample {
        file,
        title,
        seed,
        recipe: Recipe { kind, size, roll, interocular, position: (x, y), glasses: false },
    };
    let with_glasses = |mut sample: Sample| {
        sample.recipe.glasses = true;
        sample
    };
    vec![
        sample("open.jpg", "Both eyes open", Open, 1, WIDE, -8.0, 104.0, 0.50, 0.46),
        sample("closed.jpg", "Asleep, both eyes closed", Closed, 2, WIDE, 9.0, 104.0, 0.48, 0.45),
        sample("one-open.jpg", "One eye open", OneOpen, 3, WIDE, -20.0, 100.0, 0.52, 0.46),
        sample("covered.jpg", "Sleep mask over the eyes", Mask, 4, WIDE, 12.0, 100.0, 0.50, 0.47),
        sample("empty-bed.jpg", "Empty bed", EmptyBed, 5, WIDE, -10.0, 92.0, 0.50, 0.42),
        sample("open-rolled.jpg", "Lying on the side, eyes open", Open, 6, WIDE, -84.0, 92.0, 0.42, 0.50),
        sample(
            "closed-rolled.jpg",
            "Lying on the side, eyes closed",
            Closed,
            7,
            WIDE,
            96.0,
            92.0,
            0.58,
            0.52,
        ),
        with_glasses(sample(
            "glasses-open.jpg",
            "Glasses, eyes open",
            Open,
            8,
            SQUARE,
            5.0,
            98.0,
            0.50,
            0.45,
        )),
        with_glasses(sample(
            "glasses-closed.jpg",
            "Glasses, eyes closed",
            Closed,
            9,
            SQUARE,
            -14.0,
            98.0,
            0.5,
            0.46,
        )),
        sample("open-upside-down.jpg", "Upside down, eyes open", Open, 10, TALL, 172.0, 88.0, 0.50, 0.56),
        sample(
            "closed-upside-down.jpg",
            "Upside down, eyes closed",
            Closed,
            11,
            TALL,
            -165.0,
            88.0,
            0.49,
            0.57,
        ),
        sample("open-far.jpg", "Far away, eyes open", Open, 12, WIDE, 38.0, 58.0, 0.44, 0.45),
        sample("closed-far.jpg", "Far away, eyes closed", Closed, 13, WIDE, -42.0, 58.0, 0.56, 0.46),
        sample("blanket.jpg", "Blanket over the face", Blanket, 14, WIDE, -15.0, 92.0, 0.50, 0.48),
        sample("hand.jpg", "Hand over the eyes", Hand, 15, WIDE, 18.0, 92.0, 0.47, 0.46),
    ]
}

impl Sample {
    /// Draws the sample: its file's bytes and its entry in the list.
    ///
    /// # Errors
    /// As [`crate::Picture::jpeg`].
    pub fn render(&self) -> Result<(Vec<u8>, Entry), crate::EncodeError> {
        let picture = self.recipe.draw(self.seed);
        let entry = Entry {
            file: self.file.to_owned(),
            title: self.title.to_owned(),
            state: picture.state,
            width: self.recipe.size.0,
            height: self.recipe.size.1,
            eyes: picture.eyes.clone(),
        };
        Ok((picture.jpeg()?, entry))
    }
}

/// The text of `samples.json`.
///
/// # Errors
/// Never in practice: the entries hold nothing JSON cannot say.
pub fn list_json(entries: &[Entry]) -> Result<String, serde_json::Error> {
    Ok(serde_json::to_string_pretty(entries)? + "\n")
}
