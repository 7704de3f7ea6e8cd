//! Scans: sequential ones straight to samples, progressive ones to coefficients first.

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
    horizontal: usize,
    vertical: usize,
    quantization_table: usize,
    /// In force when the component's first scan began.
    quantization: Option<Quantization>,
    /// Samples that count, across and down.
    pub(super) width: usize,
    pub(super) height: usize,
    /// Blocks in memory: whole MCUs, across and down.
    blocks: (usize, usize),
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

    fn latch_quantization(&mut self, segments: &Segments<'_>) -> Result<(), JpegError> {
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
    fn scan_mcus(&self, scan: &Scan) -> (usize, usize) {
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
    components: Vec<ScanComponent>,
    spectrum: (usize, usize),
    approximation: (u32, u32),
}

#[derive(Debug)]
struct ScanComponent {
    /// Place in the frame.
    index: usize,
    dc: usize,
    ac: usize,
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
struct State {
    /// The last DC coefficient of each component of the scan.
    predictions: [i32; MAX_COMPONENTS],
    /// Blocks to come that have no new coefficients (T.81, G.1.2.2).
    end_of_band_run: u32,
}

/// Calls `mcu` with bits, place and state for each MCU, interval by interval.
fn in_intervals(
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

const OVERFULL: JpegError = JpegError::Broken("a block has more than 64 coefficients");

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
