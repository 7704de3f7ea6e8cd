//! The committed samples are what the generator draws, and every picture keeps its word about its
//! eyes.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use night_faces::samples::{self, Entry, LIST_FILE};
use night_faces::{BoundingBox, Kind, Recipe, State};

fn committed() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../function/samples")
}

fn committed_list() -> Vec<Entry> {
    serde_json::from_slice(&std::fs::read(committed().join(LIST_FILE)).unwrap()).unwrap()
}

#[test]
fn committed_samples_are_byte_for_byte_what_the_generator_draws() {
    let mut entries = Vec::new();
    for sample in samples::all() {
        let (bytes, entry) = sample.render().unwrap();
        let file = std::fs::read(committed().join(sample.file)).unwrap();
        assert!(file == bytes, "{} differs: run `make samples` and look at the pictures", sample.file);
        entries.push(entry);
    }
    let list = std::fs::read_to_string(committed().join(LIST_FILE)).unwrap();
    assert_eq!(list, samples::list_json(&entries).unwrap());
}

#[test]
fn no_picture_lies_beside_the_listed_ones() {
    let listed: BTreeSet<String> = committed_list().into_iter().map(|entry| entry.file).collect();
    let pictures = std::fs::read_dir(committed())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let found: BTreeSet<String> =
        pictures.filter(|name| name.ends_with(".jpg") || name.ends_with(".png")).collect();
    assert_eq!(found, listed);
}

#[test]
fn committed_samples_stay_small_and_have_the_size_the_list_says() {
    let mut total = 0;
    for entry in committed_list() {
        let bytes = std::fs::read(committed().join(&entry.file)).unwrap();
        total += bytes.len();
        let picture = image::load_from_memory(&bytes).unwrap();
        assert_eq!((picture.width(), picture.height()), (entry.width, entry.height), "{}", entry.file);
        assert_eq!(picture.color(), image::ColorType::L8, "{}", entry.file);
    }
    assert!(total < 1_000_000, "{total} bytes of samples in the repository");
}

#[test]
fn samples_show_every_kind_and_every_state() {
    let kinds: Vec<Kind> = samples::all().into_iter().map(|sample| sample.recipe.kind).collect();
    assert!(Kind::ALL.iter().all(|kind| kinds.contains(kind)));
    for state in [State::Open, State::Closed, State::NoEyes] {
        assert!(committed_list().iter().any(|entry| entry.state == state));
    }
}

#[test]
fn states_and_eyes_agree() {
    for entry in committed_list() {
        let open = entry.eyes.iter().any(|eye| eye.state == State::Open);
        let expected = match (entry.eyes.is_empty(), open) {
            (true, _) => State::NoEyes,
            (false, true) => State::Open,
            (false, false) => State::Closed,
        };
        assert_eq!(entry.state, expected, "{}", entry.file);
    }
}

/// The brightest pixel in the middle third of a box.
fn brightest(picture: &image::GrayImage, bounds: &BoundingBox) -> u8 {
    let (cx, cy) = (bounds.x + 0.5 * bounds.width, bounds.y + 0.5 * bounds.height);
    let near = |x: u32, y: u32| {
        (x as f32 - cx).abs() < bounds.width / 6.0 && (y as f32 - cy).abs() < bounds.height / 6.0
    };
    picture.enumerate_pixels().filter(|(x, y, _)| near(*x, *y)).map(|(_, _, pixel)| pixel.0[0]).max().unwrap()
}

#[test]
fn an_open_eye_shines_in_the_middle_of_its_box_and_a_closed_one_does_not() {
    let recipe = Recipe {
        kind: Kind::Open,
        size: (320, 240),
        roll: 67.0,
        interocular: 70.0,
        position: (0.5, 0.5),
        glasses: false,
    };
    // This seed's eyes reflect strongly; what is asserted is read from the pixels.
    let open = recipe.draw(1);
    let closed = Recipe { kind: Kind::Closed, ..recipe }.draw(1);
    assert_eq!((open.eyes.len(), closed.eyes.len()), (2, 2));
    for (shining, dull) in open.eyes.iter().zip(&closed.eyes) {
        assert_eq!(shining.bounds, dull.bounds, "lids do not move the corners");
        let (pupil, lid) = (brightest(&open.image, &shining.bounds), brightest(&closed.image, &dull.bounds));
        assert!(pupil > lid.saturating_add(50), "pupil {pupil}, lid {lid}");
    }
}

#[test]
fn a_box_turns_with_the_head() {
    let upright = Recipe {
        kind: Kind::Open,
        size: (320, 320),
        roll: 0.0,
        interocular: 60.0,
        position: (0.5, 0.5),
        glasses: false,
    };
    let lying = Recipe { roll: 90.0, ..upright.clone() };
    for (a, b) in upright.draw(5).eyes.iter().zip(&lying.draw(5).eyes) {
        assert!(
            (a.bounds.width - b.bounds.height).abs() < 0.01
                && (a.bounds.height - b.bounds.width).abs() < 0.01
        );
        assert!(a.bounds.width > 1.3 * a.bounds.height, "an upright eye is wider than high");
    }
}

#[test]
fn the_same_seed_gives_the_same_picture_and_another_seed_another() {
    let recipe = Recipe { size: (160, 120), interocular: 30.0, ..Recipe::random(3, 0) };
    assert_eq!(recipe.draw(11).image, recipe.draw(11).image);
    assert_ne!(recipe.draw(11).image, recipe.draw(12).image);
    assert_eq!(Recipe::random(9, 4), Recipe::random(9, 4));
    assert_ne!(Recipe::random(9, 4), Recipe::random(9, 5));
}

#[test]
fn labels_are_fractions_of_the_picture() {
    for index in 0..6 {
        let recipe = Recipe { size: (160, 120), interocular: 25.0, ..Recipe::random(1, index) };
        let picture = recipe.draw(index);
        for eye in &picture.eyes {
            let fields: Vec<f32> =
                eye.yolo_line(recipe.size).split(' ').map(|f| f.parse().unwrap()).collect();
            assert_eq!(fields.len(), 5);
            assert_eq!(fields[0], if eye.state == State::Open { 0.0 } else { 1.0 });
            assert!(fields[1..].iter().all(|f| (0.0..=1.0).contains(f)), "{fields:?}");
        }
    }
}

#[test]
fn a_series_holds_every_kind() {
    let kinds: BTreeSet<&str> = (0..300).map(|index| Recipe::random(0, index).kind.name()).collect();
    assert_eq!(kinds.len(), Kind::ALL.len());
}
