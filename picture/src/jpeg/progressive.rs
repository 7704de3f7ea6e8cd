//! Progressive scans, which add to the coefficients of the whole picture (T.81, annex G).

use model_runtime::kernels::idct::{self, BLOCK, Block, NEUTRAL};

use super::JpegError;
use super::bits::Bits;
use super::huffman::{Definition, Table};
use super::markers::{Segments, ZIGZAG};
use super::scan::{Component, Frame, OVERFULL, Scan, ScanComponent, State, in_intervals};

/// The coefficients of a progressive frame.
#[derive(Debug)]
pub(super) struct Coefficients {
    planes: Vec<Plane>,
}

/// The coefficients of a component.
#[derive(Debug)]
struct Plane {
    blocks: Vec<Block>,
    /// For each coefficient the position of the lowest bit that is known.
    known: [Option<u32>; 64],
}

impl Coefficients {
    pub(super) fn new(frame: &Frame) -> Self {
        let plane = |component: &Component| Plane {
            blocks: vec![Block([0; 64]); component.blocks.0 * component.blocks.1],
            known: [None; 64],
        };
        Self { planes: frame.components.iter().map(plane).collect() }
    }

    /// Decodes a scan (T.81, annex G).
    pub(super) fn decode(
        &mut self,
        frame: &mut Frame,
        scan: &Scan,
        segments: &mut Segments<'_>,
    ) -> Result<(), JpegError> {
        let ((first, last), (high, low)) = (scan.spectrum, scan.approximation);
        let dc = first == 0;
        let right = if dc { last == 0 } else { first <= last && last < 64 && scan.components.len() == 1 };
        if !right || low > 13 || (high != 0 && high != low + 1) {
            return Err(JpegError::Broken("a scan has an impossible range of coefficients or bits"));
        }
        for part in &scan.components {
            frame.components[part.index].latch_quantization(segments)?;
            let plane = &mut self.planes[part.index];
            if !dc && plane.known[0].is_none() {
                return Err(JpegError::Broken("AC coefficients come before their DC coefficients"));
            }
            for known in &mut plane.known[first..=last] {
                if *known != (high != 0).then_some(high) {
                    return Err(JpegError::Broken("a scan does not follow from the ones before it"));
                }
                *known = Some(low);
            }
        }
        let frame = &*frame;
        let mcus = frame.scan_mcus(scan);
        let width = |part: &ScanComponent| frame.components[part.index].blocks.0;
        let table = |tables: &[Option<Definition>; 4], index: usize| {
            let table = tables.get(index).and_then(|table| table.as_ref());
            table.cloned().ok_or(JpegError::Broken("a Huffman table is missing"))
        };
        match scan.components.as_slice() {
            [part] if !dc => {
                let table = Table::new(&table(&segments.ac, part.ac)?);
                let (blocks, stride) = (&mut self.planes[part.index].blocks, width(part));
                let band = Band { first, last, low, table };
                in_intervals(segments, mcus, |bits, (x, y), State { end_of_band_run, .. }| {
                    let block = &mut blocks[y * stride + x];
                    match high {
                        0 => band.begin(bits, end_of_band_run, block),
                        _ => band.refine(bits, end_of_band_run, block),
                    }
                })
            }
            parts => {
                let tables = match high {
                    0 => parts
                        .iter()
                        .map(|part| Table::for_dc(&table(&segments.dc, part.dc)?))
                        .collect::<Result<Vec<_>, _>>()?,
                    _ => Vec::new(),
                };
                let alone = parts.len() == 1;
                in_intervals(segments, mcus, |bits, (mcu_x, mcu_y), State { predictions, .. }| {
                    for (at, part) in parts.iter().enumerate() {
                        let component = &frame.components[part.index];
                        let blocks = &mut self.planes[part.index].blocks;
                        let (across, down) =
                            if alone { (1, 1) } else { (component.horizontal, component.vertical) };
                        for y in 0..down {
                            let row = &mut blocks[(mcu_y * down + y) * width(part) + mcu_x * across..];
                            for block in &mut row[..across] {
                                let value = &mut block.0[0];
                                if high != 0 {
                                    *value |= i16::from(bits.take_one()) << low;
                                    continue;
                                }
                                bits.refill();
                                let size = tables[at].symbol(bits)?;
                                if size > 0 {
                                    predictions[at] =
                                        predictions[at].wrapping_add(bits.take_signed(size.into()));
                                }
                                *value = (predictions[at] << low) as i16;
                            }
                        }
                    }
                    Ok(())
                })
            }
        }
    }

