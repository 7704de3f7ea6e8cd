//! Turns an image upright, as its EXIF orientation says.

use image::metadata::Orientation;

use super::{Frame, Pixels};

pub(super) fn upright(frame: Frame, orientation: Orientation) -> Frame {
    use Orientation::*;
    let (width, height) = (frame.width as usize, frame.height as usize);
    let (right, down) = (width - 1, height - 1);
    // Where the pixel at (x, y) of the upright image is stored.
    let turn = |samples: Vec<u8>| match orientation {
        NoTransforms => samples,
        Rotate90 => turned(&samples, (width, height), true, |x, y| (y, down - x)),
        Rotate180 => turned(&samples, (width, height), false, |x, y| (right - x, down - y)),
        Rotate270 => turned(&samples, (width, height), true, |x, y| (right - y, x)),
        FlipHorizontal => turned(&samples, (width, height), false, |x, y| (right - x, y)),
        FlipVertical => turned(&samples, (width, height), false, |x, y| (x, down - y)),
        Rotate90FlipH => turned(&samples, (width, height), true, |x, y| (y, x)),
        Rotate270FlipH => turned(&samples, (width, height), true, |x, y| (right - y, down - x)),
    };
    let pixels = match frame.pixels {
        Pixels::Gray(samples) => Pixels::Gray(turn(samples)),
        Pixels::Rgb(samples) => Pixels::Rgb(turn(samples)),
    };
    let swapped = matches!(orientation, Rotate90 | Rotate270 | Rotate90FlipH | Rotate270FlipH);
    let (width, height) = if swapped { (frame.height, frame.width) } else { (frame.width, frame.height) };
    Frame { width, height, pixels }
}

/// Every plane of `samples`, read from where `stored` says.
fn turned(
    samples: &[u8],
    (width, height): (usize, usize),
    swapped: bool,
    stored: impl Fn(usize, usize) -> (usize, usize),
) -> Vec<u8> {
    let (across, down) = if swapped { (height, width) } else { (width, height) };
    let mut upright = Vec::with_capacity(samples.len());
    for plane in samples.chunks_exact(width * height) {
        for y in 0..down {
            upright.extend((0..across).map(|x| {
                let (x, y) = stored(x, y);
                plane[y * width + x]
            }));
        }
    }
    upright
}

#[cfg(test)]
mod tests {
    use image::DynamicImage;

    use super::*;

    #[test]
    fn every_orientation_is_applied_as_the_image_crate_does() {
        let pixels: Vec<u8> = (0..3 * 5 * 4).collect();
        let planes: Vec<u8> =
            (0..3).flat_map(|channel| pixels.chunks_exact(3).map(move |pixel| pixel[channel])).collect();
        for exif in 1..=8 {
            let orientation = Orientation::from_exif(exif).expect("one of the eight");
            let image = image::RgbImage::from_raw(5, 4, pixels.clone()).expect("5 × 4");
            let mut wanted = DynamicImage::from(image);
            wanted.apply_orientation(orientation);
            let frame = Frame { width: 5, height: 4, pixels: Pixels::Rgb(planes.clone()) };
            let frame = upright(frame, orientation);
            assert_eq!((frame.width, frame.height), (wanted.width(), wanted.height()), "{orientation:?}");
            let wanted = wanted.into_rgb8().into_raw();
            let wanted: Vec<u8> =
                (0..3).flat_map(|channel| wanted.chunks_exact(3).map(move |pixel| pixel[channel])).collect();
            assert_eq!(frame.pixels, Pixels::Rgb(wanted), "{orientation:?}");
        }
    }
}
