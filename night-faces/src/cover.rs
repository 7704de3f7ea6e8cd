//! What may lie over the eyes: a sleep mask, a hand, or, harmless, glasses.

use crate::field::{Draw, Point, Relief, bump, mix, noise, rough, smoothstep};

/// A padded mask with its strap.
#[derive(Debug, Clone)]
pub(crate) struct SleepMask {
    tone: f32,
    height: f32,
    seed: u32,
}

impl SleepMask {
    pub(crate) fn random(draw: &mut Draw) -> Self {
        Self { tone: draw.range(0.10, 0.42), height: draw.range(0.50, 0.62), seed: draw.bits() }
    }

    pub(crate) fn paint(&self, p: Point, outline: f32, lamp: Point, below: f32) -> f32 {
        let x = p.x.abs();
        // Cut out over the nose, tapering to the strap at the temples.
        let top = -self.height - 0.06 + 0.22 * smoothstep(0.7, 1.2, x);
        let bottom = self.height * 0.95 - 0.42 * bump(x, 0.26) - 0.25 * smoothstep(0.8, 1.2, x);
        let inside = (p.y - top).min(bottom - p.y);
        let mut value = below;
        let strap = smoothstep(0.20, 0.16, (p.y + 0.02).abs())
            * smoothstep(1.0, 1.06, x)
            * smoothstep(1.16, 1.02, outline);
        value = mix(value, self.tone * 0.7, strap);
        let cloth = smoothstep(-0.025, 0.025, inside) * smoothstep(1.03, 0.97, outline);
        if cloth <= 0.0 && inside < -0.12 {
            return value;
        }
        value *= mix(1.0, 0.75, smoothstep(-0.12, 0.0, inside) * smoothstep(1.0, 0.9, outline));
        let mut relief = Relief { dx: 0.45 * p.x, dy: 0.25 * p.y };
        relief.add(0.14, Point::new(x - 0.5, p.y), Point::new(0.42, 0.38));
        relief.dx *= p.x.signum();
        let weave = rough(Point::new(p.x * 16.0, p.y * 16.0), self.seed);
        let seam = 1.0 - 0.4 * bump(inside - 0.07, 0.022);
        mix(value, self.tone * relief.lit(lamp) * (1.0 + 0.07 * weave) * seam, cloth)
    }
}

/// A hand laid over both eyes, fingers across.
#[derive(Debug, Clone)]
pub(crate) struct Hand {
    from: f32,
    tilt: f32,
    skin: f32,
    seed: u32,
}

/// Half a finger's thickness.
const FINGER: f32 = 0.215;

impl Hand {
    pub(crate) fn random(draw: &mut Draw, skin: f32) -> Self {
        let from = if draw.chance(0.5) { 1.0 } else { -1.0 };
        Self { from, tilt: draw.range(-0.10, 0.22), skin: skin * draw.range(0.96, 1.04), seed: draw.bits() }
    }

    pub(crate) fn paint(&self, p: Point, lamp: Point, below: f32) -> f32 {
        // x runs from the fingertips (-) to the wrist (+).
        let h = Point::new(p.x * self.from, p.y).turned(-self.tilt);
        let mut value = below;
        // Palm and forearm: one rounded body from beyond the temple outwards.
        let half = mix(0.80, 0.52, smoothstep(1.9, 3.2, h.x));
        let across = (h.y + 0.05) / half;
        let back = smoothstep(0.70, 0.86, h.x) * smoothstep(1.06, 0.97, across.abs());
        let pores = 1.0 + 0.03 * rough(Point::new(h.x * 8.0, h.y * 8.0), self.seed);
        if back > 0.0 {
            let tendons = 0.10 * libm::sinf(h.y * 13.5) * smoothstep(2.2, 1.0, h.x);
            let relief = Relief { dx: 0.1, dy: 0.75 * across * across * across + tendons };
            value = mix(value, self.skin * relief.lit(lamp) * pores, back);
        }
        for (finger, tip) in [-1.02_f32, -1.22, -1.16, -0.86].into_iter().enumerate() {
            let middle = (finger as f32 - 1.5) * (2.0 * FINGER - 0.035) - 0.05;
            let y = (h.y - middle) / FINGER;
            let end = (tip + FINGER - h.x).max(0.0) / FINGER;
            let r = (y * y + end * end).sqrt();
            if r > 1.6 || h.x > 1.25 {
                continue;
            }
            let on_hand = smoothstep(1.25, 0.85, h.x);
            value *= mix(1.0, 0.62, smoothstep(1.6, 0.95, r) * on_hand);
            let relief = Relief { dx: -0.9 * end, dy: 1.05 * y * y.abs().max(0.25) };
            let knuckles =
                bump(h.x - tip - 0.62, 0.05) + bump(h.x - tip - 0.54, 0.03) + bump(h.x - tip - 1.22, 0.06);
            let nail = Point::new((h.x - tip - 0.17) / 0.12, y / 0.62);
            let nail = smoothstep(1.1, 0.9, nail.x * nail.x + nail.y * nail.y);
            let crease = noise(Point::new(h.x * 22.0, h.y * 5.0), self.seed);
            let tone =
                self.skin * (1.0 - 0.16 * knuckles.min(1.0) * (0.7 + 0.4 * crease)) * (1.0 + 0.10 * nail);
            value = mix(value, tone * relief.lit(lamp) * pores, smoothstep(1.03, 0.95, r) * on_hand);
        }
        value
    }
}

/// Thin-framed glasses; the lenses let the infrared through.
#[derive(Debug, Clone)]
pub(crate) struct Glasses {
    size: Point,
    rim: f32,
    tone: f32,
    glare: f32,
}

impl Glasses {
    pub(crate) fn random(draw: &mut Draw) -> Self {
        Self {
            size: Point::new(draw.range(0.40, 0.44), draw.range(0.30, 0.37)),
            rim: draw.range(0.018, 0.034),
            tone: draw.range(0.05, 0.18),
            glare: draw.range(0.1, 0.5),
        }
    }

    /// `p` in the turned head's feature frame.
    pub(crate) fn paint(&self, p: Point, below: f32) -> f32 {
        let x = p.x.abs();
        let lens = Point::new((x - 0.5) / self.size.x, (p.y - 0.05) / self.size.y);
        let r = (lens.x * lens.x * lens.x.abs() + lens.y * lens.y * lens.y.abs()).max(1e-6);
        let distance = (libm::cbrtf(r) - 1.0) * self.size.y;
        let mut value = below;
        // A soft shadow under the rims, then a streak of mirrored light in the lens's outer upper
        // corner.
        value *= 1.0 - 0.16 * bump(distance - 0.07, 0.06) * smoothstep(-0.1, 0.3, lens.y);
        if distance < 0.0 {
            value = value * 0.97
                + self.glare * bump(lens.x - lens.y - 1.0, 0.13) * smoothstep(0.0, -0.10, distance);
        }
        let bridge = bump(p.y + 0.10 + 0.12 * bump(x, 0.1), self.rim * 1.2) * smoothstep(0.14, 0.10, x);
        let temple =
            bump(p.y + 0.08, self.rim * 1.2) * smoothstep(0.5 + self.size.x - 0.04, 0.5 + self.size.x, x);
        let frame = bump(distance, self.rim * 1.3).max(bridge).max(temple * smoothstep(1.25, 1.15, x));
        mix(value, self.tone, (1.5 * frame).min(1.0))
    }
}
