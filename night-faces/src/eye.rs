//! The eye: aperture, eyeball, pupil as an infrared camera sees it, lids and lashes.

use crate::field::{Draw, Point, bump, mix, noise, smoothstep};

/// Half an eye's width, in interocular distances: 30 mm of 62 mm between the pupils.
pub(crate) const HALF_WIDTH: f32 = 0.243;

/// How far lids, lashes and crease reach around the eye, in half widths.
const REACH: f32 = 1.7;

#[derive(Debug, Clone)]
pub(crate) struct Eye {
    pub(crate) centre: Point,
    /// -1 left in the picture, 1 right: the outer corner's side.
    pub(crate) side: f32,
    /// Outer corner higher (negative) or lower than the inner one, radians.
    pub(crate) tilt: f32,
    /// 0 closed, 1 wide open.
    pub(crate) opening: f32,
    pub(crate) gaze: Point,
    pub(crate) pupil_radius: f32,
    /// Light from the retina: 0 a black pupil, 1 a lamp. Strong when the lamp sits beside the lens.
    pub(crate) retro_reflection: f32,
    pub(crate) iris: f32,
    pub(crate) lashes: f32,
    pub(crate) crease: f32,
    pub(crate) seed: u32,
}

impl Eye {
    /// Two eyes of one person, both with this opening.
    pub(crate) fn pair(draw: &mut Draw) -> [Eye; 2] {
        let eye = Eye {
            centre: Point::new(0.5, 0.0),
            side: 1.0,
            tilt: draw.range(-0.13, 0.04),
            opening: draw.range(0.78, 1.12),
            gaze: Point::new(draw.range(-0.16, 0.16), draw.range(-0.12, 0.02)),
            pupil_radius: draw.range(0.16, 0.24),
            retro_reflection: draw.range(0.35, 1.0),
            iris: draw.range(0.26, 0.42),
            lashes: draw.range(0.55, 1.0),
            crease: draw.range(0.3, 1.0),
            seed: draw.bits(),
        };
        let mut left = eye.clone();
        left.centre.x = -eye.centre.x;
        left.side = -1.0;
        // Both eyes look the same way: the gaze is in the picture's frame, not the eye's.
        [left, eye]
    }

    /// The two corners, inner first.
    pub(crate) fn corners(&self) -> [Point; 2] {
        [-1.0, 1.0].map(|end| {
            let p = Point::new(end * HALF_WIDTH, 0.0).turned(self.tilt);
            Point::new(self.centre.x + p.x * self.side, self.centre.y + p.y)
        })
    }

    /// Brightness here, given what the skin would have and how strongly the lamp lights it.
    pub(crate) fn paint(&self, p: Point, skin: f32, light: f32) -> f32 {
        let frame = Point::new((p.x - self.centre.x) * self.side, p.y - self.centre.y).turned(-self.tilt);
        let (x, y) = (frame.x / HALF_WIDTH, frame.y / HALF_WIDTH);
        if x.abs() > REACH || y.abs() > REACH {
            return skin;
        }
        let arch = (1.0 - x * x).max(0.0);
        // The upper lid peaks towards the nose, the lower one towards the temple.
        let lower = arch * mix(0.20, 0.23, self.opening) * (1.0 + 0.22 * x);
        let highest = -arch.sqrt() * arch.sqrt().sqrt() * 0.47 * (1.0 - 0.16 * x);
        let upper = mix(lower, highest, self.opening);

        let mut value = self.lids(x, y, upper, lower, skin);
        let inside = smoothstep(upper - 0.03, upper + 0.03, y) * smoothstep(lower + 0.03, lower - 0.03, y);
        if inside > 0.0 && self.opening > 0.05 {
            value = mix(value, self.ball(x, y, upper, light), inside);
        }
        self.lash_line(x, y, upper, lower, value)
    }

