//! Scans: what they share, and sequential ones, straight to samples.

use model_runtime::kernels::idct::{self, BLOCK, Block, NEUTRAL, Quantization};

use super::JpegError;
use super::bits::{Bits, Interval};
use super::huffman::{self, AcTable, Definition, END_OF_BLOCK, Table};
use super::markers::{FrameHeader, ScanHeader, Segments, ZIGZAG};

/// Most blocks of an MCU (T.81, B.2.3).
const MAX_MCU_BLOCKS: usize = 10;

/// A component and its samples.
#[derive(Debug)]
pub(super) struct Component {
    pub(super) id: u8,
    /// Blocks of an MCU, across and down.
    pub(super) horizontal: usize,
    pub(super) vertical: usize,
    quantization_table: usize,
    /// In force when the component's first scan began.
    pub(super) quantization: Option<Quantization>,
    /// Samples that count, across and down.
    pub(super) width: usize,
    pub(super) height: usize,
    /// Blocks in memory: whole MCUs, across and down.
    pub(super) blocks: (usize, usize),
    /// Rows of whole blocks; empty until a scan is decoded into it.
    pub(super) samples: Vec<u8>,
    /// Every block has been decoded.
    pub(super) complete: bool,
}

impl Component {
    /// Samples from one row to the next.
    pub(super) fn stride(&self) -> usize {
        self.blocks.0 * BLOCK
    }

    /// Samples of the picture, across and down, that one of the component's stands for.
    pub(super) fn factors(&self, sampling: (usize, usize)) -> (usize, usize) {
        (sampling.0 / self.horizontal, sampling.1 / self.vertical)
    }

    /// Samples in memory.
    pub(super) fn plane_len(&self) -> usize {
        self.blocks.0 * self.blocks.1 * BLOCK * BLOCK
    }

    /// Blocks that are coded where the scan holds only this component.
    fn own_blocks(&self) -> (usize, usize) {
        (self.width.div_ceil(BLOCK), self.height.div_ceil(BLOCK))
    }

    pub(super) fn latch_quantization(&mut self, segments: &Segments<'_>) -> Result<(), JpegError> {
        if self.quantization.is_none() {
            let table = segments.quantization.get(self.quantization_table).copied().flatten();
            self.quantization = Some(table.ok_or(JpegError::Broken("a quantization table is missing"))?);
        }
        Ok(())
    }
}

/// The frame, as its header says, and its components.
#[derive(Debug)]
pub(super) struct Frame {
    pub(super) progressive: bool,
    pub(super) width: usize,
    pub(super) height: usize,
    pub(super) components: Vec<Component>,
    /// Most blocks of a component in an MCU, across and down.
    pub(super) sampling: (usize, usize),
    /// MCUs of scans with several components.
    mcus: (usize, usize),
}

impl Frame {
    pub(super) fn new(header: FrameHeader) -> Result<Self, JpegError> {
        let FrameHeader { progressive, width, height, mut components } = header;
        if height == 0 {
            return Err(JpegError::Unsupported("a JPEG that tells its height after the scan"));
        }
        if width == 0 {
            return Err(JpegError::Broken("it has no columns"));
        }
        match components.as_mut_slice() {
            // Sampling factors are relative to each other.
            [only] if (1..=4).contains(&only.horizontal) && (1..=4).contains(&only.vertical) => {
                (only.horizontal, only.vertical) = (1, 1);
            }
            [_] | [_, _, _] | [_, _, _, _] => {}
            _ => return Err(JpegError::Unsupported("a JPEG of neither one, three nor four components")),
        }
        let most =
            |factor: fn(&super::markers::ComponentHeader) -> usize| components.iter().map(factor).max();
        let sampling = (
            most(|component| component.horizontal).unwrap_or(1),
            most(|component| component.vertical).unwrap_or(1),
        );
        for (at, component) in components.iter().enumerate() {
            if !(1..=4).contains(&component.horizontal) || !(1..=4).contains(&component.vertical) {
                return Err(JpegError::Broken("a sampling factor is not between 1 and 4"));
            }
            if sampling.0 % component.horizontal != 0 || sampling.1 % component.vertical != 0 {
                return Err(JpegError::Unsupported("a JPEG with fractional sampling"));
            }
            if components[..at].iter().any(|other| other.id == component.id) {
                return Err(JpegError::Broken("two components have the same identifier"));
            }
        }
        let mcus = (width.div_ceil(sampling.0 * BLOCK), height.div_ceil(sampling.1 * BLOCK));
        let components = components
            .into_iter()
            .map(|header| Component {
                id: header.id,
                horizontal: header.horizontal,
                vertical: header.vertical,
                quantization_table: header.quantization,
                quantization: None,
                width: (width * header.horizontal).div_ceil(sampling.0),
                height: (height * header.vertical).div_ceil(sampling.1),
                blocks: (mcus.0 * header.horizontal, mcus.1 * header.vertical),
                samples: Vec::new(),
                complete: false,
            })
            .collect();
        Ok(Self { progressive, width, height, components, sampling, mcus })
    }

