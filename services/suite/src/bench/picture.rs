//! A picture that is as much work as a file may make.

/// Pixels in a row: as many as are taken.
const WIDTH: u16 = 4_096;
/// Rows: a little less than 1 MiB of them.
const HEIGHT: u16 = 2_000;
/// The most bytes of one block that is stored as it is.
const BLOCK: usize = 65_535;

/// A PNG of one bit a pixel, eight million of them, stored without compression.
pub(super) fn large_picture() -> Vec<u8> {
    // No filter, and then stripes: eight pixels in a byte.
    let mut row = vec![0b0101_0101_u8; usize::from(WIDTH) / 8 + 1];
    row[0] = 0;
    let rows = row.repeat(HEIGHT.into());
    let mut file = b"\x89PNG\r\n\x1a\n".to_vec();
    let mut header = [WIDTH, HEIGHT].map(|pixels| u32::from(pixels).to_be_bytes()).concat();
    // One bit of grey, and the only compression, filter and order that there are.
    header.extend([1, 0, 0, 0, 0]);
    chunk(&mut file, *b"IHDR", &header);
    chunk(&mut file, *b"IDAT", &stored(&rows));
    chunk(&mut file, *b"IEND", &[]);
    file
}

fn chunk(file: &mut Vec<u8>, kind: [u8; 4], content: &[u8]) {
    let length = u32::try_from(content.len()).unwrap_or(u32::MAX);
    let named = [kind.as_slice(), content].concat();
    file.extend(length.to_be_bytes());
    file.extend(&named);
    file.extend(crc(&named).to_be_bytes());
}

/// A zlib stream of stored blocks.
fn stored(content: &[u8]) -> Vec<u8> {
    let mut stream = vec![0x78, 0x01];
    let mut blocks = content.chunks(BLOCK).peekable();
    while let Some(block) = blocks.next() {
        let length = u16::try_from(block.len()).unwrap_or(u16::MAX);
        stream.push(u8::from(blocks.peek().is_none()));
        stream.extend(length.to_le_bytes());
        stream.extend((!length).to_le_bytes());
        stream.extend(block);
    }
    stream.extend(adler(content).to_be_bytes());
    stream
}

fn adler(content: &[u8]) -> u32 {
    let (low, high) = content.iter().fold((1_u32, 0_u32), |(low, high), byte| {
        let low = (low + u32::from(*byte)) % 65_521;
        (low, (high + low) % 65_521)
    });
    (high << 16) | low
}

fn crc(content: &[u8]) -> u32 {
    !content.iter().fold(u32::MAX, |sum, byte| {
        (0..8).fold(sum ^ u32::from(*byte), |sum, _| (sum >> 1) ^ if sum & 1 == 1 { 0xEDB8_8320 } else { 0 })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_picture_is_as_large_as_may_be_and_its_sums_are_right() {
        let file = large_picture();
        assert!(file.len() <= 1 << 20 && file.len() > 1_000_000, "{}", file.len());
        // The sums that the two are known by.
        assert_eq!((crc(b"123456789"), adler(b"Wikipedia")), (0xCBF4_3926, 0x11E6_0398));
    }
}
