//! Reads bit fields, most significant bit first.

/// The input ended in the middle of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OutOfBits;

/// A position in bits over some bytes.
#[derive(Clone, Debug)]
pub(crate) struct Bits<'a> {
    bytes: &'a [u8],
    position: usize,
}

impl<'a> Bits<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, position: 0 }
    }

    pub(crate) fn bit(&mut self) -> Result<bool, OutOfBits> {
        let byte = self.bytes.get(self.position / 8).ok_or(OutOfBits)?;
        let bit = byte >> (7 - self.position % 8) & 1;
        self.position += 1;
        Ok(bit == 1)
    }

    /// An unsigned field of at most 32 bits.
    pub(crate) fn field(&mut self, width: u32) -> Result<u32, OutOfBits> {
        let mut value = 0_u64;
        for _ in 0..width {
            value = value << 1 | u64::from(self.bit()?);
        }
        Ok(value as u32)
    }

    pub(crate) fn skip(&mut self, width: u32) -> Result<(), OutOfBits> {
        self.field(width).map(|_| ())
    }

    /// An Exp-Golomb code, `ue(v)` of ISO/IEC 14496-10 section 9.1.
    pub(crate) fn unsigned_golomb(&mut self) -> Result<u32, OutOfBits> {
        let mut zeros = 0;
        while !self.bit()? {
            zeros += 1;
            if zeros > 31 {
                return Err(OutOfBits);
            }
        }
        let rest = u64::from(self.field(zeros)?);
        Ok(((1_u64 << zeros) - 1 + rest).min(u64::from(u32::MAX)) as u32)
    }

    /// A signed Exp-Golomb code, `se(v)`.
    pub(crate) fn signed_golomb(&mut self) -> Result<i64, OutOfBits> {
        let code = i64::from(self.unsigned_golomb()?);
        Ok(if code % 2 == 1 { (code + 1) / 2 } else { -(code / 2) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn golomb_codes_follow_the_table_of_the_standard() {
        // 1, 010, 011, 00100, 00101: ue 0, 1, 2, 3, 4.
        let bytes = [0b1010_0110, 0b0100_0010, 0b1000_0000];
        let mut bits = Bits::new(&bytes);
        let codes: Vec<u32> = (0..5).map(|_| bits.unsigned_golomb().unwrap()).collect();
        assert_eq!(codes, [0, 1, 2, 3, 4]);
        let mut bits = Bits::new(&bytes);
        let codes: Vec<i64> = (0..5).map(|_| bits.signed_golomb().unwrap()).collect();
        assert_eq!(codes, [0, 1, -1, 2, -2]);
    }

    #[test]
    fn the_end_of_the_input_is_an_error() {
        assert_eq!(Bits::new(&[]).bit(), Err(OutOfBits));
        assert_eq!(Bits::new(&[0; 64]).unsigned_golomb(), Err(OutOfBits));
        assert_eq!(Bits::new(&[0xff]).field(9), Err(OutOfBits));
    }
}
