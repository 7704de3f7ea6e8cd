//! From the file's components to gray or RGB, in libjpeg's fixed point (`jdcolor.c`) and OpenCV's
//! for CMYK.

use model_runtime::kernels::idct::NEUTRAL;

use super::Planes;
use super::markers::ColourSpace;
use super::scan::{Component, Frame};
use super::upsample::upsample;

/// Brings the components to full size and to RGB; to gray where the picture has no colour.
pub(super) fn planes(frame: Frame, space: ColourSpace) -> Planes {
    let Frame { width, height, mut components, sampling, .. } = frame;
    let neutral = |component: &Component| {
        let rows = component.samples.chunks_exact(component.stride()).take(component.height);
        rows.into_iter().all(|row| row[..component.width].iter().all(|level| *level == NEUTRAL))
    };
    let gray = match space {
        ColourSpace::Gray => true,
        // Night-vision cameras mostly write gray as colour; converted, all three channels would be
        // the first.
        ColourSpace::YCbCr => components[1..].iter().all(neutral),
        _ => false,
    };
    let factors = |component: &Component| component.factors(sampling);
    let pixels = width * height;
    if gray {
        components.truncate(1);
        let luminance = components.pop().expect("there is one");
        if factors(&luminance) == (1, 1) {
            return Planes::Gray(crop(luminance, width, height));
        }
        let mut gray = vec![0; pixels];
        upsample(&luminance, factors(&luminance), width, &mut gray);
        return Planes::Gray(gray);
    }

    let channels = components.len();
    let mut full = vec![0; channels * pixels];
    for (component, plane) in components.iter().zip(full.chunks_exact_mut(pixels)) {
        upsample(component, factors(component), width, plane);
    }
    drop(components);
    let [first, second, third] = {
        let (first, rest) = full.split_at_mut(pixels);
        let (second, rest) = rest.split_at_mut(pixels);
        let (third, fourth) = rest.split_at_mut(pixels);
        let mut colours = [first, second, third];
        match space {
            ColourSpace::YCbCr => to_rgb(&mut colours),
            ColourSpace::Ycck => {
                // What libjpeg makes of YCCK is the inverse of RGB, beside K as it is
                // (`ycck_cmyk_convert`).
                to_rgb(&mut colours);
                colours.iter_mut().for_each(|plane| plane.iter_mut().for_each(|level| *level = 255 - *level));
            }
            ColourSpace::Gray | ColourSpace::Rgb | ColourSpace::Cmyk => {}
        }
        if channels == 4 {
            for plane in &mut colours {
                for (level, black) in plane.iter_mut().zip(&*fourth) {
                    // `icvCvt_CMYK2BGR_8u_C4C3R`
                    let (ink, black) = (i32::from(*level), i32::from(*black));
                    *level = (black - (((255 - ink) * black) >> 8)) as u8;
                }
            }
        }
        colours
    };
    if *first == *second && *second == *third {
        full.truncate(pixels);
        return Planes::Gray(full);
    }
    full.truncate(3 * pixels);
    full.shrink_to_fit();
    Planes::Rgb(full)
}

/// Takes the padding out.
fn crop(component: Component, width: usize, height: usize) -> Vec<u8> {
    let stride = component.stride();
    let mut samples = component.samples;
    if stride != width {
        for y in 1..height {
            samples.copy_within(y * stride..y * stride + width, y * width);
        }
    }
    samples.truncate(width * height);
    samples
}

/// YCbCr (ITU-T T.871) to RGB, in place.
///
/// Factors over one are written as sums, so that the products fit in the upper half of 16 by 16
/// bits.
fn to_rgb([luminance, blue, red]: &mut [&mut [u8]; 3]) {
    const F_0_402: i32 = 26_345; // 1.40200 − 1, times 65,536
    const F_0_228: i32 = 14_942; // 2 − 1.77200
    const F_0_344: i32 = 22_554;
    const F_0_714: i32 = 46_802;
    let upper = |a: i16, b: i32| ((i32::from(a) * b) >> 16) as i16;
    let level = |value: i16| value.clamp(0, 255) as u8;
    for ((luminance, blue), red) in luminance.iter_mut().zip(blue.iter_mut()).zip(red.iter_mut()) {
        let y = i16::from(*luminance);
        let [cb, cr] = [*blue, *red].map(|chroma| i16::from(chroma) - 128);
        let r = y + cr + ((upper(2 * cr, F_0_402) + 1) >> 1);
        let g = y + ((i32::from(cb) * -F_0_344 - i32::from(cr) * F_0_714 + (1 << 15)) >> 16) as i16;
        let b = y + 2 * cb + ((upper(2 * cb, -F_0_228) + 1) >> 1);
        [*luminance, *blue, *red] = [level(r), level(g), level(b)];
    }
}
