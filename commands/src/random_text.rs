use zeroize::Zeroizing;

use crate::master_keys::random;

/// No letter or digit that is easily taken for another (Crockford's base 32).
const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

/// 160 random bits as 32 letters and digits.
pub(crate) fn new() -> Zeroizing<String> {
    encode(&Zeroizing::new(random()))
}

fn encode(bytes: &[u8; 20]) -> Zeroizing<String> {
    let mut text = Zeroizing::new(String::with_capacity(32));
    for five in bytes.chunks_exact(5) {
        let bits = five.iter().fold(0_u64, |bits, byte| bits << 8 | u64::from(*byte));
        text.extend((0..8).rev().map(|place| char::from(ALPHABET[(bits >> (place * 5) & 31) as usize])));
    }
    text
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_bit_counts() {
        assert_eq!(super::encode(&[0; 20]).as_str(), "0".repeat(32));
        assert_eq!(super::encode(&[255; 20]).as_str(), "z".repeat(32));
        let mut bytes = [0; 20];
        bytes[19] = 1;
        bytes[0] = 0x80;
        assert_eq!(super::encode(&bytes).as_str(), format!("g{}1", "0".repeat(30)));
        assert_ne!(super::new(), super::new());
    }
}
