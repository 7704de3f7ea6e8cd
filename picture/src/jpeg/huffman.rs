//! Huffman tables: codes to symbols, and in one step to coefficients where both are short.

use super::JpegError;
use super::bits::Bits;

/// Codes up to this length are looked up.
const FAST_BITS: u32 = 10;

/// Longest code.
const MAX_LENGTH: usize = 16;

/// A table as the file defines it (T.81, B.2.4.2): codes of each length, and symbols in the order
/// of the codes.
#[derive(Clone, Debug)]
pub(super) struct Definition {
    counts: [u8; MAX_LENGTH],
    symbols: Vec<u8>,
}

impl Definition {
    /// Checks that the codes fit.
    pub(super) fn new(counts: [u8; MAX_LENGTH], symbols: &[u8]) -> Result<Self, JpegError> {
        let mut code = 0u32;
        for (length, count) in (1..).zip(counts) {
            code += u32::from(count);
            // The code of all ones is reserved (T.81, C.2), and so at least one must be free.
            if count > 0 && code >= 1 << length {
                return Err(JpegError::Broken("a Huffman table has more codes than there can be"));
            }
            code <<= 1;
        }
        Ok(Self { counts, symbols: symbols.to_vec() })
    }

    /// Code, its length, and its symbol, shortest first.
    fn codes(&self) -> impl Iterator<Item = (u32, u32, u8)> {
        let lengths = (1u32..).zip(self.counts).flat_map(|(length, count)| (0..count).map(move |_| length));
        let mut code = 0;
        let mut previous = 0;
        lengths.zip(&self.symbols).map(move |(length, symbol)| {
            code <<= length - previous;
            previous = length;
            let this = code;
            code += 1;
            (this, length, *symbol)
        })
    }
}

/// The typical tables of T.81, annex K.3, which Motion JPEG frames leave out: DC and AC of
/// luminance, then of chrominance.
pub(super) fn typical(ac: bool, index: usize) -> Option<Definition> {
    let (counts, symbols): ([u8; MAX_LENGTH], &[u8]) = match (ac, index) {
        (false, 0) => ([0, 1, 5, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0], &DC_SYMBOLS),
        (false, 1) => ([0, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0], &DC_SYMBOLS),
        (true, 0) => ([0, 2, 1, 3, 3, 2, 4, 3, 5, 5, 4, 4, 0, 0, 1, 125], &AC_LUMINANCE),
        (true, 1) => ([0, 2, 1, 2, 4, 4, 3, 4, 7, 5, 4, 4, 0, 1, 2, 119], &AC_CHROMINANCE),
        _ => return None,
    };
    Some(Definition { counts, symbols: symbols.to_vec() })
}

/// A table for decoding.
#[derive(Clone, Debug)]
pub(super) struct Table {
    /// By the next bits: length of the code times 256, plus its symbol; 0 where the code is longer.
    fast: Box<[u16; 1 << FAST_BITS]>,
    /// By length: codes below this, at the top of 16 bits, are at most that long.
    limits: [u32; MAX_LENGTH + 1],
    /// By length: place of a code's symbol, less the code.
    offsets: [i32; MAX_LENGTH + 1],
    symbols: Vec<u8>,
}

impl Table {
    pub(super) fn new(definition: &Definition) -> Self {
        let mut table = Self {
            fast: Box::new([0; 1 << FAST_BITS]),
            limits: [0; MAX_LENGTH + 1],
            offsets: [0; MAX_LENGTH + 1],
            symbols: definition.symbols.clone(),
        };
        for (place, (code, length, symbol)) in definition.codes().enumerate() {
            let slot = length as usize;
            if table.limits[slot] == 0 {
                table.offsets[slot] = place as i32 - code as i32;
            }
            table.limits[slot] = (code + 1) << (16 - length);
            if length <= FAST_BITS {
                let free = FAST_BITS - length;
                let entry = (length as u16) << 8 | u16::from(symbol);
                table.fast[(code as usize) << free..][..1 << free].fill(entry);
            }
        }
        table
    }

