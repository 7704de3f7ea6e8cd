//! The face without its eyes: head shape, nose, mouth, brows, ears and neck, lit from beside the
//! lens.
//!
//! Coordinates: the middle between the eyes is the origin, the distance between the pupils the
//! unit, x to the right of the picture, y to the chin.

use crate::field::{Draw, Point, Relief, bump, mix, noise, rough, smoothstep};

#[derive(Debug, Clone)]
pub(crate) struct Face {
    pub(crate) skin: f32,
    width: f32,
    jaw: f32,
    chin: f32,
    crown: f32,
    nose_width: f32,
    nose_length: f32,
    mouth: Point,
    mouth_width: f32,
    lips: f32,
    smile: f32,
    brow_height: f32,
    brow_dark: f32,
    brow_thick: f32,
    stubble: f32,
    age: f32,
    seed: u32,
}

impl Face {
    pub(crate) fn random(draw: &mut Draw) -> Self {
        Self {
            skin: draw.range(0.62, 0.80),
            width: draw.range(1.10, 1.22),
            jaw: draw.range(0.17, 0.31),
            chin: draw.range(1.74, 1.90),
            crown: draw.range(1.75, 1.95),
            nose_width: draw.range(0.85, 1.18),
            nose_length: draw.range(0.64, 0.76),
            mouth: Point::new(0.0, draw.range(1.13, 1.23)),
            mouth_width: draw.range(0.36, 0.47),
            lips: draw.range(0.6, 1.2),
            smile: draw.range(0.0, 0.09),
            brow_height: draw.range(0.33, 0.42),
            brow_dark: draw.range(0.25, 0.62),
            brow_thick: draw.range(0.05, 0.095),
            stubble: if draw.chance(0.3) { draw.range(0.05, 0.22) } else { 0.0 },
            age: draw.range(0.0, 1.0),
            seed: draw.bits(),
        }
    }

    /// 0 in the middle of the head, 1 on its outline.
    pub(crate) fn outline(&self, p: Point) -> f32 {
        let narrowing = self.jaw * smoothstep(0.15, 1.75, p.y) + 0.10 * smoothstep(-0.5, -1.6, p.y);
        let x = p.x / (self.width * (1.0 - narrowing));
        let y = (p.y / if p.y > 0.0 { self.chin } else { self.crown }).abs();
        x * x + y * y * mix(y.sqrt(), y, smoothstep(-0.2, 0.6, p.y))
    }

    /// Ears and neck, to be painted before the head.
    pub(crate) fn paint_behind(&self, p: Point, below: f32, lamp: Point) -> f32 {
        let neck = p.x.abs() / (0.70 - 0.04 * smoothstep(1.0, 1.8, p.y) + 1.6 * smoothstep(1.95, 2.9, p.y));
        let mut value = below;
        if p.y > 0.8 && neck < 1.05 {
            let relief = Relief { dx: 1.1 * p.x * neck, dy: 0.25 };
            let chin_shadow = mix(0.55, 1.0, smoothstep(1.5, 2.5, p.y));
            value =
                mix(value, 0.92 * self.skin * relief.lit(lamp) * chin_shadow, smoothstep(1.04, 0.96, neck));
        }
        let ear = Point::new((p.x.abs() - self.width + 0.03) / 0.15, (p.y - 0.30) / 0.33);
        let r = (ear.x * ear.x + ear.y * ear.y).sqrt();
        if r < 1.1 {
            let fold = 1.0 - 0.35 * bump(r - 0.62, 0.16) - 0.25 * bump(r, 0.3);
            value = mix(value, 0.80 * self.skin * fold, smoothstep(1.06, 0.94, r));
        }
        value
    }

    /// The head's skin here: brightness and how strongly the lamp lights it. `feature` is `p` as
    /// the turned head shows it: the outline stays, what lies inside moves.
    pub(crate) fn paint(&self, p: Point, feature: Point, lamp: Point) -> (f32, f32) {
        const STEP: f32 = 0.01;
        // The skull's height is DEPTH * sqrt(1 - outline); near the rim its slope is held finite.
        const DEPTH: f32 = 0.92;
        let here = self.outline(p);
        let fall = -0.5 * DEPTH / (1.0 - here).max(0.03).sqrt();
        let mut relief = Relief {
            dx: fall * (self.outline(Point::new(p.x + STEP, p.y)) - here) / STEP,
            dy: fall * (self.outline(Point::new(p.x, p.y + STEP)) - here) / STEP,
        };
        self.features(feature, &mut relief);
        let light = relief.lit(lamp);
        let pores = rough(Point::new(feature.x * 9.0, feature.y * 9.0), self.seed);
        let blotches = noise(Point::new(feature.x * 1.7, feature.y * 1.7), self.seed ^ 7);
        let tone = self.skin * (1.0 + 0.022 * pores + 0.035 * blotches) * self.marks(feature);
        // Grease on forehead, nose and cheeks mirrors the lamp.
        let shine = light * light * light * light;
        (tone * light + 0.10 * shine * shine, light)
    }

