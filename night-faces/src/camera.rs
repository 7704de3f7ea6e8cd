//! The camera: lamp fall-off, lens blur, sensor noise, eight bits.

use image::GrayImage;

use crate::field::{Draw, Point, bump, noise, smoothstep};

/// Samples a pixel is averaged from, along each side.
pub(crate) const OVERSAMPLING: usize = 2;

#[derive(Debug, Clone)]
pub(crate) struct Camera {
    gain: f32,
    /// How much darker the corners are than the middle of the beam.
    falloff: f32,
    beam: Point,
    blur: f32,
    grain: f32,
    banding: f32,
    black: f32,
    seed: u32,
}

impl Camera {
    pub(crate) fn random(draw: &mut Draw) -> Self {
        Self {
            gain: draw.range(0.82, 1.10),
            falloff: draw.range(0.45, 0.85),
            beam: Point::new(draw.range(-0.15, 0.15), draw.range(-0.15, 0.15)),
            blur: draw.range(0.45, 0.95),
            grain: draw.range(0.008, 0.022),
            banding: draw.range(0.0, 0.006),
            black: draw.range(0.01, 0.045),
            seed: draw.bits(),
        }
    }

    /// Takes `scene` (brightness at a position in pixels) at this size, the beam centred on `aim`.
    pub(crate) fn take(
        &self,
        size: (u32, u32),
        aim: Point,
        scene: impl Fn(Point) -> f32,
        draw: &mut Draw,
    ) -> GrayImage {
        let (width, height) = (size.0 as usize, size.1 as usize);
        let step = 1.0 / OVERSAMPLING as f32;
        let weight = step * step;
        let diagonal = ((width * width + height * height) as f32).sqrt();
        let mut light = vec![0.0_f32; width * height];
        for (i, pixel) in light.iter_mut().enumerate() {
            let (x, y) = ((i % width) as f32, (i / width) as f32);
            let mut sum = 0.0;
            for sub in 0..OVERSAMPLING * OVERSAMPLING {
                let dx = (sub % OVERSAMPLING) as f32 * step + 0.5 * step;
                let dy = (sub / OVERSAMPLING) as f32 * step + 0.5 * step;
                sum += scene(Point::new(x + dx, y + dy));
            }
            let (bx, by) = ((x - aim.x) / diagonal - self.beam.x, (y - aim.y) / diagonal - self.beam.y);
            let lamp = 1.0 - self.falloff * smoothstep(0.12, 0.75, (bx * bx + by * by).sqrt());
            *pixel = sum * weight * lamp * self.gain;
        }
        let light = self.blurred(light, width);
        let rows: Vec<f32> = (0..height).map(|_| self.banding * draw.normal()).collect();
        let mut picture = GrayImage::new(size.0, size.1);
        for (i, (pixel, value)) in picture.pixels_mut().zip(light).enumerate() {
            let (x, y) = ((i % width) as f32, (i / width) as f32);
            // Shot noise grows with the light; the blotches are what a camera's own compression
            // leaves.
            let shot = self.grain * (0.6 + value.max(0.0)) * draw.normal();
            let blotch = 0.5 * self.grain * noise(Point::new(x * 0.3, y * 0.3), self.seed);
            let exposed = shoulder(value) + self.black + shot + blotch + rows[i / width];
            pixel.0[0] = (exposed * 255.0 + 0.5).clamp(0.0, 255.0) as u8;
        }
        picture
    }

    fn blurred(&self, light: Vec<f32>, width: usize) -> Vec<f32> {
        let radius = (self.blur * 2.5).ceil() as isize;
        let kernel: Vec<f32> =
            (-radius..=radius).map(|d| bump(d as f32, self.blur * std::f32::consts::SQRT_2)).collect();
        let total: f32 = kernel.iter().sum();
        let height = light.len() / width;
        let pass = |from: &[f32], step_x: isize, step_y: isize| -> Vec<f32> {
            let at = |x: isize, y: isize| {
                from[y.clamp(0, height as isize - 1) as usize * width
                    + x.clamp(0, width as isize - 1) as usize]
            };
            (0..from.len() as isize)
                .map(|i| {
                    let (x, y) = (i % width as isize, i / width as isize);
                    let taps =
                        kernel.iter().zip(-radius..).map(|(k, d)| k * at(x + d * step_x, y + d * step_y));
                    taps.sum::<f32>() / total
                })
                .collect()
        };
        pass(&pass(&light, 1, 0), 0, 1)
    }
}

/// Bright parts saturate softly, as a sensor's tone curve does.
fn shoulder(value: f32) -> f32 {
    if value < 0.7 { value } else { 0.7 + 0.3 * (1.0 - libm::expf((0.7 - value) / 0.3)) }
}
