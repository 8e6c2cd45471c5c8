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