    /// A table for DC, whose symbols are sizes.
    pub(super) fn for_dc(definition: &Definition) -> Result<Self, JpegError> {
        if definition.symbols.iter().any(|size| *size > 15) {
            return Err(JpegError::Broken("a Huffman table for DC has a symbol over 15"));
        }
        Ok(Self::new(definition))
    }

    /// The next symbol; [`Bits::refill`] comes before.
    #[inline(always)]
    pub(super) fn symbol(&self, bits: &mut Bits<'_>) -> Result<u8, JpegError> {
        let entry = self.fast[bits.peek(FAST_BITS)];
        if entry != 0 {
            bits.consume(u32::from(entry >> 8));
            return Ok(entry as u8);
        }
        self.long_symbol(bits)
    }

    #[cold]
    fn long_symbol(&self, bits: &mut Bits<'_>) -> Result<u8, JpegError> {
        let next = bits.peek(16) as u32;
        for length in FAST_BITS as usize + 1..=MAX_LENGTH {
            if next < self.limits[length] {
                let code = (next >> (MAX_LENGTH - length)) as i32;
                bits.consume(length as u32);
                let symbol = self.symbols.get((code + self.offsets[length]) as usize);
                return symbol.copied().ok_or(INVALID);
            }
        }
        Err(INVALID)
    }
}

pub(super) const INVALID: JpegError = JpegError::Broken("a code is in no Huffman table");

/// The meaning of the next bits, if code and coefficient together are short.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Step {
    /// The coefficient.
    pub(super) value: i16,
    /// Zeros before it; [`END_OF_BLOCK`] for the code that ends the block.
    pub(super) run: u8,
    /// Bits of both; 0 where they are long.
    pub(super) bits: u8,
}

/// More zeros than a block has coefficients.
pub(super) const END_OF_BLOCK: u8 = 64;

/// A table for the AC coefficients of a sequential scan.
#[derive(Clone, Debug)]
pub(super) struct AcTable {
    pub(super) table: Table,
    steps: Box<[Step; 1 << FAST_BITS]>,
}

impl AcTable {
    pub(super) fn new(definition: &Definition) -> Self {
        let table = Table::new(definition);
        let mut steps = Box::new([Step::default(); 1 << FAST_BITS]);
        for (next, step) in steps.iter_mut().enumerate() {
            let (length, symbol) = (u32::from(table.fast[next] >> 8), table.fast[next] as u8);
            let (run, size) = (symbol >> 4, u32::from(symbol & 15));
            if length == 0 || length + size > FAST_BITS {
                continue;
            }
            let value = (next >> (FAST_BITS - length - size)) as i32 & ((1 << size) - 1);
            *step = match (run, size) {
                (0, 0) => Step { value: 0, run: END_OF_BLOCK, bits: length as u8 },
                // Runs of sixteen and the reserved codes are decoded step by step.
                (_, 0) => continue,
                _ => {
                    let value = if value >> (size - 1) == 0 { value - (1 << size) + 1 } else { value };
                    Step { value: value as i16, run, bits: (length + size) as u8 }
                }
            };
        }
        Self { table, steps }
    }

    #[inline(always)]
    pub(super) fn step(&self, bits: &Bits<'_>) -> Step {
        self.steps[bits.peek(FAST_BITS)]
    }
}

const DC_SYMBOLS: [u8; 12] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11];

