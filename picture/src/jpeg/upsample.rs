//! Subsampled components to full size, as libjpeg-turbo does unless told otherwise (`jdsample.c`,
//! "fancy upsampling"): a triangle filter where one direction or both are halved, repetition
//! elsewhere.

use super::scan::Component;

/// Writes the `width` × `height` samples of a component that are shown to `full`. `factors` is how
/// many of them, across and down, one sample stands for.
pub(super) fn upsample(component: &Component, factors: (usize, usize), width: usize, full: &mut [u8]) {
    let rows = |y: usize| &component.samples[y * component.stride()..][..component.width];
    // Of two or fewer columns libjpeg repeats each.
    let smooth = component.width > 2;
    let last = component.height - 1;
    match factors {
        (1, 1) => {
            for (y, row) in full.chunks_exact_mut(width).enumerate() {
                row.copy_from_slice(&rows(y)[..width]);
            }
        }
        (2, 1) if smooth => {
            for (y, row) in full.chunks_exact_mut(width).enumerate() {
                across(rows(y), row);
            }
        }
        (1, 2) => {
            for (y, row) in full.chunks_exact_mut(width).enumerate() {
                let (near, far, bias) = neighbours(y, last);
                for ((sample, near), far) in row.iter_mut().zip(rows(near)).zip(rows(far)) {
                    *sample = ((3 * u16::from(*near) + u16::from(*far) + bias) >> 2) as u8;
                }
            }
        }
        (2, 2) if smooth => {
            let mut sums = vec![0; component.width];
            for (y, row) in full.chunks_exact_mut(width).enumerate() {
                let (near, far, _) = neighbours(y, last);
                for ((sum, near), far) in sums.iter_mut().zip(rows(near)).zip(rows(far)) {
                    *sum = 3 * u16::from(*near) + u16::from(*far);
                }
                both(&sums, row);
            }
        }
        (wide, high) => {
            for (y, row) in full.chunks_exact_mut(width).enumerate() {
                for (samples, level) in row.chunks_mut(wide).zip(rows(y / high)) {
                    samples.fill(*level);
                }
            }
        }
    }
}

/// The nearer and the farther row that row `y` of twice as many lies between, and the rounding.
fn neighbours(y: usize, last: usize) -> (usize, usize, u16) {
    let near = y / 2;
    match y % 2 {
        0 => (near, near.saturating_sub(1), 1),
        _ => (near, (near + 1).min(last), 2),
    }
}

/// Each sample to two: three quarters of it and one of its neighbour (`h2v1_fancy_upsample`).
fn across(samples: &[u8], row: &mut [u8]) {
    let weighted = |near: u8, far: u8, bias: u16| ((3 * u16::from(near) + u16::from(far) + bias) >> 2) as u8;
    let last = samples.len() - 1;
    row[0] = samples[0];
    row[1] = weighted(samples[0], samples[1], 2);
    let (pairs, rest) = row[2..].as_chunks_mut::<2>();
    for (pair, near) in pairs.iter_mut().zip(samples.windows(3)) {
        *pair = [weighted(near[1], near[0], 1), weighted(near[1], near[2], 2)];
    }
    // The last sample has no neighbour on its right, and where the width is odd no second one to
    // give.
    match rest {
        [only] => *only = weighted(samples[last], samples[last - 1], 1),
        _ => row[2 * last..].copy_from_slice(&[weighted(samples[last], samples[last - 1], 1), samples[last]]),
    }
}

/// The same across rows that are already three quarters and one of two (`h2v2_fancy_upsample`).
fn both(sums: &[u16], row: &mut [u8]) {
    let weighted = |near: u16, far: u16, bias: u16| ((3 * near + far + bias) >> 4) as u8;
    let last = sums.len() - 1;
    row[0] = ((4 * sums[0] + 8) >> 4) as u8;
    row[1] = weighted(sums[0], sums[1], 7);
    let (pairs, rest) = row[2..].as_chunks_mut::<2>();
    for (pair, near) in pairs.iter_mut().zip(sums.windows(3)) {
        *pair = [weighted(near[1], near[0], 8), weighted(near[1], near[2], 7)];
    }
    match rest {
        [only] => *only = weighted(sums[last], sums[last - 1], 8),
        _ => row[2 * last..]
            .copy_from_slice(&[weighted(sums[last], sums[last - 1], 8), ((4 * sums[last] + 7) >> 4) as u8]),
    }
}
