//! What is taken for a picture of an organization, and how it is drawn anew.
//!
//! A file that shows a picture may be a script or a page as well, and tell where it was taken; so nothing of the file is kept.
//! It is decoded within bounds (a small file can say that it is a hundred million pixels) and encoded again.

use std::io::Cursor;

use image::codecs::jpeg::JpegEncoder;
use image::codecs::png::PngEncoder;
use image::imageops::FilterType::Triangle;
use image::{DynamicImage, ImageDecoder, ImageError, ImageFormat, ImageReader, Limits};
use sha2::{Digest as _, Sha256};

use crate::domain::avatar::{Picture, SIZES};

/// The largest file, in bytes.
const MAX_BYTES: usize = 1024 * 1024;
/// The most pixels either way.
const MAX_SIDE: u32 = 4_096;
/// What decoding may take of the memory: a picture of that size with four bytes a pixel, and as much again.
const MAX_MEMORY: u64 = 2 * 4 * (MAX_SIDE as u64) * (MAX_SIDE as u64);
/// Out of 100: what a photograph loses is not seen at these sizes.
const QUALITY: u8 = 85;

/// Why a file is not taken for a picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AvatarError {
    /// The file is too large.
    #[error("must have at most 1 MiB")]
    TooLarge,
    /// By its content it is none of the formats.
    #[error("must be a PNG, JPEG or WebP picture")]
    Format,
    /// Too many pixels.
    #[error("must have at most {MAX_SIDE} pixels either way")]
    Pixels,
    /// It begins like a picture and is none.
    #[error("is a broken picture")]
    Broken,
}

/// A file that may be a picture: small enough, and it begins like one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upload {
    bytes: Vec<u8>,
    format: ImageFormat,
}

/// What becomes of an organization's picture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// There is none any more.
    Remove,
    /// This one is drawn.
    Draw(Upload),
}

impl Upload {
    /// Looks at the size and the first bytes of a file.
    pub fn parse(bytes: &[u8]) -> Result<Self, AvatarError> {
        if bytes.len() > MAX_BYTES {
            return Err(AvatarError::TooLarge);
        }
        match image::guess_format(bytes) {
            Ok(format @ (ImageFormat::Png | ImageFormat::Jpeg | ImageFormat::WebP)) => {
                Ok(Self { bytes: bytes.to_vec(), format })
            }
            _ => Err(AvatarError::Format),
        }
    }

    /// Draws the picture anew in every size. Takes up to a second of a core and a bounded amount of memory.
    pub fn draw(&self) -> Result<Vec<Picture>, AvatarError> {
        let whole = self.decode()?;
        let side = whole.width().min(whole.height());
        let middle = whole.crop_imm((whole.width() - side) / 2, (whole.height() - side) / 2, side, side);
        drop(whole);
        let digest = hex::encode(Sha256::digest(&self.bytes));
        SIZES.into_iter().map(|size| picture(&middle, size, &digest)).collect()
    }

    fn decode(&self) -> Result<DynamicImage, AvatarError> {
        let mut decoder = self.decoder()?;
        // Photographs lie on their side and say so beside the picture.
        let orientation = decoder.orientation().map_err(|error| refused(&error))?;
        let mut picture = DynamicImage::from_decoder(decoder).map_err(|error| refused(&error))?;
        picture.apply_orientation(orientation);
        if picture.width() == 0 || picture.height() == 0 { Err(AvatarError::Broken) } else { Ok(picture) }
    }

    /// What reads the picture within bounds. The file's beginning is read already, up to the first pixel.
    fn decoder(&self) -> Result<impl ImageDecoder, AvatarError> {
        let mut limits = Limits::no_limits();
        limits.max_image_width = Some(MAX_SIDE);
        limits.max_image_height = Some(MAX_SIDE);
        limits.max_alloc = Some(MAX_MEMORY);
        let mut reader = ImageReader::with_format(Cursor::new(&self.bytes), self.format);
        reader.limits(limits);
        reader.into_decoder().map_err(|error| refused(&error))
    }
}

fn refused(error: &ImageError) -> AvatarError {
    match error {
        ImageError::Limits(_) => AvatarError::Pixels,
        _ => AvatarError::Broken,
    }
}