    /// MCUs of a scan, across and down.
    pub(super) fn scan_mcus(&self, scan: &Scan) -> (usize, usize) {
        match scan.components.as_slice() {
            [only] => self.components[only.index].own_blocks(),
            _ => self.mcus,
        }
    }

    /// Decodes a scan of a sequential frame.
    pub(super) fn decode_sequential(
        &mut self,
        scan: &Scan,
        segments: &mut Segments<'_>,
    ) -> Result<(), JpegError> {
        for part in &scan.components {
            let component = &mut self.components[part.index];
            if component.complete {
                return Err(JpegError::Broken("a component comes in two scans"));
            }
            component.latch_quantization(segments)?;
            component.samples = vec![NEUTRAL; component.plane_len()];
            component.complete = true;
        }
        let tables = scan
            .components
            .iter()
            .map(|part| {
                let dc = Table::for_dc(definition(&segments.dc, false, part.dc)?.as_ref())?;
                let ac = AcTable::new(definition(&segments.ac, true, part.ac)?.as_ref());
                Ok((dc, ac))
            })
            .collect::<Result<Vec<_>, JpegError>>()?;
        let mcus = self.scan_mcus(scan);
        let alone = scan.components.len() == 1;
        let mut block = Block([0; 64]);
        in_intervals(segments, mcus, |bits, (mcu_x, mcu_y), state| {
            let parts = scan.components.iter().zip(&tables).zip(&mut state.predictions);
            for ((part, (dc, ac)), prediction) in parts {
                let component = &mut self.components[part.index];
                let quantization = component.quantization.as_ref().expect("latched when the scan began");
                let stride = component.blocks.0 * BLOCK;
                let (across, down) = if alone { (1, 1) } else { (component.horizontal, component.vertical) };
                for y in 0..down {
                    for x in 0..across {
                        let last = sequential_block(bits, dc, ac, prediction, &mut block)?;
                        let place = ((mcu_y * down + y) * stride + mcu_x * across + x) * BLOCK;
                        idct::block(&block, quantization, last, &mut component.samples[place..], stride);
                    }
                }
            }
            Ok(())
        })
    }
}

/// A scan header that fits the frame.
#[derive(Debug)]
pub(super) struct Scan {
    pub(super) components: Vec<ScanComponent>,
    pub(super) spectrum: (usize, usize),
    pub(super) approximation: (u32, u32),
}

#[derive(Debug)]
pub(super) struct ScanComponent {
    /// Place in the frame.
    pub(super) index: usize,
    pub(super) dc: usize,
    pub(super) ac: usize,
}

impl Scan {
    pub(super) fn new(header: ScanHeader, frame: &Frame) -> Result<Self, JpegError> {
        let mut components = Vec::with_capacity(header.components.len());
        for (id, dc, ac) in header.components {
            let index = frame.components.iter().position(|component| component.id == id);
            let index = index.ok_or(JpegError::Broken("a scan has a component that the frame has not"))?;
            if components.iter().any(|part: &ScanComponent| part.index >= index) {
                return Err(JpegError::Broken("a scan has its components twice or in another order"));
            }
            components.push(ScanComponent { index, dc, ac });
        }
        let blocks = |part: &ScanComponent| {
            let component = &frame.components[part.index];
            component.horizontal * component.vertical
        };
        match components.as_slice() {
            [] => return Err(JpegError::Broken("a scan has no components")),
            [_] => {}
            several if several.iter().map(blocks).sum::<usize>() > MAX_MCU_BLOCKS => {
                return Err(JpegError::Broken("a scan has more than ten blocks in an MCU"));
            }
            _ => {}
        }
        Ok(Self { components, spectrum: header.spectrum, approximation: header.approximation })
    }
}

