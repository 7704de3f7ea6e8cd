//! Rows of the input as a band holds them: with the padding written out.

use crate::kernels::image::Image;

/// A row of an image, if it exists.
pub(super) fn row_of<'a>(image: &Image<'a, u8>, y: isize) -> Option<&'a [u8]> {
    let inside = (0..image.height as isize).contains(&y);
    inside.then(|| &image.data[y as usize * image.row_pitch..])
}

/// Copies a row's pixels to their channels in a band, `zero` outside the image.
pub(super) fn copy_row(
    line: &mut [u8],
    source: Option<&[u8]>,
    image: &Image<'_, u8>,
    [pixel, channel]: [usize; 2],
    pad: usize,
    zero: u8,
) {
    let channels = image.channels;
    let alone = pixel == channels;
    let Some(source) = source else {
        if alone {
            line.fill(zero);
        } else {
            line.chunks_exact_mut(pixel).for_each(|to| to[channel..][..channels].fill(zero));
        }
        return;
    };
    let (left, rest) = line.split_at_mut(pad * pixel);
    let (inside, right) = rest.split_at_mut(image.width * pixel);
    for side in [left, right] {
        if alone {
            side.fill(zero);
        } else {
            side.chunks_exact_mut(pixel).for_each(|to| to[channel..][..channels].fill(zero));
        }
    }
    if alone && image.pixel_pitch == pixel {
        inside.copy_from_slice(&source[..image.width * pixel]);
        return;
    }
    for (x, to) in inside.chunks_exact_mut(pixel).enumerate() {
        to[channel..][..channels].copy_from_slice(&source[x * image.pixel_pitch..][..channels]);
    }
}

/// The same for one channel, widened to 16 bits.
pub(super) fn widen_row(line: &mut [u8], source: Option<&[u8]>, image: &Image<'_, u8>, pad: usize, zero: u8) {
    let (line, _) = line.as_chunks_mut::<2>();
    let zero = i16::from(zero).to_ne_bytes();
    let Some(source) = source else { return line.fill(zero) };
    let (left, rest) = line.split_at_mut(pad);
    let (inside, right) = rest.split_at_mut(image.width);
    left.fill(zero);
    right.fill(zero);
    if image.pixel_pitch == 1 {
        for (to, from) in inside.iter_mut().zip(source) {
            *to = i16::from(*from).to_ne_bytes();
        }
    } else {
        for (x, to) in inside.iter_mut().enumerate() {
            *to = i16::from(source[x * image.pixel_pitch]).to_ne_bytes();
        }
    }
}
