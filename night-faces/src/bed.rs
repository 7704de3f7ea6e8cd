//! What the head lies on: room, sheet, pillow and blanket. Coordinates as for the face, turned with
//! the bed.

use crate::field::{Draw, Point, Relief, mix, noise, rough, smoothstep};

#[derive(Debug, Clone)]
pub(crate) struct Bed {
    /// The bed against the head's own axis: a sleeper's neck bends.
    turn: f32,
    floor: f32,
    sheet: f32,
    pillow: f32,
    blanket: f32,
    half_width: f32,
    pillow_size: Point,
    blanket_edge: f32,
    stripes: f32,
    wrinkles: f32,
    seed: u32,
}

impl Bed {
    pub(crate) fn random(draw: &mut Draw) -> Self {
        Self {
            turn: draw.range(-0.35, 0.35),
            floor: draw.range(0.03, 0.10),
            sheet: draw.range(0.22, 0.38),
            pillow: draw.range(0.34, 0.56),
            blanket: draw.range(0.18, 0.46),
            half_width: draw.range(3.6, 6.0),
            pillow_size: Point::new(draw.range(2.6, 3.4), draw.range(1.9, 2.5)),
            blanket_edge: draw.range(2.05, 2.6),
            stripes: if draw.chance(0.4) { draw.range(0.10, 0.35) } else { 0.0 },
            wrinkles: draw.range(0.5, 1.2),
            seed: draw.bits(),
        }
    }

    /// A blanket that ends this far under the eyes (above them when negative).
    pub(crate) fn with_blanket_at(mut self, edge: f32) -> Self {
        self.blanket_edge = edge;
        self.turn *= 0.4;
        self
    }

    fn cloth(&self, p: Point, lamp: Point, scale: f32, depth: f32, seed: u32) -> f32 {
        const STEP: f32 = 0.05;
        // Creases run together: the noise is stretched and bent along one direction.
        let bent = |x: f32, y: f32| {
            let sway = 0.6 * noise(Point::new(x * 0.5, y * 0.5), seed ^ 0x11);
            rough(Point::new((x + 0.6 * y + sway) * scale, (y - 0.3 * x + sway) * scale * 0.4), seed)
        };
        let here = bent(p.x, p.y);
        let relief = Relief {
            dx: depth * (bent(p.x + STEP, p.y) - here) / STEP,
            dy: depth * (bent(p.x, p.y + STEP) - here) / STEP,
        };
        relief.lit(lamp) * (1.0 + 0.10 * here)
    }

    /// Everything under the head. `head` is the head's outline measure here, none for an empty bed.
    pub(crate) fn paint_under(&self, p: Point, lamp: Point, head: Option<f32>) -> f32 {
        let b = p.turned(-self.turn);
        let mut value = self.floor * (1.0 + 0.5 * noise(Point::new(b.x * 0.6, b.y * 0.6), self.seed));
        let edge = smoothstep(self.half_width + 0.05, self.half_width - 0.25, b.x.abs());
        let bed = edge * smoothstep(-3.9, -3.7, b.y);
        let (x, y) = (b.x / self.pillow_size.x, (b.y + 0.35) / self.pillow_size.y);
        let sag = 0.16 * noise(Point::new(b.x * 0.9, b.y * 0.9), self.seed ^ 6);
        let r = x * x * x * x + y * y * y * y + sag;
        if bed > 0.0 && r > 0.96 {
            value =
                mix(value, self.sheet * self.cloth(b, lamp, 0.9, 0.10 * self.wrinkles, self.seed ^ 1), bed);
        }
        if r < 1.3 {
            let round = Relief { dx: 0.9 * x * x * x, dy: 0.9 * y * y * y };
            let tone =
                self.pillow * round.lit(lamp) * self.cloth(b, lamp, 1.3, 0.16 * self.wrinkles, self.seed ^ 2);
            let seam = 1.0 - 0.25 * smoothstep(0.06, 0.0, (r - 0.93).abs());
            value =
                mix(value * mix(0.55, 1.0, smoothstep(0.98, 1.3, r)), tone * seam, smoothstep(1.02, 0.97, r));
        }
        match head {
            // The dent the head makes keeps light out.
            Some(outline) => value * mix(0.42, 1.0, smoothstep(1.0, 2.0, outline.sqrt())),
            None => value * (1.0 - 0.12 * smoothstep(0.7, 0.2, r)),
        }
    }

    /// The blanket, over whatever it covers.
    pub(crate) fn paint_blanket(&self, p: Point, lamp: Point, below: f32) -> f32 {
        let b = p.turned(-self.turn);
        let edge =
            self.blanket_edge + 0.16 * noise(Point::new(b.x * 0.8, 0.2), self.seed ^ 3) - 0.03 * b.x * b.x;
        // It hangs over the mattress a little, and ends.
        let side =
            self.half_width + 0.25 + 0.15 * noise(Point::new(b.y * 0.7, 4.2), self.seed ^ 3) - b.x.abs();
        let inside = (b.y - edge).min(side);
        if inside < -0.35 {
            return below;
        }
        let shadow = mix(1.0, 0.45, smoothstep(-0.35, 0.0, inside));
        let ripple = noise(Point::new(b.x * 1.1, b.y * 1.1), self.seed ^ 4);
        let stripe = smoothstep(-0.2, 0.2, libm::sinf((b.y + 0.25 * ripple) * 5.2));
        let tone = self.blanket * (1.0 - self.stripes * stripe);
        let fabric = tone * self.cloth(b, lamp, 0.75, 0.34 * self.wrinkles, self.seed ^ 5);
        let hem =
            1.0 + 0.22 * smoothstep(0.16, 0.05, inside) - 0.30 * smoothstep(0.05, 0.0, (inside - 0.2).abs());
        mix(below * shadow, fabric * hem, smoothstep(-0.03, 0.03, inside))
    }
}
