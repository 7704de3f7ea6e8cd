//! Bilinear scaling of one 8-bit channel in OpenCV's fixed point: `cv::resize(…, INTER_LINEAR)`, to
//! the bit (`resize.cpp`).
//!
//! A line is a row interpolated horizontally: 1/128 levels, 16 bits. Two lines, interpolated
//! vertically, give levels or samples 0..1.

use super::Isa;

/// Fraction bits of the weights (`INTER_RESIZE_COEF_BITS`).
pub const WEIGHT_BITS: u32 = 11;

/// Fraction bits that are dropped from a line so that it fits in 16 bits.
const LINE_SHIFT: u32 = 4;

/// The horizontal source of each sample of a line: two neighbours in a row and their weights.
#[derive(Debug)]
pub struct Columns {
    /// The left neighbours.
    left: Vec<u32>,
    /// Weights of the left and of the right neighbour, in 1/2048.
    weights: Vec<[i16; 2]>,
    #[cfg(target_arch = "x86_64")]
    windows: Option<avx512::Windows>,
}

impl Columns {
    /// From each sample's left neighbour and the weights, none negative, that add up to 2048. A row
    /// has `width` samples.
    ///
    /// # Panics
    /// If a neighbour lies outside of the row.
    #[cfg_attr(not(target_arch = "x86_64"), expect(unused_variables, reason = "one path only"))]
    pub fn new(isa: Isa, width: usize, columns: impl Iterator<Item = (u32, [i16; 2])>) -> Self {
        let (left, weights): (Vec<_>, Vec<_>) = columns.unzip();
        assert!(left.iter().all(|left| (*left as usize) + 1 < width), "both neighbours are in the row");
        Self {
            #[cfg(target_arch = "x86_64")]
            windows: avx512::Windows::new(isa, &left, &weights),
            left,
            weights,
        }
    }

    /// Interpolates `row` into `line`, which has one sample a column.
    pub fn interpolate(&self, row: &[u8], line: &mut [i16]) {
        assert_eq!(line.len(), self.left.len(), "one sample a column");
        #[cfg(target_arch = "x86_64")]
        if let Some(windows) = &self.windows {
            return windows.interpolate(row, line);
        }
        for ((sample, left), [weight_left, weight_right]) in
            line.iter_mut().zip(&self.left).zip(&self.weights)
        {
            let [left, right] = [row[*left as usize], row[*left as usize + 1]].map(i32::from);
            *sample =
                ((left * i32::from(*weight_left) + right * i32::from(*weight_right)) >> LINE_SHIFT) as i16;
        }
    }
}

/// Interpolates between two lines; `samples` are levels / 255.
///
/// # Panics
/// If the lengths differ.
#[cfg_attr(not(target_arch = "x86_64"), expect(unused_variables, reason = "one path only"))]
pub fn blend(isa: Isa, [upper, lower]: [&[i16]; 2], weights: [i16; 2], samples: &mut [f32]) {
    assert!(upper.len() == samples.len() && lower.len() == samples.len(), "lines as long as the samples");
    #[cfg(target_arch = "x86_64")]
    let done = if avx512::runs(isa) {
        // SAFETY: the instruction set was detected.
        unsafe { avx512::blend([upper, lower], weights, samples) }
    } else {
        0
    };
    #[cfg(not(target_arch = "x86_64"))]
    let done = 0;
    let rest = [&upper[done..], &lower[done..]];
    blend_portable(rest, &weights.map(|weight| [weight; LANES]), &mut samples[done..]);
}

/// Interpolates between two lines, to levels.
///
/// # Panics
/// If the lengths differ.
#[cfg_attr(not(target_arch = "x86_64"), expect(unused_variables, reason = "one path only"))]
pub fn blend_levels(isa: Isa, [upper, lower]: [&[i16]; 2], weights: [i16; 2], levels: &mut [u8]) {
    assert!(upper.len() == levels.len() && lower.len() == levels.len(), "lines as long as the levels");
    #[cfg(target_arch = "x86_64")]
    let done = if avx512::runs(isa) {
        // SAFETY: the instruction set was detected.
        unsafe { avx512::blend_levels([upper, lower], weights, levels) }
    } else {
        0
    };
    #[cfg(not(target_arch = "x86_64"))]
    let done = 0;
    let terms = upper[done..].iter().zip(&lower[done..]);
    for (level, (a, b)) in levels[done..].iter_mut().zip(terms) {
        // As in `blend_portable`.
        let weighted = |sample: i16, weight: i16| ((i32::from(sample) * i32::from(weight)) >> 16) as i16;
        *level = ((weighted(*a, weights[0]) + weighted(*b, weights[1]) + 2) >> 2) as u8;
    }
}

/// Samples that portable code computes together.
const LANES: usize = 16;