fn picture(of: &DynamicImage, size: u32, digest: &str) -> Result<Picture, AvatarError> {
    // Means of many pixels where it becomes smaller, lines between few where it grows.
    let scaled = if of.width() > size { of.thumbnail_exact(size, size) } else { of.resize_exact(size, size, Triangle) };
    let small = scaled.into_rgba8();
    let see_through = small.pixels().any(|pixel| pixel.0[3] != u8::MAX);
    let small = DynamicImage::ImageRgba8(small);
    let mut content = Vec::new();
    let (media_type, written) = if see_through {
        ("image/png", small.write_with_encoder(PngEncoder::new(&mut content)))
    } else {
        let opaque = DynamicImage::ImageRgb8(small.into_rgb8());
        ("image/jpeg", opaque.write_with_encoder(JpegEncoder::new_with_quality(&mut content, QUALITY)))
    };
    written.map_err(|_| AvatarError::Broken)?;
    let digest = digest.get(..32).unwrap_or(digest);
    Ok(Picture { size, media_type, etag: format!("{digest}-{size}"), content })
}

#[cfg(test)]
mod tests {
    use bursar_testkit::png_that_says;
    use image::{ImageEncoder as _, Rgb, RgbImage, Rgba, RgbaImage};

    use super::*;

    fn encoded(picture: &DynamicImage, format: ImageFormat) -> Vec<u8> {
        let mut bytes = Cursor::new(Vec::new());
        picture.write_to(&mut bytes, format).unwrap();
        bytes.into_inner()
    }

    /// Red on the left, blue on the right.
    fn halves(width: u32, height: u32) -> DynamicImage {
        let colour = |x, _| if x < width / 2 { Rgb([200, 10, 10]) } else { Rgb([10, 10, 200]) };
        DynamicImage::ImageRgb8(RgbImage::from_fn(width, height, colour))
    }

    fn draw(bytes: &[u8]) -> Result<Vec<Picture>, AvatarError> {
        Upload::parse(bytes)?.draw()
    }

    #[test]
    fn every_format_is_drawn_anew_in_three_sizes() {
        for format in [ImageFormat::Png, ImageFormat::Jpeg, ImageFormat::WebP] {
            let pictures = draw(&encoded(&halves(300, 100), format)).unwrap();
            for (picture, size) in pictures.iter().zip(SIZES) {
                assert_eq!((picture.size, picture.media_type), (size, "image/jpeg"), "{format:?}");
                let again = image::load_from_memory(&picture.content).unwrap().into_rgb8();
                assert_eq!((again.width(), again.height()), (size, size));
                let (left, right) = (again.get_pixel(size / 8, size / 2), again.get_pixel(size * 7 / 8, size / 2));
                assert!(left.0[0] > left.0[2] && right.0[2] > right.0[0], "{format:?}: {left:?} {right:?}");
            }
        }
    }

    #[test]
    fn what_is_seen_through_stays_so() {
        let glass = DynamicImage::ImageRgba8(RgbaImage::from_pixel(10, 10, Rgba([1, 2, 3, 40])));
        let pictures = draw(&encoded(&glass, ImageFormat::Png)).unwrap();
        assert!(pictures.iter().all(|picture| picture.media_type == "image/png"));
        let again = image::load_from_memory(&pictures[2].content).unwrap().into_rgba8();
        assert_eq!(again.get_pixel(9, 9).0[3], 40);
    }

    #[test]
    fn nothing_of_the_file_is_kept() {
        const PAGE: &[u8] = b"<script>alert(1)</script>";
        for format in [ImageFormat::Png, ImageFormat::Jpeg] {
            let polyglot = [encoded(&halves(20, 20), format), PAGE.to_vec()].concat();
            for picture in draw(&polyglot).unwrap() {
                assert!(!picture.content.windows(PAGE.len()).any(|window| window == PAGE), "{format:?}");
            }
        }
    }

    #[test]
    fn another_file_has_another_etag_and_each_size_its_own() {
        let (one, other) = (
            draw(&encoded(&halves(20, 20), ImageFormat::Png)).unwrap(),
            draw(&encoded(&halves(22, 22), ImageFormat::Png)).unwrap(),
        );
        let mut etags: Vec<_> = one.iter().chain(&other).map(|picture| picture.etag.as_str()).collect();
        etags.sort_unstable();
        etags.dedup();
        assert_eq!(etags.len(), 6);
    }

