//! SiLU's constants, shared by every instruction set: x · σ(x) with σ(x) = 1/(1 + 2^t), t = -x·log2
//! e.
//!
//! Relative error below (4 + |x|) · 2⁻²³, tested on every path; in absolute terms never more than
//! 1e-6 · |x|.

pub(crate) const MINUS_LOG2_E: f32 = -std::f32::consts::LOG2_E;
/// t is clamped here: 2^126 is the largest power whose reciprocal is still a normal number.
pub(crate) const MAX_EXPONENT: f32 = 126.0;
/// 2^f on [-0.5, 0.5] as 1 + c1·f + … + c5·f⁵: minimax in relative error, which is 9.2e-8 before
/// rounding.
#[allow(clippy::approx_constant)] // close to ln 2, and meant to differ from it
pub(crate) const EXP2: [f32; 5] = [0.693_147, 0.240_222_42, 0.055_507_336, 0.009_671_513, 0.001_326_472_7];

/// One value, in plain Rust; the portable kernel applies it to each lane.
#[inline(always)]
pub(crate) fn scalar(x: f32) -> f32 {
    let t = (x * MINUS_LOG2_E).clamp(-MAX_EXPONENT, MAX_EXPONENT);
    // Rounds to the nearest integer without a library call: adding 1.5·2²³ pushes the fraction out.
    const ROUND: f32 = 12_582_912.0;
    let n = (t + ROUND) - ROUND;
    let f = t - n;
    let [c1, c2, c3, c4, c5] = EXP2;
    let p = ((((c5 * f + c4) * f + c3) * f + c2) * f + c1) * f + 1.0;
    // NaN becomes 0 in the cast; it still reaches the result through `p`.
    let power = p * f32::from_bits(((n as i32 + 127) as u32) << 23);
    x / (1.0 + power)
}