/// The table that a scan names; for a sequential scan the typical one where the file has none.
fn definition(
    tables: &[Option<Definition>; 4],
    ac: bool,
    index: usize,
) -> Result<std::borrow::Cow<'_, Definition>, JpegError> {
    use std::borrow::Cow;
    let table = tables.get(index).and_then(|table| table.as_ref());
    table
        .map(Cow::Borrowed)
        .or_else(|| huffman::typical(ac, index).map(Cow::Owned))
        .ok_or(JpegError::Broken("a Huffman table is missing"))
}

/// Most components of a scan.
const MAX_COMPONENTS: usize = 4;

/// The state of a scan between blocks, until the next restart marker.
#[derive(Default)]
pub(super) struct State {
    /// The last DC coefficient of each component of the scan.
    pub(super) predictions: [i32; MAX_COMPONENTS],
    /// Blocks to come that have no new coefficients (T.81, G.1.2.2).
    pub(super) end_of_band_run: u32,
}

/// Calls `mcu` with bits, place and state for each MCU, interval by interval.
pub(super) fn in_intervals(
    segments: &mut Segments<'_>,
    (across, down): (usize, usize),
    mut mcu: impl FnMut(&mut Bits<'_>, (usize, usize), &mut State) -> Result<(), JpegError>,
) -> Result<(), JpegError> {
    let total = across * down;
    let length = if segments.restart_interval == 0 { total } else { segments.restart_interval };
    let mut interval = Interval::default();
    let (mut done, mut restarts) = (0, 0u8);
    while done < total {
        if done > 0 {
            segments.restart(restarts % 8)?;
            restarts = restarts.wrapping_add(1);
        }
        interval.fill(segments.interval()?);
        let mut bits = interval.bits();
        let mut state = State::default();
        let end = total.min(done + length);
        let (mut x, mut y) = (done % across, done / across);
        while done < end {
            mcu(&mut bits, (x, y), &mut state)?;
            done += 1;
            x += 1;
            if x == across {
                (x, y) = (0, y + 1);
                // Data that end early are noticed within a row.
                bits.check()?;
            }
        }
        bits.check()?;
    }
    Ok(())
}

/// Decodes a block (T.81, F.2.2); returns the place of the last coefficient in the file's order.
#[inline(always)]
fn sequential_block(
    bits: &mut Bits<'_>,
    dc: &Table,
    ac: &AcTable,
    prediction: &mut i32,
    block: &mut Block,
) -> Result<usize, JpegError> {
    block.0 = [0; 64];
    bits.refill();
    let size = dc.symbol(bits)?;
    if size > 0 {
        *prediction = prediction.wrapping_add(bits.take_signed(size.into()));
    }
    block.0[0] = *prediction as i16;
    let (mut at, mut last) = (1, 0);
    while at < 64 {
        bits.refill();
        let step = ac.step(bits);
        if step.bits > 0 {
            bits.consume(step.bits.into());
            if step.run == END_OF_BLOCK {
                break;
            }
            at += usize::from(step.run);
            let place = ZIGZAG.get(at).ok_or(OVERFULL)?;
            block.0[usize::from(*place & 63)] = step.value;
        } else {
            let symbol = ac.table.symbol(bits)?;
            let (run, size) = (usize::from(symbol >> 4), u32::from(symbol & 15));
            if size == 0 {
                if run < 15 {
                    break;
                }
                at += 16;
                continue;
            }
            at += run;
            let place = ZIGZAG.get(at).ok_or(OVERFULL)?;
            block.0[usize::from(*place & 63)] = bits.take_signed(size) as i16;
        }
        last = at;
        at += 1;
    }
    Ok(last)
}

pub(super) const OVERFULL: JpegError = JpegError::Broken("a block has more than 64 coefficients");
