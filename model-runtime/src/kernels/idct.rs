//! The inverse DCT of JPEG, coefficients to samples: libjpeg's accurate integer transform
//! (`jidctint.c`, after Loeffler, Ligtenberg and Moschytz, 1989).
//!
//! Both forms give libjpeg-turbo's samples to the bit. One has intermediate values of 16 bits, the
//! other of 32: they differ only for coefficients so large that no encoder writes them. There the
//! first form follows libjpeg-turbo's vector code.

/// Samples of a block in each direction.
pub const BLOCK: usize = 8;

/// The level of a block without coefficients.
pub const NEUTRAL: u8 = 128;

/// The coefficients of a block, row by row.
#[derive(Clone, Copy, Debug)]
#[repr(align(16))]
pub struct Block(pub [i16; 64]);

/// The quantizer step of each coefficient, row by row.
pub type Quantization = [u16; 64];

/// Fraction bits of the constants.
const CONSTANT_BITS: i32 = 13;
/// Fraction bits kept between the two passes.
const PASS_BITS: i32 = 2;

const F_0_298: i32 = 2446;
const F_0_390: i32 = 3196;
const F_0_541: i32 = 4433;
const F_0_765: i32 = 6270;
const F_0_899: i32 = 7373;
const F_1_175: i32 = 9633;
const F_1_501: i32 = 12299;
const F_1_847: i32 = 15137;
const F_1_961: i32 = 16069;
const F_2_053: i32 = 16819;
const F_2_562: i32 = 20995;
const F_3_072: i32 = 25172;

/// Writes the samples of a block to `samples`, whose rows are `stride` apart. `last` is the index
/// of the last non-zero coefficient, 0 if there is only DC.
///
/// # Panics
/// If the samples do not fit.
#[inline]
pub fn block(block: &Block, steps: &Quantization, last: usize, samples: &mut [u8], stride: usize) {
    if last == 0 {
        // 16 bits also after the first pass, as in libjpeg-turbo's vector code.
        let dc = i32::from(block.0[0].wrapping_mul(steps[0] as i16) << PASS_BITS);
        let level = (((dc + (4 << PASS_BITS)) >> (3 + PASS_BITS)) + i32::from(NEUTRAL)).clamp(0, 255) as u8;
        for row in 0..BLOCK {
            samples[row * stride..][..BLOCK].fill(level);
        }
        return;
    }
    #[cfg(target_arch = "x86_64")]
    // SAFETY: every x86-64 has SSE2.
    let rows = unsafe { sse2::transform(block, steps) };
    #[cfg(not(target_arch = "x86_64"))]
    let rows = portable::transform(block, steps);
    for (row, levels) in rows.into_iter().enumerate() {
        samples[row * stride..][..BLOCK].copy_from_slice(&levels);
    }
}

/// The form for x86-64, with SSE2.
#[cfg(target_arch = "x86_64")]
mod sse2 {
    use std::arch::x86_64::*;

    use super::*;

    #[inline]
    #[target_feature(enable = "sse2")]
    pub(super) fn transform(block: &Block, steps: &Quantization) -> [[u8; BLOCK]; BLOCK] {
        let (coefficients, steps) = (block.0.as_chunks::<8>().0, steps.as_chunks::<8>().0);
        let rows = std::array::from_fn(|row| {
            let [a, b, c, d, e, f, g, h] = coefficients[row];
            let coefficients = _mm_setr_epi16(a, b, c, d, e, f, g, h);
            let [a, b, c, d, e, f, g, h] = steps[row].map(|step| step as i16);
            _mm_mullo_epi16(coefficients, _mm_setr_epi16(a, b, c, d, e, f, g, h))
        });
        let columns = transpose(first_pass(rows, block));
        let rows = transpose(pass::<{ CONSTANT_BITS + PASS_BITS + 3 }>(columns));
        let neutral = _mm_set1_epi8(i8::MIN);
        let mut samples = [[0; BLOCK]; BLOCK];
        for (pair, levels) in samples.as_chunks_mut::<2>().0.iter_mut().zip(rows.as_chunks::<2>().0) {
            let levels = _mm_add_epi8(_mm_packs_epi16(levels[0], levels[1]), neutral);
            pair[0] = _mm_cvtsi128_si64(levels).to_le_bytes();
            pair[1] = _mm_cvtsi128_si64(_mm_unpackhi_epi64(levels, levels)).to_le_bytes();
        }
        samples
    }