    /// Turns the coefficients into the samples of the frame's components, one component after the
    /// other.
    pub(super) fn finish(self, frame: &mut Frame) -> Result<(), JpegError> {
        for (component, plane) in frame.components.iter_mut().zip(self.planes) {
            component.complete = plane.known.iter().all(|lowest| *lowest == Some(0));
            if !component.complete {
                return Err(JpegError::Broken("the progressive JPEG lacks its last scans"));
            }
            let quantization = component.quantization.expect("latched when a scan began");
            let stride = component.stride();
            let mut samples = vec![NEUTRAL; component.plane_len()];
            let rows = samples.chunks_exact_mut(stride * BLOCK);
            for (row, blocks) in rows.zip(plane.blocks.chunks_exact(component.blocks.0)) {
                for (x, block) in blocks.iter().enumerate() {
                    let last = if block.0[1..].iter().all(|value| *value == 0) { 0 } else { 63 };
                    idct::block(block, &quantization, last, &mut row[x * BLOCK..], stride);
                }
            }
            component.samples = samples;
        }
        Ok(())
    }
}

/// A scan of AC coefficients of one component.
struct Band {
    first: usize,
    last: usize,
    /// Position of the bit that the scan brings.
    low: u32,
    table: Table,
}

impl Band {
    /// The first scan of a band (T.81, G.1.2.2).
    #[inline]
    fn begin(
        &self,
        bits: &mut Bits<'_>,
        end_of_band_run: &mut u32,
        block: &mut Block,
    ) -> Result<(), JpegError> {
        if *end_of_band_run > 0 {
            *end_of_band_run -= 1;
            return Ok(());
        }
        let mut at = self.first;
        while at <= self.last {
            bits.refill();
            let symbol = self.table.symbol(bits)?;
            let (run, size) = (u32::from(symbol >> 4), u32::from(symbol & 15));
            if size == 0 {
                if run < 15 {
                    *end_of_band_run = run_length(bits, run) - 1;
                    break;
                }
                at += 16;
                continue;
            }
            at += run as usize;
            if at > self.last {
                return Err(OVERFULL);
            }
            block.0[usize::from(ZIGZAG[at])] = (bits.take_signed(size) << self.low) as i16;
            at += 1;
        }
        Ok(())
    }

    /// A scan that adds a bit to each coefficient of a band (T.81, G.1.2.3).
    fn refine(
        &self,
        bits: &mut Bits<'_>,
        end_of_band_run: &mut u32,
        block: &mut Block,
    ) -> Result<(), JpegError> {
        let step = 1i16 << self.low;
        let mut at = self.first;
        if *end_of_band_run == 0 {
            while at <= self.last {
                bits.refill();
                let symbol = self.table.symbol(bits)?;
                let (mut run, size) = (u32::from(symbol >> 4), symbol & 15);
                let new = match size {
                    0 if run < 15 => {
                        *end_of_band_run = run_length(bits, run);
                        break;
                    }
                    0 => 0,
                    1 if bits.take(1) == 1 => step,
                    1 => -step,
                    _ => return Err(JpegError::Broken("a coefficient grows by more than its last bit")),
                };
                // Skips known coefficients, which get their next bit, and the given number of
                // zeros.
                loop {
                    let value = &mut block.0[usize::from(ZIGZAG[at])];
                    if *value != 0 {
                        correct(bits, value, step);
                    } else if run == 0 {
                        *value = new;
                        break;
                    } else {
                        run -= 1;
                    }
                    at += 1;
                    if at > self.last {
                        break;
                    }
                }
                if at > self.last && new != 0 {
                    return Err(OVERFULL);
                }
                at += 1;
            }
        }
        if *end_of_band_run > 0 {
            for place in ZIGZAG.get(at..=self.last).unwrap_or_default() {
                let value = &mut block.0[usize::from(*place)];
                if *value != 0 {
                    correct(bits, value, step);
                }
            }
            *end_of_band_run -= 1;
        }
        Ok(())
    }
}

/// Blocks of a run: a power of two, and as many bits more.
fn run_length(bits: &mut Bits<'_>, power: u32) -> u32 {
    let more = if power > 0 { bits.take(power) as u32 } else { 0 };
    (1 << power) + more
}

/// Gives a known coefficient its next bit.
#[inline(always)]
fn correct(bits: &mut Bits<'_>, value: &mut i16, step: i16) {
    if bits.take_one() && *value & step == 0 {
        *value = value.wrapping_add(if *value >= 0 { step } else { -step });
    }
}