    fn features(&self, f: Point, relief: &mut Relief) {
        let s = Point::new;
        for side in [-1.0, 1.0] {
            let at = |x: f32, y: f32| Point::new(f.x - side * x, f.y - y);
            relief.add(0.06, at(0.42, -0.36), s(0.36, 0.13));
            relief.add(-0.13, at(0.42, -0.02), s(0.30, 0.20));
            relief.add(0.065, at(0.50, 0.0), s(0.22, 0.17));
            relief.add(-0.05, at(0.22, 0.02), s(0.12, 0.18));
            relief.add(0.10, at(0.68, 0.50), s(0.38, 0.30));
            relief.add(-0.07, at(0.74, 1.0), s(0.26, 0.36));
            relief.add(0.055, at(0.20 * self.nose_width, self.nose_length + 0.04), s(0.10, 0.10));
            relief.add(-0.03, at(0.38, 0.95), s(0.12, 0.24));
            relief.add(-0.03, at(self.mouth_width + 0.05, self.mouth.y), s(0.13, 0.12));
        }
        let at = |y: f32| Point::new(f.x, f.y - y);
        let nose = self.nose_width;
        relief.add(0.07, at(0.10), s(0.14 * nose, 0.28));
        relief.add(0.10, at(self.nose_length - 0.22), s(0.19 * nose, 0.30));
        relief.add(0.10, at(self.nose_length), s(0.20 * nose, 0.15));
        relief.add(0.05, at(-0.95), s(0.7, 0.40));
        relief.add(0.06 * self.lips, at(self.mouth.y - 0.09), s(0.30, 0.07));
        relief.add(0.09 * self.lips, at(self.mouth.y + 0.11), s(0.26, 0.08));
        relief.add(-0.07, at(self.mouth.y + 0.27), s(0.24, 0.08));
        relief.add(0.10, at(self.chin - 0.30), s(0.27, 0.17));
    }

    /// What is darker than skin in any light: brows, nostrils, lips, mouth line, folds,
    /// stubble.
    fn marks(&self, f: Point) -> f32 {
        let x = f.x.abs();
        let mut tone = 1.0;
        // Brows: a band of hairs, thick towards the nose, rising and thinning outwards.
        let t = (x - 0.22) / 0.58;
        if (-0.15..1.15).contains(&t) {
            let middle = -self.brow_height - 0.10 * bump(t - 0.62, 0.5) + 0.07 * t * t;
            let thick = self.brow_thick * mix(1.25, 0.55, t.clamp(0.0, 1.0));
            let hairs = noise(Point::new(x * 40.0 - f.y * 26.0, f.y * 12.0 + x * 6.0), self.seed ^ 0xb0);
            let ends = smoothstep(-0.10, 0.10, t) * smoothstep(1.08, 0.80, t);
            tone *= 1.0 - self.brow_dark * ends * bump(f.y - middle, thick * 1.3) * (0.80 + 0.35 * hairs);
        }
        let nostril =
            Point::new((x - 0.115 * self.nose_width) / 0.055, (f.y - self.nose_length - 0.125) / 0.030);
        tone *= 1.0 - 0.40 * bump((nostril.x * nostril.x + nostril.y * nostril.y).sqrt(), 1.0);
        let wing = Point::new((x - 0.21 * self.nose_width) / 0.085, (f.y - self.nose_length - 0.05) / 0.095);
        let rim = bump((wing.x * wing.x + wing.y * wing.y).sqrt() - 1.0, 0.28) * smoothstep(0.1, 0.7, wing.x);
        tone *= 1.0 - 0.14 * rim;
        tone *= 1.0
            - 0.06
                * bump(x, 0.035)
                * smoothstep(0.20, 0.26, f.y - self.nose_length)
                * smoothstep(-0.06, -0.12, f.y - self.mouth.y);

        let m = x / self.mouth_width;
        let line = self.mouth.y - self.smile * m * m + 0.018 * bump(m, 0.3);
        let lips = smoothstep(1.05, 0.75, m);
        let upper = bump(f.y - line + 0.05, 0.075) * self.lips.min(1.0);
        let lower = bump(f.y - line - 0.07, 0.085);
        tone *= 1.0 - 0.20 * lips * upper - 0.13 * lips * lower;
        tone *= 1.0 - 0.55 * smoothstep(1.08, 0.6, m) * bump(f.y - line, 0.026);

        let fold = x - 0.30 - 0.22 * smoothstep(0.6, 1.25, f.y);
        tone *= 1.0
            - mix(0.05, 0.16, self.age)
                * bump(fold, 0.05)
                * smoothstep(0.65, 0.8, f.y)
                * smoothstep(1.35, 1.0, f.y);
        let wrinkles =
            bump(libm::sinf(f.y * 19.0 + 0.8 * noise(Point::new(f.x * 2.0, f.y), self.seed)) - 1.0, 0.5);
        tone *= 1.0 - 0.07 * self.age * wrinkles * smoothstep(-0.6, -0.75, f.y) * smoothstep(0.8, 0.5, x);
        let beard = smoothstep(0.75, 1.15, f.y) + 0.6 * smoothstep(0.55, 0.9, x) * smoothstep(0.5, 1.0, f.y);
        let grain = noise(Point::new(f.x * 45.0, f.y * 45.0), self.seed ^ 0xbe);
        tone * (1.0 - self.stubble * beard.min(1.0) * (0.8 + 0.4 * grain))
    }
}