    /// The transform of the columns. In libjpeg-turbo, columns with DC alone wrap where others
    /// saturate. The difference appears only above 8,191, which 8-bit samples never reach.
    /// Coefficients count as they are in the file, `block`: a step of zero takes none away.
    #[inline]
    #[target_feature(enable = "sse2")]
    fn first_pass(rows: [__m128i; 8], block: &Block) -> [__m128i; 8] {
        let shifted = _mm_slli_epi16::<PASS_BITS>(rows[0]);
        let whole = _mm_cmpeq_epi16(_mm_srai_epi16::<PASS_BITS>(shifted), rows[0]);
        if _mm_movemask_epi8(whole) != 0xFFFF && block.0[BLOCK..].iter().all(|ac| *ac == 0) {
            return [shifted; 8];
        }
        pass::<{ CONSTANT_BITS - PASS_BITS }>(rows)
    }

    /// a·x + b·y for eight pairs, in two halves.
    #[inline]
    #[target_feature(enable = "sse2")]
    fn products((low, high): (__m128i, __m128i), a: i32, b: i32) -> [__m128i; 2] {
        let factors = _mm_set1_epi32(a & 0xFFFF | b << 16);
        [_mm_madd_epi16(low, factors), _mm_madd_epi16(high, factors)]
    }

    #[inline]
    #[target_feature(enable = "sse2")]
    fn pairs(x: __m128i, y: __m128i) -> (__m128i, __m128i) {
        (_mm_unpacklo_epi16(x, y), _mm_unpackhi_epi16(x, y))
    }

    #[inline]
    #[target_feature(enable = "sse2")]
    fn add([a, b]: [__m128i; 2], [c, d]: [__m128i; 2]) -> [__m128i; 2] {
        [_mm_add_epi32(a, c), _mm_add_epi32(b, d)]
    }

    #[inline]
    #[target_feature(enable = "sse2")]
    fn sub([a, b]: [__m128i; 2], [c, d]: [__m128i; 2]) -> [__m128i; 2] {
        [_mm_sub_epi32(a, c), _mm_sub_epi32(b, d)]
    }

    /// Eight transforms at once, rounded by `SHIFT` bits.
    #[inline]
    #[target_feature(enable = "sse2")]
    fn pass<const SHIFT: i32>(inputs: [__m128i; 8]) -> [__m128i; 8] {
        let [x0, x1, x2, x3, x4, x5, x6, x7] = inputs;
        let outer = pairs(x2, x6);
        let e3 = products(outer, F_0_541 + F_0_765, F_0_541);
        let e2 = products(outer, F_0_541, F_0_541 - F_1_847);
        // 16-bit values shifted up by CONSTANT_BITS: into the upper half, and down again.
        let scaled = |value| {
            let zero = _mm_setzero_si128();
            [_mm_unpacklo_epi16(zero, value), _mm_unpackhi_epi16(zero, value)]
                .map(|value| _mm_srai_epi32::<{ 16 - CONSTANT_BITS }>(value))
        };
        let (e0, e1) = (scaled(_mm_add_epi16(x0, x4)), scaled(_mm_sub_epi16(x0, x4)));
        let (even0, even3) = (add(e0, e3), sub(e0, e3));
        let (even1, even2) = (add(e1, e2), sub(e1, e2));

        let sums = pairs(_mm_add_epi16(x7, x3), _mm_add_epi16(x5, x1));
        let z3 = products(sums, F_1_175 - F_1_961, F_1_175);
        let z4 = products(sums, F_1_175, F_1_175 - F_0_390);
        let (outer, inner) = (pairs(x7, x1), pairs(x5, x3));
        let odd3 = add(products(outer, F_0_298 - F_0_899, -F_0_899), z3);
        let odd0 = add(products(outer, -F_0_899, F_1_501 - F_0_899), z4);
        let odd2 = add(products(inner, F_2_053 - F_2_562, -F_2_562), z4);
        let odd1 = add(products(inner, -F_2_562, F_3_072 - F_2_562), z3);

        let rounding = _mm_set1_epi32(1 << (SHIFT - 1));
        let rounded = |[low, high]: [__m128i; 2]| {
            let low = _mm_srai_epi32::<SHIFT>(_mm_add_epi32(low, rounding));
            let high = _mm_srai_epi32::<SHIFT>(_mm_add_epi32(high, rounding));
            _mm_packs_epi32(low, high)
        };
        [
            rounded(add(even0, odd0)),
            rounded(add(even1, odd1)),
            rounded(add(even2, odd2)),
            rounded(add(even3, odd3)),
            rounded(sub(even3, odd3)),
            rounded(sub(even2, odd2)),
            rounded(sub(even1, odd1)),
            rounded(sub(even0, odd0)),
        ]
    }

