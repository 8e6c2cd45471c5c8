//! Links as QR codes, for the camera of another device.

use qrcode::QrCode;
use qrcode::render::svg;
use qrcode::render::unicode::Dense1x2;

/// An image in SVG: black on white, whatever the page's colours are, with the white frame that readers look for. None
/// for a link that is too long for a code.
pub(crate) fn picture(link: &str) -> Option<String> {
    let code = QrCode::new(link).ok()?;
    Some(code.render::<svg::Color<'_>>().module_dimensions(4, 4).build())
}

/// Lines of text, two modules above each other in a character. What is light in the code is a full block, since
/// terminals write in light letters on a dark ground.
pub(crate) fn text(link: &str) -> Option<String> {
    let code = QrCode::new(link).ok()?;
    Some(code.render::<Dense1x2>().dark_color(Dense1x2::Light).light_color(Dense1x2::Dark).build())
}

#[cfg(test)]
mod tests {
    use rqrr::PreparedImage;

    use super::*;

    /// What a camera reads where `is_light` is true.
    fn read(width: usize, height: usize, is_light: impl Fn(usize, usize) -> bool) -> String {
        let mut image =
            PreparedImage::prepare_from_greyscale(width, height, |x, y| if is_light(x, y) { 255 } else { 0 });
        image.detect_grids()[0].decode().unwrap().1
    }

    #[test]
    fn a_link_in_letters_reads_as_the_link() {
        for link in ["https://star.example.org", "http://localhost:8444/#in=1.1800000000000.aB-_0123456789"] {
            let text = text(link).unwrap();
            let lines: Vec<Vec<char>> = text.lines().map(|line| line.chars().collect()).collect();
            let module = |x: usize, y: usize| match lines[y / 2][x] {
                '\u{2588}' => true,
                '\u{2580}' => y.is_multiple_of(2),
                '\u{2584}' => !y.is_multiple_of(2),
                _ => false,
            };
            // A camera sees a module as several points.
            let (width, height) = (lines[0].len(), 2 * lines.len());
            assert_eq!(read(4 * width, 4 * height, |x, y| module(x / 4, y / 4)), link);
        }
    }

    #[test]
    fn a_picture_is_black_on_white_and_too_long_a_link_has_none() {
        let picture = picture("https://star.example.org").unwrap();
        assert!(picture.contains("fill=\"#fff\"") && picture.contains("fill=\"#000\""), "{picture}");
        assert_eq!(super::picture(&"x".repeat(5000)), None);
    }
}
