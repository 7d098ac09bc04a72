//! Pictures of organizations: which sizes there are of one.

/// The sizes that are kept, in pixels either way.
pub const SIZES: [u32; 3] = [64, 192, 512];
/// The size of whoever names none.
pub const USUAL: u32 = 192;

/// One size of a picture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Picture {
    /// Pixels either way.
    pub size: u32,
    /// Its media type.
    pub media_type: &'static str,
    /// Names this content in this size.
    pub etag: String,
    /// The file.
    pub content: Vec<u8>,
}

/// The size to show to somebody who asked for so many pixels; `None` is the usual one.
pub fn size_for(asked: Option<u32>) -> u32 {
    let wanted = asked.unwrap_or(USUAL);
    let [.., largest] = SIZES;
    SIZES.into_iter().find(|size| *size >= wanted).unwrap_or(largest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_the_next_larger_ones() {
        let cases = [(None, 192), (Some(1), 64), (Some(64), 64), (Some(65), 192), (Some(512), 512), (Some(9_999), 512)];
        for (asked, given) in cases {
            assert_eq!(size_for(asked), given, "{asked:?}");
        }
    }
}
