//! One picture: the sleepers' places, what covers the eyes, and the camera over the bed. Calls the
//! painters in order.

use image::GrayImage;

use crate::bed::Bed;
use crate::camera::Camera;
use crate::cover::{Glasses, Hand, SleepMask};
use crate::eye::Eye;
use crate::face::Face;
use crate::field::{Draw, Point, mix, smoothstep};
use crate::hair::Hair;
use crate::truth::{EyeTruth, State};

/// What the picture is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Both eyes open.
    Open,
    /// Both eyes closed.
    Closed,
    /// One eye open, one closed.
    OneOpen,
    /// A sleep mask over both eyes.
    Mask,
    /// The blanket pulled over the eyes.
    Blanket,
    /// A hand over both eyes.
    Hand,
    /// An empty bed.
    EmptyBed,
}

impl Kind {
    /// Every kind there is.
    pub const ALL: [Kind; 7] =
        [Kind::Open, Kind::Closed, Kind::OneOpen, Kind::Mask, Kind::Blanket, Kind::Hand, Kind::EmptyBed];

    /// The kind's name in file names and reports.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Open => "open",
            Kind::Closed => "closed",
            Kind::OneOpen => "one-open",
            Kind::Mask => "mask",
            Kind::Blanket => "blanket",
            Kind::Hand => "hand",
            Kind::EmptyBed => "empty-bed",
        }
    }

    /// What a classifier should say.
    pub fn state(self) -> State {
        match self {
            Kind::Open | Kind::OneOpen => State::Open,
            Kind::Closed => State::Closed,
            Kind::Mask | Kind::Blanket | Kind::Hand | Kind::EmptyBed => State::NoEyes,
        }
    }
}

/// The parameters of a picture; everything else follows from the seed.
#[derive(Debug, Clone, PartialEq)]
pub struct Recipe {
    /// What it is of.
    pub kind: Kind,
    /// Width and height in pixels.
    pub size: (u32, u32),
    /// How far the head is turned in the picture's plane, degrees clockwise.
    pub roll: f32,
    /// Pixels between the pupils.
    pub interocular: f32,
    /// Where the middle between the eyes lies, as fractions of width and height.
    pub position: (f32, f32),
    /// Whether the person wears glasses.
    pub glasses: bool,
}

/// A picture and what it shows.
#[derive(Debug, Clone)]
pub struct Picture {
    /// The pixels.
    pub image: GrayImage,
    /// What a classifier should say.
    pub state: State,
    /// The eyes that can be seen.
    pub eyes: Vec<EyeTruth>,
}

/// Iterations that undo the head's turn; each shrinks the error by more than three.
const UNTURN_STEPS: usize = 12;

/// A head turned a little out of the picture: its outline stays, what lies inside it moves.
#[derive(Debug, Clone)]
struct Pose {
    roll: f32,
    scale: f32,
    origin: Point,
    yaw: f32,
    pitch: f32,
}

impl Pose {
    fn head_from_picture(&self, p: Point) -> Point {
        let offset = Point::new((p.x - self.origin.x) / self.scale, (p.y - self.origin.y) / self.scale);
        offset.turned(-self.roll)
    }

    fn picture_from_head(&self, p: Point) -> Point {
        let offset = p.turned(self.roll);
        Point::new(self.origin.x + offset.x * self.scale, self.origin.y + offset.y * self.scale)
    }

    fn feature_from_head(&self, p: Point) -> Point {
        let depth = (1.0 - 0.62 * p.x * p.x - 0.22 * (p.y - 0.2) * (p.y - 0.2)).max(0.0);
        Point::new(p.x - self.yaw * depth, p.y - self.pitch * depth)
    }

    fn head_from_feature(&self, feature: Point) -> Point {
        let mut p = feature;
        for _ in 0..UNTURN_STEPS {
            let moved = self.feature_from_head(p);
            p = Point::new(p.x + feature.x - moved.x, p.y + feature.y - moved.y);
        }
        p
    }
}