    #[test]
    fn what_is_no_picture_is_refused() {
        let png = encoded(&halves(20, 20), ImageFormat::Png);
        let cases: [(&str, Vec<u8>, AvatarError); 7] = [
            ("an SVG", b"<svg xmlns='http://www.w3.org/2000/svg'/>".to_vec(), AvatarError::Format),
            ("a GIF", b"GIF89a\x01\x00\x01\x00\x00\x00\x00;".to_vec(), AvatarError::Format),
            ("a BMP", b"BM\x3a\0\0\0\0\0\0\0\x36\0\0\0".to_vec(), AvatarError::Format),
            ("text", b"hello".to_vec(), AvatarError::Format),
            ("cut short", png[..png.len() / 2].to_vec(), AvatarError::Broken),
            ("a beginning only", png[..8].to_vec(), AvatarError::Broken),
            ("one byte too many", vec![0; MAX_BYTES + 1], AvatarError::TooLarge),
        ];
        for (what, bytes, expected) in cases {
            assert_eq!(draw(&bytes).unwrap_err(), expected, "{what}");
        }
    }

    /// A few bytes that say they are 60,000 pixels either way are refused for what they say, before memory is taken.
    #[test]
    fn a_small_file_with_many_pixels_is_refused() {
        let small = encoded(&halves(20, 20), ImageFormat::Png);
        assert!(draw(&png_that_says(&small, 20, 20)).is_ok(), "it is believed what it says");
        assert_eq!(draw(&png_that_says(&small, 21, 20)).unwrap_err(), AvatarError::Broken, "fewer pixels than it says");
        for (width, height) in [(60_000, 60_000), (MAX_SIDE + 1, 1), (1, MAX_SIDE + 1)] {
            let bomb = png_that_says(&small, width, height);
            assert_eq!(draw(&bomb).unwrap_err(), AvatarError::Pixels, "{width} × {height}");
        }
        for format in [ImageFormat::Png, ImageFormat::Jpeg, ImageFormat::WebP] {
            for (width, height) in [(MAX_SIDE + 1, 1), (1, MAX_SIDE + 1)] {
                let large = encoded(&halves(width, height), format);
                assert_eq!(draw(&large).unwrap_err(), AvatarError::Pixels, "{format:?}: {width} × {height}");
            }
            assert!(draw(&encoded(&halves(MAX_SIDE, 1), format)).is_ok(), "{format:?}");
        }
        let blank = DynamicImage::ImageRgb8(RgbImage::new(MAX_SIDE, MAX_SIDE));
        let largest = encoded(&blank, ImageFormat::Png);
        assert!(largest.len() < MAX_BYTES && draw(&largest).is_ok(), "the largest one is drawn");
    }

    /// What stands beside the pixels is compressed, too: what would take more memory than there is for it, is not unpacked.
    #[test]
    fn what_stands_beside_few_pixels_takes_no_memory_without_bounds() {
        let with_profile = |length: usize| {
            let mut bytes = Vec::new();
            let mut encoder = PngEncoder::new(&mut bytes);
            encoder.set_icc_profile(vec![0; length]).unwrap();
            halves(20, 20).write_with_encoder(encoder).unwrap();
            assert!(bytes.len() < MAX_BYTES, "{} bytes", bytes.len());
            bytes
        };
        let unpacked = |bytes: &[u8]| Upload::parse(bytes).unwrap().decoder().unwrap().icc_profile().unwrap();
        assert_eq!(unpacked(&with_profile(10_000)).map(|profile| profile.len()), Some(10_000));
        let bomb = with_profile(usize::try_from(MAX_MEMORY).unwrap() + 1);
        assert!(unpacked(&bomb).is_none(), "more than fits");
        assert_eq!(draw(&bomb).unwrap().len(), SIZES.len(), "the picture beside it is one");
    }

    #[test]
    fn fuzz_avatars() {
        let formats = [ImageFormat::Png, ImageFormat::Jpeg, ImageFormat::WebP];
        let samples = formats.map(|format| encoded(&halves(9, 5), format));
        bursar_fuzz::fuzz("avatars", &samples, |bytes| {
            if let Ok(pictures) = draw(bytes) {
                assert!(pictures.iter().all(|picture| image::load_from_memory(&picture.content).is_ok()));
            }
        });
    }
}