#[rustfmt::skip]
const AC_LUMINANCE: [u8; 162] = [
    0x01, 0x02, 0x03, 0x00, 0x04, 0x11, 0x05, 0x12, 0x21, 0x31, 0x41, 0x06, 0x13, 0x51, 0x61, 0x07, 0x22, 0x71,
    0x14, 0x32, 0x81, 0x91, 0xA1, 0x08, 0x23, 0x42, 0xB1, 0xC1, 0x15, 0x52, 0xD1, 0xF0, 0x24, 0x33, 0x62, 0x72,
    0x82, 0x09, 0x0A, 0x16, 0x17, 0x18, 0x19, 0x1A, 0x25, 0x26, 0x27, 0x28, 0x29, 0x2A, 0x34, 0x35, 0x36, 0x37,
    0x38, 0x39, 0x3A, 0x43, 0x44, 0x45, 0x46, 0x47, 0x48, 0x49, 0x4A, 0x53, 0x54, 0x55, 0x56, 0x57, 0x58, 0x59,
    0x5A, 0x63, 0x64, 0x65, 0x66, 0x67, 0x68, 0x69, 0x6A, 0x73, 0x74, 0x75, 0x76, 0x77, 0x78, 0x79, 0x7A, 0x83,
    0x84, 0x85, 0x86, 0x87, 0x88, 0x89, 0x8A, 0x92, 0x93, 0x94, 0x95, 0x96, 0x97, 0x98, 0x99, 0x9A, 0xA2, 0xA3,
    0xA4, 0xA5, 0xA6, 0xA7, 0xA8, 0xA9, 0xAA, 0xB2, 0xB3, 0xB4, 0xB5, 0xB6, 0xB7, 0xB8, 0xB9, 0xBA, 0xC2, 0xC3,
    0xC4, 0xC5, 0xC6, 0xC7, 0xC8, 0xC9, 0xCA, 0xD2, 0xD3, 0xD4, 0xD5, 0xD6, 0xD7, 0xD8, 0xD9, 0xDA, 0xE1, 0xE2,
    0xE3, 0xE4, 0xE5, 0xE6, 0xE7, 0xE8, 0xE9, 0xEA, 0xF1, 0xF2, 0xF3, 0xF4, 0xF5, 0xF6, 0xF7, 0xF8, 0xF9, 0xFA,
];

#[rustfmt::skip]
const AC_CHROMINANCE: [u8; 162] = [
    0x00, 0x01, 0x02, 0x03, 0x11, 0x04, 0x05, 0x21, 0x31, 0x06, 0x12, 0x41, 0x51, 0x07, 0x61, 0x71, 0x13, 0x22,
    0x32, 0x81, 0x08, 0x14, 0x42, 0x91, 0xA1, 0xB1, 0xC1, 0x09, 0x23, 0x33, 0x52, 0xF0, 0x15, 0x62, 0x72, 0xD1,
    0x0A, 0x16, 0x24, 0x34, 0xE1, 0x25, 0xF1, 0x17, 0x18, 0x19, 0x1A, 0x26, 0x27, 0x28, 0x29, 0x2A, 0x35, 0x36,
    0x37, 0x38, 0x39, 0x3A, 0x43, 0x44, 0x45, 0x46, 0x47, 0x48, 0x49, 0x4A, 0x53, 0x54, 0x55, 0x56, 0x57, 0x58,
    0x59, 0x5A, 0x63, 0x64, 0x65, 0x66, 0x67, 0x68, 0x69, 0x6A, 0x73, 0x74, 0x75, 0x76, 0x77, 0x78, 0x79, 0x7A,
    0x82, 0x83, 0x84, 0x85, 0x86, 0x87, 0x88, 0x89, 0x8A, 0x92, 0x93, 0x94, 0x95, 0x96, 0x97, 0x98, 0x99, 0x9A,
    0xA2, 0xA3, 0xA4, 0xA5, 0xA6, 0xA7, 0xA8, 0xA9, 0xAA, 0xB2, 0xB3, 0xB4, 0xB5, 0xB6, 0xB7, 0xB8, 0xB9, 0xBA,
    0xC2, 0xC3, 0xC4, 0xC5, 0xC6, 0xC7, 0xC8, 0xC9, 0xCA, 0xD2, 0xD3, 0xD4, 0xD5, 0xD6, 0xD7, 0xD8, 0xD9, 0xDA,
    0xE2, 0xE3, 0xE4, 0xE5, 0xE6, 0xE7, 0xE8, 0xE9, 0xEA, 0xF2, 0xF3, 0xF4, 0xF5, 0xF6, 0xF7, 0xF8, 0xF9, 0xFA,
];