/// As a function of its own, with a weight for each lane, this compiles to the instruction that
/// keeps the upper half of 16-bit products.
#[inline(never)]
fn blend_portable([upper, lower]: [&[i16]; 2], weights: &[[i16; LANES]; 2], samples: &mut [f32]) {
    // VResizeLinear<uchar, int, short>: rounds in two steps, to stay within 32 bits.
    let weighted = |sample: i16, weight: i16| ((i32::from(sample) * i32::from(weight)) >> 16) as i16;
    let lines = upper.chunks(LANES).zip(lower.chunks(LANES));
    for (samples, (upper, lower)) in samples.chunks_mut(LANES).zip(lines) {
        let terms = upper.iter().zip(lower).zip(weights[0].iter().zip(&weights[1]));
        for (sample, ((a, b), (weight_a, weight_b))) in samples.iter_mut().zip(terms) {
            let level = (weighted(*a, *weight_a) + weighted(*b, *weight_b) + 2) >> 2;
            *sample = f32::from(level) / 255.0;
        }
    }
}

/// AVX-512 with its byte permutations (VBMI), which Intel has had since Ice Lake and AMD since
/// Zen 4.
#[cfg(target_arch = "x86_64")]
mod avx512 {
    use std::arch::x86_64::*;

    use super::{Isa, LINE_SHIFT};

    /// Samples of a line computed together.
    const LANES: usize = 16;
    /// Bytes of the row that these may come from: two registers.
    const WINDOW: usize = 128;

    pub(super) fn runs(isa: Isa) -> bool {
        isa == Isa::Avx512
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512vl")
            && is_x86_feature_detected!("avx512vbmi")
    }

    /// The columns in groups of 16, each with its window of the row.
    #[derive(Debug)]
    pub(super) struct Windows(Vec<Window>);

    #[derive(Debug)]
    struct Window {
        /// The window's start in the row.
        begin: usize,
        /// Left and right neighbour of each column, relative to the start.
        neighbours: [[u8; 2]; LANES],
        weights: [[i16; 2]; LANES],
        columns: usize,
    }

    impl Windows {
        /// None where the instructions are missing or 16 columns do not fit into a window.
        pub(super) fn new(isa: Isa, left: &[u32], weights: &[[i16; 2]]) -> Option<Self> {
            if !runs(isa) {
                return None;
            }
            let window = |(left, weights): (&[u32], &[[i16; 2]])| {
                let begin = *left.iter().min()?;
                let mut window = Window {
                    begin: begin as usize,
                    neighbours: [[0; 2]; LANES],
                    weights: [[0; 2]; LANES],
                    columns: left.len(),
                };
                window.weights[..weights.len()].copy_from_slice(weights);
                for (neighbours, left) in window.neighbours.iter_mut().zip(left) {
                    let offset =
                        u8::try_from(left - begin).ok().filter(|offset| usize::from(*offset) + 1 < WINDOW)?;
                    *neighbours = [offset, offset + 1];
                }
                Some(window)
            };
            left.chunks(LANES).zip(weights.chunks(LANES)).map(window).collect::<Option<_>>().map(Self)
        }

        pub(super) fn interpolate(&self, row: &[u8], line: &mut [i16]) {
            for (window, line) in self.0.iter().zip(line.chunks_mut(LANES)) {
                // SAFETY: windows exist only where the instruction set was detected.
                unsafe { window.interpolate(&row[window.begin..], line) }
            }
        }
    }

    impl Window {
        #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vbmi")]
        fn interpolate(&self, row: &[u8], line: &mut [i16]) {
            let all = u16::MAX >> (LANES - self.columns);
            // SAFETY: masks exclude everything past the end of the row and of the line; the arrays
            // have the length of a register.
            unsafe {
                let part = |from: usize| {
                    let there = row.len().saturating_sub(from).min(64);
                    if there == 0 {
                        return _mm512_setzero_si512();
                    }
                    _mm512_maskz_loadu_epi8(u64::MAX >> (64 - there), row.as_ptr().add(from).cast())
                };
                let places = _mm256_loadu_si256(self.neighbours.as_ptr().cast());
                let pairs = _mm512_permutex2var_epi8(part(0), _mm512_castsi256_si512(places), part(64));
                let pairs = _mm512_cvtepu8_epi16(_mm512_castsi512_si256(pairs));
                let sums = _mm512_madd_epi16(pairs, _mm512_loadu_si512(self.weights.as_ptr().cast()));
                let sums = _mm512_cvtepi32_epi16(_mm512_srli_epi32::<LINE_SHIFT>(sums));
                _mm256_mask_storeu_epi16(line.as_mut_ptr(), all, sums);
            }
        }
    }