    #[inline]
    #[target_feature(enable = "sse2")]
    fn transpose(rows: [__m128i; 8]) -> [__m128i; 8] {
        let [a, b, c, d, e, f, g, h] = rows;
        let (ab, cd) = (pairs(a, b), pairs(c, d));
        let (ef, gh) = (pairs(e, f), pairs(g, h));
        let quads = |x, y| (_mm_unpacklo_epi32(x, y), _mm_unpackhi_epi32(x, y));
        let (top01, top23) = quads(ab.0, cd.0);
        let (top45, top67) = quads(ab.1, cd.1);
        let (low01, low23) = quads(ef.0, gh.0);
        let (low45, low67) = quads(ef.1, gh.1);
        [
            _mm_unpacklo_epi64(top01, low01),
            _mm_unpackhi_epi64(top01, low01),
            _mm_unpacklo_epi64(top23, low23),
            _mm_unpackhi_epi64(top23, low23),
            _mm_unpacklo_epi64(top45, low45),
            _mm_unpackhi_epi64(top45, low45),
            _mm_unpacklo_epi64(top67, low67),
            _mm_unpackhi_epi64(top67, low67),
        ]
    }
}

/// The portable form.
#[cfg(any(test, not(target_arch = "x86_64")))]
mod portable {
    use super::*;

    pub(super) fn transform(block: &Block, steps: &Quantization) -> [[u8; BLOCK]; BLOCK] {
        let rows = std::array::from_fn(|row| {
            std::array::from_fn(|column| {
                let at = row * BLOCK + column;
                i32::from(block.0[at].wrapping_mul(steps[at] as i16))
            })
        });
        let columns = transpose(pass(rows, CONSTANT_BITS - PASS_BITS));
        let rows = transpose(pass(columns, CONSTANT_BITS + PASS_BITS + 3));
        rows.map(|row| row.map(|level| (level + i32::from(NEUTRAL)).clamp(0, 255) as u8))
    }

    fn transpose(rows: [[i32; BLOCK]; BLOCK]) -> [[i32; BLOCK]; BLOCK] {
        std::array::from_fn(|column| std::array::from_fn(|row| rows[row][column]))
    }

