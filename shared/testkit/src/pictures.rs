//! Pictures that say what they are not.

/// The header of a PNG, behind the signature of eight bytes and the header's own length: its name and its thirteen bytes.
const HEADER: std::ops::Range<usize> = 12..29;

/// A PNG that says it has so many pixels. What it says is sealed as it should be, so that whoever reads it believes it.
pub fn png_that_says(png: &[u8], width: u32, height: u32) -> Vec<u8> {
    let mut liar = png.to_vec();
    assert_eq!(liar.get(12..16), Some(&b"IHDR"[..]), "no PNG");
    liar[16..20].copy_from_slice(&width.to_be_bytes());
    liar[20..24].copy_from_slice(&height.to_be_bytes());
    let seal = crc32(&liar[HEADER]);
    liar[29..33].copy_from_slice(&seal.to_be_bytes());
    liar
}

/// The checksum of PNG and of zip archives.
fn crc32(bytes: &[u8]) -> u32 {
    let shifted = |crc: u32, _: u8| if crc & 1 == 1 { (crc >> 1) ^ 0xedb8_8320 } else { crc >> 1 };
    !bytes.iter().fold(u32::MAX, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), shifted))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checksum_is_what_others_make_of_it() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
        // The end of every PNG.
        assert_eq!(crc32(b"IEND"), 0xae42_6082);
    }
}
