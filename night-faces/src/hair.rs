//! Hair: what lies behind the head, and the hairline in front of it.

use crate::field::{Draw, Point, mix, noise, rough, smoothstep};

#[derive(Debug, Clone)]
pub(crate) struct Hair {
    /// How far it stands off the skull, in interocular distances.
    volume: f32,
    /// How far down the sides it falls; under the ears for long hair.
    length: f32,
    hairline: f32,
    fringe: f32,
    tone: f32,
    seed: u32,
}

impl Hair {
    pub(crate) fn random(draw: &mut Draw) -> Self {
        let long = draw.chance(0.45);
        Self {
            volume: draw.range(0.08, 0.24),
            length: if long { draw.range(1.3, 2.4) } else { draw.range(-0.1, 0.2) },
            hairline: draw.range(-1.32, -1.02),
            fringe: if draw.chance(0.3) { draw.range(0.15, 0.38) } else { 0.0 },
            tone: draw.range(0.16, 0.50),
            seed: draw.bits(),
        }
    }

    /// Strands fan out from the face over the skull and hang down beside it.
    fn strand(&self, p: Point) -> f32 {
        let above = -0.45 - p.y;
        let rise = 0.12 + 0.5 * (above + (above * above + 0.5).sqrt());
        let sway = 0.10 * noise(Point::new(p.x * 1.3, p.y * 1.3), self.seed ^ 0x21);
        let angle = libm::atan2f(p.x + sway, rise);
        let along = p.y + 0.4 * p.x.abs();
        // Across the strands the noise is fine, along them it is coarse.
        let fine = noise(Point::new(angle * 46.0, along * 2.4), self.seed);
        let locks = noise(Point::new(angle * 13.0, along * 1.1), self.seed ^ 0x77);
        let masses = noise(Point::new(angle * 3.0, along * 1.6), self.seed ^ 0x78);
        self.tone * (1.0 + 0.20 * fine + 0.20 * locks + 0.20 * masses)
    }

    pub(crate) fn paint_behind(&self, p: Point, outline: f32, below: f32) -> f32 {
        let wave = 0.10 * noise(Point::new(p.x * 2.2, p.y * 2.2), self.seed ^ 0x3c);
        let cap = smoothstep(0.05, -0.05, outline.sqrt() - 1.0 - self.volume - wave);
        let above = smoothstep(self.length + 0.1, self.length - 0.2, p.y + 2.0 * wave);
        let edge = 1.15 + self.volume + 1.6 * wave - 0.10 * p.y;
        let curtain = smoothstep(edge + 0.05, edge - 0.05, p.x.abs()) * smoothstep(-0.9, -0.4, p.y);
        let covered = cap.max(curtain) * above;
        if covered > 0.0 { mix(below, self.strand(p) * 0.82, covered) } else { below }
    }

    pub(crate) fn paint_front(&self, p: Point, feature: Point, outline: f32, below: f32, light: f32) -> f32 {
        let jag = 0.05 * rough(Point::new(feature.x * 7.0, feature.y * 1.5), self.seed ^ 0x5e)
            + 0.09 * noise(Point::new(feature.x * 2.1, 0.7), self.seed ^ 0x5f);
        let temples = 0.62 * feature.x * feature.x * feature.x.abs();
        let line = self.hairline + self.fringe + temples + jag;
        let hairy = smoothstep(line + 0.06, line - 0.12, feature.y);
        let sideburn = smoothstep(0.90, 1.0, outline) * smoothstep(self.length.min(0.45) + 0.1, -0.3, p.y);
        let covered = hairy.max(0.85 * sideburn);
        if covered > 0.0 {
            // Without its own relief: hair scatters light more evenly than skin.
            mix(below, self.strand(p) * mix(0.65, 1.12, light), covered)
        } else {
            below
        }
    }
}
