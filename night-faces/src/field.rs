//! Scalar fields the painters are made of: edges, bumps, noise, and the seeded draws behind them.
//! Nothing here knows what a face is.
//!
//! Transcendental functions come from `libm`, never from the platform: the committed samples have
//! to come out byte for byte the same on every machine.

use rand_pcg::Pcg32;
use rand_pcg::rand_core::{Rng, SeedableRng};

/// A point in the plane a painter works in.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Point {
    pub(crate) x: f32,
    pub(crate) y: f32,
}

impl Point {
    pub(crate) const fn new(x: f32, y: f32) -> Self {
        Self { x, y }
    }

    /// Turned by `angle` radians (clockwise on the screen, where y points down).
    pub(crate) fn turned(self, angle: f32) -> Self {
        let (sin, cos) = (libm::sinf(angle), libm::cosf(angle));
        Self { x: self.x * cos - self.y * sin, y: self.x * sin + self.y * cos }
    }
}

/// Linear blend: `a` at 0, `b` at 1.
pub(crate) fn mix(a: f32, b: f32, t: f32) -> f32 {
    a + (b - a) * t
}

/// 0 below `from`, 1 above `to`, smooth between (also the other way round when `from > to`).
pub(crate) fn smoothstep(from: f32, to: f32, x: f32) -> f32 {
    let t = ((x - from) / (to - from)).clamp(0.0, 1.0);
    t * t * (3.0 - 2.0 * t)
}

/// A bump of height 1 at distance 0 and width `sigma`.
pub(crate) fn bump(distance: f32, sigma: f32) -> f32 {
    let q = (distance / sigma) * (distance / sigma);
    // Beyond three sigma nothing is visible; not computing it makes the renderer twice as fast.
    if q > 9.0 { 0.0 } else { libm::expf(-q) }
}

/// A height over the picture plane with its slopes, summed up from bumps.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Relief {
    pub(crate) dx: f32,
    pub(crate) dy: f32,
}

impl Relief {
    /// Adds a Gaussian bump of this `height`, centred `offset` away from here.
    pub(crate) fn add(&mut self, height: f32, offset: Point, sigma: Point) {
        let (u, v) = (offset.x / sigma.x, offset.y / sigma.y);
        let q = u * u + v * v;
        if q < 9.0 {
            let slope = -2.0 * height * libm::expf(-q);
            self.dx += slope * u / sigma.x;
            self.dy += slope * v / sigma.y;
        }
    }

    /// Brightness of a matt surface of this slope under a lamp beside the lens, the light softened
    /// by what scatters under skin and in cloth.
    pub(crate) fn lit(&self, lamp: Point) -> f32 {
        let along = 1.0 - self.dx * lamp.x - self.dy * lamp.y;
        let length = (1.0 + self.dx * self.dx + self.dy * self.dy).sqrt();
        0.22 + 0.78 * (along / length).max(0.0)
    }
}

fn lattice(x: i32, y: i32, seed: u32) -> f32 {
    let mut h = seed ^ (x as u32).wrapping_mul(0x85eb_ca6b) ^ (y as u32).wrapping_mul(0xc2b2_ae35);
    h = (h ^ (h >> 15)).wrapping_mul(0x2c1b_3c6d);
    h = (h ^ (h >> 12)).wrapping_mul(0x297a_2d39);
    ((h ^ (h >> 15)) >> 8) as f32 / (1 << 23) as f32 - 1.0
}

/// Smooth value noise in -1..1 with features one unit wide.
pub(crate) fn noise(p: Point, seed: u32) -> f32 {
    let (fx, fy) = (p.x.floor(), p.y.floor());
    let (x, y) = (fx as i32, fy as i32);
    let (tx, ty) = (smoothstep(0.0, 1.0, p.x - fx), smoothstep(0.0, 1.0, p.y - fy));
    let top = mix(lattice(x, y, seed), lattice(x + 1, y, seed), tx);
    let bottom = mix(lattice(x, y + 1, seed), lattice(x + 1, y + 1, seed), tx);
    mix(top, bottom, ty)
}

/// Three octaves of [`noise`].
pub(crate) fn rough(p: Point, seed: u32) -> f32 {
    let twice = Point::new(p.x * 2.03 + 7.1, p.y * 2.03 - 3.7);
    let four = Point::new(p.x * 4.11 - 1.3, p.y * 4.11 + 9.2);
    (noise(p, seed) + 0.5 * noise(twice, seed ^ 0x51) + 0.25 * noise(four, seed ^ 0xa3)) / 1.75
}

/// Seeded draws. Only the generator's raw bits are used, so that a newer `rand` changes no picture.
#[derive(Debug)]
pub(crate) struct Draw(Pcg32);

impl Draw {
    pub(crate) fn new(seed: u64) -> Self {
        Self(Pcg32::seed_from_u64(seed))
    }

    pub(crate) fn bits(&mut self) -> u32 {
        self.0.next_u32()
    }

    /// Uniform in `from..to`.
    pub(crate) fn range(&mut self, from: f32, to: f32) -> f32 {
        mix(from, to, (self.bits() >> 8) as f32 / (1 << 24) as f32)
    }

    pub(crate) fn chance(&mut self, probability: f32) -> bool {
        self.range(0.0, 1.0) < probability
    }

    /// Roughly normal with mean 0 and deviation 1 (the sum of four uniform draws): sensor noise
    /// needs no tails.
    pub(crate) fn normal(&mut self) -> f32 {
        let sum: f32 = (0..4).map(|_| self.range(-1.0, 1.0)).sum();
        sum * 0.866
    }
}
