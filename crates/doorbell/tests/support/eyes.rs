//! What a person sees of the demo's page, and whether everybody can use it: the code of an invitation as a camera reads
//! it, and axe's judgement.

use rqrr::PreparedImage;
use serde_json::json;

use super::browser::Browser;
use super::firefox::Firefox;
use super::foreign::{here, tree};
use super::person::Person;

/// The code as it is on the screen: `#` for each dark point, one line after the other.
const CODE: &str = r##"
const code = document.querySelector(arguments[0]);
return code.decode().then(() => {
  const canvas = Object.assign(document.createElement("canvas"), { width: 300, height: 300 });
  const context = canvas.getContext("2d");
  context.drawImage(code, 0, 0, 300, 300);
  const { data } = context.getImageData(0, 0, 300, 300);
  return Array.from({ length: 90000 }, (_, at) => data[4 * at] < 128 ? "#" : " ").join("");
});"##;

/// The violations that axe finds, in words. That a page is wider than its window is not one of axe's rules.
const JUDGED: &str = r#"
const rules = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"];
const options = { resultTypes: ["violations"], preload: false, runOnly: rules };
const ended = document.getAnimations().filter(({ effect }) => Number.isFinite(effect.getComputedTiming().endTime));
ended.forEach((animation) => animation.finish());
return axe.run(document, options).then(({ violations }) => {
  const found = violations.flatMap(({ id, help, nodes }) =>
    nodes.map(({ html, any }) => `${id}: ${help}: ${html} ${any.map(({ message }) => message).join("; ")}`));
  const width = document.documentElement.scrollWidth;
  return width > innerWidth ? [...found, `the page is ${width} wide in a window of ${innerWidth}`] : found;
});"#;

/// Which controls do not show that they have the focus.
const UNMARKED: &str = r#"
const before = document.activeElement;
const scope = document.querySelector("dialog[open]") ?? document;
const controls = [...scope.querySelectorAll("a, button, input, summary, [tabindex]")];
const isReached = (control) => control.checkVisibility() && !control.disabled && control.tabIndex >= 0;
const unmarked = controls.filter(isReached).filter((control) => {
  control.focus({ focusVisible: true, preventScroll: true });
  const { outlineStyle, outlineWidth } = getComputedStyle(control);
  return document.activeElement === control && (outlineStyle === "none" || parseFloat(outlineWidth) < 2);
});
document.activeElement.blur();
before?.focus({ preventScroll: true });
return unmarked.map(({ outerHTML }) => outerHTML);"#;

/// Is fulfilled when nothing of it is to be seen: neither an element nor a word.
const GONE: &str = r#"
const [selector] = arguments;
return new Promise((resolve, reject) => {
  const until = Date.now() + 60000;
  const look = () => {
    const found = [...document.querySelectorAll(selector)].filter((e) => e.checkVisibility() && e.innerText.trim());
    if (!found.length) resolve(true);
    else if (Date.now() > until) reject(new Error(`it is still there: ${found[0].innerText}`));
    else setTimeout(look, 50);
  };
  look();
});"#;

impl<B: Browser> Person<B> {
    /// Waits until a part of the page is gone, or empty.
    pub fn sees_no_more(&mut self, selector: &str) {
        self.browser.runs(GONE, json!([selector]));
    }

    /// Puts the focus on the first such element, as the Tab key does.
    pub fn focuses(&mut self, selector: &str) {
        self.browser.runs("document.querySelector(arguments[0]).focus()", json!([selector]));
    }

    /// Whether the focus is there.
    pub fn has_the_focus_on(&mut self, selector: &str) -> bool {
        self.browser.runs("return document.activeElement.matches(arguments[0])", json!([selector])) == true
    }

    /// Reads a QR code on the page, as the camera of a phone does.
    pub fn scans(&mut self, selector: &str) -> String {
        let points = self.browser.runs(CODE, json!([selector]));
        let points = points.as_str().expect("points").as_bytes().to_owned();
        let light = |x: usize, y: usize| if points[300 * y + x] == b'#' { 0 } else { 255 };
        let mut image = PreparedImage::prepare_from_greyscale(300, 300, light);
        let grids = image.detect_grids();
        grids.first().expect("a code").decode().expect("a code that can be read").1
    }
}

impl Person<Firefox> {
    /// Whether the judge is on this machine.
    pub fn judge_is_here() -> bool {
        here("axe", tree("e2e/axe/node_modules/.installed").is_file())
    }

    /// Pictures of the page, at a desk and on a phone, by day and by night: `target/e2e/demo-SCENE-….png`. Each time it
    /// can be used by everybody: with a keyboard, a screen reader, weak eyes, a narrow window.
    pub fn is_looked_at(&mut self, scene: &str) {
        let axe = std::fs::read_to_string(tree("e2e/axe/node_modules/axe-core/axe.min.js")).expect("axe");
        self.browser.runs(&format!("if (!window.axe) {{ {axe} }}"), json!([]));
        for (device, width) in [("desk", 1280), ("phone", 360)] {
            for (time, dark) in [("day", false), ("night", true)] {
                let name = format!("demo-{scene}-{device}-{time}");
                self.browser.is_pictured(&name, width, dark);
                assert_eq!(self.browser.runs(JUDGED, json!([])), json!([]), "{name}");
            }
        }
        let unmarked = self.browser.runs(UNMARKED, json!([]));
        assert_eq!(unmarked, json!([]), "{scene}: these do not show that they have the focus");
    }
}