    /// Skin around the aperture: the lid's bulge, the crease above it, the fold below.
    fn lids(&self, x: f32, y: f32, upper: f32, lower: f32, skin: f32) -> f32 {
        let wide = (1.0 - (x / 1.25) * (x / 1.25)).max(0.0);
        let crease_at = mix(-0.42, -0.70, self.opening) * wide.sqrt() - 0.03;
        let along = smoothstep(1.3, 0.9, x.abs());
        let mut value = skin;
        // A closed lid is a ball under thin skin: light on top, falling off to the lashes.
        let closed = 1.0 - self.opening.min(1.0);
        value *= 1.0 + 0.05 * closed * bump(y + 0.12, 0.32) * wide;
        value *= 1.0 - 0.10 * closed * bump(y - lower - 0.17, 0.18) * wide;
        let depth = mix(0.17, 0.30, self.opening.min(1.0)) * self.crease;
        value *= 1.0 - depth * along * bump(y - crease_at, mix(0.11, 0.075, self.opening.min(1.0)));
        value *= 1.0 + 0.06 * along * bump(y - crease_at + 0.17, 0.12);
        let gap = smoothstep(upper - 0.35, upper, y) * (1.0 - closed);
        value *= 1.0 - 0.10 * gap * along * smoothstep(lower + 0.2, lower, y);
        let bag = 0.50 * wide.sqrt() + 0.06;
        value * (1.0 - 0.10 * along * bump(y - bag, 0.10)) * (1.0 + 0.05 * along * bump(y - bag + 0.18, 0.12))
    }

    /// What is seen between the lids. In the near infrared the sclera is not white and the iris not
    /// dark.
    fn ball(&self, x: f32, y: f32, upper: f32, light: f32) -> f32 {
        let round = 1.0 - 0.34 * x * x - 0.10 * y * y;
        let mut value = 0.66 * light * round;
        // The tear duct in the inner corner.
        value = mix(value, 0.55 * light, bump(x + 0.93, 0.16));

        let (gx, gy) = (self.gaze.x * self.side, self.gaze.y - 0.03);
        let (dx, dy) = (x - gx, y - gy);
        let r = (dx * dx + dy * dy).sqrt();
        let spokes = noise(Point::new(libm::atan2f(dy, dx) * 9.0, r * 4.0), self.seed);
        let iris = self.iris * light * (1.0 + 0.22 * spokes) * mix(1.12, 0.62, smoothstep(0.24, 0.45, r));
        value = mix(value, iris, smoothstep(0.475, 0.415, r));
        let lamp = mix(0.06, 1.25, self.retro_reflection * self.retro_reflection);
        value = mix(value, lamp, smoothstep(self.pupil_radius + 0.035, self.pupil_radius - 0.035, r));
        // Light scattered around a bright pupil, and the lamp mirrored in the cornea.
        value += 0.22 * self.retro_reflection * bump(r, 0.34);
        // The lid's shadow lies on the ball.
        value *= mix(0.42, 1.0, smoothstep(upper, upper + 0.30, y));
        value + 1.3 * bump(x - gx * 0.7 - 0.07, 0.06) * bump(y - gy * 0.7 + 0.08, 0.06)
    }

    /// The dark lines on both lids' edges, with single lashes standing out from them.
    fn lash_line(&self, x: f32, y: f32, upper: f32, lower: f32, below: f32) -> f32 {
        let mut dark = 0.0_f32;
        let along = smoothstep(1.12, 0.92, x.abs());
        let thick = mix(0.075, 0.10, self.lashes) * (1.0 + 0.25 * x);
        dark = dark.max(0.88 * along * bump(y - upper + 0.02, thick));
        dark = dark.max(0.30 * along * bump(y - lower, 0.07));
        // Lashes of an open eye rise from the upper lid, of a closed one hang over the cheek; both
        // fan out.
        let (away, length) = if self.opening > 0.3 {
            (upper - y, mix(0.10, 0.30, self.lashes))
        } else {
            (y - upper, mix(0.14, 0.34, self.lashes))
        };
        if away > -0.03 && away < length && x.abs() < 1.15 {
            let fan = x * (1.0 - 0.45 * away);
            let comb = noise(Point::new(fan * 15.0, 0.3), self.seed ^ 0x1a5);
            let strand = smoothstep(-0.15, 0.55, comb) * smoothstep(length, 0.0, away);
            dark = dark.max(0.62 * self.lashes * strand * mix(0.55, 1.0, smoothstep(-1.0, 0.8, x)) * along);
        }
        below * (1.0 - dark) + 0.05 * dark
    }
}