    /// One transform in each lane.
    fn pass(inputs: [[i32; BLOCK]; BLOCK], shift: i32) -> [[i32; BLOCK]; BLOCK] {
        let mut outputs = [[0; BLOCK]; BLOCK];
        for lane in 0..BLOCK {
            let [x0, x1, x2, x3, x4, x5, x6, x7] = inputs.map(|row| row[lane]);
            let of_two = |of_x2: i32, of_x6: i32| x2.wrapping_mul(of_x2).wrapping_add(x6.wrapping_mul(of_x6));
            let (e3, e2) = (of_two(F_0_541 + F_0_765, F_0_541), of_two(F_0_541, F_0_541 - F_1_847));
            let (e0, e1) = ((x0 + x4) << CONSTANT_BITS, (x0 - x4) << CONSTANT_BITS);
            let (even0, even3) = (e0.wrapping_add(e3), e0.wrapping_sub(e3));
            let (even1, even2) = (e1.wrapping_add(e2), e1.wrapping_sub(e2));
            let z5 = (x7 + x3).wrapping_add(x5 + x1).wrapping_mul(F_1_175);
            let z3 = (x7 + x3).wrapping_mul(-F_1_961).wrapping_add(z5);
            let z4 = (x5 + x1).wrapping_mul(-F_0_390).wrapping_add(z5);
            let (z1, z2) = ((x7 + x1).wrapping_mul(-F_0_899), (x5 + x3).wrapping_mul(-F_2_562));
            let sum =
                |x: i32, factor: i32, a: i32, b: i32| x.wrapping_mul(factor).wrapping_add(a).wrapping_add(b);
            let odd3 = sum(x7, F_0_298, z1, z3);
            let odd2 = sum(x5, F_2_053, z2, z4);
            let odd1 = sum(x3, F_3_072, z2, z3);
            let odd0 = sum(x1, F_1_501, z1, z4);
            let results = [(even0, odd0), (even1, odd1), (even2, odd2), (even3, odd3)];
            let rounded = |value: i32| value.wrapping_add(1 << (shift - 1)) >> shift;
            for (at, (even, odd)) in results.into_iter().enumerate() {
                outputs[at][lane] = rounded(even.wrapping_add(odd));
                outputs[BLOCK - 1 - at][lane] = rounded(even.wrapping_sub(odd));
            }
        }
        outputs
    }
}

#[cfg(all(test, target_arch = "x86_64"))]
mod tests {
    use super::*;

    /// As libjpeg-turbo 2.1.5 decodes such files, found by comparing with it on damaged ones.
    #[test]
    fn dc_over_its_range_loses_its_upper_bits() {
        let (mut coefficients, mut steps) = (Block([0; 64]), [1; 64]);
        // 2047 · 16 · 4 is -64 in 16 bits, and -64 / 32 two levels below the neutral one.
        (coefficients.0[0], steps[0]) = (2047, 16);
        let mut samples = [0; 64];
        block(&coefficients, &steps, 0, &mut samples, BLOCK);
        assert_eq!(samples, [NEUTRAL - 2; 64]);
        // A coefficient that dequantizes to zero still selects the full transform, with the same
        // result.
        (coefficients.0[1], steps[1]) = (1, 0);
        block(&coefficients, &steps, 1, &mut samples, BLOCK);
        assert_eq!(samples, [NEUTRAL - 2; 64]);
        // In a column it does so with another one: the sum saturates.
        (coefficients.0[BLOCK], steps[BLOCK]) = (1, 0);
        block(&coefficients, &steps, BLOCK, &mut samples, BLOCK);
        assert_eq!(samples, [u8::MAX; 64]);
    }

    #[test]
    fn both_forms_give_the_same_samples() {
        let mut seed = 1u32;
        let mut random = move |below: u32| {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (seed >> 8) % below
        };
        // Miri is some thousand times slower.
        let rounds = if cfg!(miri) { 12 } else { 2_000 };
        for round in 0..rounds {
            // Few or many coefficients, small or as large as 8-bit samples give.
            let (count, most) = (1 + random(64), [4, 64, 1024][round % 3]);
            let mut block = Block([0; 64]);
            for _ in 0..count {
                block.0[random(64) as usize] = random(2 * most) as i16 - most as i16;
            }
            let steps = [1; 64];
            // SAFETY: every x86-64 has SSE2.
            let vectors = unsafe { sse2::transform(&block, &steps) };
            assert_eq!(vectors, portable::transform(&block, &steps), "{block:?}");
        }
    }
}