    /// 16 levels between two lines.
    ///
    /// # Safety
    /// Both are readable for 16 values.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vbmi")]
    unsafe fn between(lines: [*const i16; 2], [weight_upper, weight_lower]: [__m256i; 2]) -> __m256i {
        // SAFETY: this function's own contract.
        let [a, b] = lines.map(|line| unsafe { _mm256_loadu_si256(line.cast()) });
        let sum = _mm256_add_epi16(_mm256_mulhi_epi16(a, weight_upper), _mm256_mulhi_epi16(b, weight_lower));
        _mm256_srai_epi16::<2>(_mm256_add_epi16(sum, _mm256_set1_epi16(2)))
    }

    /// As [`blend`], to levels.
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vbmi")]
    pub(super) fn blend_levels([upper, lower]: [&[i16]; 2], weights: [i16; 2], levels: &mut [u8]) -> usize {
        let whole = levels.len() - levels.len() % LANES;
        let weights = weights.map(|weight| _mm256_set1_epi16(weight));
        for at in (0..whole).step_by(LANES) {
            // SAFETY: the three slices have the same length, and at least 16 values from `at` on.
            unsafe {
                let found = between([upper[at..].as_ptr(), lower[at..].as_ptr()], weights);
                _mm_storeu_si128(levels[at..].as_mut_ptr().cast(), _mm256_cvtepi16_epi8(found));
            }
        }
        whole
    }

    /// Blends as many samples as fill whole registers; returns their number.
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vbmi")]
    pub(super) fn blend([upper, lower]: [&[i16]; 2], weights: [i16; 2], samples: &mut [f32]) -> usize {
        let whole = samples.len() - samples.len() % LANES;
        let weights = weights.map(|weight| _mm256_set1_epi16(weight));
        let full = _mm512_set1_ps(255.0);
        for at in (0..whole).step_by(LANES) {
            // SAFETY: the three slices have the same length, and at least 16 values from `at` on.
            unsafe {
                let levels = between([upper[at..].as_ptr(), lower[at..].as_ptr()], weights);
                let levels = _mm512_cvtepi32_ps(_mm512_cvtepi16_epi32(levels));
                _mm512_storeu_ps(samples[at..].as_mut_ptr(), _mm512_div_ps(levels, full));
            }
        }
        whole
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Pseudo-random numbers: xorshift.
    fn noise(seed: u64) -> impl FnMut(u64) -> u64 {
        let mut state = seed | 1;
        move |below| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 16) % below
        }
    }

    #[test]
    fn every_path_computes_what_the_portable_one_does() {
        // Miri is some thousand times slower.
        for case in 0..if cfg!(miri) { 3 } else { 300 } {
            let mut random = noise(0x9E37_79B9 + case);
            let (width, columns) = (2 + random(900) as usize, 1 + random(500) as usize);
            let row: Vec<u8> = (0..width).map(|_| random(256) as u8).collect();
            // Columns in order, as when scaling, or at random.
            let taps: Vec<_> = (0..columns)
                .map(|column| {
                    let spread = if case % 8 == 0 {
                        random(width as u64 - 1)
                    } else {
                        (column * (width - 1) / columns) as u64
                    };
                    let weight = random(2049) as i16;
                    (spread as u32, [weight, 2048 - weight])
                })
                .collect();
            let weight = random(2049) as i16;
            let run = |isa: Isa| {
                let scaled = Columns::new(isa, width, taps.iter().copied());
                let (mut upper, mut lower, mut samples) =
                    (vec![0; columns], vec![0; columns], vec![0.0; columns]);
                scaled.interpolate(&row, &mut upper);
                let reversed: Vec<u8> = row.iter().rev().copied().collect();
                scaled.interpolate(&reversed, &mut lower);
                blend(isa, [&upper, &lower], [weight, 2048 - weight], &mut samples);
                let mut levels = vec![0; columns];
                blend_levels(isa, [&upper, &lower], [weight, 2048 - weight], &mut levels);
                let same = |(level, sample): (&u8, &f32)| f32::from(*level) / 255.0 == *sample;
                assert!(levels.iter().zip(&samples).all(same), "{}", isa.name());
                (upper, samples)
            };
            let expected = run(Isa::Portable);
            assert!(expected.1.iter().all(|sample| (0.0..=1.0).contains(sample)));
            for isa in Isa::available() {
                assert!(run(isa) == expected, "case {case}, {}", isa.name());
            }
        }
    }

    #[test]
    fn a_row_of_one_level_stays_that_level() {
        for isa in Isa::available() {
            for level in (0..=255).step_by(if cfg!(miri) { 51 } else { 1 }) {
                let columns = Columns::new(
                    isa,
                    40,
                    (0..39).map(|left| (left, [2048 - 50 * left as i16, 50 * left as i16])),
                );
                let (mut line, mut samples) = (vec![0; 39], vec![0.0; 39]);
                columns.interpolate(&[level; 40], &mut line);
                blend(isa, [&line, &line], [700, 1348], &mut samples);
                assert!(samples.iter().all(|sample| *sample == f32::from(level) / 255.0), "{level}");
            }
        }
    }
}