impl Recipe {
    /// The `index`-th of a series: every kind, every roll angle, near and far.
    pub fn random(seed: u64, index: u64) -> Self {
        let mut draw = Draw::new(seed ^ (index + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let kind = match draw.range(0.0, 1.0) {
            x if x < 0.36 => Kind::Open,
            x if x < 0.72 => Kind::Closed,
            x if x < 0.84 => Kind::OneOpen,
            x if x < 0.88 => Kind::Mask,
            x if x < 0.92 => Kind::Blanket,
            x if x < 0.96 => Kind::Hand,
            _ => Kind::EmptyBed,
        };
        let size = [(640, 480), (640, 360), (480, 640), (480, 480)][(draw.bits() >> 30) as usize];
        let shorter = size.0.min(size.1) as f32;
        Self {
            kind,
            size,
            roll: draw.range(-180.0, 180.0),
            interocular: shorter * draw.range(0.11, 0.26),
            position: (draw.range(0.34, 0.66), draw.range(0.34, 0.66)),
            glasses: draw.chance(0.15),
        }
    }

    /// Draws the picture. The same recipe and seed give the same pixels on every machine.
    pub fn draw(&self, seed: u64) -> Picture {
        let mut draw = Draw::new(seed);
        let face = Face::random(&mut draw);
        let hair = Hair::random(&mut draw);
        let mut eyes = Eye::pair(&mut draw);
        let mut bed = Bed::random(&mut draw);
        let camera = Camera::random(&mut draw);
        let mask = SleepMask::random(&mut draw);
        let hand = Hand::random(&mut draw, face.skin);
        let glasses = Glasses::random(&mut draw);
        let lamp = Point::new(draw.range(-0.22, 0.22), draw.range(-0.22, 0.22));
        let pose = Pose {
            roll: self.roll.to_radians(),
            scale: self.interocular,
            origin: Point::new(self.position.0 * self.size.0 as f32, self.position.1 * self.size.1 as f32),
            yaw: draw.range(-0.16, 0.16),
            pitch: draw.range(-0.12, 0.12),
        };
        let winking = usize::from(draw.chance(0.5));
        match self.kind {
            Kind::Closed => eyes.iter_mut().for_each(|eye| eye.opening = 0.0),
            Kind::OneOpen => eyes[winking].opening = 0.0,
            Kind::Blanket => bed = bed.with_blanket_at(draw.range(-0.75, -0.55)),
            Kind::Open | Kind::Mask | Kind::Hand | Kind::EmptyBed => {}
        }

        let lamp = lamp.turned(-pose.roll);
        let person = self.kind != Kind::EmptyBed;
        let scene = |at: Point| {
            let p = pose.head_from_picture(at);
            let outline = face.outline(p);
            // What a painter would cover completely is not painted: it halves the time.
            let hidden = person && outline < 0.97;
            let mut value = if hidden { 0.0 } else { bed.paint_under(p, lamp, person.then_some(outline)) };
            if person {
                if !hidden {
                    value = hair.paint_behind(p, outline, value);
                    value = face.paint_behind(p, value, lamp);
                }
                if outline < 1.02 {
                    let feature = pose.feature_from_head(p);
                    let (mut skin, light) = face.paint(p, feature, lamp);
                    for eye in &eyes {
                        skin = eye.paint(feature, skin, light);
                    }
                    skin = hair.paint_front(p, feature, outline, skin, light);
                    value = mix(value, skin, smoothstep(1.015, 0.985, outline));
                }
                if self.glasses {
                    value = glasses.paint(pose.feature_from_head(p), value);
                }
                if self.kind == Kind::Mask {
                    value = mask.paint(pose.feature_from_head(p), outline, lamp, value);
                }
            }
            value = bed.paint_blanket(p, lamp, value);
            if self.kind == Kind::Hand { hand.paint(p, lamp, value) } else { value }
        };
        let image = camera.take(self.size, pose.origin, scene, &mut draw);

        let visible = matches!(self.kind, Kind::Open | Kind::Closed | Kind::OneOpen);
        let eyes = eyes.iter().filter(|_| visible).filter_map(|eye| {
            let corners = eye.corners().map(|corner| pose.picture_from_head(pose.head_from_feature(corner)));
            let state = if eye.opening > 0.3 { State::Open } else { State::Closed };
            EyeTruth::from_corners(state, corners, self.size)
        });
        Picture { image, state: self.kind.state(), eyes: eyes.collect() }
    }
}
